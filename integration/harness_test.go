package integration

import (
	"os"
	"path/filepath"
	"testing"
)

// awsCLI is AWS's command line as Debian has it: another aws may come first in
// PATH.
const awsCLI = "/usr/bin/aws"

// The two other clients and the proxy agree about a bucket: what the tests of
// the binary conclude from them can be believed.
func TestOtherClientsAgree(t *testing.T) {
	onMount(t)
	bucket := newBucket(t)
	s3 := minioServer(t)
	newProxy(t, &s3)
	cli := newTool(t, t.TempDir(), awsCLI, append(s3.env(), "AWS_CA_BUNDLE="+s3.CAFile)...)
	want := object{Body: content(1, 100_000), Metadata: map[string]string{"mode": "x+y/z="}}
	file := filepath.Join(t.TempDir(), "body")
	must(t, os.WriteFile(file, want.Body, 0o600))
	cli.run(awsCLI, "--endpoint-url", s3.URL, "s3", "cp", file, "s3://"+bucket+"/dir/a b", "--metadata", "mode=x+y/z=")
	c := newClient(t, bucket)
	got := c.get("dir/a b")
	if string(got.Body) != string(want.Body) || len(got.Metadata) != 1 || got.Metadata["mode"] != want.Metadata["mode"] {
		t.Errorf("%d bytes, metadata %v", len(got.Body), got.Metadata)
	}
	c.put("copy", got)
	if keys := c.keys(""); len(keys) != 2 || keys[0] != "copy" {
		t.Errorf("keys %q", keys)
	}
	if found := filesWith(t, filepath.Join(s3.Dir, bucket), want.Body[:40]); len(found) == 0 {
		t.Error("small bodies are not to be found in the raw directory")
	}
}
