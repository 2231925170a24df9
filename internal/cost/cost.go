// Package cost is the verb that says what a repository costs: what lies in it now, by class and kind, from a listing of the store (Take) or from its
// indexes (Estimate); what the next months will cost under the present growth (GrowthOf, Forecast); what a full restore costs by each tier and
// route (Restores); what the last backup cost (Last); and what all that would be in another class, region or with another provider (Compare).
//
// It reads no content: a listing costs one request for 1,000 objects. What the listing says of classes and sizes counts, whatever the indexes believe, since that
// is what is billed. Versions of objects that were replaced or deleted, and uploads that nobody completed, are not listed and not counted.
package cost

import (
	"context"
	"errors"
	"slices"
	"strings"
	"time"

	"firn/internal/index"
	"firn/internal/price"
	"firn/internal/store"
)

// Kind is what objects are for.
type Kind string

// The kinds, in the order in which they are shown.
const (
	Data      Kind = "data"   // packs of file content
	Parity    Kind = "parity" // recovery volumes
	Meta      Kind = "meta"   // packs of manifests
	Index     Kind = "index"
	PackSets  Kind = "packset"
	Snapshots Kind = "snapshots"
	Other     Kind = "other"       // keys, hosts, states, prune records, what explains the repository
	Copies    Kind = "thawed copy" // of cold objects, billed beside them until they expire
	Old       Kind = "old version" // of objects that were replaced or deleted, billed until they are deleted by version
)

var kinds = [...]Kind{Data, Parity, Meta, Index, PackSets, Snapshots, Other, Copies, Old}

// KindOf tells the kind of an object by its name.
func KindOf(name string) Kind {
	if strings.HasSuffix(name, ".par2") {
		return Parity
	}
	folder, _, _ := strings.Cut(name, "/")
	if k := Kind(folder); k != Parity && k != Other && k != Copies && k != Old && slices.Contains(kinds[:], k) {
		return k
	}
	return Other
}

// Holding is the objects of one kind in one class.
type Holding struct {
	Class   string // as the price table names it, or in the store's words where that does not know it
	Kind    Kind
	Objects int64
	Bytes   int64
	Billed  int64 // bytes, with the least sizes that the class bills
}

// Month is what a month of it costs, overheads included.
func (h Holding) Month(r *price.Region) price.Bill {
	return r.HoldMonths(h.Class, h.Objects, h.Billed, 1)
}

// Inventory is what lies in a repository.
type Inventory struct {
	At       time.Time
	Holdings []Holding // in order of class, the dearest first, then of kind
	Listed   bool      // from a listing of the store, not from the indexes, which leave out everything but packs and their parity
	Requests int64     // to list
	Versions Versions
	Early    price.Money // what deleting all of it now would cost: the rest of least stays
	early    map[string]price.Money
}

// Versions is what is known of what was replaced or deleted.
type Versions struct {
	Keeping store.Keeping
	Hidden  bool  // the right to list them is missing, so that none are counted
	Marks   int64 // of deletion; they are billed by their names, which is nothing that could be seen
}

// Total adds up all holdings but copies and old versions.
func (inv *Inventory) Total() (objects, bytes int64) {
	for _, h := range inv.Holdings {
		if h.Kind != Copies && h.Kind != Old {
			objects, bytes = objects+h.Objects, bytes+h.Bytes
		}
	}
	return objects, bytes
}

// of adds up the bytes of some kinds.
func (inv *Inventory) of(some ...Kind) (bytes int64) {
	for _, h := range inv.Holdings {
		if slices.Contains(some, h.Kind) {
			bytes += h.Bytes
		}
	}
	return bytes
}

// Month is what a month of all of it costs, the region's least charge included.
func (inv *Inventory) Month(r *price.Region) price.Bill {
	var bill price.Bill
	for _, h := range inv.Holdings {
		bill = append(bill, h.Month(r)...)
	}
	return append(bill.Merge(), r.AtLeast(bill, 1))
}

// Take lists a store. Where its listings tell what is thawed, copies are counted, too. Errors are those of the store.
func Take(ctx context.Context, st store.Store, r *price.Region, now time.Time) (*Inventory, error) {
	t := newTaking(r, now)
	err := store.ErrNoStatus
	if th, ok := store.As[store.Thawer](st); ok {
		err = th.ListCopies(ctx, "", "", t.add)
	}
	if errors.Is(err, store.ErrNoStatus) {
		err = st.List(ctx, "", "", t.add)
	}
	if err != nil {
		return nil, err
	}
	requests := price.Lists(t.objects)
	versions, more, err := t.versions(ctx, st)
	if err != nil {
		return nil, err
	}
	inv := t.inventory()
	inv.Listed, inv.Requests, inv.Versions = true, requests+more, versions
	return inv, nil
}

// versions counts what was replaced or deleted and is kept, and the requests that it takes to list that.
func (t *taking) versions(ctx context.Context, st store.Store) (v Versions, requests int64, err error) {
	power, ok := store.As[store.Versioner](st)
	if !ok {
		return v, 0, nil
	}
	err = store.Repeat(ctx, st, "versions", "", func() (err error) {
		v.Keeping, err = power.Keeping(ctx)
		return err
	})
	if err == nil && v.Keeping == store.KeepsNothing || errors.Is(err, store.ErrUnsupported) {
		return v, 0, nil
	}
	if err != nil && !errors.Is(err, store.ErrDenied) {
		return v, 0, err
	}
	listed := int64(0)
	err = store.EachVersion(ctx, st, power, "", func(i store.Version) error {
		listed++
		switch {
		case i.Mark:
			v.Marks++
		case !i.Latest:
			t.count(i.Class, Old, i.Size, i.Modified)
		}
		return nil
	})
	if errors.Is(err, store.ErrDenied) || errors.Is(err, store.ErrUnsupported) {
		v.Hidden = errors.Is(err, store.ErrDenied)
		return v, 0, nil
	}
	return v, price.Lists(listed), err
}

// Estimate adds up what indexes know: packs and their parity. Errors are those of the indexes.
func Estimate(sets []*index.Set, r *price.Region, now time.Time) (*Inventory, error) {
	e := NewEstimator(r, now)
	for _, set := range sets {
		if err := e.Add(set); err != nil {
			return nil, err
		}
	}
	return e.Inventory(), nil
}

type place struct {
	class string
	kind  Kind
}

// taking is an inventory in the making.
type taking struct {
	r       *price.Region
	now     time.Time
	all     map[place]*Holding
	early   map[string]price.Money
	objects int64
}

func newTaking(r *price.Region, now time.Time) *taking {
	return &taking{r: r, now: now, all: map[place]*Holding{}, early: map[string]price.Money{}}
}

func (t *taking) add(i store.Info) error {
	t.objects++
	t.count(i.Class, KindOf(i.Name), i.Size, i.Modified)
	if i.Copy.State == store.Thawed && (i.Copy.Expires.IsZero() || i.Copy.Expires.After(t.now)) {
		t.count("", Copies, i.Size, t.now)
	}
	return nil
}

func (t *taking) count(class string, kind Kind, size int64, born time.Time) {
	billed := size
	c, known := t.r.Class(class)
	if known {
		class, billed = c.Name, c.Billed(size)
	}
	h := t.all[place{class, kind}]
	if h == nil {
		h = &Holding{Class: class, Kind: kind}
		t.all[place{class, kind}] = h
	}
	h.Objects, h.Bytes, h.Billed = h.Objects+1, h.Bytes+size, h.Billed+billed
	if known && kind != Copies && !born.IsZero() && t.now.Sub(born) < c.MinStay() {
		t.early[class] += t.r.Early(class, 1, size, t.now.Sub(born)).Total()
	}
}

func (t *taking) inventory() *Inventory {
	inv := &Inventory{At: t.now, early: t.early}
	for _, h := range t.all {
		inv.Holdings = append(inv.Holdings, *h)
	}
	inv.sort(t.r)
	for _, m := range t.early {
		inv.Early += m
	}
	return inv
}

// sort puts holdings in order of class, the dearest first, then of kind.
func (inv *Inventory) sort(r *price.Region) {
	rank := func(class string) int {
		for i, c := range r.Classes {
			if c.Name == class {
				return i
			}
		}
		return len(r.Classes)
	}
	slices.SortFunc(inv.Holdings, func(a, b Holding) int {
		switch ra, rb := rank(a.Class), rank(b.Class); {
		case ra != rb:
			return ra - rb
		case a.Class != b.Class:
			return strings.Compare(a.Class, b.Class)
		}
		return slices.Index(kinds[:], a.Kind) - slices.Index(kinds[:], b.Kind)
	})
}
