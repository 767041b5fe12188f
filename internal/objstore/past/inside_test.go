package past

// Bound sets how much s remembers.
func Bound(s *Store, most int) { s.memory.most = most }

// Held is how much it does.
func Held(s *Store) int {
	m := &s.memory
	return len(m.young.keys) + len(m.young.prefixes) + len(m.older.keys) + len(m.older.prefixes)
}
