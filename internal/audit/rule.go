package audit

import (
	"cmp"
	"slices"
	"strings"
)

// Sorted orders rules so that the first which fits a key counts.
func Sorted(rules []Rule) []Rule {
	slices.SortStableFunc(rules, func(a, b Rule) int { return cmp.Compare(len(b.Prefix), len(a.Prefix)) })
	return rules
}

// RuleOf gives the rule of a key among sorted ones; nil: there is none.
func RuleOf(rules []Rule, key string) *Rule {
	for i := range rules {
		if strings.HasPrefix(key, rules[i].Prefix) {
			return &rules[i]
		}
	}
	return nil
}
