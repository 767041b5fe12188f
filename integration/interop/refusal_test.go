package interop

import (
	"bytes"
	"errors"
	"slices"
	"strings"
	"testing"
)

// What AWS's clients refuse, sigilfs refuses, and every tampering also where one
// of them reads on.
func TestTampered(t *testing.T) {
	everyObject(t, func(t *testing.T, w implementation, c config, o stored) {
		for _, tamper := range tamperings() {
			if tamper.on != nil && !tamper.on(c) {
				continue
			}
			t.Run(tamper.name, func(t *testing.T) {
				changed := o.clone()
				tamper.do(&changed)
				refused(t, w, c, changed, tamper, world.mount)
			})
		}
		t.Run("body of another object", func(t *testing.T) {
			other := written(t, w, c, c.prefix()+t.Name()+"/other")
			refused(t, w, c, splice(o, other), tampering{}, world.mount)
		})
	})
}

// An object that nobody touched is refused to a reader that lacks the key, the
// context, or what its policy asks for. The mount has one configuration: it is
// asked for what was written by another, or under its strict rule.
func TestMisread(t *testing.T) {
	everyObject(t, func(t *testing.T, w implementation, c config, o stored) {
		for _, m := range misreadings(c) {
			t.Run(m.name, func(t *testing.T) {
				refused(t, w, m.config, o, tampering{})
				switch m.mount {
				case underStrictRule:
					key := strict + t.Name()
					if err := o.save(t.Context(), key); err != nil {
						t.Fatal(err)
					}
					ask(t, w, world.mount, c, key, tampering{})
				case writtenSo:
					key := c.prefix() + t.Name() + ", written so"
					if err := w.write(t.Context(), key, plaintext(1000), m.config); err != nil {
						t.Fatal(err)
					}
					ask(t, w, world.mount, c, key, tampering{})
				}
			})
		}
	})
}

// A misreading is a reader's configuration that is not the object's.
type misreading struct {
	name  string
	mount mountQuestion
	config
}

// A mountQuestion is how the mount meets such an object.
type mountQuestion int

const (
	never           mountQuestion = iota // it has all keys and contexts
	underStrictRule                      // the object, where the rule does not take it
	writtenSo                            // another, written by the other configuration
)

func misreadings(c config) []misreading {
	var all []misreading
	add := func(name string, mount mountQuestion, on bool, change func(*config)) {
		if on {
			other := c
			change(&other)
			all = append(all, misreading{name, mount, other})
		}
	}
	add("wrong key", writtenSo, true, func(o *config) { o.Secret = world.secrets[c.Keyring][1] })
	for _, keyring := range []string{"kms", "aes", "rsa"} {
		add("keyring "+keyring, never, keyring != c.Keyring, func(o *config) { o.Keyring, o.Secret = keyring, world.secrets[keyring][0] })
	}
	kms := c.Keyring == "kms"
	add("no context", never, kms, func(o *config) { o.Context = map[string]string{} })
	add("other context", writtenSo, kms, func(o *config) { o.Context = map[string]string{"tenant": "another", "path": "x y"} })
	add("part of the context", writtenSo, kms, func(o *config) { o.Context = map[string]string{"path": "x y"} })
	add("commitment required", underStrictRule, !c.Commit, func(o *config) { o.Policy = "require" })
	// An object of V3 says itself that it has an instruction file, and is read.
	strictly := map[bool]mountQuestion{false: underStrictRule, true: never}[c.Commit]
	add("instruction files not in use", strictly, c.Instruction, func(o *config) { o.Instruction = false })
	return all
}

// everyObject does for one object of every config, by the newest client of
// AWS's and by sigilfs.
func everyObject(t *testing.T, do func(t *testing.T, w implementation, c config, o stored)) {
	for _, w := range []implementation{world.newest(), world.sigilfs} {
		for _, c := range configs() {
			if !world.tally.can(w, c, true) {
				continue
			}
			t.Run(w.name+"/"+c.String(), func(t *testing.T) {
				t.Parallel()
				do(t, w, c, written(t, w, c, c.prefix()+t.Name()+"/original"))
			})
		}
	}
}

// written writes an object and proves that everyone reads it: what fails later
// fails for what was done to it.
func written(t *testing.T, w implementation, c config, key string) stored {
	t.Helper()
	want := plaintext(1000)
	if err := w.write(t.Context(), key, want, c); err != nil {
		t.Fatal(err)
	}
	for _, r := range world.readers(c) {
		if got, err := r.read(t.Context(), key, c); err != nil || !bytes.Equal(got, want) {
			t.Fatalf("%s reads %d bytes: %v", r.name, len(got), err)
		}
	}
	o, err := load(t.Context(), key)
	if err != nil {
		t.Fatal(err)
	}
	return o
}

// refused stores the object and demands that nobody reads it, but those that are
// known to. The mount is asked, as one more, where its configuration fits.
func refused(t *testing.T, w implementation, c config, o stored, known tampering, more ...implementation) {
	t.Helper()
	key := c.prefix() + t.Name()
	if err := o.save(t.Context(), key); err != nil {
		t.Fatal(err)
	}
	for _, r := range append(world.readers(c), more...) {
		if !slices.Contains(known.mutes, r.name) {
			ask(t, w, r, c, key, known)
		}
	}
}

// ask demands that a reader refuses what w wrote, and for the right reason.
func ask(t *testing.T, w, r implementation, c config, key string, known tampering) {
	t.Helper()
	got, err := r.read(t.Context(), key, c)
	switch {
	case err == nil && slices.Contains(known.passes, r.name):
		world.tally.add(row{w.name, r.name, "read on"})
	case err == nil:
		t.Errorf("%s read %d bytes", r.name, len(got))
	case errors.Is(err, errRefused), known.unknown && errors.Is(err, errUnknown):
		t.Logf("%s: %s", r.name, strings.SplitN(err.Error(), "\n", 2)[0])
		world.tally.add(row{w.name, r.name, "refused"})
	default:
		t.Errorf("%s: that is no refusal: %v", r.name, err)
	}
}
