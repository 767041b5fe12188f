package mountargs

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestParseUmount(t *testing.T) {
	for line, want := range map[string]UmountCall{
		"/mnt":                        {Dir: "/mnt"},
		"/mnt -flnrv":                 {Dir: "/mnt", Force: true, Lazy: true, ReadOnly: true, Verbose: true},
		"-t fuse.sigilfs -N /ns /mnt": {Dir: "/mnt", Type: "fuse.sigilfs", Namespace: "/ns"},
		"-vtfuse.sigilfs -- -odd":     {Dir: "-odd", Type: "fuse.sigilfs", Verbose: true},
		"-h":                          {Help: true},
		"-V":                          {Version: true},
	} {
		got, err := ParseUmount(strings.Fields(line))
		if err != nil {
			t.Errorf("%s: %v", line, err)
		}
		if d := cmp.Diff(want, got); d != "" {
			t.Errorf("%s: %s", line, d)
		}
	}
	for line, says := range map[string]string{
		"":        ErrDir.Error(),
		"/a /b":   ErrDir.Error(),
		"/mnt -o": "unknown flag -o; an umount helper takes",
		"/mnt -t": "-t needs a value",
	} {
		if _, err := ParseUmount(strings.Fields(line)); err == nil || !strings.Contains(err.Error(), says) {
			t.Errorf("%q: %v, want %q", line, err, says)
		}
	}
}
