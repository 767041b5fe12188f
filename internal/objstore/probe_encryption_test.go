package objstore_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/sigilfs/sigilfs/internal/objstore"
	"github.com/sigilfs/sigilfs/internal/objstore/faulty"
	"github.com/sigilfs/sigilfs/internal/objstore/mem"
)

const sse = "x-amz-server-side-encryption"

var errNotWhatWasAsked = errors.New("not what was asked")

// wants gives a confirm that compares one header.
func wants(name, value string) func(objstore.Header) error {
	return func(h objstore.Header) error {
		if h[name] != value {
			return fmt.Errorf("%s is %q: %w", name, h[name], errNotWhatWasAsked)
		}
		return nil
	}
}

func TestProbeEncryption(t *testing.T) {
	kms := &objstore.Encryption{Write: objstore.Header{sse: "aws:kms"}}
	h := objstore.Header{sse + "-customer-algorithm": "AES256", sse + "-customer-key": "YWFhYWFhYWFhYWFhYWFhYWFhYWFhYWFhYWFhYWFhYWE=", sse + "-customer-key-md5": "Xsqb0+sHwAbNQ65I395/0w=="}
	source := objstore.Header{}
	for name, value := range h {
		source["x-amz-copy-source-"+strings.TrimPrefix(name, "x-amz-")] = value
	}
	customer := &objstore.Encryption{Write: h, Read: h, Source: source}
	all := objstore.EncryptionSupport{Put: objstore.ByAnswer, Copy: objstore.ByAnswer, Upload: objstore.ByAnswer}
	refuse := func(verb faulty.Verb, err error) func(faulty.Op) faulty.Fault {
		return func(op faulty.Op) faulty.Fault {
			if op.Verb == verb {
				return faulty.Fault{Err: err}
			}
			return faulty.Fault{}
		}
	}
	for _, tc := range []struct {
		name     string
		opt      mem.Options
		enc      *objstore.Encryption
		confirm  func(objstore.Header) error
		script   func(faulty.Op) faulty.Fault
		want     objstore.EncryptionSupport
		err      error
		requests int
	}{
		{"all", mem.Options{}, kms, wants(sse, "aws:kms"), nil, all, nil, 6},
		{"versioned", mem.Options{Versioned: true}, kms, wants(sse, "aws:kms"), nil, all, nil, 6},
		{"silent", mem.Options{SilentCopies: true}, kms, wants(sse, "aws:kms"), nil, objstore.EncryptionSupport{Put: objstore.ByAnswer, Copy: objstore.ByHead, Upload: objstore.ByHead}, nil, 8},
		{"customer", mem.Options{}, customer, wants(sse+"-customer-algorithm", "AES256"), nil, objstore.EncryptionSupport{Put: objstore.ByAnswer, Copy: objstore.ByAnswer, Upload: objstore.ByHead}, nil, 7},
		{"ignored", mem.Options{IgnoreEncryption: true}, kms, wants(sse, "aws:kms"), nil, objstore.EncryptionSupport{}, errNotWhatWasAsked, 3},
		{"another", mem.Options{}, kms, wants(sse, "aws:kms:dsse"), nil, objstore.EncryptionSupport{}, errNotWhatWasAsked, 2},
		{"blocked", mem.Options{BlockCustomerKeys: true}, customer, wants(sse, ""), nil, objstore.EncryptionSupport{}, objstore.ErrKeyBlocked, 2},
		{"no KMS", mem.Options{NoKMS: true}, kms, wants(sse, "aws:kms"), nil, objstore.EncryptionSupport{}, objstore.ErrUnsupported, 2},
		{"copy refused", mem.Options{}, kms, wants(sse, "aws:kms"), refuse(faulty.Copy, objstore.ErrKeyAccess), objstore.EncryptionSupport{Put: objstore.ByAnswer, Upload: objstore.ByAnswer}, nil, 6},
		{"part refused", mem.Options{}, kms, wants(sse, "aws:kms"), refuse(faulty.Part, objstore.ErrUnsupported), objstore.EncryptionSupport{Put: objstore.ByAnswer, Copy: objstore.ByAnswer}, nil, 6},
		{"lost on the way", mem.Options{}, kms, wants(sse, "aws:kms"), refuse(faulty.Complete, objstore.ErrUnreachable), objstore.EncryptionSupport{Put: objstore.ByAnswer, Copy: objstore.ByAnswer}, objstore.ErrUnreachable, 7},
	} {
		t.Run(tc.name, func(t *testing.T) {
			m := mem.New(tc.opt)
			s := faulty.New(m, faulty.Options{Script: tc.script})
			got, err := objstore.ProbeEncryption(t.Context(), s, "p/.sigil/doctor/", tc.enc, tc.confirm)
			if got != tc.want || !errors.Is(err, tc.err) || tc.err == nil && err != nil {
				t.Errorf("%+v, %v", got, err)
			}
			if n := s.Counts().Total(); n != tc.requests {
				t.Errorf("%d requests: %v", n, s.Ops())
			}
			if len(m.Keys())+len(m.Uploads()) > 0 {
				t.Errorf("left behind: %q %v", m.Keys(), m.Uploads())
			}
			for _, op := range s.Ops() {
				if !strings.HasPrefix(op.Key, "p/.sigil/doctor/") {
					t.Errorf("touched %q", op.Key)
				}
			}
		})
	}
}
