// Package progress tells how far a long command is: a bar with rate and time to
// go on a terminal, a line every 30 s elsewhere, or one JSON object a line for
// machines.
//
// A Progress lives from New until Done, which waits for the goroutine that
// draws. What else is to be said in the meantime goes through its Write, so that
// no line is torn by the bar.
package progress

import (
	"io"
	"os"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// How often it is told.
const (
	onTerminal = 200 * time.Millisecond
	elsewhere  = 30 * time.Second
	forMachine = time.Second
)

// Options of New.
type Options struct {
	// What is being done, as the first word of a line: "verifying".
	What string

	// JSON gives events in place of a bar or lines, see Event.
	JSON bool

	// Terminal draws a bar whatever the writer is; else a bar is drawn where it
	// is a terminal.
	Terminal bool

	// Every is how often it is told; 0 is as the package comment has it.
	Every time.Duration

	Now func() time.Time // nil is time.Now
}

// Progress is what is done and what is to be done. It is safe for concurrent
// use; a nil *Progress tells nothing.
type Progress struct {
	opt  Options
	stop chan struct{}
	idle sync.WaitGroup

	mu    sync.Mutex // guards what follows, and whose turn it is to write
	out   io.Writer
	now   state
	drawn bool // a bar stands on the line
	ended bool
}

// state is what one line or event tells.
type state struct {
	began, at      time.Time
	objects, bytes int64 // done
	ofObjects      int64 // in all, as far as is known; 0 is not known
	ofBytes        int64

	// The rate is that of what was done since then, beyond what was done before.
	resumed                    time.Time
	objectsBefore, bytesBefore int64
}

// New begins to tell out. What is over sooner than it would be told is not told
// at all, but for the last event for machines.
func New(out io.Writer, opt Options) *Progress {
	if opt.Now == nil {
		opt.Now = time.Now
	}
	opt.Terminal = !opt.JSON && (opt.Terminal || IsTerminal(out))
	if opt.Every == 0 {
		opt.Every = interval(opt)
	}
	p := &Progress{opt: opt, out: out, stop: make(chan struct{})}
	p.now.began = opt.Now()
	p.now.resumed = p.now.began
	p.idle.Go(p.run)
	return p
}

func interval(opt Options) time.Duration {
	switch {
	case opt.JSON:
		return forMachine
	case opt.Terminal:
		return onTerminal
	}
	return elsewhere
}

func (p *Progress) run() {
	tick := time.NewTicker(p.opt.Every)
	defer tick.Stop()
	for {
		select {
		case <-p.stop:
			return
		case <-tick.C:
			p.Tell()
		}
	}
}

// Add counts what was done since.
func (p *Progress) Add(objects, bytes int64) {
	if p == nil {
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.now.objects += objects
	p.now.bytes += bytes
}

// Set says what is done in all.
func (p *Progress) Set(objects, bytes int64) {
	if p == nil {
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.now.objects, p.now.bytes = objects, bytes
}

// Resume begins another pass, of which so much was done before, by an earlier
// run: that counts, but not for the rate.
func (p *Progress) Resume(objects, bytes int64) {
	if p == nil {
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.now.objects, p.now.bytes = objects, bytes
	p.now.resumed, p.now.objectsBefore, p.now.bytesBefore = p.opt.Now(), objects, bytes
}

// Total says how much there is to be done in all; 0 is not known. It may change.
func (p *Progress) Total(objects, bytes int64) {
	if p == nil {
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.now.ofObjects, p.now.ofBytes = objects, bytes
}

// Left says how many bytes are left, where nothing else is known: the most that
// were ever left are the whole.
func (p *Progress) Left(bytes int64) {
	if p == nil {
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.now.ofBytes = max(p.now.ofBytes, bytes)
	p.now.bytes = p.now.ofBytes - bytes
}

// Tell tells how far it is, now.
func (p *Progress) Tell() {
	if p == nil {
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.ended {
		p.tell(false)
	}
}

// Done ends it, and takes the bar away. For machines there is a last event.
func (p *Progress) Done() {
	if p == nil {
		return
	}
	p.mu.Lock()
	ended := p.ended
	p.ended = true
	p.mu.Unlock()
	if ended {
		return
	}
	close(p.stop)
	p.idle.Wait()
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.opt.JSON {
		p.tell(true)
	}
	p.clear()
}

// Write says something else: whole lines.
func (p *Progress) Write(b []byte) (int, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.clear()
	return p.out.Write(b)
}

// Clear takes the bar away for as long as nothing more is told: for what goes
// another way to the same terminal.
func (p *Progress) Clear() {
	if p == nil {
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.clear()
}

// tell needs p.mu. Whether anybody reads it changes nothing.
func (p *Progress) tell(last bool) {
	s := p.now
	s.at = p.opt.Now()
	switch {
	case p.opt.JSON:
		_, _ = p.out.Write(s.event(p.opt.What, last))
	case p.opt.Terminal:
		_, _ = io.WriteString(p.out, clearLine+s.line(p.opt.What))
		p.drawn = true
	default:
		_, _ = io.WriteString(p.out, "sigilfs: "+s.line(p.opt.What)+"\n")
	}
}

// clear needs p.mu.
func (p *Progress) clear() {
	if p.drawn {
		_, _ = io.WriteString(p.out, clearLine)
		p.drawn = false
	}
}

// clearLine takes the cursor back and empties its line (ECMA-48, EL).
const clearLine = "\r\x1b[K"

// IsTerminal tells whether a person looks at what is written to w.
func IsTerminal(w io.Writer) bool {
	f, ok := w.(*os.File)
	if !ok {
		return false
	}
	_, err := unix.IoctlGetTermios(int(f.Fd()), unix.TCGETS)
	return err == nil
}
