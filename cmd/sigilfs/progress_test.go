package main

import (
	"bytes"
	"testing"
	"time"
)

func TestProgress(t *testing.T) {
	var out bytes.Buffer
	begin := time.Unix(0, 0)
	p := newProgress(&out, begin)
	p.show(64<<20, begin.Add(time.Second))
	if out.Len() != 0 {
		t.Errorf("a line before its time: %q", out.String())
	}
	p.show(16<<20, begin.Add(40*time.Second))
	const want = "sigilfs: committing [###############     ] 16 MiB of 64 MiB left, 1.2 MiB/s, 13s to go\n"
	if out.String() != want {
		t.Errorf("%q, want %q", out.String(), want)
	}
	out.Reset()
	p.show(0, begin.Add(80*time.Second))
	if out.String() != "sigilfs: committing what is left\n" {
		t.Errorf("%q", out.String())
	}
	p.end()

	out.Reset()
	p = newProgress(&out, begin)
	p.terminal = true
	p.show(1, begin)
	p.end()
	if out.String() != "\r\x1b[Kcommitting [                    ] 1 MiB of 1 MiB left\r\x1b[K" {
		t.Errorf("%q", out.String())
	}
}
