package keyring

import "time"

// Dated is what a KMS also is that may know when a key was made.
type Dated interface {
	// Created is of a key that Resolve gave; zero: it is not known.
	Created(arn string) time.Time
}

// Created tells when a master key was made, as far as its source tells: that of
// a file when the file was last written, that of KMS when it was asked what the
// key is. Zero: it is not known. It takes no request.
func Created(m Master) time.Time {
	switch m := m.(type) {
	case *aesMaster:
		return m.made
	case *ageMaster:
		return m.made
	case *kmsMaster:
		if from, ok := m.service.(Dated); ok {
			return from.Created(m.id)
		}
	}
	return time.Time{}
}
