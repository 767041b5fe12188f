package main

import (
	"context"
	"errors"
	"fmt"
	"path"
	"strconv"
	"strings"

	"github.com/sigilfs/sigilfs/cmd/sigilfs/internal/option"
	"github.com/sigilfs/sigilfs/internal/volume"
	"golang.org/x/sys/unix"
)

// isRemote tells an argument that names something in a bucket.
func isRemote(arg string) bool {
	return strings.HasPrefix(arg, "s3://") || strings.HasPrefix(arg, "arn:")
}

// locate gives the path in the volume that an argument names: s3://…, or what
// lies below what the configuration file says.
func (o *offline) locate(arg string) (string, error) {
	if !isRemote(arg) && o.set.ofFile {
		return strings.Trim(arg, "/"), nil
	}
	bucket, p, err := option.ParsePath(option.HostForm(arg))
	if err != nil {
		return "", usageError("%w", err)
	}
	rest, ok := strings.CutPrefix(p+"/", o.set.target.Prefix)
	if bucket.Bucket != o.set.target.Bucket || !ok {
		return "", usageError("%s lies in another volume than %s; give each a command of its own", arg, o.name(o.path))
	}
	return strings.TrimSuffix(rest, "/"), nil
}

// targets are the paths of the target and of more arguments.
func (o *offline) targets(more []string) ([]string, error) {
	all := []string{o.path}
	for _, arg := range more {
		p, err := o.locate(arg)
		if err != nil {
			return nil, err
		}
		all = append(all, p)
	}
	return all, nil
}

// name is how people know what is at p.
func (o *offline) name(p string) string {
	if o.set.target.Bucket == "" { // there is none
		return quoted(o.set.target.Prefix + p)
	}
	return quoted("s3://" + o.set.target.Bucket + "/" + o.set.target.Prefix + p)
}

// quoted is s on one line, as it is where nothing in it could be taken for
// something else: anybody may have chosen a name.
func quoted(s string) string {
	if q := strconv.Quote(s); q != `"`+s+`"` || s == "" || strings.TrimSpace(s) != s {
		return q
	}
	return s
}

// maxLinks is how many symbolic links are followed to one name, as in Linux
// (path_resolution(7)).
const maxLinks = 40

// follow gives what is at p, and where that is: as with a mount, whose kernel
// follows symbolic links. One that leads out of the volume is an error.
func (o *offline) follow(ctx context.Context, p string) (string, volume.Info, error) {
	info, err := o.files.Stat(ctx, p)
	if err == nil && info.Mode&unix.S_IFMT != unix.S_IFLNK {
		return p, info, nil
	}
	if err != nil && !absent(err) {
		return p, info, err
	}
	for range maxLinks {
		next, ferr := o.followOnce(ctx, p)
		switch {
		case ferr != nil:
			return p, info, ferr
		case next == p:
			info, err = o.files.Stat(ctx, p)
			return p, info, err
		}
		p = next
	}
	return p, info, fmt.Errorf("%q: too many symbolic links: %w", p, volume.ErrInvalid)
}

// absent tells the errors of a path of which nothing is there.
func absent(err error) bool {
	return errors.Is(err, volume.ErrNotExist) || errors.Is(err, volume.ErrNotDir)
}

// followOnce replaces the first symbolic link in p; without one it gives p.
func (o *offline) followOnce(ctx context.Context, p string) (string, error) {
	parts := strings.Split(p, "/")
	for i := range parts {
		at := strings.Join(parts[:i+1], "/")
		info, err := o.files.Stat(ctx, at)
		if absent(err) {
			return p, nil
		}
		if err != nil {
			return p, err
		}
		if info.Mode&unix.S_IFMT != unix.S_IFLNK {
			continue
		}
		target, err := o.files.Readlink(ctx, at)
		if err != nil {
			return p, err
		}
		return o.joined(at, target, strings.Join(parts[i+1:], "/"))
	}
	return p, nil
}

// joined is where the symbolic link at leads, with the rest of a path behind.
func (o *offline) joined(at, target, rest string) (string, error) {
	to := path.Join("/", path.Dir("/"+at), target)
	depth := strings.Count(path.Join("/", path.Dir("/"+at)), "/")
	if at == path.Base(at) {
		depth = 0
	}
	if strings.HasPrefix(target, "/") || leavesRoot(target, depth) {
		return "", fmt.Errorf("%q is a symbolic link to %q, out of the volume: %w", at, target, volume.ErrInvalid)
	}
	return strings.TrimPrefix(path.Join(to, rest), "/"), nil
}

// leavesRoot tells whether a relative path goes up more than depth directories.
func leavesRoot(target string, depth int) bool {
	for part := range strings.SplitSeq(target, "/") {
		switch part {
		case "", ".":
		case "..":
			depth--
		default:
			depth++
		}
		if depth < 0 {
			return true
		}
	}
	return false
}

// explain says of an error about p what it is about, and what there is to do.
func (o *offline) explain(verb, p string, err error) error {
	if coded := (*exitError)(nil); errors.As(err, &coded) {
		return err
	}
	for _, c := range []struct {
		is     error
		remedy string
	}{
		{volume.ErrDowngrade, "give --allow-plaintext if that is wanted"},
		{volume.ErrNoKey, "give the key under which it was written with --key"},
		{volume.ErrWrongKey, "give the key under which it was written with --key"},
		{volume.ErrArchived, "sigilfs restore has it brought back"},
		{volume.ErrName, "what lies below .sigil/ is the volume's own"},
		{volume.ErrSpoolFull, "make room on the disk of --state-dir, or name another one"},
	} {
		if errors.Is(err, c.is) {
			return mountError("%s %s: %w; %s", verb, o.name(p), err, c.remedy)
		}
	}
	if remedy := storeRemedy(err); remedy != "" {
		return mountError("%s %s: %w; %s", verb, o.name(p), err, remedy)
	}
	return mountError("%s %s: %w", verb, o.name(p), err)
}
