package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"iter"
	"strconv"
	"sync"
	"unicode"

	"github.com/sigilfs/sigilfs/cmd/sigilfs/internal/progress"
	"github.com/sigilfs/sigilfs/internal/objstore"
)

// printer is the output of a long command that tells of objects one by one: on
// stdout lines for persons, and how far it is on stderr; or all as JSON, one
// document a line. Safe for concurrent use.
type printer struct {
	bar  *progress.Progress
	json bool
	err  io.Writer
	of   *mounting // whose keys have names; nil: they are names

	mu  sync.Mutex // guards out, and whose turn it is
	out io.Writer
	bad error // of the first write that failed
}

func newPrinter(stdout, stderr io.Writer, what string, asJSON bool) *printer {
	p := &printer{out: stdout, err: stderr, json: asJSON}
	if asJSON {
		p.bar = progress.New(stdout, progress.Options{What: what, JSON: true})
	} else {
		p.bar = progress.New(stderr, progress.Options{What: what})
	}
	return p
}

// line prints a line for persons, who see what a terminal would obey, or the
// document for machines.
func (p *printer) line(text string, document any) {
	p.mu.Lock()
	defer p.mu.Unlock()
	var err error
	if p.json {
		var b []byte
		if b, err = json.Marshal(document); err == nil {
			_, err = p.bar.Write(append(b, '\n'))
		}
	} else {
		p.bar.Clear()
		_, err = io.WriteString(p.out, visible(text)+"\n")
	}
	if p.bad == nil {
		p.bad = err
	}
}

// say tells a person something on the side.
func (p *printer) say(text string) {
	if !p.json {
		p.bar.Clear()
		say(p.err, text)
	}
}

// event is one of the documents that JSON has.
type event map[string]any

// named is a key as a line can show it.
func (p *printer) named(key string) string {
	if p.of != nil {
		key = p.of.keyOrName(key)
	}
	return shownName(key)
}

// keyed adds to an event about a key what people call it, where it does not say so.
func (p *printer) keyed(e event) event {
	if key, ok := e["key"].(string); ok && p.of != nil {
		return p.of.withPath(e, key)
	}
	return e
}

// failed is told of what could not be looked at.
func (p *printer) failed(key string, err error) {
	p.line(inOneLine(fmt.Sprintf("unseen %s: %v", p.named(key), err)), p.keyed(event{"event": "unseen", "key": key, "reason": err.Error()}))
}

// counting has size find out meanwhile how much there is to do, so that it can be
// told how long the rest will take; stop ends that. What cannot be counted is not
// told, and nothing is counted where nobody is told.
func counting(ctx context.Context, told *progress.Progress, size func(context.Context) (objects, bytes int64, err error)) (stop func()) {
	if told == nil {
		return func() {}
	}
	ctx, cancel := context.WithCancel(ctx)
	var idle sync.WaitGroup
	idle.Go(func() {
		if objects, bytes, err := size(ctx); err == nil {
			told.Total(objects, bytes)
		}
	})
	return func() {
		cancel()
		idle.Wait()
	}
}

// sizes adds up what a listing tells.
func sizes(all iter.Seq2[objstore.Entry, error]) (objects, bytes int64, err error) {
	for e, err := range all {
		if err != nil {
			return 0, 0, err
		}
		objects, bytes = objects+1, bytes+e.Size
	}
	return objects, bytes, nil
}

// shownName is a path or a key as a line can show it: as it is, or quoted.
func shownName(name string) string {
	for _, r := range name {
		if !unicode.IsPrint(r) || r == '"' || r == unicode.ReplacementChar {
			return strconv.Quote(name)
		}
	}
	if name == "" {
		return `""`
	}
	return name
}
