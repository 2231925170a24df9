package dir

import (
	"context"
	"errors"

	"firn/internal/source"
)

// Tree is a folder or single file; it is a source.Tree.
type Tree struct{}

var _ source.Tree = (*Tree)(nil)

var errLater = errors.New("not yet written")

// Open opens the root.
func Open(path string, o Options) (*Tree, error) { return nil, errLater }

// Root is the absolute path of the root with symlinks followed; SingleFile reports whether it is no folder.
func (t *Tree) Root() string     { return "" }
func (t *Tree) SingleFile() bool { return false }

// Names looks up the names of a user and a group, "" where there is none; it remembers them.
func (t *Tree) Names(uid, gid uint32) (user, group string) { return "", "" }

func (t *Tree) Walk(ctx context.Context, fn func(*source.Entry) error) error { return errLater }
func (t *Tree) Details(path []byte, st *source.Stat) (source.Details, error) {
	return source.Details{}, errLater
}
func (t *Tree) Open(path []byte) (source.Content, error) { return nil, errLater }
func (t *Tree) Close() error                             { return nil }
