package main

import (
	"maps"
	"slices"
	"strings"

	"github.com/sigilfs/sigilfs/cmd/sigilfs/internal/option"
)

// aliases are options that are flags by another name, with the same values: s3fs's,
// and one for fstab.
func aliases() map[string]string {
	return map[string]string{
		"encrypt":                    "encryption", // which mount(8) keeps to itself: it was once of loop devices
		"url":                        "endpoint-url",
		"endpoint":                   "region", // its name for it
		"use-path-request-style":     "force-path-style",
		"use-cache":                  "cache",
		"logfile":                    "log-file",
		"stat-cache-expire":          "attr-timeout", // seconds
		"stat-cache-interval-expire": "attr-timeout",
	}
}

// needless are options of s3fs that ask for what is so in any case, or that
// tune what tunes itself here.
func needless() []string {
	return []string{
		"compat-dir", "notsup-compat-dir", "complement-stat", "enable-noobj-cache", "disable-noobj-cache", "use-xattr", "enable-content-md5",
		"sigv4", "sigv4-only", "noxmlns", "check-cache-dir-exist", "big-writes", "update-parent-dir-stat", "listobjectsv2", "ecs", "imdsv1only", "nodnscache", "nosscache",
		"max-stat-cache-size", "stat-cache-max-size", "multipart-size", "multipart-copy-size", "singlepart-copy-limit", "parallel-count", "multireq-max",
		"max-background", "max-dirty-data", "max-thread-count", "list-object-max-keys", "use-wtf8", "fd-page-size", "streamupload", "mixupload",
	}
}

// refusedOptions are options of s3fs for which there is no equivalent, with
// what there is instead.
func refusedOptions() map[string]string {
	return map[string]string{ //nolint:gosec // it tells where credentials go
		"ahbe-conf":            "headers cannot be added to requests",
		"tmpdir":               "unfinished writes lie, sealed, below state_dir=DIR",
		"del-cache":            "the cache is sealed and kept for the next mount: remove the directory, or leave out cache",
		"mp-umask":             "the mountpoint has the mode of the prefix's own directory: dir_mode, or chmod when it is mounted",
		"no-check-certificate": "whoever answers would get the requests: name the server's certificate with ca_bundle=FILE",
		"ssl-verify-hostname":  "whoever answers would get the requests: name the server's certificate with ca_bundle=FILE",
		"sigv2":                "requests are signed by version 4",
		"retries":              "requests are tried again by time: retry_timeout=TIME",
		"connect-timeout":      "requests are bounded by retry_timeout=TIME",
		"readwrite-timeout":    "requests are bounded by retry_timeout=TIME",
		"default-acl":          "access is the bucket's matter: ACLs are off in new buckets, use its policy",
		"bucket":               "the bucket is the first word: s3://bucket/prefix",
		"nocopyapi":            "renames and attribute changes are copies inside the store; a server without them cannot be mounted",
		"norenameapi":          "renames are copies inside the store; a server without them cannot be mounted",
		"nomultipart":          "large files go up in parts",
		"credlib":              "credentials from programs: credential_process in ~/.aws/config",
		"credlib-opts":         "credentials from programs: credential_process in ~/.aws/config",
		"ibm-iam-auth":         "only AWS's signatures are spoken",
		"ibm-iam-endpoint":     "only AWS's signatures are spoken",
		"mime":                 "content is encrypted, its type is not told",
		"instance-name":        "a mount is named by its bucket and directory",
		"allow-root":           "use allow_other: modes and owners keep the others out",
		"log-directory":        "name a file: log_file=FILE",
		"prefix":               "the prefix is part of the first word: s3://bucket/prefix",
		"proxy":                "proxies are those of the environment: HTTPS_PROXY, NO_PROXY",
		"proxy-cred-file":      "proxies are those of the environment: HTTPS_PROXY, NO_PROXY",
		"cipher-suites":        "those of TLS 1.2 and 1.3 that are safe are used",
		"sync":                 "close and fsync return when the bucket has the data, writes do not",
	}
}

// s3fsNames are all of them, for the nearest to one that is misspelt.
func s3fsNames() []string {
	return slices.Concat(slices.Collect(maps.Keys(aliases())), slices.Collect(maps.Keys(refusedOptions())), needless(), itemNames(translated()))
}

// s3fs applies an option of s3fs's that is no flag here.
func (l *optionList) s3fs(p option.Pair) (done bool, err error) {
	if why, ok := refusedOptions()[p.Name]; ok {
		return true, usageError("option %s is not supported: %s", p.Name, why)
	}
	if slices.Contains(needless(), p.Name) {
		return true, nil
	}
	if p, ok := s3fsKey(p); ok {
		return true, l.all(p)
	}
	switch p.Name {
	case "ensure-diskfree":
		if p.Value != "" && strings.Trim(p.Value, "0123456789") == "" {
			p.Value += "MiB" // its unit
		}
		return true, l.flag(p)
	case "dbglevel":
		return true, l.debugLevel(p)
	case "curldbg":
		return true, l.set("debug", "true")
	case "public-bucket":
		return true, l.set("no-sign-request", onOff(p))
	case "use-rrs":
		if onOff(p) == "true" {
			return true, l.set("storage-class", "REDUCED_REDUNDANCY")
		}
		return true, nil
	case "iam-role":
		if p.HasValue && p.Value != "auto" {
			return true, usageError("option iam-role: the role of this host is found by itself (iam_role=auto); another one is assumed by a profile with role_arn in ~/.aws/config")
		}
		return true, nil
	}
	return false, nil
}

// onOff reads s3fs's switches, which may have a value of 0 or 1.
func onOff(p option.Pair) string {
	if p.HasValue && strings.Trim(p.Value, "0") == "" {
		return "false"
	}
	return "true"
}

// s3fsKey gives the flags for s3fs's options about encryption. Its files of
// keys hold one key a line, ours one key.
func s3fsKey(p option.Pair) (flags []option.Pair, ok bool) {
	sse := func(mode string) option.Pair { return option.Pair{Name: "sse", Value: mode} }
	key := func(file string) option.Pair { return option.Pair{Name: "key", Value: "ssec:file:" + file} }
	kind, rest, _ := strings.Cut(p.Value, ":")
	switch {
	case p.Name == "load-sse-c":
		return []option.Pair{key(p.Value)}, true
	case p.Name != "use-sse":
		return nil, false
	case !p.HasValue, p.Value == "1":
		return []option.Pair{sse("sse-s3")}, true
	case (kind == "kmsid" || kind == "k") && rest != "":
		return []option.Pair{sse("sse-kms"), {Name: "sse-kms-key-id", Value: rest}}, true
	case (kind == "custom" || kind == "c") && rest != "":
		return []option.Pair{sse("sse-c"), {Name: "sse-c-key", Value: "file:" + rest}}, true
	case p.Value == "custom", p.Value == "c": // with load_sse_c
		return []option.Pair{sse("sse-c")}, true
	case p.Value == "kmsid", p.Value == "k":
		return []option.Pair{sse("sse-kms")}, true
	}
	return []option.Pair{sse("use_sse")}, true // which is none, and refused as such
}

// debugLevel takes s3fs's levels; those below info are what is logged anyway.
func (l *optionList) debugLevel(p option.Pair) error {
	switch p.Value {
	case "debug", "dbg":
		return l.set("debug", "true")
	case "silent", "critical", "crit", "error", "err", "warning", "wan", "warn", "info", "inf":
	default:
		return usageError("-o dbglevel is not critical, error, warning, info or debug")
	}
	return nil
}
