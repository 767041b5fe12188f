package keyring

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"os"
	"slices"
	"testing"

	"pgregory.net/rapid"
)

// A siege is a bucket in the hands of somebody who knows every master key, and so
// the key of every epoch; and hosts that write there and read. What he lacks is
// alice's key to sign with.
type siege struct {
	*trusting
	alice, mallory *SigningKey

	dirs  map[string]*Dir // of hosts
	hosts map[string]mounted

	keys    map[EpochID][KeySize]byte // as their makers know them
	makers  map[EpochID]string
	made    []EpochID
	signed  map[EpochID][]*Epoch // by alice
	fake    map[EpochID][][KeySize]byte
	history map[string][][]byte // of the bucket, by key
	seen    map[string]Phase    // by host and epoch: the furthest that it knew
}

const (
	signerHost = "signs"   // signs, and reads without signers
	boundHost  = "bound"   // reads what alice signed; signs nothing
	strictHost = "strict"  // reads what alice signed; signs with her key
	deepPrefix = "web1/"   // a prefix of obj where epochs may be planted
	besieged   = "plainly" // neither signs nor has signers
)

func newSiege(t *testing.T, base string) *siege {
	s := &siege{
		trusting: newTrusting(t), alice: signingKey(0x90), mallory: signingKey(0xa0),
		dirs: map[string]*Dir{}, hosts: map[string]mounted{}, keys: map[EpochID][KeySize]byte{}, makers: map[EpochID]string{},
		signed: map[EpochID][]*Epoch{}, fake: map[EpochID][][KeySize]byte{}, history: map[string][][]byte{}, seen: map[string]Phase{},
	}
	for _, name := range s.names() {
		path, err := os.MkdirTemp(base, name)
		if err == nil {
			s.dirs[name], err = OpenDir(path)
		}
		if err != nil {
			t.Fatal(err)
		}
		s.mount(name)
	}
	return s
}

// end takes the hosts' memories away.
func (s *siege) end() {
	for _, d := range s.dirs {
		_ = os.RemoveAll(d.path)
	}
}

func (s *siege) names() []string { return []string{signerHost, boundHost, strictHost, besieged} }

// mount gives a host a new ring on its old memory.
func (s *siege) mount(name string) {
	c := conf{Dir: s.dirs[name], Host: name}
	switch name {
	case signerHost:
		c.Sign = s.alice
	case boundHost:
		c.Signers = signersOf(s.alice)
	case strictHost:
		c.Signers, c.Sign = signersOf(s.alice), s.alice
	}
	s.hosts[name] = s.host(c)
}

func bound(name string) bool { return name == boundHost || name == strictHost }

// store notes and writes what somebody puts into the bucket.
func (s *siege) store(key string, data []byte) {
	s.bucket.set(key, data)
	s.note()
}

func (s *siege) note() {
	for _, key := range s.bucket.keys() {
		data := s.bucket.object(key)
		if !slices.ContainsFunc(s.history[key], func(have []byte) bool { return bytes.Equal(have, data) }) {
			s.history[key] = append(s.history[key], bytes.Clone(data))
		}
	}
}

// seal has a host name the epoch that it would seal under.
func (s *siege) seal(rt *rapid.T, name string) {
	id, key, err := s.hosts[name].Current(s.t.Context())
	if err != nil {
		rt.Fatalf("%s has no epoch to seal under: %v", name, err)
	}
	if maker, known := s.makers[id]; known && (maker != name || key != s.keys[id]) {
		rt.Fatalf("%s seals under an epoch of %s", name, maker)
	}
	for _, fake := range s.fake[id] {
		if key == fake {
			rt.Fatalf("%s seals under a planted epoch", name)
		}
	}
	if _, known := s.makers[id]; !known {
		s.makers[id], s.keys[id], s.made = name, key, append(s.made, id)
		if name == signerHost || name == strictHost {
			s.signed[id] = append(s.signed[id], s.parse(rt, id, s.bucket.object(epochPath("", id))))
		}
		s.note()
	}
}

func (s *siege) parse(rt *rapid.T, id EpochID, data []byte) *Epoch {
	e, err := ParseEpoch(id, data)
	if err != nil {
		rt.Fatal(err)
	}
	return e
}

// believable tells whether a bound host may know an epoch so.
func (s *siege) believable(name string, e *Epoch) bool {
	return s.makers[e.ID] == name && e.Revision == 1 ||
		slices.ContainsFunc(s.signed[e.ID], func(have *Epoch) bool { return bytes.Equal(have.stored, e.stored) })
}

// check is what holds at any time.
func (s *siege) check(rt *rapid.T) {
	for name, host := range s.hosts {
		for id, entries := range host.epochs {
			for _, e := range entries {
				at := name + " " + id.String() + fmt.Sprint(e.sum())
				if e.state < s.seen[at] {
					rt.Fatalf("%s goes back from %v to %v", at, s.seen[at], e.state)
				}
				s.seen[at] = e.state
				if !bound(name) {
					continue
				}
				switch {
				case *e.key != s.keys[id]:
					rt.Fatalf("%s opened the planted epoch %s", name, id)
				case e.unsigned && s.makers[id] != name:
					rt.Fatalf("%s knows epoch %s from nobody", name, id)
				case !e.unsigned && !s.believable(name, e.epoch):
					rt.Fatalf("%s follows revision %d of epoch %s, which alice did not sign", name, e.epoch.Revision, id)
				case e.state != Live && !s.reached(id, e.state):
					rt.Fatalf("%s takes epoch %s for %v, which alice did not say", name, id, e.state)
				}
			}
		}
	}
}

// reached tells whether alice signed the epoch in this state or a further one.
func (s *siege) reached(id EpochID, p Phase) bool {
	return slices.ContainsFunc(s.signed[id], func(e *Epoch) bool { return e.State >= p })
}

// open has a host read what is sealed under an epoch of its maker's.
func (s *siege) open(rt *rapid.T, name string, id EpochID) {
	s.clock.advance(missLife)
	shown := s.bucket.object(epochPath("", id))
	_, err := s.hosts[name].Open(s.t.Context(), obj, id, is(s.keys[id]))
	s.note()
	if !bound(name) {
		return
	}
	closed := s.reached(id, Closed)
	e, bad := ParseEpoch(id, shown)
	switch {
	case err == nil:
		if s.makers[id] != name && len(s.signed[id]) == 0 {
			rt.Fatalf("%s opens an epoch of %s, who does not sign", name, s.makers[id])
		}
	case s.makers[id] == name && !closed:
		rt.Fatalf("%s does not open its own epoch: %v", name, err)
	case bad == nil && s.believable(name, e) && !closed:
		rt.Fatalf("%s does not open an epoch of %s as alice signed it: %v", name, s.makers[id], err)
	}
	for _, fake := range s.fake[id] {
		s.clock.advance(missLife)
		if _, err := s.hosts[name].Open(s.t.Context(), obj, id, is(fake)); err == nil {
			rt.Fatalf("%s opens a planted epoch", name)
		} else if !final(err) {
			rt.Fatal(err)
		}
	}
}

// change is alice's, from the newest revision that she signed.
func (s *siege) change(rt *rapid.T, id EpochID) {
	if len(s.signed[id]) == 0 {
		return
	}
	last := slices.MaxFunc(s.signed[id], func(a, b *Epoch) int { return cmp.Compare(a.Revision, b.Revision) })
	state := Phase(rapid.IntRange(int(last.State), int(Closed)).Draw(rt, "state"))
	data := forged(s.t, id, s.keys[id], last.stored, s.alice, func(e *Epoch) { e.State = state })
	s.signed[id] = append(s.signed[id], s.parse(rt, id, data))
	s.store(epochPath("", id), data)
}

// administer has the host that signs and has signers retire or close an epoch, as
// far as it believes what it sees; what it wrote is alice's word.
func (s *siege) administer(rt *rapid.T, id EpochID) {
	at := epochPath("", id)
	aim := Aim{State: Phase(rapid.IntRange(int(Retired), int(Closed)).Draw(rt, "state"))}
	h := Held{ID: id}
	_, err := administer(rt, s.hosts[strictHost].Ring).Apply(s.t.Context(), &h, aim)
	now := s.bucket.object(at)
	if e, bad := ParseEpoch(id, now); err == nil && bad == nil && e.SignedBy(s.alice.Signer()) {
		if e.Verify(ptr(s.keys[id])) != nil {
			rt.Fatalf("a planted epoch was signed")
		}
		s.signed[id] = append(s.signed[id], e)
	}
	s.note()
	if err == nil && len(s.signed[id]) == 0 {
		rt.Fatalf("an epoch of %s, who does not sign, was changed", s.makers[id])
	}
}

func ptr[T any](v T) *T { return &v }

// attack is one thing that who owns the bucket and knows all keys may do.
func (s *siege) attack(rt *rapid.T, id EpochID) {
	at := epochPath("", id)
	key := s.keys[id]
	switch rapid.SampledFrom([]string{"revise", "resign", "graft", "strip", "roll back", "plant", "delete", "garbage"}).Draw(rt, "attack") {
	case "revise", "resign":
		s.revise(rt, id, key)
	case "graft": // the signature of one revision under the lines of another
		all := s.history[at]
		lines := bytes.SplitAfter(all[rapid.IntRange(0, len(all)-1).Draw(rt, "lines")], []byte("\n"))
		sig := s.signatures(id)
		if len(lines) > 2 && len(sig) > 0 {
			s.store(at, slices.Concat(lines[0], lines[1], base64Line(rapid.SampledFrom(sig).Draw(rt, "signature"))))
		}
	case "strip":
		if lines := bytes.SplitAfter(s.bucket.object(at), []byte("\n")); len(lines) == 4 {
			s.store(at, slices.Concat(lines[0], lines[1]))
		}
	case "roll back":
		s.store(at, rapid.SampledFrom(s.history[at]).Draw(rt, "old"))
	case "plant": // the same id with a key of his own, nearer to the object or in its place
		var fake [KeySize]byte
		fake[0] = rapid.Byte().Draw(rt, "fake")
		w, err := s.master.Wrap(s.t.Context(), id, &fake)
		if err != nil {
			rt.Fatal(err)
		}
		e := &Epoch{ID: id, Revision: 1, Created: s.clock.now().UTC(), Host: "mallory", Wraps: []Wrap{w}}
		if _, err := e.Marshal(&fake); err != nil {
			rt.Fatal(err)
		}
		if rapid.Bool().Draw(rt, "signed") {
			e.sign(s.mallory)
		}
		s.fake[id] = append(s.fake[id], fake)
		s.store(epochPath(rapid.SampledFrom([]string{"", deepPrefix}).Draw(rt, "where"), id), e.stored)
	case "delete":
		s.bucket.delete(at)
	case "garbage":
		s.store(at, rapid.SliceOfN(rapid.Byte(), 0, 40).Draw(rt, "garbage"))
	}
}

// revise makes a revision with a valid MAC.
func (s *siege) revise(rt *rapid.T, id EpochID, key [KeySize]byte) {
	var sign *SigningKey
	if rapid.Bool().Draw(rt, "signed") {
		sign = s.mallory
	}
	at := epochPath("", id)
	from := slices.DeleteFunc(slices.Clone(s.history[at]), func(data []byte) bool { return second(ParseEpoch(id, data)) != nil })
	s.store(at, forged(s.t, id, key, rapid.SampledFrom(from).Draw(rt, "from"), sign, func(e *Epoch) {
		e.Revision = rapid.Uint64Range(1, 6).Draw(rt, "revision")
		e.State = Phase(rapid.IntRange(int(Live), int(Closed)).Draw(rt, "state"))
		if rapid.Bool().Draw(rt, "wrap") {
			w, _ := aesKey(0xe0).Wrap(s.t.Context(), id, &key)
			e.Wraps = append(slices.DeleteFunc(e.Wraps, func(have Wrap) bool { return have.Key == w.Key }), w)
		}
	}))
}

func (s *siege) signatures(id EpochID) (all [][]byte) {
	for _, e := range s.signed[id] {
		all = append(all, e.Signature)
	}
	return all
}

// TestSigners holds hosts with signers to this: whatever is done to the bucket,
// they open no epoch but what alice signed or they made, follow no revision but
// hers, go back from no state, and seal only under what they made; and they do
// open what she signed and what they made.
func TestSigners(t *testing.T) {
	base := memory(t)
	few(t, "25", func() { rapid.Check(t, func(rt *rapid.T) { besiege(t, rt, base) }) })
}

func besiege(t *testing.T, rt *rapid.T, base string) {
	s := newSiege(t, base)
	defer s.end()
	s.seal(rt, signerHost)
	epoch := func() EpochID {
		return s.made[rapid.IntRange(0, len(s.made)-1).Draw(rt, "epoch")]
	}
	host := func() string { return rapid.SampledFrom(s.names()).Draw(rt, "host") }
	rt.Repeat(map[string]func(*rapid.T){
		"":           s.check,
		"seal":       func(rt *rapid.T) { s.seal(rt, host()) },
		"open":       func(rt *rapid.T) { s.open(rt, host(), epoch()) },
		"change":     func(rt *rapid.T) { s.change(rt, epoch()) },
		"administer": func(rt *rapid.T) { s.administer(rt, epoch()) },
		"attack":     func(rt *rapid.T) { s.attack(rt, epoch()) },
		"recheck": func(rt *rapid.T) {
			if err := s.hosts[host()].Recheck(s.t.Context()); err != nil && !errors.Is(err, ErrCorrupt) {
				rt.Fatal(err)
			}
			s.note()
		},
		"mount": func(*rapid.T) { s.mount(host()) },
	})
}
