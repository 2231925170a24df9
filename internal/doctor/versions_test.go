package doctor

import (
	"slices"
	"testing"

	"firn/internal/store"
	"firn/internal/store/mem"
)

func TestVersions(t *testing.T) {
	expire := store.Rule{ID: "old", Enabled: true, Noncurrent: true, Expires: true, Days: 30}
	data := expire
	data.Prefix = "data/"
	off := expire
	off.Enabled = false
	for name, c := range map[string]struct {
		o    mem.Options
		deny string
		want []string
	}{
		"none":     {want: []string{"ok: what is deleted is gone, and what is stored can be deleted by whoever has the right to"}},
		"kept":     {o: mem.Options{Versions: true}, want: []string{"note: the store keeps versions of what is deleted, and no rule removes them"}},
		"some":     {o: mem.Options{Versions: true, Rules: []store.Rule{data, off}}, want: []string{"note: the store keeps versions of what is deleted, and no rule removes them"}},
		"expire":   {o: mem.Options{Versions: true, Rules: []store.Rule{expire}}, want: []string{"ok: the store keeps versions of what is deleted, and removes them after 30 days"}},
		"may not":  {deny: "versions", want: []string{"note: not known: whether the store keeps versions of what is deleted"}},
		"may lock": {o: mem.Options{Rules: []store.Rule{expire}, Lock: store.LockRule{Enabled: true}}, want: []string{"ok: the store keeps versions of what is deleted, and removes them after 30 days", "note: objects can be locked, and new ones are not"}},
		"locks": {o: mem.Options{Rules: []store.Rule{expire}, Lock: store.LockRule{Enabled: true, Mode: store.Compliance, Years: 1}},
			want: []string{"ok: the store keeps versions of what is deleted, and removes them after 30 days", "ok: new objects are locked for 1 year (COMPLIANCE): nothing can be freed before that"}},
		"not told": {o: mem.Options{Rules: []store.Rule{expire}, Lock: store.LockRule{Enabled: true}}, deny: "locks",
			want: []string{"ok: the store keeps versions of what is deleted, and removes them after 30 days", "note: not known: whether the store locks what is stored"}},
	} {
		c.o.Watch = func(r mem.Request) error {
			if r.Op == c.deny {
				return store.ErrDenied
			}
			return nil
		}
		d := &doctor{o: Options{Store: mem.New(c.o)}}
		d.versions(t.Context())
		var got []string
		for _, f := range d.findings {
			text := map[Severity]string{OK: "ok: ", Note: "note: "}[f.Severity]
			got = append(got, text+f.What)
			if f.Check != CheckVersions || f.Severity == Note && f.Why == "" && f.Fix.Why == nil {
				t.Errorf("%s: %+v", name, f)
			}
		}
		if !slices.Equal(got, c.want) {
			t.Errorf("%s: %q, want %q", name, got, c.want)
		}
	}
}
