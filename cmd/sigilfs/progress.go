package main

import (
	"fmt"
	"io"
	"strings"
	"time"
)

// quiet is how often progress is told where no terminal shows it.
const quiet = 30 * time.Second

// clearLine takes the cursor back and empties its line (ECMA-48, EL).
const clearLine = "\r\x1b[K"

// progress shows how much of some bytes is left, at most what it began with:
// a bar on a terminal, elsewhere a line now and then.
type progress struct {
	out      io.Writer
	terminal bool
	total    int64
	began    time.Time
	last     time.Time // of the last line
	drawn    bool
}

func newProgress(out io.Writer, now time.Time) *progress {
	return &progress{out: out, terminal: isTerminal(out), began: now, last: now}
}

func (p *progress) show(left int64, now time.Time) {
	p.total = max(p.total, left)
	switch {
	case p.terminal:
		_, _ = io.WriteString(p.out, clearLine+p.line(left, now))
		p.drawn = true
	case now.Sub(p.last) >= quiet:
		say(p.out, p.line(left, now))
		p.last = now
	}
}

// line is such as: committing [#####     ] 12 MiB of 24 MiB left, 3 MiB/s, 4s to go
func (p *progress) line(left int64, now time.Time) string {
	if left == 0 {
		return "committing what is left"
	}
	const width = 20
	done := p.total - left
	filled := int(done * width / p.total)
	text := fmt.Sprintf("committing [%s%s] %d MiB of %d MiB left", strings.Repeat("#", filled), strings.Repeat(" ", width-filled), mebi(left), mebi(p.total))
	seconds := now.Sub(p.began).Seconds()
	if done <= 0 || seconds < 1 {
		return text
	}
	rate := float64(done) / seconds
	eta := time.Duration(float64(left) / rate * float64(time.Second)).Round(time.Second)
	return fmt.Sprintf("%s, %.1f MiB/s, %v to go", text, rate/(1<<20), eta)
}

// mebi rounds up: what is left is never shown as nothing.
func mebi(n int64) int64 { return (n + 1<<20 - 1) >> 20 }

// end leaves the line of a bar.
func (p *progress) end() {
	if p.drawn {
		_, _ = io.WriteString(p.out, clearLine)
	}
}
