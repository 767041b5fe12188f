package s3ec

import "sync"

// windows hands out buffers for ciphertext.
var windows sync.Pool

// window is one to be given back. It holds ciphertext only when it is.
type window struct{ b [windowSize]byte }

func newWindow() *window {
	if w, ok := windows.Get().(*window); ok {
		return w
	}
	return new(window)
}

// release gives the buffer back. Nil is fine.
func (w *window) release() {
	if w != nil {
		windows.Put(w)
	}
}
