package config

import (
	"errors"
	"strconv"
	"strings"
)

// Compression is a level of zstd, from 1 to 22; 0 is none.
type Compression int

// defaultCompression is zstd's own (zstd(1)).
const defaultCompression = 3

// ParseCompression reads none, zstd or zstd:LEVEL.
func ParseCompression(text string) (Compression, error) {
	name, level, given := strings.Cut(text, ":")
	switch {
	case text == "none":
		return 0, nil
	case text == "zstd":
		return defaultCompression, nil
	case name != "zstd" || !given:
		return 0, errors.New("compression is none, zstd or zstd:LEVEL")
	}
	n, err := strconv.Atoi(level)
	if err != nil || n < 1 || n > 22 || strconv.Itoa(n) != level {
		return 0, errors.New("a level of zstd is a number from 1 to 22; 3 is the default")
	}
	return Compression(n), nil
}

// String gives what ParseCompression reads.
func (c Compression) String() string {
	if c == 0 {
		return "none"
	}
	return "zstd:" + strconv.Itoa(int(c))
}

func (r *Rule) setCompress(e entry) error {
	text, err := e.word()
	if err != nil {
		return err
	}
	c, err := ParseCompression(text)
	if err != nil {
		return e.value.at.errorf("%v", err)
	}
	r.Compress = &c
	return nil
}
