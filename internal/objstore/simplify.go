package objstore

// Simplifier is what a Store also is that sends more than every server
// understands, and can do without. Simplify leaves that away from now on; false
// means that nothing was left to leave away. Probe uses it.
type Simplifier interface{ Simplify() bool }
