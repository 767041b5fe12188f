package integration

import (
	"bytes"
	"context"
	"errors"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/sigilfs/sigilfs/integration/debian"
	"github.com/sigilfs/sigilfs/integration/machine"
)

// The blocks of "Install" and "First mount" in docs/OPERATIONS.md are typed, as
// they stand, by somebody who has a new Debian, the package, and the names and
// keys of his own bucket.

// follow gives the blocks, in order; those of the unit need a booted systemd.
func follow(t *testing.T, unit bool) []string {
	t.Helper()
	fence := regexp.MustCompile("(?ms)^```sh follow( unit)?\n(.*?)^```$")
	var blocks []string
	for _, m := range fence.FindAllStringSubmatch(string(readFile(t, "../docs/OPERATIONS.md")), -1) {
		if m[1] == "" || unit {
			blocks = append(blocks, m[2])
		}
	}
	if len(blocks) < 5 {
		t.Fatalf("there are %d", len(blocks))
	}
	return blocks
}

// first gives the commands of "A first mount" in the README, as typed by somebody
// with photos and a password for restic.
func first(t *testing.T) []string {
	t.Helper()
	_, text, _ := strings.Cut(string(readFile(t, "../README.md")), "\n## A first mount\n")
	text, _, _ = strings.Cut(text, "\n## ")
	blocks := []string{"mkdir -p ~/photos; echo flower >~/photos/one.jpg; export RESTIC_PASSWORD=secret"}
	for line := range strings.Lines(text) {
		if command, found := strings.CutPrefix(line, "    $ "); found {
			blocks = append(blocks, strings.TrimSpace(command))
		}
	}
	if len(blocks) < 8 {
		t.Fatalf("there are %q", blocks)
	}
	return blocks
}

// watchful has bash say which command failed, and end there. doctor has warnings
// of MinIO, and says so by 64, as the text before it does.
const watchful = `set -uo pipefail
cd /root
set -E
trap 'code=$?; [[ $code = 64 && $BASH_COMMAND == "sigilfs doctor "* ]] || { echo "exit code $code: $BASH_COMMAND" >&2; exit "$code"; }' ERR
`

// script is what one types who has this bucket on this server.
func (h *host) script(unit bool) string {
	h.t.Helper()
	blocks := follow(h.t, unit)
	text := watchful + blocks[0] + "(\n" + strings.Join(first(h.t), "\n") + "\n)\n" + strings.Join(blocks[1:], "\n")
	for _, own := range [][2]string{
		// Of the README.
		{"AWS_ACCESS_KEY_ID=… AWS_SECRET_ACCESS_KEY=… AWS_REGION=eu-central-1", strings.Join(h.s3.env(), " ") + " AWS_ENDPOINT_URL=" + h.s3.URL + " AWS_CA_BUNDLE=/etc/sigilfs/ca.crt"},
		{"s3://bucket/prefix", "s3://" + h.bucket + "/prefix"},
		// Of the manual.
		{"acme-backups", h.bucket},
		{"AKIAIOSFODNN7EXAMPLE", h.s3.AccessKey},
		{"wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY", h.s3.SecretKey},
		// "A server of your own is named there too."
		{"region = eu-central-1\n", "region = " + h.s3.Region + "\nendpoint_url = " + h.s3.URL + "\nca_bundle = /etc/sigilfs/ca.crt\n"},
		{"region: eu-central-1\n", "region: " + h.s3.Region + "\nendpoint-url: " + h.s3.URL + "\nca-bundle: /etc/sigilfs/ca.crt\n"},
	} {
		if strings.Contains(own[0], ": ") != unit && strings.HasPrefix(own[0], "region: ") {
			continue
		}
		if !strings.Contains(text, own[0]) {
			h.t.Errorf("the blocks do not have %q", own[0])
		}
		text = strings.ReplaceAll(text, own[0], own[1])
	}
	return text
}

// newUser is a Debian with the package in the home of root, and not installed.
func newUser(t *testing.T) *host {
	t.Helper()
	onMount(t)
	h := &host{t: t, s3: minioServer(t), bucket: newBucket(t), console: filepath.Join(t.TempDir(), "console")}
	var err error
	h.root, err = debian.Unpack(t.Context(), filepath.Join(t.TempDir(), "root"))
	h.skip(err)
	deb := builtSources(t).deb(t)
	must(t, h.root.Add(deb, "/root/"+filepath.Base(deb), 0o644))
	must(t, h.root.Add(h.s3.CAFile, "/etc/sigilfs/ca.crt", 0o644))
	h.write("/etc/machine-id", "0123456789abcdef0123456789abcdef\n") // what is sealed for a host is so for its id
	return h
}

// followed fails the test unless it went as the manual says, and the bucket has
// what was written, none of it in the clear.
func (h *host) followed(out string) {
	h.t.Helper()
	for _, want := range []string{"mounted s3://" + h.bucket + "/web1 on /mnt/web1", "fuse.sigilfs"} {
		if !strings.Contains(out, want) {
			h.t.Errorf("nothing says %q:\n%s", want, out)
		}
	}
	c := newClient(h.t, h.bucket)
	if names := strings.Join(c.keys("prefix/"), " "); !strings.Contains(names, "prefix/photos/one.jpg") || !strings.Contains(names, "prefix/backup/config") {
		h.t.Errorf("below prefix lie %s", names)
	}
	o := c.get("web1/os-release")
	if len(o.Body) == 0 || bytes.Contains(o.Body, []byte("Debian")) || len(o.Metadata) == 0 {
		h.t.Errorf("in the bucket lie %q, metadata %v", o.Body, o.Metadata)
	}
}

// By fstab, and then by the unit, which mounts again when the host is booted anew.
// Where nothing can be booted it ends with fstab.
func TestFollowOperations(t *testing.T) {
	h := newUser(t)
	ctx, cancel := context.WithTimeout(t.Context(), 2*daemonTime)
	defer cancel()
	first, err := machine.Boot(ctx, h.root, h.console)
	if errors.Is(err, machine.ErrUnavailable) {
		out, err := h.root.Run(ctx, "bash", "-c", h.script(false))
		must(t, err)
		h.followed(out)
		t.Logf("the unit was not tried: %v", err)
		return
	}
	must(t, err)
	t.Cleanup(first.Kill)
	h.machine = first
	h.followed(h.run("bash", "-c", h.script(true)))
	if got := h.property("sigilfs@web1.service", "ActiveState"); got != "active" {
		t.Errorf("the unit is %s", got)
	}
	for _, name := range []string{"/etc/sigilfs/main.key", "/root/.aws/credentials"} { // "can go from this host"
		must(t, os.Remove(h.root.Path(name)))
	}
	h.poweroff()
	h.boot()
	if got := h.property("sigilfs@web1.service", "ActiveState"); got != "active" {
		t.Errorf("after a boot the unit is %s", got)
	}
	h.run("cmp", "/etc/os-release", "/mnt/web1/os-release")
	h.poweroff()
}
