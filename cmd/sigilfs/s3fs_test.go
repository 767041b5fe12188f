package main

import (
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
)

// What s3fs's common options become.
func TestS3fsOptions(t *testing.T) {
	for list, want := range map[string]func(*settings){
		"url=https://s3.example":             func(s *settings) { s.endpoint = "https://s3.example" },
		"endpoint=eu-west-1":                 func(s *settings) { s.region = "eu-west-1" },
		"use_path_request_style":             func(s *settings) { s.pathStyle = true },
		"use_cache=/var/cache/x":             func(s *settings) { s.cacheDir = "/var/cache/x" },
		"use_sse":                            func(s *settings) { s.flags.sse = "sse-s3" },
		"use_sse=1":                          func(s *settings) { s.flags.sse = "sse-s3" },
		"use_sse=kmsid":                      func(s *settings) { s.flags.sse = "sse-kms" },
		"use_sse=kmsid:1234":                 func(s *settings) { s.flags.sse, s.flags.sseKeyID = "sse-kms", "1234" },
		"use_sse=k:1234":                     func(s *settings) { s.flags.sse, s.flags.sseKeyID = "sse-kms", "1234" },
		"use_sse=custom:/k":                  func(s *settings) { s.flags.sse, s.flags.sseKeySource = "sse-c", "file:/k" },
		"use_sse=c,load_sse_c=/k":            func(s *settings) { s.flags.sse, s.flags.keys = "sse-c", []string{"ssec:file:/k"} },
		"passwd_file=/etc/passwd-s3fs":       func(s *settings) { s.passwdFile = "/etc/passwd-s3fs" },
		"ensure_diskfree=1024":               func(s *settings) { s.diskFree = 1 << 30 },
		"ensure_diskfree=2GiB":               func(s *settings) { s.diskFree = 2 << 30 },
		"profile=backup":                     func(s *settings) { s.profile = "backup" },
		"iam_role":                           func(*settings) {},
		"iam_role=auto":                      func(*settings) {},
		"requester_pays":                     func(s *settings) { s.payer = true },
		"storage_class=standard_ia":          func(s *settings) { s.storageClass = "standard_ia" },
		"use_rrs":                            func(s *settings) { s.storageClass = "REDUCED_REDUNDANCY" },
		"use_rrs=0":                          func(*settings) {},
		"public_bucket=1":                    func(s *settings) { s.anonymous = true },
		"public_bucket=0":                    func(*settings) {},
		"umask=077":                          func(s *settings) { s.dirMode, s.fileMode = 0o700, 0o600 },
		"uid=7,gid=8,allow_other":            func(s *settings) { s.uid, s.gid, s.allowOther = 7, 8, true },
		"nonempty":                           func(*settings) {},
		"dbglevel=info":                      func(*settings) {},
		"dbglevel=debug":                     func(s *settings) { s.debug = true },
		"curldbg":                            func(s *settings) { s.debug = true },
		"logfile=/var/log/x":                 func(s *settings) { s.logFile = "/var/log/x" },
		"stat_cache_expire=60":               func(s *settings) { s.attrTimeout = time.Minute },
		"multipart_size=52,parallel_count=5": func(*settings) {},
		"ro,_netdev,nofail":                  func(s *settings) { s.readOnly = true },
	} {
		expect := defaultSettings()
		expect.uid, expect.gid = 0, 0
		want(expect)
		got, err := parseFlags("-o", list)
		if err != nil {
			t.Errorf("-o %s: %v", list, err)
		}
		if d := cmp.Diff(expect, got, cmp.AllowUnexported(settings{}, policyFlags{}, moment{}), cmpopts.IgnoreTypes(origin{})); d != "" {
			t.Errorf("-o %s: %s", list, d)
		}
	}
}

// What is refused says why, and repeats no value.
func TestS3fsOptionsThatAreRefused(t *testing.T) {
	for list, says := range map[string]string{
		"ensure_diskfree=10%":  "ensure-diskfree",
		"no_check_certificate": "ca_bundle",
		"iam_role=backup":      "role_arn",
		"retries=5":            "retry_timeout",
		"mp_umask=022":         "dir_mode",
		"allow_root":           "allow_other",
		"use_cach=/x":          "did you mean use-cache?",
		"use_ss":               "did you mean use-sse?",
		"dbglevel=all":         "dbglevel",
	} {
		_, err := parseFlags("-o", list)
		if err == nil || exitCode(err) != exitUsage || !strings.Contains(err.Error(), says) {
			t.Errorf("-o %s: %v, want %q", list, err, says)
		}
	}
	for name := range refusedOptions() {
		if _, err := parseFlags("-o", name+"=hush-hush"); err == nil || strings.Contains(err.Error(), "hush-hush") || !strings.Contains(err.Error(), name) {
			t.Errorf("-o %s: %v", name, err)
		}
	}
	for _, name := range needless() {
		if _, err := parseFlags("-o", name+"=1"); err != nil {
			t.Errorf("-o %s: %v", name, err)
		}
	}
}

// A name means one thing.
func TestOptionsDoNotCollide(t *testing.T) {
	cmd := newMount()
	seen := map[string]string{}
	for kind, names := range map[string][]string{
		"flag": flagNames(cmd.Flags()), "alias": slices.Collect(maps.Keys(aliases())), "needless": needless(),
		"refused": slices.Collect(maps.Keys(refusedOptions())), "word": slices.Collect(maps.Keys(words())),
	} {
		for _, name := range names {
			if other, ok := seen[name]; ok && !(kind == "word" && other == "flag") && !(kind == "flag" && other == "word") {
				t.Errorf("%s is both %s and %s", name, other, kind)
			}
			seen[name] = kind
		}
	}
	for alias, flag := range aliases() {
		if cmd.Flags().Lookup(flag) == nil {
			t.Errorf("%s is an alias of --%s, which is not there", alias, flag)
		}
	}
}
