package s3ec

import (
	"context"
	"crypto/cipher"
	"encoding/base64"
	"maps"
	"strconv"
)

// newEnvelope draws everything that belongs to one body, and gives
// the cipher under its key.
func newEnvelope(ctx context.Context, key Sealer, f Format) (*Envelope, cipher.Block, error) {
	e := &Envelope{version: KindV3, suite: SuiteCommitting}
	if f == FormatV2 {
		e.version, e.suite = KindV2, SuiteGCM
	}
	s, err := key.seal(ctx, e.suite.cek())
	if err != nil {
		return nil, nil, err
	}
	defer clear(s.key[:])
	e.wrap, e.wrapped, e.context = s.wrap, s.wrapped, s.context
	if e.suite == SuiteGCM {
		e.iv = make([]byte, nonceSize)
		random(e.iv)
		return e, newAES(s.key[:]), nil
	}
	random(e.id[:])
	var block cipher.Block
	e.commitment, block = commit(s.key, e.id)
	return e, block, nil
}

// Metadata gives the headers of the object, to be merged into its other user
// metadata, from which everything under Names is taken out before.
func (b *Body) Metadata() Metadata {
	md := b.env.apart()
	maps.Copy(md, b.env.beside())
	if b.env.version != KindV3 { // and not in an instruction file, which Python's client would refuse
		md[nameLength] = strconv.FormatInt(b.n, 10)
	}
	return md
}

// Instruction gives the same in two pieces: the headers of the object, and the
// content of the instruction file at its InstructionKey, which is to be there
// before the object is.
func (b *Body) Instruction() (md Metadata, file []byte) {
	return b.env.beside(), []byte(formatMap(b.env.apart()))
}

// beside is what always stands in the object's metadata: V3 keeps there what
// the body was made with, so that the wrapping can be changed without it.
func (e *Envelope) beside() Metadata {
	if e.version != KindV3 {
		return Metadata{}
	}
	return Metadata{
		nameSuite:      e.suite.cek(),
		nameCommitment: encode(e.commitment[:]),
		nameMessageID:  encode(e.id[:]),
	}
}

// apart is what can stand in an instruction file instead.
func (e *Envelope) apart() Metadata {
	if e.version != KindV3 {
		return Metadata{
			nameKeyV2:   encode(e.wrapped),
			nameIV:      encode(e.iv),
			nameWrapAlg: e.wrap.String(),
			nameCEKAlg:  e.suite.cek(),
			nameTagLen:  "128",
			nameMatdesc: formatMap(e.context),
		}
	}
	md := Metadata{nameKeyV3: encode(e.wrapped), nameWrapV3: e.wrap.v3()}
	if e.wrap == WrapKMSContext {
		md[nameContextV3] = formatMap(e.context)
	} else {
		md[nameMatdescV3] = formatMap(e.context)
	}
	return md
}

func encode(b []byte) string { return base64.StdEncoding.EncodeToString(b) }
