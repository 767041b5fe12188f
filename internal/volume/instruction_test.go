package volume

import (
	"bytes"
	"fmt"
	"io"
	"slices"
	"strings"
	"testing"

	"github.com/sigilfs/sigilfs/internal/objstore"
	"github.com/sigilfs/sigilfs/internal/objstore/faulty"
	"github.com/sigilfs/sigilfs/internal/objstore/mem"
	"github.com/sigilfs/sigilfs/objcrypt/s3ec"
	"github.com/sigilfs/sigilfs/objcrypt/sigil"
)

// instructed is a policy where instruction files are in use.
func instructed(o *Options) {
	setupOf("s3ec").with(func(r *Rule) { r.Instructions = true }).on(o)
}

// plantInstructed puts an object there whose wrapped key lies in a file beside.
func plantInstructed(t *testing.T, m *mem.Store, key, text string, format s3ec.Format) {
	t.Helper()
	b, err := s3ec.NewBody(t.Context(), aesKey(1), format, sigil.Bytes(text), int64(len(text)))
	if err != nil {
		t.Fatal(err)
	}
	sealed, err := io.ReadAll(b.Section(t.Context(), 0, b.Size()))
	if err != nil {
		t.Fatal(err)
	}
	md, file := b.Instruction()
	m.Plant(s3ec.InstructionKey(key), mem.Object{Body: file})
	m.Plant(key, mem.Object{Body: sealed, Info: objstore.Info{Metadata: md}})
}

// TestInstructionFiles: they are read, are no files of their own, and go where
// their object goes.
func TestInstructionFiles(t *testing.T) {
	for _, format := range []s3ec.Format{s3ec.FormatV3, s3ec.FormatV2} {
		begin := func(t *testing.T) *fixture {
			m := awsBucket()
			plantInstructed(t, m, "a", "text of a", format)
			plantInstructed(t, m, "d/b", "text of b", format)
			return mountIdle(t, m, instructed)
		}
		holds := func(f *fixture, want ...string) {
			f.t.Helper()
			if got := f.mem.Keys(); strings.Join(got, " ") != strings.Join(want, " ") {
				f.t.Errorf("the bucket holds %q, want %q", got, want)
			}
		}
		for name, do := range map[string]func(t *testing.T, f *fixture){
			"Hidden": func(t *testing.T, f *fixture) {
				f.lists("", "a", "d")
				f.lists("d", "b")
				f.absent("a.instruction")
				f.has("a", "text of a")
				f.has("d/b", "text of b")
				_, err := f.Create(f.ctx, "x.instruction", Attr{}, false)
				wants(t, err, ErrName)
				wants(t, f.Rename(f.ctx, "a", "x.instruction", false), ErrName)
				wants(t, errOf(f.Symlink(f.ctx, "x.instruction", "t", Attr{})), ErrName)
				wants(t, f.Remove(f.ctx, "a.instruction"), ErrNotExist)
				f.mkdir("dir.instruction")
				f.lists("", "a", "d", "dir.instruction")
			},
			"Chmod": func(t *testing.T, f *fixture) {
				f.must(errOf(f.SetAttr(f.ctx, "a", Change{Mode: ptr[uint32](0o600)})))
				f.has("a", "text of a")
				holds(f, "a", "a.instruction", "d/b", "d/b.instruction")
			},
			"Rename": func(t *testing.T, f *fixture) {
				f.rename("a", "new")
				f.has("new", "text of a")
				holds(f, "d/b", "d/b.instruction", "new", "new.instruction")
			},
			"RenameOverInstructed": func(t *testing.T, f *fixture) {
				f.rename("a", "d/b")
				f.has("d/b", "text of a")
				holds(f, "d/b")
			},
			"RenameOverOther": func(t *testing.T, f *fixture) {
				f.put("c", "text of c")
				f.rename("a", "c")
				f.has("c", "text of a")
				holds(f, "c", "c.instruction", "d/b", "d/b.instruction")
			},
			"OtherOverIt": func(t *testing.T, f *fixture) {
				f.put("c", "text of c")
				f.rename("c", "a")
				f.has("a", "text of c")
				holds(f, "a", "d/b", "d/b.instruction")
			},
			"Remove": func(t *testing.T, f *fixture) {
				f.must(f.Remove(f.ctx, "a"))
				holds(f, "d/b", "d/b.instruction")
			},
			"RemoveOpen": func(t *testing.T, f *fixture) {
				file := f.open("a")
				f.must(f.Remove(f.ctx, "a"))
				f.reads(file, "text of a")
				file.Release()
				f.must(f.doChores(f.ctx))
				holds(f, "d/b", "d/b.instruction")
			},
			"Overwrite": func(t *testing.T, f *fixture) {
				file := f.open("a")
				f.write(file, "TEXT", 0)
				f.must(file.Commit(f.ctx))
				file.Release()
				f.has("a", "TEXT of a")
				holds(f, "a", "d/b", "d/b.instruction")
			},
			"RenameDir": func(t *testing.T, f *fixture) {
				f.rename("d", "e")
				f.has("e/b", "text of b")
				holds(f, "a", "a.instruction", "e/b", "e/b.instruction")
			},
			"RenameDirHalfWay": func(t *testing.T, f *fixture) {
				f.s.SetScript(func(op faulty.Op) (x faulty.Fault) {
					if op.Verb == faulty.Delete && op.Key == "d/b" {
						x.Err = ErrAccess
					}
					return x
				})
				takenUpAgain(t, f)
				f.has("e/b", "text of b")
				holds(f, "a", "a.instruction", "e/b", "e/b.instruction")
			},
			"RenameDirTakenBack": func(t *testing.T, f *fixture) {
				f.put("d/c", "text of c")
				copied := make(chan struct{})
				f.s.SetScript(func(op faulty.Op) (x faulty.Fault) {
					switch {
					case op.Verb == faulty.Copy && op.Key == "e/b":
						x.After = func(err error) error { close(copied); return err }
					case op.Verb == faulty.Copy && op.Key == "e/c":
						x.Wait, x.Err = copied, ErrAccess
					case op.Verb == faulty.Delete && op.Key == "e/b":
						x.Err = ErrAccess
					}
					return x
				})
				takenUpAgain(t, f)
				f.has("d/b", "text of b")
				holds(f, "a", "a.instruction", "d/b", "d/b.instruction", "d/c")
			},
			"RenameDirTakenBackByTwo": func(t *testing.T, f *fixture) {
				f.s.SetScript(func(op faulty.Op) (x faulty.Fault) {
					switch {
					case op.Verb == faulty.Copy && op.Key == "e/b":
						x.Err = ErrAccess
					case op.Verb == faulty.Delete && op.Key == "e/b.instruction": // another host was faster
						f.must(f.mem.Delete(f.ctx, objstore.ID{Key: op.Key}, objstore.Condition{}))
						x.Err = ErrNotExist // some servers say so
					}
					return x
				})
				wants(t, f.Rename(f.ctx, "d", "e", false), ErrAccess)
				f.healed()
				f.has("d/b", "text of b")
				holds(f, "a", "a.instruction", "d/b", "d/b.instruction")
			},
			"RenameDirByTwo": func(t *testing.T, f *fixture) {
				f.s.SetScript(func(op faulty.Op) (x faulty.Fault) {
					if op.Verb == faulty.Delete && strings.HasPrefix(op.Key, "d/") {
						f.must(f.mem.Delete(f.ctx, objstore.ID{Key: op.Key}, objstore.Condition{}))
						x.Err = ErrNotExist
					}
					return x
				})
				f.rename("d", "e")
				f.healed()
				f.has("e/b", "text of b")
				holds(f, "a", "a.instruction", "e/b", "e/b.instruction")
			},
			"RenameDirFails": func(t *testing.T, f *fixture) {
				f.s.SetScript(func(op faulty.Op) faulty.Fault {
					if op.Verb == faulty.Copy && op.Key == "e/b" {
						return faulty.Fault{Err: ErrAccess}
					}
					return faulty.Fault{}
				})
				wants(t, f.Rename(f.ctx, "d", "e", false), ErrAccess)
				f.healed()
				f.absent("e")
				f.has("d/b", "text of b")
			},
		} {
			t.Run(fmt.Sprintf("%s/%d", name, format), func(t *testing.T) {
				f := begin(t)
				do(t, f)
				f.noLeftovers()
				sameTree(t, treeOf(mount(t, f.mem, instructed, host("there"))), treeOf(f))
			})
		}
	}
}

// TestInstructionFilesToCome: a client puts an instruction file there before its
// object. One that comes while the object before it goes, or is replaced, stays, or
// else nobody could read what comes.
func TestInstructionFilesToCome(t *testing.T) {
	type at struct { // his file comes before this is done
		verb faulty.Verb
		key  string
	}
	dir := func(page, held int) func(f *fixture) error {
		return func(f *fixture) error {
			f.movePage, f.mostHeld = page, held
			return f.Rename(f.ctx, "d", "e", false)
		}
	}
	for name, c := range map[string]struct {
		at  at
		key string // of the object
		do  func(f *fixture) error
	}{
		"Remove":     {at{faulty.Delete, "a"}, "a", func(f *fixture) error { return f.Remove(f.ctx, "a") }},
		"Rename":     {at{faulty.Delete, "a"}, "a", func(f *fixture) error { return f.Rename(f.ctx, "a", "new", false) }},
		"RenameInto": {at{faulty.Delete, "a"}, "a", func(f *fixture) error { return f.Rename(f.ctx, "a", "b", false) }},
		"OtherOverIt": {at{faulty.Copy, "a"}, "a", func(f *fixture) error {
			f.put("c", "text of c")
			return f.Rename(f.ctx, "c", "a", false)
		}},
		"Overwrite": {at{faulty.Put, "a"}, "a", func(f *fixture) error {
			file := f.open("a")
			defer file.Release()
			f.write(file, "TEXT", 0)
			return file.Commit(f.ctx)
		}},
		"RenameDir":            {at{faulty.Copy, "e/a"}, "d/a", dir(movePage, mostHeld)},
		"RenameDirLater":       {at{faulty.Delete, "d/a"}, "d/a", dir(movePage, mostHeld)},
		"RenameDirByPage":      {at{faulty.Copy, "e/a"}, "d/a", dir(1, mostHeld)},
		"RenameDirListed":      {at{faulty.Copy, "e/a"}, "d/a", dir(movePage, 0)},
		"RenameDirListedLater": {at{faulty.Delete, "d/a"}, "d/a", dir(1, 0)},
	} {
		for _, honoured := range []bool{true, false} {
			for _, format := range []s3ec.Format{s3ec.FormatV2, s3ec.FormatV3} {
				t.Run(fmt.Sprintf("%s/%v/%d", name, honoured, format), func(t *testing.T) {
					m, his := awsBucket(), awsBucket()
					for _, key := range []string{"a", "b", "d/a", "d/a-b", "d/c"} {
						plantInstructed(t, m, key, "text of "+key, format)
					}
					plantInstructed(t, his, c.key, "his text", format)
					file, _ := his.Object(c.key + ".instruction")
					object, _ := his.Object(c.key)
					f := mountIdle(t, m, instructed, func(o *Options) { o.Capabilities.DeleteConditions = honoured })
					came := false
					f.s.SetScript(func(op faulty.Op) (x faulty.Fault) {
						if op.Verb == c.at.verb && op.Key == c.at.key {
							came = true
							m.Plant(c.key+".instruction", file)
						}
						return x
					})
					f.must(c.do(f))
					f.healed()
					if now, ok := m.Object(c.key + ".instruction"); !came || !ok || !bytes.Equal(now.Body, file.Body) {
						t.Fatalf("came: %v; there: %v", came, ok)
					}
					m.Plant(c.key, object)
					there := mountIdle(t, m, instructed, host("there"))
					there.has(c.key, "his text")
					if c.key != "d/a" {
						return
					}
					for _, n := range []string{"a", "a-b", "c"} {
						there.has("e/"+n, "text of d/"+n)
					}
					there.lists("d", "a")
					left := slices.DeleteFunc(m.Keys(), func(key string) bool { return !strings.HasPrefix(key, "d/") })
					if strings.Join(left, " ") != "d/a d/a.instruction" {
						t.Errorf("%q stayed", left)
					}
				})
			}
		}
	}
}

// TestInstructionFilesOfWhatStays: an object that another host has written to since
// it was copied stays where it is, and with it its instruction file.
func TestInstructionFilesOfWhatStays(t *testing.T) {
	for name, change := range map[string]func(m *mem.Store, his mem.Object){
		"Changed": func(m *mem.Store, _ mem.Object) { // where the ETag does not tell that it is the same body
			m.Tamper("d/a", func(o *mem.Object) { o.Info.Encrypted = objstore.Header{"x-amz-server-side-encryption": "aws:kms"} })
		},
		"Replaced": func(m *mem.Store, his mem.Object) { // by what needs none
			m.Plant("d/a", his)
		},
	} {
		for _, held := range []int{mostHeld, 0} {
			t.Run(fmt.Sprintf("%s/%d", name, held), func(t *testing.T) {
				m, his := awsBucket(), awsBucket()
				plantInstructed(t, m, "d/a", "text of a", s3ec.FormatV3)
				g := mountIdle(t, his, instructed, host("there"))
				g.put("d/a", "his text")
				g.end()
				object, _ := his.Object("d/a")
				f := mountIdle(t, m, instructed)
				f.mostHeld = held
				f.s.SetScript(func(op faulty.Op) (x faulty.Fault) {
					if op.Verb == faulty.Copy && op.Key == "e/a" {
						x.After = func(err error) error { change(m, object); return err }
					}
					return x
				})
				f.rename("d", "e")
				f.healed()
				f.end()
				there, want := mountIdle(t, m, instructed, host("there")), map[string]string{"Changed": "text of a", "Replaced": "his text"}[name]
				there.has("e/a", "text of a")
				there.has("d/a", want)
				if _, ok := m.Object("d/a.instruction"); ok != (name == "Changed") {
					t.Errorf("its instruction file is there: %v", ok)
				}
			})
		}
	}
}

// TestInstructionFilesAlone: in a directory that is renamed, one whose object comes
// under the old name meanwhile stays with it; one whose object does not moves along,
// over nothing. One beside what needs none stays, as where a file is renamed.
func TestInstructionFilesAlone(t *testing.T) {
	for name, tc := range map[string]struct{ comes, beside bool }{"Comes": {comes: true}, "Alone": {}, "Beside": {beside: true}} {
		t.Run(name, func(t *testing.T) {
			m, his := awsBucket(), awsBucket()
			plantInstructed(t, m, "d/b", "text of b", s3ec.FormatV3)
			plantInstructed(t, his, "d/c", "his text", s3ec.FormatV3)
			file, _ := his.Object("d/c.instruction")
			object, _ := his.Object("d/c")
			f := mountIdle(t, m, instructed)
			if tc.beside {
				f.put("d/c", "text of c")
			}
			m.Plant("d/c.instruction", file)
			f.s.SetScript(func(op faulty.Op) (x faulty.Fault) {
				if tc.comes && op.Verb == faulty.Delete && op.Key == "d/b" {
					m.Plant("d/c", object)
				}
				return x
			})
			f.rename("d", "e")
			f.healed()
			f.end()
			there := mountIdle(t, m, instructed, host("there"))
			there.has("e/b", "text of b")
			if tc.beside {
				there.has("e/c", "text of c")
				m.Plant("d/c", object)
			}
			if tc.comes || tc.beside {
				there.has("d/c", "his text")
				return
			}
			if got := strings.Join(m.Keys(), " "); got != "e/b e/b.instruction e/c.instruction" {
				t.Errorf("the bucket holds %s", got)
			}
		})
	}
}

// TestInstructionFilesToComeToTheRest: what is left of a directory rename is
// completed: what came since at the old name is not taken for what was copied.
func TestInstructionFilesToComeToTheRest(t *testing.T) {
	for name, came := range map[string]bool{"Same": false, "Another": true} {
		t.Run(name, func(t *testing.T) {
			m, his := awsBucket(), awsBucket()
			plantInstructed(t, m, "d/a", "text of a", s3ec.FormatV3)
			plantInstructed(t, his, "d/a", "his text", s3ec.FormatV3)
			file, _ := his.Object("d/a.instruction")
			object, _ := his.Object("d/a")
			f := mountIdle(t, m, instructed)
			f.s.SetScript(func(op faulty.Op) (x faulty.Fault) {
				if op.Verb == faulty.Delete && op.Key == "d/a.instruction" {
					x.Err = ErrAccess
				}
				return x
			})
			wants(t, f.Rename(f.ctx, "d", "e", false), ErrAccess)
			f.healed()
			if came {
				m.Plant("d/a.instruction", file)
			}
			f.must(f.doChores(f.ctx))
			f.end()
			there := mountIdle(t, m, instructed, host("there"))
			there.has("e/a", "text of a")
			if _, ok := m.Object("d/a.instruction"); ok != came {
				t.Fatalf("there: %v", ok)
			}
			if came {
				m.Plant("d/a", object)
				there.has("d/a", "his text")
			}
		})
	}
}

// TestInstructionFilesMoveWithTheirObject: what came between the look at an object
// and its copy is not taken along for it. Where its own object has not come yet, the
// rename fails, and nothing is moved.
func TestInstructionFilesMoveWithTheirObject(t *testing.T) {
	for name, c := range map[string]struct {
		from, to, key, copied string
		look                  int // at the file, which is that of the copy
	}{
		"Carried":    {"a", "new", "a", "new", 3},
		"Integrated": {"a", "b", "a", "b", 3},
		"Directory":  {"d", "e", "d/a", "e/a", 2},
	} {
		for _, alone := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s/%v", name, alone), func(t *testing.T) {
				m, his := awsBucket(), awsBucket()
				for _, key := range []string{"a", "b", "d/a"} {
					plantInstructed(t, m, key, "text of "+key, s3ec.FormatV3)
				}
				plantInstructed(t, his, c.key, "his text", s3ec.FormatV3)
				file, _ := his.Object(c.key + ".instruction")
				object, _ := his.Object(c.key)
				f := mountIdle(t, m, instructed)
				f.movePage = 1 // one after the other
				fetched, looks := false, 0
				f.s.SetScript(func(op faulty.Op) (x faulty.Fault) {
					switch {
					case op.Verb == faulty.Get && op.Key == c.key:
						fetched = true
					case !op.Verb.Writes() && op.Key == c.key+".instruction" && fetched:
						if looks++; looks == c.look {
							m.Plant(c.key+".instruction", file)
							if !alone {
								m.Plant(c.key, object)
							}
						}
					}
					return x
				})
				err := f.Rename(f.ctx, c.from, c.to, false)
				f.healed()
				if looks <= c.look {
					t.Fatalf("the file was looked at %d times", looks)
				}
				if !alone {
					f.must(err)
					mountIdle(t, m, instructed, host("there")).has(c.copied, "his text")
					return
				}
				wants(t, err, ErrChanged)
				f.must(f.doChores(f.ctx))
				m.Plant(c.key, object)
				there := mountIdle(t, m, instructed, host("there"))
				there.has(c.key, "his text")
				if c.copied == "b" {
					there.has("b", "text of b")
				} else {
					there.absent(c.copied)
				}
			})
		}
	}
}

// TestInstructionFilesAcross: under another rule the object needs none.
func TestInstructionFilesAcross(t *testing.T) {
	m := awsBucket()
	for _, key := range []string{"s3ec/a", "s3ec/d/b"} {
		plantInstructed(t, m, key, "text of "+key, s3ec.FormatV3)
	}
	f := mount(t, m, world, func(o *Options) {
		for i := range o.Rules {
			o.Rules[i].Instructions = o.Rules[i].S3EC != nil
		}
	})
	f.rename("s3ec/a", "ca/a")
	f.rename("s3ec/d", "none/d")
	f.has("ca/a", "text of s3ec/a")
	f.has("none/d/b", "text of s3ec/d/b")
	if got := strings.Join(m.Keys(), " "); got != "ca/a none/d/b" {
		t.Errorf("the bucket holds %s", got)
	}
}

// TestLikeInstructionFiles: a file that only has the name of one is not hidden by
// a rename, nor lost.
func TestLikeInstructionFiles(t *testing.T) {
	m := awsBucket()
	f := mount(t, m, world, func(o *Options) {
		for i := range o.Rules {
			o.Rules[i].Instructions = o.Rules[i].S3EC != nil
		}
	})
	f.put("ca/d/x.instruction", "text")
	wants(t, f.Rename(f.ctx, "ca/d", "s3ec/d", false), ErrName)
	f.has("ca/d/x.instruction", "text")
	f.put("s3ec/e/x", "text of x")
	m.Plant("s3ec/e/manual.instruction", mem.Object{Body: []byte("how to")})
	f.rename("s3ec/e", "ca/e")
	f.has("ca/e/x", "text of x")
	if o, ok := m.Object("s3ec/e/manual.instruction"); !ok || string(o.Body) != "how to" {
		t.Error("the manual is lost")
	}
}

// TestMissingInstructionFile: an object without its key is damaged, never
// plaintext, and V2's, which nothing tells from plaintext, is so only where the
// policy allows plaintext.
func TestMissingInstructionFile(t *testing.T) {
	m := awsBucket()
	plantInstructed(t, m, "v3", "text", s3ec.FormatV3)
	plantInstructed(t, m, "v2", "text", s3ec.FormatV2)
	plantInstructed(t, m, "bad", "text", s3ec.FormatV2)
	f := mount(t, m, instructed)
	f.must(m.Delete(f.ctx, objstore.ID{Key: "v3.instruction"}, objstore.Condition{}))
	f.must(m.Delete(f.ctx, objstore.ID{Key: "v2.instruction"}, objstore.Condition{}))
	m.Tamper("bad.instruction", func(o *mem.Object) { o.Body = bytes.Repeat([]byte("{"), 100<<10) })
	wants(t, errOf(f.get("v3")), ErrCorrupt)
	wants(t, errOf(f.get("v2")), ErrDowngrade)
	wants(t, errOf(f.get("bad")), ErrCorrupt)
	f.lists("", "bad", "v2", "v3")
}

// takenUpAgain has the rename of d to e fail, and what is left of it done.
func takenUpAgain(t *testing.T, f *fixture) {
	t.Helper()
	wants(t, f.Rename(f.ctx, "d", "e", false), ErrAccess)
	f.has("d/b", "text of b")
	f.healed()
	f.must(f.doChores(f.ctx))
}
