package interop

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/sigilfs/sigilfs/integration/server"
)

// cacheDir is the repository's; tests run in their package's directory.
const cacheDir = "../../.cache"

// cached gives a directory that build filled, at an earlier run if the sources
// were the same then. One process builds while the others wait.
func cached(name string, sources []string, build func(dir string) error) (string, error) {
	sum, err := hash(sources)
	if err != nil {
		return "", err
	}
	cache, err := filepath.Abs(cacheDir)
	if err != nil {
		return "", err
	}
	if err := os.MkdirAll(cache, 0o755); err != nil { //nolint:gosec // a build directory
		return "", err
	}
	unlock, err := server.Lock(filepath.Join(cache, "interop-"+name+".lock"))
	if err != nil {
		return "", err
	}
	defer unlock()
	dir := filepath.Join(cache, "interop-"+name+"-"+sum)
	if _, err := os.Stat(dir); err == nil {
		return dir, nil
	}
	fresh := filepath.Join(cache, "interop-"+name+".new")
	if err := os.RemoveAll(fresh); err != nil { // of a build that was killed
		return "", err
	}
	if err := os.Mkdir(fresh, 0o700); err != nil {
		return "", err
	}
	if err := build(fresh); err != nil {
		return "", errors.Join(fmt.Errorf("build %s: %w", name, err), os.RemoveAll(fresh))
	}
	return dir, os.Rename(fresh, dir)
}

// A build that failed, or was killed, leaves nothing for the next one to find.
func TestCached(t *testing.T) {
	name := "test-" + rand.Text()
	leftovers := func() []string {
		found, err := filepath.Glob(filepath.Join(cacheDir, "interop-"+name+"*"))
		if err != nil {
			t.Fatal(err)
		}
		return found
	}
	t.Cleanup(func() {
		for _, path := range leftovers() {
			_ = os.RemoveAll(path)
		}
	})
	failed := errors.New("no compiler")
	if _, err := cached(name, nil, func(string) error { return failed }); !errors.Is(err, failed) {
		t.Errorf("a build that failed: %v", err)
	}
	if found := leftovers(); len(found) != 1 { // the lock
		t.Errorf("left behind: %q", found)
	}
	killed := filepath.Join(cacheDir, "interop-"+name+".new")
	if err := os.MkdirAll(filepath.Join(killed, "half"), 0o700); err != nil {
		t.Fatal(err)
	}
	build := func(dir string) error { return os.WriteFile(filepath.Join(dir, "whole"), nil, 0o600) }
	dir, err := cached(name, nil, build)
	if err != nil {
		t.Fatal(err)
	}
	if names, err := filepath.Glob(filepath.Join(dir, "*")); err != nil || len(names) != 1 {
		t.Errorf("%q, %v", names, err)
	}
	again, err := cached(name, nil, func(string) error { return failed })
	if err != nil || again != dir || len(leftovers()) != 2 {
		t.Errorf("%s, %v; %q", again, err, leftovers())
	}
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
