package integration

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/sigilfs/sigilfs/integration/debian"
	"github.com/sigilfs/sigilfs/integration/machine"
)

// A host is a Debian of its own, booted by systemd, with sigilfs and its units
// installed and a bucket to mount.
type host struct {
	t       *testing.T
	root    *debian.Root
	machine *machine.Machine
	s3      s3Server
	bucket  string
	key     string // key file
	console string
}

// newHost prepares one, and boots nothing yet. Where this machine cannot the
// test is skipped, and says why.
func newHost(t *testing.T) *host {
	t.Helper()
	onMount(t)
	h := &host{t: t, s3: minioServer(t), bucket: newBucket(t), console: filepath.Join(t.TempDir(), "console")}
	var err error
	h.root, err = debian.Unpack(t.Context(), filepath.Join(t.TempDir(), "root"))
	h.skip(err)
	h.install()
	return h
}

// skip fails the test, or skips it where the machine cannot.
func (h *host) skip(err error) {
	h.t.Helper()
	if errors.Is(err, debian.ErrUnavailable) || errors.Is(err, machine.ErrUnavailable) {
		h.t.Skip(err)
	}
	must(h.t, err)
}

// install puts in place what the package does, and the example units.
func (h *host) install() {
	t := h.t
	t.Helper()
	must(t, h.root.Add(binary(t), "/usr/bin/sigilfs", 0o755))
	for _, link := range []string{"mount.sigilfs", "mount.fuse.sigilfs", "umount.sigilfs", "umount.fuse.sigilfs"} {
		must(t, os.Symlink("/usr/bin/sigilfs", h.root.Path("/usr/sbin/"+link)))
	}
	for from, to := range map[string]string{
		"../systemd/*.service": "/usr/lib/systemd/system/", "../systemd/user/*": "/usr/lib/systemd/user/", "../systemd/examples/*": "/etc/systemd/system/",
	} {
		units, err := filepath.Glob(from)
		must(t, err)
		for _, unit := range units {
			must(t, h.root.Add(unit, to+filepath.Base(unit), 0o644))
		}
	}
	h.key = filepath.Join(t.TempDir(), "main.key")
	_, err := tryBinary(t, baseEnv(t), "keygen", "-o", h.key)
	must(t, err)
	must(t, h.root.Add(h.s3.CAFile, "/etc/sigilfs/ca.crt", 0o644))
	// What is sealed for a host is so for its id.
	h.write("/etc/machine-id", "0123456789abcdef0123456789abcdef\n")
}

// write writes a file of the host, as root has secrets.
func (h *host) write(name, text string) {
	h.t.Helper()
	must(h.t, os.MkdirAll(filepath.Dir(h.root.Path(name)), 0o755))
	must(h.t, os.WriteFile(h.root.Path(name), []byte(text), 0o600))
}

// unit writes a unit of the administrator's.
func (h *host) unit(name, text string) {
	h.t.Helper()
	h.write("/etc/systemd/system/"+name, text)
	must(h.t, os.Chmod(h.root.Path("/etc/systemd/system/"+name), 0o644))
}

// configure writes /etc/sigilfs/NAME.yaml, for a volume of that name.
func (h *host) configure(name, key, more string) {
	h.t.Helper()
	h.write("/etc/sigilfs/"+name+".yaml", fmt.Sprintf(`bucket: s3://%s/%s
endpoint-url: %s
region: %s
ca-bundle: /etc/sigilfs/ca.crt
keys: {main: {aes: %q}}
encryption: [{mode: client, key: main}]
%s`, h.bucket, name, h.s3.URL, h.s3.Region, key, more))
}

// seal gives sigilfs@NAME.service a credential, as systemd-creds seals it.
func (h *host) seal(name, credential, from string) {
	h.t.Helper()
	must(h.t, h.root.Add(from, "/root/secret", 0o600))
	must(h.t, os.MkdirAll(h.root.Path("/etc/credstore.encrypted"), 0o700))
	_, err := h.root.Run(h.t.Context(), "systemd-creds", "encrypt", "--with-key=host", "--name="+credential, "/root/secret", "/etc/credstore.encrypted/sigilfs."+name+"."+credential)
	must(h.t, err)
	must(h.t, os.Remove(h.root.Path("/root/secret")))
}

// credentials is a file as ~/.aws/credentials.
func (h *host) credentials() string {
	h.t.Helper()
	name := filepath.Join(h.t.TempDir(), "credentials")
	must(h.t, os.WriteFile(name, fmt.Appendf(nil, "[default]\naws_access_key_id = %s\naws_secret_access_key = %s\n", h.s3.AccessKey, h.s3.SecretKey), 0o600))
	return name
}

// boot boots it.
func (h *host) boot() {
	h.t.Helper()
	ctx, cancel := context.WithTimeout(h.t.Context(), 2*daemonTime)
	defer cancel()
	m, err := machine.Boot(ctx, h.root, h.console)
	h.skip(err)
	h.machine = m
	h.t.Cleanup(m.Kill)
}

// run must succeed, in the booted host.
func (h *host) run(argv ...string) string {
	h.t.Helper()
	ctx, cancel := context.WithTimeout(h.t.Context(), daemonTime)
	defer cancel()
	out, err := h.machine.Run(ctx, argv...)
	if err != nil {
		journal, _ := h.machine.Run(ctx, "journalctl", "--no-pager", "--lines=60", "--output=short-monotonic")
		h.t.Fatalf("%v\nits journal:\n%s", err, journal)
	}
	return out
}

// property is what systemctl show says of a unit.
func (h *host) property(unit, name string) string {
	h.t.Helper()
	return strings.TrimSpace(h.run("systemctl", "show", "--property="+name, "--value", unit))
}

// await returns when it is so.
func (h *host) await(what string, so func() bool) {
	h.t.Helper()
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	end := time.After(daemonTime)
	for !so() {
		select {
		case <-tick.C:
		case <-end:
			h.t.Fatalf("%s: not in %v\n%s", what, daemonTime, h.run("journalctl", "--no-pager", "--lines=60", "--output=short-monotonic"))
		}
	}
}

// inBucket asks AWS's own tool for the objects of a volume.
func (h *host) inBucket(prefix string) string {
	h.t.Helper()
	c := newTool(h.t, "/", awsCLI, append(h.s3.env(), "AWS_CA_BUNDLE="+h.s3.CAFile)...)
	return c.run(awsCLI, "--endpoint-url", h.s3.URL, "s3", "ls", "--recursive", "s3://"+h.bucket+"/"+prefix)
}

// poweroff ends it in order.
func (h *host) poweroff() {
	h.t.Helper()
	ctx, cancel := context.WithTimeout(h.t.Context(), 2*daemonTime)
	defer cancel()
	if err := h.machine.PowerOff(ctx); err != nil {
		h.t.Fatalf("%v\n%s", err, readFile(h.t, h.console))
	}
}

const (
	service = "sigilfs@backup.service"

	// comes up a second late, and says when it is there.
	networkUnit = `[Unit]
Before=network-online.target
[Service]
Type=oneshot
RemainAfterExit=yes
ExecStart=/bin/sh -c 'sleep 1; touch /run/network-is-up'
[Install]
WantedBy=network-online.target
`
	nightlyUnit = `[Unit]
RequiresMountsFor=/mnt/backup/etc
[Service]
Type=oneshot
ExecStart=/usr/bin/mountpoint --quiet /mnt/backup
ExecStart=/usr/bin/rsync --archive /etc/passwd /etc/systemd /mnt/backup/etc/
[Install]
WantedBy=multi-user.target
`
	// writes when the host goes down.
	lastUnit = `[Unit]
RequiresMountsFor=/mnt/backup
[Service]
Type=oneshot
RemainAfterExit=yes
ExecStart=/bin/true
ExecStop=/bin/sh -c 'echo goodbye >/mnt/backup/last'
[Install]
WantedBy=multi-user.target
`
	dropIn = `[Service]
ExecStartPre=/usr/bin/test -e /run/network-is-up
WatchdogSec=10
RestartSec=1
`
)

// newServer is a host that mounts at boot, before its backup job runs.
func newServer(t *testing.T) *host {
	t.Helper()
	h := newHost(t)
	h.configure("backup", "credential:key", "cache: {dir: /var/cache/sigilfs/backup, size: 64MiB}\nmetrics: unix:/run/sigilfs/backup/metrics.sock\n")
	h.seal("backup", "key", h.key)
	h.seal("backup", "aws", h.credentials())
	must(t, os.Mkdir(h.root.Path("/mnt/backup"), 0o755))
	h.unit("network.service", networkUnit)
	h.unit("nightly.service", nightlyUnit)
	h.unit("last.service", lastUnit)
	h.unit("sigilfs@backup.service.d/test.conf", dropIn)
	_, err := h.root.Run(t.Context(), "systemctl", "enable", "network.service", "nightly.service", "last.service", service, "mnt-backup.mount")
	must(t, err)
	// Of the second volume.
	h.configure("archive", "file:/etc/sigilfs/archive.key", "")
	must(t, h.root.Add(h.key, "/etc/sigilfs/archive.key", 0o600))
	must(t, h.root.Add(h.credentials(), "/root/.aws/credentials", 0o600))
	h.keeper()
	return h
}

// keeper is a user whose own manager mounts from boot on, without root.
func (h *host) keeper() {
	h.t.Helper()
	h.configure("vault", "file:/home/keeper/main.key", "")
	const script = `useradd --uid 1234 --create-home keeper
cd /home/keeper
mkdir -p vault .aws .config/sigilfs .config/systemd/user/default.target.wants /var/lib/systemd/linger
mv /etc/sigilfs/vault.yaml .config/sigilfs/
cp /etc/sigilfs/archive.key main.key
cp /root/.aws/credentials .aws/
ln -s /usr/lib/systemd/user/sigilfs@.service .config/systemd/user/default.target.wants/sigilfs@vault.service
chown -R keeper: .
touch /var/lib/systemd/linger/keeper`
	_, err := h.root.Run(h.t.Context(), "sh", "-ec", script)
	must(h.t, err)
	// As libpam-systemd would, which is not installed.
	h.unit("user@1234.service.d/test.conf", "[Service]\nEnvironment=XDG_RUNTIME_DIR=/run/user/%i\n")
}

// asKeeper runs a command as that user.
func (h *host) asKeeper(argv ...string) string {
	h.t.Helper()
	return h.run(append([]string{"setpriv", "--reuid=1234", "--regid=1234", "--clear-groups", "env", "HOME=/home/keeper", "XDG_RUNTIME_DIR=/run/user/1234"}, argv...)...)
}

// The whole life of the service, on a booted system.
func TestBootedSystem(t *testing.T) {
	h := newServer(t)
	h.boot()
	h.started(t)
	h.logged(t)
	h.comesBack(t)
	h.stops(t)
	h.plain(t)
	h.automounts(t)
	h.withoutRoot(t)
	h.poweroff()
	for _, want := range []string{"backup/last", "archive/file", "vault/file"} {
		if objects := h.inBucket(""); !strings.Contains(objects, want) {
			t.Errorf("%s is not in the bucket:\n%s", want, objects)
		}
	}
	left, err := filepath.Glob(h.root.Path("/var/lib/sigilfs/*/spool/*"))
	must(t, err)
	if len(left) > 0 {
		t.Errorf("the host went down and left %q", left)
	}
	if found := filesWith(t, h.root.Path("/var"), []byte(strings.TrimSpace(string(readFile(t, h.key))))); len(found) > 0 {
		t.Errorf("the key is in %q", found)
	}
}

// started: after the network, and before the job that requires it, which wrote.
func (h *host) started(t *testing.T) {
	t.Helper()
	for unit, want := range map[string]string{service: "active", "mnt-backup.mount": "active", "nightly.service": "inactive"} {
		if got := h.property(unit, "ActiveState"); got != want {
			t.Errorf("%s is %s, want %s: %s", unit, got, want, h.run("systemctl", "status", "--no-pager", "--lines=40", service, unit))
		}
	}
	if got := h.property("nightly.service", "Result"); got != "success" {
		t.Errorf("the job ended with %s", got)
	}
	if text := h.property(service, "StatusText"); !strings.Contains(text, "serving s3://"+h.bucket+"/backup on /mnt/backup") {
		t.Errorf("status %q", text)
	}
	if objects := h.inBucket("backup/etc/"); !strings.Contains(objects, "backup/etc/passwd") {
		t.Errorf("%s", objects)
	}
	if out := h.run("sigilfs", "status", "/mnt/backup"); !strings.Contains(out, "/mnt/backup") {
		t.Errorf("%s", out)
	}
	h.run("diff", "/etc/passwd", "/mnt/backup/etc/passwd")
}

// logged: journald knows how bad each line is, and no secret.
func (h *host) logged(t *testing.T) {
	t.Helper()
	h.run("systemctl", "reload", service)
	h.await("the reload is logged", func() bool {
		return strings.Contains(h.run("journalctl", "--unit="+service, "--output=cat"), "credentials were read again")
	})
	mounted := false
	for line := range strings.Lines(h.run("journalctl", "--unit="+service, "--output=json", "--identifier=sigilfs")) {
		var entry struct{ MESSAGE, PRIORITY string }
		must(t, json.Unmarshal([]byte(line), &entry))
		if strings.Contains(entry.MESSAGE, "mounted s3://") {
			mounted = true
			if entry.PRIORITY != "6" || !strings.HasPrefix(entry.MESSAGE, "level=info") {
				t.Errorf("priority %s: %s", entry.PRIORITY, entry.MESSAGE)
			}
		}
	}
	if !mounted {
		t.Error("journald has no line that it is mounted")
	}
	if all := h.run("journalctl", "--no-pager"); strings.Contains(all, h.s3.SecretKey) || strings.Contains(all, strings.TrimSpace(string(readFile(t, h.key)))) {
		t.Error("a secret is in the journal")
	}
}

// comesBack: a process that is killed, and one that hangs, which the watchdog
// finds. The mount that it left is no obstacle, and the job works again.
func (h *host) comesBack(t *testing.T) {
	t.Helper()
	for _, signal := range []string{"KILL", "STOP"} {
		was := h.property(service, "MainPID")
		name := fmt.Sprintf("/mnt/backup/before-%s", signal)
		h.run("sh", "-c", "echo kept >"+name)
		h.run("sh", "-c", "kill -"+signal+" "+was)
		h.await("another process is started after "+signal, func() bool {
			pid := h.property(service, "MainPID")
			return pid != was && pid != "0" && h.property(service, "ActiveState") == "active"
		})
		h.await("the directory is mounted", func() bool { return h.property("mnt-backup.mount", "ActiveState") == "active" })
		if out := h.run("cat", name); out != "kept\n" {
			t.Errorf("%q", out)
		}
		h.run("systemctl", "start", "nightly.service")
	}
}

// stops: what was closed, and what was said of it after, is in the bucket.
func (h *host) stops(t *testing.T) {
	t.Helper()
	h.run("sh", "-c", "echo precious >/mnt/backup/precious && chmod 640 /mnt/backup/precious && systemctl stop "+service)
	if got := h.property(service, "Result"); got != "success" {
		t.Errorf("it ended with %s:\n%s", got, h.run("journalctl", "--unit="+service, "--lines=20"))
	}
	if out := h.run("cat", "/proc/mounts"); strings.Contains(out, "/mnt/backup") {
		t.Errorf("%s", out)
	}
	if objects := h.inBucket("backup/precious"); !strings.Contains(objects, "backup/precious") {
		t.Errorf("objects: %s", objects)
	}
	h.run("systemctl", "start", "nightly.service", "last.service") // and with it what they require
	if out := h.run("stat", "--format=%a %s", "/mnt/backup/precious"); out != "640 9\n" {
		t.Errorf("%q", out)
	}
}

// plain: no credential of systemd's is there, and the environment says it all.
func (h *host) plain(t *testing.T) {
	t.Helper()
	h.configure("plain", "file:/etc/sigilfs/archive.key", "")
	h.write("/etc/sigilfs/plain.env", "MOUNTPOINT=/srv/plain\nAWS_ACCESS_KEY_ID="+h.s3.AccessKey+"\nAWS_SECRET_ACCESS_KEY="+h.s3.SecretKey+"\n")
	h.run("mkdir", "/srv/plain")
	h.run("systemctl", "start", "sigilfs@plain.service")
	h.run("mountpoint", "--quiet", "/srv/plain")
	if got := h.property("sigilfs@plain.service", "NRestarts"); got != "0" {
		t.Errorf("it was started again %s times", got)
	}
}

// automounts: who looks into the directory has it mounted, by mount(8).
func (h *host) automounts(t *testing.T) {
	t.Helper()
	h.run("systemctl", "start", "mnt-archive.automount")
	if got := h.property("mnt-archive.mount", "ActiveState"); got != "inactive" {
		t.Errorf("mnt-archive.mount is %s before anybody looked", got)
	}
	h.run("sh", "-c", "echo kept >/mnt/archive/file")
	if got := h.run("findmnt", "--noheadings", "--output=FSTYPE", "--types=fuse.sigilfs", "/mnt/archive"); got != "fuse.sigilfs\n" {
		t.Errorf("%q", got)
	}
	// A process in the background has journald's socket for syslog.
	if out := h.run("journalctl", "--identifier=sigilfs", "--output=cat", "--priority=info"); !strings.Contains(out, "mounted s3://"+h.bucket+"/archive on /mnt/archive") {
		t.Errorf("%s", out)
	}
}

// withoutRoot: the unit of a user's own manager, which has mounted at boot.
func (h *host) withoutRoot(t *testing.T) {
	t.Helper()
	h.await("the user's manager has mounted", func() bool {
		return strings.Contains(h.run("cat", "/proc/mounts"), "/home/keeper/vault fuse.sigilfs")
	})
	h.asKeeper("sh", "-c", "echo kept >/home/keeper/vault/file")
	for _, step := range []string{"reload", "restart"} {
		h.asKeeper("systemctl", "--user", step, "sigilfs@vault.service")
	}
	if out := h.asKeeper("cat", "/home/keeper/vault/file"); out != "kept\n" {
		t.Errorf("%q", out)
	}
}
