package integration

import (
	"crypto/rand"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/sigilfs/sigilfs/integration/server"
)

// minioKey is the one key of MinIO's KMS.
const minioKey = "sigilfs-test"

// keys are one of every kind: files below a directory, and a key of moto's KMS.
// SSE-C keys are raw, as the AWS CLI takes them.
type keys struct {
	dir       string
	recipient string // of age.txt
	arn       string // "" without a KMS
}

func newKeys(t *testing.T, kms *server.KMS) keys {
	t.Helper()
	onMount(t)
	k := keys{dir: t.TempDir()}
	env := baseEnv(t)
	for _, of := range [][]string{{"aes", "main.key"}, {"aes", "s3ec.key"}, {"age", "age.txt"}} {
		out, err := tryBinary(t, env, "keygen", "--kind", of[0], "-o", k.file(of[1]))
		if err != nil {
			t.Fatalf("keygen %s: %v\n%s", of[0], err, out)
		}
		for line := range strings.Lines(out) {
			if strings.HasPrefix(line, "age1") {
				k.recipient = strings.TrimSpace(line)
			}
		}
	}
	for i := range 4 {
		secret := make([]byte, 32)
		_, _ = rand.Read(secret) // never fails (crypto/rand)
		must(t, os.WriteFile(k.customer(i+1), secret, 0o600))
	}
	if kms != nil {
		arn, err := kms.Key(t.Context(), "")
		must(t, err)
		k.arn = arn
	}
	return k
}

func (k keys) file(name string) string { return filepath.Join(k.dir, name) }

// customer is the file of the n-th generation of SSE-C keys.
func (k keys) customer(n int) string { return k.file(fmt.Sprintf("c%d.key", n)) }

// yaml is a configuration with these rules and, of this set, the keys that they
// name and those of also, which only read.
func (k keys) yaml(bucket string, rules []string, also ...string) string {
	all := map[string]string{
		"minio":  "{kms: " + minioKey + "}",
		"main":   "{aes: file:" + k.file("main.key") + "}",
		"s3ec":   "{aes: file:" + k.file("s3ec.key") + "}",
		"escrow": "{age: {recipients: [" + k.recipient + "], identities: file:" + k.file("age.txt") + "}}",
		"c1":     "{ssec: file:" + k.customer(1) + "}",
		"c2":     "{ssec: file:" + k.customer(2) + "}",
		"c3":     "{ssec: file:" + k.customer(3) + "}",
		"c4":     "{ssec: file:" + k.customer(4) + "}",
	}
	if k.arn != "" {
		all["cloud"] = "{kms: " + k.arn + ", context: {team: backup}}"
	}
	var b strings.Builder
	fmt.Fprintf(&b, "bucket: s3://%s\n", bucket)
	text := strings.Join(rules, "\n")
	begun := false
	for _, name := range slices.Sorted(maps.Keys(all)) {
		if named := regexp.MustCompile(`key: (\[[^]]*)?\b` + name + `\b`); !named.MatchString(text) && !slices.Contains(also, name) {
			continue
		}
		if !begun {
			b.WriteString("keys:\n")
		}
		begun = true
		fmt.Fprintf(&b, "  %s: %s\n", name, all[name])
	}
	b.WriteString("encryption:   # longest prefix wins\n")
	for _, r := range rules {
		fmt.Fprintf(&b, "  - {%s}\n", r)
	}
	return b.String()
}

// A mode is a rule and how what it writes must lie in the bucket.
type mode struct {
	name string // its prefix too
	rule string // fields

	algorithm string // as HEAD says it; "" for none
	customer  int    // generation of the SSE-C key; 0 for none
	format    format
	moved     bool // a directory rename brought it here

	// wrong and without are the errnos of reading with other keys, and with none.
	wrong, without []error
}

// format is how a plaintext lies in the body.
type format int

const (
	asItIs format = iota
	sealed        // sigil
	s3ecV3
	s3ecV2
)

func (m mode) fields() string { return "prefix: " + m.name + "/, " + m.rule }

// rules are those of modes, and client for the rest of the bucket.
func rules(modes []mode) []string {
	all := []string{"mode: client, key: main"}
	for _, m := range modes {
		all = append(all, m.fields())
	}
	return all
}
