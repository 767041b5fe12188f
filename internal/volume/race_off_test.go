//go:build !race

package volume

const raced = false
