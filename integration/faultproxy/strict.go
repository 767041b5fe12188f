package faultproxy

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"sync"
)

// Strict makes a server honour what some ignore and S3 does not: If-Match of
// DeleteObject, If-Match and If-None-Match of CopyObject's destination. What
// may change an object waits for what else does, all that passes here; sign
// signs the questions.
func Strict(sign func(*http.Request)) Fault {
	var keys locks
	return func(w http.ResponseWriter, r *http.Request, next http.Handler) {
		if !Mutating(r) || r.URL.Query().Has("partNumber") {
			next.ServeHTTP(w, r)
			return
		}
		defer keys.lock(r.URL.Path)()
		conditional := r.Method == http.MethodDelete || r.Header.Get("X-Amz-Copy-Source") != ""
		if conditional && !holds(r, next, sign) {
			_, _ = io.Copy(io.Discard, r.Body)
			w.Header().Set("Content-Type", "application/xml")
			w.WriteHeader(http.StatusPreconditionFailed)
			_, _ = fmt.Fprint(w, "<Error><Code>PreconditionFailed</Code><Message>strict</Message></Error>")
			return
		}
		next.ServeHTTP(w, r)
	}
}

// holds asks the server whether the conditions of r hold.
func holds(r *http.Request, next http.Handler, sign func(*http.Request)) bool {
	match, none := r.Header.Get("If-Match"), r.Header.Get("If-None-Match")
	if match == "" && none == "" {
		return true
	}
	head := r.Clone(r.Context())
	head.Method, head.Body, head.ContentLength = http.MethodHead, http.NoBody, 0
	head.Header = http.Header{"X-Amz-Content-Sha256": {"UNSIGNED-PAYLOAD"}}
	sign(head)
	answer := httptest.NewRecorder()
	next.ServeHTTP(answer, head)
	there := answer.Code == http.StatusOK
	return (match == "" || there && answer.Header().Get("ETag") == match) && (none == "" || !there)
}

// locks are one mutex for each name in use.
type locks struct {
	mu   sync.Mutex // guards held
	held map[string]*lock
}

type lock struct {
	mu      sync.Mutex
	waiters int // guarded by locks.mu
}

func (l *locks) lock(name string) (unlock func()) {
	l.mu.Lock()
	if l.held == nil {
		l.held = map[string]*lock{}
	}
	k := l.held[name]
	if k == nil {
		k = &lock{}
		l.held[name] = k
	}
	k.waiters++
	l.mu.Unlock()
	k.mu.Lock()
	return func() {
		k.mu.Unlock()
		l.mu.Lock()
		defer l.mu.Unlock()
		if k.waiters--; k.waiters == 0 {
			delete(l.held, name)
		}
	}
}
