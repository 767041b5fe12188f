package interop

// An implementation is one of the programs that are compared.
type implementation struct {
	name string
	party
	// lacks says why it cannot do so; "" if it can.
	lacks func(c config, write bool) string
}

func sigilfs(p party) implementation {
	return implementation{"package s3ec", p, func(c config, write bool) string {
		switch {
		case write && c.Keyring == "rsa":
			return "it writes with no RSA key"
		case write && c.Part > 0:
			return "the test of the format uploads in one PUT"
		}
		return ""
	}}
}

func mountOf(p party) implementation {
	return implementation{"mount", p, func(c config, write bool) string {
		switch {
		case write && c.Keyring == "rsa":
			return "it writes with no RSA key"
		case write && c.Keyring == "aes" && len(c.Context) > 0:
			return "it writes no material description"
		case write && c.Instruction:
			return "it writes no instruction files"
		}
		return ""
	}}
}

func javaV3(p party) implementation {
	return implementation{"java-v3", p, func(c config, _ bool) string {
		if c.Commit || c.Policy != "allow" {
			return "it knows no key commitment"
		}
		return ""
	}}
}

func javaV4(p party) implementation {
	return implementation{"java-v4", p, func(config, bool) string { return "" }}
}

func pythonV4(p party) implementation {
	return implementation{"python-v4", p, func(c config, write bool) string {
		switch {
		case c.Keyring != "kms":
			return "it has no " + c.Keyring + " keyring"
		case write && c.Instruction:
			return "it writes no instruction files"
		}
		return ""
	}}
}
