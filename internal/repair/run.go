package repair

import (
	"context"
	"errors"
	"slices"

	"firn/internal/digest"
	"firn/internal/event"
	"firn/internal/index"
	"firn/internal/repo"
	"firn/internal/store"
	"firn/internal/thaw"
)

// Thawing is a job about Plan.Needs, or what is left of them.
type Thawing struct {
	Job *thaw.Job       // the caller closes it
	Run thaw.RunOptions // Fetch is not to be set
}

// maxRounds bounds how often Run looks again for what mending has brought to light.
const maxRounds = 6

// Run carries out a plan, looks again, and does what can be done then. t is nil where nothing has to be thawed. It returns what it did in any case; errors are those of a store that does not
// answer, of the local disk, and ctx's. What could not be mended is no error: the Result says it.
func Run(ctx context.Context, o Options, p *Plan, t *Thawing) (*Result, error) {
	x := newRun(ctx, o)
	res := &Result{}
	if err := x.aside.clean(); err != nil {
		return res, err
	}
	x.adopt(p)
	var err error
	for round := 0; round < maxRounds && err == nil; round++ {
		progress := false
		if progress, err = x.carryOut(p, t, res); err != nil || !progress && round > 0 {
			break
		}
		t = nil
		next, lookErr := x.examine()
		if err = lookErr; err == nil {
			p = next
		}
	}
	res.Hurt = p.Hurt
	still := map[string]bool{}
	for _, s := range p.Steps {
		still[s.key()] = true
		x.settle(s)
	}
	for _, s := range x.order {
		if err == nil && !still[s.key()] && (s.Outcome == Left || s.Outcome == Failed || s.Outcome == Waits) {
			continue // of no matter any more, or dealt with by another remedy
		}
		res.Steps = append(res.Steps, s)
		if s.Outcome == Waits && s.unit != nil {
			res.need(s.unit)
		}
	}
	return res, err
}

// adopt takes over what the examination that made the plan has read, so that it is not read again.
func (x *run) adopt(p *Plan) {
	for name, f := range p.found {
		x.found[name] = f
	}
	for name := range p.read {
		x.read[name] = true
	}
	for name, err := range p.beyond {
		x.beyond[name] = err
	}
}

// rank orders remedies: what others rest on comes first.
func (r Remedy) rank() int {
	return slices.Index([]Remedy{Finish, Copy, Parity, Volume, Reindex, Remove, Make, Resend, Nothing}, r)
}

// carryOut does what a plan says and was not done before. progress: something changed.
func (x *run) carryOut(p *Plan, t *Thawing, res *Result) (progress bool, err error) {
	x.scopes = p.scopes
	steps := slices.DeleteFunc(slices.Clone(p.Steps), func(s *Step) bool {
		old := x.tried[s.key()]
		return s.Outcome != Planned || old != nil && old != s && (old.Outcome == Mended || old.Outcome == Marked)
	})
	slices.SortStableFunc(steps, func(a, b *Step) int { return a.Remedy.rank() - b.Remedy.rank() })
	if t != nil {
		if err := x.thaw(steps, t, res); err != nil {
			return false, err
		}
	}
	for i, s := range steps {
		if err := x.ctx.Err(); err != nil {
			return false, err
		}
		x.o.Report.Emit(event.Progress{Phase: "repair", FilesDone: int64(i), FilesTotal: int64(len(steps)), Current: s.Object})
		if s.Outcome != Planned || s.Remedy == Reindex || s.Remedy == Resend {
			continue
		}
		if s.Remedy.rank() > Reindex.rank() {
			if err := x.reindexAll(steps); err != nil {
				return false, err
			}
		}
		if err := x.do(s); err != nil {
			return false, err
		}
	}
	if err := x.reindexAll(steps); err != nil {
		return false, err
	}
	if err := x.retireAll(steps); err != nil {
		return false, err
	}
	return slices.ContainsFunc(steps, func(s *Step) bool {
		return s.Outcome == Mended || s.Outcome == Marked || s.Remedy == Parity && s.Outcome == Left
	}), nil
}

// do carries out one step.
func (x *run) do(s *Step) error {
	s.Outcome, s.Err = s.do(x, s)
	return x.judge(s)
}

// judge notes how a step has come out, and returns what ends the repair: this machine's disk, a store that cannot be reached.
func (x *run) judge(s *Step) error {
	if s.Err != nil && s.Outcome == Mended {
		s.Outcome = Failed
	}
	x.settle(s)
	var local errLocal
	switch {
	case s.Err == nil:
		return nil
	case x.ctx.Err() != nil:
		return x.ctx.Err()
	case errors.Is(s.Err, store.ErrCold):
		s.Outcome = Waits
		return nil
	case errors.As(s.Err, &local), errors.Is(s.Err, store.ErrAuth), errors.Is(s.Err, store.ErrNoStore):
		return s.Err
	}
	if s.Outcome == Failed {
		x.o.Report.Emit(event.Problem{Path: s.Object, Err: s.Err})
	}
	return nil
}

// settle notes a step in the result. What was mended or lost stays in it, whatever a later look says of the same remedy; a step that was only planned counts as nothing.
func (x *run) settle(s *Step) {
	old := x.tried[s.key()]
	if old == nil {
		x.tried[s.key()] = s
		x.order = append(x.order, s)
		return
	}
	if old != s && s.Outcome != Planned {
		*old = *s
	}
}

// reindexAll names all packs of steps that were not dealt with in new indexes, as many in one as fit.
func (x *run) reindexAll(steps []*Step) error {
	for _, sc := range x.scopes {
		var packs []index.Pack
		var named []*Step
		flush := func() error {
			if len(packs) == 0 {
				return nil
			}
			_, err := sc.Reindex(x.ctx, packs)
			for _, s := range named {
				if s.Outcome, s.Err = done(err); err != nil {
					if err := x.judge(s); err != nil {
						return err
					}
				}
				x.settle(s)
			}
			packs, named = nil, nil
			return nil
		}
		chunks := 0
		for _, s := range steps {
			if s.scope != sc || s.Remedy != Reindex || s.Outcome != Planned {
				continue
			}
			p, outcome, err := x.readStray(s)
			if p == nil || outcome != Mended {
				s.Outcome, s.Err = outcome, err
				if err := x.judge(s); err != nil {
					return err
				}
				continue
			}
			packs, named = append(packs, *p), append(named, s)
			if chunks += len(p.Chunks); chunks > index.MaxChunks/8 {
				if err := flush(); err != nil {
					return err
				}
				chunks = 0
			}
		}
		if err := flush(); err != nil {
			return err
		}
	}
	return nil
}

// retireAll marks packs as lost, with one record for each scope.
func (x *run) retireAll(steps []*Step) error {
	for _, sc := range x.scopes {
		var marked []*Step
		var names []digest.Object
		for _, s := range steps {
			if s.scope == sc && s.Remedy == Resend && s.Outcome == Planned {
				o, _ := repo.ParseName(s.Object)
				marked, names = append(marked, s), append(names, o.Sum)
			}
		}
		if len(names) == 0 {
			continue
		}
		_, err := sc.Retire(x.ctx, names, nil)
		for _, s := range marked {
			if s.Outcome = Marked; err != nil {
				s.Outcome, s.Err = Failed, err
				if err := x.judge(s); err != nil {
					return err
				}
			}
			x.settle(s)
		}
	}
	return nil
}

// need notes what has to be thawed for a unit.
func (r *Result) need(u *unit) {
	p := &Plan{}
	p.need(u.pack, u.volume)
	r.Needs = append(r.Needs, p.Needs...)
}

// thaw runs the job. Whatever can be read then is mended at once where all of its unit can, else it is fetched, so that copies may end.
func (x *run) thaw(steps []*Step, t *Thawing, res *Result) error {
	waiting := map[string]*Step{} // by object
	open := map[*Step]int{}       // objects of the job that a step still waits for
	inJob := map[string]bool{}
	for i, n := range t.Job.Needs() {
		inJob[n.Object] = !t.Job.Fetched(i)
	}
	for _, s := range steps {
		if s.unit == nil {
			continue
		}
		for _, object := range []string{s.unit.object, s.unit.volumeName()} {
			if inJob[object] && waiting[object] == nil {
				waiting[object] = s
				open[s]++
			}
		}
	}
	ro := t.Run
	ro.Fetch = func(ctx context.Context, objects []string) (cold []string, err error) {
		for _, object := range objects {
			s := waiting[object]
			if s == nil || s.Outcome != Planned {
				continue
			}
			again, err := x.ready(s, object, open)
			if err != nil {
				return cold, err
			}
			if again {
				cold = append(cold, object)
			}
		}
		return cold, nil
	}
	var err error
	res.Thaw, err = thaw.Run(x.ctx, t.Job, ro)
	var left *thaw.LeftError
	if errors.As(err, &left) {
		err = nil // the steps tell
	}
	return err
}

// ready is told that an object can be read. again: it could not, after all.
func (x *run) ready(s *Step, object string, open map[*Step]int) (again bool, err error) {
	if open[s]--; open[s] == 0 && s.Remedy != Reindex {
		if err := x.do(s); err != nil {
			return false, err
		}
		if s.Outcome == Waits {
			s.Outcome = Planned
			open[s]++
			return true, nil
		}
		return false, nil
	}
	_, err = x.fetch(object, s.Size)
	switch {
	case errors.Is(err, store.ErrCold):
		open[s]++
		return true, nil
	case err != nil:
		return false, err
	}
	x.local[object] = true
	return false, nil
}
