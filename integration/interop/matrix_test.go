package interop

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"testing"
)

// What AWS's clients write, sigilfs reads.
func TestTheyWrite(t *testing.T) {
	for _, w := range world.aws {
		t.Run(w.name, func(t *testing.T) {
			t.Parallel()
			exchange(t, w, world.sigilfs, world.mount)
		})
	}
}

// What sigilfs writes, every client of AWS's reads that knows the format.
func TestWeWrite(t *testing.T) {
	for _, w := range []implementation{world.sigilfs, world.mount} {
		t.Run(w.name, func(t *testing.T) {
			t.Parallel()
			exchange(t, w, world.aws...)
		})
	}
}

// exchange writes an object of every form and has it read.
func exchange(t *testing.T, w implementation, readers ...implementation) {
	for _, f := range forms() {
		if !world.tally.can(w, f.config, true) {
			continue
		}
		t.Run(f.String(), func(t *testing.T) {
			key, want := f.prefix()+t.Name(), plaintext(f.size)
			if err := w.write(t.Context(), key, want, f.config); err != nil {
				t.Fatalf("%s writes: %v", w.name, err)
			}
			checkStored(t, key, f)
			for _, r := range readers {
				if !world.tally.can(r, f.config, false) {
					continue
				}
				got, err := r.read(t.Context(), key, f.config)
				if err != nil {
					t.Errorf("%s reads: %v", r.name, err)
					continue
				}
				if !bytes.Equal(got, want) {
					t.Errorf("%s read %d bytes, other than the %d that %s wrote", r.name, len(got), len(want), w.name)
					continue
				}
				world.tally.add(row{w.name, r.name, "read"})
			}
		})
	}
}

// checkStored looks at what is in the bucket, so that nobody is praised for
// reading a form that was not written.
func checkStored(t *testing.T, key string, f form) {
	t.Helper()
	o, err := load(t.Context(), key)
	if err != nil {
		t.Fatal(err)
	}
	if len(o.body) != f.size+16 {
		t.Errorf("%d bytes are stored for %d", len(o.body), f.size)
	}
	if f.size >= 16 && bytes.Contains(o.body, plaintext(f.size)[:16]) {
		t.Error("plaintext is stored")
	}
	if (o.file != nil) != f.Instruction {
		t.Errorf("instruction file: %v", o.file)
	}
	wrapped := map[bool]string{false: "x-amz-key-v2", true: "x-amz-3"}[f.Commit]
	if o.holder(wrapped)[wrapped] == "" || o.metadata[wrapped] != "" == f.Instruction {
		t.Errorf("%s is not where it should be: metadata %v, file %v", wrapped, o.metadata, o.file)
	}
}

// A form is a config and a size to write.
type form struct {
	config
	size int
}

func (f form) String() string {
	if len(f.Context) == 0 {
		return fmt.Sprintf("%s/%d without context", f.config, f.size)
	}
	return fmt.Sprintf("%s/%d", f.config, f.size)
}

// forms are all that is written: every config at sizes around what buffers and
// blocks have, without context once, and in parts.
func forms() []form {
	var all []form
	for _, c := range configs() {
		for _, size := range []int{0, 1, 16, 64<<10 - 1, 64 << 10, 64<<10 + 1, 5<<20 + 7} {
			all = append(all, form{c, size})
		}
		bare := c
		bare.Context = map[string]string{}
		all = append(all, form{bare, 100})
		parts := c
		parts.Part = 5 << 20
		all = append(all, form{parts, 11<<20 + 7})
	}
	return all
}

// plaintext is another for each size, and the same each time.
func plaintext(size int) []byte {
	b := make([]byte, size)
	_, _ = rand.NewChaCha8([32]byte{byte(size), byte(size >> 8)}).Read(b)
	return b
}
