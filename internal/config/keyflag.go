package config

import (
	"slices"
	"strings"
)

// SplitKey takes NAME=SOURCE apart; name is "" where there is none. The first
// colon ends the search: what stands behind it is the source's own.
func SplitKey(s string) (name, source string) {
	head, _, _ := strings.Cut(s, ":")
	if name, _, named := strings.Cut(head, "="); named {
		return name, s[len(name)+1:]
	}
	return "", s
}

// KeyFlag reads the source of a key as a flag has it:
//
//	file:PATH env:NAME credential:NAME command:COMMAND   a Bare key
//	aes:SOURCE ssec:SOURCE rsa:SOURCE                    SOURCE is one of these
//	kms:ID[,context=NAME=VALUE…]
//	age:RECIPIENT[,RECIPIENT…][,SOURCE]                  identities, to the end
//
// at is the flag, name that of the key, perhaps one that no flag can give.
func KeyFlag(at Place, name, source string) (Key, error) {
	k := Key{Name: name, At: at}
	scheme, rest, _ := strings.Cut(source, ":")
	switch {
	case Secret(source):
		return k, k.At.errorf("this takes the place of a key, never a key itself: others can read the command line; put it in a file and write file:PATH")
	case slices.Contains(sources(), scheme):
		k.Source = source
		return k, checkSource(k.At, source)
	}
	k.Kind = Kind(scheme)
	switch k.Kind {
	case AES, SSE, RSA:
		k.Source = rest
		return k, checkSource(k.At, rest)
	case KMS:
		return k, k.setFlagID(rest)
	case Age:
		return k, k.setFlagAge(rest)
	}
	const how = "write file:PATH, env:NAME, credential:NAME, command:COMMAND, kms:ID or age:RECIPIENT"
	if scheme != source && fieldName.MatchString(scheme) {
		return k, k.At.errorf("%s: is no kind of source; %s", scheme, how)
	}
	return k, k.At.errorf("this takes the place of a key, never a key itself; %s", how)
}

func (k *Key) setFlagID(list string) error {
	id, rest, more := strings.Cut(list, ",")
	if err := k.setID(entry{"kms", k.At, node{at: k.At, kind: isWord, text: id}}); err != nil {
		return err
	}
	for more {
		var item string
		item, rest, more = strings.Cut(rest, ",")
		pair, ok := strings.CutPrefix(item, "context=")
		name, value, hasValue := strings.Cut(pair, "=")
		if _, twice := k.Context[name]; !ok || !hasValue || name == "" || twice {
			return k.At.errorf("kms:ID is followed by ,context=NAME=VALUE, each name once")
		}
		if k.Context == nil {
			k.Context = map[string]string{}
		}
		k.Context[name] = value
	}
	return nil
}

func (k *Key) setFlagAge(list string) error {
	for list != "" {
		scheme, rest, _ := strings.Cut(list, ":")
		switch {
		case slices.Contains(sources(), scheme):
			k.Source = list
			return checkSource(k.At, list)
		case scheme == "identity", scheme == "recipients":
			k.Source = list
			return checkSource(k.At, rest)
		}
		var item string
		item, list, _ = strings.Cut(list, ",")
		item = strings.TrimSpace(item)
		if err := checkRecipient(k.At, item); err != nil {
			return err
		}
		k.Recipients = append(k.Recipients, item)
	}
	return k.check()
}
