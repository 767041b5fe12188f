package config

// Type is how a field's value is written.
type Type int

// Types.
const (
	Text   Type = iota // characters or a number: what the flag makes of them is its own matter
	Switch             // true or false
	Count              // digits
	List               // one Text or several, none twice: the flag takes them with commas between
)

// Field is a field of the file that is a flag of the same name.
type Field struct {
	Name   string
	Type   Type
	Source bool // it says where a key is, as KeyFlag reads it
}

// Flags are all fields but those that have a shape of their own, see Parts.
func Flags() []Field {
	return []Field{
		{Name: "state-key", Source: true},
		{Name: "signers", Type: List},
		{Name: "sign", Source: true},
		{Name: "key-recheck"},
		{Name: "allow-plaintext", Type: Switch},
		{Name: "require-encryption", Type: Switch},

		{Name: "endpoint-url"},
		{Name: "region"},
		{Name: "profile"},
		{Name: "passwd-file"},
		{Name: "ca-bundle"},
		{Name: "force-path-style", Type: Switch},
		{Name: "insecure-endpoint", Type: Switch},
		{Name: "no-sign-request", Type: Switch},
		{Name: "requester-pays", Type: Switch},
		{Name: "expected-bucket-owner"},
		{Name: "storage-class"},
		{Name: "compress"},
		{Name: "names"},
		{Name: "volume-root"},
		{Name: "retry-timeout"},
		{Name: "upload-limit"},
		{Name: "download-limit"},

		{Name: "read-only", Type: Switch},
		{Name: "at"},
		{Name: "allow-other", Type: Switch},
		{Name: "uid"},
		{Name: "gid"},
		{Name: "dir-mode"},
		{Name: "file-mode"},
		{Name: "attr-timeout"},
		{Name: "on-conflict"},
		{Name: "rollback"},
		{Name: "strict-excl", Type: Switch},
		{Name: "rename-dir-limit", Type: Count},
		{Name: "dev", Type: Switch},
		{Name: "suid", Type: Switch},
		{Name: "noexec", Type: Switch},

		{Name: "state-dir"},
		{Name: "spool-size"},
		{Name: "rollback-size"},
		{Name: "ensure-diskfree"},
		{Name: "memory-limit"},
		{Name: "stop-timeout"},
		{Name: "metrics"},
		{Name: "log-format"},
		{Name: "log-file"},
		{Name: "debug", Type: Switch},
		{Name: "foreground", Type: Switch},
	}
}

// Names are those of Flags.
func Names() []string {
	var names []string
	for _, f := range Flags() {
		names = append(names, f.Name)
	}
	return names
}
