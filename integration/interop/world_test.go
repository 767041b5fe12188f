package interop

import (
	"context"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/base64"
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/s3"

	"github.com/sigilfs/sigilfs/integration/server"
	"github.com/sigilfs/sigilfs/internal/keyring/kms"
)

const bucket = "interop"

// patience bounds everything.
const patience = 8 * time.Minute

// world is what all tests share, made by TestMain.
var world universe

type universe struct {
	s3      *s3.Client
	secrets map[string][2]string // by keyring: the one written with, and a wrong one
	sigilfs implementation       // package s3ec by itself
	mount   implementation       // the built program
	aws     []implementation
	tally   tally
}

// newest is AWS's client that can do the most.
func (u *universe) newest() implementation {
	return u.aws[slices.IndexFunc(u.aws, func(i implementation) bool { return i.name == "java-v4" })]
}

// readers are all that can read by such a config.
func (u *universe) readers(c config) []implementation {
	return slices.DeleteFunc(append([]implementation{u.sigilfs}, u.aws...), func(i implementation) bool {
		return !u.tally.can(i, c, false)
	})
}

func TestMain(m *testing.M) {
	code, err := runAll(context.Background(), m)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		code = max(code, 1)
	}
	os.Exit(code)
}

func runAll(ctx context.Context, m *testing.M) (code int, err error) {
	// A client that hangs is ended in order, before go test's patience is.
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	dir, err := os.MkdirTemp("", "sigilfs-interop-")
	if err != nil {
		return 1, err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	minio, err := server.MinIO(ctx, filepath.Join(dir, "minio"))
	if err != nil {
		return 1, err
	}
	defer func() { err = errors.Join(err, minio.Close()) }()
	if err := minio.MakeBucket(ctx, bucket); err != nil {
		return 1, err
	}
	world.s3 = minio.Client()
	keys, err := server.StartMoto(ctx, filepath.Join(dir, "moto"))
	if err != nil {
		return 1, err
	}
	defer func() { err = errors.Join(err, keys.Close()) }()
	if world.secrets, err = secrets(ctx, keys); err != nil {
		return 1, err
	}
	ourKMS, err := startOurs(ctx, minio, keys.URL)
	if err != nil {
		return 1, err
	}
	defer func() { err = errors.Join(err, ourKMS.Close()) }()
	volume, err := mount(ctx, filepath.Join(dir, "mount"), minio, keys)
	if err != nil {
		return 1, err
	}
	defer func() {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Minute)
		defer cancel()
		err = errors.Join(err, volume.End(ctx))
	}()
	world.mount = mountOf(volume)
	env := append(append(minio.Env(), keys.Env()...), "INTEROP_BUCKET="+bucket)
	ended, err := startClients(ctx, dir, env)
	if err != nil {
		return 1, errors.Join(err, ended())
	}
	defer func() { err = errors.Join(err, ended()) }()
	world.tally = tally{rows: map[row]int{}, lacks: map[string]bool{}}
	code = m.Run()
	world.tally.print(os.Stdout)
	if flag.Lookup("test.run").Value.String() == "" && flag.Lookup("test.skip").Value.String() == "" {
		err = world.tally.missing()
	}
	return code, err
}

// startOurs fills world.sigilfs. The credentials of KMS are the environment's.
func startOurs(ctx context.Context, minio *server.Server, url string) (*kms.Client, error) {
	for _, set := range minio.Env() {
		name, value, _ := strings.Cut(set, "=")
		if err := os.Setenv(name, value); err != nil {
			return nil, err
		}
	}
	client, err := kms.New(ctx, kms.Config{Region: minio.Region, Endpoint: url})
	if err != nil {
		return nil, err
	}
	world.sigilfs = sigilfs(ours{client})
	return client, nil
}

// startClients fills world.aws; end ends those that were started.
func startClients(ctx context.Context, dir string, env []string) (end func() error, err error) {
	var started []*client
	end = func() (err error) {
		for _, c := range started {
			err = errors.Join(err, c.close())
		}
		return err
	}
	for _, one := range []struct {
		name   string
		argv   func(context.Context) ([]string, error)
		become func(party) implementation
	}{
		{"java-v3", func(ctx context.Context) ([]string, error) { return java(ctx, "v3") }, javaV3},
		{"java-v4", func(ctx context.Context) ([]string, error) { return java(ctx, "v4") }, javaV4},
		{"python-v4", python, pythonV4},
	} {
		argv, err := one.argv(ctx)
		if err != nil {
			return end, err
		}
		c, err := start(ctx, filepath.Join(dir, one.name), env, argv)
		if err != nil {
			return end, fmt.Errorf("start %s: %w", one.name, err)
		}
		started = append(started, c)
		world.aws = append(world.aws, one.become(c))
	}
	return end, nil
}

// secrets makes two keys of every kind.
func secrets(ctx context.Context, keys *server.KMS) (map[string][2]string, error) {
	all := map[string][2]string{}
	for keyring, generate := range map[string]func() (string, error){
		"kms": func() (string, error) { return keys.Key(ctx, "") },
		"aes": func() (string, error) {
			b := make([]byte, 32)
			_, _ = rand.Read(b) // it never fails (crypto/rand)
			return base64.StdEncoding.EncodeToString(b), nil
		},
		"rsa": func() (string, error) {
			key, err := rsa.GenerateKey(rand.Reader, 2048)
			if err != nil {
				return "", err
			}
			der, err := x509.MarshalPKCS8PrivateKey(key)
			return base64.StdEncoding.EncodeToString(der), err
		},
	} {
		right, err := generate()
		if err != nil {
			return nil, err
		}
		wrong, err := generate()
		if err != nil {
			return nil, err
		}
		all[keyring] = [2]string{right, wrong}
	}
	return all, nil
}
