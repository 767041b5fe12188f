package keyring

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"pgregory.net/rapid"
)

// adminModel is one bucket, hosts with memories of their own that administer it
// at the same time, and what is known from the outside: the epochs' keys and how
// far each has come.
type adminModel struct {
	*rapid.T
	b      *fakeBucket
	keys   []*aesMaster
	hosts  []*Admin
	dirs   []*Dir
	epochs map[EpochID][KeySize]byte
	state  map[EpochID]Phase
	rev    map[EpochID]uint64
	busy   []int              // hosts whose changes race with each other
	closed []map[EpochID]bool // what each host has closed, or seen closed
}

var errLost = errors.New("the answer was lost")

func (m *adminModel) masters() []Master {
	var all []Master
	for _, k := range m.keys {
		all = append(all, k)
	}
	return all
}

// restart gives a host a new process; its memory is on its disk.
func (m *adminModel) restart(i int) {
	r, err := New(Options{Masters: m.masters(), Bucket: m.b, Dir: m.dirs[i]})
	if err != nil {
		m.Fatal(err)
	}
	m.hosts[i] = administer(m.T, r)
}

// create has a host with one key or two make an epoch.
func (m *adminModel) create() {
	r, err := New(Options{Masters: m.masters(), Bucket: m.b})
	if err != nil {
		m.Fatal(err)
	}
	var write []Master
	for _, i := range rapid.SliceOfNDistinct(rapid.IntRange(0, len(m.keys)-1), 1, 2, rapid.ID).Draw(m.T, "key set") {
		write = append(write, m.keys[i])
	}
	s, err := r.Set(write)
	if err != nil {
		m.Fatal(err)
	}
	id, key, err := s.Current(m.Context())
	if err != nil {
		m.Fatal(err)
	}
	m.epochs[id], m.rev[id] = key, 1
}

// aim draws one: what the commands do, and other things.
func (m *adminModel) aim() Aim {
	var aim Aim
	for _, k := range m.keys {
		if rapid.IntRange(0, 3).Draw(m.T, "add") == 0 {
			aim.Add = append(aim.Add, k)
		}
	}
	gone := map[string]bool{}
	for _, k := range m.keys {
		gone[k.ID()] = rapid.IntRange(0, 2).Draw(m.T, "drop") == 0
	}
	for _, add := range aim.Add {
		delete(gone, add.ID())
	}
	aim.Drop = func(w Wrap) bool { return gone[w.Key] }
	aim.State = rapid.SampledFrom([]Phase{Live, Live, Live, Live, Retired, Closed}).Draw(m.T, "state")
	return aim
}

// pursue has a host pursue an aim with one epoch, or all of them.
func (m *adminModel) pursue() {
	idle := slices.DeleteFunc([]int{0, 1}, func(i int) bool { return slices.Contains(m.busy, i) })
	i := rapid.SampledFrom(idle).Draw(m.T, "host")
	host, aim, alone := m.hosts[i], m.aim(), len(m.busy) == 0
	m.busy = append(m.busy, i)
	defer func() { m.busy = m.busy[:len(m.busy)-1] }()
	for id := range m.epochs {
		h, err := host.look(m.Context(), "", id)
		if err != nil || h.Err != nil {
			m.Fatal("look", err, h.Err)
		}
		raced := false
		m.b.replacing = func(string) (error, bool) {
			m.b.replacing = nil
			switch rapid.SampledFrom([]string{"", "", "race", "lost", "failed", "repeated"}).Draw(m.T, "fault") {
			case "race":
				raced = true
				if len(m.busy) < len(m.hosts) {
					m.pursue()
				}
			case "lost":
				return errLost, true
			case "failed":
				return errLost, false
			case "repeated":
				return fmt.Errorf("once more: %w", ErrChanged), true
			}
			return nil, false
		}
		_, err = host.Apply(m.Context(), &h, aim)
		m.b.replacing = nil
		if err == nil && h.State == Closed {
			m.closed[i][id] = true
		}
		switch {
		case err == nil && alone && !raced && !aim.Change(m.see(id)).None():
			m.Fatalf("the aim was not reached: %+v", aim.Change(m.see(id)))
		case err != nil && !errors.Is(err, ErrOnlyWay) && !errors.Is(err, errLost):
			m.Fatal(err)
		}
		m.check(m.T)
	}
}

// see reads an epoch with all keys and no memory.
func (m *adminModel) see(id EpochID) Held {
	r, err := New(Options{Masters: m.masters(), Bucket: m.b})
	if err != nil {
		m.Fatal(err)
	}
	h, err := administer(m.T, r).look(m.Context(), "", id)
	if err != nil || h.Err != nil {
		m.Fatal("epoch is lost", err, h.Err)
	}
	return h
}

// check: every epoch opens by every wrap it has, to the key that it was made
// with, its MAC holds (or it would not open), and it goes back from nothing. What
// lies under it opens for who knows nothing until it is closed, and never again
// for a host that saw it closed.
func (m *adminModel) check(t *rapid.T) {
	for id, key := range m.epochs {
		h := m.see(id)
		if *h.found.key != key {
			t.Fatal("epoch has another key")
		}
		for _, w := range h.Epoch.Wraps {
			got, err := m.hosts[0].ring.masters[w.Key].Unwrap(t.Context(), id, w)
			if err != nil || *got != key {
				t.Fatalf("wrap for %s: %v", w.Key, err)
			}
		}
		if h.Epoch.State < m.state[id] || h.Epoch.Revision < m.rev[id] {
			t.Fatalf("went back: %v of revision %d after %v of revision %d", h.Epoch.State, h.Epoch.Revision, m.state[id], m.rev[id])
		}
		m.state[id], m.rev[id] = h.Epoch.State, h.Epoch.Revision
		if err := m.read(mustNew(t, Options{Masters: m.masters(), Bucket: m.b}), id); (err == nil) == (h.State == Closed) {
			t.Fatalf("an epoch that is %v: %v", h.State, err)
		}
		for i, host := range m.hosts {
			if err := m.read(host.ring, id); m.closed[i][id] && !errors.Is(err, ErrWrongKey) {
				t.Fatalf("a host opens what it saw closed: %v", err)
			}
		}
	}
}

func mustNew(t fataler, opt Options) *Ring {
	r, err := New(opt)
	if err != nil {
		t.Fatalf("%v", err)
	}
	return r
}

// read opens what is sealed under an epoch.
func (m *adminModel) read(r *Ring, id EpochID) error {
	key, err := r.Open(m.Context(), "object", id, is(m.epochs[id]))
	if err == nil && key != m.epochs[id] {
		m.Fatal("another key")
	}
	return err
}

// rollBack shows every host but the first, who knows better, an older revision;
// the first then goes over it with any aim that changes nothing.
func (m *adminModel) rollBack(old map[EpochID][]byte) {
	for id, stored := range old {
		for _, host := range m.hosts { // all get to know what is there now, by changing it
			h, _ := host.look(m.Context(), "", id)
			if _, err := host.Apply(m.Context(), &h, Aim{State: min(Retired, m.state[id]+1)}); err != nil {
				m.Fatal(err)
			}
		}
		m.check(m.T)
		m.b.set(epochPath("", id), stored)
		for _, host := range m.hosts {
			h, _ := host.look(m.Context(), "", id)
			if _, err := host.Apply(m.Context(), &h, Aim{}); err != nil {
				m.Fatal(err)
			}
		}
	}
	m.check(m.T)
}

// TestAdminModel: several hosts change the keys and states of several epochs at
// once, over a bucket that loses answers and is rolled back.
func TestAdminModel(t *testing.T) {
	base, runs := memory(t), 0
	few(t, "25", func() {
		rapid.Check(t, func(t *rapid.T) {
			runs++
			m := &adminModel{T: t, b: newBucket(), epochs: map[EpochID][KeySize]byte{}, state: map[EpochID]Phase{}, rev: map[EpochID]uint64{}}
			for i := range 3 {
				m.keys = append(m.keys, aesKey(byte(10*i+1)))
			}
			for i := range 2 {
				path := filepath.Join(base, fmt.Sprint(runs, "-", i))
				d, err := OpenDir(path)
				if err != nil {
					t.Fatal(err)
				}
				defer os.RemoveAll(path)
				m.hosts, m.dirs, m.closed = append(m.hosts, nil), append(m.dirs, d), append(m.closed, map[EpochID]bool{})
				m.restart(i)
			}
			m.create()
			old := map[EpochID][]byte{}
			t.Repeat(map[string]func(*rapid.T){
				"": m.check,
				"create": func(t *rapid.T) {
					m.T = t
					if len(m.epochs) < 2 {
						m.create()
					}
				},
				"pursue":  func(t *rapid.T) { m.T = t; m.pursue() },
				"restart": func(t *rapid.T) { m.T = t; m.restart(rapid.IntRange(0, 1).Draw(t, "host")) },
				"copy": func(t *rapid.T) {
					m.T = t
					for id := range m.epochs {
						old[id] = m.b.object(epochPath("", id))
					}
				},
				"roll back": func(t *rapid.T) { m.T = t; m.rollBack(old) },
			})
		})
	})
}
