package volume

import (
	"slices"
	"strings"
	"testing"

	"github.com/sigilfs/sigilfs/internal/objstore/mem"
	"github.com/sigilfs/sigilfs/objcrypt/s3ec"
	"github.com/sigilfs/sigilfs/objcrypt/sse"
	"github.com/sirupsen/logrus"
)

// mixed is a bucket with an object of every kind in one directory, by the name
// of the kind, which is its text too.
func mixed(t *testing.T) *mem.Store {
	m := awsBucket()
	for _, s := range setups() {
		if s.name == "bucket-default" {
			continue
		}
		f := mount(t, m, s.on)
		f.put("all/"+s.name, s.name)
		f.settle()
	}
	return m
}

// readers can read all of mixed but what is under the KMS of s3ec-kms.
func readers(o *Options) {
	k := &fakeKeys{}
	k.epochs = append(k.epochs, epoch(1))
	o.Keys = k
	o.S3ECKeys = s3ec.Keyring{aesKey(1), fakeKMSKey()}
	o.Customers = []*sse.Mode{ssecMode('z'), ssecMode('a')}
}

// TestMixedBucket: what an object is decides how it is read, the rule of its
// prefix whether it may be.
func TestMixedBucket(t *testing.T) {
	all := []string{"client", "client-sse", "client-zstd", "dsse-kms", "none", "s3ec", "s3ec-kms", "s3ec-v2", "sse-c", "sse-kms", "sse-kms-customer", "sse-s3"}
	without := func(names ...string) []string {
		return slices.DeleteFunc(slices.Clone(all), func(s string) bool { return slices.Contains(names, s) })
	}
	k := &fakeKeys{}
	k.epochs = append(k.epochs, epoch(1))
	aes := &S3EC{Key: aesKey(1)}
	for _, tc := range []struct {
		name string
		rule Rule
		want []string // what reads
	}{
		{"None", Rule{Mode: "none"}, all},
		{"SSES3", Rule{Mode: "sse-s3", Server: sse.S3()}, all},
		{"SSEC", Rule{Mode: "sse-c", Server: ssecMode('a')}, all},
		{"SSES3Required", Rule{Mode: "sse-s3", Server: sse.S3(), RequireEncryption: true}, without("none")},
		{"AssumedRequired", Rule{Mode: "bucket-default", Server: sse.S3(), Assumed: true, RequireEncryption: true}, without("none")},
		{"SSEKMSRequired", Rule{Mode: "sse-kms", Server: need(sse.KMS(kmsKey, nil, nil)), RequireEncryption: true}, without("none", "sse-s3")},
		{"SSECRequired", Rule{Mode: "sse-c", Server: ssecMode('a'), RequireEncryption: true}, without("none", "sse-s3")},
		{"DSSERequired", Rule{Mode: "dsse-kms", Server: need(sse.DSSE("", nil)), RequireEncryption: true}, without("none", "sse-s3", "sse-kms", "sse-kms-customer", "sse-c")},
		{"S3EC", Rule{Mode: "s3ec", S3EC: aes}, []string{"client", "client-sse", "client-zstd", "s3ec", "s3ec-kms", "s3ec-v2"}},
		{"S3ECCommitting", Rule{Mode: "s3ec", S3EC: aes, Reading: s3ec.Policy{RequireCommitment: true}}, []string{"client", "client-sse", "client-zstd", "s3ec", "s3ec-kms"}},
		{"S3ECPlain", Rule{Mode: "s3ec", S3EC: aes, AllowPlaintext: true}, all},
		{"Client", Rule{Mode: "client", Keys: k}, []string{"client", "client-sse", "client-zstd"}},
		{"ClientPlain", Rule{Mode: "client", Keys: k, AllowPlaintext: true}, all},
	} {
		t.Run(tc.name, func(t *testing.T) {
			f := mount(t, mixed(t), readers, rules(tc.rule))
			f.lists("all", all...)
			for _, name := range all {
				text, err := f.get("all/" + name)
				switch readable := slices.Contains(tc.want, name); {
				case readable && (err != nil || text != name):
					t.Errorf("%s reads %q, %v", name, text, err)
				case !readable:
					wants(t, err, ErrDowngrade)
					wants(t, f.stat("all/"+name).Err, ErrDowngrade)
					wants(t, errOf(f.SetAttr(f.ctx, "all/"+name, Change{Mode: ptr[uint32](0o600)})), ErrDowngrade)
					wants(t, f.Rename(f.ctx, "all/"+name, "all/x", false), ErrDowngrade)
				}
			}
		})
	}
}

// TestAttributesTakeNoEncryptionAway: a chmod gives an object what the rule has,
// but nothing less, and nothing of another kind, than it had.
func TestAttributesTakeNoEncryptionAway(t *testing.T) {
	arn := func(id string) *sse.Mode { return need(sse.KMS(mem.KeyHome+"key/"+id, nil, nil)) }
	k := &fakeKeys{}
	k.epochs = append(k.epochs, epoch(1))
	for name, tc := range map[string]struct {
		rule Rule
		want map[string]*sse.Mode // by object
	}{
		"None": {Rule{Mode: "none"}, map[string]*sse.Mode{
			"none": nil, "sse-s3": sse.S3(), "sse-kms": arn(mem.ManagedKey), "sse-kms-customer": arn(kmsKey), "sse-c": ssecMode('a'),
			"dsse-kms": need(sse.DSSE(kmsKey, nil)),
		}},
		"Client": {Rule{Mode: "client", Keys: k, AllowPlaintext: true}, map[string]*sse.Mode{
			"none": nil, "sse-s3": sse.S3(), "sse-c": ssecMode('a'), "client": nil, "client-sse": sse.S3(),
		}},
		"SSES3": {Rule{Mode: "sse-s3", Server: sse.S3()}, map[string]*sse.Mode{
			"none": sse.S3(), "s3ec": sse.S3(), "sse-kms-customer": arn(kmsKey), "sse-c": ssecMode('a'),
		}},
		"SSEKMS": {Rule{Mode: "sse-kms", Server: arn(kmsOther)}, map[string]*sse.Mode{
			"none": arn(kmsOther), "sse-s3": arn(kmsOther), "sse-kms": arn(kmsOther), "sse-kms-customer": arn(kmsOther), "sse-c": ssecMode('a'),
			"dsse-kms": need(sse.DSSE(kmsKey, nil)),
		}},
		"SSEC": {Rule{Mode: "sse-c", Server: ssecMode('b')}, map[string]*sse.Mode{
			"none": ssecMode('b'), "sse-c": ssecMode('b'), "sse-kms": arn(mem.ManagedKey), "dsse-kms": need(sse.DSSE(kmsKey, nil)),
		}},
	} {
		t.Run(name, func(t *testing.T) {
			m := mixed(t)
			f := mount(t, m, readers, rules(tc.rule))
			for p, want := range tc.want {
				f.must(errOf(f.SetAttr(f.ctx, "all/"+p, Change{Mode: ptr[uint32](0o600)})))
				f.has("all/"+p, p)
				o, _ := m.Object("all/" + p)
				if err := want.Confirm(o.Info.Encrypted); err != nil || want == nil && len(o.Info.Encrypted) > 0 {
					t.Errorf("%s: %v, %v", p, o.Info.Encrypted, err)
				}
			}
		})
	}
}

// TestShownAttributes: user.sigil.* tell how an object is stored.
func TestShownAttributes(t *testing.T) {
	m := mixed(t)
	f := mount(t, m, readers, rules(Rule{Mode: "none"}))
	arn := mem.KeyHome + "key/"
	for name, want := range map[string]map[string]string{
		"none":             {"mode": "none", "key-id": "", "commitment": ""},
		"sse-s3":           {"mode": "sse-s3", "key-id": ""},
		"sse-kms":          {"mode": "sse-kms", "key-id": arn + mem.ManagedKey},
		"sse-kms-customer": {"mode": "sse-kms", "key-id": arn + kmsKey},
		"dsse-kms":         {"mode": "dsse-kms", "key-id": arn + kmsKey},
		"sse-c":            {"mode": "sse-c", "key-id": ssecMode('a').KeyID()},
		"s3ec":             {"mode": "s3ec", "commitment": "yes"},
		"s3ec-v2":          {"mode": "s3ec", "commitment": "no"},
		"client":           {"mode": "client", "commitment": "yes", "epoch": epoch(1).ID.String()},
	} {
		got := f.stat("all/" + name).Sigil
		o, _ := m.Object("all/" + name)
		want["etag"], want["storage-class"] = o.Info.ETag, "STANDARD"
		for attr, value := range want {
			if got[attr] != value {
				t.Errorf("%s: %s is %q, want %q", name, attr, got[attr], value)
			}
		}
	}
}

// TestOwnObjectsAreSealed: what lies in .sigil/ is sealed as soon as any rule
// seals, and a plaintext planted there is nothing to this host.
func TestOwnObjectsAreSealed(t *testing.T) {
	k := &fakeKeys{}
	k.epochs = append(k.epochs, epoch(1))
	for name, rs := range map[string][]Rule{
		"Root":  {{Mode: "client", Keys: k}},
		"Below": {{Mode: "none"}, {Prefix: "secret/", Mode: "client", Keys: k}},
		"Plain": {{Mode: "client", Keys: k, AllowPlaintext: true}},
		"S3EC":  {{Mode: "s3ec", S3EC: &S3EC{Key: aesKey(1)}, AllowPlaintext: true}, {Prefix: "secret/", Mode: "client", Keys: k}},
	} {
		t.Run(name, func(t *testing.T) {
			hook, log := logged()
			m := awsBucket()
			f := mount(t, m, readers, rules(rs...))
			f.put("secret/d/x", "secret")
			f.settle()
			journal := `{"version":1,"from":"secret/d/","to":"out/","host":"here","beats":1}`
			m.Plant(".sigil/journal/planted", mem.Object{Body: []byte(journal)})
			m.Plant(".sigil/uploads/here/planted", mem.Object{Body: []byte(`{"version":1,"key":"secret/d/x","upload":"u1"}`)})
			again := mount(t, m, readers, rules(rs...), log, inParts)
			again.has("secret/d/x", "secret")
			again.absent("out")
			if said(hook, logrus.ErrorLevel, "does not open") != 1 || said(hook, logrus.WarnLevel, "could not be aborted") != 1 {
				t.Errorf("the log has %v", hook.AllEntries())
			}
			for _, op := range []func() error{
				func() error { return again.Rename(f.ctx, "secret/d", "secret/e", false) },
				func() error { return again.tryPut("big", noise(200<<10, 1)) },
			} {
				wants(t, op(), nil)
			}
		})
	}
}

// TestJournalIsSealed looks at what lies in the bucket while a tree moves and a
// file goes up.
func TestJournalIsSealed(t *testing.T) {
	k := &fakeKeys{}
	k.epochs = append(k.epochs, epoch(1))
	r := &recorder{}
	f := mount(t, awsBucket(), readers, rules(Rule{Mode: "none"}, Rule{Prefix: "secret/", Mode: "client", Keys: k}), record(r), inParts)
	f.put("d/x", "x")
	f.put("secret/d/x", "x")
	seen := 0
	look := func(op string) {
		for key, o := range f.mem.Snapshot() {
			if strings.HasPrefix(key, hidden+"/") {
				seen++
				if strings.Contains(string(o.Body), "version") {
					t.Errorf("%s: %s lies in plaintext", op, key)
				}
			}
		}
	}
	r.look = look
	f.rename("d", "e")
	f.put("big", noise(200<<10, 1))
	if seen == 0 {
		t.Error("nothing was seen")
	}
}
