package audit

import (
	"cmp"
	"maps"
	"slices"
	"strings"
	"time"
)

// Bounds of what a Tally keeps, whatever the bucket holds.
const (
	maxGroups   = 1000 // names of a grouping; what is beyond them is counted together
	maxPrefixes = 5000 // that findings are counted by
	maxKept     = 200  // findings of a kind that are kept
	maxLabel    = 300  // bytes of a group's name, or of a prefix
	maxText     = 1000 // bytes of what is said of a finding
)

// others is the group of what has none of its own.
const others = "(others)"

// noKey is the group of objects without a key, or of which none is known.
const noKey = "(no key known)"

// Count is a number of objects, and their bytes as stored.
type Count struct {
	Objects int64 `json:"objects"`
	Bytes   int64 `json:"bytes"`
}

func (c *Count) add(bytes int64) {
	c.Objects++
	c.Bytes += bytes
}

// Group is a Count by a name.
type Group struct {
	Name string `json:"name"`
	Count
}

// KindCount is a number of findings.
type KindCount struct {
	Kind  Kind  `json:"kind"`
	Count int64 `json:"count"`
}

// PrefixCount is a number of findings below a prefix.
type PrefixCount struct {
	Prefix string `json:"prefix"`
	Count  int64  `json:"count"`
}

// Kept is a finding with its object.
type Kept struct {
	Kind    Kind
	Key     string
	Path    string // what people call it, where the key does not say so
	Version string
	Old     bool
	Mode    string
	KeyID   string
	Stored  int64
	Text    string
}

// Report is all that is known at the end.
type Report struct {
	Head
	Ended    time.Time
	Complete bool   // nothing was left out
	Last     string // the last key of which all was looked at
	GoesOn   bool   // the same command goes on where this one ended
	Notes    []string

	Current, Old                  Count // objects, and versions that are not current
	Encrypted                     Count // of Current: by anybody
	ByMode, ByKey, ByAge, ByClass []Group

	Findings  int64
	ByKind    []KindCount   // the gravest first
	ByPrefix  []PrefixCount // most first
	Kept      []Kept        // the first of each kind, the gravest first, by key
	KeptAll   bool          // Kept are all there are
	Bucket    []BucketFinding
	BucketBad int
}

// Clean tells whether nothing was found.
func (r *Report) Clean() bool { return r.Findings == 0 && r.BucketBad == 0 }

// Tally counts objects as they are told of. It is for one goroutine.
type Tally struct {
	head   Head
	below  string // prefix of all keys: what comes after it is grouped by
	last   string
	old    Count
	all    Count
	shut   Count // encrypted by anybody
	groups map[string]map[string]*Count
	kinds  map[Kind]int64
	prefix map[string]int64
	kept   map[Kind][]Kept
}

// Groupings.
const (
	byMode  = "mode"
	byKey   = "key"
	byAge   = "age"
	byClass = "class"
)

// NewTally begins one. below is the prefix that all keys have.
func NewTally(head Head, below string) *Tally {
	t := &Tally{
		head: head, below: below, groups: map[string]map[string]*Count{},
		kinds: map[Kind]int64{}, prefix: map[string]int64{}, kept: map[Kind][]Kept{},
	}
	for _, by := range []string{byMode, byKey, byAge, byClass} {
		t.groups[by] = map[string]*Count{}
	}
	return t
}

// Add counts one object.
func (t *Tally) Add(o Object) {
	if !o.More {
		t.last = o.Key
	}
	if o.Old {
		t.old.add(o.Stored)
	} else {
		t.count(o)
	}
	for _, f := range o.Findings {
		t.find(o, f)
	}
}

func (t *Tally) count(o Object) {
	t.all.add(o.Stored)
	if o.Mode != modeNone && o.Mode != Unknown {
		t.shut.add(o.Stored)
	}
	t.group(byMode, cmp.Or(o.Mode, Unknown), o.Stored)
	t.group(byKey, cmp.Or(o.KeyID, noKey), o.Stored)
	t.group(byAge, ageOf(o.Modified, t.head.Began), o.Stored)
	t.group(byClass, cmp.Or(o.Class, "STANDARD"), o.Stored)
}

func (t *Tally) group(by, name string, bytes int64) {
	groups := t.groups[by]
	name = cut(name, maxLabel)
	c := groups[name]
	if c == nil && len(groups) >= maxGroups {
		name = others
		c = groups[name]
	}
	if c == nil {
		c = &Count{}
		groups[strings.Clone(name)] = c
	}
	c.add(bytes)
}

// cut bounds what is kept of a name.
func cut(name string, most int) string {
	if len(name) > most {
		return strings.ToValidUTF8(name[:most], "") + "…"
	}
	return name
}

func (t *Tally) find(o Object, f Finding) {
	key, path := o.Key, o.Path
	if f.Key != "" && f.Key != key {
		key, path = f.Key, ""
	}
	t.kinds[f.Kind]++
	t.underPrefix(key)
	if len(t.kept[f.Kind]) >= maxKept {
		return
	}
	t.kept[f.Kind] = append(t.kept[f.Kind], Kept{
		Kind: f.Kind, Key: key, Path: path, Version: o.Version, Old: o.Old, Mode: o.Mode, KeyID: cut(o.KeyID, maxLabel), Stored: o.Stored, Text: cut(f.Text, maxText),
	})
}

// underPrefix counts a finding by the first two directories of its key, or by
// the first, or by none, where there are too many of them.
func (t *Tally) underPrefix(key string) {
	rest, ok := strings.CutPrefix(key, t.below)
	first, _, deep := strings.Cut(rest, "/")
	if !ok || !deep {
		t.prefix[t.below]++
		return
	}
	first += "/"
	places := []string{t.below + first, others}
	if second, _, deep := strings.Cut(rest[len(first):], "/"); deep {
		places = append([]string{t.below + first + second + "/"}, places...)
	}
	for i, p := range places {
		p = cut(p, maxLabel)
		if _, known := t.prefix[p]; known || len(t.prefix) < maxPrefixes>>i || p == others {
			t.prefix[strings.Clone(p)]++
			return
		}
	}
}

// End gives what was counted. complete: nothing was left out.
func (t *Tally) End(now time.Time, complete bool, bucket []BucketFinding, notes ...string) *Report {
	r := &Report{
		Head: t.head, Ended: now, Complete: complete, Last: t.last, Notes: notes,
		Current: t.all, Old: t.old, Encrypted: t.shut,
		ByMode: t.largest(byMode), ByKey: t.largest(byKey), ByClass: t.largest(byClass), ByAge: t.ages(),
		Bucket: bucket,
	}
	for _, k := range slices.SortedFunc(maps.Keys(t.kinds), func(a, b Kind) int { return cmp.Or(a.rank()-b.rank(), cmp.Compare(a, b)) }) {
		r.Findings += t.kinds[k]
		r.ByKind = append(r.ByKind, KindCount{k, t.kinds[k]})
		r.Kept = append(r.Kept, t.kept[k]...)
	}
	r.KeptAll = int64(len(r.Kept)) == r.Findings
	for _, p := range slices.Sorted(maps.Keys(t.prefix)) {
		r.ByPrefix = append(r.ByPrefix, PrefixCount{p, t.prefix[p]})
	}
	slices.SortStableFunc(r.ByPrefix, func(a, b PrefixCount) int { return cmp.Compare(b.Count, a.Count) })
	for _, f := range bucket {
		if f.Bad() {
			r.BucketBad++
		}
	}
	return r
}

// largest gives a grouping, most objects first.
func (t *Tally) largest(by string) []Group {
	var all []Group
	for _, name := range slices.Sorted(maps.Keys(t.groups[by])) {
		all = append(all, Group{name, *t.groups[by][name]})
	}
	slices.SortStableFunc(all, func(a, b Group) int {
		return cmp.Or(cmp.Compare(b.Objects, a.Objects), cmp.Compare(b.Bytes, a.Bytes))
	})
	return all
}

// ages gives the groups of age that have objects, the youngest first.
func (t *Tally) ages() []Group {
	var all []Group
	for _, name := range ageNames() {
		if c := t.groups[byAge][name]; c != nil {
			all = append(all, Group{name, *c})
		}
	}
	return all
}
