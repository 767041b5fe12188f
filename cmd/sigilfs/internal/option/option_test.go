package option_test

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/sigilfs/sigilfs/cmd/sigilfs/internal/option"
	"pgregory.net/rapid"
)

func TestSplit(t *testing.T) {
	for _, tt := range []struct {
		in   string
		want []option.Pair
	}{
		{"", nil},
		{",,", nil},
		{"ro", []option.Pair{{Name: "ro"}}},
		{"allow_other,uid=7", []option.Pair{{Name: "allow-other"}, {Name: "uid", Value: "7", HasValue: true}}},
		{"_netdev", []option.Pair{{Name: "-netdev"}}},
		{`key=a\,b,ro`, []option.Pair{{Name: "key", Value: "a,b", HasValue: true}, {Name: "ro"}}},
		{`key="a,b",ro`, []option.Pair{{Name: "key", Value: "a,b", HasValue: true}, {Name: "ro"}}},
		{`"key=a,b"`, []option.Pair{{Name: "key=a,b"}}},
		{`key='a\,"'`, []option.Pair{{Name: "key", Value: `a\,"`, HasValue: true}}},
		{`key="a\"b"`, []option.Pair{{Name: "key", Value: `a"b`, HasValue: true}}},
		{"key=a=b_c", []option.Pair{{Name: "key", Value: "a=b_c", HasValue: true}}},
		{"key=", []option.Pair{{Name: "key", HasValue: true}}},
	} {
		got, err := option.Split(tt.in)
		if err != nil {
			t.Errorf("Split(%q): %v", tt.in, err)
		}
		if d := cmp.Diff(tt.want, got); d != "" {
			t.Errorf("Split(%q): %s", tt.in, d)
		}
	}
}

func TestSplitErrors(t *testing.T) {
	for _, in := range []string{"=v", "ro,=", `a="b`, `a='b`, `a\`, `a="b\`} {
		if got, err := option.Split(in); err == nil {
			t.Errorf("Split(%q) = %v, want an error", in, got)
		}
	}
}

// Whatever a value is, it can be written so that it comes back.
func TestSplitRoundTrip(t *testing.T) {
	escape := strings.NewReplacer(`\`, `\\`, ",", `\,`, "=", `\=`, `"`, `\"`, `'`, `\'`).Replace
	rapid.Check(t, func(t *rapid.T) {
		var list []string
		var want []option.Pair
		for range rapid.IntRange(0, 5).Draw(t, "n") {
			p := option.Pair{Name: rapid.StringN(1, 8, -1).Draw(t, "name"), HasValue: rapid.Bool().Draw(t, "has")}
			p.Name = option.Canonical(p.Name)
			item := escape(p.Name)
			if p.HasValue {
				p.Value = rapid.String().Draw(t, "value")
				item += "=" + escape(p.Value)
			}
			list, want = append(list, item), append(want, p)
		}
		got, err := option.Split(strings.Join(list, ","))
		if err != nil {
			t.Fatal(err)
		}
		if d := cmp.Diff(want, got); d != "" {
			t.Fatal(d)
		}
	})
}

func FuzzSplit(f *testing.F) {
	for _, s := range []string{"", "ro,uid=1", `a="b,c",d`, `a\,=\\`, "'", "_netdev,x-systemd.requires=a", `k="a\"`} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		pairs, err := option.Split(s)
		if err != nil {
			return
		}
		for _, p := range pairs {
			if p.Name == "" || strings.Contains(p.Name, "_") || p.Value != "" && !p.HasValue {
				t.Errorf("Split(%q): bad pair %+v", s, p)
			}
		}
	})
}

func TestSize(t *testing.T) {
	for in, want := range map[string]int64{
		"0": 0, "1B": 1, "4k": 4096, "4KiB": 4096, "4KB": 4000, "512MiB": 512 << 20, "10GiB": 10 << 30,
		"10G": 10 << 30, "1.5GiB": 3 << 29, "2TB": 2e12, "1 MiB": 1 << 20, "1mib": 1 << 20,
	} {
		if got, err := option.Size(in); err != nil || got != want {
			t.Errorf("Size(%q) = %d, %v; want %d", in, got, err, want)
		}
	}
	for _, in := range []string{"", "10", "-1GiB", "GiB", "1XiB", "1e3MiB", "9999999TiB", "1.2.3GiB", "1iB", "1 2MiB", "NaNMiB"} {
		if got, err := option.Size(in); err == nil {
			t.Errorf("Size(%q) = %d, want an error", in, got)
		}
	}
}

func FuzzSize(f *testing.F) {
	for _, s := range []string{"0", "10GiB", "1.5m", "8388607TiB", ".", "1 b"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		if n, err := option.Size(s); err == nil && n < 0 {
			t.Errorf("Size(%q) = %d", s, n)
		}
	})
}

func TestMode(t *testing.T) {
	for in, want := range map[string]uint32{"0755": 0o755, "644": 0o644, "0": 0} {
		if got, err := option.Mode(in); err != nil || got != want {
			t.Errorf("Mode(%q) = %o, %v", in, got, err)
		}
	}
	for _, in := range []string{"", "888", "01777", "rwx", "-1"} {
		if got, err := option.Mode(in); err == nil {
			t.Errorf("Mode(%q) = %o, want an error", in, got)
		}
	}
}

func TestDuration(t *testing.T) {
	for in, want := range map[string]time.Duration{
		"90s": 90 * time.Second, "4m": 4 * time.Minute, "60": time.Minute, "0": 0, "minimal": 0, "1h30m": 90 * time.Minute,
	} {
		if got, err := option.Duration(in); err != nil || got != want {
			t.Errorf("Duration(%q) = %v, %v", in, got, err)
		}
	}
	for _, in := range []string{"", "-1s", "soon", "-1", "99999999999999", "999999h"} {
		if got, err := option.Duration(in); err == nil {
			t.Errorf("Duration(%q) = %v, want an error", in, got)
		}
	}
}

func TestOwners(t *testing.T) {
	if id, err := option.UID("1000"); err != nil || id != 1000 {
		t.Errorf("UID: %d, %v", id, err)
	}
	if id, err := option.UID("root"); err != nil || id != 0 {
		t.Errorf("UID(root): %d, %v", id, err)
	}
	if id, err := option.GID("root"); err != nil || id != 0 {
		t.Errorf("GID(root): %d, %v", id, err)
	}
	for _, in := range []string{"", "-1", "4294967295", "no-such-user-here"} {
		if id, err := option.UID(in); err == nil {
			t.Errorf("UID(%q) = %d, want an error", in, id)
		}
	}
}

func TestParseTarget(t *testing.T) {
	for in, want := range map[string]option.Target{
		"s3://acme":       {Bucket: "acme"},
		"s3://acme/":      {Bucket: "acme"},
		"s3://acme/web1":  {Bucket: "acme", Prefix: "web1/"},
		"s3://acme/web1/": {Bucket: "acme", Prefix: "web1/"},
		"s3://arn:aws:s3:eu-west-1:123456789012:accesspoint/web":          {Bucket: "arn:aws:s3:eu-west-1:123456789012:accesspoint/web"},
		"s3://arn:aws:s3:eu-west-1:123456789012:accesspoint/web/a/b/":     {Bucket: "arn:aws:s3:eu-west-1:123456789012:accesspoint/web", Prefix: "a/b/"},
		"arn:aws-us-gov:s3:us-gov-west-1:123456789012:accesspoint:web-1/": {Bucket: "arn:aws-us-gov:s3:us-gov-west-1:123456789012:accesspoint:web-1"},
		"s3://a.b-c_D1/x y/ü/_z":                                          {Bucket: "a.b-c_D1", Prefix: "x y/ü/_z/"},
	} {
		want.Spec = in
		got, err := option.ParseTarget(in)
		if err != nil || got != want {
			t.Errorf("ParseTarget(%q) = %+v, %v; want %+v", in, got, err, want)
		}
	}
	for _, in := range []string{
		"", "acme", "s3:acme", "s3://", "s3:///x", "s3://ab/../c", "s3://acme//x", "s3://acme/x//", "s3://acme/.sigil/x",
		"s3://arn:aws:s3:::acme", "arn:aws:s3::123456789012:accesspoint/m1.mrap/x", "arn:aws:s3:eu-west-1:123456789012:accesspoint/", "arn:aws:s3:eu-west-1:12345:accesspoint/web", "arn:aws:s3:eu-west-1:123456789012:accesspoint/web//x",
		"s3://arn:aws:s3-object-lambda:eu-west-1:123456789012:accesspoint/web", "arn:aws:s3-outposts:eu-west-1:123456789012:outpost/op-1/accesspoint/web",
		"s3://acme/x\ny", "s3://-acme", "s3://a b", "http://acme/x", "site.yaml", "s3://acme/\xff", "s3://acme/" + strings.Repeat("x", 1023),
	} {
		if got, err := option.ParseTarget(in); err == nil {
			t.Errorf("ParseTarget(%q) = %+v, want an error", in, got)
		}
	}
}

func FuzzParseTarget(f *testing.F) {
	for _, s := range []string{"s3://acme", "s3://acme/a/b/", "s3://acme//", "s3://acme/.sigil", "x.yaml", "s3://", "arn:aws:s3:eu-west-1:123456789012:accesspoint/web/p"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		target, err := option.ParseTarget(s)
		if err != nil {
			return
		}
		p := target.Prefix
		if target.Bucket == "" || strings.HasPrefix(p, "/") || p != "" && !strings.HasSuffix(p, "/") ||
			strings.Contains("/"+p, "/../") || strings.Contains("/"+p, "/.sigil/") || strings.Contains(p, "//") {
			t.Errorf("ParseTarget(%q) = %+v", s, target)
		}
		again, err := option.ParseTarget("s3://" + target.Bucket + "/" + p)
		if err != nil || again.Prefix != p || again.Bucket != target.Bucket {
			t.Errorf("ParseTarget(%q) is not stable: %+v, %v", s, again, err)
		}
	})
}

func TestNearest(t *testing.T) {
	known := []string{"endpoint-url", "uid", "gid", "allow-other", "read-only", "key", "cache"}
	for in, want := range map[string]string{
		"endpoint": "", "endpont-url": "endpoint-url", "alow-other": "allow-other", "readonly": "read-only",
		"udi": "uid", "zzz": "", "kye": "key", "": "", "xid": "gid",
	} {
		if got := option.Nearest(in, known); got != want {
			t.Errorf("Nearest(%q) = %q, want %q", in, got, want)
		}
	}
}

func TestMoment(t *testing.T) {
	zone := time.FixedZone("", 2*3600)
	now := time.Date(2026, 3, 4, 12, 0, 0, 0, zone)
	for in, want := range map[string]time.Time{
		"2026-01-02T15:04:05Z": time.Date(2026, 1, 2, 15, 4, 5, 0, time.UTC), "2026-01-02T15:04:05.5+01:00": time.Date(2026, 1, 2, 14, 4, 5, 5e8, time.UTC),
		"2026-01-02 15:04": time.Date(2026, 1, 2, 15, 4, 0, 0, zone), "2026-01-02 15:04:05": time.Date(2026, 1, 2, 15, 4, 5, 0, zone), "2026-01-02": time.Date(2026, 1, 2, 0, 0, 0, 0, zone),
		"3h": now.Add(-3 * time.Hour), "90m": now.Add(-90 * time.Minute), "2d": now.AddDate(0, 0, -2), "0s": now,
	} {
		if got, err := option.Moment(in, now); err != nil || !got.Equal(want) {
			t.Errorf("Moment(%q) = %v, %v", in, got, err)
		}
	}
	for _, in := range []string{"", "yesterday", "-3h", "2026-03-04 12:01", "2026-03-05", "1999-01-01", "99999999d", "-1d", "3", "2026-13-01"} {
		if got, err := option.Moment(in, now); err == nil {
			t.Errorf("Moment(%q) = %v, want an error", in, got)
		}
	}
}
