package doctor

import (
	"fmt"
	"net/netip"
	"regexp"
	"slices"
	"strings"
)

// anybody looks for a statement that lets everybody in.
func anybody(doc document) (Finding, bool) {
	for _, s := range doc.Statement {
		if s.Effect != "Allow" || !s.Principal.everybody && len(s.NotPrincipal) == 0 || s.tied() {
			continue
		}
		text := fmt.Sprintf("the statement %s of the bucket's policy lets everybody in, on no condition", s.name())
		if len(s.Condition) > 0 {
			text += " that says who, or from where"
		}
		return Finding{Status: Warning, Text: text, Remedy: "name the principals that need it, or make the condition"}, true
	}
	return Finding{}, false
}

// tied tells whether a condition of the statement ties it to somebody, or to
// somewhere (Amazon S3 User Guide, "The meaning of 'public'"): to fixed values of
// a few keys. Operators with Not, IfExists or ForAllValues are met by requests
// without the key, as those of nobody are.
func (s statement) tied() bool {
	for operator, keys := range s.Condition {
		operator = strings.TrimPrefix(strings.ToLower(operator), "foranyvalue:")
		for key, values := range keys {
			if slices.Contains(tyingOperators(), operator) && slices.Contains(tyingKeys(), strings.ToLower(key)) &&
				!slices.ContainsFunc(values, func(v text) bool { return !fixed(string(v)) }) {
				return true
			}
		}
	}
	return false
}

func tyingOperators() []string {
	return []string{"stringequals", "stringequalsignorecase", "stringlike", "arnequals", "arnlike", "ipaddress"}
}

func tyingKeys() []string {
	return []string{
		"aws:principalaccount", "aws:principalarn", "aws:principalorgid", "aws:principalorgpaths", "aws:userid",
		"aws:sourceaccount", "aws:sourcearn", "aws:sourceip", "aws:sourceorgid", "aws:sourceowner", "aws:sourcevpc", "aws:sourcevpce",
		"s3:dataaccesspointaccount", "s3:dataaccesspointarn",
	}
}

// ofAccount is an ARN of one account, whatever comes after.
var ofAccount = regexp.MustCompile(`^arn:[^*?$]*:[0-9]{12}:`)

// fixed tells a value that is nobody else's: no pattern for many, and no network
// that S3 takes for everybody's.
func fixed(value string) bool {
	if network, err := netip.ParsePrefix(value); err == nil {
		return network.Bits() >= 8 && (network.Addr().Is4() || network.Bits() >= 32)
	}
	return value != "" && (!strings.ContainsAny(value, "*?") && !strings.Contains(value, "${") || ofAccount.MatchString(value))
}
