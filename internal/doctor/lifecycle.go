package doctor

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/sigilfs/sigilfs/internal/objstore"
)

// abortDays is the least number of days after which a rule should abort
// uploads. S3 counts from where an upload began, however busy it is; a mount
// counts from the last sign of life, seven days. So a rule of less than eight
// ends what every mount still takes for alive. The largest object, 5 TiB, goes
// up within eight days at 64 Mbit/s.
const abortDays = 8

// enabled gives the rules that are; the server is asked once.
func (e *exam) enabled(ctx context.Context) ([]objstore.LifecycleRule, error) {
	if !e.asked {
		e.asked = true
		b, err := e.bucket()
		if err == nil {
			e.rules, err = b.Lifecycle(ctx)
		}
		e.rulesErr = err
	}
	var on []objstore.LifecycleRule
	for _, r := range e.rules {
		if r.Enabled {
			on = append(on, r)
		}
	}
	return on, e.rulesErr
}

const lifecycleAction = "s3:GetLifecycleConfiguration"

// lifecycle looks for a rule that ends abandoned uploads, of this program when
// no host mounts any more, and of all others.
func (e *exam) lifecycle(ctx context.Context) Finding {
	rules, err := e.enabled(ctx)
	if err != nil {
		return e.unanswered("lifecycle rules", lifecycleAction, err)
	}
	rules = slices.DeleteFunc(rules, func(r objstore.LifecycleRule) bool { return r.AbortDays == 0 })
	for _, r := range rules {
		if r.AbortDays < abortDays && r.Filter.Touches(e.Root) {
			return e.hasty(r)
		}
	}
	covers := func(r objstore.LifecycleRule) bool { return r.Filter.Covers(e.Root) }
	if i := slices.IndexFunc(rules, covers); i >= 0 {
		return ok("rule %q ends uploads after %s", rules[i].ID, days(rules[i].AbortDays))
	}
	f := Finding{
		Status: Warning, Text: "no lifecycle rule ends abandoned uploads: parts that a host leaves which never comes back are paid for, unseen by every listing",
		Remedy: fmt.Sprintf("add a rule that aborts them after %d days, or see to it that the server has such a setting of its own, as MinIO has", abortDays), Commands: e.add(),
	}
	if len(rules) > 0 {
		f.Text = fmt.Sprintf("of the rules that end abandoned uploads (%s) none is for all of %s: what is left beside them is paid for, unseen by every listing", names(rules), e.volume())
	}
	return f
}

// hasty is the finding of a rule that may end what is under way.
func (e *exam) hasty(r objstore.LifecycleRule) Finding {
	return Finding{
		Status:   Warning,
		Text:     fmt.Sprintf("rule %q ends uploads %s after they began, also those under way: a file that takes longer to write is sent anew or, if it is larger than the spool, lost with an error at close", r.ID, days(r.AbortDays)),
		Remedy:   fmt.Sprintf("give that rule %d days or more, and more than it takes to write the largest file", abortDays),
		Commands: e.change(),
	}
}

// archives are the storage classes from which nothing can be read before it is
// restored.
func archives() []string { return []string{"GLACIER", "DEEP_ARCHIVE"} }

// expiry looks for rules that take away what the volume keeps under .sigil/:
// epochs, without which nothing opens, journals, and the bodies of linked files.
func (e *exam) expiry(ctx context.Context) Finding {
	rules, err := e.enabled(ctx)
	if err != nil {
		return e.unanswered("lifecycle rules", lifecycleAction, err)
	}
	own := e.Root + ".sigil/"
	for _, r := range rules {
		if !r.Filter.Touches(own) {
			continue
		}
		what := ""
		switch {
		case r.Expires:
			what = "removes"
		case slices.ContainsFunc(r.Transitions, func(class string) bool { return slices.Contains(archives(), class) }):
			what = "archives"
		default:
			continue
		}
		return Finding{
			Status: Failure, Text: fmt.Sprintf("rule %q %s what gets old under %s: without the epochs there nothing sealed can be read, and files with hard links have their content there", r.ID, what, own),
			Remedy: "disable that rule, or give it a prefix that leaves .sigil/ out", Commands: e.change(),
		}
	}
	return ok("no rule removes or archives what is under %s", own)
}

// versions tells what becomes of bodies that are replaced.
func (e *exam) versions(ctx context.Context) Finding {
	const what = "versioning"
	b, err := e.bucket()
	if err != nil {
		return e.unanswered(what, "s3:GetBucketVersioning", err)
	}
	v, err := b.Versioning(ctx)
	if err != nil {
		return e.unanswered(what, "s3:GetBucketVersioning", err)
	}
	if v == objstore.VersionsNone {
		return ok("the bucket keeps no versions: what is overwritten or removed is gone")
	}
	rules, err := e.enabled(ctx)
	if err != nil {
		return ok("the bucket has versions; whether a rule ever removes old ones is not known")
	}
	if r := e.outdating(rules); r != nil {
		return ok("the bucket has versions, and rule %q removes them %s after they were replaced", r.ID, days(r.NoncurrentDays))
	}
	return Finding{
		Status: OK, Text: "the bucket has versions, and no rule for all of " + e.volume() + " ever removes old ones: each overwrite and each removed file is paid for from then on",
		Remedy: "if that is not meant to be, add a rule with NoncurrentVersionExpiration",
	}
}

// outdating gives a rule that removes old versions in all of the volume; nil is
// none.
func (e *exam) outdating(rules []objstore.LifecycleRule) *objstore.LifecycleRule {
	for i, r := range rules {
		if r.NoncurrentDays > 0 && r.Filter.Covers(e.Root) {
			return &rules[i]
		}
	}
	return nil
}

func names(rules []objstore.LifecycleRule) string {
	var all []string
	for _, r := range rules {
		all = append(all, fmt.Sprintf("%q", r.ID))
	}
	return strings.Join(all, ", ")
}

func days(n int) string {
	if n == 1 {
		return "1 day"
	}
	return fmt.Sprintf("%d days", n)
}
