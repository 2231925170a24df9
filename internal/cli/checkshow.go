package cli

import (
	"cmp"
	"errors"
	"strings"
	"time"

	"firn/internal/advice"
	"firn/internal/check"
	"firn/internal/repo"
	"firn/internal/thaw"
	"firn/internal/units"
)

// checkFindingJSON is what check prints with --json for each finding.
type checkFindingJSON struct {
	Event     string     `json:"event"` // finding
	Object    string     `json:"object"`
	Kind      string     `json:"kind"` // missing, size, sum, …
	Error     string     `json:"error,omitempty"`
	Pack      string     `json:"pack,omitempty"`
	Whole     bool       `json:"whole,omitempty"`
	Chunks    int        `json:"chunks,omitempty"`
	Spans     []spanJSON `json:"spans,omitempty"`
	Snapshots []harmJSON `json:"snapshots"`
	Upon      []string   `json:"upon,omitempty"` // ids of snapshots whose chains stand on those
	Remedy    string     `json:"remedy"`
	Earlier   bool       `json:"earlier,omitempty"` // found by an earlier check, and not read by this one
}

type spanJSON struct {
	Offset int64 `json:"offset"`
	Length int64 `json:"length"`
}

type harmJSON struct {
	ID      string   `json:"id"`
	Source  string   `json:"source,omitempty"`
	Time    string   `json:"time,omitempty"`
	Files   int64    `json:"files"`
	Paths   []string `json:"paths"`
	Entries int64    `json:"entries,omitempty"`
	All     bool     `json:"all,omitempty"`
}

// checkedJSON is the last line of check with --json.
type checkedJSON struct {
	Event         string       `json:"event"` // checked
	Damaged       int          `json:"damaged"`
	Objects       int64        `json:"objects"`
	Bytes         int64        `json:"bytes"`
	Metadata      int64        `json:"metadata"`
	MetadataBytes int64        `json:"metadata_bytes"`
	Snapshots     int64        `json:"snapshots"`
	Sums          int64        `json:"sums"`
	SumsUnknown   int64        `json:"sums_unknown"`
	Packs         int64        `json:"packs"`
	PackBytes     int64        `json:"pack_bytes"`
	Volumes       int64        `json:"volumes"`
	VolumeBytes   int64        `json:"volume_bytes"`
	PacksTotal    int64        `json:"packs_total"`
	PacksEver     int64        `json:"packs_ever_read"`
	Oldest        string       `json:"oldest_read,omitempty"`
	Healed        int64        `json:"healed"`
	Orphans       int64        `json:"orphans"`
	OrphanBytes   int64        `json:"orphan_bytes"`
	Thaw          *thaw.Status `json:"thaw,omitempty"`
}

// report prints what was found, and fails if anything was.
func (x *checkCommand) report(r *check.Report, job *thaw.Job) error {
	if x.c.json != "" {
		if err := x.reportJSON(r, job); err != nil {
			return err
		}
	} else {
		for _, f := range r.Findings {
			x.show(f)
		}
		if !x.c.quiet {
			x.summary(r, job)
		}
	}
	if n := len(r.Findings); n > 0 {
		return &advice.Error{Text: counted(int64(n), "object") + " damaged or missing", Hint: "firn repair shows what can be mended, and mends it with --yes"}
	}
	return nil
}

// kindText says what is wrong in a word or two.
func kindText(k repo.FindingKind) string {
	return cmp.Or(map[repo.FindingKind]string{repo.Missing: "missing", repo.Unreadable: "unreadable", repo.WrongSize: "damaged", repo.WrongSum: "damaged", repo.Sealed: "damaged",
		repo.WrongTable: "damaged", repo.WrongChunk: "damaged", repo.WrongBody: "wrong", repo.Unindexed: "not in the index", repo.Unlisted: "not listed", repo.Unknown: "index incomplete"}[k], string(k))
}

func (x *checkCommand) show(f check.Finding) {
	x.c.print("%s: %s\n", kindText(f.Kind), printable(f.Object))
	if f.Err != nil {
		x.c.print("  why:   %s\n", printable(oneLine(f.Err.Error())))
	}
	if n := len(f.Chunks); n > 0 && !f.Whole {
		x.c.print("  lost:  %s of it; the rest can be read\n", counted(int64(n), "chunk"))
	}
	for i, h := range f.Harms {
		if i == 3 && len(f.Harms) > 4 {
			x.c.print("         and %s more\n", counted(int64(len(f.Harms)-i), "snapshot"))
			break
		}
		x.c.print("  hurts: %s\n", printable(harmText(h)))
		for k, p := range h.Paths {
			if k == 5 && !x.c.verbose {
				break
			}
			x.c.print("           %s\n", printable(shownPath(p)))
		}
	}
	if n := len(f.Upon); n > 0 {
		x.c.print("  hurts: %s built upon that: an increment of what is lost is of no use\n", counted(int64(n), "snapshot"))
		for k, id := range f.Upon {
			if k == 5 && !x.c.verbose {
				break
			}
			x.c.print("           %s\n", shortID(id))
		}
	}
	if len(f.Harms) == 0 && !f.Pack.IsZero() && !f.Volume && len(f.Chunks) == 0 && !f.Whole {
		x.c.print("  hurts: no file yet: all of its chunks can be read\n")
	} else if len(f.Harms) == 0 && !f.Pack.IsZero() && !f.Volume {
		x.c.print("  hurts: no file that a snapshot has, but a later backup would rely on it\n")
	}
	x.c.print("  do:    %s\n", checkRemedy(f))
}

// harmText says what a finding does to a snapshot.
func harmText(h repo.Harm) string {
	text := "snapshot " + shortID(h.ID)
	if h.Snapshot != nil {
		text += sprintf(" of %s (%s), %s", advice.SourceName(h.Snapshot.Source), h.Snapshot.Host, h.Snapshot.Start.Local().Format(timeFormat))
	}
	switch {
	case h.All:
		return text + ": nothing of it can be restored"
	case h.Files > 0 && h.Entries > 0:
		return text + sprintf(": %s, and %s from the last path on that cannot even be listed", counted(h.Files, "file"), counted(h.Entries, "entry"))
	case h.Entries > 0:
		return text + sprintf(": %s cannot be listed, beginning with", counted(h.Entries, "entry"))
	case h.Files > 0:
		return text + sprintf(": %s", counted(h.Files, "file"))
	}
	return text
}

// checkRemedy says what to do.
func checkRemedy(f check.Finding) string {
	switch f.Remedy {
	case check.FromParity:
		return "firn repair, from its recovery volume"
	case check.FromSource:
		return "firn repair marks it as lost; then the next backup sends again what the source still has"
	case check.FromPacks:
		return "firn repair makes the index again from the packs"
	case check.NewVolume:
		return "firn repair makes the recovery volume again from its pack"
	case check.NextBackup:
		if strings.HasPrefix(f.Object, "packset/") {
			return "nothing: its snapshot can be restored, and the next backup writes new ones"
		}
		return "the next backup of that host stores it again"
	case check.NewKey:
		return "firn keys add makes another way in, firn keys remove takes away what is left of this one"
	}
	return "nothing here helps: get it back from a copy, or from an older version if the store keeps those"
}

func (x *checkCommand) summary(r *check.Report, job *thaw.Job) {
	n := &r.Result
	x.c.print("%s of %v listed", counted(n.Objects, "object"), units.Size(n.Bytes))
	if x.wish.Metadata {
		x.c.print(", %s of metadata read", counted(n.Metadata, "object"))
		if n.Snapshots > 0 {
			x.c.print(", with the manifests of %s", counted(n.Snapshots, "snapshot"))
		}
	}
	x.c.print("\n")
	if n.Sums+n.SumsUnknown > 0 {
		x.c.print("%s compared", counted(n.Sums, "stored sum"))
		if n.SumsUnknown > 0 {
			x.c.print("; of %s the store keeps none", counted(n.SumsUnknown, "object"))
		}
		x.c.print("\n")
	}
	if x.wish.Read.Any() || x.cold {
		x.c.print("%s of %v read and verified", counted(n.Packs, "pack"), units.Size(n.PackBytes))
		if n.Volumes > 0 {
			x.c.print(", and %s", counted(n.Volumes, "recovery volume"))
		}
		if n.Left > 0 {
			x.c.print("; %s turned out to be cold", counted(n.Left, "object"))
		}
		x.c.print("; so far %s of %s", units.Count(n.Fresh), counted(n.Candidates, "pack"))
		if !n.Oldest.IsZero() {
			x.c.print(", all of them since %s", n.Oldest.Local().Format(timeFormat))
		}
		x.c.print("\n")
	}
	if n.Orphans > 0 && (x.c.verbose || n.OrphanBytes > 1<<30) {
		x.c.print("%s of %v in no index: a backup is at work, or was killed\n", counted(n.Orphans, "pack"), units.Size(n.OrphanBytes))
	}
	if job != nil {
		if st := job.Status(); st.Left.Objects > 0 {
			x.c.print("%s still to come: run the same command again\n", counted(st.Left.Objects, "object"))
		}
	}
	if n.Healed > 0 {
		x.c.print("%s damaged or gone, and healed: what snapshots need of it lies elsewhere by now\n", counted(n.Healed, "object"))
	}
	if len(r.Findings) == 0 {
		x.c.print("nothing is damaged\n")
	}
}

func (x *checkCommand) reportJSON(r *check.Report, job *thaw.Job) error {
	for _, f := range r.Findings {
		j := checkFindingJSON{Event: "finding", Object: f.Object, Kind: string(f.Kind), Whole: f.Whole, Chunks: len(f.Chunks), Remedy: string(f.Remedy), Snapshots: []harmJSON{}}
		if f.Err != nil {
			j.Error = f.Err.Error()
		}
		j.Earlier = errors.As(f.Err, new(*check.EarlierError))
		if !f.Pack.IsZero() {
			j.Pack = f.Pack.String()
		}
		for _, s := range f.Spans {
			j.Spans = append(j.Spans, spanJSON{s.Offset, s.Length})
		}
		for _, h := range f.Harms {
			j.Snapshots = append(j.Snapshots, newHarmJSON(h))
		}
		for _, id := range f.Upon {
			j.Upon = append(j.Upon, id.String())
		}
		if err := x.c.object(j); err != nil {
			return err
		}
	}
	n := &r.Result
	last := checkedJSON{Event: "checked", Damaged: len(r.Findings), Objects: n.Objects, Bytes: n.Bytes, Metadata: n.Metadata, MetadataBytes: n.MetadataBytes, Snapshots: n.Snapshots,
		Sums: n.Sums, SumsUnknown: n.SumsUnknown, Packs: n.Packs, PackBytes: n.PackBytes, Volumes: n.Volumes, VolumeBytes: n.VolumeBytes, PacksTotal: n.Candidates, PacksEver: n.Fresh, Healed: n.Healed,
		Orphans: n.Orphans, OrphanBytes: n.OrphanBytes}
	if !n.Oldest.IsZero() {
		last.Oldest = n.Oldest.UTC().Format(time.RFC3339)
	}
	if job != nil {
		st := job.Status()
		last.Thaw = &st
	}
	return x.c.object(last)
}

func newHarmJSON(h repo.Harm) harmJSON {
	j := harmJSON{ID: h.ID.String(), Files: h.Files, Entries: h.Entries, All: h.All, Paths: []string{}}
	if h.Snapshot != nil {
		j.Source, j.Time = advice.SourceName(h.Snapshot.Source), h.Snapshot.Start.UTC().Format(time.RFC3339)
	}
	for _, p := range h.Paths {
		j.Paths = append(j.Paths, shownPath(p))
	}
	return j
}
