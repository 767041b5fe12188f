package main

import (
	"net/url"
	"os"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/sigilfs/sigilfs/cmd/sigilfs/internal/option"
)

// settings are what the command line of mount says. Zero values are explained
// at the flags.
type settings struct {
	target option.Target
	dir    string // mountpoint, as given

	encryption     string
	keys, alsoKeys []string // sources
	stateKey       string   // source

	endpoint, region, profile, caBundle     string
	pathStyle, insecure, anonymous, payer   bool
	bucketOwner, storageClass, volumeRoot   string
	retryTimeout, stopTimeout, attrTimeout  time.Duration
	keyRecheck                              time.Duration
	stateDir                                string
	spoolSize, memoryLimit, cacheSize       int64
	uid, gid                                uint32
	dirMode, fileMode                       uint32
	onConflict                              string
	renameDirLimit                          int
	readOnly, allowOther, dev, suid, noExec bool
	foreground, debug                       bool
	logFormat                               string
	rootGiven                               bool // --volume-root was
}

// Defaults of the flags.
const (
	defaultMemory      = 512 << 20
	leastMemory        = 128 << 20 // segments under way, buffers and the program itself
	defaultCache       = 64 << 20
	defaultRetry       = time.Minute
	defaultStop        = 4 * time.Minute
	defaultAttrTimeout = time.Second
	defaultKeyRecheck  = 5 * time.Minute
)

func defaultSettings() *settings {
	return &settings{
		retryTimeout: defaultRetry, stopTimeout: defaultStop, attrTimeout: defaultAttrTimeout,
		keyRecheck:  defaultKeyRecheck,
		memoryLimit: defaultMemory, cacheSize: defaultCache,
		uid: uint32(os.Getuid()), gid: uint32(os.Getgid()), dirMode: 0o755, fileMode: 0o644,
		onConflict: "copy", logFormat: "text",
	}
}

// modes are all that the field knows; client is the one that works here.
func modes() []string {
	return []string{"client", "none", "bucket-default", "sse-s3", "sse-kms", "dsse-kms", "sse-c", "s3ec"}
}

// check finds what does not fit together, before anything is touched.
func (s *settings) check() error {
	if err := s.checkEncryption(); err != nil {
		return err
	}
	if err := s.checkRoot(); err != nil {
		return err
	}
	if err := s.checkSources(); err != nil {
		return err
	}
	if u, err := url.Parse(s.endpoint); s.endpoint != "" && (err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" || u.User != nil) {
		return usageError("--endpoint-url is not a URL of the form https://host:port")
	}
	switch {
	case !s.foreground:
		return usageError("this version runs in the foreground only: add -f (and & or a service of your own)")
	case s.memoryLimit < leastMemory:
		return usageError("--memory-limit is under %dMiB, the least that works", leastMemory>>20)
	case s.renameDirLimit < 0:
		return usageError("--rename-dir-limit is negative; 0 is no limit")
	case s.stopTimeout == 0 || s.retryTimeout == 0:
		return usageError("--retry-timeout and --stop-timeout must be above 0")
	case s.logFormat != "text" && s.logFormat != "json":
		return usageError("--log-format is not text or json")
	case !slices.Contains([]string{"copy", "fail", "overwrite"}, s.onConflict):
		return usageError("--on-conflict is not copy, fail or overwrite")
	case slices.Contains([]string{"GLACIER", "DEEP_ARCHIVE"}, strings.ToUpper(s.storageClass)):
		return usageError("--storage-class %s: objects in it cannot be read back without a restore, so a filesystem cannot live there", s.storageClass)
	}
	return nil
}

func (s *settings) checkEncryption() error {
	switch {
	case s.encryption == "":
		return usageError(`--encryption is missing, and nothing is mounted without saying how it is encrypted; the two shortest ways on:
    sigilfs keygen -o main.key
    sigilfs mount --encryption client --key file:main.key %[1]s %[2]s -f
or, on a host that may write but not read, with the recipient of somebody's age key:
    sigilfs mount --encryption client --key age:RECIPIENT %[1]s %[2]s -f`, s.target.Spec, s.dir)
	case s.encryption != "client" && slices.Contains(modes(), s.encryption):
		return usageError("mode %s is not supported by this version; write --encryption client", s.encryption)
	case s.encryption != "client":
		return usageError("--encryption %s is no mode; write --encryption client", s.encryption)
	case len(s.keys) == 0:
		return usageError("--encryption client needs --key, such as --key file:main.key; sigilfs keygen -o main.key makes one")
	}
	return nil
}

// schemeName is what may be shown of a key source that is none: a key given by
// mistake does not look so.
var schemeName = regexp.MustCompile(`^[a-z-]{1,20}$`)

// checkSources finds sources of no known kind.
func (s *settings) checkSources() error {
	for flag, list := range map[string][]string{"--key": s.keys, "--also-key": s.alsoKeys, "--state-key": {s.stateKey}} {
		for _, spec := range list {
			scheme, _, named := strings.Cut(spec, ":")
			switch {
			case spec == "" && flag == "--state-key":
			case named && slices.Contains([]string{"file", "env", "credential", "command", "age"}, scheme):
			case named && scheme == "kms":
				return usageError("%s kms: is not supported by this version; write file:PATH, env:NAME, credential:NAME, command:COMMAND or age:RECIPIENT", flag)
			case named && schemeName.MatchString(scheme):
				return usageError("%s %s: is no kind of source; write file:PATH, env:NAME, credential:NAME, command:COMMAND or age:RECIPIENT", flag, scheme)
			default:
				return usageError("%s takes the place of a key, never a key itself; write file:PATH, env:NAME, credential:NAME, command:COMMAND or age:RECIPIENT", flag)
			}
		}
	}
	return nil
}

// checkRoot settles where .sigil/ lies: the mount's own prefix unless told.
func (s *settings) checkRoot() error {
	if !s.rootGiven {
		s.volumeRoot = s.target.Prefix
		return nil
	}
	root, err := option.Prefix(strings.TrimPrefix(s.volumeRoot, "/"))
	if err != nil {
		return usageError("--volume-root: %w", err)
	}
	if !strings.HasPrefix(s.target.Prefix, root) {
		return usageError("--volume-root %s does not contain %s: the mount must lie in its volume", root, s.target.Spec)
	}
	s.volumeRoot = root
	return nil
}
