package doctest

import (
	"fmt"
	"regexp"
	"strings"
	"testing"
)

// What differs from run to run.
var (
	colours = regexp.MustCompile(`\x1b\[[0-9;]*[A-Za-z]`)
	ids     = regexp.MustCompile(`\b[0-9a-f]{6,64}\b…?`)
	amounts = regexp.MustCompile(`\b\d[\d,.:]*\s*(?:B|KiB|MiB|GiB|TiB|kB|MB|GB|TB|ms|s|min|h)?(?:/s)?\b`)
	spaces  = regexp.MustCompile(`[ \t]+`)
	rules   = regexp.MustCompile(`[─│┌┐└┘├┤┬┴┼█▁▂▃▄▅▆▇]+`)
)

// loose is a line without what differs from run to run.
func loose(line string) string {
	line = colours.ReplaceAllString(line, "")
	line = rules.ReplaceAllString(line, "-")
	line = ids.ReplaceAllString(line, "N")
	line = amounts.ReplaceAllString(line, "N")
	return strings.TrimSpace(spaces.ReplaceAllString(line, " "))
}

// compare reports the first line of what a page shows that the output does not have, in that order. A line may end with … for whatever comes, and one that is … alone stands for some that are left out.
func compare(want, got []string) (int, error) {
	at := 0
	for i, w := range want {
		w = loose(w)
		if w == "" || w == "…" {
			continue
		}
		found := false
		for !found && at < len(got) {
			g := loose(got[at])
			at++
			if head, open := strings.CutSuffix(w, "…"); open {
				found = strings.HasPrefix(g, strings.TrimSpace(head))
			} else {
				found = g == w
			}
		}
		if !found {
			return i, fmt.Errorf("nothing like %q was printed there", w)
		}
	}
	return 0, nil
}

func TestCompare(t *testing.T) {
	got := strings.Split("snapshot 8fa3b1c2d4 of /home, 12 files\n  stored 1.5 MiB in 0.3 s\nnext: tomorrow\n", "\n")
	for want, ok := range map[string]bool{
		"snapshot aabbccddee of /home, 9,999 files\nstored 2 GiB in 12 s": true,
		"snapshot aabbccddee of /home, …":                                 true,
		"…\nnext: tomorrow":                                               true,
		"next: tomorrow\nstored 2 GiB in 12 s":                            false,
		"snapshot aabbccddee of /srv, 9 files":                            false,
	} {
		if _, err := compare(strings.Split(want, "\n"), got); (err == nil) != ok {
			t.Errorf("%q: %v", want, err)
		}
	}
}
