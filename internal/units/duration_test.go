package units

import (
	"testing"
	"time"
)

func TestParseDuration(t *testing.T) {
	for text, want := range map[string]time.Duration{
		"0": 0, "0s": 0, "90s": 90 * time.Second, "2h30m": 150 * time.Minute, "1.5h": 90 * time.Minute, "3d": 72 * time.Hour, "2w": 14 * Day, "1y": 365 * Day,
		"1D": Day, "1d12h": 36 * time.Hour, "250ms": 250 * time.Millisecond, "1h0.5m": time.Hour + 30*time.Second, "200y": MaxDuration,
	} {
		if got, err := ParseDuration(text); err != nil || got != want {
			t.Errorf("%q: %v, %v, want %v", text, got, err, want)
		}
	}
	for _, text := range []string{"", "5", "h", "-1h", "1x", "1h2h", "2m1h", "1.5h2m", ".h", "1..5h", "201y", "1e9y", "9999999999999999999y", "1 h", "NaNs", "infs", "1µs"} {
		if got, err := ParseDuration(text); err == nil {
			t.Errorf("%q: %v, want an error", text, got)
		}
	}
}

func FuzzParseDuration(f *testing.F) {
	f.Add("1d12h")
	f.Add("0.1ms")
	f.Fuzz(func(t *testing.T, s string) {
		if d, err := ParseDuration(s); err == nil && (d < 0 || d > MaxDuration) {
			t.Errorf("%q: %v", s, d)
		}
	})
}
