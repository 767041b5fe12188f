package fs

import (
	"context"
	"io"
	"path/filepath"
	"testing"

	"github.com/hanwen/go-fuse/v2/posixtest"
	"github.com/sigilfs/sigilfs/cache"
	"github.com/sigilfs/sigilfs/cache/spool"
	"github.com/sigilfs/sigilfs/internal/objstore"
	"github.com/sigilfs/sigilfs/internal/objstore/mem"
	"github.com/sigilfs/sigilfs/internal/volume"
	"github.com/sigilfs/sigilfs/internal/volume/named"
	"github.com/sigilfs/sigilfs/objcrypt/sigil"
	"github.com/sirupsen/logrus"
)

// oneKey is a key ring with a single epoch.
type oneKey struct{ epoch sigil.Epoch }

func (k oneKey) Current(context.Context) (sigil.Epoch, error) { return k.epoch, nil }

func (k oneKey) KeyIDs(sigil.EpochID) []string { return nil }

func (k oneKey) MayKeep(context.Context, string, sigil.EpochID) (bool, error) { return true, nil }

func (k oneKey) Open(_ context.Context, _ string, id sigil.EpochID, check func(sigil.Epoch) bool) (sigil.Epoch, error) {
	if id == k.epoch.ID && check(k.epoch) {
		return k.epoch, nil
	}
	return sigil.Epoch{}, volume.ErrNoKey
}

// variant is how a volume stores what it has: a layout, and names.
type variant struct{ compressed, hidden bool }

func variants() map[string]variant {
	return map[string]variant{"Plain": {}, "Compressed": {compressed: true}, "Hidden": {hidden: true}, "CompressedHidden": {true, true}}
}

// realVolume is the real volume on a bucket in memory.
func realVolume(t *testing.T, as variant) named.Volume {
	t.Helper()
	sp, err := spool.Open(filepath.Join(t.TempDir(), "spool"), spool.Options{Limit: 256 << 20, Reserve: -1, Key: &[32]byte{7}})
	check(t, err)
	c := cache.New(cache.Options{Bytes: 4 << 20})
	log := logrus.New()
	log.SetOutput(io.Discard)
	k := oneKey{sigil.Epoch{ID: sigil.EpochID{1}, Key: sigil.Key{1}}}
	rule := volume.Rule{Mode: "client", Keys: k}
	if as.compressed {
		rule.Compress, err = sigil.NewCompressor(sigil.MinLevel)
		check(t, err)
	}
	var siv *sigil.Names
	if as.hidden {
		siv = sigil.NewNames(sigil.NewNameKey())
	}
	v := volume.New(volume.Options{
		Store: mem.New(mem.Options{}), Keys: k, Rules: []volume.Rule{rule}, Names: siv,
		Spool: sp, Cache: c, Log: log, Host: "here",
		Capabilities: objstore.Capabilities{PutConditions: true, CopyConditions: true, DeleteConditions: true},
	})
	ctx, cancel := context.WithCancel(context.Background())
	check(t, v.Start(ctx))
	t.Cleanup(func() {
		if err := v.Close(ctx); err != nil {
			t.Error(err)
		}
		cancel()
		_ = c.Close()
		_ = sp.Close()
	})
	names, err := named.New(siv, "", 0)
	check(t, err)
	return named.Of(v, names)
}

// TestPosixOnTheVolume holds the fake to what it stands for.
func TestPosixOnTheVolume(t *testing.T) {
	for kind, as := range variants() {
		t.Run(kind, func(t *testing.T) {
			for name, test := range posixtest.All {
				if skipped[name] != "" {
					continue
				}
				t.Run(name, func(t *testing.T) {
					dir, _ := mount(t, Of(realVolume(t, as)), Options{})
					test(t, dir)
				})
			}
		})
	}
}
