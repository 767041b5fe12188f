package objstore_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/sigilfs/sigilfs/internal/objstore"
	"github.com/sigilfs/sigilfs/internal/objstore/faulty"
	"github.com/sigilfs/sigilfs/internal/objstore/mem"
)

func TestProbeFindsWhatIsHonoured(t *testing.T) {
	for _, tc := range []struct {
		name string
		opt  mem.Options
		full bool
		want objstore.Capabilities
	}{
		{"All", mem.Options{}, true, objstore.Capabilities{PutConditions: true, UploadConditions: true, CopyConditions: true, DeleteConditions: true, CopyParts: true, Read: true, Delete: true}},
		{"Mount", mem.Options{}, false, objstore.Capabilities{PutConditions: true, CopyParts: true, Read: true, Delete: true}},
		{"None", mem.Options{IgnorePutConditions: true, IgnoreCopyConditions: true, IgnoreDeleteConditions: true}, true, objstore.Capabilities{CopyParts: true, Read: true, Delete: true}},
		{"NoCopy", mem.Options{IgnoreCopyConditions: true}, true, objstore.Capabilities{PutConditions: true, UploadConditions: true, DeleteConditions: true, CopyParts: true, Read: true, Delete: true}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			m := mem.New(tc.opt)
			got, err := objstore.Probe(t.Context(), m, objstore.ProbeOptions{Dir: "p/.sigil/doctor/", Full: tc.full})
			if diff := cmp.Diff(tc.want, got); err != nil || diff != "" {
				t.Errorf("%v, %s", err, diff)
			}
			if keys, ups := m.Keys(), m.Uploads(); len(keys)+len(ups) > 0 {
				t.Errorf("left behind: %q %v", keys, ups)
			}
		})
	}
}

// strict is a bucket whose policy denies writes that ask for no encryption.
type strict struct{ objstore.Store }

func (s strict) denies(opt objstore.PutOptions) error {
	if len(opt.Encryption.Writes()) == 0 {
		return fmt.Errorf("policy: %w", objstore.ErrAccess)
	}
	return nil
}

func (s strict) Put(ctx context.Context, key string, body io.ReadSeeker, size int64, opt objstore.PutOptions) (objstore.Receipt, error) {
	if err := s.denies(opt); err != nil {
		return objstore.Receipt{}, err
	}
	return s.Store.Put(ctx, key, body, size, opt)
}

func (s strict) Upload(ctx context.Context, key string, opt objstore.PutOptions) (objstore.Uploader, error) {
	if err := s.denies(opt); err != nil {
		return nil, err
	}
	return s.Store.Upload(ctx, key, opt)
}

func (s strict) Copy(ctx context.Context, src objstore.ID, dst string, opt objstore.PutOptions) (objstore.Receipt, error) {
	if err := s.denies(opt); err != nil {
		return objstore.Receipt{}, err
	}
	return s.Store.Copy(ctx, src, dst, opt)
}

func TestProbeOfABucketThatDemandsEncryption(t *testing.T) {
	key := objstore.Header{sse + "-customer-algorithm": "AES256", sse + "-customer-key": "YWFhYWFhYWFhYWFhYWFhYWFhYWFhYWFhYWFhYWFhYWE=", sse + "-customer-key-md5": "Xsqb0+sHwAbNQ65I395/0w=="}
	source := objstore.Header{}
	for name, value := range key {
		source["x-amz-copy-source-"+strings.TrimPrefix(name, "x-amz-")] = value
	}
	want := objstore.Capabilities{PutConditions: true, UploadConditions: true, CopyConditions: true, DeleteConditions: true, CopyParts: true, Read: true, Delete: true}
	for name, enc := range map[string]*objstore.Encryption{
		"kms": {Write: objstore.Header{sse: "aws:kms"}}, "customer": {Write: key, Read: key, Source: source},
	} {
		m := mem.New(mem.Options{})
		got, err := objstore.Probe(t.Context(), strict{m}, objstore.ProbeOptions{Dir: "d/", Full: true, Encryption: enc})
		if diff := cmp.Diff(want, got); err != nil || diff != "" || len(m.Keys())+len(m.Uploads()) > 0 {
			t.Errorf("%s: %v, %s, left %q", name, err, diff, m.Keys())
		}
	}
}

// A key that may encrypt and not decrypt is no host that only writes: the cause
// has a name.
func TestProbeUnderAKeyThatDoesNotDecrypt(t *testing.T) {
	s := faulty.New(mem.New(mem.Options{}), faulty.Options{Script: func(op faulty.Op) faulty.Fault {
		if op.Verb == faulty.Get {
			return faulty.Fault{Err: objstore.ErrKeyAccess}
		}
		return faulty.Fault{}
	}})
	if _, err := objstore.Probe(t.Context(), s, objstore.ProbeOptions{Dir: "d/"}); !errors.Is(err, objstore.ErrKeyAccess) {
		t.Error(err)
	}
}

func TestProbeReadOnlyOnlyReads(t *testing.T) {
	s := faulty.New(mem.New(mem.Options{}), faulty.Options{})
	if _, err := objstore.Probe(t.Context(), s, objstore.ProbeOptions{Dir: "d/", ReadOnly: true}); err != nil {
		t.Fatal(err)
	}
	if c := s.Counts(); c.Writes() != 0 || c.Total() != 1 {
		t.Errorf("requests %v", c.Requests)
	}
}

func TestProbeErrors(t *testing.T) {
	for _, want := range []error{objstore.ErrBadAuth, objstore.ErrUnreachable, objstore.ErrBucket} {
		for _, verb := range []faulty.Verb{faulty.List, faulty.Put, faulty.Get} {
			m := mem.New(mem.Options{})
			s := faulty.New(m, faulty.Options{Script: func(op faulty.Op) faulty.Fault {
				if op.Verb == verb {
					return faulty.Fault{Err: want}
				}
				return faulty.Fault{}
			}})
			if _, err := objstore.Probe(t.Context(), s, objstore.ProbeOptions{Dir: "d/", Full: true}); !errors.Is(err, want) {
				t.Errorf("%s: %v, not %v", verb, err, want)
			}
			if keys := m.Keys(); len(keys) > 0 {
				t.Errorf("left behind: %q", keys)
			}
		}
	}
}

func TestProbeOfAWriteOnlyHost(t *testing.T) {
	s := faulty.New(mem.New(mem.Options{}), faulty.Options{Script: func(op faulty.Op) faulty.Fault {
		if op.Verb == faulty.Get || op.Verb == faulty.Delete || op.Verb == faulty.Copy || op.Verb == faulty.CopyPart {
			return faulty.Fault{Err: objstore.ErrAccess}
		}
		return faulty.Fault{}
	}})
	got, err := objstore.Probe(t.Context(), s, objstore.ProbeOptions{Dir: "d/", Full: true})
	if err != nil || got.Read || got.Delete || !got.PutConditions || !got.UploadConditions {
		t.Errorf("%+v, %v", got, err)
	}
}

// picky stands for a server that stores trailers as part of the body until
// the client sends none.
type picky struct {
	objstore.Store
	simple bool
}

func (p *picky) Simplify() bool   { was := p.simple; p.simple = true; return !was }
func (p *picky) Simplified() bool { return p.simple }

func TestProbeSimplifies(t *testing.T) {
	m := mem.New(mem.Options{})
	p := &picky{}
	p.Store = faulty.New(m, faulty.Options{Script: func(op faulty.Op) faulty.Fault {
		if op.Verb == faulty.Get && !p.simple {
			return faulty.Fault{Body: faulty.Flip(3)}
		}
		return faulty.Fault{}
	}})
	got, err := objstore.Probe(t.Context(), p, objstore.ProbeOptions{Dir: "d/"})
	if err != nil || !got.Simple || !p.simple {
		t.Errorf("%+v, %v", got, err)
	}
	mangle := faulty.New(m, faulty.Options{Script: func(faulty.Op) faulty.Fault { return faulty.Fault{Body: faulty.Flip(3)} }})
	if _, err := objstore.Probe(t.Context(), mangle, objstore.ProbeOptions{Dir: "d/"}); err == nil || errors.Is(err, io.EOF) {
		t.Errorf("a mangled body passed: %v", err)
	}
}
