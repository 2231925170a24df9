package wizard

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"firn/internal/job"
	"firn/internal/snapshot"
	"firn/internal/web"
)

// Limits of what is remembered.
const (
	maxRecord  = 256 << 10 // bytes of one
	maxRecords = 500       // that are looked at
	maxOver    = 50        // that have ended well
	maxNamed   = 100       // files that failed
)

// States of a record.
const (
	stateReady   = "ready"   // a download that nobody has asked for, or that can be had again
	stateBegun   = "begun"   // a child was started, and nothing is known of its end: it runs, or was cut off
	stateDone    = "done"    // everything is there
	statePartly  = "partly"  // all but what is named
	stateStopped = "stopped" // by somebody: it goes on
	stateFailed  = "failed"  // it goes on where the reason is gone
)

// record is a restore that somebody has agreed to. It outlives this process.
type record struct {
	Version  int       `json:"version"` // 1
	ID       string    `json:"id"`
	Repo     string    `json:"repo"`     // name of the place
	Location string    `json:"location"` // of the repository
	Snapshot string    `json:"snapshot"`
	Taken    time.Time `json:"taken"` // when it was
	Source   string    `json:"source"`
	Paths    int       `json:"paths"`           // 0: everything
	First    []byte    `json:"first,omitempty"` // of the paths

	To        string `json:"to"`
	Target    []byte `json:"target,omitempty"` // any bytes but NUL
	Overwrite string `json:"overwrite,omitempty"`
	Tier      string `json:"tier,omitempty"`
	Route     string `json:"route,omitempty"`
	MaxCost   string `json:"max_cost,omitempty"` // that was agreed to; empty: no price is known
	Currency  string `json:"currency,omitempty"`
	Thaws     bool   `json:"thaws,omitempty"`  // something is thawed by a command of its own, before
	Thawed    bool   `json:"thawed,omitempty"` // that is over

	Files   int64     `json:"files"` // planned
	Bytes   int64     `json:"bytes"`
	Created time.Time `json:"created"`

	State   string        `json:"state"`
	Ended   time.Time     `json:"ended,omitzero"` // when it last did
	Error   string        `json:"error,omitempty"`
	Hint    string        `json:"hint,omitempty"`
	Result  *result       `json:"result,omitempty"`
	Failed  []job.Problem `json:"failed,omitempty"` // the first of them
	Trouble int64         `json:"trouble,omitempty"`
	Notes   []string      `json:"notes,omitempty"`
}

// result is what a restore said that it did.
type result struct {
	Files    int64   `json:"files"`
	Dirs     int64   `json:"dirs"`
	Others   int64   `json:"others"`
	Bytes    int64   `json:"bytes"`
	Created  int64   `json:"created"`
	Replaced int64   `json:"replaced"`
	Kept     int64   `json:"kept"`
	Failed   int64   `json:"failed"`
	Got      int64   `json:"bytes_got"`
	Spent    float64 `json:"spent"` // known amounts only
}

// book is the records in a folder: ID.json, and ID.list with the paths, each followed by NUL.
type book struct {
	dir    string
	broken error // why there is none
	log    func(format string, args ...any)

	mu sync.Mutex // keeps two from changing one record at once
}

// validID reports whether a text can be the id of a record.
func validID(id string) bool {
	raw, err := hex.DecodeString(id)
	return err == nil && len(raw) == 8 && strings.ToLower(id) == id
}

func (b *book) path(id, ext string) string { return filepath.Join(b.dir, id+ext) }

// errNoRecord tells that a restore is not known.
var errNoRecord = &web.StatusError{Code: http.StatusNotFound, Text: "there is no such restore", Hint: "it was forgotten, or begun elsewhere"}

// get reads a record.
func (b *book) get(id string) (*record, error) {
	if b.broken != nil || !validID(id) {
		return nil, errNoRecord
	}
	f, err := os.Open(b.path(id, ".json"))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, errNoRecord
	}
	if err != nil {
		return nil, err
	}
	defer func() { _ = f.Close() }()
	raw, err := io.ReadAll(io.LimitReader(f, maxRecord+1))
	if err != nil {
		return nil, err
	}
	return parseRecord(id, raw)
}

// parseRecord reads what stands in a file.
func parseRecord(id string, raw []byte) (*record, error) {
	r := &record{}
	if len(raw) > maxRecord {
		return nil, fmt.Errorf("restore %s: what is remembered of it is too large", id)
	}
	if err := json.Unmarshal(raw, r); err != nil {
		return nil, fmt.Errorf("restore %s: what is remembered of it cannot be read: %w", id, err)
	}
	if _, err := snapshot.ParseID(r.Snapshot); err != nil || r.Version != 1 || r.ID != id || !slices.Contains([]string{toFolder, toTar, toDownload}, r.To) ||
		(r.To == toDownload) != (len(r.Target) == 0) || bytes.IndexByte(r.Target, 0) >= 0 || !plainWord(r.Overwrite, r.Tier, r.Route, r.Currency) || r.MaxCost != "" && !validAmount(r.MaxCost) {
		return nil, fmt.Errorf("restore %s: what is remembered of it makes no sense", id)
	}
	return r, nil
}

// plainWord reports whether texts can stand behind a flag.
func plainWord(texts ...string) bool {
	for _, t := range texts {
		if len(t) > 64 || strings.Trim(t, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789.-_") != "" {
			return false
		}
	}
	return true
}

// validAmount reports whether a text is an amount as --max-cost takes it.
func validAmount(text string) bool {
	v, err := strconv.ParseFloat(text, 64)
	return err == nil && v >= 0 && v <= 1e6 && len(text) <= 32 && strings.Trim(text, "0123456789.") == ""
}

// put writes a record, and with it the list where that is not nil.
func (b *book) put(r *record, list []byte) error {
	if b.broken != nil {
		return b.broken
	}
	if err := os.MkdirAll(b.dir, 0o700); err != nil {
		return err
	}
	if list != nil {
		if err := write(b.path(r.ID, ".list"), list); err != nil {
			return err
		}
	}
	raw, err := json.Marshal(r)
	if err != nil {
		return err
	}
	return write(b.path(r.ID, ".json"), raw)
}

// write replaces a file: it is there as it was, or as it is to be.
func write(path string, content []byte) (err error) {
	f, err := os.CreateTemp(filepath.Dir(path), ".firn-*") // for this user alone
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			_ = os.Remove(f.Name())
		}
	}()
	_, err = f.Write(content)
	if e := f.Sync(); err == nil {
		err = e
	}
	if e := f.Close(); err == nil {
		err = e
	}
	if err != nil {
		return err
	}
	return os.Rename(f.Name(), path)
}

// change reads a record, has fn change it, and writes it.
func (b *book) change(id string, fn func(*record)) (*record, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	r, err := b.get(id)
	if err != nil {
		return nil, err
	}
	fn(r)
	return r, b.put(r, nil)
}

// drop removes a record.
func (b *book) drop(id string) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.broken != nil || !validID(id) {
		return errNoRecord
	}
	if err := os.Remove(b.path(id, ".json")); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if err := os.Remove(b.path(id, ".list")); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}

// of returns the records of a repository, the newest first. What has ended well long ago is dropped, what cannot be read told.
func (b *book) of(p *web.Place) []*record {
	if b.broken != nil {
		return nil
	}
	all, err := os.ReadDir(b.dir)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		b.tell("restores: %v", err)
	}
	var out []*record
	for _, f := range all[:min(len(all), 3*maxRecords)] {
		id, ok := strings.CutSuffix(f.Name(), ".json")
		if !ok || !validID(id) {
			continue
		}
		r, err := b.get(id)
		if err != nil {
			b.tell("%v", err)
			continue
		}
		if r.isOf(p) {
			out = append(out, r)
		}
	}
	slices.SortFunc(out, func(x, y *record) int { return y.Created.Compare(x.Created) })
	over := 0
	return slices.DeleteFunc(out, func(r *record) bool {
		if r.State != stateDone {
			return false
		}
		if over++; over <= maxOver {
			return false
		}
		if err := b.drop(r.ID); err != nil {
			b.tell("%v", err)
		}
		return true
	})
}

func (b *book) tell(format string, args ...any) {
	if b.log != nil {
		b.log(format, args...)
	}
}

// listFile is the paths of a basket as firn restore --files-from --from0 reads them: from the source's own path on, which leaves no doubt.
func listFile(k *basket, o snapshot.Origin) []byte {
	if k.whole() {
		return nil
	}
	root := strings.TrimSuffix(string(o.Path), "/")
	if root != "" && path.Clean(root) != root || strings.Contains(root, `\`) {
		root = "."
	}
	var b bytes.Buffer
	for _, p := range k.paths {
		b.WriteString(root)
		b.WriteByte('/')
		b.Write(p)
		b.WriteByte(0)
	}
	return b.Bytes()
}

// locationOf is where a repository lies, whatever folder firn was started in.
func locationOf(p *web.Place) string {
	if own := folderOf(p); own != "" {
		if abs, err := filepath.Abs(own); err == nil {
			return abs
		}
	}
	return p.Location
}

// isOf reports whether a record is about a repository.
func (r *record) isOf(p *web.Place) bool { return r.Repo == p.Name && r.Location == locationOf(p) }

// What is what is restored, for people.
func (r *record) What() string {
	switch r.Paths {
	case 0:
		return "all of " + r.Source
	case 1:
		return web.ShownPath(r.First) + " of " + r.Source
	}
	return fmt.Sprintf("%s of %s", web.Counted(int64(r.Paths), "item"), r.Source)
}

// Where is where it goes, for people.
func (r *record) Where() string {
	if r.To == toDownload {
		return "a browser"
	}
	return web.ShownPath(r.Target)
}

// Unfinished reports whether there is something to go on with.
func (r *record) Unfinished() bool {
	return r.State == stateBegun || r.State == stateStopped || r.State == stateFailed
}
