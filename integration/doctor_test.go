package integration

import (
	"encoding/json"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/sigilfs/sigilfs/integration/faultproxy"
	"github.com/sigilfs/sigilfs/integration/server"
)

// A diagnosis is what `sigilfs doctor --json` prints.
type diagnosis struct {
	Version        int
	Target, Status string
	Checks         []struct {
		Check, Status, Text, Remedy string
		Commands                    []string
	}
}

// finding is "STATUS: sentence" of a check, and the lines of its remedy.
func (d diagnosis) finding(t *testing.T, check string) (text string, commands []string) {
	t.Helper()
	for _, c := range d.Checks {
		if c.Check == check {
			return c.Status + ": " + c.Text, c.Commands
		}
	}
	t.Fatalf("%s is not in %+v", check, d)
	return "", nil
}

func (d diagnosis) says(t *testing.T, check string, parts ...string) {
	t.Helper()
	text, _ := d.finding(t, check)
	for _, p := range parts {
		if !strings.Contains(text, p) {
			t.Errorf("%s: %q is not in %q", check, p, text)
		}
	}
}

func diagnose(t *testing.T, env []string, args ...string) diagnosis {
	t.Helper()
	out, _ := tryBinary(t, env, append([]string{"doctor", "--json"}, args...)...) // the exit code is tested elsewhere
	var d diagnosis
	begin, end := strings.IndexByte(out, '{'), strings.LastIndexByte(out, '}') // stderr goes to the same place
	if begin < 0 || end < begin {
		t.Fatalf("no document in %s", out)
	}
	must(t, json.Unmarshal([]byte(out[begin:end+1]), &d))
	return d
}

// What a mount left of an upload is told of until its next one ends it, and
// nothing of what doctor tries stays in the bucket. MinIO keeps no rule that
// ends uploads, and ignores conditions of copies and of DELETE.
func TestDoctor(t *testing.T) {
	m := newMount(t, mountOptions{Proxy: true})
	look := func() diagnosis { return diagnose(t, m.env(t), append([]string{m.target()}, m.config(t).Args...)...) }
	before := newClient(t, m.bucket).keys(m.Key(""))
	d := look()
	if d.Version != 1 || d.Target != m.target() || d.Status != "warning" {
		t.Errorf("of %s: %s", d.Target, d.Status)
	}
	for _, check := range []string{"keys", "connection", "credentials", "endpoint", "clock", "bucket", "write", "multipart", "tagging", "checksums", "expiry", "lock", "policy", "default", "sse-c", "epochs", "encryption", "fuse", "others"} {
		d.says(t, check, "ok: ")
	}
	d.says(t, "endpoint", "TLS 1.3")
	d.says(t, "grants", "skipped: ")
	d.says(t, "public", "skipped: ") // MinIO has none
	const weak = "does not honour conditional copies and deletions"
	d.says(t, "conditions", "warning: ", weak, "the old name")
	if n := strings.Count(m.daemon.Log(), weak); n != 1 {
		t.Errorf("the mount says so %d times", n)
	}
	d.says(t, "uploads", "ok: ")
	d.says(t, "lifecycle", "warning: no lifecycle rule")
	d.says(t, "versions", "ok: the bucket keeps no versions")

	key := m.key
	m.key = filepath.Join(t.TempDir(), "other.key")
	m.sigilfs(t, "keygen", "-o", m.key)
	look().says(t, "epochs", "warning: ", "opens nothing")
	m.key = key
	if after := newClient(t, m.bucket).keys(m.Key("")); !slices.Equal(before, after) {
		t.Errorf("the bucket has %q, and had %q", after, before)
	}

	part := faultproxy.NewGate(func(r *http.Request) bool { return r.URL.Query().Has("partNumber") }, 0, faultproxy.Before)
	m.proxy.Set(part.Fault)
	f, err := os.Create(m.Path("large"))
	must(t, err)
	t.Cleanup(func() { _ = f.Close() })
	t.Cleanup(part.Drop) // before the close, which would wait for it
	_, err = f.Write(content(1, 48<<20))
	must(t, err)
	arrives(t, part)
	m.Crash(t)
	part.Drop()
	m.proxy.Set(faultproxy.Pass)
	look().says(t, "uploads", "ok: 1 upload of sigilfs")
	m.Start(t)
	look().says(t, "uploads", "ok: none is open")
	if keys := newClient(t, m.bucket).keys(m.Key(".sigil/doctor/")); len(keys) != 0 {
		t.Errorf("left behind: %q", keys)
	}
}

// The lines that doctor prints do what it asks for, also beside rules that are
// there already.
func TestDoctorsRemedyWorks(t *testing.T) {
	moto := server.Moto(t)
	const bucket = "doctors"
	base := t.TempDir()
	env := append(baseEnv(t), "AWS_ACCESS_KEY_ID="+moto.AccessKey, "AWS_SECRET_ACCESS_KEY="+moto.SecretKey, "AWS_REGION="+moto.Region, "AWS_DEFAULT_REGION="+moto.Region)
	cli := newTool(t, base, awsCLI, env...)
	aws := func(args ...string) {
		t.Helper()
		cli.run(append([]string{awsCLI, "--endpoint-url", moto.Moto, "s3api", args[0], "--bucket", bucket}, args[1:]...)...)
	}
	aws("create-bucket")
	look := func() diagnosis {
		t.Helper()
		return diagnose(t, env, "s3://"+bucket+"/it's mine", "--encryption", "none", "--endpoint-url", moto.Moto, "--insecure-endpoint")
	}
	follow := func() {
		t.Helper()
		_, commands := look().finding(t, "lifecycle")
		script := strings.Join(commands, "\n")
		if _, rule, found := strings.Cut(script, "# add to the Rules of lifecycle.json: "); found {
			rule, _, _ = strings.Cut(rule, "\n")
			name := filepath.Join(base, "lifecycle.json")
			add := filepath.Join(base, "rule.json")
			writeFile(t, add, []byte(rule))
			script = strings.Replace(script, "# add", "python3 -c '"+addRule+"' "+name+" "+add+"\n# add", 1)
		}
		cli.run("sh", "-ec", script)
	}
	look().says(t, "lifecycle", "warning: no lifecycle rule")
	follow()
	look().says(t, "lifecycle", "ok: ", `"abort-abandoned-uploads"`)
	look().says(t, "expiry", "ok: ")

	aws("put-bucket-lifecycle-configuration", "--lifecycle-configuration", `{"Rules": [{"ID": "tidy", "Status": "Enabled", "Filter": {"Prefix": ""}, "Expiration": {"Days": 9}}]}`)
	look().says(t, "lifecycle", "warning: no lifecycle rule")
	follow()
	look().says(t, "lifecycle", "ok: ")
	look().says(t, "expiry", "failure: ", `"tidy" removes`) // so the rule that was there still is

	look().says(t, "public", "warning: ")
	_, commands := look().finding(t, "public")
	cli.run("sh", "-ec", strings.Join(commands, "\n"))
	look().says(t, "public", "ok: ")

	aws("put-bucket-encryption", "--server-side-encryption-configuration", `{"Rules": [{"ApplyServerSideEncryptionByDefault": {"SSEAlgorithm": "aws:kms"}}]}`)
	defaulted := func() diagnosis {
		t.Helper()
		return diagnose(t, env, "s3://"+bucket, "--encryption", "bucket-default", "--endpoint-url", moto.Moto, "--insecure-endpoint")
	}
	defaulted().says(t, "default", "warning: ", "without a bucket key")
	_, commands = defaulted().finding(t, "default")
	cli.run("sh", "-ec", strings.Join(commands, "\n"))
	defaulted().says(t, "default", "ok: ", "with a bucket key")

	look().says(t, "policy", "ok: ", "no policy")
	aws("put-bucket-policy", "--policy", `{"Version": "2012-10-17", "Statement": [{"Sid": "tls", "Effect": "Deny", "Principal": "*", "Action": "s3:*", "Resource": "arn:aws:s3:::`+bucket+`/*", "Condition": {"Bool": {"aws:SecureTransport": "false"}}}]}`)
	look().says(t, "policy", "failure: ", `statement "tls"`, "mode none") // moto holds to it, and is reached so
	aws("delete-bucket-policy")

	look().says(t, "credentials", "ok: ", "not Amazon S3")
	named := diagnose(t, append(slices.Clone(env), "AWS_ENDPOINT_URL="+moto.Moto), "s3://"+bucket, "--encryption", "none", "--insecure-endpoint")
	named.says(t, "credentials", "ok: ", "arn:aws:sts::")
	aws("put-bucket-versioning", "--versioning-configuration", "Status=Enabled")
	look().says(t, "versions", "ok: the bucket has versions, and no rule")
}

// addRule is what a person does by hand.
const addRule = `import json, sys
file, rule = sys.argv[1:]
doc = json.load(open(file))
doc["Rules"].append(json.load(open(rule)))
json.dump(doc, open(file, "w"))`
