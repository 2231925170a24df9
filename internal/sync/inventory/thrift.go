package inventory

import (
	"encoding/binary"
	"fmt"
)

// fields goes through a struct of Thrift's compact protocol, in which the metadata of Parquet is written, before the library that understands it allocates what it is told there. It bounds depth,
// elements and lengths, and tells fn of each integer by the ids of the fields in which it lies. Source: thrift/doc/specs/thrift-compact-protocol.md.
type fields struct {
	b        []byte
	at       int
	elements int // left
	fn       func(outer, id int16, v int64)
}

// Types of the compact protocol.
const (
	tTrue = iota + 1
	tFalse
	tByte
	tI16
	tI32
	tI64
	tDouble
	tBinary
	tList
	tSet
	tMap
	tStruct
)

// maxDepth is how deep structs may lie in each other.
const maxDepth = 12

var errThrift = fmt.Errorf("%w: metadata of Parquet", ErrDamaged)

// walk goes through one struct and returns how long it is.
func (f *fields) walk() (int, error) {
	if err := f.object(0, 0); err != nil {
		return 0, err
	}
	return f.at, nil
}

func (f *fields) byte() (byte, error) {
	if f.at >= len(f.b) {
		return 0, errThrift
	}
	f.at++
	return f.b[f.at-1], nil
}

func (f *fields) varint() (uint64, error) {
	v, n := binary.Uvarint(f.b[f.at:])
	if n <= 0 {
		return 0, errThrift
	}
	f.at += n
	return v, nil
}

func (f *fields) skip(n uint64) error {
	if n > uint64(len(f.b)-f.at) {
		return errThrift
	}
	f.at += int(n)
	return nil
}

func (f *fields) object(outer int16, depth int) error {
	if depth > maxDepth {
		return errThrift
	}
	id := int16(0)
	for {
		h, err := f.byte()
		if err != nil || h == 0 {
			return err
		}
		if d := int16(h >> 4); d != 0 {
			id += d
		} else {
			v, err := f.varint()
			if err != nil {
				return err
			}
			id = int16(v>>1) ^ -int16(v&1)
		}
		if err := f.value(h&15, outer, id, depth, false); err != nil {
			return err
		}
	}
}

func (f *fields) value(kind byte, outer, id int16, depth int, element bool) error {
	switch kind {
	case tTrue, tFalse:
		if element {
			return f.skip(1)
		}
		return nil
	case tByte:
		return f.skip(1)
	case tDouble:
		return f.skip(8)
	case tI16, tI32, tI64:
		v, err := f.varint()
		if err == nil && f.fn != nil && !element {
			f.fn(outer, id, int64(v>>1)^-int64(v&1))
		}
		return err
	case tBinary:
		n, err := f.varint()
		if err != nil {
			return err
		}
		return f.skip(n)
	case tList:
		return f.list(id, depth)
	case tStruct:
		return f.object(id, depth+1)
	}
	return errThrift // Parquet has no sets and no maps
}

func (f *fields) list(id int16, depth int) error {
	h, err := f.byte()
	if err != nil {
		return err
	}
	n := uint64(h >> 4)
	if n == 15 {
		if n, err = f.varint(); err != nil {
			return err
		}
	}
	if n > uint64(f.elements) {
		return errThrift
	}
	f.elements -= int(n)
	for range n {
		if err := f.value(h&15, id, 0, depth+1, true); err != nil {
			return err
		}
	}
	return nil
}
