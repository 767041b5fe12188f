package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// s3fs with more requests at once than it makes by default.
type s3fs struct{ b *bed }

func (f s3fs) needs() []string { return []string{"s3fs"} }

func (f s3fs) version(ctx context.Context) string { return firstLine(ctx, "s3fs", "--version") }

func (f s3fs) mount(ctx context.Context, at place) (mounted, error) {
	p, err := f.spawn(ctx, at, at.dir)
	if err != nil {
		return nil, err
	}
	return p, nil
}

func (f s3fs) spawn(ctx context.Context, at place, dir string) (*process, error) {
	passwd := filepath.Join(at.local, "passwd-s3fs")
	if err := os.WriteFile(passwd, []byte(f.b.s3.AccessKey+":"+f.b.s3.SecretKey+"\n"), 0o600); err != nil {
		return nil, err
	}
	options := []string{
		"url=" + f.b.proxy.URL(), "endpoint=" + f.b.s3.Region, "use_path_request_style", "passwd_file=" + passwd, "tmpdir=" + at.scratch,
		"parallel_count=16", "multipart_size=8",
	}
	if at.cached {
		options = append(options, "use_cache="+at.scratch)
	}
	return spawn(ctx, append(f.b.env(), "CURL_CA_BUNDLE="+f.b.ca()), at.local, dir, "s3fs", at.bucket, dir, "-f", "-o", strings.Join(options, ","))
}

// gocryptfs encrypts what s3fs puts into the bucket.
type gocryptfs struct {
	b     *bed
	below s3fs
}

func (f gocryptfs) needs() []string { return []string{"gocryptfs", "s3fs"} }

func (f gocryptfs) version(ctx context.Context) string {
	return firstLine(ctx, "gocryptfs", "-version")
}

func (f gocryptfs) mount(ctx context.Context, at place) (mounted, error) {
	under, password := filepath.Join(at.local, "under"), filepath.Join(at.local, "password")
	if err := errors.Join(os.MkdirAll(under, 0o700), os.WriteFile(password, []byte("bench\n"), 0o600)); err != nil {
		return nil, err
	}
	lower, err := f.below.spawn(ctx, at, under)
	if err != nil {
		return nil, err
	}
	upper, err := f.over(ctx, at, under, password)
	if err != nil {
		lower.kill()
		return nil, err
	}
	return stacked{upper: upper, lower: lower}, nil
}

func (f gocryptfs) over(ctx context.Context, at place, under, password string) (*process, error) {
	if _, err := os.Stat(filepath.Join(under, "gocryptfs.conf")); errors.Is(err, os.ErrNotExist) {
		if err := f.b.tool(ctx, "gocryptfs", "-init", "-q", "-scryptn", "10", "-passfile", password, under); err != nil {
			return nil, err
		}
	}
	return spawn(ctx, f.b.env(), at.local, at.dir, "gocryptfs", "-fg", "-q", "-nosyslog", "-passfile", password, under, at.dir)
}

// stacked is one filesystem over another.
type stacked struct{ upper, lower *process }

func (s stacked) pids() []int                  { return append(s.upper.pids(), s.lower.pids()...) }
func (s stacked) settle(context.Context) error { return nil }

func (s stacked) unmount(ctx context.Context) error {
	if err := s.upper.unmount(ctx); err != nil {
		return err
	}
	return s.lower.unmount(ctx)
}

func (s stacked) kill() {
	s.upper.kill()
	s.lower.kill()
}

// rclone mounts with the cache that its manual asks for where files are changed.
// It uploads behind the last close: the work is done when nothing waits.
type rclone struct{ b *bed }

func (f rclone) needs() []string { return []string{"rclone"} }

func (f rclone) version(ctx context.Context) string { return firstLine(ctx, "rclone", "version") }

func (f rclone) mount(ctx context.Context, at place) (mounted, error) {
	control, err := freePort(ctx)
	if err != nil {
		return nil, err
	}
	mode, wait := "writes", "0s"
	if at.cached {
		mode = "full"
	}
	if at.renames {
		wait = "1s" // with less it loses them: they are never uploaded
	}
	// Its SDK refuses a bundle beside rclone's own.
	env := slices.DeleteFunc(f.b.env(), func(v string) bool { return strings.HasPrefix(v, "AWS_CA_BUNDLE=") })
	env = append(env, "RCLONE_S3_PROVIDER=Minio", "RCLONE_S3_ENV_AUTH=true", "RCLONE_S3_REGION="+f.b.s3.Region,
		"RCLONE_S3_ENDPOINT="+f.b.proxy.URL(), "RCLONE_CONFIG="+filepath.Join(at.local, "rclone.conf"))
	p, err := spawn(ctx, env, at.local, at.dir, "rclone", "mount", "--ca-cert", f.b.ca(), "--cache-dir", at.scratch,
		"--vfs-cache-mode", mode, "--vfs-write-back", wait, "--transfers", "16", "--s3-upload-concurrency", "16", "--s3-chunk-size", "8M",
		"--s3-no-check-bucket", "--rc", "--rc-no-auth", "--rc-addr", control, ":s3:"+at.bucket, at.dir)
	if err != nil {
		return nil, err
	}
	return late{p, "http://" + control + "/vfs/stats", filepath.Join(at.scratch, "vfsMeta")}, nil
}

// late is a running rclone.
type late struct {
	*process
	stats string // URL
	meta  string // directory of what it knows of its cached files
}

// settle asks rclone whether uploads are under way, and then looks whether a
// file waits that it does not count yet.
func (l late) settle(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	return poll(ctx, func(ctx context.Context) (bool, error) {
		if idle, err := l.uploaded(ctx); !idle || err != nil {
			return false, err
		}
		return l.clean()
	})
}

func (l late) uploaded(ctx context.Context) (bool, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, l.stats, http.NoBody)
	if err != nil {
		return false, err
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return false, err
	}
	defer resp.Body.Close()
	var state struct {
		DiskCache *struct{ UploadsInProgress, UploadsQueued int } `json:"diskCache"`
	}
	if err := json.NewDecoder(resp.Body).Decode(&state); err != nil || state.DiskCache == nil {
		return false, fmt.Errorf("rclone does not tell of its uploads: %s, %w", resp.Status, err)
	}
	return state.DiskCache.UploadsInProgress == 0 && state.DiskCache.UploadsQueued == 0, nil
}

// clean tells whether every cached file is marked as one that is uploaded: a mark
// that is being written has neither.
func (l late) clean() (bool, error) {
	clean := true
	err := filepath.WalkDir(l.meta, func(name string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return ignoreGone(err)
		}
		text, err := os.ReadFile(name)
		if err == nil && !bytes.Contains(text, []byte(`"Dirty": false`)) {
			clean = false
			return fs.SkipAll
		}
		return ignoreGone(err)
	})
	return clean, err
}

// ignoreGone makes nothing of a file that has gone meanwhile.
func ignoreGone(err error) error {
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}

func freePort(ctx context.Context) (string, error) {
	l, err := new(net.ListenConfig).Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	return l.Addr().String(), l.Close()
}
