// Package spool keeps what was written to files and is not committed yet:
// dirty blocks, sealed, on the local disk. It knows blocks of bytes, one key
// that lives as long as the mount, and a limit; it knows no file names, no
// objects and no network.
//
// A File is a sparse overlay of 64 KiB blocks over a base, the committed
// content, which the spool never sees but asks for through a Fill. A block is
// in the base, in the spool, known to be zero, or sent (uploaded already and
// dropped here). A commit takes a Snapshot, uploads it, makes it the base and
// then calls Settle, which turns what the snapshot held into base blocks.
//
// On disk a spool is one directory, 0700, that one process holds by flock:
//
//	key         what the owner needs to get the spool key again, in the clear
//	ID.data     slots of 68 KiB, each one sealed block with an authenticated
//	            header (layout.go); a slot is never overwritten while it is
//	            the newest state of its block
//	ID.log      sealed records of 72 bytes: truncations, holes, settlements
//	ID.meta     one sealed record of the owner's: what the file is
//
// ID is 16 random bytes in hex. Every file has its own AES-256-GCM key,
// HKDF-SHA-256(spool key, salt = ID, "sigil/v1/spool/file"), and one counter,
// the sequence, that numbers everything sealed under it and is the nonce: no
// (key, nonce) pair occurs twice, and the order of events can be rebuilt from
// the disk alone. Recover reads what a dead process left.
//
// After a kill everything that WriteAt acknowledged is on disk, except the
// block that was written last to each file, which is held in memory until it
// is complete, another block is touched, or Snapshot or Sync is called. After
// a power failure what Sync acknowledged is there.
package spool

import (
	"errors"
)

// BlockSize is the unit of dirty data in bytes.
const BlockSize = 64 << 10

// Sentinel errors.
var (
	// ErrFull: the limit or the disk's end is reached. Nothing was changed by
	// the call, and everything acknowledged before stays readable.
	ErrFull = errors.New("spool is full")

	// ErrDamaged: what is on disk does not authenticate. Nothing of it was
	// released.
	ErrDamaged = errors.New("spool data is damaged")

	// ErrClosed: the spool, file or snapshot was closed before.
	ErrClosed = errors.New("spool is closed")

	// ErrBusy: a living process holds the directory.
	ErrBusy = errors.New("spool is in use by another process")

	// ErrLeftover: the directory holds data of an earlier process, sealed
	// under another key. It is for Recover.
	ErrLeftover = errors.New("spool holds data of an earlier mount")

	// ErrUnsafe: the directory or a file in it is a symbolic link, belongs to
	// somebody else or is open to others.
	ErrUnsafe = errors.New("spool directory is not safe to use")
)

// Options of a spool.
type Options struct {
	// Limit is the most disk space that blocks may take, in bytes. 0 is half
	// of what is free at Open. Logs and meta records (a few hundred bytes a
	// file) are not counted.
	Limit int64

	// Reserve is what is left free on the file system, in bytes. 0 is 1/64 of
	// the file system, at most 64 MiB; negative is nothing.
	Reserve int64

	// Key seals everything. It must be new for every Open. It is copied.
	Key *[32]byte

	// KeyRecord tells, to the owner, how to get Key again after a crash. It
	// is on disk, durably, before Open returns, in the clear.
	KeyRecord []byte
}

// Kind says where the bytes of an extent are.
type Kind uint8

const (
	Base Kind = iota // unchanged: in the committed content
	Data             // in the spool
	Zero             // zeros, taking no space
	Sent             // uploaded by the owner, no longer in the spool
)

// Fill loads len(p) bytes that begin at byte off of a file and are not in the
// spool: of the base, or sent. It is called without any lock of the spool, must
// use the base that is current when it is called, and is never asked for
// bytes beyond the base's end as truncations left it. A nil Fill gives zeros.
type Fill func(off int64, p []byte) error
