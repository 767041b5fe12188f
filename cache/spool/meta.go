package spool

import "fmt"

// SetMeta durably replaces the owner's record of the file: what it needs to
// replay the data after a crash. At most MaxMeta bytes. The record is about
// the file as it is now; it says nothing of whether Sync was called.
func (f *File) SetMeta(b []byte) error { return f.setMeta(b, (*dir).write) }

// NoteMeta is SetMeta for what must outlive the process, not a power failure:
// it waits for no disk.
func (f *File) NoteMeta(b []byte) error { return f.setMeta(b, (*dir).put) }

func (f *File) setMeta(b []byte, write func(*dir, string, []byte) error) error {
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
	return write(f.spool.dir, f.ID()+metaExt, f.seal.meta(b, f.next(), f.size))
}

// DropMeta removes the owner's record: there is nothing to replay.
func (f *File) DropMeta() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.closed || !f.onDisk {
		return nil
	}
	return f.spool.dir.remove(f.ID() + metaExt)
}

// SetMeta durably replaces the owner's record of a file that was left behind.
func (r *Remains) SetMeta(id string, b []byte) error {
	fid, ok := parseID(id)
	if !ok {
		return fmt.Errorf("spool meta record: %q is no file ID", id)
	}
	if len(b) > MaxMeta {
		return fmt.Errorf("spool meta record of %d bytes is too long", len(b))
	}
	seal, err := newLateSealer(&r.key, fid)
	if err != nil {
		return err
	}
	return r.dir.write(id+metaExt, seal.lateMeta(b))
}
