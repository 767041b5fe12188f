//go:build race

package volume

// raced: the race detector watches, and everything takes ten times as long.
const raced = true
