package main

import (
	"testing"

	"github.com/sigilfs/sigilfs/internal/config"
)

// TestReencryptResumesTheSameOnly: whatever decides on how objects are written
// tells runs apart: what lies below the cursor of one is not as another has it.
func TestReencryptResumesTheSameOnly(t *testing.T) {
	yes, no := true, false
	local := &key{Key: config.Key{Name: "local"}}
	s3ec := func(version int) rule {
		return rule{Rule: config.Rule{Mode: config.S3EC, Version: version}, keys: []*key{local}}
	}
	beneath := func(b config.Beneath) rule {
		return rule{Rule: config.Rule{Mode: config.Client}, keys: []*key{local}, sse: &serverRule{Beneath: b}}
	}
	instructed := s3ec(3)
	instructed.InstructionFiles = true
	seen := map[string]int{}
	for i, r := range []rule{
		s3ec(2), s3ec(3), instructed,
		{Rule: config.Rule{Mode: config.Client}, keys: []*key{local}},
		beneath(config.Beneath{Mode: config.SSES3}), beneath(config.Beneath{Mode: config.SSEKMS}), beneath(config.Beneath{Mode: config.SSEKMS, BucketKey: &no}),
		{Rule: config.Rule{Mode: config.SSEKMS}},
		{Rule: config.Rule{Mode: config.SSEKMS, BucketKey: &yes}},
		{Rule: config.Rule{Mode: config.SSEKMS}, context: map[string]string{"team": "backup"}},
		{Rule: config.Rule{Mode: config.SSEKMS, Prefix: "a/"}},
	} {
		for n, set := range []*settings{{}, {readInstructions: true}, {readOldWraps: true}, {readCBC: true}} {
			text := (&reencrypting{}).options(&offline{mounting: &mounting{set: set, rules: []rule{r}}})
			if old, ok := seen[text]; ok {
				t.Errorf("rules %d and %d are both %q", old, 10*i+n, text)
			}
			seen[text] = 10*i + n
		}
	}
}
