package audit

import "slices"

// Kind is a kind of finding.
type Kind string

// The kinds, the gravest first.
const (
	Plaintext   Kind = "plaintext"
	Weaker      Kind = "weaker"
	OldVersion  Kind = "old-version"
	Moved       Kind = "moved"
	Corrupt     Kind = "corrupt"
	Unreachable Kind = "unreachable-epoch"
	UnknownKey  Kind = "unknown-key"
	Denied      Kind = "denied"
	Unlooked    Kind = "not-looked-at"
	RetiredKey  Kind = "retired-key"
	Foreign     Kind = "foreign-sigil"
	Name        Kind = "name"
	Shadowed    Kind = "shadowed"
)

// KindInfo explains a kind.
type KindInfo struct {
	Kind   Kind
	Title  string // for headings
	Means  string // one sentence
	Remedy string // another
	Grave  bool   // content can be read by others, or by nobody
}

// Kinds explains all kinds, the gravest first.
func Kinds() []KindInfo {
	return []KindInfo{
		{Plaintext, "Plaintext", "The object is stored as it is: nobody encrypts it.", "sigilfs reencrypt moves a prefix to a mode.", true},
		{Weaker, "Weaker than the policy", "The object is encrypted, but more weakly than the rule of its prefix asks.", "sigilfs reencrypt moves it to the mode of the rule.", true},
		{OldVersion, "Weaker old version", "A version that is no longer current is plaintext, or weaker than the policy, and can still be read.", "Remove the version, or let a lifecycle rule do it.", true},
		{Moved, "Moved object", "The seal is of another key: somebody copied the object here without this program, or serves one object for another.", "If you moved it, sigilfs adopt seals it for where it lies.", true},
		{Corrupt, "Corrupt seal", "Metadata that should be sealed do not authenticate, or contradict the object.", "sigilfs verify says more; take an old version or a backup.", true},
		{Unreachable, "Unreachable epoch", "The epoch that sealed the object is missing, closed, or wrapped for none of the keys given.", "Give the key that opens it with --key; sigilfs keys check looks at each epoch.", true},
		{UnknownKey, "Unknown key", "The object needs a key that was not given, or that exists no more.", "Give the key with --key NAME=file:FILE; it then only reads.", true},
		{Denied, "Access denied", "The store, or the key service, lets these credentials not look at the object.", "Grant s3:GetObject, and kms:Decrypt on the key that is named.", false},
		{Unlooked, "Not looked at", "The object could not be looked at: it was replaced meanwhile, or the store gave an error.", "Run the audit again.", false},
		{RetiredKey, "Retired key", "The object is under an epoch that is retired, or under another key than the rule of its prefix writes with.", "sigilfs reencrypt puts it under the current key.", false},
		{Foreign, "Foreign .sigil object", "A key below .sigil/ that no volume makes: mounts hide it.", "Find out who wrote it; nothing reads it.", false},
		{Name, "Name that no path has", "A key with an empty, dot, overlong or unprintable component: mounts do not show it.", "Rename or remove the object with another client.", false},
		{Shadowed, "Shadowed name", "A file of the same name as a directory: mounts show the directory.", "Rename one of them with another client.", false},
	}
}

// rank orders kinds, the gravest first; one that is not known comes last.
func (k Kind) rank() int {
	all := Kinds()
	if i := slices.IndexFunc(all, func(i KindInfo) bool { return i.Kind == k }); i >= 0 {
		return i
	}
	return len(all)
}

// Info explains k.
func (k Kind) Info() KindInfo {
	all := Kinds()
	if i := k.rank(); i < len(all) {
		return all[i]
	}
	return KindInfo{Kind: k, Title: string(k)}
}
