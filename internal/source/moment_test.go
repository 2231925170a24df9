package source

import (
	"strings"
	"testing"
	"time"
)

func TestMoment(t *testing.T) {
	at := time.Date(2026, 1, 3, 4, 5, 6, 0, time.UTC)
	for pattern, want := range map[string]string{
		"firn-%Y%m%d-%H%M%S": "firn-20260103-040506", "offsite-%Y%m%d": "offsite-20260103", "%y%j": "26003", "%F_%T": "2026-01-03_04:05:06", "%G-W%V-%u": "2026-W01-6", "%s": "1767413106", "x": "x", "%%": "%",
	} {
		if got, err := Moment(pattern, at); err != nil || got != want {
			t.Errorf("%q: %q, %v; want %q", pattern, got, err, want)
		}
	}
	for _, bad := range []string{"", "a%", "%Q", "%", strings.Repeat("x", maxMoment+1)} {
		if got, err := Moment(bad, at); err == nil {
			t.Errorf("%q: %q", bad, got)
		}
	}
}

func TestChainName(t *testing.T) {
	at := func(day, hour int) time.Time { return time.Date(2023, 7, day, hour, 0, 0, 0, time.UTC) }
	for want, got := range map[string]string{
		"cameras-T20230719.zfs":                            ChainName("cameras", time.Time{}, at(19, 3), false, ".zfs"),
		"cameras-F20230719-T20230726.zfs":                  ChainName("cameras", at(19, 3), at(26, 3), false, ".zfs"),
		"cameras-F20230719-030000-T20230719-040000.zfs":    ChainName("cameras", at(19, 3), at(19, 4), false, ".zfs"),
		"home/eve-F20230719-030000-T20230726-040000.btrfs": ChainName("home/eve", at(19, 3), at(26, 4), true, ".btrfs"),
	} {
		if got != want {
			t.Errorf("%q, want %q", got, want)
		}
	}
}

func TestAgo(t *testing.T) {
	for d, want := range map[time.Duration]string{-time.Hour: "a moment", time.Minute: "a moment", 90 * time.Minute: "90 minutes", 36 * time.Hour: "36 hours", 10*24*time.Hour + time.Hour: "10 days"} {
		if got := Ago(d); got != want {
			t.Errorf("%v: %q, want %q", d, got, want)
		}
	}
}
