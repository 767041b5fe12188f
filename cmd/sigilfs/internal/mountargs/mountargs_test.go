package mountargs

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestParse(t *testing.T) {
	for line, want := range map[string]Call{
		"s3://b/p /mnt":                            {Spec: "s3://b/p", Dir: "/mnt"},
		"s3://b/p /mnt -o rw,_netdev":              {Spec: "s3://b/p", Dir: "/mnt", Options: []string{"rw,_netdev"}},
		"s3://b /mnt -sfnv -o ro -t sigilfs":       {Spec: "s3://b", Dir: "/mnt", Options: []string{"ro"}, Type: "sigilfs", Sloppy: true, Fake: true, Verbose: true},
		"-o ro -ouid=1 b:/ -v /mnt":                {Spec: "b:/", Dir: "/mnt", Options: []string{"ro", "uid=1"}, Verbose: true},
		"-nvo ro /etc/b.yaml /mnt -N /proc/1/ns/m": {Spec: "/etc/b.yaml", Dir: "/mnt", Options: []string{"ro"}, Verbose: true, Namespace: "/proc/1/ns/m"},
		"-- -odd /mnt":                             {Spec: "-odd", Dir: "/mnt"},
		"-h":                                       {Help: true},
		"-V":                                       {Version: true},
	} {
		got, err := Parse(strings.Fields(line))
		if err != nil {
			t.Errorf("%s: %v", line, err)
		}
		if d := cmp.Diff(want, got); d != "" {
			t.Errorf("%s: %s", line, d)
		}
	}
	for line, says := range map[string]string{
		"":                ErrArguments.Error(),
		"s3://b":          ErrArguments.Error(),
		"s3://b /mnt x":   ErrArguments.Error(),
		"s3://b /mnt -x":  "unknown flag -x",
		"s3://b /mnt -vo": "-o needs a value",
		"s3://b /mnt --f": "unknown flag --",
	} {
		if _, err := Parse(strings.Fields(line)); err == nil || !strings.Contains(err.Error(), says) {
			t.Errorf("%q: %v, want %q", line, err, says)
		}
	}
}

// Nothing is lost, and nothing comes from nowhere.
func FuzzParse(f *testing.F) {
	for _, line := range []string{"a b -sfnv -o x,y", "-N n -t t a b", "-- -a b", "-oo a b", "a -flnrv", "-vt t -- -a"} {
		f.Add(line)
	}
	f.Fuzz(func(t *testing.T, line string) {
		args := strings.Split(line, " ")
		if u, err := ParseUmount(args); err == nil && !u.Help && !u.Version && (u.Dir == "" || !strings.Contains(line, u.Dir)) {
			t.Errorf("%q: %+v", args, u)
		}
		c, err := Parse(args)
		if err != nil || c.Help || c.Version {
			return
		}
		if c.Spec == "" || c.Dir == "" {
			t.Errorf("%q: %+v", args, c)
		}
		for _, s := range append(c.Options, c.Spec, c.Dir, c.Type, c.Namespace) {
			if !strings.Contains(line, s) {
				t.Errorf("%q: %q is not in it", args, s)
			}
		}
	})
}
