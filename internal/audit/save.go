package audit

import (
	"encoding/json"
	"errors"
	"time"
)

// ErrSaved: what should be a Tally is none.
var ErrSaved = errors.New("not what an audit has counted")

// saved is a Tally as it is stored. Names are bytes: JSON would mend what is not
// UTF-8.
type saved struct {
	Began    time.Time               `json:"began"`
	Last     []byte                  `json:"last,omitempty"`
	All      Count                   `json:"all"`
	Old      Count                   `json:"old"`
	Shut     Count                   `json:"encrypted"`
	Groups   map[string][]savedCount `json:"groups"`
	Kinds    map[Kind]int64          `json:"kinds,omitempty"`
	Prefixes []savedCount            `json:"prefixes,omitempty"`
	Kept     []savedFinding          `json:"findings,omitempty"`
}

type savedCount struct {
	Name []byte `json:"name"`
	Count
}

type savedFinding struct {
	Kind    Kind   `json:"kind"`
	Key     []byte `json:"key"`
	Version string `json:"version,omitempty"`
	Old     bool   `json:"old,omitempty"`
	Mode    string `json:"mode"`
	KeyID   []byte `json:"keyID,omitempty"`
	Stored  int64  `json:"stored"`
	Text    []byte `json:"text,omitempty"`
	Path    []byte `json:"path,omitempty"`
}

// Save gives all that was counted as one JSON document, of a size that is bounded
// whatever the bucket holds.
func (t *Tally) Save() ([]byte, error) {
	s := saved{Began: t.head.Began, Last: []byte(t.last), All: t.all, Old: t.old, Shut: t.shut, Groups: map[string][]savedCount{}, Kinds: t.kinds}
	for by, groups := range t.groups {
		for name, c := range groups {
			s.Groups[by] = append(s.Groups[by], savedCount{[]byte(name), *c})
		}
	}
	for prefix, n := range t.prefix {
		s.Prefixes = append(s.Prefixes, savedCount{[]byte(prefix), Count{Objects: n}})
	}
	for _, kept := range t.kept {
		for _, k := range kept {
			s.Kept = append(s.Kept, savedFinding{k.Kind, []byte(k.Key), k.Version, k.Old, k.Mode, []byte(k.KeyID), k.Stored, []byte(k.Text), []byte(k.Path)})
		}
	}
	return json.Marshal(s)
}

// RestoreTally goes on with what Save gave. Ages are counted from when that
// audit began. Errors: ErrSaved.
func RestoreTally(head Head, below string, b []byte) (*Tally, error) {
	var s saved
	if err := json.Unmarshal(b, &s); err != nil || s.Began.IsZero() {
		return nil, ErrSaved
	}
	head.Began = s.Began
	t := NewTally(head, below)
	t.last, t.all, t.old, t.shut = string(s.Last), s.All, s.Old, s.Shut
	for by, groups := range s.Groups {
		if t.groups[by] == nil || len(groups) > maxGroups+1 {
			return nil, ErrSaved
		}
		for _, g := range groups {
			t.groups[by][string(g.Name)] = &g.Count
		}
	}
	for _, p := range s.Prefixes {
		t.prefix[string(p.Name)] = p.Objects
	}
	for kind, n := range s.Kinds {
		t.kinds[kind] = n
	}
	for _, k := range s.Kept {
		t.kept[k.Kind] = append(t.kept[k.Kind], Kept{k.Kind, string(k.Key), string(k.Path), k.Version, k.Old, k.Mode, string(k.KeyID), k.Stored, string(k.Text)})
	}
	return t, nil
}
