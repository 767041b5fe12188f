package faulty

import (
	"context"
	"io"
	"iter"

	"github.com/sigilfs/sigilfs/internal/objstore"
)

// Head is objstore.Store's.
func (s *Store) Head(ctx context.Context, id objstore.ID) (info objstore.Info, err error) {
	err = s.do(ctx, Op{Verb: Head, Key: id.Key}, func(Fault) (err error) {
		info, err = s.inner.Head(ctx, id)
		return err
	})
	if err != nil {
		info = objstore.Info{}
	}
	return info, err
}

// Get is objstore.Store's.
func (s *Store) Get(ctx context.Context, id objstore.ID, r objstore.Range) (info objstore.Info, off int64, body io.ReadCloser, err error) {
	err = s.do(ctx, Op{Verb: Get, Key: id.Key}, func(f Fault) (err error) {
		info, off, body, err = s.inner.Get(ctx, id, r)
		if err == nil {
			body = s.bend(body, f.Body)
		}
		return err
	})
	if err != nil {
		if body != nil {
			_ = body.Close()
		}
		return objstore.Info{}, 0, nil, err
	}
	return info, off, body, nil
}

// List is objstore.Store's.
func (s *Store) List(ctx context.Context, opt objstore.ListOptions) iter.Seq2[objstore.Entry, error] {
	return func(yield func(objstore.Entry, error) bool) {
		limited := opt.Limit > 0
		for number := 1; ; number++ {
			p, err := s.page(ctx, opt, number)
			if err != nil {
				yield(objstore.Entry{}, err)
				return
			}
			for _, e := range p.entries {
				name := e.Key + e.Prefix
				opt.After = name
				if p.hide != nil && p.hide(name) {
					continue
				}
				if !yield(e, nil) {
					return
				}
			}
			opt.Limit -= len(p.entries)
			if !p.more || limited && opt.Limit == 0 {
				return
			}
		}
	}
}

// page is what one request of a listing brings.
type page struct {
	entries []objstore.Entry
	more    bool // follow, as the server marks it
	hide    func(string) bool
}

// page asks for what comes after opt.After. No iter.Pull: the race detector
// keeps the memory of every coroutine for ever, and tests list a lot.
func (s *Store) page(ctx context.Context, opt objstore.ListOptions, number int) (p page, err error) {
	size := s.opt.PageSize
	if opt.Limit > 0 {
		size = min(size, opt.Limit)
	}
	opt.Limit = size + 1 // to know whether more follow
	err = s.do(ctx, Op{Verb: List, Key: opt.Prefix, Part: number}, func(f Fault) error {
		p.hide = f.Hide
		for e, err := range s.inner.List(ctx, opt) {
			if err != nil {
				return err
			}
			if len(p.entries) == size {
				p.more = true
				break
			}
			p.entries = append(p.entries, e)
		}
		return nil
	})
	return p, err
}

// Put is objstore.Store's.
func (s *Store) Put(ctx context.Context, key string, body io.ReadSeeker, size int64, opt objstore.PutOptions) (got objstore.Receipt, err error) {
	err = s.do(ctx, Op{Verb: Put, Key: key}, func(Fault) (err error) {
		s.sent(size)
		got, err = s.inner.Put(ctx, key, body, size, opt)
		return err
	})
	return known(got, err)
}

// known keeps a receipt from those who were told of an error.
func known(got objstore.Receipt, err error) (objstore.Receipt, error) {
	if err != nil {
		return objstore.Receipt{}, err
	}
	return got, nil
}

// Copy is objstore.Store's.
func (s *Store) Copy(ctx context.Context, src objstore.ID, dst string, opt objstore.PutOptions) (got objstore.Receipt, err error) {
	err = s.do(ctx, Op{Verb: Copy, Key: dst, Src: src.Key}, func(Fault) (err error) {
		got, err = s.inner.Copy(ctx, src, dst, opt)
		return err
	})
	return known(got, err)
}

// Delete is objstore.Store's.
func (s *Store) Delete(ctx context.Context, id objstore.ID, cond objstore.Condition) error {
	return s.do(ctx, Op{Verb: Delete, Key: id.Key}, func(Fault) error {
		return s.inner.Delete(ctx, id, cond)
	})
}

// Upload is objstore.Store's.
func (s *Store) Upload(ctx context.Context, key string, opt objstore.PutOptions) (up objstore.Uploader, err error) {
	err = s.do(ctx, Op{Verb: Upload, Key: key}, func(Fault) (err error) {
		up, err = s.inner.Upload(ctx, key, opt)
		return err
	})
	if err != nil {
		return nil, err
	}
	return &uploader{s: s, key: key, inner: up}, nil
}

// Resume is objstore.Resumer's; the store inside must be one.
func (s *Store) Resume(key, uploadID string) objstore.Uploader {
	return &uploader{s: s, key: key, inner: s.inner.(objstore.Resumer).Resume(key, uploadID)}
}

// Tags is objstore.Tagger's; ErrUnsupported if the store inside is none.
func (s *Store) Tags(ctx context.Context, id objstore.ID) (tags map[string]string, err error) {
	err = s.do(ctx, Op{Verb: Tags, Key: id.Key}, func(Fault) (err error) {
		inner, ok := s.inner.(objstore.Tagger)
		if !ok {
			return objstore.ErrUnsupported
		}
		tags, err = inner.Tags(ctx, id)
		return err
	})
	if err != nil {
		return nil, err
	}
	return tags, nil
}

// DefaultEncryption is objstore.Defaulter's; ErrUnsupported if the store inside
// is none.
func (s *Store) DefaultEncryption(ctx context.Context) (got objstore.Default, err error) {
	err = s.do(ctx, Op{Verb: Default}, func(Fault) (err error) {
		inner, ok := s.inner.(objstore.Defaulter)
		if !ok {
			return objstore.ErrUnsupported
		}
		got, err = inner.DefaultEncryption(ctx)
		return err
	})
	if err != nil {
		return objstore.Default{}, err
	}
	return got, nil
}

type uploader struct {
	s     *Store
	key   string
	inner objstore.Uploader
}

func (u *uploader) UploadID() string { return u.inner.UploadID() }

func (u *uploader) Encrypted() objstore.Header { return u.inner.Encrypted() }

func (u *uploader) Part(ctx context.Context, n int, body io.ReadSeeker, size int64) error {
	return u.s.do(ctx, Op{Verb: Part, Key: u.key, Part: n}, func(Fault) error {
		u.s.sent(size)
		return u.inner.Part(ctx, n, body, size)
	})
}

func (u *uploader) CopyPart(ctx context.Context, n int, src objstore.ID, r objstore.Range) error {
	return u.s.do(ctx, Op{Verb: CopyPart, Key: u.key, Src: src.Key, Part: n}, func(Fault) error {
		return u.inner.CopyPart(ctx, n, src, r)
	})
}

func (u *uploader) Complete(ctx context.Context, cond objstore.Condition) (got objstore.Receipt, err error) {
	err = u.s.do(ctx, Op{Verb: Complete, Key: u.key}, func(Fault) (err error) {
		got, err = u.inner.Complete(ctx, cond)
		return err
	})
	return known(got, err)
}

func (u *uploader) Abort(ctx context.Context) error {
	return u.s.do(ctx, Op{Verb: Abort, Key: u.key}, func(Fault) error {
		return u.inner.Abort(ctx)
	})
}
