package snapshot

import (
	"bytes"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"time"
	"unicode/utf8"
)

// The bodies as JSON. Members stand in the order of FORMAT §10 to §12.

type snapshotJSON struct {
	Version  int        `json:"version"`
	ID       string     `json:"id"`
	Time     time.Time  `json:"time"`
	End      time.Time  `json:"end"`
	Host     string     `json:"host"`
	HostID   string     `json:"host_id"`
	Source   originJSON `json:"source"`
	Tags     []string   `json:"tags"`
	Scope    string     `json:"scope"`
	Epoch    uint32     `json:"epoch"`
	Base     string     `json:"base,omitempty"`
	Points   []Point    `json:"points,omitempty"`
	Previous *linkJSON  `json:"previous,omitempty"`
	Sequence uint64     `json:"sequence"`
	Complete bool       `json:"complete"`
	Voids    []string   `json:"voids,omitempty"`
	Rewrites []linkJSON `json:"rewrites,omitempty"`
	Renamed  string     `json:"renamed_from,omitempty"`
	Manifest treeJSON   `json:"manifest"`
	Packs    []partJSON `json:"packs"`
	Stats    Stats      `json:"stats"`
	Storage  *storeJSON `json:"storage,omitempty"`
	Problems []Problem  `json:"problems,omitempty"`
	Program  string     `json:"program"`
}

type storeJSON struct {
	Class  string `json:"class,omitempty"`
	Then   string `json:"then,omitempty"`
	HotFor int64  `json:"hot_for,omitempty"` // seconds
	Parity *int   `json:"parity,omitempty"`
}

type originJSON struct {
	ID      string `json:"id"`
	Kind    string `json:"kind"`
	Name    string `json:"name"`
	Path    string `json:"path,omitempty"`
	PathB64 string `json:"path_b64,omitempty"`
}

type linkJSON struct {
	ID     string `json:"id"`
	SHA256 string `json:"sha256"`
}

type treeJSON struct {
	Chunk string `json:"chunk"`
	Level int    `json:"level"`
	Lines int64  `json:"lines"`
	Bytes int64  `json:"bytes"`
}

type partJSON struct {
	Object string `json:"object"`
	Packs  int    `json:"packs"`
	Digest string `json:"digest"`
}

type doneJSON struct {
	Version  int       `json:"version"`
	Snapshot string    `json:"snapshot"`
	SHA256   string    `json:"sha256"`
	Time     time.Time `json:"time"`
	Stored   time.Time `json:"stored,omitzero"`
}

type stateJSON struct {
	Version int        `json:"version"`
	Host    string     `json:"host"`
	Time    time.Time  `json:"time"`
	Heads   []headJSON `json:"heads"`

	Proofs []proofJSON `json:"proofs,omitempty"`
}

type headJSON struct {
	Source   string `json:"source"`
	Name     string `json:"name"`
	Path     string `json:"path,omitempty"`
	PathB64  string `json:"path_b64,omitempty"`
	Snapshot string `json:"snapshot"`
	Sequence uint64 `json:"sequence"`
	SHA256   string `json:"sha256"`
}

// Check fails with ErrBody if s breaks a rule or a limit.
func (s *Snapshot) Check() error {
	bad := func(what string, v any) error { return fmt.Errorf("%w: snapshot %v: %s %v", ErrBody, s.ID, what, v) }
	switch {
	case s.ID.IsZero():
		return bad("id", "is zero")
	case s.Sequence == 0 || (s.Sequence == 1) != (s.Previous == nil):
		return bad("does not fit its predecessor: sequence", s.Sequence)
	case s.Previous != nil && (s.Previous.ID.IsZero() || s.Previous.ID == s.ID):
		return bad("previous", s.Previous.ID)
	case s.Base == s.ID:
		return bad("base", s.Base)
	case s.Source.Kind == "" || len(s.Source.Kind) > MaxTag || len(s.Source.Name) > MaxPath || len(s.Source.Path) > MaxPath || len(s.Host) > MaxTag:
		return bad("source of kind", fmt.Sprintf("%.40q", s.Source.Kind))
	case len(s.Tags) > MaxTags || len(s.Problems) > MaxProblems || len(s.Voids) > MaxVoids || len(s.Packs) > MaxParts:
		return bad("number of tags, problems, voids, pack sets", []int{len(s.Tags), len(s.Problems), len(s.Voids), len(s.Packs)})
	}
	if len(s.Rewrites) > MaxRewrites || len(s.Rewrites) > 0 && s.HostID != [16]byte{} {
		return bad("rewrites others, which only the root key can: host", hex.EncodeToString(s.HostID[:]))
	}
	for _, l := range s.Rewrites {
		if l.ID.IsZero() || l.ID == s.ID {
			return bad("rewrites", l.ID)
		}
	}
	if err := s.Storage.Check(); err != nil {
		return err
	}
	if err := s.checkPoints(); err != nil {
		return err
	}
	for _, tag := range s.Tags {
		if tag == "" || len(tag) > MaxTag {
			return bad("tag", fmt.Sprintf("%.40q", tag))
		}
	}
	for _, p := range s.Packs {
		if p.Packs < 1 || p.Packs > maxNames || p.Object.IsZero() {
			return bad("pack set with packs", p.Packs)
		}
	}
	t := s.Manifest
	if empty := t.Chunk.IsZero(); t.Level < 0 || t.Level > MaxLevel || t.Lines < 0 || t.Bytes < 0 || empty != (t.Lines == 0) || empty != (t.Bytes == 0) {
		return bad("manifest", t)
	}
	return nil
}

const maxHotFor = 200 * 365 * 86400 // seconds

const maxNames = 4096 // of one part of a pack set (FORMAT §9)

// Marshal returns the body. It fails with ErrBody if s breaks a rule or a limit.
func (s *Snapshot) Marshal() ([]byte, error) {
	if err := s.Check(); err != nil {
		return nil, err
	}
	j := snapshotJSON{
		Version: Version, ID: s.ID.String(), Time: s.Start.UTC(), End: s.End.UTC(), Host: s.Host, HostID: hex.EncodeToString(s.HostID[:]),
		Source: originJSON{ID: s.Source.ID.String(), Kind: s.Source.Kind, Name: s.Source.Name}, Tags: s.Tags,
		Scope: hex.EncodeToString(s.Scope[:]), Epoch: s.Epoch, Sequence: s.Sequence, Complete: s.Complete,
		Manifest: treeJSON{Level: s.Manifest.Level, Lines: s.Manifest.Lines, Bytes: s.Manifest.Bytes},
		Packs:    make([]partJSON, 0, len(s.Packs)), Stats: s.Stats, Problems: s.Problems, Program: s.Program, Points: s.Points,
	}
	if j.Tags == nil {
		j.Tags = []string{}
	}
	j.Source.Path, j.Source.PathB64 = pathText(s.Source.Path)
	if !s.Base.IsZero() {
		j.Base = s.Base.String()
	}
	if !s.Renamed.IsZero() {
		j.Renamed = s.Renamed.String()
	}
	if !s.Storage.IsZero() {
		j.Storage = &storeJSON{s.Storage.Class, s.Storage.Then, int64(s.Storage.HotFor / time.Second), s.Storage.Parity}
	}
	if s.Previous != nil {
		j.Previous = &linkJSON{s.Previous.ID.String(), s.Previous.Sum.String()}
	}
	if !s.Manifest.Chunk.IsZero() {
		j.Manifest.Chunk = s.Manifest.Chunk.String()
	}
	for _, id := range s.Voids {
		j.Voids = append(j.Voids, id.String())
	}
	for _, l := range s.Rewrites {
		j.Rewrites = append(j.Rewrites, linkJSON{l.ID.String(), l.Sum.String()})
	}
	for _, p := range s.Packs {
		j.Packs = append(j.Packs, partJSON{p.Object.String(), p.Packs, p.Digest.String()})
	}
	return marshal(&j, MaxBody)
}

// Parse reads the body of a snapshot. It fails with ErrBody or *VersionError.
func Parse(body []byte) (*Snapshot, error) {
	var j snapshotJSON
	if err := unmarshal(body, &j, &j.Version, MaxBody); err != nil {
		return nil, err
	}
	s := &Snapshot{
		Start: j.Time.UTC(), End: j.End.UTC(), Host: j.Host, Tags: j.Tags, Epoch: j.Epoch, Sequence: j.Sequence, Complete: j.Complete,
		Source:   Origin{Kind: j.Source.Kind, Name: j.Source.Name},
		Manifest: Tree{Level: j.Manifest.Level, Lines: j.Manifest.Lines, Bytes: j.Manifest.Bytes},
		Stats:    j.Stats, Problems: j.Problems, Program: j.Program, Points: j.Points,
	}
	var r hexReader
	r.read(s.ID[:], j.ID)
	r.read(s.HostID[:], j.HostID)
	r.read(s.Source.ID[:], j.Source.ID)
	r.read(s.Scope[:], j.Scope)
	r.optional(s.Base[:], j.Base)
	r.optional(s.Renamed[:], j.Renamed)
	r.optional(s.Manifest.Chunk[:], j.Manifest.Chunk)
	s.Source.Path = r.path(j.Source.Path, j.Source.PathB64)
	if j.Storage != nil {
		if j.Storage.HotFor < 0 || j.Storage.HotFor > maxHotFor {
			return nil, fmt.Errorf("%w: hot for %d seconds", ErrBody, j.Storage.HotFor)
		}
		s.Storage = Storage{j.Storage.Class, j.Storage.Then, time.Duration(j.Storage.HotFor) * time.Second, j.Storage.Parity}
	}
	if j.Previous != nil {
		s.Previous = new(Link)
		r.read(s.Previous.ID[:], j.Previous.ID)
		r.read(s.Previous.Sum[:], j.Previous.SHA256)
	}
	for _, v := range j.Voids {
		var id ID
		r.read(id[:], v)
		s.Voids = append(s.Voids, id)
	}
	for _, l := range j.Rewrites {
		var link Link
		r.read(link.ID[:], l.ID)
		r.read(link.Sum[:], l.SHA256)
		s.Rewrites = append(s.Rewrites, link)
	}
	for _, p := range j.Packs {
		part := Part{Packs: p.Packs}
		r.read(part.Object[:], p.Object)
		r.read(part.Digest[:], p.Digest)
		s.Packs = append(s.Packs, part)
	}
	if r.err != nil {
		return nil, r.err
	}
	return s, s.Check()
}

// Marshal returns the body of a mark.
func (d *Done) Marshal() ([]byte, error) {
	return marshal(&doneJSON{Version, d.Snapshot.String(), d.Sum.String(), d.Time.UTC(), d.Stored.UTC()}, MaxDoneBody)
}

// ParseDone reads the body of a mark. It fails with ErrBody or *VersionError.
func ParseDone(body []byte) (*Done, error) {
	var j doneJSON
	if err := unmarshal(body, &j, &j.Version, MaxDoneBody); err != nil {
		return nil, err
	}
	d := &Done{Time: j.Time.UTC(), Stored: j.Stored.UTC()}
	var r hexReader
	r.read(d.Snapshot[:], j.Snapshot)
	r.read(d.Sum[:], j.SHA256)
	return d, r.err
}

// Marshal returns the body of a host's state.
func (s *State) Marshal() ([]byte, error) {
	j := stateJSON{Version: Version, Host: hex.EncodeToString(s.Host[:]), Time: s.Time.UTC(), Heads: make([]headJSON, 0, len(s.Heads))}
	for _, h := range s.Heads {
		e := headJSON{Source: h.Source.String(), Name: h.Name, Snapshot: h.Snapshot.String(), Sequence: h.Sequence, SHA256: h.Sum.String()}
		e.Path, e.PathB64 = pathText(h.Path)
		j.Heads = append(j.Heads, e)
	}
	var err error
	if j.Proofs, err = proofsJSON(s.Proofs); err != nil {
		return nil, err
	}
	return marshal(&j, MaxStateBody)
}

// ParseState reads the body of a host's state. It fails with ErrBody or *VersionError.
func ParseState(body []byte) (*State, error) {
	var j stateJSON
	if err := unmarshal(body, &j, &j.Version, MaxStateBody); err != nil {
		return nil, err
	}
	s := &State{Time: j.Time.UTC()}
	var r hexReader
	r.read(s.Host[:], j.Host)
	for _, e := range j.Heads {
		h := Head{Name: e.Name, Path: r.path(e.Path, e.PathB64), Sequence: e.Sequence}
		r.read(h.Source[:], e.Source)
		r.read(h.Snapshot[:], e.Snapshot)
		r.read(h.Sum[:], e.SHA256)
		s.Heads = append(s.Heads, h)
	}
	s.Proofs = parseProofs(j.Proofs, &r)
	return s, r.err
}

// marshal returns v as JSON, in which "<" stands as it is.
func marshal(v any, limit int) ([]byte, error) {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(v); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrBody, err)
	}
	out := bytes.TrimSuffix(b.Bytes(), []byte("\n"))
	if len(out) > limit {
		return nil, fmt.Errorf("%w: %d bytes, want at most %d", ErrBody, len(out), limit)
	}
	return out, nil
}

// unmarshal reads one JSON object into v, whose version it checks. The version is read first: of a newer body nothing else is known.
func unmarshal(body []byte, v any, version *int, limit int) error {
	if len(body) > limit {
		return fmt.Errorf("%w: %d bytes, want at most %d", ErrBody, len(body), limit)
	}
	var only struct {
		Version int `json:"version"`
	}
	if err := json.Unmarshal(body, &only); err != nil {
		return fmt.Errorf("%w: %w", ErrBody, err)
	}
	if only.Version > Version {
		return &VersionError{only.Version}
	}
	if err := json.Unmarshal(body, v); err != nil {
		return fmt.Errorf("%w: %w", ErrBody, err)
	}
	if *version != Version {
		return fmt.Errorf("%w: version %d", ErrBody, *version)
	}
	return nil
}

// pathText returns a path as text, or in base64 where it is not UTF-8.
func pathText(p []byte) (text, b64 string) {
	if utf8.Valid(p) {
		return string(p), ""
	}
	return "", base64.StdEncoding.EncodeToString(p)
}

// hexReader reads many ids and keeps the first error.
type hexReader struct{ err error }

func (r *hexReader) read(dst []byte, s string) {
	if err := parseHex(dst, s); err != nil && r.err == nil {
		r.err = err
	}
}

func (r *hexReader) optional(dst []byte, s string) {
	if s != "" {
		r.read(dst, s)
	}
}

func (r *hexReader) path(text, b64 string) []byte {
	if b64 == "" {
		if text == "" {
			return nil
		}
		return []byte(text)
	}
	p, err := base64.StdEncoding.Strict().DecodeString(b64)
	if r.err == nil && (err != nil || text != "") {
		r.err = fmt.Errorf("%w: path_b64 %.80q", ErrBody, b64)
	}
	return p
}
