package audit

import (
	"fmt"
	"time"
)

var now = time.Date(2026, 5, 1, 12, 0, 0, 0, time.UTC)

func head() Head {
	return Head{
		Target: "s3://acme-backups/web1", Source: FromBucket, Began: now,
		Policy: []Rule{{"web1/logs/", "sse-kms"}, {"web1/", "client"}},
	}
}

// hostile are names that try to be more than names.
func hostile() []string {
	return []string{
		"web1/</script><script>document.title='owned'</script>",
		`web1/"><img src=x onerror=alert(1)>`,
		"web1/=HYPERLINK(\"http://evil\")",
		"web1/\x1b[2J\x1b]0;owned\a",
		"web1/\u202Egpj.exe",
		"web1/line\r\nbreak,\"quoted\"",
		"web1/{{.R}}",
		"web1/\xff\xfe",
	}
}

// sample is a bucket with something of everything.
func sample() []Object {
	arn := "arn:aws:kms:eu-central-1:111122223333:key/1234abcd-12ab-34cd-56ef-1234567890ab"
	var all []Object
	for i := range 40 {
		all = append(all, Object{
			Key: fmt.Sprintf("web1/data/%04d", i), Mode: "client", Algorithm: "AES-256-GCM", KeyID: arn, Epoch: "aaaaaaaaaaaaaaaaaaaaaaaaaa",
			EpochState: "open", Commitment: "yes", Server: "sse-s3", Stored: int64(i+1) * 70_000, Plain: int64(i+1) * 69_000, Modified: now.Add(-time.Duration(i*i) * day),
		})
	}
	for i := range 12 {
		all = append(all, Object{
			Key: fmt.Sprintf("web1/logs/2026/%04d.gz", i), Mode: "sse-kms", Algorithm: "AES-256-GCM", KeyID: arn, Class: "GLACIER_IR",
			Stored: 5_000_000, Plain: 5_000_000, Modified: now.Add(-400 * day),
		})
	}
	for i, name := range hostile() {
		all = append(all, Object{Key: name, Mode: "none", Stored: 12, Plain: 12, Modified: now, Findings: []Finding{
			{Kind: Plaintext, Text: "none where the policy has client"},
		}})
		if i == 0 {
			all = append(all, Object{Key: name, Version: "v1", Old: true, Mode: "none", Stored: 10, Plain: 10, Modified: now.Add(-day), Findings: []Finding{{Kind: OldVersion, Text: "none"}}})
		}
	}
	return append(all,
		Object{Key: "web1/moved", Mode: "client", Epoch: "aaaaaaaaaaaaaaaaaaaaaaaaaa", Stored: 116, Plain: -1, Findings: []Finding{{Kind: Moved}}},
		Object{Key: "web1/sse-c/a", Mode: "sse-c", KeyID: "0011223344556677", Stored: 1, Plain: 1, Modified: now, Findings: []Finding{{Kind: RetiredKey, Text: "SSE-C key 0011223344556677"}, {Kind: Shadowed, Key: "web1/sse-c"}}},
	)
}

func report() *Report {
	t := NewTally(head(), "web1/")
	for _, o := range sample() {
		t.Add(o)
	}
	return t.End(now.Add(time.Minute), true, []BucketFinding{
		{Check: "public", Status: "warning", Text: "the bucket does not block public access", Remedy: "block it all", Commands: []string{"aws s3api put-public-access-block --bucket 'acme' > x"}},
		{Check: "default", Status: "ok", Text: "the bucket encrypts by default: AES256"},
	})
}
