package keyring

import (
	"bytes"
	"errors"
	"strings"
	"testing"
)

func sealedVolume(t testing.TB) (o VolumeObject, epoch [KeySize]byte, names [NameKeySize]byte) {
	t.Helper()
	for i := range epoch {
		epoch[i] = byte(i)
	}
	for i := range names {
		names[i] = byte(100 + i)
	}
	o = NewVolumeObject().Sealed(NewEpochID(), &epoch, &names)
	return o, epoch, names
}

func TestVolumeObject(t *testing.T) {
	o, epoch, names := sealedVolume(t)
	for what, o := range map[string]VolumeObject{"encrypted": o, "plain": NewVolumeObject()} {
		got, err := ParseVolumeObject(o.Marshal())
		if err != nil || got.ID != o.ID || got.Epoch != o.Epoch || !bytes.Equal(got.names, o.names) || got.Encrypted() != (what == "encrypted") {
			t.Errorf("%s: %+v, %v", what, got, err)
		}
	}
	got, err := o.NameKey(&epoch)
	if err != nil || *got != names {
		t.Fatalf("%v", err)
	}
	if again := o.Sealed(o.Epoch, &epoch, &names); bytes.Equal(again.names[:nameSalt], o.names[:nameSalt]) {
		t.Error("one salt twice")
	}
	other := epoch
	other[0]++
	if _, err := o.NameKey(&other); !errors.Is(err, ErrWrongKey) {
		t.Errorf("under another epoch key: %v", err)
	}
	for i := range o.names {
		bad := o
		bad.names = bytes.Clone(o.names)
		bad.names[i] ^= 1
		want := ErrCorrupt
		if i < nameSalt+nameCommit {
			want = ErrWrongKey
		}
		if _, err := bad.NameKey(&epoch); !errors.Is(err, want) {
			t.Fatalf("byte %d changed: %v", i, err)
		}
	}
	moved := o
	moved.ID = NewEpochID()
	if _, err := moved.NameKey(&epoch); !errors.Is(err, ErrCorrupt) {
		t.Errorf("in another volume: %v", err)
	}
}

func TestVolumeObjectRefuses(t *testing.T) {
	o, _, _ := sealedVolume(t)
	good := string(o.Marshal())
	for text, want := range map[string]error{
		"":                                       ErrCorrupt,
		strings.TrimSuffix(good, "\n"):           ErrCorrupt,
		good + "\n":                              ErrCorrupt,
		good + good:                              ErrCorrupt,
		strings.Replace(good, `:1,`, `:2,`, 1):   ErrVersion,
		strings.Replace(good, `"id"`, `"ID"`, 1): ErrVersion,
		strings.Replace(good, `{`, `{"more":1,`, 1):                         ErrVersion,
		strings.Replace(good, `"epoch"`, `"epoch":"","epoch"`, 1):           ErrCorrupt,
		strings.Replace(good, `"names"`, `"epoch2"`, 1):                     ErrVersion,
		strings.Replace(good, `"names":"`, `"names":"AAAA`, 1):              ErrCorrupt,
		strings.Replace(good, o.Epoch.String(), strings.Repeat("a", 26), 1): ErrCorrupt,
		strings.Replace(good, o.Epoch.String(), strings.Repeat("A", 26), 1): ErrCorrupt,
		strings.Replace(good, o.ID.String(), "x", 1):                        ErrCorrupt,
		`{"version":1,"id":null}` + "\n":                                    ErrCorrupt,
		`{"version":1}` + "\n":                                              ErrCorrupt,
		`{"version":1,"id":"` + o.ID.String() + `","names":""}` + "\n":      ErrCorrupt,
		good[:len(good)-1] + strings.Repeat(" ", MaxVolumeSize) + "\n":      ErrCorrupt,
	} {
		if _, err := ParseVolumeObject([]byte(text)); !errors.Is(err, want) {
			t.Errorf("%.60q: %v, want %v", text, err, want)
		}
	}
}

// FuzzVolumeObject: what is taken is written again as the same.
func FuzzVolumeObject(f *testing.F) {
	o, epoch, _ := sealedVolume(f)
	f.Add(o.Marshal())
	f.Add(NewVolumeObject().Marshal())
	f.Add([]byte(`{"id":"x","version":1}` + "\n"))
	v := loadVolumes(f)
	for _, c := range v.Volumes {
		f.Add([]byte(c.Object))
	}
	for _, c := range v.Tampered {
		f.Add([]byte(c.Object))
	}
	f.Fuzz(func(t *testing.T, p []byte) {
		o, err := ParseVolumeObject(p)
		if err != nil {
			if !errors.Is(err, ErrCorrupt) && !errors.Is(err, ErrVersion) {
				t.Fatalf("unnamed error: %v", err)
			}
			return
		}
		if _, err := o.NameKey(&epoch); err != nil && !errors.Is(err, ErrWrongKey) && !errors.Is(err, ErrCorrupt) {
			t.Fatalf("unnamed error: %v", err)
		}
		again, err := ParseVolumeObject(o.Marshal())
		if err != nil || again.ID != o.ID || again.Epoch != o.Epoch || !bytes.Equal(again.names, o.names) {
			t.Fatalf("%+v, %v", again, err)
		}
	})
}
