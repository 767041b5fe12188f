package integration

import (
	"errors"
	"fmt"
	"net/http"
	"os"
	"strings"
	"sync"
	"testing"

	"github.com/sigilfs/sigilfs/integration/faultproxy"
	"github.com/sigilfs/sigilfs/integration/server"
	"golang.org/x/sys/unix"
)

// What S3 answers of a KMS key that fails it: the errno says which sort of
// trouble it is, never that a file is missing, and the log what to do.
func TestKMSErrorsOfS3(t *testing.T) {
	k := newKeys(t, nil)
	m := newMount(t, mountOptions{
		Proxy: true, Args: []string{"--retry-timeout", "1s", "--attr-timeout", "0s"},
		YAML: func(bucket string) string { return k.yaml(bucket, []string{"mode: sse-kms, key: minio"}) },
	})
	writeFile(t, m.Path("there"), []byte("content"))
	m.Remount(t)
	const arn = "arn:aws:kms:us-east-1:111122223333:key/1234abcd-12ab-34cd-56ef-1234567890ab"
	for _, tt := range []struct {
		status        int
		code, message string
		want          error
		says          []string
	}{
		{400, "KMS.DisabledException", arn + " is disabled.", unix.EKEYREJECTED, []string{arn}},
		{400, "KMS.KMSInvalidStateException", arn + " is pending deletion.", unix.EKEYREJECTED, []string{arn}},
		{400, "KMS.NotFoundException", "Key '" + arn + "' does not exist", unix.ENOKEY, []string{arn}},
		{403, "AccessDenied", "User: arn:aws:iam::1:user/u is not authorized to perform: kms:GenerateDataKey on resource: " + arn + " because no identity-based policy allows it", unix.EACCES, []string{arn, "kms:GenerateDataKey", "grant"}},
		{403, "AccessDenied", "User: arn:aws:iam::1:user/u is not authorized to perform: kms:Decrypt on resource: " + arn + " because no identity-based policy allows it", unix.EACCES, []string{arn, "kms:Decrypt", "grant"}},
		{503, "KMS.ThrottlingException", "You have exceeded the rate at which you may call KMS.", unix.EIO, nil},
	} {
		t.Run(tt.code+" "+strings.Join(tt.says, " "), func(t *testing.T) {
			object := func(r *http.Request) bool {
				return strings.HasSuffix(r.URL.Path, "there") || strings.HasSuffix(r.URL.Path, "new")
			}
			m.proxy.Set(faultproxy.Say(object, tt.status, tt.code, tt.message))
			defer m.proxy.Set(faultproxy.Pass)
			got, err := readAll(m.Path("there"))
			if !errors.Is(err, tt.want) || len(got) != 0 {
				t.Errorf("read: %q, %v, want %v", got, err, tt.want)
			}
			m.WantLog(t, tt.says...)
			onlyWrites := func(r *http.Request) bool { return isPut(r) && strings.HasSuffix(r.URL.Path, "new") }
			m.proxy.Set(faultproxy.Say(onlyWrites, tt.status, tt.code, tt.message))
			if tt.want == unix.EIO {
				return // a commit waits for minutes
			}
			if err := os.WriteFile(m.Path("new"), []byte("new"), 0o644); !errors.Is(err, tt.want) {
				t.Errorf("write: %v, want %v", err, tt.want)
			}
			wantFile(t, m.Path("new"), []byte("new")) // it is kept
			m.proxy.Set(faultproxy.Pass)
			commit(t, m.Path("new"))
			must(t, os.Remove(m.Path("new")))
			wantFile(t, m.Path("there"), []byte("content"))
		})
	}
}

// mountByKMS is a mount in mode client under a key of moto's.
func mountByKMS(t *testing.T, k keys, kms *server.KMS, rule string) *mount {
	t.Helper()
	return newMount(t, mountOptions{
		Env: kms.Env(), Args: []string{"--retry-timeout", "1s", "--attr-timeout", "0s"},
		YAML: func(bucket string) string { return k.yaml(bucket, []string{rule}) },
	})
}

// Ten thousand new files cost one GenerateDataKey, and a mount that reads them
// cold one Decrypt: KMS itself counts.
func TestKMSCallsOfAMount(t *testing.T) {
	kms := server.Moto(t)
	k := newKeys(t, kms)
	m := mountByKMS(t, k, kms, "mode: client, key: cloud")
	const files, dirs, readers = 10_000, 50, 64
	each := func(every int, do func(name string, want []byte) error) {
		t.Helper()
		var wg sync.WaitGroup
		failed := make(chan error, readers)
		for r := range readers {
			wg.Go(func() {
				for i := r * every; i < files; i += readers * every {
					if err := do(m.Path(fmt.Sprintf("d%d/f%d", i%dirs, i)), fmt.Appendf(nil, "content of %d", i)); err != nil {
						failed <- err
						return
					}
				}
			})
		}
		wg.Wait()
		close(failed)
		for err := range failed {
			t.Fatal(err)
		}
	}
	for i := range dirs {
		must(t, os.Mkdir(m.Path(fmt.Sprintf("d%d", i)), 0o755))
	}
	each(1, func(name string, want []byte) error { return os.WriteFile(name, want, 0o644) })
	calls := kms.Calls()
	if calls["GenerateDataKey"] != 1 || calls["Decrypt"] != 0 {
		t.Errorf("%d new files cost %v", files, calls)
	}
	log := m.daemon
	m.Unmount(t)
	if text := log.Log(); !strings.Contains(text, "what this mount asked of KMS") || !strings.Contains(text, "1 GenerateDataKey") {
		t.Errorf("the log does not count:\n%s", text)
	}
	m.state = t.TempDir()
	m.Start(t)
	each(25, func(name string, want []byte) error {
		got, err := os.ReadFile(name)
		if err == nil && string(got) != string(want) {
			err = fmt.Errorf("%s: %q", name, got)
		}
		return err
	})
	if calls := kms.Calls(); calls["Decrypt"] != 1 {
		t.Errorf("a cold mount that reads cost %v", calls)
	}
}

// The key is taken away: what is read afterwards says how.
func TestKMSKeyTakenAway(t *testing.T) {
	kms := server.Moto(t)
	for _, tt := range []struct {
		name string
		do   func(arn string) error
		want error
		says []string
	}{
		{"disabled", func(arn string) error { return kms.Disable(t.Context(), arn) }, unix.EKEYREJECTED, []string{"disabled"}},
		{"scheduled for deletion", func(arn string) error { return kms.ScheduleDeletion(t.Context(), arn) }, unix.EKEYREJECTED, []string{"pending deletion"}},
		{"denied", func(string) error { kms.Fault(server.Deny("Decrypt")); return nil }, unix.EACCES, []string{"kms:Decrypt", "grant"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			k := newKeys(t, kms)
			m := mountByKMS(t, k, kms, "mode: client, key: cloud")
			writeFile(t, m.Path("file"), []byte("content"))
			m.Unmount(t)
			// Another host, that needs no epoch of its own to begin with.
			m.args = append(m.args, "--read-only")
			m.state = t.TempDir()
			must(t, tt.do(k.arn))
			defer kms.Fault(nil)
			m.Start(t)
			got, err := readAll(m.Path("file"))
			if !errors.Is(err, tt.want) || len(got) != 0 {
				t.Errorf("%q, %v, want %v", got, err, tt.want)
			}
			m.WantLog(t, append(tt.says, k.arn)...)
		})
	}
}

// What is wrapped for KMS and for age opens with either: a host without KMS
// reads all of it.
func TestKMSEscrow(t *testing.T) {
	kms := server.Moto(t)
	k := newKeys(t, kms)
	m := mountByKMS(t, k, kms, "mode: client, key: [cloud, escrow]")
	want := content(1, 9<<20)
	must(t, os.Mkdir(m.Path("dir"), 0o755))
	writeFile(t, m.Path("dir/file"), want)
	m.envs = nil
	k.arn = ""
	before := kms.Calls()
	m.Reconfigure(t, k.yaml(m.bucket, []string{"mode: client, key: escrow"}))
	wantFile(t, m.Path("dir/file"), want)
	if after := kms.Calls(); after["Decrypt"] != before["Decrypt"] {
		t.Errorf("KMS was asked: %v", after)
	}
	for _, name := range filesWith(t, m.state, want[:64]) {
		t.Errorf("plaintext in %s", name)
	}
}
