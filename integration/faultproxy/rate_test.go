package faultproxy

import (
	"io"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"
)

func TestLineKeepsItsRate(t *testing.T) {
	l := &line{perSecond: 1000}
	now := time.Now()
	for range 10 {
		l.promise(now, 100)
	}
	if got := l.promise(now, 0).Sub(now); got != time.Second-slack {
		t.Errorf("1,000 bytes at 1,000 a second pass in %v", got)
	}
	if got := l.promise(now.Add(time.Minute), 500).Sub(now.Add(time.Minute)); got != 500*time.Millisecond-slack {
		t.Errorf("500 bytes pass an idle line in %v", got)
	}
}

func TestCapHoldsBodies(t *testing.T) {
	const size, perSecond = 100_000, 1_000_000
	answer := make([]byte, size)
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		_, _ = w.Write(answer)
	}))
	defer s.Close()
	p, err := StartPlain(s.URL, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	p.Cap(perSecond)
	began := time.Now()
	resp, err := http.Get(p.URL())
	if err != nil {
		t.Fatal(err)
	}
	n, err := io.Copy(io.Discard, resp.Body)
	_ = resp.Body.Close()
	if least := 100*time.Millisecond - slack; err != nil || n != size || time.Since(began) < least {
		t.Errorf("%d bytes in %v, %v; want no less than %v", n, time.Since(began), err, least)
	}
}
