package main

import (
	"crypto/tls"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"
	"github.com/sigilfs/sigilfs/cmd/sigilfs/internal/mountpoint"
	"golang.org/x/sys/unix"
)

func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){"sigilfs": main, "mount.sigilfs": main, "umount.sigilfs": main})
}

// The command line as a person meets it: testdata/script. What mounts is
// tested against real servers in integration/.
func TestScripts(t *testing.T) {
	plain := httptest.NewServer(http.HandlerFunc(refuse))
	t.Cleanup(plain.Close)
	secure := httptest.NewUnstartedServer(http.HandlerFunc(refuse))
	secure.Config.ErrorLog = log.New(io.Discard, "", 0) // handshakes fail on purpose
	secure.TLS = &tls.Config{MinVersion: tls.VersionTLS12}
	secure.StartTLS()
	t.Cleanup(secure.Close)
	closed := closedPort(t)
	testscript.Run(t, testscript.Params{
		Dir:  "testdata/script",
		Cmds: map[string]func(*testscript.TestScript, bool, []string){"exits": exits, "mode": mode},
		Condition: func(cond string) (bool, error) {
			if cond != "fuse" {
				return false, fmt.Errorf("unknown condition %q", cond)
			}
			return mountpoint.Device(false) == nil, nil
		},
		Setup: func(env *testscript.Env) error {
			for name, value := range map[string]string{
				"S3": plain.URL, "S3TLS": secure.URL, "CLOSED": "http://" + closed,
				"UID":               fmt.Sprint(os.Geteuid()),
				"AWS_ACCESS_KEY_ID": "an-id", "AWS_SECRET_ACCESS_KEY": "a-secret-key", "AWS_EC2_METADATA_DISABLED": "true",
				"HOME": env.WorkDir, "NO_PROXY": "127.0.0.1", "XDG_STATE_HOME": filepath.Join(env.WorkDir, "state"),
			} {
				env.Setenv(name, value)
			}
			pemText := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: secure.Certificate().Raw})
			return os.WriteFile(filepath.Join(env.WorkDir, "ca.crt"), pemText, 0o600)
		},
	})
}

// exits runs a command that must end with an exit code: exits CODE COMMAND…
func exits(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: exits CODE COMMAND...")
	}
	err := ts.Exec(args[1], args[2:]...)
	code := 0
	if exit := (*exec.ExitError)(nil); errors.As(err, &exit) {
		code = exit.ExitCode()
	} else if err != nil {
		ts.Fatalf("%v", err)
	}
	if fmt.Sprint(code) != args[0] {
		ts.Fatalf("exit code %d, want %s; stderr: %s", code, args[0], ts.ReadFile("stderr"))
	}
}

// mode checks the permissions of a file: mode FILE OCTAL
func mode(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 2 {
		ts.Fatalf("usage: mode FILE OCTAL")
	}
	info, err := os.Stat(ts.MkAbs(args[0]))
	ts.Check(err)
	if got := fmt.Sprintf("%04o", info.Mode().Perm()); got != args[1] {
		ts.Fatalf("%s has mode %s, want %s", args[0], got, args[1])
	}
}

// refuse answers as S3 does, by the name of the bucket.
func refuse(w http.ResponseWriter, r *http.Request) {
	bucket, _, _ := strings.Cut(strings.TrimPrefix(r.URL.Path, "/"), "/")
	code, status := map[string]string{
		"absent": "NoSuchBucket", "denied": "AccessDenied", "stranger": "InvalidAccessKeyId", "forger": "SignatureDoesNotMatch",
	}[bucket], http.StatusForbidden
	if code == "NoSuchBucket" {
		status = http.StatusNotFound
	}
	w.Header().Set("Content-Type", "application/xml")
	w.WriteHeader(status)
	fmt.Fprintf(w, `<?xml version="1.0"?><Error><Code>%s</Code><Message>no</Message><RequestId>R1</RequestId></Error>`, code)
}

// closedPort is a loopback address where nobody listens: it is taken all the
// same, so that nobody else comes to.
func closedPort(t *testing.T) string {
	t.Helper()
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = unix.Close(fd) })
	err = unix.Bind(fd, &unix.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}})
	if err != nil {
		t.Fatal(err)
	}
	at, err := unix.Getsockname(fd)
	if err != nil {
		t.Fatal(err)
	}
	return fmt.Sprintf("127.0.0.1:%d", at.(*unix.SockaddrInet4).Port)
}
