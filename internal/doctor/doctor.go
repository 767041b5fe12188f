// Package doctor asks what a mount would ask, and what nobody asks until it is
// missing: whether the bucket is reached, whether it does what its answers say,
// and what lies in it, or is about to happen to it, that no listing shows.
//
// A Check is a named value. Each gives one Finding: how bad it is, one sentence,
// and where there is something to do, what. Checks run one after the other, each
// in bounded time, and one whose need was not met is skipped. Nothing is mended
// here; what a check writes lies under .sigil/doctor/ of the volume root and is
// removed again.
//
// Bucket gives the checks of a bucket. Those of the host and its keys are made
// where keys and devices are known, as values of the same kind.
package doctor

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"time"
)

// Status is how a check came out, the harmless first.
type Status uint8

// The statuses.
const (
	OK      Status = iota
	Skipped        // not tried, and the sentence says why
	Warning        // a mount works, and something will cost money, speed or data one day
	Failure        // a mount would be refused, or data will be lost
)

var statuses = [...]string{OK: "ok", Skipped: "skipped", Warning: "warning", Failure: "failure"}

func (s Status) String() string { return statuses[s] }

// MarshalText spells it as String does.
func (s Status) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// Finding is what a check found out.
type Finding struct {
	Status   Status   `json:"status"`
	Text     string   `json:"text"`               // one sentence, without a full stop
	Remedy   string   `json:"remedy,omitempty"`   // what to do, as another
	Commands []string `json:"commands,omitempty"` // lines for a shell that do it
}

// Check is one question.
type Check struct {
	Name  string   // one word
	Needs []string // names of checks before it, which must have come out OK or Warning
	Ask   func(ctx context.Context) Finding
}

// Settled is a check whose finding is known already.
func Settled(name string, f Finding) Check {
	return Check{Name: name, Ask: func(context.Context) Finding { return f }}
}

// Result is the finding of the check of that name.
type Result struct {
	Check string `json:"check"`
	Finding
}

// Options of Examine.
type Options struct {
	Timeout time.Duration // of each check; 0 is two minutes
	Tell    func(Result)  // called with each result as it comes; may be nil
}

// Examine asks all, in order. When ctx ends, the checks that are left are
// warned of: nobody knows.
func Examine(ctx context.Context, checks []Check, opt Options) []Result {
	opt.Timeout = cmp.Or(opt.Timeout, 2*time.Minute)
	var results []Result
	for _, c := range checks {
		r := Result{c.Name, ask(ctx, c, results, opt.Timeout)}
		results = append(results, r)
		if opt.Tell != nil {
			opt.Tell(r)
		}
	}
	return results
}

func ask(ctx context.Context, c Check, before []Result, timeout time.Duration) Finding {
	if ctx.Err() != nil {
		return Finding{Status: Warning, Text: "not tried: interrupted", Remedy: "let it run to its end"}
	}
	for _, need := range c.Needs {
		i := slices.IndexFunc(before, func(r Result) bool { return r.Check == need })
		if i < 0 {
			panic("doctor: " + c.Name + " needs " + need + ", which is not before it")
		}
		if s := before[i].Status; s != OK && s != Warning {
			return Finding{Status: Skipped, Text: fmt.Sprintf("not tried: %s is %s", need, s)}
		}
	}
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	return c.Ask(ctx)
}

// Worst is the worst status of all; that of nothing is OK.
func Worst(results []Result) Status {
	worst := OK
	for _, r := range results {
		if r.Status != Skipped {
			worst = max(worst, r.Status)
		}
	}
	return worst
}
