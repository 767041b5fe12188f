package main

import (
	"bytes"
	"context"
	"fmt"
	"path/filepath"
	"testing"

	"github.com/sigilfs/sigilfs/cache/disk"
	"github.com/sigilfs/sigilfs/cmd/sigilfs/internal/diskkey"
	"github.com/sigilfs/sigilfs/internal/objstore"
	"github.com/sigilfs/sigilfs/internal/objstore/faulty"
	"github.com/sigilfs/sigilfs/internal/objstore/mem"
	"github.com/sigilfs/sigilfs/internal/objstore/s3"
	"github.com/sirupsen/logrus/hooks/test"
)

// A mount that cannot have the key of the cache, as the bucket or KMS is not
// there, leaves it to the next one; a mount whose key is another makes the cache
// anew.
func TestCacheKeyIsKeptThroughTrouble(t *testing.T) {
	log, lines := test.NewNullLogger()
	set, err := parseFlags()
	if err != nil {
		t.Fatal(err)
	}
	m := &mounting{set: set, log: log}
	if m.store, err = s3.New(t.Context(), s3.Config{Bucket: "b", Endpoint: "http://127.0.0.1:1", NoSignRequest: true}); err != nil {
		t.Fatal(err)
	}
	if m.cacheDir, err = disk.Claim(t.Context(), filepath.Join(t.TempDir(), "cache"), "a test", 0); err != nil {
		t.Fatal(err)
	}
	defer m.cacheDir.Close()
	epochs, mine, other := faulty.New(mem.New(mem.Options{}), faulty.Options{}), newMaster(t), newMaster(t)
	volume := fmt.Sprintf("%q", m.stateID())
	var key diskkey.Key
	var record []byte
	for _, tt := range []struct {
		name       string
		fail       error // of reading the epoch
		own        bool  // has the key
		same, kept bool  // the cache key, its record
		lines      int
	}{
		{name: "first", own: true},
		{name: "throttled", own: true, fail: objstore.ErrThrottled, kept: true, lines: 1},
		{name: "interrupted", own: true, fail: context.Canceled, kept: true, lines: 1},
		{name: "again", own: true, same: true, kept: true},
		{name: "another host", lines: 1},
	} {
		master := mine
		if !tt.own {
			master = other
		}
		r := newRing(t, epochs, master)
		m.ring, m.own = r.ring, r.set
		epochs.SetScript(func(op faulty.Op) faulty.Fault {
			if op.Verb == faulty.Get {
				return faulty.Fault{Err: tt.fail}
			}
			return faulty.Fault{}
		})
		lines.Reset()
		got, err := m.cacheKey(t.Context())
		if err != nil {
			t.Fatalf("%s: %v", tt.name, err)
		}
		is, err := m.cacheDir.KeyRecord(volume)
		if err != nil || is == nil || (*got == key) != tt.same || bytes.Equal(is, record) != tt.kept || len(lines.AllEntries()) != tt.lines {
			t.Errorf("%s: the same key %v, the same record %v, %d lines, %v", tt.name, *got == key, bytes.Equal(is, record), len(lines.AllEntries()), err)
		}
		if record = is; !tt.kept {
			key = *got
		}
	}
}

// The size that is given is the disk's, where there is one; the defaults.
func TestCacheSizes(t *testing.T) {
	const mib = 1 << 20
	room := disk.Room{Total: 1000 * mib, Free: 300 * mib, Taken: 100 * mib}
	for _, tt := range []struct {
		args         []string
		memory, disk int64 // 0: not asked for
	}{
		{nil, 64 * mib, 0},
		{[]string{"--max-cache-size", "100MiB"}, 100 * mib, 0},
		{[]string{"--max-cache-size", "1TiB"}, 128 * mib, 0},
		{[]string{"--max-cache-size", "1TiB", "--memory-limit", "200MiB"}, 50 * mib, 0},
		{[]string{"--memory-limit", "200MiB"}, 50 * mib, 0},
		{[]string{"--memory-limit", "128MiB"}, 32 * mib, 0},
		{[]string{"--max-cache-size", "0"}, mib, 0},
		{[]string{"--cache", "/x"}, 64 * mib, 200 * mib},
		{[]string{"-o", "use_cache=/x,max_cache_size=20GiB"}, 64 * mib, 20 << 30},
		{[]string{"--cache", "/x", "--max-cache-size", "0"}, mib, 0},
	} {
		s, err := parseFlags(tt.args...)
		if err != nil {
			t.Errorf("%v: %v", tt.args, err)
			continue
		}
		if got := s.cacheBytes(); got != tt.memory {
			t.Errorf("%v: %d bytes in memory, not %d", tt.args, got, tt.memory)
		}
		if got := diskSize(s.cacheSize, room); tt.disk != 0 && got != tt.disk {
			t.Errorf("%v: %d bytes on disk, not %d", tt.args, got, tt.disk)
		}
		if s.sharedBytes() < 16*mib || s.sharedBytes() > s.memoryLimit/4 {
			t.Errorf("%v: %d bytes are shared, of %d", tt.args, s.sharedBytes(), s.memoryLimit)
		}
		if sum := s.cacheBytes() + s.sharedBytes() + s.rememberedBytes(); sum > s.memoryLimit/2 {
			t.Errorf("%v: %d bytes are given away, of %d", tt.args, sum, s.memoryLimit)
		}
	}
}

func TestWithin(t *testing.T) {
	for _, tt := range []struct {
		path, dir string
		want      bool
	}{
		{"/mnt", "/mnt", true}, {"/mnt/x", "/mnt", true}, {"/mntx", "/mnt", false}, {"/", "/mnt", false}, {"/mnt", "/", true}, {"/var/cache", "/mnt", false},
	} {
		if got := within(tt.path, tt.dir); got != tt.want {
			t.Errorf("%s in %s: %v", tt.path, tt.dir, got)
		}
	}
}
