//go:build unix

package main

import (
	"fmt"
	"slices"
	"strings"
)

// The phases, in their order.
const (
	first     = "first"
	unchanged = "unchanged"
	edited    = "edited"
	restore   = "restore"
)

var phases = []string{first, unchanged, edited, restore}

// filter is a list of tool/corpus/phase patterns; empty parts match everything, an empty filter too.
type filter [][3]string

func parseFilter(s string) (filter, error) {
	var f filter
	for _, part := range strings.Split(s, ",") {
		if part == "" {
			continue
		}
		words := strings.Split(part, "/")
		if len(words) > 3 {
			return nil, fmt.Errorf("filter %q: want tool/corpus/phase", part)
		}
		var row [3]string
		copy(row[:], words)
		known := func(list []string, word string) bool { return word == "" || slices.Contains(list, word) }
		if !known(corpusNames(), row[1]) {
			return nil, fmt.Errorf("filter %q: no corpus %q, there are %s", part, row[1], strings.Join(corpusNames(), ", "))
		}
		if !known(phases, row[2]) {
			return nil, fmt.Errorf("filter %q: no phase %q, there are %s", part, row[2], strings.Join(phases, ", "))
		}
		f = append(f, row)
	}
	return f, nil
}

// match reports whether the filter lets tool, corpus and phase through; an empty argument asks whether any would pass.
func (f filter) match(tool, corpus, phase string) bool {
	if len(f) == 0 {
		return true
	}
	fits := func(pattern, s string) bool { return pattern == "" || s == "" || pattern == s }
	return slices.ContainsFunc(f, func(row [3]string) bool {
		return fits(row[0], tool) && fits(row[1], corpus) && fits(row[2], phase)
	})
}
