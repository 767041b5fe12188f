package config

import "testing"

func TestParseCompression(t *testing.T) {
	for text, want := range map[string]Compression{"none": 0, "zstd": 3, "zstd:1": 1, "zstd:22": 22} {
		got, err := ParseCompression(text)
		if err != nil || got != want {
			t.Errorf("%s: %v, %v", text, got, err)
		}
		if again, err := ParseCompression(got.String()); err != nil || again != got {
			t.Errorf("%s comes back as %v, %v", got, again, err)
		}
	}
	for _, text := range []string{"", "zstd:", "zstd:0", "zstd:23", "zstd:-1", "zstd:03", "zstd: 3", "zstd:9999999999999999999", "gzip", "ZSTD", "none:1", "lz4:1"} {
		if got, err := ParseCompression(text); err == nil {
			t.Errorf("%q is %v", text, got)
		}
	}
}
