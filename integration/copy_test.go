package integration

import (
	"crypto/sha256"
	"io"
	"net/http"
	"os"
	"testing"

	"github.com/sigilfs/sigilfs/integration/faultproxy"
)

// A copy within the mount moves no data through it, in any mode, and is as well
// encrypted as what is written. SIGILFS_FULL=1 copies a GiB.
func TestCopyMovesNoData(t *testing.T) {
	const most = 1 << 20
	large := int64(300 << 20)
	if os.Getenv("SIGILFS_FULL") != "" {
		large = 1 << 30
	}
	k := newKeys(t, nil)
	for _, c := range []struct {
		mode
		size int64
	}{
		{mode{name: "client", rule: "mode: client, key: main", format: sealed}, large},
		{mode{name: "none", rule: "mode: none"}, 100<<20 + 12345},
		{mode{name: "sse-s3", rule: "mode: sse-s3", algorithm: "AES256"}, 40 << 20},
		{mode{name: "sse-kms", rule: "mode: sse-kms, key: minio", algorithm: "aws:kms"}, 40 << 20},
		{mode{name: "sse-c", rule: "mode: sse-c, key: c3", algorithm: "SSE-C", customer: 3}, 40 << 20},
		{mode{name: "s3ec", rule: "mode: s3ec, key: s3ec", format: s3ecV3}, 40<<20 + 1},
	} {
		t.Run(c.name, func(t *testing.T) {
			m := newMount(t, mountOptions{Proxy: true, YAML: func(bucket string) string { return k.yaml(bucket, []string{c.rule}) }})
			f, err := os.Create(m.Path("big"))
			must(t, err)
			_, err = io.Copy(f, io.LimitReader(stream(7), c.size))
			must(t, err)
			must(t, f.Close())
			through := faultproxy.NewMeter(func(*http.Request) bool { return true })
			m.proxy.Set(through.Fault)
			cp := newTool(t, m.Dir(), "cp")
			cp.run("cp", "big", "copy")
			cp.run("cp", "--preserve=mode,timestamps", "big", "again")
			cp.run("cp", "copy", "big") // over what is there
			if got := through.Take(); got.Sent > most || got.Received > most {
				t.Errorf("three copies sent %d bytes and received %d", got.Sent, got.Received)
			} else {
				t.Logf("three copies of %d bytes sent %d bytes and received %d", c.size, got.Sent, got.Received)
			}
			m.proxy.Set(faultproxy.Pass)
			want := newObserver(t, m.bucket, k)
			original := want.headByAWS(m.Key("copy"), c.customer)
			for _, name := range []string{"big", "copy", "again"} {
				h := want.headByAWS(m.Key(name), c.customer)
				algorithm := h.ServerSideEncryption
				if h.SSECustomerAlgorithm != "" {
					algorithm = "SSE-C"
				}
				if algorithm != c.algorithm || h.ContentLength != original.ContentLength || h.ContentLength < c.size {
					t.Errorf("%s: %d bytes encrypted as %q, want %q", name, h.ContentLength, algorithm, c.algorithm)
				}
			}
			m.Remount(t)
			h := sha256.New()
			_, err = io.Copy(h, io.LimitReader(stream(7), c.size))
			must(t, err)
			for _, name := range []string{"copy", "again", "big"} {
				got, err := sumFile(m.Path(name))
				must(t, err)
				if got != sum(h.Sum(nil)) {
					t.Errorf("%s differs", name)
				}
				must(t, os.Remove(m.Path(name))) // the servers' disk is small
			}
		})
	}
}

// A copy that is changed before it is closed, and one into another mode, are
// what cp and dd make anywhere.
func TestCopyAndChange(t *testing.T) {
	k := newKeys(t, nil)
	modes := []mode{{name: "client", rule: "mode: client, key: main"}, {name: "none", rule: "mode: none"}}
	m := newMount(t, mountOptions{YAML: func(bucket string) string { return k.yaml(bucket, rules(modes)) }})
	for _, x := range modes {
		must(t, os.MkdirAll(m.Path(x.name), 0o755))
	}
	text := content(3, 20<<20)
	writeFile(t, m.Path("client/a"), text)
	run := newTool(t, m.Dir(), "cp").run
	run("cp", "client/a", "none/a")
	run("cp", "none/a", "client/b")
	run("dd", "if=/dev/zero", "of=client/b", "bs=1M", "count=1", "seek=9", "conv=notrunc", "status=none")
	run("cp", "client/b", "none/b")
	m.Remount(t)
	changed := append([]byte{}, text...)
	clear(changed[9<<20 : 10<<20])
	for name, want := range map[string][]byte{"client/a": text, "none/a": text, "client/b": changed, "none/b": changed} {
		got, err := os.ReadFile(m.Path(name))
		must(t, err)
		if string(got) != string(want) {
			t.Errorf("%s differs", name)
		}
	}
}
