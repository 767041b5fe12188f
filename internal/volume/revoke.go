package volume

import (
	"context"
	"errors"
	"fmt"

	"github.com/sigilfs/sigilfs/objcrypt/sigil"
)

// Revoke says that nothing sealed under an epoch is to be read any more: also
// by who has it open, and though this host still knows the data keys. Each read
// asks Keys again, so that it goes on once the key is back. The cache forgets
// what is under it.
func (v *Volume) Revoke(id sigil.EpochID) {
	defer v.opt.Cache.DropKey(id.String())
	v.mu.Lock()
	defer v.mu.Unlock()
	v.revocations++
	v.revoked[id] = v.revocations
	v.index.clear()             // what stands there of it, nobody may tell any more
	for p, d := range v.known { // to be asked again, and refused
		if d.obj != nil && d.obj.under(id) {
			delete(v.known, p)
		}
	}
}

// maxKeyless bounds the epochs that are known not to open.
const maxKeyless = 1024

// dropKeyless drops what an earlier mount has cached under an epoch that this one
// cannot open, when that is met first. An error that may pass takes nothing.
func (v *Volume) dropKeyless(id sigil.EpochID, err error) {
	if !v.opt.Cache.Lasting() || !errors.Is(err, ErrNoKey) && !errors.Is(err, ErrWrongKey) && !keyRefused(err) {
		return
	}
	v.mu.Lock()
	known := v.keyless[id]
	if len(v.keyless) >= maxKeyless {
		clear(v.keyless)
	}
	v.keyless[id] = true
	v.mu.Unlock()
	if !known {
		v.opt.Cache.DropKey(id.String())
	}
}

// under tells whether the object is sealed under an epoch.
func (o *object) under(id sigil.EpochID) bool {
	f, ok := o.form.(*sealedForm)
	return ok && f.header.Epoch == id
}

// allowed tells whether c may be read still.
func (c *content) allowed(ctx context.Context) error {
	if err := c.v.readable(ctx, c); err != nil {
		return err
	}
	f, ok := c.obj.form.(*sealedForm)
	if !ok {
		return nil
	}
	key := c.id.Load().Key
	for n := c.revocation(); n != 0; n = c.revocation() {
		if _, err := c.v.opt.Keys.Open(ctx, key, f.header.Epoch, f.header.Commits); err != nil {
			return fmt.Errorf("%s: epoch %s: %w", key, f.header.Epoch, err)
		}
		c.v.restore(f.header.Epoch, n)
	}
	return nil
}

// allowedStill comes after a read of c, and tells whether it may be given. What
// was revoked meanwhile is cached no more, though it came after the revocation.
func (c *content) allowedStill(ctx context.Context) error {
	if c.revocation() == 0 {
		return nil
	}
	c.blob.Drop()
	return c.allowed(ctx)
}

// revocation is the number of that by which c is not to be read, 0 for none.
func (c *content) revocation() uint64 {
	f, ok := c.obj.form.(*sealedForm)
	if !ok {
		return 0
	}
	c.v.mu.Lock()
	defer c.v.mu.Unlock()
	return c.v.revoked[f.header.Epoch]
}

// restore takes a revocation back, unless another one followed.
func (v *Volume) restore(id sigil.EpochID, n uint64) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.revoked[id] == n {
		delete(v.revoked, id)
	}
}
