package keys

import (
	"errors"
	"fmt"
	"strings"
)

// Bech32 (BIP 173) without its limit of 90 characters, as age uses it for keys. Only encoding is needed to give derived bytes the text that
// age parses; decoding is there so that tests can go round.

const bech32Charset = "qpzry9x8gf2tvdw0s3jn54khce6mua7l"

// bech32Step feeds one 5-bit value into the checksum, a BCH code over GF(32).
func bech32Step(sum uint32, v byte) uint32 {
	top := sum >> 25
	sum = sum&0x1ffffff<<5 ^ uint32(v)
	for i, g := range [5]uint32{0x3b6a57b2, 0x26508e6d, 0x1ea119fa, 0x3d4233dd, 0x2a1462b3} {
		if top>>i&1 == 1 {
			sum ^= g
		}
	}
	return sum
}

// bech32Prefix feeds the human-readable part, lower case.
func bech32Prefix(hrp string) uint32 {
	sum := uint32(1)
	for i := 0; i < len(hrp); i++ {
		sum = bech32Step(sum, hrp[i]>>5)
	}
	sum = bech32Step(sum, 0)
	for i := 0; i < len(hrp); i++ {
		sum = bech32Step(sum, hrp[i]&31)
	}
	return sum
}

// bech32Encode returns hrp, "1", data in groups of five bits and the checksum, in lower case. hrp is lower case.
func bech32Encode(hrp string, data []byte) string {
	sum := bech32Prefix(hrp)
	out := make([]byte, 0, len(hrp)+1+(len(data)*8+4)/5+6)
	out = append(append(out, hrp...), '1')
	var acc uint32
	bits := 0
	emit := func(v byte) {
		sum = bech32Step(sum, v)
		out = append(out, bech32Charset[v])
	}
	for _, b := range data {
		acc, bits = acc<<8|uint32(b), bits+8
		for bits >= 5 {
			bits -= 5
			emit(byte(acc>>bits) & 31)
		}
	}
	if bits > 0 {
		emit(byte(acc<<(5-bits)) & 31)
	}
	for range 6 {
		sum = bech32Step(sum, 0)
	}
	sum ^= 1
	for i := 5; i >= 0; i-- {
		out = append(out, bech32Charset[sum>>(5*i)&31])
	}
	return string(out)
}

var errBech32 = errors.New("malformed bech32 text")

// bech32Decode takes text of at most 4096 characters apart and checks it; hrp comes back in lower case.
func bech32Decode(text string) (hrp string, data []byte, err error) {
	lower := strings.ToLower(text)
	if text != lower && text != strings.ToUpper(text) {
		return "", nil, fmt.Errorf("%w: mixed case", errBech32)
	}
	split := strings.LastIndexByte(lower, '1')
	if split < 1 || split+7 > len(lower) || len(lower) > 4096 {
		return "", nil, fmt.Errorf("%w: wrong length", errBech32)
	}
	hrp = lower[:split]
	sum := bech32Prefix(hrp)
	values := lower[split+1:]
	var acc uint32
	bits := 0
	for i := range len(values) {
		v := strings.IndexByte(bech32Charset, values[i])
		if v < 0 {
			return "", nil, fmt.Errorf("%w: character %d is not of the alphabet", errBech32, split+1+i)
		}
		sum = bech32Step(sum, byte(v))
		if i >= len(values)-6 {
			continue
		}
		acc, bits = acc<<5|uint32(v), bits+5
		if bits >= 8 {
			bits -= 8
			data = append(data, byte(acc>>bits))
		}
	}
	if sum != 1 {
		return "", nil, fmt.Errorf("%w: wrong checksum", errBech32)
	}
	if bits >= 5 || acc&(1<<bits-1) != 0 {
		return "", nil, fmt.Errorf("%w: wrong padding", errBech32)
	}
	return hrp, data, nil
}
