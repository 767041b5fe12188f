package fs

import (
	"context"

	"github.com/sigilfs/sigilfs/internal/volume"
	"github.com/sigilfs/sigilfs/internal/volume/named"
)

// Of makes a Volume of v: Go does not see that a method which returns or takes
// a *volume.File does so with a File.
func Of(v named.Volume) Volume { return adapter{v} }

type adapter struct{ named.Volume }

var (
	_ Volume = adapter{}
	_ File   = opened{}
)

// opened is a File of the adapter.
type opened struct{ *volume.File }

// CopyRange is Content's.
func (f opened) CopyRange(ctx context.Context, from File, in, off, n int64) (int64, error) {
	return f.File.CopyRange(ctx, from.(opened).File, in, off, n)
}

func (a adapter) Open(ctx context.Context, path string, o volume.OpenOptions) (File, error) {
	return file(a.Volume.Open(ctx, path, o))
}

func (a adapter) Create(ctx context.Context, path string, attr volume.Attr, excl bool) (File, error) {
	return file(a.Volume.Create(ctx, path, attr, excl))
}

// file keeps a nil *volume.File from becoming a File.
func file(f *volume.File, err error) (File, error) {
	if err != nil {
		return nil, err
	}
	return opened{f}, nil
}
