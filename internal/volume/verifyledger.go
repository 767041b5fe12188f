package volume

import (
	"bufio"
	"bytes"
	"container/heap"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"slices"
	"sync"

	"github.com/sigilfs/sigilfs/cache/scratch"
	"github.com/sigilfs/sigilfs/objcrypt/sigil"
)

// linkLedger is what all objects say of hard links, gathered in any order and
// read by inode. It takes bounded memory: what is over ledgerRun goes, sorted, to
// the disk, sealed under a key in memory, and is merged from there (an external
// sort), so that a volume of many millions of names needs no more than one of a
// hundred thousand. A nil one gathers nothing.
type linkLedger struct {
	dir    string
	budget *scratch.Budget
	most   int // of lines, in bytes, that are in memory

	mu    sync.Mutex // guards what follows
	lines [][]byte
	size  int
	runs  []*scratch.File
	err   error // the disk's; then nothing is counted
}

// ledgerRun is how much of a ledger is in memory, in bytes.
const ledgerRun = 32 << 20

// lineCost is what a line takes beside its bytes.
const lineCost = 24

// Kinds of lines, as they follow each other of one inode.
const (
	lineInode byte = iota
	lineRoll       // there is a roll
	lineToken      // on it
	lineName       // an object that points to the inode
)

// linkLine is one thing that an object says. Key is the object's.
type linkLine struct {
	inode sigil.Generation
	kind  byte
	token token  // of lineToken and lineName
	file  uint64 // id, of lineInode and lineName
	nlink uint32 // of lineInode
	time  int64  // LastModified, s since 1970; of lineInode and lineRoll
	etag  string // likewise
	key   string // not of lineToken
}

// encode gives bytes that sort as ledgers are read.
func (l *linkLine) encode() []byte {
	b := make([]byte, 0, 16+1+16+8+4+8+2+len(l.etag)+len(l.key))
	b = append(b, l.inode[:]...)
	b = append(b, l.kind)
	b = append(b, l.token[:]...)
	b = binary.BigEndian.AppendUint64(b, l.file)
	b = binary.BigEndian.AppendUint32(b, l.nlink)
	b = binary.BigEndian.AppendUint64(b, uint64(l.time)) //nolint:gosec // back again
	b = binary.BigEndian.AppendUint16(b, uint16(len(l.etag)))
	return append(append(b, l.etag...), l.key...)
}

const lineFixed = 16 + 1 + 16 + 8 + 4 + 8 + 2

// decodeLine is the inverse of encode.
func decodeLine(b []byte) (linkLine, error) {
	var l linkLine
	if len(b) < lineFixed {
		return l, fmt.Errorf("line of %d bytes: %w", len(b), scratch.ErrCorrupt)
	}
	copy(l.inode[:], b)
	l.kind = b[16]
	copy(l.token[:], b[17:])
	l.file = binary.BigEndian.Uint64(b[33:])
	l.nlink = binary.BigEndian.Uint32(b[41:])
	l.time = int64(binary.BigEndian.Uint64(b[45:])) //nolint:gosec // as it was
	n, rest := int(binary.BigEndian.Uint16(b[53:])), b[lineFixed:]
	if n > len(rest) {
		return l, fmt.Errorf("line of %d bytes: %w", len(b), scratch.ErrCorrupt)
	}
	l.etag, l.key = string(rest[:n]), string(rest[n:])
	return l, nil
}

func newLinkLedger(dir string, limit int64) *linkLedger {
	return &linkLedger{dir: dir, budget: scratch.NewBudget(limit), most: ledgerRun}
}

// add notes lines, those of one object.
func (g *linkLedger) add(lines ...linkLine) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.err != nil {
		return
	}
	for _, l := range lines {
		b := l.encode()
		g.lines = append(g.lines, b)
		g.size += len(b) + lineCost
	}
	if g.size > g.most {
		g.err = g.spill()
	}
}

// spill puts what is in memory onto the disk. It needs g.mu.
func (g *linkLedger) spill() error {
	f, err := scratch.New(g.dir, g.budget)
	if err != nil {
		return err
	}
	g.runs = append(g.runs, f)
	slices.SortFunc(g.lines, bytes.Compare)
	w := bufio.NewWriterSize(f, scratch.BlockSize)
	for _, b := range g.lines {
		if _, err := w.Write(binary.BigEndian.AppendUint16(nil, uint16(len(b)))); err != nil { //nolint:gosec // a key, an ETag and 55
			return err
		}
		if _, err := w.Write(b); err != nil {
			return err
		}
	}
	if err := w.Flush(); err != nil {
		return err
	}
	g.lines, g.size = nil, 0
	return f.Finish()
}

// close lets go of all.
func (g *linkLedger) close() {
	if g == nil {
		return
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	for _, f := range g.runs {
		_ = f.Close() // it has no name: its space is free in any case
	}
	g.runs, g.lines, g.err = nil, nil, scratch.ErrClosed
}

// each gives all lines in order, each once: an object may have been looked at
// twice.
func (g *linkLedger) each(ctx context.Context, use func(linkLine) error) error {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.err != nil {
		return fmt.Errorf("what is known of hard links: %w", g.err)
	}
	slices.SortFunc(g.lines, bytes.Compare)
	m := runs{&run{lines: g.lines}}
	for _, f := range g.runs {
		m = append(m, &run{disk: bufio.NewReaderSize(&scratchReader{ctx: ctx, f: f}, scratch.BlockSize)})
	}
	var last []byte
	for b, err := range m.all() {
		if err == nil && ctx.Err() != nil {
			err = ctx.Err()
		}
		if err != nil {
			return err
		}
		if bytes.Equal(b, last) {
			continue
		}
		last = b
		l, err := decodeLine(b)
		if err == nil {
			err = use(l)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// run is sorted lines, in memory or on the disk.
type run struct {
	lines [][]byte
	disk  *bufio.Reader
	head  []byte
}

// next moves head; io.EOF at the end.
func (r *run) next() error {
	if r.disk == nil {
		if len(r.lines) == 0 {
			return io.EOF
		}
		r.head, r.lines = r.lines[0], r.lines[1:]
		return nil
	}
	var n [2]byte
	if _, err := io.ReadFull(r.disk, n[:]); err != nil {
		return err
	}
	r.head = make([]byte, binary.BigEndian.Uint16(n[:]))
	_, err := io.ReadFull(r.disk, r.head)
	if errors.Is(err, io.EOF) {
		err = io.ErrUnexpectedEOF
	}
	return err
}

// runs are merged by their heads: a heap.
type runs []*run

func (m runs) Len() int           { return len(m) }
func (m runs) Less(i, j int) bool { return bytes.Compare(m[i].head, m[j].head) < 0 }
func (m runs) Swap(i, j int)      { m[i], m[j] = m[j], m[i] }
func (m *runs) Push(x any)        { *m = append(*m, x.(*run)) } //nolint:forcetypeassert // of ours
func (m *runs) Pop() any {
	last := (*m)[len(*m)-1]
	*m = (*m)[:len(*m)-1]
	return last
}

// all gives the lines of all runs in order.
func (m runs) all() func(func([]byte, error) bool) {
	return func(yield func([]byte, error) bool) {
		var live runs
		for _, r := range m {
			if err := r.next(); err == nil {
				live = append(live, r)
			} else if !errors.Is(err, io.EOF) {
				yield(nil, err)
				return
			}
		}
		heap.Init(&live)
		for len(live) > 0 {
			r := live[0]
			if !yield(r.head, nil) {
				return
			}
			switch err := r.next(); {
			case err == nil:
				heap.Fix(&live, 0)
			case errors.Is(err, io.EOF):
				heap.Pop(&live)
			default:
				yield(nil, err)
				return
			}
		}
	}
}

// scratchReader reads a File in order.
type scratchReader struct {
	ctx context.Context //nolint:containedctx // io.Reader has none, and it lives as long as the call
	f   *scratch.File
	off int64
}

func (r *scratchReader) Read(p []byte) (int, error) {
	n, err := r.f.ReadAt(r.ctx, p, r.off)
	r.off += int64(n)
	if n > 0 && errors.Is(err, io.EOF) {
		err = nil
	}
	return n, err
}
