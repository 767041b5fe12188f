package volume

import (
	"context"
	"fmt"
	"io"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/sigilfs/sigilfs/internal/objstore"
	"github.com/sigilfs/sigilfs/internal/objstore/mem"
)

// recorder notes what encryption each request asks for.
type recorder struct {
	store

	look func(request string) // before each; nil is not at all

	mu   sync.Mutex // guards seen
	seen []string   // "VERB KEY: HEADERS", volume's own objects left out
}

// store is all that the volume asks a store for.
type store interface {
	objstore.Store
	objstore.Resumer
	objstore.Tagger
}

// record puts a recorder in front of the store.
func record(r *recorder) tweak {
	return func(o *Options) { r.store, o.Store = o.Store.(store), r }
}

// headers gives the headers without what only S3 knows of them.
func headers(all ...objstore.Header) string {
	var out []string
	for _, h := range all {
		for name, value := range h {
			name = strings.ReplaceAll(name, "x-amz-", "")
			if strings.Contains(name, "customer-key") {
				value = value[:3]
			}
			out = append(out, strings.ReplaceAll(name, "server-side-encryption", "sse")+"="+value)
		}
	}
	slices.Sort(out)
	return strings.Join(out, " ")
}

func (r *recorder) note(verb, key string, h ...objstore.Header) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.look != nil {
		r.look(verb + " " + key)
	}
	if strings.Contains(key, hidden+"/") {
		return
	}
	r.seen = append(r.seen, strings.TrimSpace(fmt.Sprintf("%s %s: %s", verb, key, headers(h...))))
}

// take gives what was seen since.
func (r *recorder) take() []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	seen := r.seen
	r.seen = nil
	return seen
}

func (r *recorder) Head(ctx context.Context, id objstore.ID) (objstore.Info, error) {
	r.note("head", id.Key, id.Encryption.Reads())
	return r.store.Head(ctx, id)
}

func (r *recorder) Get(ctx context.Context, id objstore.ID, rg objstore.Range) (objstore.Info, int64, io.ReadCloser, error) {
	r.note("get", id.Key, id.Encryption.Reads())
	return r.store.Get(ctx, id, rg)
}

func (r *recorder) Put(ctx context.Context, key string, body io.ReadSeeker, size int64, opt objstore.PutOptions) (objstore.Receipt, error) {
	r.note("put", key, opt.Encryption.Writes())
	return r.store.Put(ctx, key, body, size, opt)
}

func (r *recorder) Copy(ctx context.Context, src objstore.ID, dst string, opt objstore.PutOptions) (objstore.Receipt, error) {
	r.note("copy "+src.Key, dst, src.Encryption.Sources(), opt.Encryption.Writes())
	return r.store.Copy(ctx, src, dst, opt)
}

func (r *recorder) Delete(ctx context.Context, id objstore.ID, cond objstore.Condition) error {
	r.note("delete", id.Key)
	return r.store.Delete(ctx, id, cond)
}

func (r *recorder) Upload(ctx context.Context, key string, opt objstore.PutOptions) (objstore.Uploader, error) {
	r.note("upload", key, opt.Encryption.Writes())
	up, err := r.store.Upload(ctx, key, opt)
	return recordedUpload{up, r, key, opt.Encryption}, err
}

type recordedUpload struct {
	objstore.Uploader
	r   *recorder
	key string
	enc *objstore.Encryption
}

func (u recordedUpload) Part(ctx context.Context, n int, body io.ReadSeeker, size int64) error {
	u.r.note("part", u.key)
	return u.Uploader.Part(ctx, n, body, size)
}

func (u recordedUpload) CopyPart(ctx context.Context, n int, src objstore.ID, rg objstore.Range) error {
	u.r.note("copypart "+src.Key, u.key, src.Encryption.Sources())
	return u.Uploader.CopyPart(ctx, n, src, rg)
}

func (u recordedUpload) Complete(ctx context.Context, cond objstore.Condition) (objstore.Receipt, error) {
	u.r.note("complete", u.key)
	return u.Uploader.Complete(ctx, cond)
}

// TestRequestsOfEachMode: each operation under each mode sends exactly the
// headers that S3 wants with it, in as few requests as there can be.
func TestRequestsOfEachMode(t *testing.T) {
	const (
		s3   = "sse=AES256"
		kms  = "sse=aws:kms"
		full = "sse-aws-kms-key-id=alias/backup sse-bucket-key-enabled=true sse-context=eyJ0ZWFtIjoiYmFja3VwIn0= sse=aws:kms"
		dsse = "sse-aws-kms-key-id=" + kmsKey + " sse-context=eyJ0ZWFtIjoiYmFja3VwIn0= sse=aws:kms:dsse"
		ssec = "sse-customer-algorithm=AES256 sse-customer-key-md5=Xsq sse-customer-key=YWF"
		from = "copy-source-sse-customer-algorithm=AES256 copy-source-sse-customer-key-md5=Xsq copy-source-sse-customer-key=YWF"
	)
	for _, tc := range []struct {
		setup               string
		write, read, source string
		silentCopy          bool // a HEAD follows it
		silentUpload        bool
	}{
		{"none", "", "", "", false, false},
		{"client", "", "", "", false, false},
		{"s3ec", "", "", "", false, false},
		{"client-sse", s3, "", "", false, false},
		{"bucket-default", "", "", "", false, false},
		{"sse-s3", s3, "", "", false, false},
		{"sse-s3 silent", s3, "", "", true, true},
		{"sse-kms", kms, "", "", false, false},
		{"sse-kms silent", kms, "", "", true, true},
		{"sse-kms-customer", full, "", "", false, false},
		{"dsse-kms", dsse, "", "", false, false},
		{"dsse-kms silent", dsse, "", "", true, true},
		{"sse-c", ssec, ssec, from, false, true},
		{"sse-c silent", ssec, ssec, from, true, true},
	} {
		t.Run(tc.setup, func(t *testing.T) {
			s, r := setupOf(tc.setup), &recorder{}
			f := mount(t, s.store(), s.on, long, inParts, record(r))
			sends := func(what string, want ...string) {
				t.Helper()
				got := r.take()
				for i := range want {
					want[i] = strings.TrimSpace(want[i])
				}
				if !slices.Equal(got, want) {
					t.Errorf("%s sends\n  %s\nwant\n  %s", what, strings.Join(got, "\n  "), strings.Join(want, "\n  "))
				}
			}
			proved := func(silent bool, what, key string) []string {
				if silent {
					return []string{what, "head " + key + ": " + tc.read}
				}
				return []string{what}
			}
			file := f.create("a", "text", false)
			f.must(file.Commit(f.ctx))
			file.Release()
			sends("create", "put a: "+tc.write)
			f.must(errOf(f.SetAttr(f.ctx, "a", Change{Mode: ptr[uint32](0o600)})))
			both := strings.TrimSpace(tc.source + " " + tc.write)
			sends("chmod", proved(tc.silentCopy, "copy a a: "+both, "a")...)
			_, err := f.Stat(f.ctx, "b")
			wants(t, err, ErrNotExist)
			r.take()
			f.must(f.Rename(f.ctx, "a", "b", false))
			sends("rename", append(proved(tc.silentCopy, "copy a b: "+both, "b"), "delete a:")...)
			f.has("b", "text")
			sends("read", "get b: "+tc.read)
			f.put("b", "more")
			sends("overwrite", "put b: "+tc.write)
			f.mkdir("d")
			sends("mkdir", "put d/: "+tc.write)
			big := f.create("big", noise(twoParts, 1), false)
			f.must(big.Commit(f.ctx))
			big.Release()
			got := r.take()
			parts := []string{}
			got = slices.DeleteFunc(got, func(s string) bool {
				if s == "part big:" {
					parts = append(parts, s)
				}
				return s == "part big:"
			})
			want := append([]string{strings.TrimSpace("upload big: " + tc.write)}, proved(tc.silentUpload, "complete big:", "big")...)
			for i := range want {
				want[i] = strings.TrimSpace(want[i])
			}
			if !slices.Equal(got, want) || len(parts) < 2 {
				t.Errorf("upload sends %q and %d parts, want %q", got, len(parts), want)
			}
			f.must(f.Remove(f.ctx, "b"))
			sends("remove", "delete b:")
		})
	}
}

// TestRequestsOfBigCopies: what is too long for one CopyObject goes by parts,
// with the headers of both ends, keeps its tags and is looked at in the end.
func TestRequestsOfBigCopies(t *testing.T) {
	const (
		ssec = "sse-customer-algorithm=AES256 sse-customer-key-md5=Xsq sse-customer-key=YWF"
		from = "copy-source-sse-customer-algorithm=AES256 copy-source-sse-customer-key-md5=Xsq copy-source-sse-customer-key=YWF"
	)
	for _, tc := range []struct {
		setup, write, read, source string
		silent                     bool
	}{
		{"none", "", "", "", false},
		{"sse-s3", "sse=AES256", "", "", false},
		{"sse-kms silent", "sse=aws:kms", "", "", true},
		{"sse-c", ssec, ssec, from, true},
		{"client-sse", "sse=AES256", "", "", false},
		{"s3ec", "", "", "", false},
	} {
		t.Run(tc.setup, func(t *testing.T) {
			s, r := setupOf(tc.setup), &recorder{}
			f := mount(t, s.store(), s.on, long, record(r))
			f.maxCopy, f.copyPart = 100<<10, objstore.MinPartSize
			text := noise(objstore.MinPartSize+1000, 1)
			f.put("a", text)
			f.mem.Tamper("a", func(o *mem.Object) {
				if o.Tags == nil {
					o.Tags = map[string]string{}
				}
				o.Tags["team"] = "backup"
			})
			f.suspect("a")
			f.stat("a")
			r.take()
			f.must(errOf(f.SetAttr(f.ctx, "a", Change{Mode: ptr[uint32](0o600)})))
			want := []string{"upload a: " + tc.write, "copypart a a: " + tc.source, "copypart a a: " + tc.source, "complete a:"}
			if tc.silent {
				want = append(want, "head a: "+tc.read)
			}
			for i := range want {
				want[i] = strings.TrimSpace(want[i])
			}
			if got := r.take(); !slices.Equal(got, want) {
				t.Errorf("sends %q, want %q", got, want)
			}
			o, _ := f.mem.Object("a")
			if o.Tags["team"] != "backup" || s.rules[0].Server.Confirm(o.Info.Encrypted) != nil {
				t.Errorf("tags %v, %v", o.Tags, o.Info.Encrypted)
			}
			f.has("a", text)
			f.noLeftovers()
		})
	}
}
