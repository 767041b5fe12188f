package audit

import "time"

// day is one of 24 hours: ages are told in such.
const day = 24 * time.Hour

// ageUnknown is the name of the group of what has no time.
const ageUnknown = "not known"

type ageGroup struct {
	name  string
	under time.Duration // ages below it are in the group
}

// ageGroups are those of the charts, the youngest first.
func ageGroups() []ageGroup {
	return []ageGroup{
		{"under a day", day},
		{"under a week", 7 * day},
		{"under a month", 30 * day},
		{"under 3 months", 91 * day},
		{"under a year", 365 * day},
		{"under 3 years", 3 * 365 * day},
	}
}

// ageOldest is the name of the last group.
const ageOldest = "3 years and more"

// ageOf names the group of what was modified then. What a clock that is ahead
// has written is the youngest.
func ageOf(modified, now time.Time) string {
	if modified.IsZero() {
		return ageUnknown
	}
	age := now.Sub(modified)
	for _, g := range ageGroups() {
		if age < g.under {
			return g.name
		}
	}
	return ageOldest
}

// ageNames are all groups in the order in which they are shown.
func ageNames() []string {
	var names []string
	for _, g := range ageGroups() {
		names = append(names, g.name)
	}
	return append(names, ageOldest, ageUnknown)
}
