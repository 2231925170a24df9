//go:build unix

package main

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
	"runtime"
	"slices"
	"strings"
	"text/tabwriter"
	"time"
)

// summary is the medians of one tool in one phase of one corpus.
type summary struct {
	Corpus  string  `json:"corpus"`
	Phase   string  `json:"phase"`
	Tool    string  `json:"tool"`
	Rounds  int     `json:"rounds"`
	Wall    float64 `json:"wall_s"`
	CPU     float64 `json:"cpu_s"`
	RSS     int64   `json:"rss_bytes"`
	Stored  int64   `json:"stored_bytes"`
	Added   int64   `json:"added_bytes"`
	Objects int64   `json:"objects"`
	Check   string  `json:"check,omitempty"`
	Failed  int     `json:"failed,omitempty"`

	// How many times as much as firn; 0 where firn did not run.
	WallRatio float64 `json:"wall_ratio,omitempty"`
	CPURatio  float64 `json:"cpu_ratio,omitempty"`
	RSSRatio  float64 `json:"rss_ratio,omitempty"`
}

// report is the JSON output.
type report struct {
	Time         time.Time         `json:"time"`
	System       string            `json:"system"`
	CPU          string            `json:"cpu"`
	Cores        int               `json:"cores"`
	Scale        float64           `json:"scale"`
	Tools        map[string]string `json:"tools"`
	Corpora      map[string]marker `json:"corpora"`
	Medians      []summary         `json:"medians"`
	Measurements []measurement     `json:"measurements"`
}

func median[T int64 | float64](v []T) T {
	if len(v) == 0 {
		return 0
	}
	slices.Sort(v)
	if n := len(v); n%2 == 0 {
		return (v[n/2-1] + v[n/2]) / 2
	}
	return v[len(v)/2]
}

// summarize makes medians, in order of corpus, phase and tool as they were measured.
func summarize(all []measurement) (out []summary) {
	type key struct{ corpus, phase, tool string }
	groups, order := map[key][]measurement{}, []key{}
	for _, m := range all {
		k := key{m.Corpus, m.Phase, m.Tool}
		if groups[k] == nil {
			order = append(order, k)
		}
		groups[k] = append(groups[k], m)
	}
	for _, k := range order {
		out = append(out, summarizeOne(groups[k]))
	}
	for i := range out {
		s := &out[i]
		at := slices.IndexFunc(out, func(o summary) bool {
			return o.Tool == "firn" && o.Corpus == s.Corpus && o.Phase == s.Phase && o.Failed < o.Rounds
		})
		if at >= 0 && s.Failed < s.Rounds {
			s.WallRatio, s.CPURatio = ratio(s.Wall, out[at].Wall), ratio(s.CPU, out[at].CPU)
			s.RSSRatio = ratio(float64(s.RSS), float64(out[at].RSS))
		}
	}
	return out
}

func ratio(a, b float64) float64 {
	if b == 0 {
		return 0
	}
	return a / b
}

func summarizeOne(all []measurement) summary {
	s := summary{Corpus: all[0].Corpus, Phase: all[0].Phase, Tool: all[0].Tool, Rounds: len(all)}
	var wall, cpu []float64
	var rss, stored, added, objects []int64
	for _, m := range all {
		if m.Check != nil && (s.Check == "" || s.Check == "ok") {
			s.Check = m.Check.String()
		}
		if m.Err != "" {
			s.Failed++
			continue
		}
		wall, cpu = append(wall, m.Usage.Wall), append(cpu, m.Usage.User+m.Usage.System)
		rss, stored = append(rss, m.Usage.RSS), append(stored, m.Stored)
		added, objects = append(added, m.Added), append(objects, int64(m.Objects))
	}
	s.Wall, s.CPU, s.RSS = median(wall), median(cpu), median(rss)
	s.Stored, s.Added, s.Objects = median(stored), median(added), median(objects)
	return s
}

// write prints the table and the JSON, as far as they were asked for.
func (b *bench) write(w io.Writer) error {
	if len(b.results) == 0 {
		return nil
	}
	r := report{Time: time.Now().UTC().Truncate(time.Second), System: runtime.GOOS + "/" + runtime.GOARCH, CPU: cpuName(), Cores: runtime.NumCPU(),
		Scale: b.opt.scale, Tools: map[string]string{}, Corpora: b.corpora, Medians: summarize(b.results), Measurements: b.results}
	for _, t := range b.tools {
		r.Tools[t.label] = t.release
	}
	if b.opt.json != "" {
		out, err := json.MarshalIndent(r, "", "  ")
		if err != nil {
			return err
		}
		out = append(out, '\n')
		if b.opt.json == "-" {
			_, err = w.Write(out)
			return err
		}
		if err := os.WriteFile(b.opt.json, out, 0o644); err != nil {
			return err
		}
	}
	return b.table(w, &r)
}

func (b *bench) table(w io.Writer, r *report) error {
	fmt.Fprintf(w, "%s, %s, %d cores, %s; medians of %d\n", r.Time.Format(time.DateTime), r.System, r.Cores, r.CPU, b.opt.rounds)
	for _, t := range b.tools {
		fmt.Fprintf(w, "  %s: %s\n", t.label, t.release)
	}
	last := ""
	var tw *tabwriter.Writer
	for _, s := range r.Medians {
		if s.Corpus != last {
			if tw != nil {
				if err := tw.Flush(); err != nil {
					return err
				}
			}
			last = s.Corpus
			m := r.Corpora[s.Corpus]
			fmt.Fprintf(w, "\n%s: %d files, %.0f MB\n", s.Corpus, m.Files, float64(m.Bytes)/1e6)
			tw = tabwriter.NewWriter(w, 0, 0, 2, ' ', tabwriter.AlignRight)
			fmt.Fprintln(tw, "phase\ttool\twall s\t/firn\tCPU s\t/firn\tpeak MB\t/firn\tstored MB\tadded MB\tobjects\tcheck\t")
		}
		fmt.Fprintln(tw, s.row())
	}
	if tw == nil {
		return nil
	}
	return tw.Flush()
}

func (s *summary) row() string {
	check := s.Check
	if s.Failed > 0 {
		check = strings.TrimSpace(fmt.Sprintf("%s %d of %d failed", check, s.Failed, s.Rounds))
	}
	times := func(r float64) string {
		if r == 0 {
			return ""
		}
		return fmt.Sprintf("%.2f", r)
	}
	mb := func(n int64) string { return fmt.Sprintf("%.1f", float64(n)/1e6) }
	return fmt.Sprintf("%s\t%s\t%.2f\t%s\t%.2f\t%s\t%.0f\t%s\t%s\t%s\t%d\t%s\t", s.Phase, s.Tool, s.Wall, times(s.WallRatio), s.CPU, times(s.CPURatio),
		float64(s.RSS)/1e6, times(s.RSSRatio), mb(s.Stored), mb(s.Added), s.Objects, check)
}

// cpuName is the model as Linux tells it, else empty.
func cpuName() string {
	b, err := os.ReadFile("/proc/cpuinfo")
	if err != nil {
		return ""
	}
	for line := range strings.Lines(string(b)) {
		if name, value, ok := strings.Cut(line, ":"); ok && strings.TrimSpace(name) == "model name" {
			return strings.TrimSpace(value)
		}
	}
	return ""
}
