package past

import (
	"sync"
	"time"
)

// remembered is how many keys and prefixes are remembered at the least; at the
// most it is twice as many.
const remembered = 1 << 15

// memory is what was found. It has two halves: when the younger one is full the
// older one makes way for it.
type memory struct {
	most int

	mu           sync.Mutex // guards all below
	young, older half
	told         time.Time // the latest that the store's clock was
}

// latest is the latest time that the store has told, now or before.
func (m *memory) latest(answered time.Time) time.Time {
	m.mu.Lock()
	defer m.mu.Unlock()
	if answered.After(m.told) {
		m.told = answered
	}
	return m.told
}

type half struct {
	keys     map[string]found
	prefixes map[string]bool
}

func (m *memory) key(key string) (found, bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if f, ok := m.young.keys[key]; ok {
		return f, true
	}
	f, ok := m.older.keys[key]
	return f, ok
}

func (m *memory) prefix(prefix string) (lives, ok bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if lives, ok = m.young.prefixes[prefix]; ok {
		return lives, true
	}
	lives, ok = m.older.prefixes[prefix]
	return lives, ok
}

func (m *memory) noteKey(key string, f found) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.room()
	m.young.keys[key] = f
}

func (m *memory) notePrefix(prefix string, lives bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.room()
	m.young.prefixes[prefix] = lives
}

// room makes some for one more. m.mu is held.
func (m *memory) room() {
	if m.young.keys == nil || len(m.young.keys)+len(m.young.prefixes) >= m.most {
		m.older = m.young
		m.young = half{keys: map[string]found{}, prefixes: map[string]bool{}}
	}
}
