package main

import (
	"os"
	"strings"

	"github.com/sigilfs/sigilfs/cmd/sigilfs/internal/option"
	"github.com/sigilfs/sigilfs/internal/config"
	"github.com/spf13/pflag"
)

// open reads what is to be mounted: a bucket, or the file that configures it.
// Flags that were given stand above the file.
func (s *settings) open(source string, flags *pflag.FlagSet) error {
	if s.source == "" { // else it is read again
		s.source = source
	}
	if isFile(source) {
		s.remember(source, flags)
		return s.openFile(source, flags)
	}
	target, err := option.ParseTarget(option.HostForm(source))
	if err != nil {
		return usageError("%w", err)
	}
	s.target = target
	s.rootGiven = flags.Changed("volume-root")
	return nil
}

// isFile tells a configuration file from a bucket, by its name or its being
// there.
func isFile(source string) bool {
	if strings.HasPrefix(source, "s3://") || strings.HasPrefix(source, "arn:") {
		return false
	}
	if strings.HasSuffix(source, ".yaml") || strings.HasSuffix(source, ".yml") {
		return true
	}
	info, err := os.Stat(source)
	return err == nil && info.Mode().IsRegular()
}

// remember keeps what the command line said, before the file is read.
func (s *settings) remember(path string, flags *pflag.FlagSet) {
	s.ofFile, s.path = true, absolute(path)
	line := *s
	s.line, s.given = &line, nil
	flags.Visit(func(f *pflag.Flag) { s.given = append(s.given, f.Name) })
}

func (s *settings) openFile(path string, flags *pflag.FlagSet) error {
	file, err := config.Read(path)
	if err != nil {
		return s.explainPolicy(err)
	}
	if file.Bucket.Value == "" {
		return usageError("%s: bucket is missing; write bucket: s3://NAME/PREFIX", path)
	}
	if s.target, err = option.ParseTarget(file.Bucket.Value); err != nil {
		return usageError("%s: %w", file.Bucket.At, err)
	}
	s.policy = file.Policy
	s.allowGiven, s.requireGiven = flags.Changed("allow-plaintext"), flags.Changed("require-encryption")
	s.places = map[string]config.Place{}
	for _, set := range file.Settings {
		if err := s.take(set, flags); err != nil {
			return err
		}
	}
	s.rootGiven = flags.Changed("volume-root")
	return nil
}

// take sets a flag that was not given.
func (s *settings) take(set config.Setting, flags *pflag.FlagSet) error {
	f := flags.Lookup(set.Name)
	if f == nil { // a field without a flag: tests see to it that there is none
		return usageError("%s: %s is not supported by this version", set.At, set.Name)
	}
	if f.Changed {
		return nil
	}
	if err := flags.Set(set.Name, set.Value); err != nil {
		return usageError("%s: %s: %w", set.At, set.Name, valueless(err))
	}
	s.places[set.Name] = set.At
	return nil
}
