package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
)

// changed is what is written into the large file.
func changed() []byte { return bytes.Repeat([]byte{0x5a}, block) }

// middle is where, at no boundary of anything.
func (s *source) middle() int64 { return int64(len(s.data))/2 + 5 }

func overwrite(_ context.Context, st *stage) error {
	return change(st.path(largeName), st.source.middle())
}

func appendTo(_ context.Context, st *stage) error {
	return change(st.path(largeName), int64(len(st.source.data)))
}

// change writes at off, to the bucket.
func change(name string, off int64) error {
	f, err := os.OpenFile(name, os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	_, err = f.WriteAt(changed(), off)
	if err == nil {
		err = f.Sync()
	}
	return errors.Join(err, f.Close())
}

// overwritten reads what was changed, and what is around it.
func overwritten(_ context.Context, st *stage) error {
	off := st.source.middle()
	data := st.source.data
	want := bytes.Join([][]byte{data[off-block : off], changed(), data[off+block : off+2*block]}, nil)
	return st.holds(want, off-block, int64(len(data)))
}

func appended(_ context.Context, st *stage) error {
	end := int64(len(st.source.data))
	return st.holds(append(bytes.Clone(st.source.data[end-block:]), changed()...), end-block, end+block)
}

// holds compares a part of the large file, its begin, and its size.
func (st *stage) holds(want []byte, off, size int64) error {
	f, err := os.Open(st.path(largeName))
	if err != nil {
		return err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return err
	}
	got, begin := make([]byte, len(want)), make([]byte, mib)
	if _, err := io.ReadFull(io.NewSectionReader(f, off, size), got); err != nil {
		return err
	}
	if _, err := f.ReadAt(begin, 0); err != nil {
		return err
	}
	if info.Size() != size || !bytes.Equal(got, want) || !bytes.Equal(begin, st.source.data[:mib]) {
		return fmt.Errorf("%s, %d bytes, at %d: %w", largeName, info.Size(), off, errDiffers)
	}
	return nil
}
