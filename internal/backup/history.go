package backup

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"firn/internal/digest"
	"firn/internal/event"
	"firn/internal/manifest"
	"firn/internal/repo"
	"firn/internal/snapshot"
	"firn/internal/source"
	"firn/internal/state"
)

// history is what went before this run in its source.
type history struct {
	epoch    uint32
	last     snapshot.Item // newest done snapshot; Snapshot is nil where there is none
	before   snapshot.Item // the same, also for a full backup, which builds on none
	begun    snapshot.Item // the newest that is not done; Snapshot is nil where there is none
	sequence uint64        // of the newest snapshot
	link     *snapshot.Link
	open     []snapshot.ID  // partial and undone snapshots that a done one will void
	expected snapshot.Stats // of the last snapshot, for progress

	lastPacks []digest.Object // what the last snapshot needs, if sound
}

// maxSequence is the highest number of a snapshot that counts. Nobody gets there by counting; whoever has the key of a host could leave no number for the next one.
const maxSequence = 1 << 53

// ErrEpochs tells that a full backup cannot be one, since all epochs of the scope were used.
var ErrEpochs = errors.New("no epoch of the scope is left for a full backup")

// findHistory looks through the snapshots of the source. Sequence numbers and links go from done snapshot to done snapshot: partial ones come
// and go between them.
func (r *run) findHistory() error {
	var partial snapshot.Item // newest of those that are not done
	host := [16]byte(r.o.Repo.Host().Host)
	for _, it := range snapshot.Standing(r.o.Scope.Items) {
		if it.Source.ID != r.o.Source.ID || it.Status() == snapshot.IsForgotten || it.Sequence > maxSequence {
			continue
		}
		if it.Status() == snapshot.IsDone {
			r.last = newer(r.last, it)
			continue
		}
		partial = newer(partial, it)
		if it.HostID == host {
			r.open = append(r.open, it.ID)
		}
	}
	r.before, r.begun = r.last, partial
	switch {
	case r.last.Snapshot != nil:
		r.sequence, r.epoch = r.last.Sequence, r.last.Epoch
		r.link = &snapshot.Link{ID: r.last.ID, Sum: r.last.Sum}
		r.expected = r.last.Stats
	case partial.Snapshot != nil:
		r.epoch = partial.Epoch
	}
	r.checkHead()
	if r.o.Full && (r.last.Snapshot != nil || partial.Snapshot != nil) {
		next := r.o.Scope.Epochs()
		if next == repo.NoEpoch {
			return ErrEpochs
		}
		r.epoch = next
		if partial.Snapshot != nil && partial.Epoch > r.lastEpoch() && partial.Epoch < next {
			r.epoch = partial.Epoch // a full backup that was interrupted goes on
		}
		r.last = snapshot.Item{}
	}
	return nil
}

// lastEpoch is the epoch of the last done snapshot, 0 where there is none.
func (r *run) lastEpoch() uint32 {
	if r.last.Snapshot == nil {
		return 0
	}
	return r.last.Epoch
}

// newer returns the later of two snapshots of a source.
func newer(a, b snapshot.Item) snapshot.Item {
	if a.Snapshot == nil || b.Sequence > a.Sequence || b.Sequence == a.Sequence && b.Start.After(a.Start) {
		return b
	}
	return a
}

// checkHead compares what the store shows with what this host has seen. A store that shows less was rolled back, or somebody removed
// snapshots; backing up goes on behind the one that is missing, and the gap in the numbers stays for everybody to see.
func (r *run) checkHead() {
	head, ok := r.o.State.Head(r.o.Source.ID)
	if !ok || r.sequence >= head.Sequence {
		return
	}
	r.o.Report.Emit(event.Note{Text: fmt.Sprintf("the store shows this source up to number %d, but this host has seen number %d (snapshot %x): snapshots were removed, or the store was rolled back",
		r.sequence, head.Sequence, head.Snapshot)})
	r.sequence = head.Sequence
	r.link = &snapshot.Link{ID: head.Snapshot, Sum: head.Body}
}

// statTag says which chunks the lines of a stat cache speak of.
func (r *run) statTag() []byte {
	raw, err := json.Marshal(tag{r.epoch, r.o.Repo.Host().ScopeID.String()})
	if err != nil {
		panic("backup: " + err.Error()) // numbers and hex only
	}
	return raw
}

type tag struct {
	Epoch uint32 `json:"epoch"`
	Scope string `json:"scope"`
}

// lastRun is the note of a stat cache: which manifest it describes.
type lastRun struct {
	Manifest string `json:"manifest"` // root chunk
}

// openPrevious opens what earlier runs left: the stat cache of the last one, what a killed one had written of its own, or, where the cache is lost and the
// manifest can be read, a cache made from that.
func (r *run) openPrevious(ctx context.Context, cautious bool) error {
	tag := string(r.statTag())
	openBoth := func(open func() *state.StatReader, whole, verify bool) *previous {
		p := &previous{plan: open(), emit: open(), whole: whole, verify: verify}
		if p.plan == nil || p.emit == nil || string(p.plan.Tag()) != tag || string(p.emit.Tag()) != tag {
			p.plan.Close()
			p.emit.Close()
			return nil
		}
		r.previous = append(r.previous, p)
		return p
	}
	id := r.o.Source.ID
	openBoth(func() *state.StatReader { return r.o.State.OpenInterrupted(id) }, false, true)
	base := openBoth(func() *state.StatReader { return r.o.State.OpenStats(id) }, true, true)
	if base == nil && r.last.Snapshot != nil && r.last.Epoch == r.epoch && !cautious {
		if err := r.o.Ready(ctx); err != nil {
			return err
		}
		if err := r.rebuildStats(ctx); err != nil {
			return err
		}
		base = openBoth(func() *state.StatReader { return r.o.State.OpenStats(id) }, true, true)
	}
	if base == nil || cautious {
		return nil
	}
	sound, err := r.sound(ctx, base)
	if err != nil {
		return err
	}
	if sound {
		base.verify = false
		r.base = base
	}
	return nil
}

// sound reports whether a stat cache describes the last snapshot of the source and every pack of that is there and takes references, so that its
// lines can be taken over unseen.
func (r *run) sound(ctx context.Context, p *previous) (bool, error) {
	var note lastRun
	if json.Unmarshal(p.plan.Note(), &note) != nil || r.last.Snapshot == nil || note.Manifest != r.last.Manifest.Chunk.String() {
		return false, nil
	}
	names, err := r.o.Scope.PackNames(ctx, r.last.Snapshot)
	r.lastPacks = names
	if err != nil {
		var broken *repo.ObjectError
		if errors.As(err, &broken) {
			r.o.Report.Emit(event.Note{Text: "pack set of the last snapshot cannot be read, every file is checked: " + err.Error()})
			return false, nil
		}
		return false, err
	}
	set := r.o.Scope.Set()
	for _, name := range names {
		_, ok, err := set.Find(name)
		if err != nil {
			return false, err
		}
		if !ok || set.Retired(name) {
			r.o.Report.Emit(event.Decision{Text: fmt.Sprintf("pack %v is retired or missing: every file is checked against the index", name)})
			return false, nil
		}
	}
	return true, nil
}

// lookForRetired reads what is retired, now that something differs from the last snapshot, and stops the pass where that hits the snapshot: its lines were to be taken over
// unseen.
func (r *run) lookForRetired() error {
	if err := r.writer.Refresh(); err != nil || r.base == nil {
		return err
	}
	lost := &repo.RetiredError{}
	for _, name := range r.lastPacks {
		if r.o.Scope.Set().Retired(name) {
			lost.Packs = append(lost.Packs, name)
		}
	}
	if lost.Packs != nil {
		return lost
	}
	return nil
}

func (r *run) closePrevious() {
	for _, p := range r.previous {
		p.plan.Close()
		p.emit.Close()
	}
}

// rebuildStats makes a stat cache from the manifest of the last snapshot. It knows neither ctime nor inode; what has changed since that backup began
// is read again (see Detect.compare).
func (r *run) rebuildStats(ctx context.Context) error {
	if !r.o.Repo.CanRead() {
		return nil
	}
	r.o.Report.Emit(event.Note{Text: "local cache is missing: reading the manifest of the last snapshot"})
	cache, err := r.o.Repo.NewChunkCache(ctx, r.o.Scope, r.last.Epoch, 2, 16<<20)
	if err != nil {
		return err
	}
	defer cache.Close()
	src := manifest.Source{Get: cache.Get, Prefetch: cache.Prefetch}
	reader := manifest.NewReader(src, repo.TreeOf(r.last.Snapshot))
	stats := r.o.State.CreateStats(r.o.Source.ID, r.statTag())
	defer stats.Close()
	seen := r.last.Start
	if !r.last.Renamed.IsZero() {
		seen = time.Unix(0, 0) // when its source was read is not known
	}
	it := reader.Entries(nil)
	for it.Next() {
		e, err := it.Entry()
		if err != nil {
			return r.giveUpRebuild(err)
		}
		extra, err := treeExtra(src, e)
		if err != nil {
			return r.giveUpRebuild(err)
		}
		line := append(append([]byte(nil), it.Line()...), extra...)
		st := statOf(e)
		st.CtimeSec, st.CtimeNsec = seen.Unix(), int32(seen.Nanosecond())
		stats.Add(e.Path, &st, line)
	}
	if it.Err() != nil {
		return r.giveUpRebuild(it.Err())
	}
	stats.Commit(r.note(r.last.Manifest.Chunk))
	return nil
}

// giveUpRebuild goes on without a cache where the manifest is damaged: every file is read. Other errors stop the run.
func (r *run) giveUpRebuild(err error) error {
	var damage *repo.DamageError
	var corrupt *manifest.CorruptError
	if errors.As(err, &damage) || errors.As(err, &corrupt) || errors.Is(err, repo.ErrUnknownChunk) {
		r.o.Report.Emit(event.Note{Text: "manifest of the last snapshot cannot be read, every file is read again: " + err.Error()})
		return nil
	}
	return err
}

// note says which manifest a stat cache describes.
func (r *run) note(root digest.Chunk) []byte {
	raw, err := json.Marshal(lastRun{Manifest: root.String()})
	if err != nil {
		panic("backup: " + err.Error()) // hex only
	}
	return raw
}

// treeExtra collects what the stat cache keeps beside the line of a file with a content tree.
func treeExtra(src manifest.Source, e *manifest.Entry) ([]byte, error) {
	if e.Tree.IsEmpty() {
		return nil, nil
	}
	var data, nodes []digest.Chunk
	err := manifest.ContentChunks(src, e, manifest.Visitor{
		Meta: func(id digest.Chunk, _ int) (bool, error) { nodes = append(nodes, id); return true, nil },
		Data: func(id digest.Chunk) error { data = append(data, id); return nil },
	})
	return appendExtra(nil, data, nodes), err
}

// statOf is as much of an lstat as a manifest line knows.
func statOf(e *manifest.Entry) source.Stat {
	st := source.Stat{Type: source.Type(e.Type), Mode: e.Mode, UID: uint32(e.UID), GID: uint32(e.GID), Nlink: 1, Size: e.Size,
		Rdev: joinDevice(e.Major, e.Minor), MtimeSec: e.Mtime.Sec, MtimeNsec: e.Mtime.Nsec}
	if len(e.Hardlink) > 0 {
		st.Nlink = 2
	}
	return st
}
