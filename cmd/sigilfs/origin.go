package main

import (
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
	for _, path := range []*string{&s.cacheDir, &s.stateDir, &s.caBundle, &s.logFile} {
		if *path != "" && !filepath.IsAbs(*path) {
			*path = filepath.Join(s.base, *path)
		}
	}
}

// absolute gives path from the root, or as it is where the current directory
// has gone.
func absolute(path string) string {
	if abs, err := filepath.Abs(path); err == nil {
		return abs
	}
	return path
}
