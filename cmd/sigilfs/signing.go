package main

import (
	"context"
	"slices"
	"strings"

	"github.com/sigilfs/sigilfs/internal/config"
	"github.com/sigilfs/sigilfs/internal/keyring"
)

// checkSigning reads --signers, and finds what is no source of a key to sign
// with. No signer is not the same as none given: an empty list would have every
// epoch believed.
func (s *settings) checkSigning() error {
	s.signers = nil
	for _, text := range s.signerTexts {
		signer, err := keyring.ParseSigner(strings.TrimSpace(text))
		if err != nil {
			return s.wrong("signers", "has a value that is no signer: %w", err)
		}
		s.signers = append(s.signers, signer)
	}
	if s.signers == nil && s.bound != nil && s.bound.Changed("signers") {
		return s.wrong("signers", "names nobody; leave it out to believe all epochs")
	}
	if s.signSource == "" {
		return nil
	}
	key, err := config.KeyFlag(config.Place{Name: "--sign"}, "", s.signSource)
	switch {
	case err != nil:
		return usageError("%w", err)
	case key.Kind != config.Bare:
		return s.wrong("sign", "takes the place of an Ed25519 key: file:PATH, env:NAME, credential:NAME or command:COMMAND")
	}
	return nil
}

// openSigning reads the key that signs epochs.
func (m *mounting) openSigning(ctx context.Context) error {
	if m.set.signSource == "" {
		return nil
	}
	key, err := keyring.OpenSigningKey(ctx, m.set.signSource, m.sources())
	if err != nil {
		return keySourceError(config.Key{At: m.set.placeOf("sign"), Source: m.set.signSource}, err)
	}
	m.sign = key
	return nil
}

// placeOf is where a flag was given.
func (s *settings) placeOf(flag string) config.Place {
	if at, ok := s.places[flag]; ok {
		return config.Place{Name: at.String() + ": " + flag}
	}
	return config.Place{Name: "--" + flag}
}

// warnSigning tells of hosts that will not read what this one writes: those with
// the same signers, as far as one can know.
func (m *mounting) warnSigning() {
	seals := slices.ContainsFunc(m.rules, func(r rule) bool { return r.Mode == config.Client })
	switch {
	case m.set.signers == nil || !seals:
	case m.sign == nil:
		m.log.Warn("this host signs nothing (--sign): hosts with --signers, as this one, do not read what it writes")
	case !slices.Contains(m.set.signers, m.sign.Signer()):
		m.log.Warnf("%v, which signs here, is none of --signers: hosts with the same list do not read what this one writes; add it there", m.sign.Signer())
	}
}
