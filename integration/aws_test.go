package integration

import (
	"testing"
)

// awsCLI is Debian's package: another aws may come first in PATH.
const awsCLI = "/usr/bin/aws"

// An aws is AWS's own command line on MinIO.
type aws struct{ tool }

func newAWS(t *testing.T) aws {
	t.Helper()
	s3 := minioServer(t)
	env := append(s3.env(), "AWS_CA_BUNDLE="+s3.CAFile, "AWS_PAGER=")
	return aws{newTool(t, t.TempDir(), awsCLI, env...)}
}

func (c aws) run(args ...string) string {
	c.t.Helper()
	return c.tool.run(append([]string{awsCLI, "--endpoint-url", minioServer(c.t).URL, "--output", "json"}, args...)...)
}
