package kms

import (
	"fmt"
	"strings"
	"time"
)

// action is a kind of request, and the permission that it takes.
type action int

const (
	generateDataKey action = iota
	decrypt
	encrypt
	reEncrypt
	describeKey
	actions // how many there are
)

var actionNames = [actions]string{"GenerateDataKey", "Decrypt", "Encrypt", "ReEncrypt", "DescribeKey"}

func (a action) String() string { return actionNames[a] }

// Call is one call of a Client, with all its attempts.
type Call struct {
	Action   string // "Decrypt" and its like
	KeyID    string // as given
	Attempts int
	Took     time.Duration
	Err      error // nil if it succeeded
}

// Stats counts requests that were sent to KMS by kind, every attempt, as KMS
// bills them.
type Stats struct {
	GenerateDataKey, Decrypt, Encrypt, ReEncrypt, DescribeKey uint64
}

// Stats gives the counts since New.
func (c *Client) Stats() Stats {
	return Stats{
		GenerateDataKey: c.count[generateDataKey].Load(), Decrypt: c.count[decrypt].Load(), Encrypt: c.count[encrypt].Load(),
		ReEncrypt: c.count[reEncrypt].Load(), DescribeKey: c.count[describeKey].Load(),
	}
}

// Total is the number of all requests.
func (s Stats) Total() uint64 {
	return s.GenerateDataKey + s.Decrypt + s.Encrypt + s.ReEncrypt + s.DescribeKey
}

// String is like "1 GenerateDataKey, 3 Decrypt"; kinds without a request are
// left out.
func (s Stats) String() string {
	var all []string
	for i, n := range [actions]uint64{s.GenerateDataKey, s.Decrypt, s.Encrypt, s.ReEncrypt, s.DescribeKey} {
		if n > 0 {
			all = append(all, fmt.Sprintf("%d %s", n, action(i)))
		}
	}
	if len(all) == 0 {
		return "none"
	}
	return strings.Join(all, ", ")
}
