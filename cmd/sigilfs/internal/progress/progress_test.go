package progress

import (
	"bytes"
	"encoding/json"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// clock is a time that a test moves.
type clock struct{ now time.Time }

func (c *clock) Now() time.Time { return c.now }

func begin(opt Options) (*Progress, *bytes.Buffer, *clock) {
	var out bytes.Buffer
	c := &clock{time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)}
	opt.Now, opt.Every = c.Now, time.Hour
	return New(&out, opt), &out, c
}

func TestLines(t *testing.T) {
	p, out, c := begin(Options{What: "verifying"})
	p.Total(10, 64<<20)
	p.Add(3, 16<<20)
	c.now = c.now.Add(8 * time.Second)
	p.Tell()
	p.Done()
	p.Done()
	want := "sigilfs: verifying [#####               ] 3 of 10 objects, 16 MiB of 64 MiB, 2.0 MiB/s, 24s to go\n"
	if out.String() != want {
		t.Errorf("%q, want %q", out, want)
	}
}

func TestBarGivesWay(t *testing.T) {
	p, out, _ := begin(Options{What: "copying", Terminal: true})
	p.Add(1, 0)
	p.Tell()
	_, _ = p.Write([]byte("a line\n"))
	p.Tell()
	p.Done()
	want := clearLine + "copying 1 objects" + clearLine + "a line\n" + clearLine + "copying 1 objects" + clearLine
	if out.String() != want {
		t.Errorf("%q, want %q", out, want)
	}
}

// What an earlier run has done is not this one's speed, nor where objects are all
// that is counted.
func TestResumed(t *testing.T) {
	for _, c := range []struct {
		before, all, done [2]int64 // objects, bytes
		want              string
	}{
		{[2]int64{90, 90 << 20}, [2]int64{100, 100 << 20}, [2]int64{1, 1 << 20}, "91 MiB of 100 MiB, 0.5 MiB/s, 18s to go\n"},
		{[2]int64{90, 0}, [2]int64{100, 0}, [2]int64{2, 0}, "92 of 100 objects, 1.0 objects/s, 8s to go\n"},
	} {
		p, out, clock := begin(Options{What: "verifying"})
		p.Resume(c.before[0], c.before[1])
		p.Total(c.all[0], c.all[1])
		p.Add(c.done[0], c.done[1])
		clock.now = clock.now.Add(2 * time.Second)
		p.Tell()
		p.Done()
		if !strings.HasSuffix(out.String(), c.want) {
			t.Errorf("%q, want it to end in %q", out, c.want)
		}
	}
}

// Small objects count: of 1,000 of them and one large one, which is last, the
// time to go is not what the bytes alone would have it.
func TestSmallObjects(t *testing.T) {
	p, out, c := begin(Options{What: "copying"})
	p.Total(1001, 1000<<10+500<<20)
	p.Add(500, 500<<10)
	c.now = c.now.Add(10 * time.Second)
	p.Tell()
	p.Done()
	want := "sigilfs: copying [#####               ] 500 of 1001 objects, 0 MiB of 501 MiB, 50.0 objects/s, 30s to go\n"
	if out.String() != want {
		t.Errorf("%q, want %q", out, want)
	}
}

// A second pass has a rate of its own.
func TestPasses(t *testing.T) {
	p, out, c := begin(Options{What: "copying"})
	p.Total(10, 0)
	p.Set(10, 0)
	c.now = c.now.Add(100 * time.Second)
	p.Resume(0, 0)
	p.Set(5, 0)
	c.now = c.now.Add(5 * time.Second)
	p.Tell()
	p.Done()
	want := "sigilfs: copying [##########          ] 5 of 10 objects, 1.0 objects/s, 5s to go\n"
	if out.String() != want {
		t.Errorf("%q, want %q", out, want)
	}
}

func TestLeft(t *testing.T) {
	p, out, c := begin(Options{What: "committing"})
	p.Left(64 << 20)
	c.now = c.now.Add(4 * time.Second)
	p.Left(48 << 20)
	p.Tell()
	p.Done()
	want := "sigilfs: committing [#####               ] 16 MiB of 64 MiB, 4.0 MiB/s, 12s to go\n"
	if out.String() != want {
		t.Errorf("%q, want %q", out, want)
	}
}

func TestEvents(t *testing.T) {
	p, out, c := begin(Options{What: "verifying", JSON: true})
	p.Total(4, 0)
	p.Add(1, 0)
	c.now = c.now.Add(2 * time.Second)
	p.Tell()
	p.Done()
	var all []Event
	d := json.NewDecoder(out)
	for d.More() {
		var e Event
		if err := d.Decode(&e); err != nil {
			t.Fatal(err)
		}
		all = append(all, e)
	}
	if len(all) != 2 || all[0].Event != "progress" || all[1].Event != "done" || all[0].Objects != 1 || all[0].OfObj != 4 || all[0].ETA != 6 {
		t.Errorf("%+v", all)
	}
}

// A nil one is for those who want to be told nothing.
func TestNil(*testing.T) {
	var p *Progress
	p.Add(1, 1)
	p.Set(1, 1)
	p.Total(1, 1)
	p.Resume(1, 1)
	p.Left(1)
	p.Tell()
	p.Done()
}

// Time alone has it told: nobody need add anything.
func TestTells(t *testing.T) {
	told := make(chan struct{}, 1)
	p := New(tell(told), Options{What: "waiting", Every: time.Millisecond})
	defer p.Done()
	<-told
}

type tell chan struct{}

func (t tell) Write(b []byte) (int, error) {
	select {
	case t <- struct{}{}:
	default:
	}
	return len(b), nil
}
