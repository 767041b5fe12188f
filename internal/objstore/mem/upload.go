package mem

import (
	"context"
	"crypto/md5" //nolint:gosec // the ETag that S3 gives, no security rests on it
	"encoding/hex"
	"fmt"
	"io"
	"maps"
	"slices"
	"strconv"
	"time"

	"github.com/sigilfs/sigilfs/internal/objstore"
)

// upload is what the bucket knows of a multipart upload.
type upload struct {
	key   string
	opt   objstore.PutOptions
	kept  protection
	parts map[int]part
	began time.Time
}

type part struct {
	body []byte
	etag string
}

// uploader is a client's handle on one; it knows it by name only.
type uploader struct {
	s       *Store
	key, id string
	enc     *objstore.Encryption
	told    objstore.Header
}

// Upload is objstore.Store's.
func (s *Store) Upload(ctx context.Context, key string, opt objstore.PutOptions) (objstore.Uploader, error) {
	if err := s.check(ctx, key, opt); err != nil {
		return nil, wrap("upload", key, err)
	}
	if opt.Condition != (objstore.Condition{}) {
		return nil, wrap("upload", key, objstore.ErrInvalid)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.gone {
		return nil, wrap("upload", key, objstore.ErrBucket)
	}
	p, err := s.protect(opt.Encryption.Writes())
	if err != nil {
		return nil, wrap("upload", key, err)
	}
	s.serial++
	id := "u" + strconv.Itoa(s.serial)
	opt.Metadata, opt.System, opt.Tags = maps.Clone(opt.Metadata), maps.Clone(opt.System), maps.Clone(opt.Tags)
	if opt.Lock != nil {
		lock := *opt.Lock
		opt.Lock = &lock
	}
	s.uploads[id] = &upload{key: key, opt: opt, kept: p, parts: map[int]part{}, began: s.opt.Now()}
	u := &uploader{s: s, key: key, id: id, enc: opt.Encryption}
	if !s.opt.SilentCopies {
		u.told = p.made()
	}
	return u, nil
}

// Resume is objstore.Resumer's.
func (s *Store) Resume(key, uploadID string) objstore.Uploader {
	return &uploader{s: s, key: key, id: uploadID}
}

func (u *uploader) UploadID() string { return u.id }

func (u *uploader) Encrypted() objstore.Header { return maps.Clone(u.told) }

// find looks the upload up. u.s.mu is held.
func (u *uploader) find() (*upload, error) {
	if u.s.gone {
		return nil, objstore.ErrBucket
	}
	up := u.s.uploads[u.id]
	if up == nil || up.key != u.key {
		return nil, objstore.ErrNoUpload
	}
	return up, nil
}

func (u *uploader) Part(ctx context.Context, n int, body io.ReadSeeker, size int64) error {
	return wrap("part of", u.key, u.part(ctx, n, body, size))
}

func (u *uploader) part(ctx context.Context, n int, body io.ReadSeeker, size int64) error {
	if err := u.check(ctx, n); err != nil {
		return err
	}
	data, err := u.s.read(body, size)
	if err != nil {
		return err
	}
	u.s.mu.Lock()
	defer u.s.mu.Unlock()
	up, err := u.use()
	if err != nil {
		return err
	}
	up.parts[n] = part{body: data, etag: u.s.tag(data, up.kept)}
	return nil
}

// use is find for requests that encrypt: they bring the key that the upload
// began with. u.s.mu is held.
func (u *uploader) use() (*upload, error) {
	up, err := u.find()
	if err != nil {
		return nil, err
	}
	return up, u.s.decrypt(up.kept, u.enc.Reads(), customerPrefix)
}

func (u *uploader) check(ctx context.Context, n int) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	if n < 1 || n > u.s.opt.MaxParts {
		return fmt.Errorf("part number %d: %w", n, objstore.ErrInvalid)
	}
	return nil
}

func (u *uploader) CopyPart(ctx context.Context, n int, src objstore.ID, r objstore.Range) error {
	return wrap("copy part of", u.key, u.copyPart(ctx, n, src, r))
}

func (u *uploader) copyPart(ctx context.Context, n int, src objstore.ID, r objstore.Range) error {
	if err := u.check(ctx, n); err != nil {
		return err
	}
	if err := r.Check(); err != nil {
		return err
	}
	u.s.mu.Lock()
	defer u.s.mu.Unlock()
	up, err := u.use()
	if err != nil {
		return err
	}
	o, err := u.s.find(src)
	if err != nil {
		return err
	}
	if err := u.s.decrypt(o.kept, src.Encryption.Sources(), sourcePrefix); err != nil {
		return err
	}
	if u.s.frozen(o) {
		return objstore.ErrArchived
	}
	off, length := r.Of(o.info.Size)
	if off != r.Off && r.Suffix == 0 || r.Len != 0 && length != r.Len || r.Suffix > o.info.Size || length == 0 && r != (objstore.Range{}) {
		return fmt.Errorf("range %+v of %d bytes: %w", r, o.info.Size, objstore.ErrInvalid)
	}
	if length > u.s.opt.MaxPartSize {
		return objstore.ErrTooLarge
	}
	data := slices.Clone(o.body[off : off+length])
	up.parts[n] = part{body: data, etag: u.s.tag(data, up.kept)}
	return nil
}

func (u *uploader) Complete(ctx context.Context, cond objstore.Condition) (objstore.Receipt, error) {
	id, err := u.complete(ctx, cond)
	return id, wrap("complete", u.key, err)
}

func (u *uploader) complete(ctx context.Context, cond objstore.Condition) (objstore.Receipt, error) {
	if err := ctx.Err(); err != nil {
		return objstore.Receipt{}, err
	}
	u.s.mu.Lock()
	defer u.s.mu.Unlock()
	up, err := u.use()
	if err != nil {
		return objstore.Receipt{}, err
	}
	body, etag, err := up.join(u.s.opt.MinPartSize)
	if err != nil {
		return objstore.Receipt{}, err
	}
	if !u.s.opt.IgnorePutConditions {
		if err := u.s.allowMade(u.key, cond, up.opt.Encryption.Writes()); err != nil {
			return objstore.Receipt{}, err
		}
	}
	delete(u.s.uploads, u.id)
	told := up.kept.completed()
	if u.s.opt.SilentCopies {
		told = nil
	}
	return u.s.store(u.key, body, etag, up.opt, up.kept, told), nil
}

// join puts the parts together. The ETag is the MD5 of the parts' ETags, with
// their number.
func (up *upload) join(least int64) (body []byte, etag string, err error) {
	if len(up.parts) == 0 {
		return nil, "", fmt.Errorf("no parts: %w", objstore.ErrInvalid)
	}
	numbers := slices.Sorted(maps.Keys(up.parts))
	sums := md5.New() //nolint:gosec // see the import
	for i, n := range numbers {
		p := up.parts[n]
		if int64(len(p.body)) < least && i < len(numbers)-1 {
			return nil, "", fmt.Errorf("part %d of %d bytes is too small: %w", n, len(p.body), objstore.ErrInvalid)
		}
		sum, _ := hex.DecodeString(p.etag)
		sums.Write(sum)
		body = append(body, p.body...)
	}
	return body, fmt.Sprintf("%s-%d", hex.EncodeToString(sums.Sum(nil)), len(numbers)), nil
}

func (u *uploader) Abort(ctx context.Context) error {
	if err := ctx.Err(); err != nil {
		return wrap("abort", u.key, err)
	}
	u.s.mu.Lock()
	defer u.s.mu.Unlock()
	_, err := u.find()
	if err == nil {
		delete(u.s.uploads, u.id)
	}
	if u.s.gone {
		return wrap("abort", u.key, err)
	}
	return nil
}
