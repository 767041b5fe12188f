//go:build !profile

package main

// profiled runs the program; see profile.go.
func profiled(do func() int) int { return do() }
