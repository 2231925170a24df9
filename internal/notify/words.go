package notify

import (
	"bytes"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"firn/internal/units"
)

// maxSubject is the longest subject or title, in characters.
const maxSubject = 200

// clean is the message without secrets and within limits, with times in UTC as they were given.
func (m Message) clean(secrets *strings.Replacer) Message {
	text := func(s *string, most int) {
		*s = cut(strings.ToValidUTF8(secrets.Replace(*s), string(utf8.RuneError)), most)
	}
	for _, s := range []*string{&m.Refers, &m.Run, &m.Host, &m.Job, &m.Kind, &m.Repository, &m.Source, &m.Snapshot, &m.Program, &m.Currency, &m.ReportFile} {
		text(s, MaxLine)
	}
	for _, s := range []*string{&m.Summary, &m.Error, &m.Hint} {
		text(s, MaxText)
	}
	m.Problems = slices.Clone(m.Problems[:min(len(m.Problems), MaxProblems)])
	for i := range m.Problems {
		text(&m.Problems[i].Path, MaxLine)
		text(&m.Problems[i].Error, MaxLine)
	}
	m.Log = slices.Clone(m.Log[max(0, len(m.Log)-MaxLog):])
	for i := range m.Log {
		text(&m.Log[i], MaxLine)
	}
	m.Warnings = slices.Clone(m.Warnings)
	for i := range m.Warnings {
		text(&m.Warnings[i], MaxText)
	}
	if len(m.Report) > 0 {
		switch {
		case len(m.Report) > MaxReport:
			m.Warnings = append(m.Warnings, fmt.Sprintf("the report of %v is too long to be sent", units.Size(len(m.Report))))
			m.Report = nil
		case !json.Valid(m.Report):
			m.Warnings = append(m.Warnings, "the report is not sent: it is no JSON")
			m.Report = nil
		default:
			m.Report = replaceJSON(m.Report, secrets)
		}
	}
	return m
}

// replaceJSON replaces in the texts of a valid JSON document, however they are written there, and leaves all else as it is.
func replaceJSON(raw []byte, secrets *strings.Replacer) []byte {
	made := make([]byte, 0, len(raw))
	for {
		begin := bytes.IndexByte(raw, '"')
		if begin < 0 {
			return append(made, raw...)
		}
		end := begin + 1
		for raw[end] != '"' {
			if raw[end] == '\\' {
				end++
			}
			end++
		}
		made = append(made, raw[:begin]...)
		text := raw[begin : end+1]
		var s string
		if json.Unmarshal(text, &s) == nil {
			if clean := secrets.Replace(s); clean != s {
				text, _ = marshal(clean)
			}
		}
		made, raw = append(made, text...), raw[end+1:]
	}
}

// JSON is the message as commands and web hooks get it: one object, times in UTC.
func (m Message) JSON() []byte {
	for _, t := range []*time.Time{&m.Time, &m.Started, &m.Since, &m.LastSuccess, &m.Next} {
		*t = t.UTC()
	}
	if m.ID == "" {
		m.ID = m.Key()
	}
	raw, err := marshal(m)
	if err != nil { // a report that is none, a time out of its range, a figure that is no number: the rest has to get there
		m.Warnings = append(slices.Clone(m.Warnings), "something in this message could not be written as JSON: "+err.Error())
		m.Report, m.Seconds, m.Cost, m.StaleAfter = nil, 0, 0, 0
		m.Time, m.Started, m.Since, m.LastSuccess, m.Next = time.Time{}, time.Time{}, time.Time{}, time.Time{}, time.Time{}
		raw, _ = marshal(m)
	}
	return raw
}

// marshal is json.Marshal that leaves <, > and & alone.
func marshal(v any) ([]byte, error) {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	err := e.Encode(v)
	return bytes.TrimSuffix(b.Bytes(), []byte("\n")), err
}

// quoted is a text as it stands between the quotes of JSON.
func quoted(s string) string {
	raw, _ := marshal(s)
	return string(raw[1 : len(raw)-1])
}

// Title says in one line what happened.
func (m Message) Title() string {
	who := m.Name()
	if m.Host != "" {
		who += " on " + line(m.Host)
	}
	switch m.Event {
	case Start:
		who += " begins"
	case Success:
		who += " is done"
	case Failure:
		who += " failed" + times(m.Failures)
	case Missed:
		who += " did not run" + times(m.Missed)
	case Recovered:
		who += " works again"
	case Test:
		who = "a test of the notices of " + cmpOr(line(m.Host), "this host")
	default:
		who += ": " + line(string(m.Event))
	}
	if n := m.Counts.Problems; n > 0 && (m.Event == Success || m.Event == Recovered) {
		who += ", with " + plural(n, "problem")
	}
	return cut(who, maxSubject)
}

func cmpOr(a, b string) string {
	if a == "" {
		return b
	}
	return a
}

func times(n int) string {
	if n < 2 {
		return ""
	}
	return fmt.Sprintf(", %d times in succession", n)
}

func plural(n int64, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return units.Count(n) + " " + what + "s"
}

// Text says at length what happened, in lines.
func (m Message) Text() string {
	var b strings.Builder
	b.WriteString(m.Title() + "\n\n")
	m.facts(&b)
	if len(m.Problems) > 0 {
		b.WriteString("\nProblems:\n")
		for _, p := range m.Problems {
			b.WriteString("  " + line(p.Path) + ": " + line(p.Error) + "\n")
		}
		if more := m.Counts.Problems - int64(len(m.Problems)); more > 0 {
			b.WriteString("  and " + units.Count(more) + " more\n")
		}
	}
	if len(m.Log) > 0 {
		b.WriteString("\nThe last lines of the log:\n")
		for _, l := range m.Log {
			b.WriteString("  " + line(l) + "\n")
		}
	}
	for _, w := range m.Warnings {
		b.WriteString("\nAbout this notice: " + line(w) + "\n")
	}
	return b.String()
}

// brief is Text without problems and log, for what is read on a telephone.
func (m Message) brief() string {
	var lines []string
	add := func(s string) {
		if s = line(s); s != "" {
			lines = append(lines, s)
		}
	}
	if m.Event == Test {
		add("Whoever reads this gets the notices.")
	}
	add(m.Error)
	add(m.Summary)
	if m.Hint != "" {
		add("Hint: " + m.Hint)
	}
	if m.Trouble() && !m.LastSuccess.IsZero() {
		add("Last success: " + moment(m.LastSuccess))
	}
	if m.Seconds > 0 {
		add("Took " + spell(m.Duration()))
	}
	for _, w := range m.Warnings {
		add("About this notice: " + w)
	}
	if len(lines) == 0 {
		add(m.Title())
	}
	return strings.Join(lines, "\n")
}

// facts writes the lines that are name and value.
func (m Message) facts(b *strings.Builder) {
	row := func(name, value string) {
		if value != "" {
			fmt.Fprintf(b, "  %-14s%s\n", name, value)
		}
	}
	if m.Event == Test {
		b.WriteString("Whoever reads this gets the notices.\n\n")
	}
	row("Error", line(m.Error))
	row("Hint", line(m.Hint))
	row("Summary", line(m.Summary))
	row("Repository", line(m.Repository))
	row("Source", line(m.Source))
	row("Snapshot", line(m.Snapshot))
	row("Time", moment(m.Time))
	row("Started", moment(m.Started))
	if m.Seconds > 0 {
		row("Took", spell(m.Duration()))
	}
	for _, f := range []struct {
		name string
		n    int64
	}{{"Files", m.Counts.Files}, {"Files new", m.Counts.FilesNew}, {"Files changed", m.Counts.FilesChanged}, {"Snapshots", m.Counts.Snapshots}} {
		if f.n > 0 {
			row(f.name, units.Count(f.n))
		}
	}
	for _, f := range []struct {
		name string
		n    int64
	}{{"Size", m.Counts.Bytes}, {"Size new", m.Counts.BytesAdded}, {"Stored", m.Counts.BytesStored}, {"Freed", m.Counts.BytesFreed}} {
		if f.n > 0 {
			row(f.name, units.Size(f.n).String())
		}
	}
	if m.Cost > 0 {
		row("Cost", strings.TrimSpace(fmt.Sprintf("%.4f %s", m.Cost, line(m.Currency))))
	}
	if m.Event == Failure || m.Event == Missed || m.Event == Recovered {
		row("Since", moment(m.Since))
		row("Last success", moment(m.LastSuccess))
	}
	row("Next run", moment(m.Next))
	row("Report", line(m.ReportFile))
}

// moment is a time as people read it, in its own zone; nothing for the zero time.
func moment(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return t.Format("Mon 2006-01-02 15:04:05 -0700")
}

// spell is a length of time as people read it, in its two largest units.
func spell(d time.Duration) string {
	sign := ""
	if d < 0 {
		sign, d = "-", -max(d, -1<<63+1)
	}
	switch {
	case d < 10*time.Second:
		return fmt.Sprintf("%s%.1f s", sign, d.Seconds())
	case d < time.Minute:
		return fmt.Sprintf("%s%d s", sign, d/time.Second)
	case d < time.Hour:
		return fmt.Sprintf("%s%d min %d s", sign, d/time.Minute, d%time.Minute/time.Second)
	case d < units.Day:
		return fmt.Sprintf("%s%d h %d min", sign, d/time.Hour, d%time.Hour/time.Minute)
	}
	return fmt.Sprintf("%s%d d %d h", sign, d/units.Day, d%units.Day/time.Hour)
}
