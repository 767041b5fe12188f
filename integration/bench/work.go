package main

import (
	"context"
	"path/filepath"
	"slices"
	"time"

	"github.com/sigilfs/sigilfs/integration/bench/report"
)

// A work is something that people do with a bucket.
type work struct {
	name    string
	fixture string // what is there before, by its name; "" for nothing
	far     bool   // it is for links without a cap; else for all
	use
	near    bool // it is for links without a cap and a distance
	often   bool // its median counts
	changes bool // afterwards the fixture is not what it was
	tree    bool // it goes through the small files
	plain   bool // of those that do all it is for mode client alone
	bytes   func(sizes) int64
	raw     string // the same of the raw client; "" where that makes no sense
	null    bool   // the null filesystem can do it
	before  func(ctx context.Context, st *stage) error
	do      func(ctx context.Context, st *stage) error
	check   func(ctx context.Context, st *stage) error // on another mount; may be nil
}

// A stage is the mount of one program during a work.
type stage struct {
	*bed
	c        *contender
	p50, p99 time.Duration // of what was done many times; 0 for none
}

// path is a file in the mount.
func (st *stage) path(name string) string { return filepath.Join(st.mnt(), name) }

// by tells whether a contender can do it.
func (w work) by(c *contender) bool {
	switch {
	case c.only != nil:
		return slices.Contains(c.only, w.name)
	case w.plain:
		return c.name == report.Client
	}
	switch c.kind {
	case report.Raw:
		return w.raw != ""
	case report.Null:
		return w.null
	}
	return true
}

// suits tells whether it is worth doing over a link.
func (w work) suits(l link) bool {
	switch {
	case w.near:
		return l.rate == 0 && l.trip == 0
	case w.far:
		return l.rate == 0
	}
	return true
}

// Names of what is in a bucket.
const (
	largeName   = "large"
	treeName    = "tree"
	namesName   = "names"
	streamsName = "streams"
)

// A fixture is what a work needs in the bucket.
type fixture struct {
	make func(ctx context.Context, st *stage) error
	raw  string
}

var fixtures = map[string]fixture{
	largeName:   {make: writeLarge, raw: rawWrite},
	streamsName: {make: writeStreams, raw: rawWriteStreams},
	treeName:    {make: writeTree},
	namesName:   {make: writeNames},
}

// works are all, in the order of the table: those with the same fixture one
// after the other.
var works = []work{
	{name: report.Idle, near: true, do: idle},
	{name: report.Write, often: true, changes: true, bytes: large, raw: rawWrite, do: writeLarge, check: readLarge},
	{name: report.Read, fixture: largeName, often: true, bytes: large, raw: rawRead, do: readLarge},
	{name: report.Random, fixture: largeName, far: true, raw: rawRandom, do: readRandom},
	{name: report.Again, fixture: largeName, near: true, often: true, use: use{cached: true}, null: true, bytes: large, before: readLarge, do: readAgain},
	{name: "cp inside", fixture: largeName, far: true, changes: true, bytes: large, do: copyLarge, check: readCopy},
	{name: "overwrite 4 KiB, fsync", fixture: largeName, far: true, changes: true, do: overwrite, check: overwritten},
	{name: "append 4 KiB, fsync", fixture: largeName, far: true, changes: true, do: appendTo, check: appended},
	{name: "write 4 streams", changes: true, bytes: large, raw: rawWriteStreams, do: writeStreams, check: readStreams},
	{name: "read 4 streams", fixture: streamsName, bytes: large, raw: rawReadStreams, do: readStreams},
	{name: "create small", far: true, changes: true, tree: true, bytes: sizes.smallBytes, do: create(1), check: created},
	{name: "create small, 16 threads", far: true, changes: true, tree: true, bytes: sizes.smallBytes, do: create(16), check: created},
	{name: "rsync", use: use{renames: true}, far: true, changes: true, tree: true, bytes: sizes.smallBytes, do: rsync, check: sameTree(treeName)},
	{name: "rsync again", use: use{renames: true}, fixture: treeName, far: true, changes: true, tree: true, do: rsync, check: sameTree(treeName)},
	{name: report.Find, fixture: treeName, far: true, tree: true, do: find},
	{name: report.Tar, fixture: treeName, far: true, tree: true, bytes: sizes.smallBytes, do: tarTree, check: tarred},
	{name: "rename directory", fixture: treeName, far: true, changes: true, tree: true, do: rename, check: sameTree(movedName)},
	{name: report.Names, fixture: namesName, near: true, often: true, plain: true, do: listNames},
	{name: "rm -r", fixture: treeName, far: true, changes: true, tree: true, do: remove, check: removed},
}

func large(s sizes) int64 { return s.large }
