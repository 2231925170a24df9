package desk

import (
	"encoding/json"
	"slices"
	"strconv"
	"strings"

	"firn/internal/units"
	"firn/internal/web"
)

// maxResultLines bounds what is shown of what a child printed.
const maxResultLines = 40

// resultLine is one thing that a child said at its end.
type resultLine struct{ Name, Text string }

// resultLines are the plain members of the last result: numbers, words and sizes. Lists and objects are left to the command line.
func resultLines(t *web.Task) (lines []resultLine) {
	if len(t.Results) == 0 {
		return nil
	}
	var o map[string]any
	if json.Unmarshal(t.Results[len(t.Results)-1], &o) != nil {
		return nil
	}
	for name, v := range o {
		if name == "event" || name == "version" {
			continue
		}
		text := ""
		switch v := v.(type) {
		case string:
			text = v
		case bool:
			text = map[bool]string{true: "yes", false: "no"}[v]
		case float64:
			text = numberOf(name, v)
		}
		if text != "" {
			lines = append(lines, resultLine{strings.ReplaceAll(name, "_", " "), text})
		}
	}
	slices.SortFunc(lines, func(a, b resultLine) int { return strings.Compare(a.Name, b.Name) })
	return lines[:min(len(lines), maxResultLines)]
}

func numberOf(name string, v float64) string {
	switch {
	case strings.Contains(name, "bytes") || name == "added" || name == "sent" || name == "size":
		return units.Size(int64(v)).String()
	case v == float64(int64(v)):
		return units.Count(int64(v))
	}
	return strings.TrimRight(strings.TrimRight(strconv.FormatFloat(v, 'f', 4, 64), "0"), ".")
}
