package keyring

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"strings"

	"filippo.io/age"
	"filippo.io/age/armor"
	"filippo.io/age/tag"
)

// parseRecipient reads one age recipient. Errors are clauses that do not
// repeat it: it might be a secret in the wrong place.
func parseRecipient(s string) (recipient, error) {
	switch {
	case strings.HasPrefix(s, "age1tag1"), strings.HasPrefix(s, "age1tagpq1"):
		r, err := tag.ParseRecipient(s)
		if err != nil {
			return recipient{}, errors.New("is malformed")
		}
		return recipient{r, r.String()}, nil
	case strings.HasPrefix(s, "age1pq1"):
		r, err := age.ParseHybridRecipient(s)
		if err != nil {
			return recipient{}, errors.New("is malformed")
		}
		return recipient{r, r.String()}, nil
	case strings.HasPrefix(s, "age1") && strings.Count(s, "1") > 1:
		return pluginRecipient(s)
	case strings.HasPrefix(s, "age1"):
		r, err := age.ParseX25519Recipient(s)
		if err != nil {
			return recipient{}, errors.New("is malformed")
		}
		return recipient{r, r.String()}, nil
	case strings.HasPrefix(s, "ssh-"):
		return sshRecipient(s)
	}
	return recipient{}, errors.New("is not of the form age1…, age1pq1… or ssh-…")
}

// parseIdentity reads one line of an identity file. Errors are clauses that do
// not repeat it.
func parseIdentity(s string) (identity, error) {
	switch {
	case strings.HasPrefix(s, "AGE-SECRET-KEY-PQ-1"):
		i, err := age.ParseHybridIdentity(s)
		if err != nil {
			return identity{}, errors.New("holds a malformed age identity")
		}
		return identity{i, &recipient{i.Recipient(), i.Recipient().String()}}, nil
	case strings.HasPrefix(s, "AGE-SECRET-KEY-1"):
		i, err := age.ParseX25519Identity(s)
		if err != nil {
			return identity{}, errors.New("holds a malformed age identity")
		}
		return identity{i, &recipient{i.Recipient(), i.Recipient().String()}}, nil
	case strings.HasPrefix(s, "AGE-PLUGIN-"):
		return pluginIdentity(s)
	}
	return identity{}, errors.New("holds neither an age identity nor a recipient")
}

// parseAgeContent reads identities and recipients, one a line, from a source;
// one that is an age file itself is opened with its passphrase first.
func parseAgeContent(ctx context.Context, c content, via Sources) ([]identity, []recipient, error) {
	data := c.data
	if isAgeFile(data) {
		if c.loose != nil { // before anybody is asked for a passphrase
			return nil, nil, c.loose
		}
		var err error
		if data, err = unprotect(ctx, c, via); err != nil {
			return nil, nil, err
		}
		defer clear(data)
	}
	if bytes.HasPrefix(bytes.TrimSpace(data), []byte(sshHeader)) {
		if c.loose != nil {
			return nil, nil, c.loose
		}
		i, err := sshIdentity(ctx, c.name, data, via)
		return []identity{i}, nil, err
	}
	return parseAgeLines(data)
}

func parseAgeLines(data []byte) (ids []identity, recipients []recipient, err error) {
	n := 0
	for raw := range bytes.Lines(data) {
		n++
		line := string(bytes.TrimSpace(raw))
		if line == "" || line[0] == '#' {
			continue
		}
		if strings.HasPrefix(line, "age1") || strings.HasPrefix(line, "ssh-") {
			r, err := parseRecipient(line)
			if err != nil {
				return ids, recipients, fmt.Errorf("the recipient in line %d %w", n, err)
			}
			recipients = append(recipients, r)
			continue
		}
		i, err := parseIdentity(line)
		if err != nil {
			return ids, recipients, fmt.Errorf("line %d %w", n, err)
		}
		ids = append(ids, i)
	}
	if len(ids)+len(recipients) == 0 {
		return nil, nil, errors.New("it holds neither an age identity nor a recipient")
	}
	return ids, recipients, nil
}

// unprotect opens an identity file that `age -p` made.
func unprotect(ctx context.Context, c content, via Sources) ([]byte, error) {
	if via.Passphrase == nil {
		return nil, errors.New("it is protected by a passphrase, and there is nobody to ask for it")
	}
	pass, err := via.Passphrase(ctx, c.name)
	if err != nil {
		return nil, fmt.Errorf("ask for its passphrase: %w", err)
	}
	defer clear(pass)
	id, err := age.NewScryptIdentity(string(pass))
	if err != nil {
		return nil, errors.New("the passphrase is empty")
	}
	file := c.data
	if !bytes.HasPrefix(file, []byte("age-encryption.org/")) {
		if file, err = io.ReadAll(armor.NewReader(bytes.NewReader(file))); err != nil {
			return nil, errors.New("its armor is damaged")
		}
	}
	plain, err := decryptAge(file, maxSource, id)
	if match := (*age.NoIdentityMatchError)(nil); errors.As(err, &match) {
		return nil, errors.New("the passphrase is wrong")
	}
	if err != nil {
		return nil, errors.New("it is not an age file protected by a passphrase, or is damaged")
	}
	return plain, nil
}
