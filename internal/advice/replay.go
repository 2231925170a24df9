package advice

import (
	"fmt"

	"firn/internal/replay"
	"firn/internal/snapshot"
	"firn/internal/source"
	"firn/internal/wire"
)

// replayRules are about streams on their way back.
func replayRules() []rule {
	return []rule{
		as(func(e *snapshot.BrokenChainError) string {
			if e.Until == nil {
				return "nothing before it is whole either; firn source list shows the chains, and a backup with --full begins a new one"
			}
			return fmt.Sprintf("up to %q all is there: restore snapshot %s", e.UntilAt, e.Until.ID.String()[:8])
		}),
		as(func(e *replay.LinkError) string {
			switch {
			case e.Lost && e.Until != nil:
				return fmt.Sprintf("up to %q all is there: restore snapshot %s; firn repair mends what can be mended", e.Until.Point.At, e.UntilSnapshot.String()[:8])
			case e.Lost:
				return HowToHeal
			}
			return ""
		}),
		is(replay.ErrNotThere, "firn ls SNAPSHOT lists its streams"),
		is(replay.ErrNoStream, "firn ls SNAPSHOT lists what there is"),
		is(replay.ErrNothing, "an older snapshot has what this one starts from; firn snapshots lists them"),
		say[*wire.TakerError]("write the streams as files with --target, or give them to a program with --to-command"),
		as(func(e *source.TargetError) string {
			if e.Exists {
				return "choose another target, or one that does not exist yet"
			}
			return "restore --plan shows what is needed, and from where it starts"
		}),
	}
}
