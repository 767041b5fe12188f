package keyring

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"filippo.io/age"
	"filippo.io/age/armor"
	"golang.org/x/sys/unix"
)

func TestKeyFile(t *testing.T) {
	key := aesKey(0x90)
	raw := key.key[:]
	tests := []struct {
		name string
		data []byte
		mode os.FileMode
		want string // part of the error; "" opens the key
	}{
		{"raw", raw, 0o600, ""},
		{"read-only", raw, 0o400, ""},
		{"hex", []byte(hex.EncodeToString(raw)), 0o600, ""},
		{"upper hex and LF", []byte(strings.ToUpper(hex.EncodeToString(raw)) + "\n"), 0o600, ""},
		{"base64 and LF", []byte(base64.StdEncoding.EncodeToString(raw) + "\n"), 0o600, ""},
		{"base64 and CRLF", []byte(base64.StdEncoding.EncodeToString(raw) + "\r\n"), 0o600, ""},
		{"mode 0644", raw, 0o644, "has mode 0644, and a key must be its owner's alone: chmod 600 "},
		{"mode 0640", raw, 0o640, "chmod 600 "},
		{"mode 0604", raw, 0o604, "chmod 600 "},
		{"mode 0700", raw, 0o700, "chmod 600 "},
		{"empty", nil, 0o600, "holds 0 bytes; a key is 32 raw bytes, 64 hex digits or 44 characters of base64"},
		{"31 bytes", raw[:31], 0o600, "holds 31 bytes; a key is 32 raw bytes"},
		{"33 bytes", append(bytes.Clone(raw), '\n'), 0o600, "holds 33 bytes"},
		{"two LF", []byte(hex.EncodeToString(raw) + "\n\n"), 0o600, "holds 66 bytes"},
		{"hex of 16 bytes", []byte(hex.EncodeToString(raw[:16])), 0o600, "no random key"},
		{"64 not hex", []byte(strings.Repeat("xy", 32)), 0o600, "not all hex digits"},
		{"44 not base64", []byte(strings.Repeat("xy-_", 11)), 0o600, "not base64 of 32 bytes"},
		{"base64 of 33 bytes", []byte(base64.StdEncoding.EncodeToString(append(bytes.Clone(raw), 1))), 0o600, "not base64 of 32 bytes"},
		{"zeros", make([]byte, 32), 0o600, "no key"},
		{"huge", make([]byte, maxSource+1), 0o600, "gives over 1048576 bytes"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			path := writeFile(t, tt.data, tt.mode)
			m, err := Open(t.Context(), Spec{Source: "file:" + path}, Sources{})
			if tt.want == "" {
				if err != nil || m.ID() != key.ID() || !m.CanUnwrap() || m.Kind() != KindAES {
					t.Fatalf("got %v, %v", m, err)
				}
				return
			}
			wantErr(t, err, ErrKeySource)
			if text := err.Error(); !strings.Contains(text, tt.want) || !strings.Contains(text, path) || strings.Contains(text, "\n") {
				t.Fatalf("message: %s", text)
			}
			if len(tt.data) > 20 && strings.Contains(err.Error(), string(tt.data[:20])) {
				t.Fatalf("message shows the content: %s", err)
			}
		})
	}
}

func TestKeyFileThatIsNone(t *testing.T) {
	dir := t.TempDir()
	fifo := filepath.Join(dir, "fifo")
	if err := unix.Mkfifo(fifo, 0o600); err != nil {
		t.Fatal(err)
	}
	for path, want := range map[string]string{
		dir:                          "not a regular file",
		fifo:                         "not a regular file",
		filepath.Join(dir, "absent"): "no such file or directory",
	} {
		_, err := Open(t.Context(), Spec{Source: "file:" + path}, Sources{})
		wantErr(t, err, ErrKeySource)
		if !strings.Contains(err.Error(), want) || strings.Count(err.Error(), path) != 1 {
			t.Errorf("message: %v", err)
		}
	}
}

func TestKeyFileOfAnother(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("only root can give a file away")
	}
	path := writeFile(t, aesKey(0x90).key[:], 0o600)
	if err := os.Chown(path, 4242, 4242); err != nil {
		t.Fatal(err)
	}
	_, err := Open(t.Context(), Spec{Source: "file:" + path}, Sources{})
	wantErr(t, err, ErrKeySource)
	if !strings.Contains(err.Error(), "belongs to another user") {
		t.Error(err)
	}
}

// TestKeyFileBehindLink: orchestrators mount secrets behind symbolic links.
func TestKeyFileBehindLink(t *testing.T) {
	path := writeFile(t, aesKey(0x90).key[:], 0o600)
	link := path + ".link"
	if err := os.Symlink(path, link); err != nil {
		t.Fatal(err)
	}
	if _, err := Open(t.Context(), Spec{Source: "file:" + link}, Sources{}); err != nil {
		t.Fatal(err)
	}
}

func TestOtherSources(t *testing.T) {
	key := aesKey(0x90)
	text := base64.StdEncoding.EncodeToString(key.key[:])
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "main"), []byte(text), 0o440); err != nil { // as systemd leaves them
		t.Fatal(err)
	}
	env := map[string]string{"KEY": text, "EMPTY": "", "SHORT": "abc", "CREDENTIALS_DIRECTORY": dir}
	via := Sources{Getenv: func(name string) (string, bool) { v, ok := env[name]; return v, ok }}
	tests := []struct{ spec, want string }{
		{"env:KEY", ""},
		{"env:EMPTY", "EMPTY is not set"},
		{"env:ABSENT", "ABSENT is not set"},
		{"env:SHORT", "environment variable SHORT holds 3 bytes"},
		{"credential:main", ""},
		{"credential:other", "credential other: no such file"},
		{"credential:../main", "not a plain name"},
		{"credential:..", "not a plain name"},
		{"command:printf %s " + text, ""},
		{"command:exit 3", "exit status 3"},
		{"command:echo " + text + "; exit 1", "exit status 1"},
		{"command:true", "key command holds 0 bytes"},
		{"command:head -c 2000000 /dev/zero", "over 1048576 bytes"},
		{"", "write file:PATH"},
		{"main.key", "write file:PATH"},
		{"file:", "write file:PATH"},
		{"vault:secret-thing", "write file:PATH"},
		{"kms:alias/x", "there is no KMS here"},
	}
	for _, tt := range tests {
		t.Run(tt.spec, func(t *testing.T) {
			m, err := Open(t.Context(), Spec{Source: tt.spec}, via)
			if tt.want == "" {
				if err != nil || m.ID() != key.ID() {
					t.Fatalf("got %v, %v", m, err)
				}
				return
			}
			wantErr(t, err, ErrKeySource)
			if !strings.Contains(err.Error(), tt.want) || strings.Contains(err.Error(), text) || strings.Contains(err.Error(), "secret-thing") {
				t.Fatalf("message: %v", err)
			}
		})
	}
}

func TestCommandStderrAndTimeout(t *testing.T) {
	var shown bytes.Buffer
	_, err := Open(t.Context(), Spec{Source: "command:echo locked >&2; exit 1"}, Sources{Stderr: &shown})
	wantErr(t, err, ErrKeySource)
	if shown.String() != "locked\n" {
		t.Errorf("stderr shown: %q", &shown)
	}
	_, err = Open(t.Context(), Spec{Source: "command:cat /dev/zero & cat /dev/zero"}, Sources{CommandTimeout: 50 * time.Millisecond})
	wantErr(t, err, context.DeadlineExceeded)
}

// TestSecretAsSpec: a key in the place of its source is refused and not shown.
func TestSecretAsSpec(t *testing.T) {
	id, err := age.GenerateX25519Identity()
	if err != nil {
		t.Fatal(err)
	}
	raw := aesKey(0x90).key[:]
	for _, secret := range []string{
		id.String(), strings.ToLower(id.String()), "AGE-PLUGIN-X-1QQQQ",
		hex.EncodeToString(raw), base64.StdEncoding.EncodeToString(raw),
	} {
		for _, spec := range []string{secret, "age:" + secret, "file:" + secret, "aes:" + secret} {
			_, err := Open(t.Context(), Spec{Source: spec}, Sources{})
			wantErr(t, err, ErrKeySource)
			if !strings.Contains(err.Error(), "on the command line") || strings.Contains(strings.ToLower(err.Error()), strings.ToLower(secret)) {
				t.Errorf("%s: %v", spec[:5], err)
			}
		}
	}
	if !hasSecret("command:printf AGE-SECRET-KEY-1X") || hasSecret("command:age-plugin-yubikey --identity") {
		t.Error("commands are misjudged")
	}
}

func TestAgeSpecs(t *testing.T) {
	full, _, id := agePair(t)
	other, _, otherID := agePair(t)
	hybrid, err := age.GenerateHybridIdentity()
	if err != nil {
		t.Fatal(err)
	}
	r, r2 := id.Recipient().String(), otherID.Recipient().String()
	both, err := newAge([]recipient{{id.Recipient(), r}, {otherID.Recipient(), r2}}, nil)
	if err != nil {
		t.Fatal(err)
	}
	file := func(mode os.FileMode, lines ...string) string {
		return "file:" + writeFile(t, []byte(strings.Join(lines, "\n")), mode)
	}
	secret := file(0o600, "# created: today", "", id.String())
	tests := []struct {
		name, spec, id string
		opens          bool
		want           string
	}{
		{"recipient", "age:" + r, full.ID(), false, ""},
		{"two, order does not matter", "age:" + r2 + "," + r, both.ID(), false, ""},
		{"repeated", "age:" + r + "," + r, full.ID(), false, ""},
		{"identity file", "age:" + secret, full.ID(), true, ""},
		{"identity demanded", "age:identity:" + secret, full.ID(), true, ""},
		{"recognised under file:", secret, full.ID(), true, ""},
		{"recipients and identity", "age:" + r2 + "," + r + "," + secret, both.ID(), true, ""},
		{"recipients file", "age:recipients:" + file(0o644, r, r2, ""), both.ID(), false, ""},
		{"both in one file", "age:" + file(0o600, id.String(), r, r2), both.ID(), true, ""},
		{"post-quantum", "age:" + hybrid.Recipient().String(), "", false, ""},
		{"post-quantum identity", "age:" + file(0o600, hybrid.String()), "", true, ""},
		{"post-quantum and classic", "age:" + r + "," + hybrid.Recipient().String(), "", false, "give them as two keys"},
		{"identity with mode 0644", "age:" + file(0o644, id.String()), "", false, "chmod 600"},
		{"bad line in open identity file", "age:" + file(0o644, id.String(), "x"), "", false, "chmod 600"},
		{"identity of another", "age:" + r2 + "," + secret, "", false, "belongs to none of the recipients"},
		{"identity asked, recipients found", "age:identity:" + file(0o644, r), "", false, "holds no age identity"},
		{"recipients asked, identity found", "age:recipients:" + secret, "", false, "recipients were asked for"},
		{"nothing", "age:", "", false, "needs a recipient"},
		{"empty item", "age:," + r, "", false, "age recipient 1"},
		{"malformed recipient", "age:" + r + "," + r2[:40], "", false, "age recipient 2: is malformed"},
		{"malformed identity", "age:" + file(0o600, "#", id.String()[:40]), "", false, "line 2 holds a malformed age identity"},
		{"comments only", "age:" + file(0o600, "# nothing"), "", false, "neither an age identity nor a recipient"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			m, err := Open(t.Context(), Spec{Source: tt.spec}, Sources{})
			if tt.want != "" {
				wantErr(t, err, ErrKeySource)
				if !strings.Contains(err.Error(), tt.want) || strings.Contains(err.Error(), "AGE-SECRET") {
					t.Fatalf("message: %v", err)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if tt.id != "" && m.ID() != tt.id || m.CanUnwrap() != tt.opens || m.Kind() != KindAge {
				t.Fatalf("got %s, opens: %v", m.ID(), m.CanUnwrap())
			}
		})
	}
	_ = other
}

func TestProtectedIdentity(t *testing.T) {
	full, _, id := agePair(t)
	var plain, armored bytes.Buffer
	protect(t, &plain, id)
	a := armor.NewWriter(&armored)
	protect(t, a, id)
	if err := a.Close(); err != nil {
		t.Fatal(err)
	}
	ask := func(answer string, err error) Sources {
		return Sources{Passphrase: func(context.Context, string) ([]byte, error) { return []byte(answer), err }}
	}
	for name, data := range map[string][]byte{"binary": plain.Bytes(), "armored": armored.Bytes()} {
		t.Run(name, func(t *testing.T) {
			spec := "file:" + writeFile(t, data, 0o600)
			m, err := Open(t.Context(), Spec{Source: spec}, ask("correct horse", nil))
			if err != nil || m.ID() != full.ID() || !m.CanUnwrap() {
				t.Fatalf("got %v, %v", m, err)
			}
			for want, via := range map[string]Sources{
				"nobody to ask":           {},
				"the passphrase is wrong": ask("battery staple", nil),
				"the passphrase is empty": ask("", nil),
				"no terminal":             ask("", errors.New("no terminal")),
			} {
				_, err := Open(t.Context(), Spec{Source: spec}, via)
				wantErr(t, err, ErrKeySource)
				if !strings.Contains(err.Error(), want) {
					t.Errorf("message: %v", err)
				}
			}
			asked := Sources{Passphrase: func(context.Context, string) ([]byte, error) {
				t.Error("asked for the passphrase of a file that others can read")
				return nil, nil
			}}
			_, err = Open(t.Context(), Spec{Source: "file:" + writeFile(t, data, 0o644)}, asked)
			wantErr(t, err, ErrKeySource)
		})
	}
}

func protect(t *testing.T, w interface{ Write([]byte) (int, error) }, id *age.X25519Identity) {
	t.Helper()
	r, err := age.NewScryptRecipient("correct horse")
	if err != nil {
		t.Fatal(err)
	}
	r.SetWorkFactor(10)
	e, err := age.Encrypt(w, r)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := e.Write([]byte(id.String() + "\n")); err != nil {
		t.Fatal(err)
	}
	if err := e.Close(); err != nil {
		t.Fatal(err)
	}
}

func TestGenerate(t *testing.T) {
	for _, kind := range []string{KindAES, KindAge} {
		t.Run(kind, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "main.key")
			public, err := Generate(kind, path, time.Now())
			if err != nil {
				t.Fatal(err)
			}
			info, err := os.Stat(path)
			if err != nil || info.Mode() != 0o600 {
				t.Fatalf("mode %v, %v", info.Mode(), err)
			}
			before, _ := os.ReadFile(path)
			m, err := Open(t.Context(), Spec{Source: "file:" + path}, Sources{})
			if err != nil || m.ID() != public.ID || !m.CanUnwrap() || m.Kind() != kind {
				t.Fatalf("got %v, %v", m, err)
			}
			if kind == KindAge {
				w, err := Open(t.Context(), Spec{Source: "age:" + public.Recipient}, Sources{})
				if err != nil || w.ID() != public.ID {
					t.Fatalf("got %v, %v", w, err)
				}
			}
			_, err = Generate(kind, path, time.Now())
			wantErr(t, err, fs.ErrExist)
			if after, _ := os.ReadFile(path); !bytes.Equal(before, after) {
				t.Error("the key there was written over")
			}
		})
	}
	for _, kind := range []string{KindSSEC, KindSign} {
		path := filepath.Join(t.TempDir(), kind)
		public, err := Generate(kind, path, time.Now())
		if err != nil || public.ID == "" {
			t.Fatal(err)
		}
		data, _ := os.ReadFile(path)
		if _, err := parseKey(data); err != nil {
			t.Error(err)
		}
	}
	_, err := Generate("rsa", filepath.Join(t.TempDir(), "x"), time.Now())
	wantErr(t, err, ErrKeySource)
}

// TestPrintingShowsNoKey prints keys with every verb.
func TestPrintingShowsNoKey(t *testing.T) {
	full, _, id := agePair(t)
	key := aesKey(0x90)
	r := mustRing(t, conf{WriteSet: []Master{key, full}, Bucket: newBucket()})
	eid, ekey := mustCurrent(t, r)
	var printed strings.Builder
	for _, v := range []any{key, Master(key), full, []Master{key, full}, r, r.known(eid), *r.known(eid)[0], *key} {
		for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%d", "%x", "%q"} {
			fmt.Fprintf(&printed, verb+"\n", v)
		}
	}
	text := printed.String()
	for _, secret := range [][]byte{key.key[:], ekey[:]} {
		for _, form := range []string{string(secret), hex.EncodeToString(secret), strings.Trim(fmt.Sprint(secret), "[]"), fmt.Sprintf("%#v", secret)[7:40]} {
			if strings.Contains(text, form) {
				t.Errorf("a key is printed as %q", form)
			}
		}
	}
	if strings.Contains(strings.ToUpper(text), strings.TrimPrefix(id.String(), "AGE-SECRET-KEY-")) {
		t.Error("an identity is printed")
	}
}

func FuzzParseKey(f *testing.F) {
	f.Add(aesKey(0x90).key[:])
	f.Add([]byte(strings.Repeat("0f", 32) + "\n"))
	f.Add([]byte(base64.StdEncoding.EncodeToString(aesKey(1).key[:])))
	f.Fuzz(func(t *testing.T, data []byte) {
		key, err := parseKey(data)
		if err != nil {
			if len(data) > 8 && strings.Contains(err.Error(), string(data)) {
				t.Fatalf("shows its input: %v", err)
			}
			return
		}
		line := string(trimLine(data))
		if !bytes.Equal(key[:], data) && hex.EncodeToString(key[:]) != strings.ToLower(line) && base64.StdEncoding.EncodeToString(key[:]) != line {
			t.Fatalf("%q was read as %x", data, key)
		}
	})
}

func FuzzParseAge(f *testing.F) {
	f.Add([]byte("# c\nage1zvkyg2lqzraa2lnjvqej32nkuu0ues2s82hzrye869xeexvn73equnujwj\n"))
	f.Add([]byte("AGE-SECRET-KEY-184JMZMVQH3E6U0PSL869004Y3U2NYV7R30EU99CSEDNPH02YUVFSZW44VU\n"))
	f.Add([]byte("ssh-ed25519 AAAA\n"))
	f.Fuzz(func(t *testing.T, data []byte) {
		ids, recipients, err := parseAgeLines(data)
		if err != nil {
			return
		}
		m, err := newAge(recipients, ids)
		if err == nil && (len(m.recipients) == 0 || !hashedID.MatchString(m.ID())) {
			t.Fatalf("accepted %v", m)
		}
	})
}

// FuzzSpec opens what reads no file and runs no command.
func FuzzSpec(f *testing.F) {
	for _, s := range []string{"env:KEY", "age:age1x,env:KEY", "age:identity:env:KEY", "kms:x", "age:recipients:", "credential:a/b", strings.Repeat("0f", 32)} {
		f.Add(s, "value")
	}
	f.Fuzz(func(t *testing.T, spec, value string) {
		if strings.Contains(spec, "file:") || strings.Contains(spec, "command:") || strings.Contains(spec, "credential:") {
			return
		}
		m, err := Open(t.Context(), Spec{Source: spec}, Sources{Getenv: func(string) (string, bool) { return value, true }})
		if err != nil {
			wantErr(t, err, ErrKeySource)
			return
		}
		if m.ID() == "" {
			t.Fatal("a key without an id")
		}
	})
}

// TestPathOfKeyLength: a path of 32 bytes is not taken for a raw key.
func TestPathOfKeyLength(t *testing.T) {
	path := "/nonexistent/schlüssel/main.key"
	if len(path) != KeySize {
		t.Fatalf("the path has %d bytes", len(path))
	}
	_, err := Open(t.Context(), Spec{Source: "file:" + path}, Sources{})
	if err == nil || strings.Contains(err.Error(), "command line") {
		t.Errorf("error %v", err)
	}
}
