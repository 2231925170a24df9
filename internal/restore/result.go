package restore

import (
	"slices"

	"firn/internal/target"
)

// counts are the numbers of a Result.
func (r *Result) counts() []*int64 {
	return []*int64{&r.Files, &r.Dirs, &r.Others, &r.Bytes, &r.Created, &r.Replaced, &r.Kept, &r.Deleted, &r.Skipped, &r.Failed, &r.BytesGot, &r.Requests}
}

// add adds the numbers of another pass.
func (r *Result) add(o *Result) {
	to, from := r.counts(), o.counts()
	for i := range to {
		*to[i] += *from[i]
	}
	r.NoDelete = r.NoDelete || o.NoDelete
}

// since returns the numbers without those of an earlier state.
func (r *Result) since(before *Result) Result {
	d := Result{NoDelete: r.NoDelete}
	out, now, then := d.counts(), r.counts(), before.counts()
	for i := range out {
		*out[i] = *now[i] - *then[i]
	}
	return d
}

// addLimit adds up limits by kind.
func addLimit(all []target.Limit, l target.Limit) []target.Limit {
	for i := range all {
		if all[i].Kind == l.Kind {
			all[i].Count += l.Count
			return all
		}
	}
	return append(slices.Clip(all), l)
}

// limitsSince returns what was added to limits since an earlier state.
func limitsSince(before, now []target.Limit) (out []limitRecord) {
	for _, l := range now {
		for _, b := range before {
			if b.Kind == l.Kind {
				l.Count -= b.Count
			}
		}
		if l.Count > 0 {
			out = append(out, limitRecord{l.Kind, l.Count, l.Path, l.Err.Error(), l.Err})
		}
	}
	return out
}
