package attrmeta

import (
	"encoding/base64"
	"encoding/json"
	"net/url"
	"strings"
)

// MaxXattrs is the most that Size may be, in bytes: S3 takes 2 KiB of user
// metadata, names and values together, and the other attributes and what other
// tools wrote need their part. More than that the caller refuses.
const MaxXattrs = 1536

// userPrefix begins the names that a mount shows.
const userPrefix = "user."

// maxName is the longest name of an attribute in bytes (XATTR_NAME_MAX of
// Linux, which package unix does not have).
const maxName = 255

// Size is the length in bytes of the extended attributes as Encode writes them.
func Size(a Attr) int {
	if len(a.Xattrs) == 0 {
		return 0
	}
	return len(formatXattrs(a.Xattrs))
}

// formatXattrs writes {"name":"base64",…} by name, percent-encoded whole. Names
// are valid UTF-8; s3fs reads none with a quote, colon or comma in it.
func formatXattrs(xattrs map[string][]byte) string {
	values := make(map[string]string, len(xattrs))
	for name, value := range xattrs {
		values[name] = base64.StdEncoding.EncodeToString(value)
	}
	var b strings.Builder
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false) // s3fs knows no \u003c
	if err := enc.Encode(values); err != nil {
		panic(err) // a map of strings always encodes
	}
	// A "+" for a space would be wrong outside of a query.
	return strings.ReplaceAll(url.QueryEscape(strings.TrimSuffix(b.String(), "\n")), "+", "%20")
}

// parseXattrs reads attributes of all kinds. A value that is no base64 is
// left out, as is a name that the kernel would not take.
func parseXattrs(s string) map[string][]byte {
	text, err := url.PathUnescape(s)
	if err != nil {
		return nil
	}
	var values map[string]json.RawMessage
	if json.Unmarshal([]byte(text), &values) != nil {
		return nil
	}
	xattrs := map[string][]byte{}
	for name, raw := range values {
		var encoded string
		if raw[0] != '"' || json.Unmarshal(raw, &encoded) != nil || !isName(name) {
			continue
		}
		value, err := base64.RawStdEncoding.DecodeString(strings.TrimRight(encoded, "="))
		if err == nil {
			xattrs[name] = value
		}
	}
	return xattrs
}

func isName(name string) bool {
	return name != "" && name != userPrefix && len(name) <= maxName && !strings.ContainsRune(name, 0)
}

// only gives the attributes that are user.*, or all but those.
func only(xattrs map[string][]byte, user bool) map[string][]byte {
	for name := range xattrs {
		if strings.HasPrefix(name, userPrefix) != user {
			delete(xattrs, name)
		}
	}
	if len(xattrs) == 0 {
		return nil
	}
	return xattrs
}
