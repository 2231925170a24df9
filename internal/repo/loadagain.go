package repo

import (
	"context"

	"firn/internal/keys"
	"firn/internal/sign"
	"firn/internal/snapshot"
)

// freshSnapshotsRead is how many snapshots that are not known are read from the store rather than looked for in the local cache, all of which would have to be read for that.
const freshSnapshotsRead = 64

// LoadAgain is Load for who has read the scope before and looks again: a done snapshot that known returns, and that the store has not replaced since, is taken over as it is, neither read nor parsed. What is known must come from a Load of this repository.
func (r *Repository) LoadAgain(ctx context.Context, id keys.ScopeID, withIndex bool, known func(snapshot.ID) (snapshot.Item, bool)) (*ScopeState, error) {
	kit, err := r.scope(id)
	if err != nil {
		return nil, err
	}
	s := newState(kit)
	s.known = known
	if err := s.load(ctx, withIndex); err != nil {
		return nil, err
	}
	s.known = nil // which may hold much
	return s, nil
}

// takeOver fills Items with what is known and reports how many are left to be read. ids are those of found.
func (s *ScopeState) takeOver(ctx context.Context, ids []string, found map[string]*listedSnapshot) (left int) {
	for i, text := range ids {
		id, err := snapshot.ParseID(text)
		if err == nil && s.known != nil {
			if item, ok := s.known(id); ok && s.stands(ctx, item, found[text]) {
				item.Forgotten = s.forgotten[id]
				s.Items[i] = item
				continue
			}
		}
		left++
	}
	return left
}

// stands reports whether a snapshot that was read before would be read the same now: it has its mark, the store has not replaced it, and its author still counts. The dates of a copy are not the store's, so that copies are read.
func (s *ScopeState) stands(ctx context.Context, it snapshot.Item, listed *listedSnapshot) bool {
	if !listed.done || !it.Marked || it.Vouched || it.Scope != [8]byte(s.kit.id) || !it.Stored.Equal(listed.info.Modified) {
		return false
	}
	author := sign.Author(it.HostID)
	return (author.IsRoot() || s.kit.trust(ctx, author) == nil) && s.kit.inTime(author, it.Stored) == nil
}
