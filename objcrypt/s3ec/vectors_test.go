package s3ec

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"maps"
	"os"
	"slices"
	"strconv"
	"testing"

	"github.com/sigilfs/sigilfs/objcrypt"
)

// vectors is testdata/vectors.json; the README beside it says how to read it.
type vectors struct {
	Keys struct {
		AES      string `json:"aes"`
		RSA      string `json:"rsa"`
		KMS      string `json:"kms"`
		KMSOther string `json:"kms_other"`
	} `json:"keys"`
	Vectors []vector `json:"vectors"`
}

type vector struct {
	Name        string            `json:"name"`
	Expect      string            `json:"expect"`
	Options     []string          `json:"options"`
	Format      string            `json:"format"`
	Suite       string            `json:"suite"`
	Wrap        string            `json:"wrap"`
	Context     map[string]string `json:"context"`
	Metadata    Metadata          `json:"metadata"`
	FromS3      Metadata          `json:"from_s3"`
	Instruction *string           `json:"instruction"`
	Body        []byte            `json:"body"`
	BodySHA256  string            `json:"body_sha256"`
	Plaintext   struct {
		Size   int    `json:"size"`
		Seed   string `json:"seed"`
		SHA256 string `json:"sha256"`
	} `json:"plaintext"`
}

// Names of options.
const (
	allowNoncommitting = "allow_noncommitting"
	legacyWrapping     = "legacy_wrapping"
	legacyCBC          = "legacy_unauthenticated_cbc"
	instructionFile    = "instruction_file"
)

func loadVectors(t testing.TB) vectors {
	t.Helper()
	b, err := os.ReadFile("testdata/vectors.json")
	if err != nil {
		t.Fatal(err)
	}
	var v vectors
	if err := json.Unmarshal(b, &v); err != nil {
		t.Fatal(err)
	}
	return v
}

// ring holds every master key of the vectors, KMS keys under the context c.
func (v vectors) ring(t testing.TB, c map[string]string) Keyring {
	t.Helper()
	raw, err := base64.StdEncoding.DecodeString(v.Keys.AES)
	if err != nil {
		t.Fatal(err)
	}
	aes, err := NewAESKey([32]byte(raw), nil)
	if err != nil {
		t.Fatal(err)
	}
	rsa, err := ParseRSAKey([]byte(v.Keys.RSA))
	if err != nil {
		t.Fatal(err)
	}
	return Keyring{kmsKey(t, v.Keys.KMS, c), aes, rsa}
}

func (v vector) plain(t testing.TB) []byte {
	t.Helper()
	var b []byte
	for i := 0; len(b) < v.Plaintext.Size; i++ {
		sum := sha256.Sum256([]byte("s3ec-pt-v1:" + v.Plaintext.Seed + ":" + strconv.Itoa(i)))
		b = append(b, sum[:]...)
	}
	b = b[:v.Plaintext.Size]
	sum := sha256.Sum256(b)
	if hex.EncodeToString(sum[:]) != v.Plaintext.SHA256 {
		t.Fatal("plaintext of the vector is not what it says")
	}
	return b
}

// body gives the bytes that the writer stored.
func (v vector) body(t testing.TB, ring Keyring) memory {
	t.Helper()
	if v.BodySHA256 == "" {
		return v.Body
	}
	e, err := Parse(v.Metadata, nil)
	if err != nil {
		t.Fatal(err)
	}
	key, err := ring.unwrap(t.Context(), e)
	if err != nil {
		t.Fatal(err)
	}
	body := standardGCM(t, key, e, v.plain(t))
	if sum := sha256.Sum256(body); hex.EncodeToString(sum[:]) != v.BodySHA256 {
		t.Fatal("body is not what the writer stored")
	}
	return body
}

// standardGCM seals a body with nothing but crypto/cipher.
func standardGCM(t testing.TB, key dataKey, e *Envelope, plain []byte) []byte {
	t.Helper()
	if !e.Committing() {
		return newGCM(newAES(key[:])).Seal(nil, e.iv, plain, nil)
	}
	commitment, block := commit(key, e.id)
	if commitment != e.commitment {
		t.Fatal("commitment is another")
	}
	return newGCM(block).Seal(nil, []byte(committingNonce), plain, []byte(suiteID))
}

// object is the vector as the mount meets it: the instruction file is fetched
// where the metadata ask for one, or say nothing and files are in use.
func (v vector) object(t testing.TB, ring Keyring, files bool) stored {
	t.Helper()
	s := stored{md: v.Metadata, body: v.body(t, ring)}
	kind, err := Detect(s.md)
	wanted := err == nil && (kind == KindNone || kind == KindV3Instruction)
	if wanted && files && v.Instruction != nil {
		s.file = []byte(*v.Instruction)
	}
	return s
}

// needs lists the options without which a vector is refused. What does not
// commit needs allow_noncommitting, also where the index does not repeat it.
func (v vector) needs() []string {
	needs := slices.Clone(v.Options)
	if v.Format != "V3" && !slices.Contains(needs, allowNoncommitting) {
		needs = append(needs, allowNoncommitting)
	}
	return needs
}

func policy(options []string) Policy {
	return Policy{
		RequireCommitment: !slices.Contains(options, allowNoncommitting),
		LegacyWrapping:    slices.Contains(options, legacyWrapping),
		LegacyCBC:         slices.Contains(options, legacyCBC),
	}
}

var everything = Policy{LegacyWrapping: true, LegacyCBC: true}

// TestVectorsAccepted opens what is to be opened with the options that it
// needs, and refuses it without each of them.
func TestVectorsAccepted(t *testing.T) {
	all := loadVectors(t)
	count := 0
	for _, v := range all.Vectors {
		if v.Expect != "accept" {
			continue
		}
		count++
		t.Run(v.Name, func(t *testing.T) {
			ring := all.ring(t, v.Context)
			needs := v.needs()
			o := v.object(t, ring, slices.Contains(needs, instructionFile))
			checkPlain(t, o, ring, policy(needs), v.plain(t))
			if v.FromS3 != nil {
				o.md = maps.Clone(o.md)
				maps.Copy(o.md, v.FromS3)
				checkPlain(t, o, ring, policy(needs), v.plain(t))
			}
			for i, option := range needs {
				without := slices.Delete(slices.Clone(needs), i, i+1)
				v.checkWithout(t, ring, option, without)
			}
			v.checkNames(t, o)
		})
	}
	if count != 77 {
		t.Errorf("%d vectors, not 77", count)
	}
}

func checkPlain(t *testing.T, o stored, ring Keyring, p Policy, want []byte) {
	t.Helper()
	got, err := o.plain(t.Context(), ring, p)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got, want) {
		t.Fatal("plaintext is another")
	}
}

func (v vector) checkWithout(t *testing.T, ring Keyring, option string, rest []string) {
	t.Helper()
	want := map[string]error{
		allowNoncommitting: ErrCommitment,
		legacyWrapping:     ErrLegacy,
		legacyCBC:          ErrLegacy,
		instructionFile:    objcrypt.ErrCorrupt,
	}[option]
	o := v.object(t, ring, slices.Contains(rest, instructionFile))
	_, err := o.open(t.Context(), ring, policy(rest))
	if !errors.Is(err, want) {
		t.Errorf("without %s: %v, not %v", option, err, want)
	}
	if option != instructionFile && !errors.Is(err, objcrypt.ErrDowngrade) {
		t.Errorf("without %s: %v is no downgrade", option, err)
	}
}

// checkNames holds what the envelope says of itself against the index.
func (v vector) checkNames(t *testing.T, o stored) {
	t.Helper()
	e, err := Parse(o.md, o.file)
	if err != nil {
		t.Fatal(err)
	}
	wrap := e.Wrap().String()
	if e.Version() == KindV1 {
		wrap += " (implied)"
	}
	cek := e.Suite().cek()
	if e.Version().String() != v.Format || wrap != v.Wrap || cek != v.Suite || e.InInstructionFile() != (v.Instruction != nil) {
		t.Errorf("%s in file %v, not %s %s %s", e, e.InInstructionFile(), v.Format, v.Suite, v.Wrap)
	}
	if n, exact, err := e.PlainSize(int64(len(o.body))); err != nil || exact != (v.Suite != cekCBC) || exact && n != int64(v.Plaintext.Size) || n < int64(v.Plaintext.Size) {
		t.Errorf("plaintext of %d bytes, exact: %v, %v, not %d", n, exact, err, v.Plaintext.Size)
	}
}

// TestVectorsRefused opens what is to be refused, with every option on.
func TestVectorsRefused(t *testing.T) {
	// What is not corrupt in itself. KMS judges its own blobs; a context that
	// is not the configured one is refused before.
	other := map[string]error{
		"t3-edk-flip": errKMSInvalid, "t2-edk-flip": errKMSInvalid,
		"t3-ec-changed": objcrypt.ErrWrongKey, "t2-ec-changed": objcrypt.ErrWrongKey,
		"t3-ec-added": objcrypt.ErrWrongKey, "t2-ec-added": objcrypt.ErrWrongKey,
		"t3-c-116": objcrypt.ErrVersion, "t3-c-114": objcrypt.ErrVersion,
		"t3-c-name": objcrypt.ErrVersion, "t3-c-cbc": objcrypt.ErrVersion,
		"t3-w-11": objcrypt.ErrVersion, "t3-w-name": objcrypt.ErrVersion,
		"t2-cek-ctr": objcrypt.ErrVersion,
	}
	all := loadVectors(t)
	count := 0
	for _, v := range all.Vectors {
		if v.Expect != "reject" {
			continue
		}
		count++
		t.Run(v.Name, func(t *testing.T) {
			ring := all.ring(t, v.Context)
			want := objcrypt.ErrCorrupt
			if err, ok := other[v.Name]; ok {
				want = err
			}
			if _, err := v.object(t, ring, true).open(t.Context(), ring, everything); !errors.Is(err, want) {
				t.Errorf("%v, not %v", err, want)
			}
		})
	}
	if count != 86 {
		t.Errorf("%d vectors, not 86", count)
	}
}

// TestVectorsNoted decides where AWS's clients differ.
func TestVectorsNoted(t *testing.T) {
	all := loadVectors(t)
	open := map[string]func(*testing.T, vector, []byte, error){
		// Go's client does not look at the tag length; the specification has
		// it as a must, and every writer stores it. Without it, the header was
		// edited.
		"t2-taglen-missing": refused,
		// The context says kms+context, the header says kms: clients that send
		// the stored context to KMS read it without having checked which suite
		// the key was made for.
		"t2-wrap-kms": refused,
		// CBC is malleable: nobody can detect this. It is what the switch
		// means.
		"tc-iv-flip": func(t *testing.T, v vector, got []byte, err error) {
			want := v.plain(t)
			if err != nil || len(got) != len(want) || bytes.Equal(got, want) || !bytes.Equal(got[blockSize:], want[blockSize:]) {
				t.Errorf("%x, %v", got, err)
			}
		},
	}
	for _, v := range all.Vectors {
		if v.Expect != "see-note" {
			continue
		}
		t.Run(v.Name, func(t *testing.T) {
			ring := all.ring(t, v.Context)
			got, err := v.object(t, ring, true).plain(t.Context(), ring, everything)
			open[v.Name](t, v, got, err)
			delete(open, v.Name)
		})
	}
	if len(open) != 0 {
		t.Errorf("%d vectors are missing", len(open))
	}
}

func refused(t *testing.T, _ vector, got []byte, err error) {
	t.Helper()
	if !errors.Is(err, objcrypt.ErrCorrupt) || got != nil {
		t.Errorf("%v", err)
	}
}

// TestOtherKeys opens the vectors with keys of the right kind that are not
// theirs, with another context, and with none.
func TestOtherKeys(t *testing.T) {
	all := loadVectors(t)
	rsa := otherRSA(t)
	for _, v := range all.Vectors {
		if v.Expect != "accept" {
			continue
		}
		own := all.ring(t, v.Context)
		o := v.object(t, own, true)
		isKMS := len(v.Wrap) >= 3 && v.Wrap[:3] == "kms"
		for name, c := range map[string]struct {
			ring Keyring
			want error
		}{
			"no key":    {nil, objcrypt.ErrNoKey},
			"no KMS":    {own[1:], map[bool]error{true: objcrypt.ErrNoKey}[isKMS]},
			"other key": {Keyring{kmsKey(t, all.Keys.KMSOther, v.Context), aesKey(t, 9), rsa}, map[bool]error{true: errKMSKey, false: objcrypt.ErrWrongKey}[isKMS]},
			"context":   {all.ring(t, map[string]string{"department": "sales"}), map[bool]error{true: objcrypt.ErrWrongKey}[isKMS]},
			"any of":    {append(Keyring{kmsKey(t, all.Keys.KMSOther, v.Context), aesKey(t, 9), rsa}, own...), nil},
		} {
			if _, err := o.open(context.Background(), c.ring, everything); !errors.Is(err, c.want) {
				t.Errorf("%s: %s: %v, not %v", v.Name, name, err, c.want)
			}
		}
	}
}
