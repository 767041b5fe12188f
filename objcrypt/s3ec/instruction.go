package s3ec

import (
	"slices"
	"strings"
)

// InstructionSuffix is what an instruction file's key ends with.
const InstructionSuffix = ".instruction"

// InstructionMark is a metadata name, with an empty value, that AWS's clients put
// on an instruction file. They do not ask for it.
const InstructionMark = "x-amz-crypto-instr-file"

// InstructionKey is the key of the instruction file that belongs to the object
// at key.
func InstructionKey(key string) string { return key + InstructionSuffix }

// InstructionOf gives the key of the object that an instruction file at key
// would belong to.
func InstructionOf(key string) (object string, ok bool) {
	object, ok = strings.CutSuffix(key, InstructionSuffix)
	return object, ok && object != ""
}

// ParseInstruction reads an instruction file: one JSON object of strings, at
// most MaxInstruction bytes. Anything else is objcrypt.ErrCorrupt.
func ParseInstruction(file []byte) (Metadata, error) {
	if len(file) > MaxInstruction {
		return nil, corrupt("instruction file of %d bytes", len(file))
	}
	m, err := parseMap(string(file))
	if err != nil {
		return nil, corrupt("instruction file is %v", err)
	}
	return m, nil
}

// IsInstruction tells whether file is nothing but an instruction file: a wrapped
// key, and what the formats keep beside one.
func IsInstruction(file []byte) bool {
	m, err := ParseInstruction(file)
	if err != nil || !hasAny(m, []string{nameKeyV1, nameKeyV2, nameKeyV3}) {
		return false
	}
	for name := range m {
		if !slices.Contains(Names(), name) {
			return false
		}
	}
	return true
}

// join gives the headers of an object and its instruction file as one set, and
// refuses each part of it that stands in the wrong place.
func join(kind Kind, md, file Metadata) (Metadata, error) {
	switch kind {
	case KindNone:
		if hasAny(file, namesV3()) {
			return nil, corrupt("instruction file of V3, and the object's metadata hold none of it")
		}
		return file, nil
	case KindV3Instruction:
		return joinV3(md, file)
	default:
		return nil, corrupt("instruction file beside %s in the metadata", kind)
	}
}

func joinV3(md, file Metadata) (Metadata, error) {
	object := []string{nameSuite, nameCommitment, nameMessageID}
	apart := []string{nameKeyV3, nameWrapV3, nameContextV3, nameMatdescV3}
	switch {
	case hasAny(file, namesV12()):
		return nil, corrupt("instruction file of another version beside V3 in the metadata")
	case hasAny(file, object):
		return nil, corrupt("instruction file holds what belongs into the metadata")
	case hasAny(md, apart):
		return nil, corrupt("metadata hold what belongs into the instruction file")
	}
	all := Metadata{}
	for _, name := range object {
		all[name] = md[name]
	}
	for _, name := range apart {
		if has(file, name) {
			all[name] = file[name]
		}
	}
	return all, nil
}
