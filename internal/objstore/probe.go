package objstore

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"maps"
	"time"
)

// Capabilities are what a server was seen to do. Servers take what they do not
// know and answer as if they did, so each of them was tried with a condition
// that does not hold.
type Capabilities struct {
	PutConditions    bool // If-Match and If-None-Match of Put
	UploadConditions bool // those of Complete
	CopyConditions   bool // those of the destination of a Copy
	DeleteConditions bool // If-Match of Delete
	CopyParts        bool // Uploader.CopyPart works
	Read             bool // the credentials may read what they write
	Delete           bool // the credentials may delete
	Simple           bool // Simplifier had to leave something away
}

// ProbeOptions choose what Probe does.
type ProbeOptions struct {
	// Dir is the prefix under which it writes, ending in a slash:
	// ".sigil/doctor/" of the volume root. Each probe takes a random name in it.
	Dir string

	// ReadOnly sends one listing and nothing that writes; the Capabilities are
	// then zero.
	ReadOnly bool

	// Full tries copies, uploads and conditional deletes too, in about ten
	// requests more.
	Full bool

	// Encryption goes with every body: a bucket's policy may let none in
	// without. Whether the server does it ProbeEncryption finds out.
	Encryption *Encryption

	// Timeout bounds the first answer, so that an endpoint which is not there
	// is said to be so while a person waits; 0 is 20 s.
	Timeout time.Duration
}

// cleanTime bounds the removal of what a probe wrote, where ctx has ended.
const cleanTime = 10 * time.Second

// Probe sees whether the bucket is there and lets us in, whether what is
// written can be read again, and what conditions the server honours. What it
// wrote it deletes. Errors: ErrUnreachable, ErrBucket, ErrBadAuth, ErrAccess
// and what else Store's methods give.
func Probe(ctx context.Context, s Store, opt ProbeOptions) (Capabilities, error) {
	if opt.Timeout == 0 {
		opt.Timeout = 20 * time.Second
	}
	if err := reach(ctx, s, opt); err != nil {
		return Capabilities{}, err
	}
	if opt.ReadOnly {
		return Capabilities{}, nil
	}
	name := make([]byte, 16)
	if _, err := rand.Read(name); err != nil {
		return Capabilities{}, err
	}
	p := &probe{s: s, dir: opt.Dir + hex.EncodeToString(name), encryption: opt.Encryption}
	err := p.all(ctx, opt.Full)
	return p.caps, errors.Join(err, p.clean(ctx))
}

// reach lists one key.
func reach(ctx context.Context, s Store, opt ProbeOptions) error {
	ctx, cancel := context.WithTimeout(ctx, opt.Timeout)
	defer cancel()
	for _, err := range s.List(ctx, ListOptions{Prefix: opt.Dir, Limit: 1}) {
		if err != nil {
			return fmt.Errorf("probe: %w", err)
		}
	}
	return nil
}

// probe is one run, with the keys it wrote to.
type probe struct {
	s          Store
	dir        string
	encryption *Encryption
	caps       Capabilities
	written    []string
}

func (p *probe) options(c Condition) PutOptions {
	return PutOptions{Condition: c, Metadata: probeMetadata, Encryption: p.encryption}
}

// source names the object at a key for a copy of it.
func (p *probe) source(key string) ID { return ID{Key: key, Encryption: p.encryption} }

// wrongTag is the ETag of nothing that a probe writes.
const wrongTag = "00000000000000000000000000000000"

var probeMetadata = map[string]string{"sigil-probe": "1 a+b/c="}

func (p *probe) all(ctx context.Context, full bool) error {
	id, err := p.roundTrip(ctx)
	if err != nil {
		return fmt.Errorf("probe: %w", err)
	}
	steps := []func(context.Context, ID) error{p.put, p.copyPart}
	if full {
		steps = append(steps, p.copy, p.upload, p.delete)
	}
	for _, step := range steps {
		if err := step(ctx, id); err != nil {
			return fmt.Errorf("probe: %w", err)
		}
	}
	return nil
}

// key names an object of the probe that clean removes.
func (p *probe) key(suffix string) string {
	p.written = append(p.written, p.dir+suffix)
	return p.dir + suffix
}

// roundTrip writes and reads an object, in a simpler way if the first one
// fails: some servers refuse checksums that they do not know, others store
// them as if they were the body.
func (p *probe) roundTrip(ctx context.Context) (id ID, err error) {
	err = p.simplify(simplifications, func() error {
		id, err = p.once(ctx)
		return err
	})
	return id, err
}

// simplifications are more than any Simplifier has steps.
const simplifications = 10

// simplify tries again, with less in up to most steps, what the server may not
// have understood.
func (p *probe) simplify(most int, try func() error) error {
	for n := 0; ; n++ {
		err := try()
		if n == most || !errors.Is(err, ErrInvalid) && !errors.Is(err, ErrUnsupported) && !errors.Is(err, ErrBadAuth) && !errors.Is(err, errMangled) {
			return err
		}
		simpler, ok := p.s.(Simplifier)
		if !ok || !simpler.Simplify() {
			return err
		}
		p.caps.Simple = true
	}
}

var errMangled = errors.New("the server does not give back what was written")

func (p *probe) once(ctx context.Context) (ID, error) {
	id, err := p.write(ctx, p.key(""), probeBody, Condition{})
	if err != nil {
		return id, err
	}
	info, _, r, err := p.s.Get(ctx, id, Range{Suffix: 4096})
	if errors.Is(err, ErrAccess) && !errors.Is(err, ErrKeyAccess) { // a host that may only write
		return id, nil
	}
	if err != nil {
		return id, err
	}
	p.caps.Read = true
	got, err := io.ReadAll(r)
	_ = r.Close()
	if err == nil && (!bytes.Equal(got, probeBody) || !maps.Equal(info.Metadata, probeMetadata)) {
		err = fmt.Errorf("%q: %w", id.Key, errMangled)
	}
	return id, err
}

func (p *probe) write(ctx context.Context, key string, body []byte, cond Condition) (ID, error) {
	got, err := p.s.Put(ctx, key, bytes.NewReader(body), int64(len(body)), p.options(cond))
	return got.ID, err
}

// refused tells whether a condition that does not hold was seen: err must be
// want. Success means that it was ignored, and so does a server's refusal to
// hear of conditions at all.
func refused(err, want error) (bool, error) {
	switch {
	case errors.Is(err, want):
		return true, nil
	case err == nil, errors.Is(err, ErrUnsupported), errors.Is(err, ErrInvalid):
		return false, nil
	}
	return false, err
}

// conditions tries both.
func conditions(try func(Condition) error) (bool, error) {
	exist, err := refused(try(Condition{IfNone: true}), ErrExist)
	if err != nil || !exist {
		return false, err
	}
	return refused(try(Condition{IfMatch: wrongTag}), ErrChanged)
}

func (p *probe) put(ctx context.Context, id ID) (err error) {
	p.caps.PutConditions, err = conditions(func(c Condition) error {
		_, err := p.write(ctx, id.Key, []byte("again"), c)
		return err
	})
	return err
}

// drop gives an upload up, after an interruption too. Where that is denied it is
// completed, for clean to delete: parts that nobody sees would be paid for.
func (p *probe) drop(ctx context.Context, up Uploader) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), cleanTime)
	defer cancel()
	err := up.Abort(ctx)
	if !errors.Is(err, ErrAccess) {
		return err
	}
	_, _ = up.Complete(ctx, Condition{}) // of no parts it is refused
	return nil
}

// copyPart tries it on an upload that is dropped again.
func (p *probe) copyPart(ctx context.Context, id ID) error {
	err := p.simplify(1, func() error {
		up, err := p.s.Upload(ctx, id.Key, p.options(Condition{}))
		if err != nil {
			return err
		}
		return errors.Join(up.CopyPart(ctx, 1, p.source(id.Key), Range{}), p.drop(ctx, up))
	})
	p.caps.CopyParts = err == nil
	if errors.Is(err, ErrInvalid) || errors.Is(err, ErrUnsupported) || errors.Is(err, ErrAccess) {
		return nil
	}
	return err
}

func (p *probe) copy(ctx context.Context, id ID) (err error) {
	dst := p.key("-copy")
	_, err = p.s.Copy(ctx, p.source(id.Key), dst, p.options(Condition{}))
	if errors.Is(err, ErrAccess) && !p.caps.Read {
		return nil // a copy reads, which is told already
	}
	if err != nil {
		return err
	}
	p.caps.CopyConditions, err = conditions(func(c Condition) error {
		_, err := p.s.Copy(ctx, p.source(id.Key), dst, p.options(c))
		return err
	})
	return err
}

func (p *probe) upload(ctx context.Context, id ID) (err error) {
	p.caps.UploadConditions, err = conditions(func(c Condition) error {
		up, err := p.s.Upload(ctx, id.Key, p.options(Condition{}))
		if err != nil {
			return err
		}
		if err := up.Part(ctx, 1, bytes.NewReader([]byte("part")), 4); err != nil {
			return errors.Join(err, p.drop(ctx, up))
		}
		if _, err = up.Complete(ctx, c); err != nil {
			return errors.Join(err, p.drop(ctx, up))
		}
		return nil
	})
	return err
}

func (p *probe) delete(ctx context.Context, _ ID) (err error) {
	key := p.key("-delete")
	if _, err := p.write(ctx, key, nil, Condition{}); err != nil {
		return err
	}
	p.caps.DeleteConditions, err = refused(p.s.Delete(ctx, ID{Key: key}, Condition{IfMatch: wrongTag}), ErrChanged)
	if errors.Is(err, ErrAccess) {
		return nil // clean says so
	}
	return err
}

// clean deletes what was written. Credentials that may not are no error: a
// host that only writes backups has them.
func (p *probe) clean(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), cleanTime)
	defer cancel()
	var errs error
	p.caps.Delete = true
	for _, key := range p.written {
		err := p.s.Delete(ctx, ID{Key: key}, Condition{})
		if errors.Is(err, ErrAccess) {
			p.caps.Delete = false
			return errs
		}
		errs = errors.Join(errs, err)
	}
	return errs
}
