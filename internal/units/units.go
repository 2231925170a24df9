// Package units reads and prints sizes and rates the way people write them.
package units

import (
	"fmt"
	"math"
	"strconv"
	"strings"
)

// Size is a number of bytes.
type Size int64

// Powers of 1024 and of 1000.
const (
	KiB Size = 1 << 10
	MiB Size = 1 << 20
	GiB Size = 1 << 30
	TiB Size = 1 << 40
	KB  Size = 1e3
	MB  Size = 1e6
	GB  Size = 1e9
	TB  Size = 1e12
)

var suffixes = map[string]Size{
	"": 1, "b": 1,
	"k": KiB, "m": MiB, "g": GiB, "t": TiB, "p": TiB << 10,
	"kib": KiB, "mib": MiB, "gib": GiB, "tib": TiB, "pib": TiB << 10,
	"kb": KB, "mb": MB, "gb": GB, "tb": TB, "pb": TB * 1000,
}

// ParseSize reads "16M", "1.5GiB", "100 MB" or "4096". A bare letter and the "iB" forms are powers of 1024, the "B" forms
// of 1000. Negative and overflowing sizes are errors.
func ParseSize(s string) (Size, error) {
	text := strings.TrimSpace(s)
	i := strings.LastIndexAny(text, "0123456789.") + 1
	unit, ok := suffixes[strings.ToLower(strings.TrimSpace(text[i:]))]
	if !ok || i == 0 {
		return 0, fmt.Errorf("size %q: want a number with K, M, G, T or KiB, MB, … behind it", s)
	}
	if n, err := strconv.ParseInt(text[:i], 10, 64); err == nil {
		if n < 0 || n > math.MaxInt64/int64(unit) {
			return 0, fmt.Errorf("size %q: out of range", s)
		}
		return Size(n) * unit, nil
	}
	f, err := strconv.ParseFloat(text[:i], 64)
	if err != nil || f < 0 || math.IsNaN(f) || f*float64(unit) >= math.MaxInt64 {
		return 0, fmt.Errorf("size %q: want a number with K, M, G, T or KiB, MB, … behind it", s)
	}
	return Size(f * float64(unit)), nil
}

// String prints a size for people, in powers of 1024 with three significant digits: "1.50 GiB".
func (s Size) String() string {
	if s < 0 {
		return "-" + (-s).String()
	}
	if s < KiB {
		return strconv.FormatInt(int64(s), 10) + " B"
	}
	v, unit := float64(s), 0
	for v >= 1023.95 && unit < 5 {
		v /= 1024
		unit++
	}
	digits := 2
	if v >= 99.95 {
		digits = 0
	} else if v >= 9.995 {
		digits = 1
	}
	return strconv.FormatFloat(v, 'f', digits, 64) + " " + []string{"B", "KiB", "MiB", "GiB", "TiB", "PiB"}[unit]
}

// Set makes *Size a flag value (pflag.Value).
func (s *Size) Set(text string) error {
	v, err := ParseSize(text)
	if err == nil {
		*s = v
	}
	return err
}

// Type names the flag value in help texts.
func (s *Size) Type() string { return "size" }

// Count prints a number with thousands separated by a thin comma: "138,000".
func Count(n int64) string {
	if n < 0 {
		return "-" + Count(-n)
	}
	s := strconv.FormatInt(n, 10)
	for i := len(s) - 3; i > 0; i -= 3 {
		s = s[:i] + "," + s[i:]
	}
	return s
}
