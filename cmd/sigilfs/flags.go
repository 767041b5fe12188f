package main

import (
	"fmt"
	"time"

	"github.com/sigilfs/sigilfs/cmd/sigilfs/internal/manual"
	"github.com/sigilfs/sigilfs/cmd/sigilfs/internal/option"
	"github.com/sigilfs/sigilfs/internal/config"
	"github.com/spf13/pflag"
)

// addFlags makes a flag of every setting. Each is an option of -o and a field
// of the configuration file too, under the same name.
func (s *settings) addFlags(f *pflag.FlagSet) {
	f.SortFlags = false
	s.bound = f
	for _, group := range []struct {
		title string
		add   func(*pflag.FlagSet)
	}{
		{"Keys and encryption", s.addKeyFlags},
		{"Bucket and server", s.addStoreFlags},
		{"Files", s.addFileFlags},
		{"Disk, memory and log", s.addProcessFlags},
	} {
		group.add(f)
		f.VisitAll(func(f *pflag.Flag) {
			if f.Annotations == nil {
				f.Annotations = map[string][]string{manual.Group: {group.title}}
			}
		})
	}
}

func (s *settings) addKeyFlags(f *pflag.FlagSet) {
	p := &s.flags
	f.StringArrayVar(&p.encryption, "encryption", nil, "`RULE`: [PREFIX/=]MODE[,key=NAME,…]; MODE is client (encrypted on this host), s3ec, sse-s3, sse-kms, dsse-kms, sse-c, bucket-default or none; required, repeatable, the longest prefix wins")
	f.StringArrayVar(&p.keys, "key", nil, "`[NAME=]SOURCE` of a key: file:PATH, env:NAME, credential:NAME, command:COMMAND, kms:ID[,context=NAME=VALUE] or age:RECIPIENT; repeatable, of those without a name the first writes and all read")
	f.StringArrayVar(&p.alsoKeys, "also-key", nil, "`SOURCE` of a key under which what is written can be read too (mode client); repeatable")
	f.StringVar(&p.sse, "sse", "", "`MODE` asked of the server: sse-s3, sse-kms, dsse-kms (or Mountpoint's AES256, aws:kms, aws:kms:dsse) or sse-c; beneath what this host encrypts, where the rule without a prefix says client or s3ec")
	f.StringVar(&p.sseKeyID, "sse-kms-key-id", "", "`ID` of the KMS key for --sse")
	f.StringVar(&p.sseKeySource, "sse-c-key", "", "`SOURCE` of the key for --sse sse-c, as of --key; those of --key then only read")
	f.BoolVar(&s.allowPlaintext, "allow-plaintext", false, "read objects that are not encrypted on the client under client and s3ec")
	f.BoolVar(&s.requireEncryption, "require-encryption", false, "read no object that is encrypted more weakly than its rule says")
	f.StringVar(&s.stateKey, "state-key", "", "`SOURCE` of a key for unfinished writes on this disk, where the host cannot read what it writes")
	f.StringSliceVar(&s.signerTexts, "signers", nil, "`SIGNER,…` whose epochs are read, beside those that this host made (mode client): ed25519:… as keygen --kind sign prints it; repeatable (default: epochs are read whoever made them)")
	f.StringVar(&s.signSource, "sign", "", "`SOURCE` of the key that signs the epochs which this host makes or changes: file:PATH, env:NAME, credential:NAME or command:COMMAND; keygen --kind sign makes one")
	f.Var(parsed(&s.keyRecheck, option.Duration, time.Duration.String), "key-recheck", "`TIME` between looks at the keys in use: what other hosts did to epochs, and whether KMS still gives its keys, so that nothing cached is read without them; 0 is at mount only")
}

func (s *settings) addStoreFlags(f *pflag.FlagSet) {
	f.StringVar(&s.endpoint, "endpoint-url", "", "`URL` of a server other than AWS (or AWS_ENDPOINT_URL_S3, AWS_ENDPOINT_URL)")
	f.StringVar(&s.region, "region", "", "`REGION` of the bucket (or AWS_REGION; AWS buckets are found without)")
	f.StringVar(&s.profile, "profile", "", "`NAME` of a profile in the shared configuration (or AWS_PROFILE)")
	f.StringVar(&s.passwdFile, "passwd-file", "", "`FILE` of credentials as s3fs has it, in place of AWS's own: lines of ACCESSKEYID:SECRETACCESSKEY, or with BUCKET: before that; mode 0600 or 0640")
	f.StringVar(&s.caBundle, "ca-bundle", "", "`FILE` of CA certificates to trust (or AWS_CA_BUNDLE)")
	f.BoolVar(&s.pathStyle, "force-path-style", false, "the bucket in the path, not in the host name (always so with --endpoint-url)")
	f.BoolVar(&s.insecure, "insecure-endpoint", false, "no warning about an http:// endpoint, and sse-c to one on this host")
	f.BoolVar(&s.anonymous, "no-sign-request", false, "send no credentials")
	f.BoolVar(&s.payer, "requester-pays", false, "pay for requests to a requester-pays bucket")
	f.StringVar(&s.bucketOwner, "expected-bucket-owner", "", "`ACCOUNT` that must own the bucket")
	f.StringVar(&s.storageClass, "storage-class", "", "`CLASS` of new files (default: the bucket's)")
	f.Var(parsed(&s.compress, config.ParseCompression, config.Compression.String), "compress", "`HOW` files are compressed before they are encrypted (mode client): zstd, zstd:LEVEL (1 to 22, default 3) or none. Sizes in the bucket then tell of the content")
	f.Var(parsed(&s.names, parseNames, asIs), "names", "`HOW` names lie in the bucket: auto (as the volume object says, which sigilfs init makes), encrypted, or encrypted:FINGERPRINT of their key; else nothing is mounted")
	f.BoolVar(&s.acceptVolume, "accept-volume", false, "take the volume for the right one, whatever this host remembers of it: once, by hand")
	f.StringVar(&s.volumeRoot, "volume-root", "", "`PREFIX` under which .sigil/ lies, shared by mounts below it (default: the mount's own)")
	f.Var(parsed(&s.retryTimeout, option.Duration, time.Duration.String), "retry-timeout", "`TIME` for which a failing request is tried again")
	f.Var(parsed(&s.uploadLimit, option.Size, size), "upload-limit", "`SIZE` that is sent to the bucket in a second, by all requests of the mount together; 0 is no limit")
	f.Var(parsed(&s.downloadLimit, option.Size, size), "download-limit", "`SIZE` that is received from the bucket in a second, by all requests of the mount together; 0 is no limit")
}

func (s *settings) addFileFlags(f *pflag.FlagSet) {
	f.BoolVar(&s.readOnly, "read-only", false, "send no request that changes anything")
	f.Var(&s.at, "at", "`TIME` of which a bucket that keeps versions is shown as it was: 2026-01-02T15:04:05Z, \"2026-01-02 15:04\" here, or how long ago, as 3h or 2d; read-only")
	f.BoolVar(&s.allowOther, "allow-other", false, "let other users in, as far as modes let them")
	f.Var(parsed(&s.uid, option.UID, decimal), "uid", "`USER` of what has no owner of its own (default: who mounts)")
	f.Var(parsed(&s.gid, option.GID, decimal), "gid", "`GROUP` of what has no owner of its own (default: of who mounts)")
	f.Lookup("uid").DefValue, f.Lookup("gid").DefValue = "", "" // a page is not about who made it
	f.Var(parsed(&s.dirMode, option.Mode, octal), "dir-mode", "`MODE` of directories without one of their own")
	f.Var(parsed(&s.fileMode, option.Mode, octal), "file-mode", "`MODE` of files without one of their own")
	f.Var(parsed(&s.attrTimeout, option.Duration, time.Duration.String), "attr-timeout", "`TIME` for which an answer of the bucket is believed; 0 is never (alias --metadata-ttl)")
	f.StringVar(&s.onConflict, "on-conflict", s.onConflict, "`WHAT` to do with data that another host has overtaken: copy, fail or overwrite")
	f.StringVar(&s.rollback, "rollback", s.rollback, "`WHAT` to do with a sealed object that is in an older state than this host has known: report it (log, status, user.sigil.rollback), or deny it too (EBADMSG)")
	f.BoolVar(&s.strictExcl, "strict-excl", false, "decide O_EXCL at open, by an empty object, and not at the first close or fsync")
	f.BoolVar(&s.dev, "dev", false, "let device nodes work")
	f.BoolVar(&s.suid, "suid", false, "let set-user-ID bits work")
	f.BoolVar(&s.noExec, "noexec", false, "run no programs from the mount")
	f.IntVar(&s.renameDirLimit, "rename-dir-limit", 0, "`N`umber of entries above which a directory is not renamed (EXDEV); 0 is no limit")
}

func (s *settings) addProcessFlags(f *pflag.FlagSet) {
	f.StringVar(&s.stateDir, "state-dir", "", "`DIR` for unfinished writes and memory of keys (default: /var/lib/sigilfs for root, else ~/.local/state/sigilfs)")
	f.Var(parsed(&s.spoolSize, option.Size, size), "spool-size", "`SIZE` that unfinished writes may take on disk (default: half of what is free)")
	f.Var(parsed(&s.rollbackSize, option.Size, size), "rollback-size", "`SIZE` that what is known of objects' versions may take in the state directory; what was used longest ago is forgotten beyond it")
	f.Var(parsed(&s.memoryLimit, option.Size, size), "memory-limit", "`SIZE` of memory to stay under")
	f.StringVar(&s.cacheDir, "cache", "", "`DIR` of a read cache on disk, sealed, which the next mount goes on with (default: what is read is kept in memory only)")
	f.Var(parsed(&s.cacheSize, option.Size, size), "max-cache-size", "`SIZE` of the read cache: of that on disk (default: half of what is free); without --cache in memory, at most a quarter of --memory-limit (default 64MiB); 0 keeps nothing")
	f.Var(parsed(&s.diskFree, option.Size, size), "ensure-diskfree", "`SIZE` that unfinished writes and the read cache leave free on their disks (default: writes a 64th, 64MiB at most, the cache a twentieth, 16GiB at most)")
	f.Var(parsed(&s.stopTimeout, option.Duration, time.Duration.String), "stop-timeout", "`TIME` that SIGTERM leaves for open files and uploads")
	f.StringVar(&s.metrics, "metrics", "", "`ADDRESS` at which Prometheus may ask for /metrics: a port of this host alone, as 127.0.0.1:9417, or unix:PATH (default: nobody may)")
	f.StringVar(&s.logFormat, "log-format", s.logFormat, "`FORMAT` of the log: text or json")
	f.StringVar(&s.logFile, "log-file", "", "`FILE` that the log is added to; SIGHUP opens it anew (default: in the background the host's log, which is journald's or syslog's, else stderr)")
	f.BoolVarP(&s.debug, "debug", "d", false, "log more")
	f.BoolVarP(&s.foreground, "foreground", "f", false, "stay in the foreground, with the log on stderr")
	f.VarP(&optionList{flags: f}, "options", "o", "`k=v,…`: any flag under its name, and the options of mount(8); a comma in a value as \\, or in quotes")
}

// value is a pflag.Value that a function reads.
type value[T any] struct {
	into  *T
	parse func(string) (T, error)
	text  func(T) string
}

func parsed[T any](into *T, parse func(string) (T, error), text func(T) string) *value[T] {
	return &value[T]{into, parse, text}
}

func (v *value[T]) Set(s string) error {
	x, err := v.parse(s)
	if err == nil {
		*v.into = x
	}
	return err
}

func (v *value[T]) String() string {
	if v == nil || v.into == nil { // pflag asks a zero value, to tell defaults
		return ""
	}
	return v.text(*v.into)
}

func (v *value[T]) Type() string { return "value" }

func asIs(s string) string    { return s }
func decimal(n uint32) string { return fmt.Sprint(n) }
func octal(n uint32) string   { return fmt.Sprintf("%#o", n) }

// size is n as option.Size reads it; "" for none.
func size(n int64) string {
	switch {
	case n <= 0:
		return ""
	case n%(1<<20) == 0:
		return fmt.Sprintf("%dMiB", n>>20)
	}
	return fmt.Sprintf("%dB", n)
}
