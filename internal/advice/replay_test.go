package advice

import (
	"errors"
	"strings"
	"testing"

	"firn/internal/replay"
	"firn/internal/repo"
	"firn/internal/snapshot"
	"firn/internal/source"
	"firn/internal/store"
	"firn/internal/wire"
)

// TestReplayHints: who cannot have all of a chain hears what there is.
func TestReplayHints(t *testing.T) {
	damage := &repo.DamageError{Object: "data/x", Err: errors.New("x")}
	until := &snapshot.Item{Snapshot: &snapshot.Snapshot{ID: snapshot.ID{0xab}}}
	for name, c := range map[string]struct {
		err  error
		want string
	}{
		"gap":          {&snapshot.BrokenChainError{Until: until, UntilAt: "monday"}, `up to "monday" all is there: restore snapshot ab000000`},
		"nothing":      {&snapshot.BrokenChainError{}, "--full"},
		"damage":       {&replay.LinkError{Lost: true, Until: &source.Link{Point: source.Point{At: "monday"}}, UntilSnapshot: snapshot.ID{0xcd}, Err: damage}, "restore snapshot cd000000; firn repair"},
		"damaged full": {&replay.LinkError{Lost: true, Err: damage}, "copy"},
		"cold":         {&replay.LinkError{Err: &store.Error{Op: "get", Name: "data/x", Err: store.ErrCold}}, "firn restore --plan"},
		"program":      {&replay.LinkError{Err: &source.ProducerError{Program: "x", Err: errors.New("x")}}, "by hand"},
		"not there":    {replay.ErrNotThere, "firn ls"},
		"taker":        {&wire.TakerError{Spec: "command:x"}, "--to-command"},
		"exists":       {&source.TargetError{Exists: true}, "another target"},
		"lacks":        {&source.TargetError{}, "--plan"},
	} {
		if hint := Hint(c.err); !strings.Contains(hint, c.want) {
			t.Errorf("%s: %q, want %q in it", name, hint, c.want)
		}
	}
}
