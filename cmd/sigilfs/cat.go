package main

import (
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/sigilfs/sigilfs/internal/volume"
	"github.com/spf13/cobra"
	"golang.org/x/sys/unix"
)

func newCat() *cobra.Command {
	var part struct{ off, n int64 }
	cmd := &cobra.Command{
		Use:   "cat TARGET…",
		Short: "Write files of a bucket to stdout, decrypted",
		Long: `cat reads files without a mount, and writes nothing but what authenticates:

    sigilfs cat s3://bucket/prefix/file --encryption client --key file:main.key | tar x
    sigilfs cat CONFIG.yaml PATH…

Where a file does not authenticate it ends with exit code 32 and says object,
offset and reason; what came before that is the file's.`,
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) == 0 {
				return usageError("sigilfs cat s3://bucket/prefix/file --encryption client --key file:main.key")
			}
			return nil
		},
	}
	onVolume(cmd, reads|aFile, func(ctx context.Context, c *cobra.Command, o *offline, args []string) error {
		if part.off < 0 || part.n < -1 {
			return usageError("--offset and --length are not negative")
		}
		paths, err := o.targets(args)
		if err != nil {
			return err
		}
		for _, p := range paths {
			if err := o.cat(ctx, c.OutOrStdout(), p, part.off, part.n); err != nil {
				return err
			}
		}
		return nil
	})
	cmd.Flags().Int64Var(&part.off, "offset", 0, "`BYTES` of each file to leave out at its beginning")
	cmd.Flags().Int64Var(&part.n, "length", -1, "`BYTES` of each file to write at most (default: all)")
	return cmd
}

// readPiece is how much is read at a time, and leastPiece how much once something
// was wrong, so that all that is right before it is given: in bytes.
const (
	readPiece  = 1 << 20
	leastPiece = 64 << 10
)

// cat writes n bytes of the file at p from off on, or all where n is negative.
func (o *offline) cat(ctx context.Context, out io.Writer, p string, off, n int64) error {
	f, err := o.openFile(ctx, p)
	if err != nil {
		return o.explain("read", p, err)
	}
	defer f.Release()
	_, err = o.copyOut(ctx, out, f, p, off, n, nil)
	return err
}

// openFile opens a regular file for reading.
func (o *offline) openFile(ctx context.Context, p string) (*volume.File, error) {
	at, info, err := o.follow(ctx, p)
	switch {
	case err != nil:
		return nil, err
	case info.Err != nil:
		return nil, info.Err
	case info.Mode&unix.S_IFMT == unix.S_IFDIR:
		return nil, volume.ErrIsDir
	case info.Mode&unix.S_IFMT != unix.S_IFREG:
		return nil, fmt.Errorf("not a regular file: %w", volume.ErrInvalid)
	}
	return o.files.Open(ctx, at, volume.OpenOptions{})
}

// copyOut writes what authenticates of f, and gives how much that was; done is
// told of each piece.
func (o *offline) copyOut(ctx context.Context, out io.Writer, f *volume.File, p string, off, n int64, done func(int64)) (int64, error) {
	buf := make([]byte, readPiece)
	wrote := int64(0)
	for n < 0 || wrote < n {
		want := int64(len(buf))
		if n >= 0 {
			want = min(want, n-wrote)
		}
		if ctx.Err() != nil {
			return wrote, mountError("interrupted")
		}
		got, err := f.ReadAt(ctx, buf[:want], off+wrote)
		if got > 0 {
			if _, werr := out.Write(buf[:got]); werr != nil {
				return wrote, systemError("%w", werr)
			}
			wrote += int64(got)
			if done != nil {
				done(int64(got))
			}
		}
		switch {
		case errors.Is(err, io.EOF):
			return wrote, nil
		case err != nil && ctx.Err() != nil:
			return wrote, mountError("interrupted")
		case err != nil && len(buf) > leastPiece && errors.Is(err, volume.ErrCorrupt):
			buf = buf[:leastPiece]
		case err != nil:
			return wrote, o.explain("read", p, fmt.Errorf("at byte %d: %w", off+wrote, err))
		}
	}
	return wrote, nil
}
