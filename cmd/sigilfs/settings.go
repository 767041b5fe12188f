package main

import (
	"net/url"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/sigilfs/sigilfs/cache/disk"
	"github.com/sigilfs/sigilfs/cmd/sigilfs/internal/option"
	"github.com/sigilfs/sigilfs/cmd/sigilfs/internal/socket"
	"github.com/sigilfs/sigilfs/internal/config"
	"github.com/sigilfs/sigilfs/internal/freshness"
	"github.com/sigilfs/sigilfs/internal/keyring"
	"github.com/sigilfs/sigilfs/internal/objstore/s3"
)

// settings are what the command line of mount says, and the file it names. Zero values are explained
// at the flags.
type settings struct {
	source string // what is mounted, as given: a bucket or a configuration file
	target option.Target

	unstatedAllowed bool   // a command that only looks may go without a policy
	unstated        bool   // and does
	dir             string // mountpoint, as given

	flags  policyFlags
	policy config.Policy           // of file and flags; settled by check
	places map[string]config.Place // of flags that the file gave

	stateKey                          string // source
	signSource                        string
	signerTexts                       []string
	signers                           []keyring.Signer // signerTexts, once they were checked
	allowPlaintext, requireEncryption bool             // of rules that do not say
	allowGiven, requireGiven          bool             // not by the file: those of its rules too
	anyMode                           bool             // objects of every mode are read, whatever the policy accepts
	readInstructions, readOldWraps    bool             // of s3ec, by commands whose rules may be of another mode
	readCBC                           bool             // likewise

	endpoint, region, profile, caBundle     string
	passwdFile                              string
	pathStyle, insecure, anonymous, payer   bool
	bucketOwner, storageClass, volumeRoot   string
	compress                                config.Compression // of rules of mode client that do not say
	names                                   string             // as parseNames gives it
	acceptVolume                            bool               // whatever this host held it to be
	retryTimeout, stopTimeout, attrTimeout  time.Duration
	keyRecheck                              time.Duration
	stateDir, cacheDir                      string
	spoolSize, memoryLimit, cacheSize       int64
	diskFree                                int64  // bytes; 0 is the default of each
	uploadLimit, downloadLimit              int64  // bytes a second; 0 is none
	metrics                                 string // address; "" is none
	uid, gid                                uint32
	dirMode, fileMode                       uint32
	onConflict                              string
	rollback                                string
	rollbackSize                            int64
	strictExcl                              bool
	renameDirLimit                          int
	readOnly, allowOther, dev, suid, noExec bool
	foreground, debug                       bool
	logFormat                               string
	logFile                                 string
	rootGiven                               bool // volume-root was
	at                                      moment
	lostEpochs                              bool // those that were removed or overwritten are looked for among older versions

	origin
}

// Defaults of the flags.
const (
	defaultMemory      = 512 << 20
	leastMemory        = 128 << 20 // segments under way, buffers and the program itself
	defaultCache       = 64 << 20  // in memory
	leastShared        = 16 << 20  // for the longest body that goes up in one PUT
	unsetSize          = -1
	defaultRetry       = time.Minute
	defaultStop        = 4 * time.Minute
	defaultAttrTimeout = time.Second
	defaultKeyRecheck  = 5 * time.Minute
)

func defaultSettings() *settings {
	return &settings{
		retryTimeout: defaultRetry, stopTimeout: defaultStop, attrTimeout: defaultAttrTimeout,
		keyRecheck:  defaultKeyRecheck,
		memoryLimit: defaultMemory, cacheSize: unsetSize,
		uid: uint32(os.Getuid()), gid: uint32(os.Getgid()), dirMode: 0o755, fileMode: 0o644,
		names: namesAuto, onConflict: "copy", rollback: "report", rollbackSize: freshness.DefaultBytes, logFormat: "text",
	}
}

// wrong is a usage error about a flag, or about the line of the configuration
// file that stands for it.
func (s *settings) wrong(flag, format string, args ...any) error {
	name := "--" + flag
	if at, ok := s.places[flag]; ok {
		name = at.String() + ": " + flag
	}
	return usageError(name+" "+format, args...)
}

// check settles the policy, and finds what does not fit together, before
// anything is touched.
func (s *settings) check() error {
	for _, check := range []func() error{s.settlePolicy, s.checkAt, s.checkRoot, s.checkStateKey, s.checkSigning, s.checkStore, s.checkMetrics, s.checkRest} {
		if err := check(); err != nil {
			return err
		}
	}
	return nil
}

func (s *settings) checkStore() error {
	u, err := url.Parse(s.endpoint)
	switch {
	case s.endpoint != "" && (err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" || u.User != nil):
		return s.wrong("endpoint-url", "is not a URL of the form https://host:port")
	case s.passwdFile != "" && (s.profile != "" || s.anonymous):
		return s.wrong("passwd-file", "is given beside --profile or --no-sign-request: give one place for credentials")
	case slices.Contains([]string{"GLACIER", "DEEP_ARCHIVE"}, strings.ToUpper(s.storageClass)):
		return s.wrong("storage-class", "%s: objects in it cannot be read back without a restore, so a filesystem cannot live there", s.storageClass)
	case s.uploadLimit != 0 && s.uploadLimit < s3.MinLimit:
		return s.wrong("upload-limit", "is under %dKiB, the least that works; 0 is no limit", s3.MinLimit>>10)
	case s.downloadLimit != 0 && s.downloadLimit < s3.MinLimit:
		return s.wrong("download-limit", "is under %dKiB, the least that works; 0 is no limit", s3.MinLimit>>10)
	case s.retryTimeout == 0:
		return s.wrong("retry-timeout", "must be above 0")
	}
	return nil
}

func (s *settings) checkMetrics() error {
	if s.metrics == "" {
		return nil
	}
	if _, err := socket.Parse(s.metrics); err != nil {
		return s.wrong("metrics", "%w", err)
	}
	return nil
}

func (s *settings) checkRest() error {
	switch {
	case s.cacheDir != "" && s.cacheSize > 0 && s.cacheSize < disk.MinSize:
		return s.wrong("max-cache-size", "is under %dMiB, the least of a cache on disk; 0 is none", disk.MinSize>>20)
	case s.memoryLimit < leastMemory:
		return s.wrong("memory-limit", "is under %dMiB, the least that works", leastMemory>>20)
	case s.renameDirLimit < 0:
		return s.wrong("rename-dir-limit", "is negative; 0 is no limit")
	case s.stopTimeout == 0:
		return s.wrong("stop-timeout", "must be above 0")
	case s.logFormat != "text" && s.logFormat != "json":
		return s.wrong("log-format", "is not text or json")
	case !slices.Contains([]string{"copy", "fail", "overwrite"}, s.onConflict):
		return s.wrong("on-conflict", "is not copy, fail or overwrite")
	case !slices.Contains([]string{"report", "deny"}, s.rollback):
		return s.wrong("rollback", "is not report or deny")
	case s.rollbackSize < freshness.LeastBytes:
		return s.wrong("rollback-size", "is under %dMiB, the least that works", freshness.LeastBytes>>20)
	}
	return nil
}

// checkStateKey finds what is no source, or a key itself. What the file gives
// was looked at there.
func (s *settings) checkStateKey() error {
	if s.stateKey == "" {
		return nil
	}
	if _, err := config.KeyFlag(config.Place{Name: "--state-key"}, "", s.stateKey); err != nil {
		return usageError("%w", err)
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
		return s.wrong("volume-root", "%w", err)
	}
	if !strings.HasPrefix(s.target.Prefix, root) {
		return s.wrong("volume-root", "%s does not contain %s: the mount must lie in its volume", root, s.target.Spec)
	}
	s.volumeRoot = root
	return nil
}
