package attrindex

import (
	"encoding/binary"
	"fmt"
	"iter"
	"sort"
)

// Table is an index that was read. It keeps the bytes as they are, and 4 more
// for each entry. It does not change; nil is an empty one.
type Table struct {
	p  []byte
	at []uint32 // where entries begin in p
}

// Parse reads an index and keeps p, which must not be modified any more. Errors:
// ErrVersion, and ErrCorrupt for everything else that Builder does not make.
func Parse(p []byte) (*Table, error) {
	if len(p) > MaxSize || len(p) < headSize || string(p[:len(magic)-1]) != magic[:len(magic)-1] {
		return nil, fmt.Errorf("%d bytes: %w", len(p), ErrCorrupt)
	}
	if v := p[len(magic)-1]; v != magic[len(magic)-1] {
		return nil, fmt.Errorf("version %d: %w", v, ErrVersion)
	}
	count := int64(binary.BigEndian.Uint32(p[len(magic):]))
	if count*int64(leastEntry) > int64(len(p)) {
		return nil, fmt.Errorf("%d entries in %d bytes: %w", count, len(p), ErrCorrupt)
	}
	t := &Table{p: p, at: make([]uint32, 0, count)}
	end, last := headSize, ""
	for range count {
		e, n := decode(p[end:])
		if n == 0 {
			return nil, fmt.Errorf("ends in entry %d: %w", len(t.at), ErrCorrupt)
		}
		if err := e.Check(); err != nil {
			return nil, fmt.Errorf("entry %d: %w", len(t.at), err)
		}
		if e.Name <= last {
			return nil, fmt.Errorf("entry %d is out of order: %w", len(t.at), ErrCorrupt)
		}
		t.at = append(t.at, uint32(end)) //nolint:gosec // at most MaxSize
		end, last = end+n, e.Name
	}
	if end != len(p) {
		return nil, fmt.Errorf("%d bytes behind the last entry: %w", len(p)-end, ErrCorrupt)
	}
	return t, nil
}

// Len is the number of entries.
func (t *Table) Len() int {
	if t == nil {
		return 0
	}
	return len(t.at)
}

// Bytes is about what t takes in memory.
func (t *Table) Bytes() int {
	if t == nil {
		return 0
	}
	return cap(t.p) + 4*cap(t.at)
}

// search gives the first entry whose name is not before that given.
func (t *Table) search(name string) int {
	return sort.Search(t.Len(), func(i int) bool { return string(t.name(i)) >= name })
}

// Before gives the last name before that given; "" where there is none.
func (t *Table) Before(name string) string {
	if i := t.search(name); i > 0 {
		return string(t.name(i - 1))
	}
	return ""
}

// Find gives the entry of that name.
func (t *Table) Find(name string) (Entry, bool) {
	i := t.search(name)
	if i == t.Len() || string(t.name(i)) != name {
		return Entry{}, false
	}
	e, _ := decode(t.p[t.at[i]:])
	return e, true
}

// name of entry i.
func (t *Table) name(i int) []byte {
	name, _, _ := cut(t.p[t.at[i]:], 2)
	return name
}

// All gives the entries in order.
func (t *Table) All() iter.Seq[Entry] {
	return func(yield func(Entry) bool) {
		for i := range t.Len() {
			if e, _ := decode(t.p[t.at[i]:]); !yield(e) {
				return
			}
		}
	}
}

// Builder makes an index. The zero Builder is an empty one.
type Builder struct {
	p     []byte
	count uint32
	last  string
}

// Add puts an entry behind those that are in it. False: it does not fit any
// more, cannot be in an index, or its name does not come after the last one's.
func (b *Builder) Add(e Entry) bool {
	if b.p == nil {
		b.p = append(make([]byte, 0, 4<<10), magic+"\x00\x00\x00\x00"...)
	}
	if e.Check() != nil || e.Name <= b.last || len(b.p)+e.size() > MaxSize {
		return false
	}
	b.p, b.last = e.append(b.p), e.Name
	b.count++
	return true
}

// Len is the number of entries added.
func (b *Builder) Len() int { return int(b.count) }

// Bytes gives the index. Nothing is added any more.
func (b *Builder) Bytes() []byte {
	if b.p == nil {
		b.p = []byte(magic + "\x00\x00\x00\x00")
	}
	binary.BigEndian.PutUint32(b.p[len(magic):], b.count)
	return b.p
}
