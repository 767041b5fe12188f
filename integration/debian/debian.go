// Package debian gives tests a Debian of their own: a directory with a small
// system in it, to install a package into, to boot, or to follow instructions
// in. What they do there leaves the machine as it is.
//
// The system is made once, by mmdebstrap (a minbase of the host's release and
// what packages lists), and kept as one tar archive in .cache of the
// repository, named by how it is made; Unpack extracts that. It takes root.
//
//	root, err := debian.Unpack(ctx, dir)
//	out, err := root.Run(ctx, "dpkg", "--install", "/sigilfs.deb")
package debian

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"

	"github.com/sigilfs/sigilfs/integration/server"
)

// ErrUnavailable is that this machine cannot make one; the text says why.
var ErrUnavailable = errors.New("no Debian of its own")

// packages are beside minbase, for all tests together: a second archive would
// take as long again.
func packages() []string {
	return []string{
		"bash-completion", "ca-certificates", "dbus", "fuse3", "man-db", "plocate",
		"restic", "rsync", "systemd", "systemd-sysv",
	}
}

// Unpack puts a new system into dir, which is made where it is missing.
func Unpack(ctx context.Context, dir string) (*Root, error) {
	if os.Geteuid() != 0 {
		return nil, fmt.Errorf("%w: only root can make one", ErrUnavailable)
	}
	archive, err := archive(ctx)
	if err != nil {
		return nil, err
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, err
	}
	// Device nodes are the host's, see Command.
	_, err = run(exec.CommandContext(ctx, "tar", "--extract", "--numeric-owner", "--xattrs", "--xattrs-include=*",
		"--exclude=./dev/*", "--file", archive, "--directory", dir))
	return &Root{Dir: dir}, err
}

// archive gives the path of the tar archive. One process makes it while others
// wait; those of other lists are removed then.
func archive(ctx context.Context) (string, error) {
	cache, err := server.Cache(ctx)
	if err != nil {
		return "", err
	}
	unlock, err := server.Lock(filepath.Join(cache, "debian.lock"))
	if err != nil {
		return "", err
	}
	defer unlock()
	args := bootstrap()
	sum := sha256.Sum256([]byte(strings.Join(args, "\x00")))
	path := filepath.Join(cache, "debian-"+hex.EncodeToString(sum[:6])+".tar")
	if _, err := os.Stat(path); err == nil {
		return path, nil
	}
	if _, err := exec.LookPath(args[0]); err != nil {
		return "", fmt.Errorf("%w: there is no %s: run integration/setup", ErrUnavailable, args[0])
	}
	made := filepath.Join(cache, "debian-new.tar")
	cmd := exec.CommandContext(ctx, args[0], append(args[1:], codename(), made, mirror())...)
	cmd.Env = append(os.Environ(), "LC_ALL=C.UTF-8")
	if _, err := run(cmd); err != nil {
		return "", errors.Join(err, os.RemoveAll(made))
	}
	old, _ := filepath.Glob(filepath.Join(cache, "debian-*.tar")) // the pattern is well-formed
	for _, path := range slices.DeleteFunc(old, func(path string) bool { return path == made }) {
		_ = os.Remove(path)
	}
	return path, os.Rename(made, path)
}

// bootstrap is how the archive is made, but for where from and where to.
func bootstrap() []string {
	return []string{
		"mmdebstrap", "--quiet", "--mode=root", "--variant=minbase", "--include=" + strings.Join(packages(), ","),
		`--aptopt=Acquire::Languages "none"`, "--dpkgopt=force-unsafe-io",
	}
}

// codename is the host's release, and Debian 12 where the host is no Debian.
func codename() string {
	text, _ := os.ReadFile("/etc/os-release")
	fields := map[string]string{}
	for line := range strings.Lines(string(text)) {
		name, value, _ := strings.Cut(strings.TrimSpace(line), "=")
		fields[name] = strings.Trim(value, `"`)
	}
	if fields["ID"] == "debian" && fields["VERSION_CODENAME"] != "" {
		return fields["VERSION_CODENAME"]
	}
	return "bookworm"
}

// mirror is where the host has its packages from.
func mirror() string {
	for _, path := range []string{"/etc/apt/sources.list.d/debian.sources", "/etc/apt/sources.list"} {
		if text, err := os.ReadFile(path); err == nil && bytes.Contains(text, []byte(codename())) {
			return path
		}
	}
	return "http://deb.debian.org/debian"
}

// run gives what cmd printed; an error has it too.
func run(cmd *exec.Cmd) (string, error) {
	out, err := cmd.CombinedOutput()
	if err != nil {
		return string(out), fmt.Errorf("%s: %w\n%s", strings.Join(cmd.Args, " "), err, out)
	}
	return string(out), nil
}
