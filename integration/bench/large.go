package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"golang.org/x/sync/errgroup"
	"golang.org/x/sys/unix"

	"github.com/sigilfs/sigilfs/integration/bench/raw"
)

// errDiffers says that what was read is not what was written.
var errDiffers = raw.ErrDiffers

// put writes a file as programs do, a MiB at a time, and closes it.
func put(name string, data []byte) error {
	f, err := os.Create(name)
	if err != nil {
		return err
	}
	for len(data) > 0 && err == nil {
		n := min(mib, len(data))
		_, err = f.Write(data[:n])
		data = data[n:]
	}
	return errors.Join(err, f.Close())
}

// compare reads a file from its begin to its end, a MiB at a time.
func compare(name string, want []byte) error {
	f, err := os.Open(name)
	if err != nil {
		return err
	}
	defer f.Close()
	buffer := make([]byte, mib)
	for off := 0; ; {
		n, err := f.Read(buffer)
		if n > len(want)-off || !bytes.Equal(buffer[:n], want[off:off+n]) {
			return fmt.Errorf("%s after %d bytes: %w", name, off, errDiffers)
		}
		off += n
		if errors.Is(err, io.EOF) && off == len(want) {
			return nil
		}
		if err != nil {
			return fmt.Errorf("%s at %d: %w", name, off, err)
		}
	}
}

func writeLarge(_ context.Context, st *stage) error { return put(st.path(largeName), st.source.data) }

func readLarge(_ context.Context, st *stage) error {
	return compare(st.path(largeName), st.source.data)
}

// readAgain reads it once more, the kernel's pages of it dropped.
func readAgain(ctx context.Context, st *stage) error {
	if err := dropPages(st.path(largeName)); err != nil {
		return err
	}
	return readLarge(ctx, st)
}

// dropPages has the kernel forget what it has of a file.
func dropPages(name string) error {
	f, err := os.Open(name)
	if err != nil {
		return err
	}
	defer f.Close()
	return unix.Fadvise(int(f.Fd()), 0, 0, unix.FADV_DONTNEED)
}

// readRandom reads blocks one after the other at the places where the raw client
// does.
func readRandom(ctx context.Context, st *stage) error {
	f, err := os.Open(st.path(largeName))
	if err != nil {
		return err
	}
	defer f.Close()
	var took []time.Duration
	p := make([]byte, block)
	for off := range raw.Places(int64(len(st.source.data)), st.opt.sizes.random, block) {
		began := time.Now()
		if _, err := f.ReadAt(p, off); err != nil {
			return err
		}
		took = append(took, time.Since(began))
		if !bytes.Equal(p, st.source.data[off:off+block]) {
			return fmt.Errorf("%s at %d: %w", largeName, off, errDiffers)
		}
	}
	st.p50, st.p99 = raw.Percentile(took, 50), raw.Percentile(took, 99)
	return ctx.Err()
}

func writeStreams(_ context.Context, st *stage) error {
	var group errgroup.Group
	for i := range st.opt.sizes.streams {
		group.Go(func() error { return put(st.path(streamName(i)), st.source.stream(i)) })
	}
	return group.Wait()
}

func readStreams(_ context.Context, st *stage) error {
	var group errgroup.Group
	for i := range st.opt.sizes.streams {
		group.Go(func() error { return compare(st.path(streamName(i)), st.source.stream(i)) })
	}
	return group.Wait()
}

const copyName = "copy"

func copyLarge(ctx context.Context, st *stage) error {
	return st.tool(ctx, "cp", st.path(largeName), st.path(copyName))
}

func readCopy(_ context.Context, st *stage) error { return compare(st.path(copyName), st.source.data) }
