package objstore

// Simplifier is what a Store also is that sends more than every server
// understands, and can do without. Probe uses it.
type Simplifier interface {
	// Simplify leaves that away from now on; false means that nothing was left
	// to leave away.
	Simplify() bool

	// Simplified tells whether anything is left away, since Simplify or from the
	// beginning.
	Simplified() bool
}
