package integration

import (
	"bytes"
	"cmp"
	"errors"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/sigilfs/sigilfs/integration/faultproxy"
	"github.com/sigilfs/sigilfs/integration/server"
)

// asks chooses questions about the bucket itself.
func asks(what string) faultproxy.Match {
	return func(r *http.Request) bool { return r.Method == http.MethodGet && r.URL.Query().Has(what) }
}

// Each permission that is missing is named by the check that needs it, and what
// was tried is taken away all the same.
func TestDoctorNamesThePermission(t *testing.T) {
	m := newMount(t, mountOptions{Proxy: true})
	look := func() diagnosis { return diagnose(t, m.env(t), append([]string{m.target()}, m.config(t).Args...)...) }
	parts := func(method string) faultproxy.Match {
		return func(r *http.Request) bool { return r.Method == method && r.URL.Query().Has("uploadId") }
	}
	before := newClient(t, m.bucket).keys(m.Key(""))
	for _, tc := range []struct {
		check, status, permission string
		match                     faultproxy.Match
	}{
		{"policy", "warning", "s3:GetBucketPolicy", asks("policy")},
		{"public", "warning", "s3:GetBucketPublicAccessBlock", asks("publicAccessBlock")},
		{"lock", "warning", "s3:GetBucketObjectLockConfiguration", asks("object-lock")},
		{"default", "warning", "s3:GetEncryptionConfiguration", asks("encryption")},
		{"lifecycle", "warning", "s3:GetLifecycleConfiguration", asks("lifecycle")},
		{"versions", "warning", "s3:GetBucketVersioning", asks("versioning")},
		{"uploads", "warning", "s3:ListBucketMultipartUploads", asks("uploads")},
		{"tagging", "warning", "s3:GetObjectTagging", asks("tagging")},
		{"tagging", "warning", "s3:PutObjectTagging", func(r *http.Request) bool { return r.Header.Get("X-Amz-Tagging") != "" }},
		{"multipart", "warning", "s3:AbortMultipartUpload", parts(http.MethodDelete)},
		{"bucket", "failure", "s3:ListBucket", asks("list-type")},
		{"write", "failure", "s3:PutObject", func(r *http.Request) bool {
			return r.Method == http.MethodPut && !r.URL.Query().Has("partNumber") && r.Header.Get("X-Amz-Copy-Source") == ""
		}},
		{"write", "warning", "s3:GetObject", func(r *http.Request) bool {
			return r.Method == http.MethodGet && strings.Contains(r.URL.Path, "/.sigil/doctor/") && !r.URL.Query().Has("tagging")
		}},
	} {
		t.Run(tc.permission, func(t *testing.T) {
			m.proxy.Set(faultproxy.Reply(tc.match, http.StatusForbidden, "AccessDenied"))
			defer m.proxy.Set(faultproxy.Pass)
			for _, c := range look().Checks {
				if c.Check == tc.check && (c.Status != tc.status || !strings.Contains(c.Text+c.Remedy, tc.permission)) {
					t.Errorf("%+v", c)
				}
			}
			if after := newClient(t, m.bucket).keys(m.Key("")); !slices.Equal(before, after) {
				t.Errorf("the bucket has %q, and had %q", after, before)
			}
		})
	}
}

// Ctrl-C in the middle leaves nothing in the bucket.
func TestDoctorInterrupted(t *testing.T) {
	m := newMount(t, mountOptions{Proxy: true})
	for name, match := range map[string]faultproxy.Match{
		"part": func(r *http.Request) bool {
			return r.URL.Query().Has("partNumber") && r.Header.Get("X-Amz-Copy-Source") == ""
		},
		"tag": func(r *http.Request) bool { return r.Header.Get("X-Amz-Tagging") != "" },
		"get": func(r *http.Request) bool {
			return r.Method == http.MethodGet && strings.Contains(r.URL.Path, "/.sigil/doctor/")
		},
	} {
		t.Run(name, func(t *testing.T) {
			gate := faultproxy.NewGate(match, 0, faultproxy.After)
			m.proxy.Set(gate.Fault)
			defer m.proxy.Set(faultproxy.Pass)
			defer gate.Drop()
			cmd := exec.CommandContext(t.Context(), binary(t), append([]string{"doctor", m.target()}, m.config(t).Args...)...)
			var out bytes.Buffer
			cmd.Env, cmd.Stdout, cmd.Stderr = m.env(t), &out, &out
			must(t, cmd.Start())
			arrives(t, gate)
			must(t, cmd.Process.Signal(syscall.SIGINT))
			gate.Drop()
			if err := cmd.Wait(); err == nil || !strings.Contains(out.String(), "interrupted") {
				t.Errorf("%v; it says\n%s", err, &out)
			}
			client := newClient(t, m.bucket)
			if keys := client.keys(m.Key(".sigil/doctor/")); len(keys) != 0 {
				t.Errorf("left behind: %q", keys)
			}
		})
	}
}

// A volume lives in a bucket with Object Lock: each write brings what that asks
// for, also where checksums are off, and what is removed stays as a version.
func TestObjectLock(t *testing.T) {
	srv := shared(t)
	for name, env := range map[string][]string{"": nil, "without checksums": {"AWS_REQUEST_CHECKSUM_CALCULATION=when_required"}} {
		t.Run(cmp.Or(name, "as it is"), func(t *testing.T) {
			bucket := strings.ToLower(server.Bucket(t, srv) + "-locked")
			must(t, srv.MakeLockedBucket(t.Context(), bucket))
			m := newMount(t, mountOptions{Bucket: bucket, Proxy: true, Env: env})
			m.proxy.Set(faultproxy.Say(func(r *http.Request) bool { // MinIO does not ask; AWS does
				return r.Method == http.MethodPut && r.Header.Get("X-Amz-Copy-Source") == "" &&
					r.Header.Get("Content-Md5") == "" && r.Header.Get("X-Amz-Trailer") == "" && r.Header.Get("X-Amz-Checksum-Crc64nvme") == ""
			}, http.StatusBadRequest, "InvalidRequest", "Content-MD5 OR x-amz-checksum- HTTP header is required for Put Object requests with Object Lock parameters"))
			small, large := []byte("small"), content(1, 2*segment+4000)
			for range 2 { // overwritten once
				writeFile(t, m.Path("small"), small)
				writeFile(t, m.Path("large"), large)
			}
			must(t, os.Rename(m.Path("small"), m.Path("moved")))
			must(t, os.Mkdir(m.Path("dir"), 0o755))
			if err := os.Remove(m.Path("dir")); !errors.Is(err, syscall.EACCES) { // MinIO keeps no versions of such keys
				t.Errorf("rmdir: %v", err)
			}
			m.WantLog(t, "an object lock keeps it")
			must(t, os.Remove(m.Path("large")))
			m.Remount(t)
			wantFile(t, m.Path("moved"), small)
			if names, _ := filepath.Glob(m.Path("*")); len(names) != 2 {
				t.Errorf("there are %q", names)
			}
			d := diagnose(t, m.env(t), append([]string{m.target()}, m.config(t).Args...)...)
			d.says(t, "lock", "ok: ", "1 day (governance)")
			d.says(t, "versions", "ok: ")
			d.says(t, "write", "ok: ")
		})
	}
}
