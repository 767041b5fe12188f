package s3ec

// Suite is a content encryption algorithm.
type Suite int

// The suites.
const (
	// SuiteCBC is AES-256-CBC with PKCS #7 padding: unauthenticated.
	SuiteCBC Suite = iota + 1
	// SuiteGCM is AES-256-GCM under the data key itself (0x0072).
	SuiteGCM
	// SuiteCommitting is AES-256-GCM under a key derived by HKDF-SHA512, with
	// a commitment to the data key (0x0073).
	SuiteCommitting
)

// Values of x-amz-cek-alg and x-amz-c. The wrapping of a data key binds them.
const (
	cekGCM        = "AES/GCM/NoPadding"
	cekCommitting = "115"
	cekCBC        = "AES/CBC/PKCS5Padding"
	cekCBC7       = "AES/CBC/PKCS7Padding" // the same, as some V1 clients name it
)

// String gives AWS's name of the suite.
func (s Suite) String() string {
	switch s {
	case SuiteCBC:
		return "ALG_AES_256_CBC_IV16_NO_KDF"
	case SuiteGCM:
		return "ALG_AES_256_GCM_IV12_TAG16_NO_KDF"
	case SuiteCommitting:
		return "ALG_AES_256_GCM_HKDF_SHA512_COMMIT_KEY"
	default:
		return "unknown"
	}
}

// cek is the name that the wrapping of the data key binds.
func (s Suite) cek() string {
	switch s {
	case SuiteCommitting:
		return cekCommitting
	case SuiteGCM:
		return cekGCM
	default:
		return cekCBC
	}
}

// Wrap is a way to encrypt a data key under a master key.
type Wrap int

// The ways. Those from WrapKMS on are legacy.
const (
	WrapKMSContext Wrap = iota + 1 // KMS, whose context names the suite
	WrapAESGCM                     // AES-256-GCM, with the suite as AAD
	WrapRSAOAEP                    // RSA-OAEP with SHA-1, the suite beside the key
	WrapKMS                        // KMS, nothing bound
	WrapAESKW                      // AES key wrap of RFC 3394
	WrapRSAOAEP256                 // RSA-OAEP with SHA-256, MGF1 with SHA-1
	WrapAESECB                     // AES-ECB with PKCS #5 padding, V1
	WrapRSAPKCS1                   // RSA PKCS #1 v1.5, V1
)

// String gives the name in x-amz-wrap-alg; V1, which stores none, gets that of
// the Java cipher.
func (w Wrap) String() string {
	switch w {
	case WrapKMSContext:
		return "kms+context"
	case WrapAESGCM:
		return "AES/GCM"
	case WrapRSAOAEP:
		return "RSA-OAEP-SHA1"
	case WrapKMS:
		return "kms"
	case WrapAESKW:
		return "AESWrap"
	case WrapRSAOAEP256:
		return "RSA/ECB/OAEPWithSHA-256AndMGF1Padding"
	case WrapAESECB:
		return "AES/ECB/PKCS5Padding"
	case WrapRSAPKCS1:
		return "RSA/ECB/PKCS1Padding"
	default:
		return "unknown"
	}
}

// Legacy tells whether the wrapping is read only behind a switch.
func (w Wrap) Legacy() bool { return w >= WrapKMS }

// wrapV2 gives the wrapping that x-amz-wrap-alg names.
func wrapV2(name string) (Wrap, bool) {
	for _, w := range []Wrap{WrapKMSContext, WrapAESGCM, WrapRSAOAEP, WrapKMS, WrapAESKW, WrapRSAOAEP256} {
		if w.String() == name {
			return w, true
		}
	}
	return 0, false
}

// Values of x-amz-w.
const (
	wrapV3AESGCM     = "02"
	wrapV3KMSContext = "12"
	wrapV3RSAOAEP    = "22"
)

// wrapV3 gives the wrapping that x-amz-w names.
func wrapV3(name string) (Wrap, bool) {
	switch name {
	case wrapV3AESGCM:
		return WrapAESGCM, true
	case wrapV3KMSContext:
		return WrapKMSContext, true
	case wrapV3RSAOAEP:
		return WrapRSAOAEP, true
	default:
		return 0, false
	}
}

// v3 is the inverse of wrapV3.
func (w Wrap) v3() string {
	switch w {
	case WrapAESGCM:
		return wrapV3AESGCM
	case WrapKMSContext:
		return wrapV3KMSContext
	default:
		return wrapV3RSAOAEP
	}
}
