package sigil

import (
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// volumeFile has volume objects under the epochs of testdata, and tampered ones;
// internal/keyring holds its own code to it.
const volumeFile = "../../internal/keyring/testdata/vectors-volume.json"

// volumeVector is one of them; Epoch is "" where names are in the clear.
type volumeVector struct {
	What, Object, Epoch string
	NameKey             string `json:"name_key"`
}

func loadVolumes(t *testing.T) (volumes, tampered []volumeVector) {
	t.Helper()
	b, err := os.ReadFile(volumeFile)
	if err != nil {
		t.Fatal(err)
	}
	var v struct{ Volumes, Tampered []volumeVector }
	if err := json.Unmarshal(b, &v); err != nil {
		t.Fatal(err)
	}
	return v.Volumes, v.Tampered
}

// names runs the decryptor for the names of a volume.
func (s *script) names(t *testing.T, v volumeVector, stdin string, args ...string) (stdout, stderr string, err error) {
	t.Helper()
	volume := filepath.Join(t.TempDir(), "volume")
	if err := os.WriteFile(volume, []byte(v.Object), 0o600); err != nil {
		t.Fatal(err)
	}
	out, stderr, err := s.run(t, stdin, append([]string{"--names", volume, "--epoch", "testdata/epochs/" + v.Epoch, "--aes-key", "testdata/aes.key"}, args...)...)
	return string(out), stderr, err
}

// shown is a name as the decryptor has it in a line.
func shown(name string) string { return strings.NewReplacer(`\`, `\\`, "\n", `\n`).Replace(name) }

func within(dir, component string) string {
	if dir == "" {
		return component
	}
	return dir + "/" + component
}

func TestDecryptorNames(t *testing.T) {
	py := startScript(t)
	t.Run("Turns", py.turnsNames)
	t.Run("Leaves", py.leavesWhatIsNoName)
	t.Run("RefusesTampered", py.refusesTamperedNames)
}

// A listing of the bucket gives the names, and names give the keys.
func (s *script) turnsNames(t *testing.T) {
	vectors := loadNames(t)
	volumes, _ := loadVolumes(t)
	const root = "acme/back up/"
	for _, v := range volumes {
		if v.NameKey != vectors.Keys["first"] {
			continue // in the clear, or under an epoch of which there is no object here
		}
		var keys, names, want strings.Builder
		for _, p := range vectors.Paths {
			if p.Key != "first" {
				continue
			}
			for _, slash := range []string{"", "/"} {
				keys.WriteString(root + p.Stored + slash + "\n")
				names.WriteString(root + shown(p.path()) + slash + "\n")
				want.WriteString(root + p.Stored + slash + "\t" + root + shown(p.path()) + slash + "\n")
			}
		}
		if out, stderr, err := s.names(t, v, keys.String(), "--root", root); err != nil || out != want.String() {
			t.Errorf("%s: %v: %s\n%s", v.What, err, stderr, out)
		}
		if out, stderr, err := s.names(t, v, names.String(), "--root", root, "--encode"); err != nil || out != want.String() {
			t.Errorf("%s, encoding: %v: %s\n%s", v.What, err, stderr, out)
		}
	}
}

// What is in the clear stays so, and an instruction file lies beside its object.
func (s *script) leavesWhatIsNoName(t *testing.T) {
	vectors := loadNames(t)
	volumes, _ := loadVolumes(t)
	p := vectors.Paths[5]
	const own = ".sigil/epochs/ng4evewbubuqfbzfkejxqapsna"
	nested := p.Stored + "/.sigil/inodes/x y"
	in := own + "\n" + p.Stored + ".instruction\n" + nested + "\n"
	want := own + "\t" + own + "\n" + p.Stored + ".instruction\t" + p.path() + ".instruction\n" + nested + "\t" + p.path() + "/.sigil/inodes/x y\n"
	if out, stderr, err := s.names(t, volumes[1], in); err != nil || out != want {
		t.Errorf("%q, %v: %s", out, err, stderr)
	}
}

// What is no name of the volume has no line, is told of, and does not keep the
// others from being read.
func (s *script) refusesTamperedNames(t *testing.T) {
	vectors := loadNames(t)
	volumes, tampered := loadVolumes(t)
	good := vectors.Paths[0]
	var lines strings.Builder
	for _, c := range vectors.Tampered {
		// These are something else in a whole key: nothing, an instruction file, the volume's own.
		other := []string{"", ".sigil"}
		if c.Key == "first" && !slices.Contains(other, c.Component) && !strings.HasSuffix(c.Component, ".instruction") {
			lines.WriteString(within(c.Dir, c.Component) + "\n")
		}
	}
	bad := strings.Count(lines.String(), "\n")
	out, stderr, err := s.names(t, volumes[1], lines.String()+good.Stored+"\n")
	if err == nil || out != good.Stored+"\t"+good.path()+"\n" || !strings.HasPrefix(stderr, "decrypt_sigil: not of this volume: ") || strings.Count(stderr, ", ") != bad-1 {
		t.Errorf("%q, %v: %s", out, err, stderr)
	}
	for _, name := range []string{"..", "a/../b", "a//b", "/", "a\x00", strings.Repeat("x", 256)} {
		if out, _, err := s.names(t, volumes[1], name+"\n", "--encode"); err == nil || out != "" {
			t.Errorf("%q is encoded as %q", name, out)
		}
	}
	if out, _, err := s.names(t, volumes[1], good.Stored+"\n", "--root", "elsewhere/"); err == nil || out != "" {
		t.Errorf("outside of the volume root: %q", out)
	}
	if len(tampered) < 45 {
		t.Fatalf("%d tampered volume objects", len(tampered))
	}
	for _, v := range append(tampered, volumes[0]) {
		if v.Epoch = volumes[1].Epoch; v.What == "the key of another epoch" {
			v.Epoch = volumes[2].Epoch
		}
		out, stderr, err := s.names(t, v, "any name\n", "--encode")
		if err == nil || out != "" || !strings.HasPrefix(stderr, "decrypt_sigil: ") || strings.Count(stderr, "\n") != 1 {
			t.Errorf("%s: %q, %v: %s", v.What, out, err, stderr)
		}
	}
}
