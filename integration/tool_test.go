package integration

import (
	"context"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"
)

// toolTime bounds one command. None takes a tenth of it on a slow machine; a
// hung mount ends here.
const toolTime = 5 * time.Minute

// A tool runs commands with an environment of its own, whole: nothing of the
// caller's configuration reaches them.
type tool struct {
	t   *testing.T
	dir string   // working directory
	env []string // whole
}

// newTool checks that the program is there. Where CI is set a missing one
// fails the test, elsewhere it skips it.
func newTool(t *testing.T, dir, program string, env ...string) tool {
	t.Helper()
	if _, err := exec.LookPath(program); err != nil {
		if os.Getenv("CI") != "" {
			t.Fatalf("%s is missing, and integration/setup should have installed it", program)
		}
		t.Skipf("%s is missing: run integration/setup", program)
	}
	return tool{t: t, dir: dir, env: append(baseEnv(t), env...)}
}

func baseEnv(t *testing.T) []string {
	t.Helper()
	home := t.TempDir()
	return []string{
		"PATH=/usr/sbin:/usr/bin:/sbin:/bin",
		"HOME=" + home,
		"TMPDIR=" + home,
		"LANG=C.UTF-8",
		"TZ=UTC",
		"AWS_EC2_METADATA_DISABLED=true",
	}
}

// run gives what the command printed, stderr included, and fails the test
// when it fails.
func (c tool) run(argv ...string) string {
	c.t.Helper()
	out, err := c.try(argv...)
	if err != nil {
		c.t.Fatalf("%s: %v\n%s", strings.Join(argv, " "), err, out)
	}
	return out
}

// try is run for a command that may fail.
func (c tool) try(argv ...string) (string, error) {
	c.t.Helper()
	ctx, cancel := context.WithTimeout(c.t.Context(), toolTime)
	defer cancel()
	cmd := exec.CommandContext(ctx, argv[0], argv[1:]...)
	cmd.Dir, cmd.Env = c.dir, c.env
	cmd.WaitDelay = 5 * time.Second // a grandchild may keep the pipe
	out, err := cmd.CombinedOutput()
	return string(out), err
}
