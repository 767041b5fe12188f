package volume

import (
	"testing"

	"github.com/sigilfs/sigilfs/cache/spool"
	"github.com/sigilfs/sigilfs/internal/objstore"
)

// TestRecoveryOfLinks: what was written through a link and not committed is put
// where all names show it; and beside the name, not the inode, where another
// host was first.
func TestRecoveryOfLinks(t *testing.T) {
	for name, overtaken := range map[string]bool{"First": false, "Overtaken": true} {
		t.Run(name, func(t *testing.T) {
			f := mountSpooled(t, bucket())
			f.mkdir("d")
			f.put("a", "old")
			f.link("a", "d/b")
			f.down()
			file := f.open("d/b")
			f.write(file, "new", 0)
			wants(t, file.Flush(f.ctx), objstore.ErrUnreachable)
			file.Release()
			r := f.remains()

			again := mount(t, f.mem, boot("1"))
			all := again.leftIn(r)
			if len(all) != 1 || all[0].Path != "d/b" || all[0].Err != nil {
				t.Fatalf("%+v", all)
			}
			if overtaken {
				mount(t, f.mem, host("there")).put("a", "theirs")
			}
			done, err := NewRecovery(again.Volume, []*spool.Remains{r}).Replay(again.ctx, all[0].ID)
			again.must(err)
			again.has(done.Path, "new")
			again.nlink("a", 2)
			if overtaken {
				again.has("a", "theirs")
				if parent(done.Path) != "d" {
					t.Errorf("saved as %s", done.Path)
				}
			} else {
				again.has("a", "new")
			}
			soundLinks(t, f.mem, exact)
		})
	}
}

// TestConflictOfLinks: two hosts write through different names.
func TestConflictOfLinks(t *testing.T) {
	f := linked(t)
	g := mount(t, f.mem, host("there"))
	here, there := f.open("d/b"), g.open("a")
	f.write(here, "here", 0)
	g.write(there, "there", 0)
	g.must(there.Commit(g.ctx))
	wants(t, here.Commit(f.ctx), ErrChanged)
	saved := here.Path()
	here.Release()
	there.Release()
	f.has("a", "there")
	f.has("d/b", "there")
	f.nlink("a", 2)
	if parent(saved) != "d" {
		t.Errorf("saved as %s", saved)
	}
	g.has(saved, "here")
	g.nlink(saved, 1)
	soundLinks(t, f.mem, exact)
}
