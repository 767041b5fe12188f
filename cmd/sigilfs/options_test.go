package main

import (
	"errors"
	"io"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"github.com/sigilfs/sigilfs/cmd/sigilfs/internal/option"
	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// parseFlags reads a command line of mount.
func parseFlags(args ...string) (*settings, error) {
	s := defaultSettings()
	s.uid, s.gid = 0, 0
	cmd := &cobra.Command{Use: "mount"}
	cmd.SetGlobalNormalizationFunc(normalize)
	s.addFlags(cmd.Flags())
	if err := cmd.ParseFlags(args); err != nil {
		return s, flagError(cmd, err)
	}
	return s, nil
}

func TestOptions(t *testing.T) {
	for _, tt := range []struct {
		args []string
		want func(s *settings)
	}{
		{nil, func(*settings) {}},
		{[]string{"-o", "ro,allow_other"}, func(s *settings) { s.readOnly, s.allowOther = true, true }},
		{[]string{"-o", "ro", "-o", "rw"}, func(*settings) {}},
		{[]string{"-o", "read_only"}, func(s *settings) { s.readOnly = true }},
		{[]string{"-o", "read-only=false,ro"}, func(s *settings) { s.readOnly = true }},
		{[]string{"-o", "dev,suid,noexec"}, func(s *settings) { s.dev, s.suid, s.noExec = true, true, true }},
		{[]string{"-o", "dev,nodev,suid,nosuid,noexec,exec"}, func(*settings) {}},
		{[]string{"-o", "uid=7,gid=8,umask=027"}, func(s *settings) { s.uid, s.gid, s.dirMode, s.fileMode = 7, 8, 0o750, 0o640 }},
		{[]string{"--uid", "7", "-o", "uid=9"}, func(s *settings) { s.uid = 9 }},
		{[]string{"-o", "uid=9", "--uid", "7"}, func(s *settings) { s.uid = 7 }},
		{[]string{"-o", `key=file:/a\,b,key="file:/c,d"`, "--key", "file:/e"}, func(s *settings) { s.flags.keys = []string{"file:/a,b", "file:/c,d", "file:/e"} }},
		{[]string{"-o", "_netdev,nofail,defaults,noauto,user,dirsync,allow_delete,x-systemd.requires=network.target,comment=any thing,relatime"}, func(*settings) {}},
		{[]string{"-o", "url=https://s3.example,use_path_request_style"}, func(s *settings) { s.endpoint, s.pathStyle = "https://s3.example", true }},
		{[]string{"--metadata-ttl", "60"}, func(s *settings) { s.attrTimeout = time.Minute }},
		{[]string{"-o", "metadata_ttl=indefinite"}, func(s *settings) { s.attrTimeout = 10 * 365 * 24 * time.Hour }},
		{[]string{"--attr_timeout", "2s", "--spool-size", "10GiB"}, func(s *settings) { s.attrTimeout, s.spoolSize = 2*time.Second, 10<<30 }},
		{[]string{"-o", "dir_mode=0700,file_mode=0600"}, func(s *settings) { s.dirMode, s.fileMode = 0o700, 0o600 }},
		{[]string{"-o", "key_recheck=30s,dbglevel=info"}, func(s *settings) { s.keyRecheck = 30 * time.Second }},
		{[]string{"--key-recheck", "0", "-o", "dbglevel=debug"}, func(s *settings) { s.keyRecheck, s.debug = 0, true }},
		{[]string{"-o", "at=2026-01-02T03:04:05Z"}, func(s *settings) {
			s.at = moment{"2026-01-02T03:04:05Z", time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC), true}
		}},
		{[]string{"-fd", "-o", "log_format=json"}, func(s *settings) { s.foreground, s.debug, s.logFormat = true, true, "json" }},
	} {
		want := defaultSettings()
		want.uid, want.gid = 0, 0
		tt.want(want)
		got, err := parseFlags(tt.args...)
		if err != nil {
			t.Errorf("%q: %v", tt.args, err)
		}
		if d := cmp.Diff(want, got, cmp.AllowUnexported(settings{}, policyFlags{}, moment{}), cmpopts.IgnoreTypes(origin{})); d != "" {
			t.Errorf("%q: %s", tt.args, d)
		}
	}
}

func TestOptionErrors(t *testing.T) {
	for list, says := range map[string]string{
		"uid":                  "needs a value",
		"ro=1":                 "takes no value",
		"read_only=maybe":      "read-only",
		"umask=9":              "umask",
		"dbglevel=9":           "dbglevel",
		"umask":                "umask",
		"remount,ro":           "mount -o remount,ro DIR",
		"synk":                 "unknown option synk",
		"alow_other":           "did you mean allow-other?",
		"noexe":                "did you mean noexec?",
		"nofial":               "did you mean nofail?",
		"_netdv":               "unknown option _netdv; did you mean _netdev?",
		"netdev":               "did you mean _netdev?",
		"defalts":              "did you mean defaults?",
		"passwd_fil":           "did you mean passwd-file?",
		"names=clear":          "is auto, encrypted or encrypted:FINGERPRINT",
		"names=encrypted:beef": "64 hex digits",
		"accept-volume":        "on the command line",
		"compress=lzma":        "compression is none, zstd or zstd:LEVEL",
		"mp_umask=022":         "not supported: the mountpoint has the mode",
		"options=ro":           "unknown option options",
		"help":                 "unknown option help",
		"=x":                   "no name",
		`key="file:/x`:         "without its end",
	} {
		_, err := parseFlags("-o", list)
		if err == nil || !strings.Contains(err.Error(), says) {
			t.Errorf("-o %s: %v, want %q", list, err, says)
		}
		var coded *exitError
		if !errors.As(err, &coded) || coded.code != exitUsage {
			t.Errorf("-o %s: no usage error", list)
		}
	}
}

// Every flag is an option of the same name.
func TestEveryFlagIsAnOption(t *testing.T) {
	s := defaultSettings()
	f := pflag.NewFlagSet("mount", pflag.ContinueOnError)
	s.addFlags(f)
	f.VisitAll(func(flag *pflag.Flag) {
		if flag.Name == "options" || flag.Name == "accept-volume" {
			return
		}
		item := strings.ReplaceAll(flag.Name, "-", "_")
		if flag.NoOptDefVal == "" {
			value := "1"
			for _, suffix := range []string{"-size", "-limit"} {
				if strings.HasSuffix(flag.Name, suffix) && flag.Name != "rename-dir-limit" {
					value = "1GiB"
				}
			}
			switch flag.Name {
			case "at":
				value = "1h"
			case "compress":
				value = "zstd"
			case "names":
				value = "encrypted"
			}
			item += "=" + value
		}
		if _, err := parseFlags("-o", item); err != nil {
			t.Errorf("-o %s: %v", item, err)
		}
	})
}

// Values never come back in errors of lists: they may be secrets.
func FuzzOptions(f *testing.F) {
	for _, s := range []string{"ro,uid=1", "key=file:/x,_netdev", `a="b,c"`, "umask=022,cache=/x", "kye=file:/secret"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, list string) {
		_, err := parseFlags("-o", list)
		if err == nil {
			return
		}
		if code := exitCode(err); code != exitUsage {
			t.Errorf("-o %q: exit code %d", list, code)
		}
		pairs, splitErr := option.Split(list)
		for _, p := range pairs {
			if splitErr == nil && p.Name == "kye" && len(p.Value) > 5 && strings.Contains(err.Error(), p.Value) {
				t.Errorf("-o %q: %v", list, err)
			}
		}
	})
}

func TestCheck(t *testing.T) {
	good := func() *settings {
		s := defaultSettings()
		s.target = option.Target{Spec: "s3://acme/a/b", Bucket: "acme", Prefix: "a/b/"}
		s.source, s.dir, s.foreground = s.target.Spec, "/mnt", true
		s.flags = policyFlags{encryption: []string{"client"}, keys: []string{"file:k"}}
		return s
	}
	for _, tt := range []struct {
		name   string
		change func(*settings)
		root   string
		says   string
	}{
		{"as it should be", func(*settings) {}, "a/b/", ""},
		{"volume root above", func(s *settings) { s.rootGiven, s.volumeRoot = true, "a" }, "a/", ""},
		{"volume root is the bucket", func(s *settings) { s.rootGiven, s.volumeRoot = true, "/" }, "", ""},
		{"volume root beside", func(s *settings) { s.rootGiven, s.volumeRoot = true, "a/bc" }, "", "--volume-root"},
		{"volume root hidden", func(s *settings) { s.rootGiven, s.volumeRoot = true, ".sigil/x" }, "", "--volume-root"},
		{"conflict policy", func(s *settings) { s.onConflict = "merge" }, "", "--on-conflict"},
		{"log format", func(s *settings) { s.logFormat = "xml" }, "", "--log-format"},
		{"no time", func(s *settings) { s.stopTimeout = 0 }, "", "--stop-timeout"},
		{"negative limit", func(s *settings) { s.renameDirLimit = -1 }, "", "--rename-dir-limit"},
		{"two places for credentials", func(s *settings) { s.passwdFile, s.profile = "p", "x" }, "", "--passwd-file"},
		{"archive", func(s *settings) { s.storageClass = "glacier" }, "", "--storage-class"},
	} {
		s := good()
		tt.change(s)
		err := s.check()
		switch {
		case tt.says == "" && (err != nil || s.volumeRoot != tt.root):
			t.Errorf("%s: root %q, %v", tt.name, s.volumeRoot, err)
		case tt.says != "" && (err == nil || exitCode(err) != exitUsage || !strings.Contains(err.Error(), tt.says)):
			t.Errorf("%s: %v", tt.name, err)
		}
	}
}

// What is there is not said to come later.
func TestLater(t *testing.T) {
	root := newRoot(io.Discard, io.Discard)
	mount, _, err := root.Find([]string{"mount"})
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range laterFlags() {
		if mount.Flags().Lookup(name) != nil {
			t.Errorf("there is a flag --%s", name)
		}
	}
	for _, name := range laterCommands() {
		if c, _, err := root.Find([]string{name}); err == nil && c != root {
			t.Errorf("there is a command %s", name)
		}
	}
}
