package mountpoint

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestParse(t *testing.T) {
	const table = `22 1 254:0 / / rw,relatime shared:1 - ext4 /dev/vda1 rw
40 22 0:50 / /mnt/a\040b rw,nosuid,nodev - fuse.sigilfs s3://acme/x\040y rw,user_id=1000,group_id=1000
41 40 0:51 / /mnt/back\134slash rw master:2 propagate_from:1 - tmpfs tmpfs rw,size=4k
`
	all, err := parse(strings.NewReader(table))
	if err != nil {
		t.Fatal(err)
	}
	want := []Mount{
		{Dir: "/", Type: "ext4", Source: "/dev/vda1", UID: -1},
		{Dir: "/mnt/a b", Type: "fuse.sigilfs", Source: "s3://acme/x y", UID: 1000},
		{Dir: `/mnt/back\slash`, Type: "tmpfs", Source: "tmpfs", UID: -1},
	}
	if len(all) != len(want) {
		t.Fatalf("%d mounts", len(all))
	}
	for i := range want {
		if all[i] != want[i] {
			t.Errorf("line %d: %+v, want %+v", i, all[i], want[i])
		}
	}
	if !all[1].Ours() || all[0].Ours() {
		t.Error("Ours is wrong")
	}
}

func FuzzParse(f *testing.F) {
	f.Add(`40 22 0:50 / /mnt rw - fuse.sigilfs s3://a rw,user_id=0`)
	f.Add(`40 22 0:50 / \04 rw - x \ user_id=x`)
	f.Add(" - ")
	f.Fuzz(func(t *testing.T, s string) {
		all, err := parse(strings.NewReader(s))
		if err != nil && all != nil {
			t.Error("mounts and an error")
		}
	})
}

func TestFind(t *testing.T) {
	if m, ok, err := Find("/proc"); err != nil || !ok || m.Type != "proc" {
		t.Errorf("Find(/proc) = %+v, %v, %v", m, ok, err)
	}
	if m, ok, err := Find(t.TempDir()); err != nil || ok {
		t.Errorf("Find of no mount = %+v, %v, %v", m, ok, err)
	}
}

func TestLook(t *testing.T) {
	dir := t.TempDir()
	link := filepath.Join(dir, "link")
	if err := os.Symlink("/", link); err != nil {
		t.Fatal(err)
	}
	target := filepath.Join(dir, "target")
	if err := os.Mkdir(target, 0o755); err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(dir, "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	path, dead, err := Look(t.Context(), filepath.Join(link, target))
	if err != nil || path != target || dead {
		t.Errorf("through a link: %q, %v, %v", path, dead, err)
	}
	if cleaned, err := Clear(t.Context(), target); err != nil || cleaned {
		t.Errorf("where nothing is to be taken away: %v, %v", cleaned, err)
	}
	if _, _, err := Look(t.Context(), file); !errors.Is(err, ErrNotDir) {
		t.Errorf("a file: %v", err)
	}
	if _, _, err := Look(t.Context(), filepath.Join(dir, "no", "where")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("nothing: %v", err)
	}
	if _, _, err := Look(t.Context(), filepath.Join(dir, "nowhere")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("nothing: %v", err)
	}
}

func TestVitalDirectoriesAreNotCovered(t *testing.T) {
	for _, dir := range []string{"/", "/proc", "/proc/../proc/self", "/sys/fs", "/etc/", "/bin", "/sbin", "/lib", "/var", "/dev/pts"} {
		if _, _, err := Look(t.Context(), dir); !errors.Is(err, ErrVital) {
			t.Errorf("%s: %v", dir, err)
		}
	}
}

func TestUnmountOfNothing(t *testing.T) {
	if err := Unmount(t.Context(), t.TempDir()); err == nil {
		t.Error("no error")
	} else if os.Geteuid() == 0 && !errors.Is(err, ErrNotMounted) {
		t.Error(err)
	}
}

func TestUserAllowOther(t *testing.T) {
	for text, want := range map[string]bool{
		"": false, "#user_allow_other\n": false, "mount_max = 5\nuser_allow_other # yes\n": true, "user_allow_others": false,
	} {
		path := filepath.Join(t.TempDir(), "fuse.conf")
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if got := userAllowOther(path); got != want {
			t.Errorf("%q: %v", text, got)
		}
	}
}
