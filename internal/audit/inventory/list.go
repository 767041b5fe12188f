package inventory

import (
	"bufio"
	"compress/gzip"
	"crypto/md5" //nolint:gosec // what the manifest has; it finds accidents, no attacks
	"encoding/csv"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net/url"
	"strconv"
	"strings"
	"time"
)

// Record is one row.
type Record struct {
	Bucket, Key, VersionID string
	Old                    bool // not the current version
	Deleted                bool // a delete marker
	Size                   int64
	Modified               time.Time // zero is not told
	Class                  string
	Encryption             string // as S3 names it: SSE-S3, SSE-C, SSE-KMS, DSSE-KMS, NOT-SSE; "" is not told
	BucketKey              string // ENABLED, DISABLED or ""
}

// schema is the place of each column.
type schema struct {
	columns int
	at      map[string]int
}

// parseSchema reads the names of columns, as the manifest has them.
func parseSchema(text string) (schema, error) {
	s := schema{at: map[string]int{}}
	for name := range strings.SplitSeq(text, ",") {
		name = strings.TrimSpace(name)
		if _, twice := s.at[name]; twice {
			return s, fmt.Errorf("its schema has a column twice: %w", ErrInvalid)
		}
		s.at[name] = s.columns
		s.columns++
	}
	for _, need := range []string{"Bucket", "Key"} {
		if _, ok := s.at[need]; !ok {
			return s, fmt.Errorf("its schema lacks %s: %w", need, ErrInvalid)
		}
	}
	if _, ok := s.at["EncryptionStatus"]; !ok {
		return s, fmt.Errorf("its schema lacks EncryptionStatus; add that to the optional fields of the inventory's configuration: %w", ErrInvalid)
	}
	return s, nil
}

// read gives the rows of one list; false: nobody wants more.
func (i *Inventory) read(f file, yield func(Record, error) bool) (bool, error) {
	from, err := i.open(f)
	if err != nil {
		return false, err
	}
	defer from.Close()
	sum := md5.New() //nolint:gosec // as above
	raw := io.TeeReader(from, io.MultiWriter(sum, counter(i.Read)))
	text := raw
	if strings.HasSuffix(f.Key, ".gz") {
		z, err := gzip.NewReader(raw)
		if err != nil {
			return false, fmt.Errorf("%w: %w", err, ErrInvalid)
		}
		defer z.Close()
		text = z
	}
	on, err := i.rows(text, yield)
	if err != nil || !on {
		return on, err
	}
	if _, err := io.Copy(io.Discard, raw); err != nil { // what gzip has not asked for
		return false, err
	}
	if got := hex.EncodeToString(sum.Sum(nil)); f.MD5 != "" && !strings.EqualFold(got, f.MD5) {
		return false, fmt.Errorf("is not what the manifest names: its MD5 is %s, not %s: %w", got, short(f.MD5), ErrInvalid)
	}
	return true, nil
}

// counter tells how much is written to it.
type counter func(n int64)

func (c counter) Write(b []byte) (int, error) {
	if c != nil {
		c(int64(len(b)))
	}
	return len(b), nil
}

// rows reads a list. Keys are URL-encoded, so that no row has a line break.
func (i *Inventory) rows(text io.Reader, yield func(Record, error) bool) (bool, error) {
	lines := bufio.NewScanner(text)
	lines.Buffer(make([]byte, 0, 4<<10), maxLine)
	for n := 1; lines.Scan(); n++ {
		if len(lines.Bytes()) == 0 {
			continue
		}
		r, err := i.schema.row(lines.Text())
		if err != nil {
			return false, fmt.Errorf("line %d: %w", n, err)
		}
		if r.Bucket != i.Bucket {
			return false, fmt.Errorf("line %d: is of the bucket %q: %w", n, short(r.Bucket), ErrInvalid)
		}
		if !yield(r, nil) {
			return false, nil
		}
	}
	if err := lines.Err(); errors.Is(err, bufio.ErrTooLong) {
		return false, fmt.Errorf("a line of over %d bytes: %w", maxLine, ErrInvalid)
	} else if err != nil {
		return false, fmt.Errorf("%w: %w", err, ErrInvalid)
	}
	return true, nil
}

// row reads one.
func (s schema) row(line string) (Record, error) {
	c := csv.NewReader(strings.NewReader(line))
	c.FieldsPerRecord = s.columns
	fields, err := c.Read()
	if err != nil {
		return Record{}, fmt.Errorf("%w: %w", err, ErrInvalid)
	}
	get := func(name string) string {
		if at, ok := s.at[name]; ok {
			return fields[at]
		}
		return ""
	}
	r := Record{
		Bucket: get("Bucket"), VersionID: get("VersionId"), Class: get("StorageClass"), Encryption: get("EncryptionStatus"), BucketKey: get("BucketKeyStatus"),
		Old: get("IsLatest") == "false", Deleted: get("IsDeleteMarker") == "true",
	}
	if r.Key, err = url.QueryUnescape(get("Key")); err != nil || r.Key == "" {
		return r, fmt.Errorf("key %q: %w", short(get("Key")), ErrInvalid)
	}
	if text := get("Size"); text != "" {
		if r.Size, err = strconv.ParseInt(text, 10, 64); err != nil || r.Size < 0 {
			return r, fmt.Errorf("size %q: %w", short(text), ErrInvalid)
		}
	}
	if text := get("LastModifiedDate"); text != "" {
		if r.Modified, err = time.Parse(time.RFC3339, text); err != nil {
			return r, fmt.Errorf("time %q: %w", short(text), ErrInvalid)
		}
	}
	return r, nil
}
