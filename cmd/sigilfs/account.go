package main

import (
	"os"
	"runtime"
	"slices"
	"time"

	"github.com/sigilfs/sigilfs/cache"
	"github.com/sigilfs/sigilfs/cache/disk"
	"github.com/sigilfs/sigilfs/cache/spool"
	"github.com/sigilfs/sigilfs/cmd/sigilfs/internal/status"
	"github.com/sigilfs/sigilfs/internal/freshness"
	"github.com/sigilfs/sigilfs/internal/keyring"
	"github.com/sigilfs/sigilfs/internal/keyring/kms"
	"github.com/sigilfs/sigilfs/internal/metrics"
	"github.com/sigilfs/sigilfs/internal/volume"
	"github.com/sigilfs/sigilfs/internal/volume/named"
	"github.com/spf13/pflag"
)

// account is what a mount tells of itself, from the moment on at which it is
// mounted. Nothing of it changes, and all that it asks is safe for concurrent
// use, also after it was closed.
type account struct {
	volume *volume.Volume
	cache  *cache.Cache
	disk   *disk.Cache  // nil: none
	spool  *spool.Spool // nil: read-only
	ring   *keyring.Ring
	seals  *freshness.Memory
	kms    *kms.Client // nil: no key needs it
	asked  *rechecks
	ended  <-chan struct{}
	names  *named.Names
	print  string // fingerprint of the key of names; "": they are clear

	same   status.Mount         // what does not change
	oldest map[string]time.Time // key by kind
	limit  int64                // of memory
}

func (m *mounting) account() *account {
	v, _ := built()
	a := &account{
		volume: m.volume, cache: m.cache, disk: m.disk, spool: m.spool, ring: m.ring, seals: m.seals, kms: m.kms, asked: &m.rechecks, ended: m.ended, names: m.names, print: m.naming.print,
		limit: m.set.memoryLimit, oldest: oldestKeys(m.rules),
	}
	a.same = status.Mount{
		Version: status.Version, Dir: m.dir, Source: m.set.source, Bucket: m.set.target.Spec,
		PID: os.Getpid(), UID: os.Geteuid(), Program: v, Since: time.Now(), ReadOnly: m.set.readOnly,
		Options: m.set.inEffect(), Rules: toldRules(m.rules), Keys: toldKeys(m.opened),
	}
	if m.spool != nil {
		a.same.Spool = &status.Space{Dir: m.spoolDir, Limit: m.spool.Limit()}
	}
	if m.disk != nil {
		a.same.Cache = &status.Cache{Disk: &status.Tier{Space: status.Space{Dir: m.cacheDir.Path()}}}
	}
	return a
}

// toldRules are the rules, without what they are made of.
func toldRules(rules []rule) []status.Rule {
	var all []status.Rule
	for _, r := range rules {
		one := status.Rule{Prefix: r.Prefix, Mode: string(r.Mode)}
		for _, k := range r.keys {
			one.Keys = append(one.Keys, k.Name)
		}
		all = append(all, one)
	}
	return all
}

// toldKeys are the keys by name, kind and id; never where they come from.
func toldKeys(keys []*key) []status.Key {
	var all []status.Key
	for _, k := range keys {
		one := status.Key{Name: k.Name, Kind: string(k.Kind)}
		if k.master != nil {
			one.Kind, one.ID = k.master.Kind(), k.master.ID() // a file tells its kind itself
			one.Created = keyring.Created(k.master)
		}
		all = append(all, one)
	}
	return all
}

// oldestKeys are, by kind, when the oldest key was made under which a rule
// writes. Keys that only read are old by design.
func oldestKeys(rules []rule) map[string]time.Time {
	all := map[string]time.Time{}
	for _, r := range rules {
		for _, k := range r.keys {
			if k.master == nil {
				continue
			}
			made, kind := keyring.Created(k.master), k.master.Kind()
			if then, known := all[kind]; !made.IsZero() && (!known || made.Before(then)) {
				all[kind] = made
			}
		}
	}
	return all
}

// facts are for a scrape.
func (a *account) facts() metrics.Facts {
	s, c, asked := a.volume.Stats(), a.cache.Stats(), a.asked.tally()
	f := metrics.Facts{
		Mounted: a.same.Since, MemoryLimit: a.limit,
		DirtyFiles: s.Dirty, UploadingFiles: s.Uploading, FailingFiles: s.Failing, DirtyBytes: s.DirtySize,
		FailingSince: s.FailingSince, Uploads: s.Uploads, Chores: s.Chores, Conflicts: s.Conflicts, Foreign: s.Foreign, Suspended: s.Suspended != nil,
		MemoryCache: metrics.Cache{Hits: c.Hits, Misses: c.Misses, Filled: metrics.Filled{Used: c.Kept, Limit: c.Own}},
		KMSRequests: a.kmsRequests(), KeysByKind: map[string]int{}, EpochsByState: map[string]int{},
		OldestKeys: a.oldest, Rechecks: metrics.Outcomes{All: asked.all, Failed: asked.failed},
	}
	if a.spool != nil {
		f.Spool = &metrics.Filled{Used: a.spool.Used(), Limit: a.spool.Limit()}
	}
	if a.disk != nil {
		d := a.disk.Stats()
		f.DiskCache = &metrics.Cache{Hits: uint64(d.Hits), Misses: uint64(d.Misses), Filled: metrics.Filled{Used: d.Bytes, Limit: d.Limit}}
		f.DiskLost = d.Lost
	}
	known := a.seals.Stats()
	f.Older, f.OlderSeen, f.Versions, f.VersionsForgotten = s.Older, a.volume.RollbacksSeen(), known.Records, known.Forgotten
	for _, k := range a.same.Keys {
		f.KeysByKind[k.Kind]++
	}
	for _, e := range a.ring.Epochs() {
		f.EpochsByState[e.State.String()]++
		if e.RolledBack {
			f.OlderEpochs++
		}
		if e.Current && (f.OldestCurrentEpoch.IsZero() || e.Created.Before(f.OldestCurrentEpoch)) {
			f.OldestCurrentEpoch = e.Created
		}
	}
	return f
}

func (a *account) kmsRequests() map[string]uint64 {
	if a.kms == nil {
		return nil
	}
	s := a.kms.Stats()
	return map[string]uint64{
		"GenerateDataKey": s.GenerateDataKey, "Decrypt": s.Decrypt, "Encrypt": s.Encrypt,
		"ReEncrypt": s.ReEncrypt, "DescribeKey": s.DescribeKey,
	}
}

// Bounds of what a document lists.
const (
	mostFiles  = 1000
	mostEpochs = 100
)

// document is for sigilfs status.
func (a *account) document(now time.Time, errs []status.Event) status.Mount {
	m := a.same
	m.Asked, m.Errors, m.KMSRequests = now, errs, a.kmsRequests()
	m.State = status.Serving
	select {
	case <-a.ended:
		m.State = status.Ending
	default:
	}
	if asked := a.asked.tally(); asked.err != nil {
		m.KeysFailing = &status.Failing{Since: asked.since, Error: asked.err.Error()}
	}
	a.files(&m)
	a.space(&m)
	a.older(&m)
	a.epochs(&m)
	m.Judge()
	return m
}

func (a *account) files(m *status.Mount) {
	s := a.volume.Stats()
	m.Uploads, m.Chores, m.Conflicts = s.Uploads, s.Chores, s.Conflicts
	if a.print != "" {
		m.Names = &status.Names{Fingerprint: a.print, Foreign: s.Foreign}
	}
	if s.Suspended != nil {
		m.Suspended = s.Suspended.Error()
	}
	f := &status.Files{Dirty: s.Dirty, Size: s.DirtySize, Uploading: s.Uploading, Failing: s.Failing}
	all := a.volume.Unfinished()
	for _, u := range all[:min(len(all), mostFiles)] {
		one := status.File{
			Path: shownIn(a.names, u.Path), Size: u.Size, AttributesOnly: u.AttrsOnly, Open: u.Open,
			Uploading: u.Uploading, Uploaded: u.Uploaded, Since: u.Since, Next: u.Next,
		}
		if u.Err != nil {
			one.Error = u.Err.Error()
		}
		f.List = append(f.List, one)
	}
	f.More = len(all) - len(f.List)
	m.Files = f
}

// older tells of objects in an older state than was known, and of what that is
// judged by.
func (a *account) older(m *status.Mount) {
	all, more := a.volume.Rollbacks()
	if len(all) > 0 {
		m.Older = &status.Older{Objects: len(all) + int(more)} //nolint:gosec // a count
		for _, r := range all[:min(len(all), mostFiles)] {
			m.Older.List = append(m.Older.List, status.OlderObject{Path: shownIn(a.names, r.Path), Kind: r.Kind, Shown: r.Shown, Known: r.Known, Since: r.Since})
		}
		m.Older.More = m.Older.Objects - len(m.Older.List)
	}
	s := a.seals.Stats()
	m.Versions = &status.Known{Records: s.Records, Limit: s.Limit, Forgotten: s.Forgotten}
	if s.Err != nil {
		m.Versions.Error = s.Err.Error()
	}
}

func (a *account) space(m *status.Mount) {
	if a.spool != nil {
		m.Spool = &status.Space{Dir: m.Spool.Dir, Used: a.spool.Used(), Limit: a.spool.Limit()}
	}
	c := a.cache.Stats()
	tiers := &status.Cache{Memory: status.Tier{Space: status.Space{Used: c.Kept, Limit: c.Own}, Hits: c.Hits, Misses: c.Misses}}
	if a.disk != nil {
		d := a.disk.Stats()
		tiers.Disk = &status.Tier{
			Space: status.Space{Dir: m.Cache.Disk.Dir, Used: d.Bytes, Limit: d.Limit},
			Hits:  uint64(d.Hits), Misses: uint64(d.Misses), Lost: d.Lost,
		}
	}
	m.Cache = tiers
	var mem runtime.MemStats
	runtime.ReadMemStats(&mem)
	m.Memory = &status.Memory{Heap: int64(mem.HeapAlloc), System: int64(mem.Sys - mem.HeapReleased), Limit: a.limit}
}

// epochs lists the newest first, those that are sealed under before others.
func (a *account) epochs(m *status.Mount) {
	all := a.ring.Epochs()
	slices.SortStableFunc(all, func(x, y keyring.EpochStatus) int {
		if x.Current != y.Current {
			if x.Current {
				return -1
			}
			return 1
		}
		return y.Created.Compare(x.Created)
	})
	for _, e := range all[:min(len(all), mostEpochs)] {
		m.Epochs = append(m.Epochs, status.Epoch{
			ID: e.ID.String(), State: e.State.String(), Created: e.Created, Host: e.Host,
			Keys: e.KeyIDs, Current: e.Current, Lost: e.Lost, Signer: e.Signer, RolledBack: e.RolledBack,
		})
	}
	m.MoreEpochs = len(all) - len(m.Epochs)
}

// aboutKeys tells the flags whose values are shown nowhere: anything may be in
// them by mistake.
func aboutKeys(flag string) bool {
	switch flag {
	case "encryption", "key", "also-key", "sse-c-key", "state-key", "sign", "sse", "sse-kms-key-id", "options":
		return true
	}
	return false
}

// inEffect are the options that were given, by flags or the file, but for those
// about keys.
func (s *settings) inEffect() map[string]string {
	all := map[string]string{}
	if s.bound == nil {
		return all
	}
	s.bound.VisitAll(func(f *pflag.Flag) {
		value := f.Value.String()
		if !f.Changed && value == f.DefValue {
			return
		}
		if !aboutKeys(f.Name) {
			all[f.Name] = value
		}
	})
	return all
}
