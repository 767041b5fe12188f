package spool

import "fmt"

// SetMeta durably replaces the owner's record of the file: what it needs to
// replay the data after a crash. At most MaxMeta bytes. The record is about
// the file as it is now; it says nothing of whether Sync was called.
func (f *File) SetMeta(b []byte) error {
	if len(b) > MaxMeta {
		return fmt.Errorf("spool meta record of %d bytes is too long", len(b))
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if err := f.usable(); err != nil {
		return err
	}
	if err := f.create(); err != nil {
		return err
	}
	return f.spool.dir.write(f.ID()+metaExt, f.seal.meta(b, f.next(), f.size))
}
