package wizard

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"firn/internal/advice"
	"firn/internal/browse"
	"firn/internal/snapshot"
	"firn/internal/store"
	"firn/internal/web"
)

// shownPaths is how many paths of a basket a page shows, and looks up.
const shownPaths = 200

// refresh is how often a browser without scripts asks how a restore stands.
const refresh = 5 * time.Second

// item returns the snapshot that a request names.
func (z *wizard) item(ctx context.Context, a *web.Archive, text string) (snapshot.Item, error) {
	id, err := snapshot.ParseID(text)
	if err != nil {
		return snapshot.Item{}, refused(http.StatusBadRequest, "", "that is no id of a snapshot")
	}
	it, err := a.Item(ctx, id)
	return it, stale(err, id)
}

// decode reads the paths of a form.
func decode(all []string) ([][]byte, error) {
	if len(all) > maxPaths {
		return nil, refused(http.StatusRequestEntityTooLarge, "choose the folders that they lie in", "more than %d paths at once", maxPaths)
	}
	out := make([][]byte, 0, len(all))
	for _, text := range all {
		p, err := web.DecodePath(text)
		if err != nil {
			return nil, err
		}
		out = append(out, []byte(strings.Trim(string(p), "/")))
	}
	return out, nil
}

// fill puts paths into the basket of a snapshot.
func (z *wizard) fill(w http.ResponseWriter, r *http.Request, a *web.Archive) error {
	_ = r.PostFormValue("") // parses the form
	it, err := z.item(r.Context(), a, r.PostFormValue("snapshot"))
	if err != nil {
		return err
	}
	paths, err := decode(r.PostForm["path"])
	if err != nil {
		return err
	}
	if len(paths) == 0 {
		return refused(http.StatusBadRequest, "tick some of the files and folders first", "nothing was chosen")
	}
	err = a.View(r.Context(), it.ID, func(v *browse.View) error {
		for _, p := range paths {
			if _, err := v.Stat(p); err != nil && len(p) > 0 {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return err
	}
	if err := z.baskets.add(web.Session(r), basketKey{a.Place().Name, it.ID}, paths); err != nil {
		return err
	}
	http.Redirect(w, r, web.LocalAddress(r.PostFormValue("next"), a.Base()+"/restore"), http.StatusSeeOther)
	return nil
}

// empty takes paths out of a basket.
func (z *wizard) empty(w http.ResponseWriter, r *http.Request, a *web.Archive) error {
	_ = r.PostFormValue("")
	id, err := snapshot.ParseID(r.PostFormValue("snapshot"))
	if err != nil {
		return refused(http.StatusBadRequest, "", "that is no id of a snapshot")
	}
	paths, err := decode(r.PostForm["path"])
	if err != nil {
		return err
	}
	if r.PostFormValue("all") != "" {
		paths = nil
	} else if len(paths) == 0 {
		return refused(http.StatusBadRequest, "tick what is to be taken out", "nothing was chosen")
	}
	z.baskets.remove(web.Session(r), basketKey{a.Place().Name, id}, paths)
	http.Redirect(w, r, web.LocalAddress(r.PostFormValue("next"), a.Base()+"/restore"), http.StatusSeeOther)
	return nil
}

// shownBasket is a basket as a page has it.
type shownBasket struct {
	ID      string
	Source  string
	Taken   time.Time
	Whole   bool
	Entries []shownEntry
	Count   int
	More    int
	Gone    string // why nothing can be done with it
	Streams bool
	Default string // target that is proposed
}

// shownEntry is a path in a basket.
type shownEntry struct {
	Path   []byte
	Folder bool
	Size   int64
}

// shownRecord is a record as a page has it.
type shownRecord struct {
	*record
	Task *web.Task // that runs for it; nil: none does
}

// State says how it stands, in a word.
func (s *shownRecord) Badge() string {
	switch {
	case s.Task != nil:
		return s.Task.Outcome()
	case s.State == stateBegun:
		return "cut off"
	}
	return s.State
}

// Class is the look of the word.
func (s *shownRecord) Class() string {
	switch s.Badge() {
	case "done":
		return "ok"
	case "failed", "partly":
		return "bad"
	case "running", "ready":
		return ""
	}
	return "warn"
}

func (z *wizard) showBaskets(w http.ResponseWriter, r *http.Request, a *web.Archive) error {
	var d struct {
		Baskets    []shownBasket
		Unfinished []*shownRecord
		Ended      []*shownRecord
		Broken     string
		Events     string // of the first that runs
	}
	for _, k := range z.baskets.of(web.Session(r), a.Place().Name) {
		d.Baskets = append(d.Baskets, z.shown(r.Context(), a, &k))
	}
	runs := false
	for _, rec := range z.book.of(a.Place()) {
		s := z.stand(rec)
		if runs = runs || s.Task != nil; s.Task != nil && d.Events == "" {
			d.Events = "/tasks/" + s.Task.ID + "/events"
		}
		if s.Task != nil || s.Unfinished() || s.State == stateReady {
			d.Unfinished = append(d.Unfinished, s)
		} else {
			d.Ended = append(d.Ended, s)
		}
	}
	if z.book.broken != nil {
		d.Broken = z.book.broken.Error()
	}
	f := web.Frame{Title: "Restore", Section: "restore", Archive: a}
	if runs {
		f.Refresh = refresh
	}
	return z.site.Render(w, r, f, z.restore, d)
}

// shown looks up what a basket holds.
func (z *wizard) shown(ctx context.Context, a *web.Archive, k *basket) shownBasket {
	out := shownBasket{ID: k.snapshot.String(), Whole: k.whole(), Count: len(k.paths), More: max(len(k.paths)-shownPaths, 0)}
	it, err := a.Item(ctx, k.snapshot)
	if err != nil {
		out.Source, out.Gone = "snapshot "+out.ID[:8], stale(err, k.snapshot).Error()
		return out
	}
	out.Source, out.Taken, out.Streams = advice.SourceName(it.Source), it.Start, streams(&it)
	out.Default = proposed(&it)
	err = a.View(ctx, it.ID, func(v *browse.View) error {
		for _, p := range k.paths[:len(k.paths)-out.More] {
			e := shownEntry{Path: p}
			if len(p) > 0 {
				x, err := v.Stat(p)
				if err != nil {
					return err
				}
				e.Folder, e.Size = x.Type == folderType, x.Size
			}
			out.Entries = append(out.Entries, e)
		}
		return nil
	})
	if err != nil {
		out.Gone = stale(err, k.snapshot).Error()
	}
	return out
}

// basketOf returns the basket that a form is about, with its snapshot.
func (z *wizard) basketOf(r *http.Request, a *web.Archive) (basket, snapshot.Item, error) {
	it, err := z.item(r.Context(), a, r.FormValue("snapshot"))
	if err != nil {
		return basket{}, it, err
	}
	k := z.baskets.get(web.Session(r), basketKey{a.Place().Name, it.ID})
	switch {
	case len(k.paths) == 0:
		return k, it, refused(http.StatusConflict, "put files or folders of the snapshot into it first", "the basket is empty")
	case k.whole() && streams(&it):
		return k, it, refused(http.StatusConflict, "firn restore "+it.ID.String()[:8]+" --help tells how its chain is replayed", "this snapshot holds streams that build upon earlier ones: pages restore single files only")
	}
	return k, it, nil
}

// planPage is what the page of a plan shows.
type planPage struct {
	ID       string // of the record to be
	Snapshot string
	Sum      string // of the basket
	Source   string
	Taken    time.Time
	Count    int
	Whole    bool
	Goal     *goal
	Plan     *plan
	Chosen   []offer // directly, cheapest first
	Others   []offer // by other routes
	Short    int64   // bytes by which there is too little room; 0: it fits, as far as is known
	Link     string
	Default  string
}

func (z *wizard) showPlan(w http.ResponseWriter, r *http.Request, a *web.Archive) error {
	k, it, err := z.basketOf(r, a)
	if err != nil {
		return err
	}
	g, err := aim(a.Place(), it.Source, r.FormValue("to"), r.FormValue("target"), r.FormValue("overwrite"))
	if err != nil {
		return back(a, err)
	}
	paths, err := k.list()
	if err != nil {
		return err
	}
	if err := web.Long(w, r); err != nil { // a plan of millions of files takes its time
		return err
	}
	p, err := z.makePlan(r.Context(), a, it, paths, g.To != toFolder)
	if err != nil {
		return stale(err, it.ID)
	}
	d := &planPage{ID: newID(), Snapshot: it.ID.String(), Sum: k.sum(), Source: advice.SourceName(it.Source), Taken: it.Start, Count: len(k.paths), Whole: k.whole(), Goal: g, Plan: p, Default: proposed(&it)}
	for _, o := range p.Offers {
		if o.Route == "" || o.Route == "direct" {
			d.Chosen = append(d.Chosen, o)
		} else {
			d.Others = append(d.Others, o)
		}
	}
	if len(d.Chosen) == 0 {
		d.Chosen, d.Others = d.Others, nil
	}
	if g.Room >= 0 && g.Room < p.Needs.Bytes {
		d.Short = p.Needs.Bytes - g.Room
	}
	f := web.Frame{Title: "Plan of a restore", Section: "restore", Archive: a, Crumbs: []web.Crumb{{Text: "Restore", Address: a.Base() + "/restore"}, {Text: "Plan"}}}
	f.Notices = d.notices()
	return z.site.Render(w, r, f, z.plan, d)
}

// notices are what somebody should know before agreeing.
func (d *planPage) notices() (all []web.Notice) {
	if d.Short > 0 {
		all = append(all, web.Notice{Level: "warning", Text: "there is too little room at the target: " + sizeText(d.Goal.Room) + " are free, " + sizeText(d.Plan.Needs.Bytes) + " are needed",
			Hint: "choose another target; a restore that fills its disk stops, and goes on once there is room"})
	}
	if n := len(d.Plan.Absent); n > 0 {
		all = append(all, web.Notice{Level: "warning", Text: web.Counted(int64(n), "path") + " of the basket are not in the snapshot, such as " + web.ShownPath(d.Plan.Absent[0])})
	}
	if n := d.Plan.Needs.Missing; n > 0 {
		all = append(all, web.Notice{Level: "warning", Text: web.Counted(n, "piece") + " of content are in no known pack: files that need them cannot be restored whole", Hint: advice.HowToHeal})
	}
	if n := d.Plan.Gone; n > 0 {
		all = append(all, web.Notice{Level: "warning", Text: web.Counted(n, "pack") + " are gone from the store: files that need them cannot be restored whole", Hint: advice.HowToHeal})
	}
	if d.Plan.Cold && d.Plan.Region == nil {
		all = append(all, web.Notice{Level: "warning", Text: "no prices are known for this store: what the restore costs cannot be told, and is not bounded", Hint: "start firn with --price-region or --prices"})
	}
	return all
}

// back leads from a refusal to the basket.
func back(a *web.Archive, err error) error {
	var own *web.StatusError
	if !errors.As(err, &own) {
		return err
	}
	there := *own
	there.Back = []web.Crumb{{Text: "Restore", Address: a.Base() + "/restore"}, {Text: "Target"}}
	return &there
}

func newID() string {
	var b [8]byte
	_, _ = rand.Read(b[:]) // never fails
	return hex.EncodeToString(b[:])
}

// goes begins what was confirmed. A form that is sent twice begins one restore.
func (z *wizard) goes(w http.ResponseWriter, r *http.Request, a *web.Archive) error {
	id := r.PostFormValue("id")
	if !validID(id) {
		return refused(http.StatusBadRequest, "look at the plan again", "the form is not one of these pages")
	}
	there := func() { http.Redirect(w, r, a.Base()+"/restore/"+id, http.StatusSeeOther) }
	if _, err := z.book.get(id); err == nil {
		there()
		return nil
	}
	a.Expire() // a snapshot that was pruned meanwhile is to be told as such
	k, it, err := z.basketOf(r, a)
	if err != nil {
		return err
	}
	if k.sum() != r.PostFormValue("sum") {
		return refused(http.StatusConflict, "look at the plan again", "the basket was changed since the plan was made, perhaps in another tab")
	}
	g, err := aim(a.Place(), it.Source, r.PostFormValue("to"), r.PostFormValue("target"), r.PostFormValue("overwrite"))
	if err != nil {
		return back(a, err)
	}
	rec, err := z.recordOf(r, a, &k, &it, g)
	if err != nil {
		return err
	}
	if err := z.book.put(rec, listFile(&k, it.Source)); err != nil {
		return err
	}
	if err := z.start(r.Context(), a.Place(), id); err != nil {
		return err
	}
	z.baskets.remove(web.Session(r), k.basketKey, nil)
	there()
	return nil
}

// recordOf is what was agreed to.
func (z *wizard) recordOf(r *http.Request, a *web.Archive, k *basket, it *snapshot.Item, g *goal) (*record, error) {
	rec := &record{Version: 1, ID: r.PostFormValue("id"), Repo: a.Place().Name, Location: locationOf(a.Place()), Snapshot: it.ID.String(), Taken: it.Start, Source: advice.SourceName(it.Source),
		To: g.To, Target: []byte(g.Target), Overwrite: g.Overwrite, Tier: r.PostFormValue("tier"), Route: r.PostFormValue("route"), MaxCost: r.PostFormValue("limit"), Currency: r.PostFormValue("currency"),
		Thaws: r.PostFormValue("cold") != "" && g.To != toFolder, Created: z.now(), State: stateReady}
	rec.Files, _ = strconv.ParseInt(r.PostFormValue("files"), 10, 64) // 0: nobody knows
	rec.Bytes, _ = strconv.ParseInt(r.PostFormValue("bytes"), 10, 64)
	if !k.whole() {
		rec.Paths, rec.First = len(k.paths), k.paths[0]
	}
	if !plainWord(rec.Tier, rec.Route, rec.Currency) || rec.MaxCost != "" && !validAmount(rec.MaxCost) {
		return nil, refused(http.StatusBadRequest, "look at the plan again", "the form is not one of these pages")
	}
	if rec.MaxCost == "" && r.PostFormValue("unpriced") == "" {
		return nil, refused(http.StatusBadRequest, "look at the plan again", "no amount was agreed to")
	}
	return rec, nil
}

// mine returns the record that an address names, if it is about this repository.
func (z *wizard) mine(r *http.Request, a *web.Archive) (*record, error) {
	rec, err := z.book.get(r.PathValue("id"))
	if err != nil {
		return nil, err
	}
	if !rec.isOf(a.Place()) {
		return nil, errNoRecord
	}
	return rec, nil
}

// recordPage is what the page of a record shows.
type recordPage struct {
	shownRecord
	Line    string
	Now     time.Time
	Left    time.Duration
	Percent int64
	Step    string // that runs or comes next: thaw, restore, download
	Price   string // that was agreed to
	Again   bool   // it may have to be thawed again
	More    int64  // problems that are not named
}

func (z *wizard) showRecord(w http.ResponseWriter, r *http.Request, a *web.Archive) error {
	rec, err := z.mine(r, a)
	if err != nil {
		return err
	}
	stand := z.stand(rec)
	rec = stand.record
	d := &recordPage{shownRecord: *stand, Now: z.now(), Line: z.line(a.Place(), rec)}
	d.Step = []string{"thaw", "restore", "download"}[rec.step()]
	d.Again = rec.Thaws && rec.Thawed && (rec.State == stateFailed || rec.State == stateDone)
	d.More = max(rec.Trouble-int64(len(rec.Failed)), 0)
	if rec.MaxCost != "" {
		d.Price = amountText(rec.MaxCost, rec.Currency)
	}
	f := web.Frame{Title: "Restore of " + rec.What(), Section: "restore", Archive: a, Crumbs: []web.Crumb{{Text: "Restore", Address: a.Base() + "/restore"}, {Text: rec.Created.In(z.site.Options().Location).Format("2006-01-02 15:04")}}}
	if t := d.Task; t != nil {
		f.Refresh, d.Left = refresh, t.Left(d.Now)
		if t.BytesTotal > 0 {
			d.Percent = min(100*t.BytesDone/t.BytesTotal, 100)
		}
	}
	return z.site.Render(w, r, f, z.record, d)
}

// line is what a person would type for the next step.
func (z *wizard) line(p *web.Place, rec *record) string {
	s := rec.step()
	return web.Line(p, z.args(rec, s))
}

// goesOn begins a record anew, where it stopped.
func (z *wizard) goesOn(w http.ResponseWriter, r *http.Request, a *web.Archive) error {
	rec, err := z.mine(r, a)
	if err != nil {
		return err
	}
	limit := strings.TrimSpace(r.PostFormValue("limit"))
	if limit != "" && !validAmount(limit) {
		return refused(http.StatusBadRequest, "give an amount such as 25 or 0.50", "%q is no amount", limit)
	}
	if z.running(rec.ID) == nil {
		if _, err := z.item(r.Context(), a, rec.Snapshot); err != nil && !offline(err) {
			return err
		}
		_, err := z.book.change(rec.ID, func(rec *record) {
			if limit != "" {
				rec.MaxCost = limit
			}
			if r.PostFormValue("again") != "" {
				rec.Thawed = false
			}
		})
		if err != nil {
			return err
		}
		if err := z.start(r.Context(), a.Place(), rec.ID); err != nil {
			return err
		}
	}
	http.Redirect(w, r, a.Base()+"/restore/"+rec.ID, http.StatusSeeOther)
	return nil
}

// offline reports whether an error says nothing of what is asked for: the child then says it, and is remembered.
func offline(err error) bool {
	return errors.Is(err, store.ErrTimeout) || errors.Is(err, store.ErrNoStore)
}

func (z *wizard) stop(w http.ResponseWriter, r *http.Request, a *web.Archive) error {
	rec, err := z.mine(r, a)
	if err != nil {
		return err
	}
	if t := z.running(rec.ID); t != nil {
		z.site.Tasks.Stop(t.ID)
	}
	http.Redirect(w, r, a.Base()+"/restore/"+rec.ID, http.StatusSeeOther)
	return nil
}

func (z *wizard) forget(w http.ResponseWriter, r *http.Request, a *web.Archive) error {
	rec, err := z.mine(r, a)
	if err != nil {
		return err
	}
	if z.running(rec.ID) != nil {
		return refused(http.StatusConflict, "stop it first", "this restore is under way")
	}
	if err := z.book.drop(rec.ID); err != nil {
		return err
	}
	http.Redirect(w, r, a.Base()+"/restore", http.StatusSeeOther)
	return nil
}

// address is where the plan of a goal is shown.
func (d *planPage) Address(base string) string {
	return base + "/restore/plan?" + url.Values{"snapshot": {d.Snapshot}, "to": {d.Goal.To}, "target": {d.Goal.Target}, "overwrite": {d.Goal.Overwrite}}.Encode()
}
