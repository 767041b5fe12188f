package s3ec

// Names of the headers, and of the fields of an instruction file.
const (
	nameKeyV1   = "x-amz-key"
	nameKeyV2   = "x-amz-key-v2"
	nameIV      = "x-amz-iv"
	nameMatdesc = "x-amz-matdesc"
	nameWrapAlg = "x-amz-wrap-alg"
	nameCEKAlg  = "x-amz-cek-alg"
	nameTagLen  = "x-amz-tag-len"

	nameSuite      = "x-amz-c"
	nameKeyV3      = "x-amz-3"
	nameWrapV3     = "x-amz-w"
	nameCommitment = "x-amz-d"
	nameMessageID  = "x-amz-i"
	nameContextV3  = "x-amz-t"
	nameMatdescV3  = "x-amz-m"

	// nameLength is advisory, stands beside every version, and is not read.
	nameLength = "x-amz-unencrypted-content-length"
)

// namesV12 and namesV3 are what tells the formats apart.
func namesV12() []string {
	return []string{nameKeyV1, nameKeyV2, nameIV, nameMatdesc, nameWrapAlg, nameCEKAlg, nameTagLen}
}

func namesV3() []string {
	return []string{nameSuite, nameKeyV3, nameWrapV3, nameCommitment, nameMessageID, nameContextV3, nameMatdescV3}
}

// Names lists every metadata name that belongs to the formats: what an object
// loses when it is rewritten in another mode.
func Names() []string { return append(append(namesV12(), namesV3()...), nameLength) }

// Kind is what an object's metadata says it is.
type Kind int

// The kinds.
const (
	// KindNone: no header of the formats. The object may still be V1 or V2
	// with everything in its instruction file.
	KindNone Kind = iota
	KindV1
	KindV2
	KindV3
	// KindV3Instruction: V3 whose wrapped key lies in its instruction file.
	KindV3Instruction
)

// String gives "none", "V1", "V2", "V3" or "V3 with instruction file".
func (k Kind) String() string {
	switch k {
	case KindV1:
		return "V1"
	case KindV2:
		return "V2"
	case KindV3:
		return "V3"
	case KindV3Instruction:
		return "V3 with instruction file"
	default:
		return "none"
	}
}

// Detect tells of which kind an object with this metadata is, so that the
// caller knows whether to fetch the instruction file. Headers of several
// versions, or some without a wrapped key, are objcrypt.ErrCorrupt: such an
// object is never plaintext.
func Detect(md Metadata) (Kind, error) {
	old, v3 := hasAny(md, namesV12()), hasAny(md, namesV3())
	switch {
	case old && v3:
		return KindNone, corrupt("headers of V3 stand beside those of another version")
	case old:
		return detectOld(md)
	case v3:
		return detectV3(md)
	default:
		return KindNone, nil
	}
}

func detectOld(md Metadata) (Kind, error) {
	v1, v2 := has(md, nameKeyV1), has(md, nameKeyV2)
	switch {
	case v1 && v2:
		return KindNone, corrupt("wrapped keys of V1 and V2")
	case v1:
		return KindV1, nil
	case v2:
		return KindV2, nil
	default:
		return KindNone, corrupt("headers of V1 or V2 without a wrapped key")
	}
}

func detectV3(md Metadata) (Kind, error) {
	switch {
	case has(md, nameKeyV3):
		return KindV3, nil
	case has(md, nameSuite) && has(md, nameCommitment) && has(md, nameMessageID):
		return KindV3Instruction, nil
	default:
		return KindNone, corrupt("headers of V3 without a wrapped key")
	}
}

func has(md Metadata, name string) bool {
	_, ok := md[name]
	return ok
}

func hasAny(md Metadata, names []string) bool {
	for _, n := range names {
		if has(md, n) {
			return true
		}
	}
	return false
}
