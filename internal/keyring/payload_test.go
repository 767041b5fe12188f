package keyring

import (
	"errors"
	"maps"
	"strings"
	"testing"
)

// kmsEpoch gives an epoch object with a KMS wrap, under goldenKey.
func kmsEpoch(t testing.TB, context map[string]string) string {
	t.Helper()
	e := &Epoch{ID: goldenID, Revision: 1, Created: newClock().now(), Wraps: []Wrap{
		{Key: "arn:aws:kms:eu-central-1:111122223333:key/a-b", Type: KindKMS, Blob: []byte("blob"), Context: context},
	}}
	data, err := e.Marshal(&goldenKey)
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

func TestKMSWrapFormat(t *testing.T) {
	const wrap = `"wraps":[{"key":"arn:aws:kms:eu-central-1:111122223333:key/a-b","type":"kms","blob":"YmxvYg=="`
	for want, context := range map[string]map[string]string{
		wrap + `}]}`: nil,
		wrap + `,"context":{"a":"","team":"back\"up"}}]}`: {"team": `back"up`, "a": ""},
	} {
		stored := kmsEpoch(t, context)
		if !strings.Contains(stored, want) {
			t.Errorf("stored %s, want %s", stored, want)
		}
		e, err := ParseEpoch(goldenID, []byte(stored))
		if err != nil || e.Verify(&goldenKey) != nil || !maps.Equal(e.Wraps[0].Context, context) {
			t.Errorf("parsed %+v, %v", e, err)
		}
	}
	good := kmsEpoch(t, map[string]string{"team": "backup"})
	for name, stored := range map[string]string{
		"context of numbers":    strings.Replace(good, `"backup"`, `1`, 1),
		"context null":          strings.Replace(good, `{"team":"backup"}`, `null`, 1),
		"context a list":        strings.Replace(good, `{"team":"backup"}`, `["team"]`, 1),
		"context name repeated": strings.Replace(good, `{"team":"backup"}`, `{"team":"backup","team":"b"}`, 1),
		"alias":                 strings.Replace(good, "arn:aws:kms:eu-central-1:111122223333:key/a-b", "alias/main", 1),
		"control characters":    strings.Replace(good, "key/a-b", `key/a\u001b[2J`, 1),
		"id too long":           strings.Replace(good, "key/a-b", "key/"+strings.Repeat("a", 2048), 1),
	} {
		if _, err := ParseEpoch(goldenID, []byte(stored)); !errors.Is(err, ErrCorrupt) {
			t.Errorf("%s: %v", name, err)
		}
	}
}
