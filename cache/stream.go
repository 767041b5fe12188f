package cache

import "context"

// A stream is one who reads a body in order. Reads do not say whose they are,
// several handles and threads share a Reader, and the kernel's own reading
// ahead comes a little out of order; so a stream is known by where it is.
type stream struct {
	start, end int64 // of what was read in a row, in bytes
	reads      int   // that went on
	last       int   // read of the Reader that was one of its

	// In blocks. A window of 0: it is not read ahead of.
	window int64 // how far
	next   int64 // up to where it was fetched
	slow   bool  // it had to wait: the window is too small

	idle bool // not read since the last sweeping
}

const (
	maxStreams = 8 // of a Reader; the one read longest ago is forgotten

	firstWindow = 16 // blocks, 1 MiB

	// What is read out of order within a stream: as far as the kernel reads
	// ahead by itself, twice 4 MiB, in bytes. Never more than the window.
	maxSlack = 8 << 20

	// elsewhere is how many reads of others end a stream: it was left by a seek.
	elsewhere = 16
)

// follow gives the stream that a read belongs to, perhaps a new one.
func (r *Reader) follow(off, n int64) *stream {
	r.cache.mu.Lock()
	defer r.cache.mu.Unlock()
	r.reads++
	k := r.match(off, n)
	if r.streams[k] == nil || !r.streams[k].reaches(off, n, r.body.Block) {
		r.cache.end(r.streams[k])
		r.streams[k] = &stream{start: off, end: off}
	}
	s := r.streams[k]
	copy(r.streams[1:k+1], r.streams[:k])
	r.streams[0] = s
	r.goOn(s, off, n)
	for _, other := range r.streams {
		if other != nil && other.window > 0 && r.reads-other.last > elsewhere {
			r.cache.end(other)
		}
	}
	return s
}

// match gives the place of the stream that a read goes on with: of several the
// one with the longest window, as some reads come late. Else it is the place for
// a new one.
func (r *Reader) match(off, n int64) int {
	k, found := 0, false
	for i, s := range r.streams {
		switch {
		case s == nil && !found:
			return i
		case s == nil:
			return k
		case s.reaches(off, n, r.body.Block) && (!found || s.window > r.streams[k].window):
			k, found = i, true
		case !found:
			k = i
		}
	}
	return k
}

// reaches tells whether a read goes on with s.
func (s *stream) reaches(off, n, block int64) bool {
	if s.window > 0 {
		slack := min(maxSlack, s.window*block)
		return off <= s.end+slack && off >= s.end-slack
	}
	return off <= s.end && off >= max(s.start, s.end-n) || off+n == s.start
}

// goOn takes a read into s, which is read ahead of from the second read and
// the third block in a row on: neighbours among random reads are no stream.
func (r *Reader) goOn(s *stream, off, n int64) {
	c := r.cache
	s.last, s.idle = r.reads, false
	s.start = min(s.start, off)
	if off+n <= s.end {
		return
	}
	s.end = off + n
	s.reads++
	if s.window == 0 && s.reads > 1 && s.end-s.start > 2*r.body.Block && c.opt.Ahead > 0 {
		s.window, s.next = firstWindow, 0
		c.streams[s] = struct{}{}
		c.sweepLater()
	}
}

// waits notes whether s has to wait for any of these.
func (s *stream) waits(blocks []*block) {
	for _, b := range blocks {
		s.slow = s.slow || b.coming
	}
}

// readAhead has fetched what s will read, in pieces of half the window or
// whole segments. c.mu is held.
func (r *Reader) readAhead(ctx context.Context, s *stream) {
	c, size := r.cache, r.body.Block
	if s.window == 0 {
		return
	}
	s.widen((s.end-s.start)/size, int64(c.opt.Segment))
	share := max(firstWindow, c.opt.Ahead/size/int64(len(c.streams)))
	s.window = min(s.window, share)
	reached := (s.end + size - 1) / size
	for s.next = max(s.next, reached); len(c.running) < c.opt.Fetches/2; {
		blocks := r.stretch(s, reached+s.window)
		if len(blocks) == 0 || !c.roomAhead(costs(blocks)) {
			return
		}
		s.next = blocks[len(blocks)-1].index + 1
		for _, b := range blocks {
			b.stream = s
			c.add(b)
		}
		c.start(ctx, &run{r: r, blocks: blocks, stream: s})
	}
}

// widen makes the window as long as what was read in a row, until the pieces
// are whole segments; beyond that, and up to twice as much as was read, it
// doubles when s had to wait.
func (s *stream) widen(read, segment int64) {
	s.window = max(s.window, min(read, 2*segment))
	if s.slow {
		s.window = max(s.window, min(2*s.window, 2*read))
	}
	s.slow = false
}

// stretch gives the next piece to be fetched ahead of s: blocks that are
// neither here nor coming. None: the next one would go beyond goal, or there
// is no more.
func (r *Reader) stretch(s *stream, goal int64) []*block {
	last := (r.body.Size - 1) / r.body.Block
	for s.next <= last && s.next < goal && r.cache.find(r.body, s.next) != nil {
		s.next++
	}
	segment := int64(r.cache.opt.Segment)
	to := min(s.next+max(1, s.window/2), s.next-s.next%segment+segment, last+1)
	if to > goal {
		return nil
	}
	var blocks []*block
	for i := s.next; i < to && r.cache.find(r.body, i) == nil; i++ {
		blocks = append(blocks, newBlock(r.body, i))
	}
	return blocks
}

func costs(blocks []*block) (n int64) {
	for _, b := range blocks {
		n += cost(b.size)
	}
	return n
}

// end ends reading ahead of s: what was fetched for it may go, and what nobody
// waits for does not come. It begins anew if s goes on. c.mu is held.
func (c *Cache) end(s *stream) {
	if s == nil || s.window == 0 {
		return
	}
	s.window = 0
	delete(c.streams, s)
	for e := c.ahead.Front(); e != nil; {
		b := e.Value.(*block)
		e = e.Next()
		if b.stream == s {
			c.unlist(b)
			c.enlist(b, &c.spent)
		}
	}
	for job := range c.running {
		if job.stream == s {
			c.giveUp(job)
		}
	}
}

// Rest ends reading ahead of all who read by r: nobody has the body open.
func (r *Reader) Rest() {
	r.cache.mu.Lock()
	defer r.cache.mu.Unlock()
	for _, s := range r.streams {
		if s != nil {
			r.cache.end(s)
		}
	}
}
