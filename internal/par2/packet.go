package par2

import (
	"bytes"
	"crypto/md5"
	"encoding/binary"
	"slices"
)

const headerSize = 64

const magic = "PAR2\x00PKT"

// Types of packets.
const (
	typeMain     = "PAR 2.0\x00Main\x00\x00\x00\x00"
	typeFileDesc = "PAR 2.0\x00FileDesc"
	typeIFSC     = "PAR 2.0\x00IFSC\x00\x00\x00\x00"
	typeRecovery = "PAR 2.0\x00RecvSlic"
	typeCreator  = "PAR 2.0\x00Creator\x00"
)

// sum is an MD5, and whatever is named by one.
type sum [md5.Size]byte

// less orders ids as numbers whose low byte comes first.
func (s sum) compare(t sum) int {
	slices.Reverse(s[:])
	slices.Reverse(t[:])
	return bytes.Compare(s[:], t[:])
}

// sliceSum is how the contents of a slice are told.
type sliceSum struct {
	md5 sum
	crc uint32
}

// appendPacket appends a packet to b.
func appendPacket(b []byte, set sum, kind string, body ...[]byte) []byte {
	n := headerSize
	for _, part := range body {
		n += len(part)
	}
	start := len(b)
	b = append(b, magic...)
	b = binary.LittleEndian.AppendUint64(b, uint64(n))
	b = append(b, make([]byte, md5.Size)...)
	b = append(b, set[:]...)
	b = append(b, kind...)
	for _, part := range body {
		b = append(b, part...)
	}
	hash := md5.Sum(b[start+32:])
	copy(b[start+16:], hash[:])
	return b
}

// recoveryHead is what stands before the slice in a recovery packet; its MD5 is still to be filled in.
func recoveryHead(set sum, exponent uint32, slice int64) []byte {
	b := append(make([]byte, 0, headerSize+4), magic...)
	b = binary.LittleEndian.AppendUint64(b, uint64(headerSize+4+slice))
	b = append(b, make([]byte, md5.Size)...)
	b = append(b, set[:]...)
	b = append(b, typeRecovery...)
	return binary.LittleEndian.AppendUint32(b, exponent)
}

// pad appends zeros up to a multiple of 4.
func pad(b []byte) []byte {
	for len(b)%4 != 0 {
		b = append(b, 0)
	}
	return b
}

// description is what a set says of one file, apart from its slices.
type description struct {
	md5, start sum // of the whole, and of the first 16 KiB
	size       int64
	name       string
}

func (d *description) id() sum {
	b := binary.LittleEndian.AppendUint64(bytes.Clone(d.start[:]), uint64(d.size))
	return md5.Sum(append(b, d.name...))
}

// critical returns one copy of the packets that a set of one file cannot do without, and its id.
func critical(d *description, slice int64, sums []sliceSum) (packets []byte, set sum) {
	id := d.id()
	main := binary.LittleEndian.AppendUint64(nil, uint64(slice))
	main = binary.LittleEndian.AppendUint32(main, 1)
	main = append(main, id[:]...)
	set = md5.Sum(main)
	desc := slices.Concat(id[:], d.md5[:], d.start[:])
	desc = binary.LittleEndian.AppendUint64(desc, uint64(d.size))
	desc = pad(append(desc, d.name...))
	packets = appendPacket(packets, set, typeMain, main)
	packets = appendPacket(packets, set, typeFileDesc, desc)
	if len(sums) > 0 {
		ifsc := bytes.Clone(id[:])
		for i := range sums {
			ifsc = append(ifsc, sums[i].md5[:]...)
			ifsc = binary.LittleEndian.AppendUint32(ifsc, sums[i].crc)
		}
		packets = appendPacket(packets, set, typeIFSC, ifsc)
	}
	return appendPacket(packets, set, typeCreator, pad([]byte("firn"))), set
}

// copies returns how often the critical packets are written: three times, and more often, up to once around every recovery packet, as long as
// they add less than a sixteenth.
func copies(recovery int, critical, slice int64) int {
	worth := int64(recovery) * slice / 16 / critical
	return max(min(3, recovery+1), int(min(worth, int64(recovery)+1)))
}
