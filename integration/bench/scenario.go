package main

import "context"

// A scenario is something that people do with a bucket. measure leaves the
// bucket and the mount empty.
type scenario struct {
	name    string
	measure func(ctx context.Context, b *bed) ([]result, error)
}

// scenarios are all, in the order of the table.
var scenarios = []scenario{
	{"sequential write", writeLarge},
	{"sequential read", readLarge},
	{"stream, spool of 256 MiB", streamLarge},
	{"4 KiB change", changeLarge},
	{"cp in the mount", copyLarge},
	{"small files, rsync -a", tool("rsync", "-a")},
	{"small files, cp -a", tool("cp", "-a")},
	{"small files, tar x", untar},
	{"rename of a directory", renameDirectory},
}

const (
	kib = 1 << 10
	mib = 1 << 20
	gib = 1 << 30
)

// largeSize is the size of what is written, read, changed and copied.
const largeSize = gib
