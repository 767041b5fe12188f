package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"time"

	"github.com/sigilfs/sigilfs/integration/bench/report"
)

// progress says what goes on, for whoever waits.
func progress(format string, args ...any) { _, _ = fmt.Fprintf(os.Stderr, format+"\n", args...) }

// versions are those of all that is measured.
func (b *bed) versions(ctx context.Context) map[string]string {
	all := map[string]string{}
	for _, c := range b.contending {
		if c.fs != nil {
			all[c.name] = c.fs.version(ctx)
		}
	}
	return all
}

// A turn is one work on one link.
type turn struct {
	w work
	l link
}

// turns are all that are asked for.
func (o options) turns() []turn {
	var all []turn
	for _, l := range o.links {
		for _, w := range works {
			if o.works.MatchString(w.name) && w.suits(l) {
				all = append(all, turn{w, l})
			}
		}
	}
	return all
}

// all takes every turn, and gives the rows of each to keep.
func (b *bed) all(ctx context.Context, keep func([]report.Row) error) error {
	turns := b.opt.turns()
	for i, t := range turns {
		rows, err := b.row(ctx, t.w, t.l)
		if err != nil {
			return err
		}
		if err := keep(rows); err != nil {
			return err
		}
		next := ""
		if i+1 < len(turns) {
			next = turns[i+1].w.fixture
		}
		if err := b.release(ctx, next); err != nil {
			return err
		}
	}
	return nil
}

// row measures one work on one link: all programs in a round, one after the
// other, so that what slows the machine down for a while slows all.
func (b *bed) row(ctx context.Context, w work, l link) ([]report.Row, error) {
	var rows []report.Row
	var by []*contender
	for _, c := range b.contending {
		if w.by(c) {
			by = append(by, c)
			row := report.Row{Work: w.name, Link: l.name, Who: c.name, Kind: c.kind}
			if w.bytes != nil {
				row.Bytes = w.bytes(b.opt.sizes)
			}
			if w.tree {
				row.Files = b.opt.sizes.small()
			}
			rows = append(rows, row)
		}
	}
	rounds := 1
	if w.often {
		rounds = b.opt.rounds
	}
	for range rounds {
		for i, c := range by {
			s := b.round(ctx, c, w, l)
			if ctx.Err() != nil {
				return nil, ctx.Err()
			}
			rows[i].Rounds = append(rows[i].Rounds, s)
			progress("%s, %s, %s: %.2f s %s", w.name, l.name, c.name, s.Seconds, s.Failed)
		}
	}
	return rows, nil
}

// round is one program once. What fails is said in the sample.
func (b *bed) round(ctx context.Context, c *contender, w work, l link) report.Sample {
	limited, cancel := context.WithTimeout(ctx, b.opt.limit)
	defer cancel()
	s, err := b.try(limited, c, w, l)
	b.place(link{})
	if err != nil || w.changes {
		err = errors.Join(err, b.clear(ctx, c))
	}
	if err != nil {
		s = report.Sample{Failed: cut(b.bare(err), 300)}
	}
	return s
}

// bare is what err says, without where this run has its files.
func (b *bed) bare(err error) string { return strings.ReplaceAll(err.Error(), b.dir+"/", "") }

func cut(s string, most int) string {
	if len(s) > most {
		s = s[:most] + "…"
	}
	return s
}

func (b *bed) try(ctx context.Context, c *contender, w work, l link) (report.Sample, error) {
	if err := b.furnish(ctx, c, w.fixture); err != nil {
		return report.Sample{}, fmt.Errorf("before: %w", err)
	}
	if c.fs == nil {
		b.place(l)
		b.meter.Take()
		s, err := b.raw(ctx, c.bucket, w.raw)
		b.count(&s)
		return s, err
	}
	s, err := b.mountedRound(ctx, c, w, l)
	if err != nil || w.check == nil {
		return s, err
	}
	if err := b.within(ctx, c, func(st *stage) error { return w.check(ctx, st) }); err != nil {
		return s, fmt.Errorf("wrong: %w", err)
	}
	return s, nil
}

// furnish puts into the bucket what a work needs, unless it is there.
func (b *bed) furnish(ctx context.Context, c *contender, fixture string) error {
	if c.fixture == fixture && fixture != "" {
		return nil
	}
	if err := b.reset(ctx, c); err != nil {
		return err
	}
	f, ok := fixtures[fixture]
	if !ok || c.kind == report.Null {
		return nil
	}
	if c.fs == nil {
		if _, err := b.raw(ctx, c.bucket, f.raw); err != nil {
			return err
		}
	} else if err := b.within(ctx, c, func(st *stage) error { return f.make(ctx, st) }); err != nil {
		return err
	}
	c.fixture = fixture
	return nil
}

// within does something on a mount that nobody measures.
func (b *bed) within(ctx context.Context, c *contender, do func(st *stage) error) error {
	m, err := b.mounts(ctx, c, use{renames: true}, "")
	if err != nil {
		return err
	}
	defer context.AfterFunc(ctx, m.kill)()
	if err := errors.Join(do(&stage{bed: b, c: c}), m.settle(ctx)); err != nil {
		m.kill()
		return err
	}
	return finish(ctx, m)
}

// finish unmounts, or kills what cannot be.
func finish(ctx context.Context, m mounted) error {
	err := m.unmount(ctx)
	if err != nil {
		m.kill()
	}
	return err
}

// mountedRound is the work on a mount with nothing cached.
func (b *bed) mountedRound(ctx context.Context, c *contender, w work, l link) (s report.Sample, err error) {
	m, err := b.mounts(ctx, c, w.use, w.name+"-"+l.name)
	if err != nil {
		return s, err
	}
	defer context.AfterFunc(ctx, m.kill)() // else a system call might wait for ever
	st := &stage{bed: b, c: c}
	if w.before != nil {
		err = errors.Join(w.before(ctx, st), m.settle(ctx))
	}
	b.place(l)
	if err == nil {
		err = b.timed(ctx, m, w, st, &s)
	}
	if err != nil {
		m.kill()
		return s, err
	}
	began := time.Now()
	err = finish(ctx, m)
	if w.changes {
		s.After = time.Since(began).Seconds()
		b.count(&s)
	}
	b.place(link{})
	return s, err
}

// timed is the work itself.
func (b *bed) timed(ctx context.Context, m mounted, w work, st *stage, s *report.Sample) error {
	before, err := processor(m.pids())
	if err != nil {
		return err
	}
	forget(m.pids())
	b.meter.Take()
	began := time.Now()
	if err := errors.Join(w.do(ctx, st), m.settle(ctx)); err != nil {
		return err
	}
	s.Seconds = time.Since(began).Seconds()
	b.count(s)
	s.P50, s.P99 = st.p50.Seconds(), st.p99.Seconds()
	after, err := processor(m.pids())
	s.CPU = after - before
	if err != nil {
		return err
	}
	s.RSS, err = memory(m.pids())
	return err
}

// count adds what passed the meter since it was read last.
func (b *bed) count(s *report.Sample) {
	t := b.meter.Take()
	s.Sent += t.Sent
	s.Received += t.Received
	if s.Requests == nil {
		s.Requests = map[string]int{}
	}
	for verb, n := range t.Verbs {
		s.Requests[verb] += n
	}
}
