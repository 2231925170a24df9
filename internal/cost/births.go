package cost

import (
	"cmp"
	"slices"
	"strings"
	"time"

	"firn/internal/chunk"
	"firn/internal/index"
	"firn/internal/price"
)

// Birth is packs of one class that were stored on one day and are still there, with their recovery volumes.
type Birth struct {
	Day     time.Time // UTC
	Class   string    // as the price table names it, or in the store's words
	Objects int64
	Bytes   int64
	Billed  int64
}

type birthKey struct {
	day   int64
	class string
}

// Estimator adds up what indexes know, one index after the other: packs and their parity.
type Estimator struct {
	t      *taking
	births map[birthKey]*Birth
}

// NewEstimator begins with nothing. now tells which least stays are over.
func NewEstimator(r *price.Region, now time.Time) *Estimator {
	return &Estimator{newTaking(r, now), map[birthKey]*Birth{}}
}

// Add adds an index. Errors are those of the index.
func (e *Estimator) Add(set *index.Set) error {
	return set.EachPack(func(p *index.Info, _ bool) error {
		kind := Data
		if p.Kind != chunk.Data {
			kind = Meta
		}
		e.add(p.Class, kind, p.Size, p.Birth)
		if p.Par2 != nil {
			e.add(p.Class, Parity, p.Par2.Size, p.Birth)
		}
		return nil
	})
}

func (e *Estimator) add(name string, kind Kind, size int64, born time.Time) {
	e.t.count(name, kind, size, born)
	billed := size
	if class, known := e.t.r.Class(name); known {
		name, billed = class.Name, class.Billed(size)
	}
	k := birthKey{born.Unix() / 86400, name}
	b := e.births[k]
	if b == nil {
		b = &Birth{Day: time.Unix(k.day*86400, 0).UTC(), Class: name}
		e.births[k] = b
	}
	b.Objects, b.Bytes, b.Billed = b.Objects+1, b.Bytes+size, b.Billed+billed
}

// Inventory is what there is.
func (e *Estimator) Inventory() *Inventory { return e.t.inventory() }

// Births is the same by day and class, in order. Packs that were deleted since are not in it, and moves into a colder class are not known to indexes.
func (e *Estimator) Births() []Birth {
	out := make([]Birth, 0, len(e.births))
	for _, b := range e.births {
		out = append(out, *b)
	}
	slices.SortFunc(out, func(a, b Birth) int { return cmp.Or(a.Day.Compare(b.Day), strings.Compare(a.Class, b.Class)) })
	return out
}

// ToDate is what packs have cost from their births until now, by present prices: to store them and to keep them. What was deleted, listed or read since is not in it.
func ToDate(r *price.Region, births []Birth, now time.Time) (sum price.Money) {
	for _, b := range births {
		if months := price.Months(b.Day, now); months > 0 {
			sum += r.HoldMonths(b.Class, b.Objects, b.Billed, months).Total()
		}
		sum += r.Put(b.Class, b.Objects, b.Bytes).Cost
	}
	return sum
}
