package awsclient

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"golang.org/x/sys/unix"
)

// passwdSource is what credentials of a passwd file say that they are from.
const passwdSource = "passwd-file"

// maxPasswd bounds the file, in bytes.
const maxPasswd = 64 << 10

// passwd gives the credentials of a file as s3fs has it (s3fs(1),
// "AUTHENTICATION"). It reads the file each time that a chain is built.
func passwd(path, bucket string) aws.CredentialsProvider {
	return aws.CredentialsProviderFunc(func(context.Context) (aws.Credentials, error) {
		text, err := readPasswd(path)
		if err != nil {
			return aws.Credentials{}, fmt.Errorf("passwd file: %w", err)
		}
		found, err := parsePasswd(text, bucket)
		if err != nil {
			return aws.Credentials{}, fmt.Errorf("passwd file: %s: %w", path, err)
		}
		return found, nil
	})
}

func readPasswd(path string) (string, error) {
	f, err := os.OpenFile(path, os.O_RDONLY|unix.O_NONBLOCK, 0) // a pipe is not waited for
	if err != nil {
		return "", err
	}
	defer f.Close()
	info, err := f.Stat()
	switch {
	case err != nil:
		return "", err
	case !info.Mode().IsRegular():
		return "", fmt.Errorf("%s is no regular file", path)
	case info.Mode().Perm()&0o037 != 0:
		return "", fmt.Errorf("%s has mode %04o, and others may use it; chmod 600 %s (or 640)", path, info.Mode().Perm(), path)
	}
	text, err := io.ReadAll(io.LimitReader(f, maxPasswd+1))
	if err == nil && len(text) > maxPasswd {
		err = fmt.Errorf("%s is longer than %d bytes", path, maxPasswd)
	}
	return string(text), err
}

// parsePasswd reads lines of
//
//	ACCESSKEYID:SECRETACCESSKEY         for any bucket
//	BUCKET:ACCESSKEYID:SECRETACCESSKEY  for that one, which goes before
//
// and empty ones, and those that begin with "#". Errors repeat nothing.
func parsePasswd(text, bucket string) (aws.Credentials, error) {
	var found, common aws.Credentials
	n := 0
	for line := range strings.Lines(text) {
		n++
		line = strings.TrimSpace(line)
		if line == "" || line[0] == '#' {
			continue
		}
		if line[0] == '[' {
			return aws.Credentials{}, errors.New("it is of AWS's own form: name it by AWS_SHARED_CREDENTIALS_FILE, and leave passwd_file out")
		}
		words := strings.Split(line, ":")
		into := &common
		if len(words) == 3 && words[0] != "" {
			into = &found
			if words[0] != bucket {
				into = new(aws.Credentials)
			}
			words = words[1:]
		}
		if len(words) != 2 || words[0] == "" || words[1] == "" || strings.ContainsAny(line, " \t") {
			return aws.Credentials{}, fmt.Errorf("line %d is not ACCESSKEYID:SECRETACCESSKEY, nor that with BUCKET: before it", n)
		}
		if into.HasKeys() {
			return aws.Credentials{}, fmt.Errorf("line %d gives keys for what has some already", n)
		}
		*into = aws.Credentials{AccessKeyID: words[0], SecretAccessKey: words[1], Source: passwdSource}
	}
	switch {
	case found.HasKeys():
		return found, nil
	case common.HasKeys():
		return common, nil
	}
	return aws.Credentials{}, fmt.Errorf("no line is for the bucket %q, or for any", bucket)
}
