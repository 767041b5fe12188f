package freshness

import (
	"testing"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var start = time.Unix(1_800_000_000, 0)

// at is a version so long after start.
func at(d time.Duration) uint64 { return uint64(start.Add(d).UnixNano()) } //nolint:gosec // after 1970

func TestJudge(t *testing.T) {
	a, b := Seal{1}, Seal{2}
	live := Record{Version: at(0), Seal: a}
	doubted := Record{Version: at(0), Seal: a, Doubted: true}
	gone := Record{Version: at(time.Minute), Seal: a, Last: at(0), Gone: true}
	far := Record{Version: at(3 * 366 * 24 * time.Hour), Seal: a}
	for name, c := range map[string]struct {
		known   Record
		version uint64
		seal    Seal
		want    Verdict
	}{
		"nothing known":               {Record{}, at(0), a, New},
		"the same":                    {live, at(0), a, Fresh},
		"higher":                      {live, at(1), b, New},
		"lower":                       {live, at(-1), b, Rollback},
		"lower with the same seal":    {live, at(-1), a, Rollback},
		"another seal":                {live, at(0), b, Conflict},
		"over a year ahead":           {live, at(366 * 24 * time.Hour), b, Ahead},
		"unknown, over a year ahead":  {Record{}, at(366 * 24 * time.Hour), b, Ahead},
		"what was known is far ahead": {far, at(0), b, New},
		"far ahead, and the same":     {far, far.Version, a, Fresh},
		"made of what is old":         {doubted, at(0), a, Descendant},
		"what was removed":            {gone, at(0), a, Resurrection},
		"older than what was removed": {gone, at(-1), b, Resurrection},
		"before the removal, unseen":  {gone, at(time.Second), b, Resurrection},
		"as high as the tombstone":    {gone, at(time.Minute), a, Resurrection},
		"on its way at the removal":   {gone, at(time.Minute - time.Second), b, New},
		"after the removal":           {gone, at(time.Minute + 1), b, New},
	} {
		if got := Judge(c.known, c.version, c.seal, start); got != c.want {
			t.Errorf("%s: %q, want %q", name, got, c.want)
		}
	}
}

func TestJoin(t *testing.T) {
	a, b := Seal{1}, Seal{2}
	far := Record{Version: at(3 * 366 * 24 * time.Hour), Seal: a}
	gone := Record{Version: at(time.Minute), Seal: a, Last: at(0), Gone: true}
	for name, c := range map[string]struct{ known, next, want Record }{
		"first":            {Record{}, Record{Version: 5, Seal: a}, Record{Version: 5, Seal: a}},
		"higher":           {Record{Version: 5, Seal: a}, Record{Version: 6, Seal: b}, Record{Version: 6, Seal: b}},
		"lower":            {Record{Version: 5, Seal: a}, Record{Version: 4, Seal: b}, Record{Version: 5, Seal: a}},
		"equal":            {Record{Version: 5, Seal: a}, Record{Version: 5, Seal: b}, Record{Version: 5, Seal: a}},
		"over far ahead":   {far, Record{Version: 5, Seal: b}, Record{Version: 5, Seal: b}},
		"removed":          {Record{Version: 5, Seal: a}, Record{Version: 6, Gone: true}, Record{Version: 6, Seal: a, Last: 5, Gone: true}},
		"removed twice":    {Record{Version: 6, Seal: a, Last: 5, Gone: true}, Record{Version: 7, Gone: true}, Record{Version: 7, Seal: a, Last: 5, Gone: true}},
		"removed unknown":  {Record{}, Record{Version: 6, Gone: true}, Record{Version: 6, Gone: true}},
		"on its way then":  {gone, Record{Version: at(time.Minute - time.Second), Seal: b}, Record{Version: at(time.Minute - time.Second), Seal: b}},
		"before it":        {gone, Record{Version: at(time.Minute - 6*time.Second), Seal: b}, gone},
		"seen before it":   {gone, Record{Version: at(0), Seal: a}, gone},
		"made after that":  {Record{Version: 6, Last: 5, Gone: true}, Record{Version: 7, Seal: b}, Record{Version: 7, Seal: b}},
		"written over old": {Record{Version: 6, Doubted: true}, Record{Version: 7, Seal: b}, Record{Version: 7, Seal: b}},
	} {
		if got := join(c.known, c.next, start); got != c.want {
			t.Errorf("%s: %+v, want %+v", name, got, c.want)
		}
	}
}
