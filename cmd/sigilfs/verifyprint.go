package main

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/sigilfs/sigilfs/internal/bulk"
	"github.com/sigilfs/sigilfs/internal/volume"
)

// finding prints one.
func (p *verifyPrinter) finding(f *volume.Finding) {
	text := fmt.Sprintf("%s %s: %v", f.Fault, shownName(p.orKey(f)), f.Err)
	e := event{"event": "finding", "fault": f.Fault, "key": f.Key, "reason": f.Err.Error()}
	if f.Path != "" {
		e["path"] = p.path(f.Path)
	}
	if len(f.Damage) > 0 {
		var lost []event
		var ranges []string
		for _, r := range f.Damage {
			lost = append(lost, event{"offset": r.Off, "length": r.Len})
			ranges = append(ranges, fmt.Sprintf("%d bytes at %d", r.Len, r.Off))
		}
		e["offset"], e["damage"], e["more"] = f.Damage[0].Off, lost, f.More
		text += "; lost of the content: " + strings.Join(ranges, ", ")
		if f.More {
			text += " and more"
		}
	}
	if f.Mended != "" {
		e["mended"] = f.Mended
		text += "; mended: " + f.Mended
	}
	if f.Unmended != nil {
		e["unmended"] = f.Unmended.Error()
		text += "; not mended: " + f.Unmended.Error()
	}
	p.line(inOneLine(text), e)
	p.sum.mend(f)
}

// untold says why it cannot be told of an object whether it is an older state:
// that is mostly the same of all.
func (p *verifyPrinter) untold(err error) {
	p.once.Do(func() {
		p.line(inOneLine(fmt.Sprintf("untold: %v", err)), event{"event": "untold", "reason": err.Error()})
	})
}

// path is what people call a path of the volume.
func (p *printer) path(stored string) string {
	if p.of != nil {
		return p.of.shownPath(stored)
	}
	return stored
}

func (p *verifyPrinter) orKey(f *volume.Finding) string {
	if f.Path != "" {
		return p.path(f.Path)
	}
	return f.Key
}

// verifySum is what a run came to.
type verifySum struct {
	volume.Verified
	sound, unseen int64
	untold        int64 // that may be older states
	foreign       bool  // there is what has no name of this volume
	resumed       bool  // what Verified counts is of this run alone
	bytes         int64
	found         map[string]int64 // by fault, but for what was not seen

	mended, unmended int64
}

func (s *verifySum) mend(f *volume.Finding) {
	if f.Unmended != nil {
		s.unmended++
	} else if f.Mended != "" {
		s.mended++
	}
}

// count adds to what was found.
func (s *verifySum) count(kind string, n int64) {
	switch kind {
	case sound:
		s.sound += n
	case string(volume.Unseen):
		s.unseen += n
	case untold:
		s.untold += n
	default:
		s.found[kind] += n
	}
}

// take adds what a walk came to, what an interrupted run did of it included.
func (s *verifySum) take(t bulk.Totals) {
	s.unseen += t.Failed
	for kind, c := range t.Done {
		s.count(kind, c.Entries)
		s.bytes += c.Bytes
	}
}

func (s *verifySum) findings() (n int64) {
	for _, one := range s.found {
		n += one
	}
	return n
}

// end prints the summary.
func (p *verifyPrinter) end() error {
	s := &p.sum
	text := []string{fmt.Sprintf("%d objects are as they should be", s.sound)}
	since := ""
	if s.resumed {
		since = " since it was gone on with"
	}
	if s.Bodies > 0 {
		text[0] += fmt.Sprintf(", and the content of %d was read%s: %d MiB", s.Bodies, since, mebibytes(s.Bytes))
	}
	if s.Unprovable > 0 {
		text = append(text, fmt.Sprintf("%d of these could be read, and nothing proves that they are what was written", s.Unprovable))
	}
	if s.Remembered > 0 {
		text = append(text, fmt.Sprintf("%d of the objects were held against the version that this host has known%s", s.Remembered, since))
	}
	if s.foreign {
		text = append(text, "there are objects that have no name of this volume, and are hidden: sigilfs audit lists them")
	}
	if s.untold > 0 {
		text = append(text, fmt.Sprintf("%d objects are whole, and nobody can tell whether they are an older state", s.untold))
	}
	switch {
	case s.LinksUncounted != "":
		text = append(text, "hard links were not counted: "+s.LinksUncounted)
	case s.Names > 0 || s.Inodes > 0:
		text = append(text, fmt.Sprintf("%d names of %d files with hard links were counted", s.Names, s.Inodes))
	}
	if s.Unsettled > 0 {
		text = append(text, fmt.Sprintf("%d of them were changed too lately to be judged", s.Unsettled))
	}
	for _, key := range slices.Sorted(maps.Keys(s.Files)) {
		var names []string
		for i, stored := range s.Files[key] {
			s.Files[key][i] = p.path(stored)
			names = append(names, shownName(s.Files[key][i]))
		}
		text = append(text, fmt.Sprintf("%s is what is called %s", key, strings.Join(names, ", ")))
	}
	for _, kind := range slices.Sorted(maps.Keys(s.found)) {
		text = append(text, fmt.Sprintf("%d findings: %s", s.found[kind], kind))
	}
	if s.unseen > 0 {
		text = append(text, fmt.Sprintf("%d objects could not be looked at", s.unseen))
	}
	if s.mended > 0 || s.unmended > 0 {
		text = append(text, fmt.Sprintf("%d findings were mended, %d could not be", s.mended, s.unmended))
	}
	p.line(strings.Join(text, "\n"), event{
		"event": "verified", "sound": s.sound, "findings": s.found, "unseen": s.unseen, "repaired": s.mended, "unrepaired": s.unmended,
		"bodies": s.Bodies, "bytes": s.Bytes, "unprovable": s.Unprovable, "epochs": s.Epochs, "files": s.Files,
		"remembered": s.Remembered, "untold": s.untold, "foreign": s.foreign,
		"links": event{"names": s.Names, "inodes": s.Inodes, "unsettled": s.Unsettled, "uncounted": s.LinksUncounted},
	})
	if p.bad != nil {
		return systemError("%w", p.bad)
	}
	return nil
}

func mebibytes(n int64) int64 { return (n + 1<<20 - 1) >> 20 }

// exit is the error that says how it ended. What was mended was wrong all the same.
func (s *verifySum) exit() error {
	switch n := s.findings(); {
	case n > 0 && s.unseen > 0:
		return &exitError{exitWarned, fmt.Errorf("%d findings, and %d objects could not be looked at", n, s.unseen)}
	case n > 0:
		return &exitError{exitWarned, fmt.Errorf("%d findings", n)}
	case s.unseen > 0:
		return mountError("%d objects could not be looked at", s.unseen)
	case s.untold > 0:
		return mountError("of %d objects nobody can tell whether they are an older state", s.untold)
	}
	return nil
}
