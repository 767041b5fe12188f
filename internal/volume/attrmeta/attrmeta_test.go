package attrmeta

import (
	"maps"
	"math"
	"slices"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"
	"pgregory.net/rapid"
)

func ptr[T any](v T) *T { return &v }

// What s3fs 1.90 and rclone 1.60 wrote to MinIO for files like these.
var written = []struct {
	name string
	md   map[string]string
	want Attr
}{
	{"s3fs file", map[string]string{
		"atime": "1700000000.000000001", "ctime": "1795271264", "gid": "0", "mode": "35304", "mtime": "1700000000.000000001", "uid": "0",
		"xattr": "%7B%22user.a%3Cb%26c%22%3A%22MQ%3D%3D%22%2C%22user.name%22%3A%22dmEgbHVl%22%2C%22user.sp%20ace%22%3A%22PCYrLz8%2B/w%3D%3D%22%2C%22user.uni-%C3%A9%22%3A%22eA%3D%3D%22%7D",
	}, Attr{
		Mode: unix.S_IFREG | 0o4750, UID: ptr[uint32](0), GID: ptr[uint32](0),
		Mtime: ptr[int64](1700000000_000000001), Ctime: ptr[int64](1795271264_000000000),
		Xattrs: map[string][]byte{"user.a<b&c": []byte("1"), "user.name": []byte("va lue"), "user.sp ace": []byte("<&+/?>\xff"), "user.uni-é": []byte("x")},
	}},
	{"s3fs half a second", map[string]string{"ctime": "1700000000.500000000", "gid": "100", "mode": "33188", "mtime": "1700000000.500000000", "uid": "1000"}, Attr{
		Mode: unix.S_IFREG | 0o644, UID: ptr[uint32](1000), GID: ptr[uint32](100),
		Mtime: ptr[int64](1700000000_500000000), Ctime: ptr[int64](1700000000_500000000),
	}},
	{"s3fs sticky directory", map[string]string{"ctime": "1795271264", "mode": "17407"}, Attr{Mode: unix.S_IFDIR | 0o1777, Ctime: ptr[int64](1795271264_000000000)}},
	{"s3fs symlink", map[string]string{"mode": "41471"}, Attr{Mode: unix.S_IFLNK | 0o777}},
	{"s3fs fifo", map[string]string{"mode": "4516"}, Attr{Mode: unix.S_IFIFO | 0o644}},
	{"s3fs socket", map[string]string{"mode": "49645"}, Attr{Mode: unix.S_IFSOCK | 0o755}},
	{"s3fs character device", map[string]string{"mode": "8612"}, Attr{Mode: unix.S_IFCHR | 0o644}},
	{"s3fs block device", map[string]string{"mode": "24996"}, Attr{Mode: unix.S_IFBLK | 0o644}},
	{"rclone file", map[string]string{"mtime": "1700000000.5"}, Attr{Mtime: ptr[int64](1700000000_500000000)}},
	{"rclone before 1970", map[string]string{"mtime": "-1.5"}, Attr{Mtime: ptr[int64](-1_500000000)}},
	{"rclone --metadata", map[string]string{
		"a": "b", "atime": "2023-11-14T22:13:20.5Z", "btime": "2026-11-21T14:27:02.600960578Z", "gid": "0", "mode": "104755", "mtime": "1700000000.5", "uid": "0",
	}, Attr{Mode: unix.S_IFREG | 0o4755, UID: ptr[uint32](0), GID: ptr[uint32](0), Mtime: ptr[int64](1700000000_500000000)}},
	{"rclone special files", map[string]string{"mode": "20666", "rdev": "10d"}, Attr{Mode: unix.S_IFCHR | 0o666, Rdev: 0x10d}},
	{"rclone rdev of digits", map[string]string{"mode": "60660", "rdev": "801"}, Attr{Mode: unix.S_IFBLK | 0o660, Rdev: 0x801}},
	{"mtime by RFC 3339", map[string]string{"mtime": "2023-11-14T23:13:20.000000007+01:00"}, Attr{Mtime: ptr[int64](1700000000_000000007)}},
}

func TestDecodeWhatOthersWrote(t *testing.T) {
	for _, c := range written {
		t.Run(c.name, func(t *testing.T) {
			if diff := cmp.Diff(c.want, Decode(c.md)); diff != "" {
				t.Error(diff)
			}
		})
	}
}

// s3fs 1.90 shows these attributes of an object with this metadata, the five
// extended attributes too, and rclone its mtime, uid and gid.
func TestEncode(t *testing.T) {
	a := Attr{
		Mode: unix.S_IFREG | 0o755, UID: ptr[uint32](1000), GID: ptr[uint32](100),
		Mtime: ptr[int64](1700000000_500000000), Ctime: ptr[int64](1700000001_000000000),
		Xattrs: map[string][]byte{"user.name": []byte("va lue"), "user.sp ace": []byte("<&+/?>\xff"), "user.empty": {}, "user.a<b&c": []byte("1"), "user.uni-é": []byte("x")},
	}
	want := map[string]string{
		"mode": "0100755", "uid": "1000", "gid": "100", "mtime": "1700000000.500000000", "ctime": "1700000001.000000000",
		"xattr": "%7B%22user.a%3Cb%26c%22%3A%22MQ%3D%3D%22%2C%22user.empty%22%3A%22%22%2C%22user.name%22%3A%22dmEgbHVl%22%2C%22user.sp%20ace%22%3A%22PCYrLz8%2B%2Fw%3D%3D%22%2C%22user.uni-%C3%A9%22%3A%22eA%3D%3D%22%7D",
	}
	if diff := cmp.Diff(want, Encode(a)); diff != "" {
		t.Error(diff)
	}
	if got := Size(a); got != len(want["xattr"]) {
		t.Errorf("size %d, want %d", got, len(want["xattr"]))
	}
	if got := Encode(Attr{}); len(got) != 0 {
		t.Errorf("of nothing: %v", got)
	}
	device := Attr{Mode: unix.S_IFBLK | 0o660, Rdev: 2049}
	if diff := cmp.Diff(map[string]string{"mode": "060660", "rdev": "801"}, Encode(device)); diff != "" {
		t.Error(diff)
	}
	if got := Encode(Attr{Mode: unix.S_IFREG | 0o644, Rdev: 7}); got["rdev"] != "" {
		t.Errorf("a regular file has rdev %q", got["rdev"])
	}
}

func TestMode(t *testing.T) {
	for _, c := range []struct {
		s    string
		s3fs bool
		want uint32
	}{
		{"33188", false, 0o100644},
		{"33261", false, 0o100755}, // octal digits alone
		{"16877", false, 0o040755},
		{"35309", true, 0o104755},
		{"100644", true, 0o100644}, // rclone's, and s3fs added a ctime
		{"0100664", false, 0o100664},
		{"0644", true, 0o644},
		{"40755", false, 0o040755},
		{"41777", false, 0o041777},
		{"42755", true, 0o042755},
		{"10644", false, 0o010644},
		{"120777", false, 0o120777},
		{"140755", false, 0o140755},
		{"644", false, 0o644}, // by hand
		{"420", true, 0o644},  // what s3fs takes it for
		{"4755", false, 0o4755},
		{"493", false, 0o755},
		{"65535", true, 0o065535}, // of the two the lesser nonsense
		{"65519", false, 0o7757},  // no such type: permissions alone
		{"0170644", false, 0o644},
		{"0", false, 0},
		{"0000000", false, 0},
		{"", false, 0},
		{"-1", false, 0},
		{"+420", false, 0},
		{"0x1ff", false, 0},
		{"1e3", false, 0},
		{"rw-r--r--", false, 0},
		{"200000", false, 0},
		{"99999", false, 0},
		{strings.Repeat("9", 10000), false, 0},
	} {
		md := map[string]string{"mode": c.s}
		if c.s3fs {
			md["ctime"] = "1"
		}
		if got := Decode(md).Mode; got != c.want {
			t.Errorf("mode %.20q, s3fs %v: %o, want %o", c.s, c.s3fs, got, c.want)
		}
	}
}

// Every mode that a file can have survives beside a ctime, as Encode writes it.
func TestEveryModeComesBack(t *testing.T) {
	for _, typ := range []uint32{unix.S_IFREG, unix.S_IFDIR, unix.S_IFIFO, unix.S_IFSOCK, unix.S_IFCHR, unix.S_IFBLK} {
		for perm := range uint32(0o10000) {
			special := typ != unix.S_IFREG && typ != unix.S_IFDIR && perm&specialBits != 0
			a := Attr{Mode: typ | perm, Ctime: ptr[int64](0)}
			if got := Decode(Encode(a)).Mode; got != a.Mode && !special {
				t.Errorf("%o came back as %o", a.Mode, got)
			}
		}
	}
}

func TestTime(t *testing.T) {
	for _, c := range []struct {
		s    string
		want *int64
	}{
		{"0", ptr[int64](0)},
		{"1700000000", ptr[int64](1700000000_000000000)},
		{"1700000000.", ptr[int64](1700000000_000000000)},
		{"1.1234567899", ptr[int64](1_123456789)},
		{"-0.000000001", ptr[int64](-1)},
		{"9223372036.854775807", ptr[int64](math.MaxInt64)},
		{"9223372036.854775808", nil},
		{"9223372037", nil},
		{"-9223372036.854775808", ptr[int64](math.MinInt64)},
		{"-9223372036.854775809", nil},
		{"-9223372037", nil},
		{"9223372036854775807", nil},
		{"-9223372036854775808", nil},
		{"92233720368547758079", nil},
		{"1969-12-31T23:59:58.5Z", ptr[int64](-1_500000000)},
		{"1677-09-21T00:12:43.145224192Z", ptr[int64](math.MinInt64)},
		{"1677-09-21T00:12:43.145224191Z", nil},
		{"2262-04-11T23:47:16.854775807Z", ptr[int64](math.MaxInt64)},
		{"2262-04-11T23:47:16.854775808Z", nil},
		{"9999-12-31T23:59:59Z", nil},
		{"0001-01-01T00:00:00Z", nil},
		{"", nil},
		{"-", nil},
		{".5", nil},
		{"--1", nil},
		{"+1", nil},
		{"1.-5", nil},
		{"1.5.5", nil},
		{"1e9", nil},
		{"0x10", nil},
		{"NaN", nil},
		{" 1", nil},
		{"٣", nil}, // a digit, elsewhere
		{"2023-11-14", nil},
		{"Tue, 14 Nov 2023 22:13:20 GMT", nil},
	} {
		for _, name := range []string{"mtime", "ctime"} {
			a := Decode(map[string]string{name: c.s})
			got := a.Mtime
			if name == "ctime" {
				got = a.Ctime
			}
			if diff := cmp.Diff(c.want, got); diff != "" {
				t.Errorf("%s %q: %s", name, c.s, diff)
			}
		}
	}
}

func TestGarbageIsAbsent(t *testing.T) {
	for _, c := range []struct{ name, value string }{
		{"uid", "-1"},
		{"uid", "4294967295"},
		{"uid", "4294967296"},
		{"uid", "root"},
		{"gid", ""},
		{"gid", "0x10"},
		{"gid", "1_0"},
		{"xattr", ""},
		{"xattr", "%"},
		{"xattr", "%7B"},
		{"xattr", "null"},
		{"xattr", "[]"},
		{"xattr", `"user.a"`},
		{"xattr", `{"user.a":"!"}`},
		{"xattr", `{"user.a":null}`},
		{"xattr", `{"user.a":1}`},
		{"xattr", `{"user.a":{"b":"MQ=="}}`},
		{"xattr", `{"":"MQ=="}`},
		{"xattr", `{"user.":"MQ=="}`},
		{"xattr", `{"user.a\u0000b":"MQ=="}`},
		{"xattr", `{"user.` + strings.Repeat("a", 251) + `":"MQ=="}`},
		{"xattr", strings.Repeat("[", 8000)},
		{"xattr", `{"system.posix_acl_access":"MQ=="}`},
		{"rdev", "7"},
		{"permissions", "420"},
	} {
		if diff := cmp.Diff(Attr{}, Decode(map[string]string{c.name: c.value})); diff != "" {
			t.Errorf("%s %q: %s", c.name, c.value, diff)
		}
	}
	if diff := cmp.Diff(Attr{}, Decode(nil)); diff != "" {
		t.Errorf("no metadata: %s", diff)
	}
	for _, rdev := range []string{"", "x", "-1", "36893488147419103232"} {
		if a := Decode(map[string]string{"mode": "8612", "rdev": rdev}); a.Rdev != 0 {
			t.Errorf("rdev %q is %d", rdev, a.Rdev)
		}
	}
}

// One bad attribute does not take the others with it.
func TestXattrsAreReadOneByOne(t *testing.T) {
	got := Decode(map[string]string{"xattr": `{"user.a":"!","user.b":"MQ==","user.c":"MQ","user.plus":"+/8=","security.x":"MQ==","user.d":7}`}).Xattrs
	if diff := cmp.Diff(map[string][]byte{"user.b": []byte("1"), "user.c": []byte("1"), "user.plus": {0xfb, 0xff}}, got); diff != "" {
		t.Error(diff)
	}
}

func TestMergeKeepsWhatIsNotOurs(t *testing.T) {
	old := map[string]string{
		"md5chksum": "abc", "atime": "5", "mode": "33188", "uid": "7", "mtime": "garbage", "rdev": "1",
		"xattr": `{"user.gone":"MQ==","system.posix_acl_access":"MQ=="}`,
	}
	before := maps.Clone(old)
	got := Merge(old, Attr{Mode: 0o100600, Xattrs: map[string][]byte{"user.new": []byte("2")}})
	want := map[string]string{
		"md5chksum": "abc", "atime": "5", "mode": "0100600",
		"xattr": formatXattrs(map[string][]byte{"user.new": []byte("2"), "system.posix_acl_access": []byte("1")}),
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff(before, old); diff != "" {
		t.Errorf("the old map was changed: %s", diff)
	}
	if got := Merge(nil, Attr{}); got == nil || len(got) != 0 {
		t.Errorf("of nothing: %v", got)
	}
}

func TestNamesAreAllThatEncodeWrites(t *testing.T) {
	one, ns := uint32(1), int64(1)
	all := Encode(Attr{Mode: unix.S_IFCHR, UID: &one, GID: &one, Mtime: &ns, Ctime: &ns, Rdev: 1, Xattrs: map[string][]byte{"user.a": nil}})
	if diff := cmp.Diff(Names(), slices.Sorted(maps.Keys(all))); diff != "" {
		t.Error(diff)
	}
}

// MaxXattrs of attributes beside the longest others fit, as MinIO counts: with
// the prefix of every name.
func TestEverythingFits(t *testing.T) {
	id, ns := uint32(math.MaxUint32-1), int64(math.MinInt64)
	md := Encode(Attr{Mode: unix.S_IFBLK | 0o7777, UID: &id, GID: &id, Mtime: &ns, Ctime: &ns, Rdev: math.MaxUint64, Xattrs: map[string][]byte{"user.a": nil}})
	total := MaxXattrs - len(md["xattr"])
	for name, value := range md {
		total += len("x-amz-meta-") + len(name) + len(value)
	}
	if total > 2048-300 {
		t.Errorf("%d bytes leave too little for other tools", total)
	}
}

func attrs() *rapid.Generator[Attr] {
	return rapid.Custom(func(t *rapid.T) Attr {
		a := Attr{
			Mode:  rapid.SampledFrom([]uint32{unix.S_IFREG, unix.S_IFDIR, unix.S_IFIFO, unix.S_IFSOCK, unix.S_IFCHR, unix.S_IFBLK}).Draw(t, "type") | rapid.Uint32Range(0, 0o777).Draw(t, "perm"),
			UID:   rapid.Ptr(rapid.Uint32Max(math.MaxUint32-1), true).Draw(t, "uid"),
			GID:   rapid.Ptr(rapid.Uint32Max(math.MaxUint32-1), true).Draw(t, "gid"),
			Mtime: rapid.Ptr(rapid.Int64(), true).Draw(t, "mtime"),
			Ctime: rapid.Ptr(rapid.Int64(), true).Draw(t, "ctime"),
		}
		if isDevice(a.Mode) {
			a.Rdev = rapid.Uint64().Draw(t, "rdev")
		}
		name := rapid.Map(rapid.StringN(1, 40, 250).Filter(func(s string) bool {
			return utf8.ValidString(s) && !strings.ContainsRune(s, 0)
		}), func(s string) string { return userPrefix + s })
		if x := rapid.MapOfN(name, rapid.SliceOf(rapid.Byte()), 0, 4).Draw(t, "xattrs"); len(x) > 0 {
			a.Xattrs = x
		}
		return a
	})
}

func TestRoundTrip(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		a := attrs().Draw(t, "attr")
		md := Encode(a)
		if diff := cmp.Diff(a, Decode(md)); diff != "" {
			t.Fatalf("%v: %s", md, diff)
		}
		for name, value := range md {
			if strings.ContainsFunc(value, func(r rune) bool { return r <= ' ' || r >= 0x7f }) {
				t.Fatalf("%s: %q does not go through a header", name, value)
			}
		}
		old := map[string]string{"other": "kept", "mode": "1", "xattr": "x"}
		merged := Merge(old, a)
		if merged["other"] != "kept" {
			t.Fatal("a foreign name is gone")
		}
		if diff := cmp.Diff(a, Decode(merged)); diff != "" {
			t.Fatal(diff)
		}
	})
}

// FuzzDecode: whatever stands there, Decode ends, and gives what Encode can
// write and Decode reads again.
func FuzzDecode(f *testing.F) {
	for _, c := range written {
		f.Add(c.md["mode"], c.md["uid"], c.md["mtime"], c.md["ctime"], c.md["rdev"], c.md["xattr"])
	}
	f.Add("0170000", "4294967295", "-9223372036.854775808", "1677-09-21T00:12:43.145224191Z", "ff", `{"user.a":"MQ=="}`)
	f.Add("65519", "01", "1.5.5", "-0", "-1", "%7B%22user.%ff%22%3A%22%22%7D")
	f.Fuzz(func(t *testing.T, mode, uid, mtime, ctime, rdev, xattr string) {
		a := Decode(map[string]string{"mode": mode, "uid": uid, "gid": uid, "mtime": mtime, "ctime": ctime, "rdev": rdev, "xattr": xattr})
		if a.Mode > 0o177777 {
			t.Fatalf("mode %o", a.Mode)
		}
		for name, value := range a.Xattrs {
			if !strings.HasPrefix(name, "user.") || len(name) > 255 || value == nil {
				t.Fatalf("%q: %v", name, value)
			}
		}
		again := Decode(Encode(a))
		again.Mode, again.Rdev = a.Mode, a.Rdev // a nonsensical one may be read otherwise
		if diff := cmp.Diff(a, again); diff != "" {
			t.Fatal(diff)
		}
	})
}
