package volume

import (
	"testing"

	"github.com/sigilfs/sigilfs/internal/objstore/mem"
	"github.com/sigilfs/sigilfs/objcrypt/sse"
	"golang.org/x/sys/unix"
)

// kmsErrors are what the store gives of a KMS key in each state.
var kmsErrors = map[mem.KeyState]error{
	mem.KeyMissing: ErrKeyMissing, mem.KeyDisabled: ErrKeyDisabled, mem.KeyDenied: ErrKeyAccess, mem.KeyThrottled: ErrThrottled,
}

// TestKMSErrors: a key that cannot be used is an error of reads and writes that
// says why, and never absence; such an object is shown still, and comes back
// with its key. Nothing written is lost.
func TestKMSErrors(t *testing.T) {
	for _, form := range []string{"sse-kms", "client"} {
		for state, want := range kmsErrors {
			s := setupOf(form).with(func(r *Rule) { r.Server = need(sse.KMS(kmsKey, nil, nil)) })
			m := awsBucket()
			f := mount(t, m, s.on)
			f.put("a", "text")
			f.put("dirty", "old")
			f.must(errOf(f.SetAttr(f.ctx, "a", Change{Mode: ptr[uint32](0o700)})))
			file := f.open("dirty")
			f.write(file, "new", 0)
			m.SetKey(kmsKey, state)
			for what, err := range map[string]error{
				"open":   errOf(f.get("a")),
				"create": f.tryPut("b", "new text"),
				"mkdir":  errOf(f.Mkdir(f.ctx, "d", Attr{})),
				"link":   errOf(f.Symlink(f.ctx, "l", "x", Attr{})),
				"commit": file.Commit(f.ctx),
				"rename": f.Rename(f.ctx, "a", "c", false),
				"chmod":  errOf(f.SetAttr(f.ctx, "a", Change{Mode: ptr[uint32](0o600)})),
			} {
				t.Run(form+what, func(t *testing.T) { wants(t, err, want) })
			}
			if state != mem.KeyThrottled { // which passes
				info := f.stat("a")
				wants(t, info.Err, want)
				if form == "sse-kms" && (info.Size != 4 || info.Mode != unix.S_IFREG|0o700) {
					t.Errorf("%+v", info)
				}
				f.lists("", "a", "b", "dirty")
			}
			f.has("b", "new text")
			f.has("dirty", "new")
			m.SetKey(kmsKey, mem.KeyEnabled)
			f.has("a", "text")
			f.must(file.Commit(f.ctx))
			file.Release()
			f.settle()
			other := mount(t, m, s.on, host("there"))
			sameTree(t, treeOf(other), map[string]string{"a": "text", "b": "new text", "dirty": "new"})
			if state != mem.KeyThrottled {
				m.SetKey(kmsKey, state)
				other.must(other.Remove(other.ctx, "a")) // which needs no key
				other.absent("a")
			}
		}
	}
}
