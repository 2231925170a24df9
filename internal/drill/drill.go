// Package drill proves that recovery works: it draws a random sample of the files of a snapshot, has it restored into a scratch folder as anybody would restore
// it, reads what then lies on the disk, and compares.
//
//	manifest → Draw: files, by chance, within limits and money → scratch folder → Restore (of the caller) → Compare with manifest and source → proof
//
// # The sample
//
// Every file has the same chance, whatever its size. A drill goes round: files that no earlier drill has tried come first, then those that were tried the longest
// time ago, in an order that the seed and the path of each file decide. Nothing is kept for that but a line a drill (snapshot.Reach): whether a file was part of a
// sample follows from seed, path and pack.
//
// Where cold packs have to be woken and money is limited, packs are chosen first, with the same chance each, as many as the money allows, and of the files that
// begin in them an equal share: a sample of few packs, in which still every file has the same chance, but for those that would cost too much alone. The model of
// the costs takes the bytes of chunks that files share as often as there are such files, up to the size of the pack, so it is an upper bound.
//
// A file that does not fit what is left of the limit on bytes is passed over, so files that are large against the limit are tried less often.
//
// Later names of a hard-linked file are not drawn, nor empty files, which prove nothing, nor what is no regular file. Folders on the way to what is drawn are restored and not compared.
//
// Drawing holds up to 262,144 files in memory, about 100 bytes and the path for each, chosen from all by the same chance; a sample has at most
// MaxFiles.
//
// # Interruption
//
// The sample and its scratch folder are journalled before anything is restored. The next drill of the same source goes on with them, as long as the snapshot
// is there, whatever is asked of it. The journal is held by a lock of its own.
package drill

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"firn/internal/event"
	"firn/internal/glob"
	"firn/internal/price"
	"firn/internal/repo"
	"firn/internal/snapshot"
	"firn/internal/state"
	"firn/internal/thaw"
)

// MaxFiles is how many files a sample has at most: package glob takes no more patterns.
const MaxFiles = glob.MaxRules

// Errors that a caller may want to tell apart.
var (
	ErrNothing  = errors.New("no file of the snapshot fits the limits")
	ErrEmpty    = errors.New("the snapshot has no file with content")
	ErrNoPrices = errors.New("what it costs is not known")
)

// RoomError tells that a sample does not fit the disk. Nothing was restored.
type RoomError struct {
	Path       string
	Need, Have int64 // bytes
}

func (e *RoomError) Error() string {
	return fmt.Sprintf("scratch folder %q: %d bytes are free, the sample takes %d", e.Path, e.Have, e.Need)
}

// Want says how large a sample is. Zero values set no limit; where all are zero all files are wanted.
type Want struct {
	Files int64
	Bytes int64
	Share float64 // of the files, up to 1
}

// Budget limits what a sample costs.
type Budget struct {
	Max price.Money
	// Tolls tells what each of these packs costs before a byte of it leaves the store, and what it costs besides that anything has to be thawed, such as to look when it is.
	Tolls func(ctx context.Context, packs []thaw.Need) (each []Toll, once price.Money, err error)
	// Send tells what it costs that so many bytes leave the store.
	Send func(bytes int64) price.Money
}

// Toll is what one pack costs.
type Toll struct {
	Cost price.Money
	Cold bool // it has to be thawed
}

// Trial is a sample that is to be restored.
type Trial struct {
	*Sample
	Snapshot *snapshot.Snapshot
	Include  *glob.Set // the sample; nil: everything
	Target   string
	Resumed  bool // an earlier run has begun it
}

// Restored is how a restore of a trial went.
type Restored struct {
	Done     bool // false: the rest comes with a later run
	Paid     bool // stopped now, the next run can go on with what this one has paid for
	Failures []Finding
	Limits   []string // kinds of metadata that could not be set here (target.Limit)
	Cost     price.Money
	Currency string
	BytesGot int64
}

// Options of a drill of one source.
type Options struct {
	Repo     *repo.Repository
	Scope    *repo.ScopeState // with its index
	Snapshot *snapshot.Snapshot
	// Find returns a snapshot by its id: that of an interrupted drill; nil: it is gone. Find nil: only Snapshot is there.
	Find func(snapshot.ID) *snapshot.Snapshot

	State   *state.State // nil: nothing is remembered
	Seed    uint64
	Alone   bool // draw by the seed alone, as if no drill had been before, so that a sample can be had again; it does not count in the rounds
	Want    Want
	Budget  *Budget // nil: no limit
	Scratch string  // folder in which the scratch folder is made; empty: the system's for temporary files
	Keep    bool    // the scratch folder stays
	Anew    bool    // what an interrupted drill left does not count
	By      string  // who does it

	// Restore restores a trial. A *thaw.BudgetError lets the drill draw a smaller sample.
	Restore func(ctx context.Context, t *Trial) (*Restored, error)
	// Source is where the source lies on this machine; empty: not here.
	Source string

	Now    func() time.Time
	Report event.Func
}

// Result of a drill.
type Result struct {
	Snapshot *snapshot.Snapshot
	Sample   *Sample
	Restored *Restored
	Compared *Comparison // nil where Restored is not Done
	Proof    *snapshot.Proof
	Scratch  string // where it stays; empty: removed
	Stored   error  // why the proof could not be stored in the repository
}

// Outcome in one word: proven, partly, failed, waiting.
func (r *Result) Outcome() string {
	switch {
	case r.Compared == nil:
		return "waiting"
	case len(r.Compared.Differing) > 0 || r.Compared.Matched == 0:
		return "failed"
	case len(r.Compared.Lost) > 0 || r.Sample.Gaps > 0:
		return "partly"
	}
	return "proven"
}

// Run drills one source. It returns a Result as far as it came, also with an error.
func Run(ctx context.Context, o Options) (*Result, error) {
	if o.Now == nil {
		o.Now = time.Now
	}
	r := &run{o: o, res: &Result{}}
	defer r.close()
	if err := r.begin(ctx); err != nil {
		return r.res, err
	}
	if err := r.restore(ctx); err != nil {
		r.giveUp()
		return r.res, err
	}
	if !r.res.Restored.Done {
		r.res.Scratch = r.trial.Target
		return r.res, nil
	}
	c, err := Compare(ctx, CompareOptions{
		Repo: o.Repo, Scope: o.Scope, Snapshot: r.trial.Snapshot, Sample: r.trial.Sample, Scratch: r.trial.Target, Source: o.Source, Restored: r.res.Restored, Report: o.Report,
	})
	if err != nil {
		r.giveUp()
		return r.res, err
	}
	r.res.Compared = c
	r.prove(ctx)
	return r.res, r.cleanUp()
}

// run is one call of Run.
type run struct {
	o     Options
	book  *book
	trial *Trial
	res   *Result
}

func (r *run) close() { r.book.close() }

// begin takes up what an interrupted drill has left, or draws a sample.
func (r *run) begin(ctx context.Context) (err error) {
	if r.book, err = openBook(r.o.State, r.o.Snapshot.Source.ID, r.o.Now()); err != nil {
		return err
	}
	if err := r.book.clear(); err != nil {
		r.o.Report.Emit(event.Note{Text: err.Error()})
	}
	if r.trial = r.leftOver(); r.trial != nil {
		r.res.Snapshot, r.res.Sample = r.trial.Snapshot, r.trial.Sample
		return nil
	}
	return r.draw(ctx)
}

// leftOver is the trial of an interrupted drill, nil where there is none that can go on.
func (r *run) leftOver() *Trial {
	left := r.book.left
	if left == nil {
		return nil
	}
	snap := r.o.Snapshot
	if snap.ID != left.snapshot {
		snap = nil
		if r.o.Find != nil {
			snap = r.o.Find(left.snapshot)
		}
	}
	if snap != nil && (snap.Source.ID != r.o.Snapshot.Source.ID || snap.Scope != r.o.Scope.ID()) {
		snap = nil
	}
	include, err := left.sample.Include()
	if r.o.Anew || snap == nil || err != nil || !isFolder(left.scratch) {
		r.drop(left.scratch)
		return nil
	}
	return &Trial{Sample: left.sample, Snapshot: snap, Include: include, Target: left.scratch, Resumed: true}
}

// draw makes a trial with a new sample.
func (r *run) draw(ctx context.Context) error {
	stored, err := r.o.Repo.Proofs(ctx, r.o.Scope.ID())
	if err != nil {
		r.o.Report.Emit(event.Note{Text: "earlier proofs cannot be read: " + err.Error()})
	}
	o := DrawOptions{Repo: r.o.Repo, Scope: r.o.Scope, Snapshot: r.o.Snapshot, Seed: r.o.Seed, Want: r.o.Want, Budget: r.o.Budget, Report: r.o.Report}
	if !r.o.Alone {
		o.Proofs = snapshot.MergeProofs(of(stored, r.o.Snapshot.Source.ID), r.book.proofs)
	}
	s, err := Draw(ctx, o)
	if err != nil {
		return err
	}
	if r.o.Alone {
		s.Reach.Turn = 0
	}
	r.res.Snapshot, r.res.Sample = r.o.Snapshot, s
	include, err := s.Include()
	if err != nil {
		return err
	}
	scratch, err := findScratch(r.o.Scratch, s)
	if err != nil {
		return err
	}
	t := &Trial{Sample: s, Snapshot: r.o.Snapshot, Include: include, Target: scratch}
	if err := r.book.begin(t, r.o.Now()); err != nil {
		return err
	}
	if err := os.Mkdir(scratch, 0o700); err != nil {
		r.book.forget()
		return err
	}
	r.trial = t
	return nil
}

// of keeps the proofs of one source.
func of(all []snapshot.Proof, source snapshot.Source) (out []snapshot.Proof) {
	for i := range all {
		if all[i].Source == source {
			out = append(out, all[i])
		}
	}
	return out
}

// redraws is how often a sample is made smaller that turned out to cost more than it may.
const redraws = 6

// restore has the trial restored. Where that would cost more than the model said, such as for packs that a rule of the bucket has moved, a smaller sample is drawn.
func (r *run) restore(ctx context.Context) error {
	for n := 0; ; n++ {
		res, err := r.o.Restore(ctx, r.trial)
		if res == nil {
			res = &Restored{}
		}
		r.res.Restored = res
		var dear *thaw.BudgetError
		if err == nil || n == redraws || r.o.Budget == nil || r.trial.Resumed || res.Paid || !errors.As(err, &dear) || dear.Needed <= 0 {
			return err
		}
		b := *r.o.Budget
		b.Max *= min(max(0.9*dear.Max/dear.Needed, 0.2), 0.9)
		r.o.Budget = &b
		r.drop(r.trial.Target)
		r.trial = nil
		if err := r.draw(ctx); err != nil {
			return err
		}
	}
}

// giveUp ends a drill that failed: what the next run can go on with stays.
func (r *run) giveUp() {
	if r.trial == nil {
		return
	}
	if r.o.State != nil && (r.res.Restored.Paid || r.trial.Resumed) {
		r.res.Scratch = r.trial.Target
		return
	}
	r.drop(r.trial.Target)
}

// drop forgets a trial and removes its scratch folder.
func (r *run) drop(scratch string) {
	r.book.debris = scratch
	r.book.forget()
	if err := r.book.clear(); err != nil {
		r.o.Report.Emit(event.Note{Text: err.Error()})
	}
}

// prove records the outcome, here and in the repository.
func (r *run) prove(ctx context.Context) {
	c, s := r.res.Compared, r.trial.Sample
	p := &snapshot.Proof{
		Source: r.trial.Snapshot.Source.ID, Snapshot: r.trial.Snapshot.ID, Time: r.o.Now().UTC(), By: shortened(r.o.By),
		Files: c.Matched, Bytes: c.BytesMatched, OfFiles: s.OfFiles, OfBytes: s.OfBytes, Differing: int64(len(c.Differing)), Lost: int64(len(c.Lost)),
		Cost: float64(r.res.Restored.Cost), Currency: r.res.Restored.Currency, Seed: s.Seed, Reach: s.Reach,
	}
	r.res.Proof = p
	debris := r.trial.Target
	if r.o.Keep {
		debris = ""
	}
	r.book.end(p, debris)
	r.res.Stored = r.o.Repo.AddProofs(ctx, r.o.Scope.ID(), r.book.unstored()...)
	if r.res.Stored == nil {
		r.book.stored()
	}
}

func shortened(by string) string { return by[:min(len(by), snapshot.MaxProver)] }

func (r *run) cleanUp() error {
	if r.o.Keep {
		r.res.Scratch = r.trial.Target
		return nil
	}
	return r.book.clear()
}
