package interop

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"

	"github.com/sigilfs/sigilfs/integration/server"
)

// cacheDir is the repository's; tests run in their package's directory.
const cacheDir = "../../.cache"

// cached gives a directory that build filled, at an earlier run if the sources
// were the same then. Whoever builds it at the same time builds the same.
func cached(name string, sources []string, build func(dir string) error) (string, error) {
	sum, err := hash(sources)
	if err != nil {
		return "", err
	}
	cache, err := filepath.Abs(cacheDir)
	if err != nil {
		return "", err
	}
	dir := filepath.Join(cache, "interop-"+name+"-"+sum)
	if _, err := os.Stat(dir); err == nil {
		return dir, nil
	}
	if err := os.MkdirAll(cache, 0o755); err != nil { //nolint:gosec // a build directory
		return "", err
	}
	fresh, err := os.MkdirTemp(cache, "interop-"+name+"-new-")
	if err != nil {
		return "", err
	}
	if err := build(fresh); err != nil {
		return "", errors.Join(fmt.Errorf("build %s: %w", name, err), os.RemoveAll(fresh))
	}
	if err := os.Rename(fresh, dir); err != nil && !errors.Is(err, fs.ErrExist) {
		return "", err
	}
	return dir, nil
}

// hash is of names and contents, in the order given.
func hash(files []string) (string, error) {
	h := sha256.New()
	for _, name := range files {
		b, err := os.ReadFile(name)
		if err != nil {
			return "", err
		}
		_, _ = fmt.Fprintf(h, "%s %d\n%s", name, len(b), b)
	}
	return hex.EncodeToString(h.Sum(nil))[:12], nil
}

// java fetches the client of the profile with what it needs, compiles our
// sources against it, and gives the command line to run them.
func java(ctx context.Context, profile string) ([]string, error) {
	sources, err := glob("java/common/*.java", "java/"+profile+"/*.java")
	if err != nil {
		return nil, err
	}
	dir, err := cached("java-"+profile, append(sources, "java/pom.xml"), func(dir string) error {
		err := run(ctx, "mvn", "-q", "-B", "-f", "java/pom.xml", "-P", profile, "dependency:copy-dependencies",
			"-DincludeScope=runtime", "-DoutputDirectory="+filepath.Join(dir, "lib"))
		if err != nil {
			return err
		}
		return run(ctx, "javac", append([]string{
			"-nowarn", "-Xlint:none",
			"-d", filepath.Join(dir, "classes"), "-cp", filepath.Join(dir, "lib", "*"),
		}, sources...)...)
	})
	// Half a minute of work: the quick compiler and the small collector do.
	return []string{
		"java", "-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC", "-Xmx512m",
		"-cp", filepath.Join(dir, "classes") + ":" + filepath.Join(dir, "lib", "*"), "Main",
	}, err
}

// python makes a virtual environment with the client.
func python(ctx context.Context) ([]string, error) {
	pins, err := os.ReadFile("python/requirements.txt")
	if err != nil {
		return nil, err
	}
	venv, err := server.Venv(ctx, "interop-python", string(pins))
	if err != nil {
		return nil, err
	}
	main, err := filepath.Abs("python/main.py")
	return []string{filepath.Join(venv, "bin", "python"), main}, err
}

func glob(patterns ...string) (files []string, err error) {
	for _, p := range patterns {
		found, err := filepath.Glob(p)
		if err != nil {
			return nil, err
		}
		files = append(files, found...)
	}
	return files, nil
}

func run(ctx context.Context, name string, args ...string) error {
	if out, err := exec.CommandContext(ctx, name, args...).CombinedOutput(); err != nil {
		return fmt.Errorf("%s: %w: %s", name, err, out)
	}
	return nil
}
