package spool

import (
	"encoding/binary"
	"fmt"
)

// op is what an event does to the overlay.
type op uint64

const (
	opTruncate op = 1 // blocks from a on are gone
	opZero     op = 2 // blocks [a, b) are zeros
	opSent     op = 3 // blocks [a, b) are sent, of the snapshot with sequence c
	opSettle   op = 4 // whatever has a sequence up to c is in the base
	opBegin    op = 5 // the overlay begins here, empty: first record of every log. a records that follow belong to it; b is 1 if nothing comes after them
	opKeep     op = 6 // after a begin: the older slot with sequence c is block a
	opRefer    op = 7 // blocks [a, b) are in the base
)

// event is one record of the log: what cannot be told from the slots alone.
// On disk it is the sequence (8 bytes, little-endian), then six sealed uint64
// and the tag. The AAD is the part and the file ID.
type event struct {
	op      op
	a, b    int64
	c       uint64
	size    int64 // of the file, after the event
	baseEnd int64 // bytes of the base that still count, after the event
}

func (s *sealer) eventAAD() []byte { return append([]byte{byte(partEvent)}, s.id[:]...) }

func (s *sealer) event(e event, seq uint64) []byte {
	out := binary.LittleEndian.AppendUint64(make([]byte, 0, eventSize), seq)
	body := make([]byte, 0, eventBody)
	for _, v := range []uint64{uint64(e.op), uint64(e.a), uint64(e.b), e.c, uint64(e.size), uint64(e.baseEnd)} {
		body = binary.LittleEndian.AppendUint64(body, v)
	}
	return s.aead.Seal(out, nonce(seq), body, s.eventAAD())
}

func (s *sealer) openEvent(b []byte) (event, uint64, error) {
	if len(b) != eventSize {
		return event{}, 0, fmt.Errorf("%w: log record of %d bytes", ErrDamaged, len(b))
	}
	seq := binary.LittleEndian.Uint64(b)
	body, err := s.aead.Open(nil, nonce(seq), b[8:], s.eventAAD())
	if err != nil {
		return event{}, 0, fmt.Errorf("%w: log record does not authenticate", ErrDamaged)
	}
	at := func(i int) uint64 { return binary.LittleEndian.Uint64(body[8*i:]) }
	e := event{op(at(0)), int64(at(1)), int64(at(2)), at(3), int64(at(4)), int64(at(5))}
	if e.op < opTruncate || e.op > opRefer || e.a < 0 || e.b < 0 || e.size < 0 || e.baseEnd < 0 {
		return event{}, 0, fmt.Errorf("%w: log record out of range", ErrDamaged)
	}
	return e, seq, nil
}
