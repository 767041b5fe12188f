package server

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"net/http/httputil"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/kms"
)

// KMS is moto's KMS behind a proxy that adds what moto lacks: it refuses to use
// keys that are disabled or pending deletion, has KMS's own error for a
// ciphertext of another key, counts requests, and plays faults.
type KMS struct {
	URL       string // http://127.0.0.1:port
	Moto      string // moto itself, past the proxy
	AccessKey string
	SecretKey string
	Region    string // default; the key of another is reached by its ARN

	target *url.URL // moto itself
	direct *http.Client
	http   *http.Server
	served chan error
	stop   func() error // moto

	mu    sync.Mutex // guards all below
	calls map[string]int
	fault func(KMSCall) *KMSAnswer
	hung  []chan struct{} // closed to end requests that hang
}

// KMSCall is a request to use a key.
type KMSCall struct {
	Action string // "Decrypt" and its like
	KeyID  string // as asked for
	N      int    // how many of this action came before
}

// KMSAnswer is what the proxy answers in place of moto.
type KMSAnswer struct {
	Status  int
	Code    string // "ThrottlingException" and its like
	Message string
	Hang    bool // never answer, until the client goes away or the fault changes
	Drop    bool // close the connection
}

// guard starts the proxy in front of target. stop ends what is behind it.
func guard(ctx context.Context, target *url.URL, stop func() error) (*KMS, error) {
	l, err := new(net.ListenConfig).Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	k := &KMS{
		URL: "http://" + l.Addr().String(), Moto: target.String(), AccessKey: "AK" + random(9), SecretKey: random(20), Region: Region,
		target: target, direct: &http.Client{Timeout: 30 * time.Second}, stop: stop, served: make(chan error, 1), calls: map[string]int{},
	}
	proxy := httputil.NewSingleHostReverseProxy(target) // keeps Host, which is signed
	proxy.ModifyResponse = otherKey
	k.http = &http.Server{ReadHeaderTimeout: 10 * time.Second, Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		k.serve(w, r, proxy)
	})}
	go func() { k.served <- k.http.Serve(l) }() // Close waits for it
	return k, nil
}

// Close ends the proxy and moto, and waits for them.
func (k *KMS) Close() error {
	k.Fault(nil)
	err := k.http.Close()
	if e := <-k.served; !errors.Is(e, http.ErrServerClosed) {
		err = errors.Join(err, e)
	}
	k.direct.CloseIdleConnections()
	return errors.Join(err, k.stop())
}

// Fault has every later request to use a key judged: nil lets it pass to moto.
// A nil judge ends all faults. Requests that hang are dropped.
func (k *KMS) Fault(judge func(KMSCall) *KMSAnswer) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.fault = judge
	for _, c := range k.hung {
		close(c)
	}
	k.hung = nil
}

// Deny is a judge that refuses an action, as a key policy does that names it
// not.
func Deny(actions ...string) func(KMSCall) *KMSAnswer {
	return func(c KMSCall) *KMSAnswer {
		for _, a := range actions {
			if a == c.Action {
				return &KMSAnswer{Status: http.StatusBadRequest, Code: "AccessDeniedException", Message: fmt.Sprintf(
					"User: arn:aws:iam::123456789012:user/web1 is not authorized to perform: kms:%s on resource: %s because no identity-based policy allows the kms:%s action", a, c.KeyID, a)}
			}
		}
		return nil
	}
}

// Calls counts the requests to use keys, and DescribeKey, by action, whatever
// became of them.
func (k *KMS) Calls() map[string]int {
	k.mu.Lock()
	defer k.mu.Unlock()
	return maps.Clone(k.calls)
}

// Env is what a child process needs to reach this KMS, beside the environment
// of an S3 server: moto takes the credentials there.
func (k *KMS) Env() []string { return []string{"AWS_ENDPOINT_URL_KMS=" + k.URL} }

// maxRequest bounds what is read of a request.
const maxRequest = 1 << 20

func (k *KMS) serve(w http.ResponseWriter, r *http.Request, moto http.Handler) {
	action := strings.TrimPrefix(r.Header.Get("X-Amz-Target"), "TrentService.")
	body, err := io.ReadAll(io.LimitReader(r.Body, maxRequest))
	if err != nil {
		return
	}
	r.Body, r.ContentLength = io.NopCloser(bytes.NewReader(body)), int64(len(body))
	for _, keyID := range keysUsed(action, body) {
		if answer := k.judge(action, keyID); answer != nil {
			k.play(w, r, answer)
			return
		}
		if answer := k.state(r, action, keyID); answer != nil {
			k.play(w, r, answer)
			return
		}
	}
	moto.ServeHTTP(w, r)
}

// keysUsed names the keys of a request that uses or asks for one.
func keysUsed(action string, body []byte) []string {
	var in struct{ KeyId, SourceKeyId, DestinationKeyId string }
	_ = json.Unmarshal(body, &in) // moto says what is wrong with it
	switch action {
	case "GenerateDataKey", "GenerateDataKeyWithoutPlaintext", "Encrypt", "Decrypt", "DescribeKey":
		return []string{in.KeyId}
	case "ReEncrypt":
		return []string{in.DestinationKeyId, in.SourceKeyId}
	}
	return nil
}

// judge counts a request and asks for a fault.
func (k *KMS) judge(action, keyID string) *KMSAnswer {
	k.mu.Lock()
	call := KMSCall{action, keyID, k.calls[action]}
	k.calls[action]++
	fault := k.fault
	k.mu.Unlock()
	if fault == nil {
		return nil
	}
	return fault(call)
}

// state refuses keys that may not be used (AWS KMS Developer Guide, "Key states
// of AWS KMS keys"), which moto does not look at.
func (k *KMS) state(r *http.Request, action, keyID string) *KMSAnswer {
	if action == "DescribeKey" || keyID == "" {
		return nil
	}
	ask := r.Clone(r.Context())
	ask.URL = k.target
	ask.RequestURI = ""
	ask.Header.Set("X-Amz-Target", "TrentService.DescribeKey")
	body, _ := json.Marshal(map[string]string{"KeyId": keyID}) // a map of strings
	ask.Body, ask.ContentLength = io.NopCloser(bytes.NewReader(body)), int64(len(body))
	ask.Header.Del("Content-Length")
	resp, err := k.direct.Do(ask)
	if err != nil {
		return &KMSAnswer{Drop: true}
	}
	defer resp.Body.Close()
	var out struct {
		KeyMetadata struct{ Arn, KeyState string }
	}
	if err := json.NewDecoder(resp.Body).Decode(&out); err != nil {
		return nil //nolint:nilerr // moto says so itself
	}
	arn := out.KeyMetadata.Arn
	switch out.KeyMetadata.KeyState {
	case "Disabled":
		return &KMSAnswer{Status: http.StatusBadRequest, Code: "DisabledException", Message: arn + " is disabled."}
	case "PendingDeletion":
		return &KMSAnswer{Status: http.StatusBadRequest, Code: "KMSInvalidStateException", Message: arn + " is pending deletion."}
	}
	return nil
}

// play gives an answer of our own.
func (k *KMS) play(w http.ResponseWriter, r *http.Request, a *KMSAnswer) {
	switch {
	case a.Drop:
		panic(http.ErrAbortHandler)
	case a.Hang:
		end := make(chan struct{})
		k.mu.Lock()
		k.hung = append(k.hung, end)
		k.mu.Unlock()
		select {
		case <-r.Context().Done():
		case <-end:
		}
		panic(http.ErrAbortHandler)
	}
	w.Header().Set("Content-Type", "application/x-amz-json-1.1")
	w.Header().Set("X-Amzn-RequestId", random(8))
	w.WriteHeader(a.Status)
	_ = json.NewEncoder(w).Encode(map[string]string{"__type": a.Code, "message": a.Message})
}

// otherKey gives a ciphertext of another key than asked for the name that KMS
// has for it; to moto it is a denial.
func otherKey(resp *http.Response) error {
	if resp.Request.Header.Get("X-Amz-Target") != "TrentService.Decrypt" || resp.StatusCode != http.StatusBadRequest {
		return nil
	}
	body, err := io.ReadAll(io.LimitReader(resp.Body, maxRequest))
	if err != nil {
		return err
	}
	if bytes.Contains(body, []byte(`AccessDeniedException`)) {
		resp.Header.Del("X-Amzn-Errortype")
		body = []byte(`{"__type":"IncorrectKeyException","message":"The key ID in the request does not identify a CMK that can perform this operation."}`)
	}
	resp.Body = io.NopCloser(bytes.NewReader(body))
	resp.ContentLength = int64(len(body))
	resp.Header.Set("Content-Length", strconv.Itoa(len(body)))
	return nil
}

// Client is a KMS client of the keys' owner, past the proxy: what it does is
// not counted and meets no fault. region "" is the default one.
func (k *KMS) Client(region string) *kms.Client {
	if region == "" {
		region = k.Region
	}
	return kms.New(kms.Options{
		BaseEndpoint: &k.Moto, Region: region, HTTPClient: k.direct,
		Credentials: credentials.NewStaticCredentialsProvider(k.AccessKey, k.SecretKey, ""),
	})
}

// Key makes a symmetric key and gives its ARN.
func (k *KMS) Key(ctx context.Context, region string) (arn string, err error) {
	out, err := k.Client(region).CreateKey(ctx, &kms.CreateKeyInput{})
	if err != nil {
		return "", err
	}
	return *out.KeyMetadata.Arn, nil
}

// Alias names a key of the default region; name is without "alias/".
func (k *KMS) Alias(ctx context.Context, name, arn string) error {
	name = "alias/" + name
	_, err := k.Client("").CreateAlias(ctx, &kms.CreateAliasInput{AliasName: &name, TargetKeyId: &arn})
	return err
}

// keyID is what these calls of moto know a key by.
func keyID(arn string) *string {
	id := arn[strings.LastIndexByte(arn, '/')+1:]
	return &id
}

// Disable makes a key unusable until Enable. It is for keys of the default
// region, and so is all below.
func (k *KMS) Disable(ctx context.Context, arn string) error {
	_, err := k.Client("").DisableKey(ctx, &kms.DisableKeyInput{KeyId: keyID(arn)})
	return err
}

// Enable undoes Disable.
func (k *KMS) Enable(ctx context.Context, arn string) error {
	_, err := k.Client("").EnableKey(ctx, &kms.EnableKeyInput{KeyId: keyID(arn)})
	return err
}

// ScheduleDeletion makes the key unusable until CancelDeletion, which leaves it
// disabled.
func (k *KMS) ScheduleDeletion(ctx context.Context, arn string) error {
	_, err := k.Client("").ScheduleKeyDeletion(ctx, &kms.ScheduleKeyDeletionInput{KeyId: keyID(arn)})
	return err
}

// CancelDeletion undoes ScheduleDeletion.
func (k *KMS) CancelDeletion(ctx context.Context, arn string) error {
	_, err := k.Client("").CancelKeyDeletion(ctx, &kms.CancelKeyDeletionInput{KeyId: keyID(arn)})
	return err
}

// Rotate has the key's material renewed, on demand.
func (k *KMS) Rotate(ctx context.Context, arn string) error {
	_, err := k.Client("").RotateKeyOnDemand(ctx, &kms.RotateKeyOnDemandInput{KeyId: keyID(arn)})
	return err
}
