package source

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"firn/internal/units"
)

// Setting is one thing that can be said of a kind of source, under the same name on the command line and in a configuration.
type Setting struct {
	Name    string // lower case, words joined by "_"
	Value   string // what its value is, for people: "yes|no", "PATTERN", "DURATION"; "yes|no" may be left out, and is yes then
	Default string // for people
	Help    string // half a line
}

// SettingError tells of a setting that a source does not have, or of a value that it cannot have.
type SettingError struct {
	Name, Value string
	Reason      string // empty: there is no such setting
	Nearest     string // a setting that may have been meant; may be empty
}

func (e *SettingError) Error() string {
	if e.Reason == "" {
		return fmt.Sprintf("there is no setting %q", e.Name)
	}
	return fmt.Sprintf("setting %s = %q: %s", e.Name, e.Value, e.Reason)
}

// Settings are what a user said of a source. What reads them notes the first error; Err returns it.
type Settings struct {
	values map[string]string
	known  []Setting
	err    error
}

// NewSettings checks that values names only what is in known.
func NewSettings(known []Setting, values map[string]string) *Settings {
	s := &Settings{values: values, known: known}
	names := make([]string, 0, len(values))
	for name := range values {
		names = append(names, name)
	}
	slices.Sort(names)
	for _, name := range names {
		if !slices.ContainsFunc(known, func(k Setting) bool { return k.Name == name }) {
			s.fail(&SettingError{Name: name, Value: values[name], Nearest: Nearest(known, name)})
		}
	}
	return s
}

// Err returns the first error.
func (s *Settings) Err() error { return s.err }

func (s *Settings) fail(err *SettingError) {
	if s.err == nil {
		s.err = err
	}
}

// Fail notes that the value of a setting is wrong.
func (s *Settings) Fail(name, reason string) {
	s.fail(&SettingError{Name: name, Value: s.values[name], Reason: reason})
}

// Has reports whether the user said something.
func (s *Settings) Has(name string) bool { _, ok := s.values[name]; return ok }

// Text returns a value as it is.
func (s *Settings) Text(name, otherwise string) string {
	s.mustKnow(name)
	if v, ok := s.values[name]; ok {
		return v
	}
	return otherwise
}

// Bool reads yes, no, true, false, on, off, 1, 0; an empty value is yes.
func (s *Settings) Bool(name string, otherwise bool) bool {
	s.mustKnow(name)
	v, ok := s.values[name]
	if !ok {
		return otherwise
	}
	switch strings.ToLower(v) {
	case "", "yes", "true", "on", "1":
		return true
	case "no", "false", "off", "0":
		return false
	}
	s.Fail(name, "want yes or no")
	return otherwise
}

// Int reads a number from least to most.
func (s *Settings) Int(name string, otherwise, least, most int) int {
	s.mustKnow(name)
	v, ok := s.values[name]
	if !ok {
		return otherwise
	}
	n, err := strconv.Atoi(v)
	if err != nil || n < least || n > most {
		s.Fail(name, fmt.Sprintf("want a number from %d to %d", least, most))
		return otherwise
	}
	return n
}

// Duration reads a duration such as 90s, 2h or 3d.
func (s *Settings) Duration(name string, otherwise time.Duration) time.Duration {
	s.mustKnow(name)
	v, ok := s.values[name]
	if !ok {
		return otherwise
	}
	d, err := units.ParseDuration(v)
	if err != nil || d < 0 {
		s.Fail(name, "want a time such as 90s, 2h or 3d")
		return otherwise
	}
	return d
}

// mustKnow catches a setting that an adapter reads but does not list, which no user could give.
func (s *Settings) mustKnow(name string) {
	if !slices.ContainsFunc(s.known, func(k Setting) bool { return k.Name == name }) {
		panic("source: setting " + name + " is not listed")
	}
}

// Nearest finds the name of a setting that may have been meant by name; empty: there is none.
func Nearest(known []Setting, name string) string {
	best, least := "", 3
	for _, k := range known {
		if d := distance(name, k.Name); d < least || strings.HasPrefix(k.Name, name) && len(name) > 2 && best == "" {
			best, least = k.Name, d
		}
	}
	return best
}

// distance is how many letters differ (Levenshtein).
func distance(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			cost := diagonal
			if a[i] != b[j] {
				cost = 1 + min(diagonal, row[j], row[j+1])
			}
			diagonal, row[j+1] = row[j+1], cost
		}
	}
	return row[len(b)]
}
