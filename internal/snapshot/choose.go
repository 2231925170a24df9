package snapshot

import (
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"
)

// ErrNone tells that no snapshot is meant.
var ErrNone = errors.New("no such snapshot")

// ExprError tells that a text cannot name a snapshot.
type ExprError struct{ Expr, Reason string }

func (e *ExprError) Error() string { return fmt.Sprintf("snapshot %q: %s", e.Expr, e.Reason) }

// AmbiguousError tells that a text could mean several snapshots, or snapshots of several sources.
type AmbiguousError struct {
	Expr    string
	IDs     []ID     // that begin with Expr; or else
	Sources []Origin // that have such a snapshot, at most 100
}

func (e *AmbiguousError) Error() string {
	if len(e.IDs) > 0 {
		return fmt.Sprintf("snapshot %q: %d snapshots begin so", e.Expr, len(e.IDs))
	}
	return fmt.Sprintf("snapshot %q: there are several sources", e.Expr)
}

// Select finds the snapshot that expr means:
//
//	an id, or a beginning of one that no other has     any state but forgotten
//	latest                                             the newest done one, by sequence
//	latest~2                                           the second before that
//	@today  @yesterday  @2023-07-19  @2023-07  @2023   the newest done one at or before the end of that day, month or year in loc
//	@2023-07-19T10:00  @2023-07-19T10:00:30            at or before the end of that minute or second in loc; with Z or an offset,
//	                                                   that of UTC or the offset
//
// latest and @ want the items of one source. It fails with ErrNone, *ExprError or *AmbiguousError.
func Select(items []Item, expr string, now time.Time, loc *time.Location) (Item, error) {
	switch rest, isLatest := strings.CutPrefix(expr, "latest"); {
	case isLatest:
		back, err := parseBack(expr, rest)
		if err != nil {
			return Item{}, err
		}
		return latest(items, expr, back)
	case strings.HasPrefix(expr, "@"):
		end, ok := parseEnd(expr[1:], now, loc)
		if !ok {
			return Item{}, &ExprError{expr, "want a day such as @2023-07-19, or a time such as @2023-07-19T10:00"}
		}
		return before(items, expr, end)
	}
	return byPrefix(items, expr)
}

func parseBack(expr, rest string) (int, error) {
	if rest == "" {
		return 0, nil
	}
	digits, ok := strings.CutPrefix(rest, "~")
	n, err := strconv.ParseUint(digits, 10, 31)
	if !ok || err != nil {
		return 0, &ExprError{expr, "want latest or, for the second before it, latest~2"}
	}
	return int(n), nil
}

// done returns the items that are done, in order, if they are of one source.
func done(items []Item, expr string) ([]Item, error) {
	var found []Item
	for _, it := range items {
		if it.Status() == IsDone {
			found = append(found, it)
		}
	}
	var sources []Origin
	for _, it := range found {
		if len(sources) < 100 && !slices.ContainsFunc(sources, func(o Origin) bool { return o.ID == it.Source.ID }) {
			sources = append(sources, it.Source)
		}
	}
	if len(sources) > 1 {
		return nil, &AmbiguousError{Expr: expr, Sources: sources}
	}
	slices.SortFunc(found, order)
	return found, nil
}

func latest(items []Item, expr string, back int) (Item, error) {
	found, err := done(items, expr)
	if err != nil {
		return Item{}, err
	}
	if back >= len(found) {
		return Item{}, fmt.Errorf("%w: %q of %d that are done", ErrNone, expr, len(found))
	}
	return found[len(found)-1-back], nil
}

// before returns the newest that is older than end.
func before(items []Item, expr string, end time.Time) (Item, error) {
	found, err := done(items, expr)
	if err != nil {
		return Item{}, err
	}
	var best Item
	for _, it := range found {
		if it.Start.Before(end) && (best.Snapshot == nil || !it.Start.Before(best.Start)) {
			best = it
		}
	}
	if best.Snapshot == nil {
		return Item{}, fmt.Errorf("%w: %q is before the oldest of %d that are done", ErrNone, expr, len(found))
	}
	return best, nil
}

func byPrefix(items []Item, expr string) (Item, error) {
	if len(expr) == 0 || len(expr) > 32 || strings.Trim(expr, "0123456789abcdef") != "" {
		return Item{}, &ExprError{expr, "want an id or the beginning of one, latest, or a day such as @2023-07-19"}
	}
	var found []Item
	for _, it := range items {
		if strings.HasPrefix(hex.EncodeToString(it.ID[:]), expr) && it.Status() != IsForgotten {
			found = append(found, it)
		}
	}
	switch len(found) {
	case 0:
		return Item{}, fmt.Errorf("%w: %q", ErrNone, expr)
	case 1:
		return found[0], nil
	}
	e := &AmbiguousError{Expr: expr}
	for _, it := range found {
		e.IDs = append(e.IDs, it.ID)
	}
	return Item{}, e
}

// parseEnd returns the first moment after the stretch of time that text names.
func parseEnd(text string, now time.Time, loc *time.Location) (time.Time, bool) {
	y, m, d := now.In(loc).Date()
	switch text {
	case "today":
		return time.Date(y, m, d+1, 0, 0, 0, 0, loc), true
	case "yesterday":
		return time.Date(y, m, d, 0, 0, 0, 0, loc), true
	}
	for _, f := range []struct {
		layout string
		end    func(t time.Time) time.Time
	}{
		// A day is not always 24 hours.
		{"2006", func(t time.Time) time.Time { return t.AddDate(1, 0, 0) }},
		{"2006-01", func(t time.Time) time.Time { return t.AddDate(0, 1, 0) }},
		{"2006-01-02", func(t time.Time) time.Time { return t.AddDate(0, 0, 1) }},
		{"2006-01-02T15:04", func(t time.Time) time.Time { return t.Add(time.Minute) }},
		{"2006-01-02T15:04Z07:00", func(t time.Time) time.Time { return t.Add(time.Minute) }},
		{"2006-01-02T15:04:05", func(t time.Time) time.Time { return t.Add(time.Second) }},
		{"2006-01-02T15:04:05Z07:00", func(t time.Time) time.Time { return t.Add(time.Second) }},
	} {
		if t, err := time.ParseInLocation(f.layout, text, loc); err == nil {
			return f.end(t), true
		}
	}
	return time.Time{}, false
}
