package disk

// batch is what waits to be written of one extent: blocks that were put while
// the disk was busy go together.
type batch struct {
	key    key
	tag    tag
	shape  shape
	clear  bool
	round  uint64
	held   uint16 // which blocks they are
	blocks [extentBlocks]*buffer
	done   chan struct{} // of one without blocks: closed when it is reached
}

// slot is that of its extent before anything is written.
func (b *batch) slot() slot {
	return slot{key: b.key, tag: b.tag, shape: b.shape, clear: b.clear}
}

// backlog is a row of batches; the first is written first. There are no more
// blocks in it than buffers. Cache.mu guards it.
type backlog struct {
	row []*batch
	by  map[key]*batch // those of row that may grow
}

// has tells whether a block is in it.
func (q *backlog) has(k key, round uint64, number int) bool {
	b := q.by[k]
	return b != nil && b.round == round && b.held>>number&1 == 1
}

// add puts a block into the batch of its extent and round, or at the end.
func (q *backlog) add(of batch, number int, data *buffer) {
	b := q.by[of.key]
	if b == nil || b.round != of.round {
		b = &of
		q.by[of.key] = b
		q.row = append(q.row, b)
	}
	b.held |= 1 << number
	b.blocks[number] = data
}

// next takes the first batch; nil: there is none.
func (q *backlog) next() *batch {
	if len(q.row) == 0 {
		return nil
	}
	b := q.row[0]
	q.row[0] = nil
	q.row = q.row[1:]
	if q.by[b.key] == b {
		delete(q.by, b.key)
	}
	return b
}
