package freshness

import (
	"bytes"
	"crypto/rand"
	"encoding/binary"
	"fmt"
	"maps"
	"slices"
	"time"

	"go.etcd.io/bbolt"
	berrors "go.etcd.io/bbolt/errors"
)

// The file has two buckets: records, by hashed key, and about, with
//
//	format   1, the byte
//	secret   32 random bytes
//	days     how many records were last used on which day: 2 and 4 bytes each, in order, and a MAC of 8
//	hand     the hash behind which the search for what may go goes on
var (
	recordsName = []byte("records")
	aboutName   = []byte("about")
	formatKey   = []byte("format")
	secretKey   = []byte("secret")
	daysKey     = []byte("days")
	handKey     = []byte("hand")
)

const format = 1

// table is the file within one transaction.
type table struct {
	secret  *secret
	records *bbolt.Bucket
	about   *bbolt.Bucket
	days    map[uint16]int
	count   int
	removed int // by makeRoom
}

// begun gives an error where the file has no buckets yet.
func begun(tx *bbolt.Tx) error {
	if tx.Bucket(aboutName) == nil {
		return berrors.ErrBucketNotFound
	}
	return nil
}

// begin makes the buckets of a new file.
func begin(tx *bbolt.Tx) error {
	if _, err := tx.CreateBucket(recordsName); err != nil {
		return err
	}
	about, err := tx.CreateBucket(aboutName)
	if err != nil {
		return err
	}
	var s secret
	_, _ = rand.Read(s[:]) // never fails (crypto/rand)
	if err := about.Put(secretKey, s[:]); err != nil {
		return err
	}
	if err := about.Put(formatKey, []byte{format}); err != nil {
		return err
	}
	return about.Put(daysKey, encodeDays(&s, nil))
}

// tableOf opens the file as tx has it. ErrDamaged: it is none of ours.
func tableOf(tx *bbolt.Tx) (*table, error) {
	t := &table{records: tx.Bucket(recordsName), about: tx.Bucket(aboutName), secret: new(secret)}
	if t.records == nil || t.about == nil {
		return nil, fmt.Errorf("no records: %w", ErrDamaged)
	}
	if f := t.about.Get(formatKey); len(f) != 1 || f[0] != format {
		return nil, fmt.Errorf("format %x: %w", f, ErrDamaged)
	}
	if copy(t.secret[:], t.about.Get(secretKey)) != len(t.secret) {
		return nil, fmt.Errorf("no secret: %w", ErrDamaged)
	}
	var err error
	if t.days, err = decodeDays(t.secret, t.about.Get(daysKey)); err != nil {
		return nil, err
	}
	for _, n := range t.days {
		t.count += n
	}
	return t, nil
}

func encodeDays(s *secret, days map[uint16]int) []byte {
	var p []byte
	for _, d := range slices.Sorted(maps.Keys(days)) {
		p = binary.BigEndian.AppendUint16(p, d)
		p = binary.BigEndian.AppendUint32(p, uint32(days[d])) //nolint:gosec // bounded by the file
	}
	return append(p, s.sum("days", p)[:macSize]...)
}

func decodeDays(s *secret, p []byte) (map[uint16]int, error) {
	n := len(p) - macSize
	if n < 0 || n%6 != 0 || !bytes.Equal(p[n:], s.sum("days", p[:n])[:macSize]) {
		return nil, fmt.Errorf("days: %w", ErrDamaged)
	}
	days := map[uint16]int{}
	for q := p[:n]; len(q) > 0; q = q[6:] {
		days[binary.BigEndian.Uint16(q)] = int(binary.BigEndian.Uint32(q[2:]))
	}
	return days, nil
}

// get tells what is known of key, and on which day it was last used.
func (t *table) get(key string) (Record, uint16, error) {
	hash := t.secret.hash(key)
	return t.secret.decode(hash, t.records.Get(hash))
}

// write puts down what was told, on that day, and has what was used longest ago
// make way.
func (t *table) write(all map[string]told, limit int, now time.Time) error {
	today := day(now)
	for key, what := range all {
		hash := t.secret.hash(key)
		rec, used, err := t.secret.decode(hash, t.records.Get(hash))
		if err != nil {
			return err
		}
		next := what.over(rec, now)
		if rec.Known() {
			t.tally(used, -1)
		}
		if !next.Known() {
			if err := t.records.Delete(hash); err != nil {
				return err
			}
			continue
		}
		t.tally(today, 1)
		if err := t.records.Put(hash, t.secret.encode(hash, next, today)); err != nil {
			return err
		}
	}
	if err := t.makeRoom(t.count - limit); err != nil {
		return err
	}
	return t.about.Put(daysKey, encodeDays(t.secret, t.days))
}

func (t *table) tally(d uint16, n int) {
	t.count += n
	if t.days[d] += n; t.days[d] <= 0 {
		delete(t.days, d)
	}
}

// makeRoom removes n records, and some more lest the next one look for room
// again: of those that were used longest ago, to the day. Where that many were
// last used on one day it takes them in turn.
func (t *table) makeRoom(n int) error {
	if n <= 0 {
		return nil
	}
	n += min(t.count/64, batch)
	until, found := uint16(0), 0
	for _, d := range slices.Sorted(maps.Keys(t.days)) {
		if until, found = d, found+t.days[d]; found >= n {
			break
		}
	}
	// A copy: what Get gives is of the file, which Put may write over.
	hand := slices.Clone(t.about.Get(handKey))
	doomed := t.search(hand, until, n)
	for _, hash := range doomed {
		t.tally(dayOf(t.records.Get(hash)), -1)
		if err := t.records.Delete(hash); err != nil {
			return err
		}
		hand = hash
	}
	t.removed += len(doomed)
	return t.about.Put(handKey, hand)
}

// search goes once around from the hand on, and gives the hashes of n records
// that were last used by that day.
func (t *table) search(hand []byte, until uint16, n int) (found [][]byte) {
	c := t.records.Cursor()
	take := func(k, v []byte) bool {
		if len(v) == recordSize && dayOf(v) <= until {
			found = append(found, slices.Clone(k))
		}
		return len(found) < n
	}
	k, v := c.Seek(hand)
	for ; k != nil; k, v = c.Next() {
		if !take(k, v) {
			return found
		}
	}
	for k, v = c.First(); k != nil && bytes.Compare(k, hand) < 0; k, v = c.Next() {
		if !take(k, v) {
			return found
		}
	}
	return found
}
