package main

import (
	"context"
	"crypto/sha256"
	"errors"
	"io"
	"math/rand/v2"
	"os"
)

// noise is size bytes that do not compress.
func noise(size int64) io.Reader {
	return io.LimitReader(rand.NewChaCha8(sha256.Sum256([]byte("bench"))), size)
}

// large makes the local file that all write, once a run.
func (b *bed) large() (string, error) {
	name := b.local("large")
	if info, err := os.Stat(name); err == nil && info.Size() == largeSize {
		return name, nil
	}
	return name, fill(name, largeSize)
}

// fill writes a file as a program does that makes its content.
func fill(name string, size int64) error {
	f, err := os.Create(name) //nolint:gosec // ours
	if err != nil {
		return err
	}
	_, err = io.CopyBuffer(struct{ io.Writer }{f}, noise(size), make([]byte, mib))
	return errors.Join(err, f.Close())
}

// writeLarge copies the file into the mount, as the clients copy it into the
// bucket.
func writeLarge(ctx context.Context, b *bed) ([]result, error) {
	file, err := b.large()
	if err != nil {
		return nil, err
	}
	us, err := b.timed(result{who: "sigilfs", mount: true, size: largeSize}, func() error { return b.run(ctx, "cp", file, b.path("large")) })
	if err == nil {
		us.peak, err = b.mount.PeakRSS()
	}
	if err != nil {
		return nil, err
	}
	all, err := b.byClients(func(c client) error { return c.put(ctx, file, theirs+"large") })
	return append([]result{us}, all...), errors.Join(err, os.Remove(b.path("large")), b.drop(ctx, theirs))
}

// byClients measures what each of the other clients does with the large file.
func (b *bed) byClients(do func(c client) error) ([]result, error) {
	clients, err := b.clients()
	if err != nil {
		return nil, err
	}
	var all []result
	for _, c := range clients {
		r, err := b.timed(result{who: c.name, size: largeSize}, func() error { return do(c) })
		if err != nil {
			return nil, err
		}
		all = append(all, r)
	}
	return all, nil
}

// readLarge copies it out again, nothing of it cached.
func readLarge(ctx context.Context, b *bed) ([]result, error) {
	clients, err := b.clients()
	if err != nil {
		return nil, err
	}
	file, err := b.large()
	if err != nil {
		return nil, err
	}
	if err := errors.Join(fill(b.path("large"), largeSize), clients[0].put(ctx, file, theirs+"large"), b.remount(ctx)); err != nil {
		return nil, err
	}
	us, err := b.timed(result{who: "sigilfs", mount: true, size: largeSize}, func() error { return b.run(ctx, "cp", b.path("large"), b.local("got")) })
	if err == nil {
		us.peak, err = b.mount.PeakRSS()
	}
	if err != nil {
		return nil, err
	}
	all, err := b.byClients(func(c client) error {
		return errors.Join(os.Remove(b.local("got")), c.get(ctx, theirs+"large", b.local("got")))
	})
	return append([]result{us}, all...), errors.Join(err, os.Remove(b.local("got")), os.Remove(b.path("large")), b.drop(ctx, theirs))
}

// streamLarge writes what is larger than the spool, and looks at the memory of
// the daemon.
func streamLarge(ctx context.Context, b *bed) ([]result, error) {
	size := b.opt.size(2*gib, 20*gib)
	if err := b.remount(ctx, "--spool-size", "256MiB"); err != nil {
		return nil, err
	}
	r, err := b.timed(result{who: "sigilfs", mount: true, size: size}, func() error { return fill(b.path("stream"), size) })
	if err == nil {
		r.peak, err = b.mount.PeakRSS()
	}
	return []result{r}, errors.Join(err, os.Remove(b.path("stream")), b.remount(ctx))
}

// changeLarge changes 4 KiB in the middle.
func changeLarge(ctx context.Context, b *bed) ([]result, error) {
	if err := errors.Join(fill(b.path("large"), largeSize), b.remount(ctx)); err != nil {
		return nil, err
	}
	r, err := b.timed(result{who: "sigilfs", mount: true, size: 4 * kib}, func() error { return change(b.path("large"), largeSize/2+5, 4*kib) })
	return []result{r}, errors.Join(err, os.Remove(b.path("large")))
}

func change(name string, off, size int64) error {
	f, err := os.OpenFile(name, os.O_WRONLY, 0) //nolint:gosec // ours
	if err != nil {
		return err
	}
	_, err = f.WriteAt(make([]byte, size), off)
	return errors.Join(err, f.Close())
}

// copyLarge copies it to another name of the mount.
func copyLarge(ctx context.Context, b *bed) ([]result, error) {
	if err := errors.Join(fill(b.path("large"), largeSize), b.remount(ctx)); err != nil {
		return nil, err
	}
	r, err := b.timed(result{who: "sigilfs", mount: true, size: largeSize}, func() error { return b.run(ctx, "cp", b.path("large"), b.path("copy")) })
	return []result{r}, errors.Join(err, os.Remove(b.path("large")), os.Remove(b.path("copy")))
}
