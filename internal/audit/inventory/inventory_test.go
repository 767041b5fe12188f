package inventory

import (
	"bytes"
	"compress/gzip"
	"crypto/md5"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

const columns = "Bucket, Key, VersionId, IsLatest, IsDeleteMarker, Size, LastModifiedDate, ETag, StorageClass, EncryptionStatus, BucketKeyStatus"

// lay writes an inventory as S3 lays it out, and gives the directory of its manifest.
func lay(t *testing.T, format, schema string, lists map[string][]byte) string {
	t.Helper()
	root := t.TempDir()
	m := manifest{SourceBucket: "acme", Created: "1777636800000", Format: format, Schema: schema}
	for name, body := range lists {
		sum := md5.Sum(body)
		m.Files = append(m.Files, file{Key: "inv/acme/daily/data/" + name, MD5: hex.EncodeToString(sum[:])})
		write(t, filepath.Join(root, "data", name), body)
	}
	text, err := json.Marshal(m)
	if err != nil {
		t.Fatal(err)
	}
	dir := filepath.Join(root, "2026-05-01T00-00Z")
	write(t, filepath.Join(dir, manifestName), text)
	return dir
}

func write(t *testing.T, path string, body []byte) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, body, 0o644); err != nil {
		t.Fatal(err)
	}
}

func zipped(text string) []byte {
	var b bytes.Buffer
	z := gzip.NewWriter(&b)
	_, _ = z.Write([]byte(text))
	_ = z.Close()
	return b.Bytes()
}

func all(t *testing.T, at string) (records []Record, err error) {
	t.Helper()
	i, err := Open(at)
	if err != nil {
		return nil, err
	}
	for r, err := range i.Records() {
		if err != nil {
			return records, err
		}
		records = append(records, r)
	}
	return records, nil
}

func TestRecords(t *testing.T) {
	const rows = `"acme","a+b%2Fc%0Ad%22","v1","true","false","42","2026-04-01T10:00:00.000Z","e","STANDARD","SSE-KMS","ENABLED"
"acme","gone","v2","false","true","","2026-04-01T10:00:00.000Z","","","",""
`
	want := []Record{
		{Bucket: "acme", Key: "a b/c\nd\"", VersionID: "v1", Size: 42, Modified: time.Date(2026, 4, 1, 10, 0, 0, 0, time.UTC), Class: "STANDARD", Encryption: "SSE-KMS", BucketKey: "ENABLED"},
		{Bucket: "acme", Key: "gone", VersionID: "v2", Old: true, Deleted: true, Modified: time.Date(2026, 4, 1, 10, 0, 0, 0, time.UTC)},
	}
	for name, body := range map[string][]byte{"list.csv.gz": zipped(rows), "list.csv": []byte(rows)} {
		dir := lay(t, "CSV", columns, map[string][]byte{name: body})
		for _, at := range []string{dir, filepath.Join(dir, manifestName)} {
			got, err := all(t, at)
			if err != nil {
				t.Fatalf("%s: %v", name, err)
			}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("%s (-want +got):\n%s", name, diff)
			}
		}
		i, err := Open(dir)
		if err != nil || i.Bucket != "acme" || i.Created.Year() != 2026 {
			t.Errorf("%+v, %v", i, err)
		}
	}
}

func TestRefusals(t *testing.T) {
	row := `"acme","k","v","true","false","1","2026-04-01T10:00:00.000Z","e","STANDARD","SSE-S3",""` + "\n"
	for name, dir := range map[string]string{
		"format":         lay(t, "ORC", columns, nil),
		"no encryption":  lay(t, "CSV", "Bucket, Key", nil),
		"no key":         lay(t, "CSV", "Bucket, EncryptionStatus", nil),
		"column twice":   lay(t, "CSV", columns+", Key", nil),
		"too few fields": lay(t, "CSV", columns, map[string][]byte{"a.csv": []byte("\"acme\",\"k\"\n")}),
		"size":           lay(t, "CSV", columns, map[string][]byte{"a.csv": []byte(strings.Replace(row, `"1"`, `"-1"`, 1))}),
		"time":           lay(t, "CSV", columns, map[string][]byte{"a.csv": []byte(strings.Replace(row, "2026-", "26-", 1))}),
		"escape":         lay(t, "CSV", columns, map[string][]byte{"a.csv": []byte(strings.Replace(row, `"k"`, `"%zz"`, 1))}),
		"long line":      lay(t, "CSV", columns, map[string][]byte{"a.csv": []byte(strings.Replace(row, `"k"`, `"`+strings.Repeat("k", maxLine)+`"`, 1))}),
		"other bucket":   lay(t, "CSV", columns, map[string][]byte{"a.csv": []byte(strings.Replace(row, "acme", "other", 1))}),
		"not gzip":       lay(t, "CSV", columns, map[string][]byte{"a.csv.gz": []byte(row)}),
		"cut gzip":       lay(t, "CSV", columns, map[string][]byte{"a.csv.gz": zipped(strings.Repeat(row, 100))[:40]}),
	} {
		if got, err := all(t, dir); !errors.Is(err, ErrInvalid) {
			t.Errorf("%s: %d records, %v", name, len(got), err)
		}
	}

	dir := lay(t, "CSV", columns, map[string][]byte{"a.csv": []byte(row)})
	write(t, filepath.Join(dir, "..", "data", "a.csv"), []byte(row+row))
	if _, err := all(t, dir); !errors.Is(err, ErrInvalid) || !strings.Contains(err.Error(), "MD5") {
		t.Errorf("another list than the manifest's: %v", err)
	}
	if err := os.Remove(filepath.Join(dir, "..", "data", "a.csv")); err != nil {
		t.Fatal(err)
	}
	if _, err := all(t, dir); !errors.Is(err, ErrInvalid) {
		t.Errorf("a list that is not there: %v", err)
	}
	if _, err := Open(filepath.Join(dir, "nowhere")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("no manifest: %v", err)
	}
}

// A manifest names files of its own directories alone.
func TestStaysInItsDirectories(t *testing.T) {
	for _, key := range []string{"..", ".", "/", "x/..", ""} {
		text := fmt.Sprintf(`{"fileFormat":"CSV","fileSchema":%q,"files":[{"key":%q}]}`, columns, key)
		if _, err := parse([]byte(text)); !errors.Is(err, ErrInvalid) {
			t.Errorf("key %q: %v", key, err)
		}
	}
	dir := lay(t, "CSV", columns, nil)
	write(t, filepath.Join(dir, manifestName), []byte(fmt.Sprintf(`{"fileFormat":"CSV","fileSchema":%q,"files":[{"key":"../../../../../../etc/passwd"}]}`, columns)))
	if got, err := all(t, dir); !errors.Is(err, ErrInvalid) || len(got) != 0 {
		t.Errorf("%d records, %v", len(got), err)
	}
}

func FuzzManifest(f *testing.F) {
	f.Add([]byte(`{"sourceBucket":"acme","creationTimestamp":"1777636800000","fileFormat":"CSV","fileSchema":"Bucket, Key, EncryptionStatus","files":[{"key":"a/b.csv.gz","MD5checksum":"00"}]}`))
	f.Add([]byte(`{}`))
	f.Fuzz(func(t *testing.T, text []byte) {
		i, err := parse(text)
		if err != nil {
			if !errors.Is(err, ErrInvalid) {
				t.Errorf("%v", err)
			}
			return
		}
		for _, at := range i.schema.at {
			if at < 0 || at >= i.schema.columns {
				t.Errorf("column %d of %d", at, i.schema.columns)
			}
		}
	})
}

func FuzzRows(f *testing.F) {
	s, err := parseSchema(columns)
	if err != nil {
		f.Fatal(err)
	}
	f.Add([]byte(`"acme","k","v","true","false","1","2026-04-01T10:00:00.000Z","e","STANDARD","SSE-S3",""`))
	f.Add([]byte("\"a\nb\""))
	f.Fuzz(func(t *testing.T, text []byte) {
		i := &Inventory{schema: s}
		_, err := i.rows(bytes.NewReader(text), func(r Record, _ error) bool {
			if r.Key == "" || r.Size < 0 || len(r.Key) > maxLine {
				t.Errorf("%+v", r)
			}
			return true
		})
		if err != nil && !errors.Is(err, ErrInvalid) {
			t.Errorf("%v", err)
		}
	})
}
