package s3

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net/http"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"
)

// body is one of n bytes that passes l at r's expense.
func paced(ctx context.Context, l *pace, n int) io.Reader {
	r, err := http.NewRequestWithContext(ctx, http.MethodPut, "https://bucket.example/key", nil)
	if err != nil {
		panic(err)
	}
	return &passing{io.NopCloser(bytes.NewReader(make([]byte, n))), r, l, func(int) {}}
}

// What passes takes what it says, to the nanosecond: all but the burst waits.
func TestPaceIsExact(t *testing.T) {
	for _, limit := range []int64{MinLimit, 100_000, 1 << 20, 1 << 30} {
		synctest.Test(t, func(t *testing.T) {
			l, begin := newPace(limit), time.Now()
			n := 3*burstOf(limit) + 12345
			if got, err := io.Copy(io.Discard, paced(t.Context(), l, n)); err != nil || got != int64(n) {
				t.Fatal(got, err)
			}
			want := time.Duration(float64(n-burstOf(limit)) / float64(limit) * 1e9)
			if took := time.Since(begin); (took - want).Abs() > time.Microsecond {
				t.Errorf("limit %d: %d bytes took %v, want %v", limit, n, took, want)
			}
		})
	}
}

// Many bodies share one bucket: together they take as long as one of their
// length, and none waits for the whole of another.
func TestPaceIsShared(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const limit, bodies, size = 1 << 20, 16, 1 << 20
		l, begin := newPace(limit), time.Now()
		var all sync.WaitGroup
		for range bodies {
			all.Go(func() { _, _ = io.Copy(io.Discard, paced(t.Context(), l, size)) })
		}
		<-time.After(time.Second) // all are under way
		small := time.Now()
		if _, err := io.Copy(io.Discard, paced(t.Context(), l, 1000)); err != nil {
			t.Error(err)
		}
		// At most one piece of each that was there before it.
		most := time.Duration(float64((bodies+1)*pieceOf(limit)) / limit * 1e9)
		if took := time.Since(small); took > most {
			t.Errorf("a body of 1000 bytes took %v beside large ones, at most %v are its turn", took, most)
		}
		all.Wait()
		want := time.Duration(float64(bodies*size+1000-burstOf(limit)) / limit * 1e9)
		if took := time.Since(begin); (took - want).Abs() > time.Millisecond {
			t.Errorf("took %v, want %v", took, want)
		}
	})
}

// Who gives up gives back what was not sent, and waits no longer.
func TestPaceEndsWithItsRequest(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newPace(MinLimit)
		cause := errors.New("enough")
		ctx, cancel := context.WithCancelCause(t.Context())
		result := make(chan error, 1)
		go func() {
			_, err := io.Copy(io.Discard, paced(ctx, l, 10*MinLimit))
			result <- err
		}()
		synctest.Wait()
		begin := time.Now()
		cancel(cause)
		if err := <-result; !errors.Is(err, cause) || time.Since(begin) > 0 {
			t.Errorf("%v after %v", err, time.Since(begin))
		}
		if _, err := io.Copy(io.Discard, paced(t.Context(), l, leastPiece)); err != nil || time.Since(begin) > time.Second/4 {
			t.Errorf("the next one waited %v: %v", time.Since(begin), err)
		}
	})
}

// A deadline that is too near is no error of its own: it ends when it comes.
func TestPaceUpToTheDeadline(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		n, err := io.Copy(io.Discard, paced(ctx, newPace(MinLimit), 10*MinLimit))
		if !errors.Is(err, context.DeadlineExceeded) || n < MinLimit*9/10 {
			t.Errorf("%d bytes, %v", n, err)
		}
	})
}

// The watchdog of an attempt does not count the time that the limit takes, and
// goes on counting the server's.
func TestLimitIsNoStall(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &Store{cfg: Config{StallTimeout: time.Second}}
		a := s.begin(t.Context(), call{})
		defer a.end()
		l := newPace(MinLimit)
		_ = l.wait(t.Context(), burstOf(MinLimit))
		for range 8 { // others are before it: 4 s
			l.bucket.ReserveN(time.Now(), leastPiece)
		}
		for range 100 {
			l.bucket.ReserveN(time.Now(), leastPiece)
		}
		begin := time.Now()
		if _, err := io.Copy(io.Discard, paced(a.ctx, l, leastPiece)); err != nil || a.stalled() || time.Since(begin) < 5*time.Second {
			t.Errorf("after %v: %v, stalled %v", time.Since(begin), err, a.stalled())
		}
		<-a.ctx.Done() // nothing moves now
		if !a.stalled() {
			t.Error("the watchdog did not go on")
		}
	})
}

// A piece is never larger than the burst, which a bucket could never give, and
// all that may run at once get their turn before S3 gives one up.
func TestPiecesOfAnyLimit(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		limit := rapid.Int64Range(MinLimit, 1<<40).Draw(t, "limit")
		piece, burst := pieceOf(limit), burstOf(limit)
		if piece < leastPiece || piece > mostPiece || burst < piece {
			t.Fatalf("piece %d, burst %d", piece, burst)
		}
		if round := time.Duration(float64(128*piece) / float64(limit) * 1e9); round > 10*time.Second {
			t.Fatalf("a round takes %v", round)
		}
	})
}

func TestNoLimit(t *testing.T) {
	if newPace(0) != nil || wired(http.DefaultTransport, Config{}) != http.DefaultTransport {
		t.Error("what nobody asked for is there")
	}
	p := make([]byte, 1<<20)
	if got := (*pace)(nil).cut(p); len(got) != len(p) {
		t.Error("cut by no limit")
	}
}
