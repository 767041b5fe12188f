package awsclient

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

func TestParsePasswd(t *testing.T) {
	for text, want := range map[string]string{
		"AK:SK":                       "AK SK",
		"# mine\n\nAK:S/K+=\r\n":      "AK S/K+=",
		"acme:A1:S1\nA2:S2":           "A1 S1",
		"A2:S2\nother:A1:S1\n":        "A2 S2",
		"other:A1:S1\nacme:A2:S2\n":   "A2 S2",
		"other:A:hush\nother:B:hush3": "",
	} {
		got, err := parsePasswd(text, "acme")
		if want == "" && err != nil {
			continue
		}
		if err != nil || got.AccessKeyID+" "+got.SecretAccessKey != want || got.Source != passwdSource {
			t.Errorf("%q: %+v, %v", text, got, err)
		}
	}
	for text, says := range map[string]string{
		"":                       `no line is for the bucket "acme"`,
		"hush":                   "line 1 is not",
		"AK:hush:hush:hush":      "line 1 is not",
		"\n:hush":                "line 2 is not",
		"hush:":                  "line 1 is not",
		":AK:hush":               "line 1 is not",
		"AK :hush":               "line 1 is not",
		"AK:hush\nAL:hush":       "line 2 gives keys",
		"acme:A:hush\nacme:B:hu": "line 2 gives keys",
		"[default]\nx = hush":    "AWS_SHARED_CREDENTIALS_FILE",
	} {
		if _, err := parsePasswd(text, "acme"); err == nil || !strings.Contains(err.Error(), says) || strings.Contains(err.Error(), "hush") {
			t.Errorf("%q: %v, want %q", text, err, says)
		}
	}
}

// Whatever is in the file, an error tells nothing of it.
func FuzzParsePasswd(f *testing.F) {
	for _, s := range []string{"AK:SK", "acme:A1:S1\nA2:S2", "# x\n[default]", "a:b:c:d"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, text string) {
		got, err := parsePasswd(text, "acme")
		if (err == nil) != got.HasKeys() {
			t.Errorf("%q: %+v, %v", text, got, err)
		}
		if err == nil && !strings.Contains(text, got.AccessKeyID+":"+got.SecretAccessKey) {
			t.Errorf("%q: %+v is not in it", text, got)
		}
	})
}

func TestPasswdFile(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "passwd")
	write := func(text string, mode os.FileMode) {
		t.Helper()
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Chmod(path, mode); err != nil {
			t.Fatal(err)
		}
	}
	for _, name := range []string{"AWS_PROFILE", "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"} {
		t.Setenv(name, "")
	}
	t.Setenv("AWS_ACCESS_KEY_ID", "ENV")
	t.Setenv("AWS_SECRET_ACCESS_KEY", "ENV")
	t.Setenv("AWS_CONFIG_FILE", "/dev/null")
	t.Setenv("AWS_SHARED_CREDENTIALS_FILE", "/dev/null")
	write("FIRST:s", 0o640)
	cfg, err := Load(t.Context(), Config{PasswdFile: path, Bucket: "acme"})
	if err != nil {
		t.Fatal(err)
	}
	has := func(id string) {
		t.Helper()
		if v, err := cfg.Credentials.Retrieve(t.Context()); err != nil || v.AccessKeyID != id {
			t.Errorf("%s, %v, want %s", v.AccessKeyID, err, id)
		}
	}
	has("FIRST")
	write("SECOND:s", 0o600)
	has("FIRST")
	if err := Reload(t.Context(), cfg.Credentials); err != nil {
		t.Fatal(err)
	}
	has("SECOND")
	write("THIRD:s", 0o644)
	if err := Reload(t.Context(), cfg.Credentials); err == nil || !strings.Contains(err.Error(), "chmod 600") {
		t.Errorf("a file for all was read: %v", err)
	}
	has("SECOND")
	pipe := filepath.Join(dir, "pipe")
	if err := unix.Mkfifo(pipe, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{filepath.Join(dir, "absent"), pipe, dir} {
		if _, err := readPasswd(name); err == nil {
			t.Errorf("%s was read", name)
		}
	}
}
