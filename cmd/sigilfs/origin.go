package main

import (
	"os"
	"path/filepath"

	"github.com/spf13/pflag"
)

// origin is where settings come from, for when they are read again.
type origin struct {
	base   string         // what relative paths are relative to
	path   string         // of the configuration file, absolute
	ofFile bool           // there is one
	bound  *pflag.FlagSet // whose flags set the fields
	line   *settings      // as the command line had them
	given  []string       // names of flags on the command line
}

// settlePaths makes absolute what is used, or told to others, after the process
// has gone to another directory.
func (s *settings) settlePaths() {
	if s.base == "" {
		s.base = absolute(".")
	}
	for _, name := range awsFiles() {
		if path := os.Getenv(name); path != "" && !filepath.IsAbs(path) {
			_ = os.Setenv(name, filepath.Join(s.base, path)) // a name and a value without zeros
		}
	}
	for _, path := range []*string{&s.cacheDir, &s.stateDir, &s.caBundle, &s.passwdFile, &s.logFile} {
		if *path != "" && !filepath.IsAbs(*path) {
			*path = filepath.Join(s.base, *path)
		}
	}
}

// awsFiles are the variables that name files which the SDK reads again, when
// credentials are refreshed or read anew.
func awsFiles() []string {
	return []string{"AWS_CONFIG_FILE", "AWS_SHARED_CREDENTIALS_FILE", "AWS_WEB_IDENTITY_TOKEN_FILE", "AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE"}
}

// absolute gives path from the root, or as it is where the current directory
// has gone.
func absolute(path string) string {
	if abs, err := filepath.Abs(path); err == nil {
		return abs
	}
	return path
}
