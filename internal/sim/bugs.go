package sim

import (
	"firn/internal/prune"
	"firn/internal/store"
)

// Bug is a mistake that is planted, to see that it is found. The empty one is none.
type Bug string

func (b Bug) prepare(s *setup) {}

func (b Bug) wrap(w *world, v *vault, who string) store.Store { return v }

func (b Bug) pruning(w *world, o prune.Options) prune.Options { return o }
