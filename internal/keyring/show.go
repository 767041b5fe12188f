package keyring

import (
	"context"
	"fmt"
	"strings"
)

// Show tells of a key that is there what Generate told when it was made. Errors
// as of Open.
func Show(ctx context.Context, kind, source string, via Sources) (Public, error) {
	switch kind {
	case KindSign:
		key, err := OpenSigningKey(ctx, source, via)
		if err != nil {
			return Public{}, err
		}
		return Public{Kind: kind, ID: key.Signer().String()}, nil
	case KindSSEC:
		key, err := OpenKey(ctx, source, via)
		defer clear(key[:])
		return Public{Kind: kind, ID: customerID(key)}, err
	}
	m, err := Open(ctx, Spec{Source: source, Kind: kind}, via)
	if err != nil {
		return Public{}, err
	}
	public := Public{Kind: kind, ID: m.ID()}
	if a, ok := m.(*ageMaster); ok {
		public.Recipient = a.shown()
	}
	return public, nil
}

// shown are the recipients as a list for age:, as far as they have a text.
func (m *ageMaster) shown() string {
	var all []string
	for _, r := range m.recipients {
		if text, ok := r.(fmt.Stringer); ok {
			all = append(all, text.String())
		}
	}
	return strings.Join(all, ",")
}
