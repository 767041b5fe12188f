package doctor

import (
	"strconv"
	"strings"
)

// verdict is whether something holds of a request, as far as is known here: of
// many keys of conditions (source addresses, tags of principals) it is not.
type verdict int8

const (
	no verdict = iota
	perhaps
	yes
)

func both(a, b verdict) verdict   { return min(a, b) }
func either(a, b verdict) verdict { return max(a, b) }
func not(v verdict) verdict       { return yes - v }

func is(b bool) verdict {
	if b {
		return yes
	}
	return no
}

// request is what a policy is asked about.
type request struct {
	action string            // "s3:PutObject"
	object string            // BUCKET, or BUCKET/KEY; "" where the bucket is not known
	known  map[string]string // keys of conditions, in lower case
	absent []string          // those that are known not to be there
}

// applies tells whether the statement speaks of the request, whatever its effect.
func (s statement) applies(r request) verdict {
	v := s.who()
	v = both(v, s.what(r))
	v = both(v, s.where(r))
	for operator, keys := range s.Condition {
		for key, values := range keys {
			v = both(v, r.meets(operator, key, values))
		}
	}
	return v
}

func (s statement) who() verdict {
	if s.Principal.everybody {
		return yes
	}
	return perhaps
}

func (s statement) what(r request) verdict {
	matches := func(all list[text]) (v verdict) {
		for _, a := range all {
			v = either(v, is(wild(strings.ToLower(string(a)), strings.ToLower(r.action))))
		}
		return v
	}
	if len(s.NotAction) > 0 {
		return not(matches(s.NotAction))
	}
	return matches(s.Action)
}

func (s statement) where(r request) verdict {
	matches := func(all list[text]) (v verdict) {
		for _, a := range all {
			v = either(v, r.lies(string(a)))
		}
		return v
	}
	if len(s.NotResource) > 0 {
		return not(matches(s.NotResource))
	}
	return matches(s.Resource)
}

// lies compares a resource, in any partition of AWS.
func (r request) lies(arn string) verdict {
	if arn == "*" {
		return yes
	}
	_, path, found := strings.Cut(arn, ":s3:::")
	switch {
	case !found || r.object == "", strings.Contains(path, "${"):
		return perhaps
	}
	return is(wild(path, r.object))
}

// meets evaluates one key of one operator (IAM User Guide, "Condition
// operators"; "…IfExists"): one of values is enough, of operators with Not none
// may be. A key that is not there does not meet the first and meets the second.
func (r request) meets(operator, key string, values list[text]) verdict {
	operator = strings.ToLower(operator)
	for _, set := range []string{"foranyvalue:", "forallvalues:"} {
		if strings.HasPrefix(operator, set) {
			return perhaps
		}
	}
	operator, ifExists := strings.CutSuffix(operator, "ifexists")
	key = strings.ToLower(key)
	value, known := r.known[key]
	absent := false
	for _, a := range r.absent {
		absent = absent || a == key
	}
	switch {
	case !known && !absent:
		return perhaps
	case operator == "null":
		return anyOf(values, func(v string) verdict { return is(strings.EqualFold(v, strconv.FormatBool(absent))) })
	}
	compare, negated := comparison(operator)
	switch {
	case compare == nil:
		return perhaps
	case absent:
		return is(ifExists || negated)
	}
	met := anyOf(values, func(v string) verdict {
		if strings.Contains(v, "${") {
			return perhaps
		}
		return compare(v, value)
	})
	if negated {
		return not(met)
	}
	return met
}

func anyOf(values list[text], met func(string) verdict) (v verdict) {
	for _, value := range values {
		v = either(v, met(string(value)))
	}
	return v
}

// comparison gives that of an operator, which is of the policy's value and the
// request's, and whether its outcome counts the other way round.
func comparison(operator string) (compare func(want, have string) verdict, negated bool) {
	switch operator {
	case "stringequals", "stringnotequals":
		return func(want, have string) verdict { return is(want == have) }, operator == "stringnotequals"
	case "stringequalsignorecase", "stringnotequalsignorecase", "bool":
		return func(want, have string) verdict { return is(strings.EqualFold(want, have)) }, operator == "stringnotequalsignorecase"
	case "stringlike", "stringnotlike", "arnequals", "arnlike", "arnnotequals", "arnnotlike":
		return func(want, have string) verdict { return is(wild(want, have)) }, strings.Contains(operator, "not")
	case "numericequals", "numericlessthan", "numericlessthanequals", "numericgreaterthan", "numericgreaterthanequals":
		return numeric(operator), false
	}
	return nil, false
}

func numeric(operator string) func(want, have string) verdict {
	return func(want, have string) verdict {
		w, err := strconv.ParseFloat(want, 64)
		h, err2 := strconv.ParseFloat(have, 64)
		if err != nil || err2 != nil {
			return perhaps
		}
		switch operator {
		case "numericequals":
			return is(h == w)
		case "numericlessthan":
			return is(h < w)
		case "numericlessthanequals":
			return is(h <= w)
		case "numericgreaterthan":
			return is(h > w)
		}
		return is(h >= w)
	}
}

// wild matches with * and ?, in time that is at most the product of the lengths.
func wild(pattern, s string) bool {
	p, i, star, mark := 0, 0, -1, 0
	for i < len(s) {
		switch {
		case p < len(pattern) && pattern[p] == '*':
			star, mark = p, i
			p++
		case p < len(pattern) && (pattern[p] == '?' || pattern[p] == s[i]):
			p, i = p+1, i+1
		case star >= 0:
			mark++
			p, i = star+1, mark
		default:
			return false
		}
	}
	return strings.Trim(pattern[p:], "*") == ""
}
