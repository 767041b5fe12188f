package main

import (
	"testing"

	"github.com/sigilfs/sigilfs/cache/disk"
)

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
