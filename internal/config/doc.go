package config

// Doc tells a person of a field, or of another word that stands in a
// configuration. The parser knows the names from here.
type Doc struct {
	Name  string
	Value string // the form of its value
	Text  string // a sentence, without the full stop
}

// names are those of docs, in their order.
func names(docs []Doc) []string {
	var all []string
	for _, d := range docs {
		all = append(all, d.Name)
	}
	return all
}

// Parts are the fields of the file that have a shape of their own. All others
// are Flags.
func Parts() []Doc {
	return []Doc{
		{"bucket", "s3://NAME[/PREFIX]", "What is mounted. NAME is that of a bucket, or the ARN of an access point"},
		{"keys", "{NAME: KEY, ...}", "Named keys. Those that no rule names only read"},
		{"encryption", "[RULE, ...]", "How each prefix is encrypted. One rule is without a prefix, so that every path has one, and the longest prefix wins"},
		{"cache", "{dir: DIR, size: SIZE}", "The read cache"},
	}
}

// CacheFields are flags of mount by another name, which Value gives.
func CacheFields() []Doc {
	return []Doc{
		{"dir", "cache", "Where it is on disk"},
		{"size", "max-cache-size", "How large it may grow"},
	}
}

// KeyFields are those of a key.
func KeyFields() []Doc {
	return []Doc{
		{"kms", "ID", "A key of AWS KMS: its ID, its ARN, or an alias (alias/NAME, or the alias's ARN)"},
		{"context", "{NAME: TEXT, ...}", "The encryption context of a kms key, which KMS logs and policies can ask for"},
		{"age", "{recipients: [RECIPIENT, ...], identities: SOURCE}", "A key of age. Recipients (age1..., ssh-...) write, identities read; either may be missing"},
		{"aes", "SOURCE", "A key of 32 bytes, as they are, in hex or in base64"},
		{"ssec", "SOURCE", "The same, for S3 to encrypt with (mode sse-c)"},
		{"rsa", "SOURCE", "A private key in PEM, with which older objects of mode s3ec are read"},
	}
}

// AgeFields are those of an age key.
func AgeFields() []Doc {
	return []Doc{
		{"recipients", "[RECIPIENT, ...]", "Who can read what is written"},
		{"identities", "SOURCE", "What this host reads with"},
	}
}

// Sources are where the secret of a key can be.
func Sources() []Doc {
	return []Doc{
		{"file", "PATH", "A file, which others may not read (mode 0600)"},
		{"env", "NAME", "A variable of the environment"},
		{"credential", "NAME", "A credential of systemd's (LoadCredential=)"},
		{"command", "COMMAND", "What a command of the shell prints"},
	}
}

// RuleFields are those of a rule.
func RuleFields() []Doc {
	return []Doc{
		{"prefix", "PREFIX/", "What the rule is about: a path below what is mounted, ending in a slash; left out, it is about all that no other rule is"},
		{"mode", "MODE", "Who encrypts, and how"},
		{"key", "NAME, or [NAME, ...]", "Keys of the mode, by name. Each of several opens what is written"},
		{"context", "{NAME: TEXT, ...}", "The encryption context in place of the key's own"},
		{"bucket-key", "true|false", "Whether KMS is spared calls by a key of the bucket (default: as the bucket is configured)"},
		{"sse", "MODE, or {mode, key, context, bucket-key}", "What S3 is asked to do with what this host has encrypted (default: nothing)"},
		{"storage-class", "CLASS", "The storage class of new files (default: as for the whole mount). Below a prefix GLACIER or DEEP_ARCHIVE too: what is written there has to be restored before it can be read, renamed or changed"},
		{"compress", "zstd[:LEVEL]|none", "Whether files are compressed before they are encrypted, and at which level, 1 to 22 (default: as for the whole mount)"},
		{"allow-plaintext", "true|false", "Whether objects are read that are not encrypted on the client (default: as for the whole mount)"},
		{"require-encryption", "true|false", "Whether objects are refused that are encrypted more weakly than mode (default: as for the whole mount)"},
		{"s3ec-version", "2|3", "The version that is written (default: 3)"},
		{"s3ec-legacy-wrapping", "true|false", "Whether keys are read that were wrapped by the old algorithms"},
		{"s3ec-legacy-cbc", "true|false", "Whether bodies under AES-CBC are read, which nothing authenticates"},
		{"s3ec-require-commitment", "true|false", "Whether bodies without key commitment are refused"},
		{"instruction-files", "true|false", "Whether instruction files are looked for"},
	}
}

// BeneathFields are those of sse in a rule.
func BeneathFields() []Doc {
	return []Doc{
		{"mode", "MODE", "sse-s3, sse-kms, dsse-kms or sse-c"},
		{"key", "NAME", "The key of the mode (default of the modes of KMS: the account's)"},
		{"context", "{NAME: TEXT, ...}", "The encryption context in place of the key's own"},
		{"bucket-key", "true|false", "As in the rule"},
	}
}

// ModeDocs are the modes; Value is which keys they take.
func ModeDocs() []Doc {
	var docs []Doc
	for _, m := range Modes() {
		u, _ := m.use()
		docs = append(docs, Doc{string(m), join(u.kinds), m.text()})
	}
	return docs
}

// Fields are those of a rule that go with the mode, beside prefix and mode.
func (m Mode) Fields() []string {
	u, _ := m.use()
	return u.fields
}

func (m Mode) text() string {
	return map[Mode]string{
		Client:        "This host encrypts, in the sigil format: S3 sees names, and sizes to 16 bytes",
		S3EC:          "This host encrypts, in the formats of the Amazon S3 Encryption Client, which AWS's clients read",
		SSES3:         "S3 encrypts with keys of its own",
		SSEKMS:        "S3 encrypts with a key of KMS; without one, with the account's default key",
		DSSEKMS:       "S3 encrypts in two layers with a key of KMS",
		SSEC:          "S3 encrypts with a key of yours, which goes along with each request",
		BucketDefault: "S3 encrypts as the bucket is configured; a bucket that is not is refused",
		None:          "Nobody encrypts",
	}[m]
}
