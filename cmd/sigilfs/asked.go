package main

import (
	"errors"
	"slices"

	"github.com/sigilfs/sigilfs/internal/config"
)

// Flags whose keys belong to what is asked of the server.
const (
	sseFlag    = "--sse"
	kmsKeyFlag = "--sse-kms-key-id"
	ownKeyFlag = "--sse-c-key"
)

// asksServer tells whether a flag is about what the server does.
func (p policyFlags) asksServer() bool {
	return p.sse != "" || p.sseKeyID != "" || p.sseKeySource != ""
}

// serverKey gives the key that the server is to use, named by its flag; none
// where no flag gives one.
func (p policyFlags) serverKey() ([]config.Key, error) {
	name, source := kmsKeyFlag, "kms:"+p.sseKeyID
	mode := sseMode(p.sse)
	switch kms := mode == config.SSEKMS || mode == config.DSSEKMS; {
	case p.sse != "" && mode == "":
		return nil, errors.New("--sse is one of sse-s3 (AES256), sse-kms (aws:kms), dsse-kms (aws:kms:dsse) and sse-c")
	case p.sseKeyID != "" && !kms:
		return nil, errors.New("--sse-kms-key-id goes with --sse aws:kms or aws:kms:dsse")
	case p.sseKeySource != "" && mode != config.SSEC:
		return nil, errors.New("--sse-c-key goes with --sse sse-c")
	case p.sseKeySource != "":
		name, source = ownKeyFlag, "ssec:"+p.sseKeySource
	case p.sseKeyID == "":
		return nil, nil
	}
	key, err := config.KeyFlag(config.Place{Name: name}, name, source)
	return []config.Key{key}, err
}

// askServer applies --sse to the rule without a prefix, be it of a flag or of
// the file: it is that mode already, or lies beneath one of this host. keys are
// those of the flags, of which one may be meant for SSE-C.
func (p policyFlags) askServer(policy *config.Policy, keys []config.Key) error {
	root := policy.Root()
	if p.sse == "" || root == nil {
		return nil
	}
	name := ""
	for _, own := range []string{kmsKeyFlag, ownKeyFlag} {
		if slices.ContainsFunc(keys, func(k config.Key) bool { return k.Name == own }) {
			name = own
		}
	}
	mode := sseMode(p.sse)
	if i := slices.IndexFunc(keys, func(k config.Key) bool { return k.Kind == config.SSE }); mode == config.SSEC && name == "" && i >= 0 && root.Mode.Own() {
		name = keys[i].Name
	}
	return root.Ask(config.Place{Name: sseFlag}, mode, name)
}

// sseMode takes Mountpoint's names and ours; "" is none.
func sseMode(name string) config.Mode {
	switch name {
	case "AES256", "sse-s3":
		return config.SSES3
	case "aws:kms", "sse-kms":
		return config.SSEKMS
	case "aws:kms:dsse", "dsse-kms":
		return config.DSSEKMS
	case "sse-c":
		return config.SSEC
	}
	return ""
}
