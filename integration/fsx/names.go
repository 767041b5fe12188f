package fsx

import (
	"fmt"
	"slices"

	"golang.org/x/sys/unix"
)

// rename puts a name in place of another one of its class, also of files that
// are open or mapped.
func (t *tester) rename() error {
	c := t.class()
	from, to := c.name(t), c.name(t)
	t.note("rename %s to %s", from, to)
	got, err := t.both(func(s side) outcome {
		return outcome{err: again0(func() error { return unix.Rename(t.path(s, from), t.path(s, to)) })}
	})
	if err == nil && got.err == nil && from != to {
		t.renamed(from, to)
	}
	return err
}

// renamed has the handles tell their file's name of now. One that has none any
// more gets one that no path has, the same for all handles of the file.
func (t *tester) renamed(from, to string) {
	for _, h := range t.handles {
		switch h.name {
		case to:
			h.name, h.gone = fmt.Sprintf("%s until %d", to, t.count), true
		case from:
			h.name = to
		}
	}
}

func (t *tester) unlink() error {
	name := t.class().name(t)
	t.note("unlink %s", name)
	got, err := t.both(func(s side) outcome {
		return outcome{err: again0(func() error { return unix.Unlink(t.path(s, name)) })}
	})
	if err == nil && got.err == nil {
		t.renamed("", name)
	}
	return err
}

// truncateName is truncate(2): of a file that nobody need have open.
func (t *tester) truncateName() error {
	c := t.class()
	name := c.name(t)
	var st unix.Stat_t
	_ = unix.Stat(t.path(local, name), &st) // a size of 0 will do
	to := c.offset(t, st.Size)
	t.note("truncate %s to %#x", name, to)
	_, err := t.both(func(s side) outcome {
		return outcome{err: again0(func() error {
			return t.room(s, func() error { return unix.Truncate(t.path(s, name), to) })
		})}
	})
	return err
}

// stat compares what there is, by name.
func (t *tester) stat() error {
	name := t.class().name(t)
	t.note("stat %s", name)
	return t.sameStat(name)
}

func (t *tester) sameStat(name string) error {
	_, err := t.both(func(s side) outcome {
		var st unix.Stat_t
		err := again0(func() error { return unix.Lstat(t.path(s, name), &st) })
		if err != nil {
			return outcome{err: err}
		}
		return outcome{n: st.Size, data: fmt.Appendf(nil, "%#o %d", st.Mode, st.Nlink)}
	})
	if err != nil {
		return fmt.Errorf("stat %s: %w", name, err)
	}
	return nil
}

// sameNames compares the two listings.
func (t *tester) sameNames() error {
	got, err := list(t.opt.Dir)
	if err != nil {
		return err
	}
	want, err := list(t.opt.Ref)
	if err != nil {
		return err
	}
	if !slices.Equal(got, want) {
		return fmt.Errorf("the directory has %q, want %q", got, want)
	}
	return nil
}
