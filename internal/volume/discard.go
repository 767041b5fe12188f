package volume

import "context"

// Discard gives back a reference as Release does, and forgets what is not
// committed of f: for who writes a file whole or not at all. What is in the
// bucket stands, and is shown again; an upload is aborted. Nobody else may have f
// open to write.
func (f *File) Discard(ctx context.Context) {
	f.stopStream(context.WithoutCancel(ctx), true)
	f.v.unlink(f)
	f.Release()
}
