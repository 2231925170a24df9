package backup

import (
	"context"
	"errors"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"firn/internal/digest"
	"firn/internal/keys"
	"firn/internal/repo"
	"firn/internal/source"
	"firn/internal/store/mem"
)

// oneFile is a tree whose files all have the same content.
type oneFile struct {
	source.Tree
	content string
}

func (o *oneFile) Details([]byte, *source.Stat) (source.Details, error) {
	return source.Details{}, nil
}

func (o *oneFile) Open([]byte) (source.Content, error) {
	f := &fakeFile{rng: rand.New(rand.NewPCG(1, 1)), data: []byte(o.content), failAt: -1, after: -1}
	f.stat = source.Stat{Size: int64(len(f.data))}
	return &readable{f, strings.NewReader(o.content)}, nil
}

type readable struct {
	*fakeFile
	r *strings.Reader
}

func (r *readable) Read(p []byte) (int, error) { return r.r.Read(p) }

// TestFailedUnitStaysOpen: who waits for a unit that could not be stored is not told that it is finished, so that nobody takes its files for what they are not.
func TestFailedUnitStaysOpen(t *testing.T) {
	ctx := context.Background()
	st := mem.New(mem.Options{})
	pass, err := keys.Passphrase([]byte("x"), keys.MinWork)
	if err != nil {
		t.Fatal(err)
	}
	access, err := repo.Init(ctx, st, repo.InitOptions{Keys: []repo.NewKey{{Label: "p", Recipient: pass}}, HostName: "nas"})
	if err != nil {
		t.Fatal(err)
	}
	rp, err := repo.Open(ctx, st, access, repo.Options{})
	if err != nil {
		t.Fatal(err)
	}
	scope, err := rp.Load(ctx, access.Host.ScopeID, true)
	if err != nil {
		t.Fatal(err)
	}
	writer, err := rp.NewWriter(ctx, scope, repo.WriterOptions{})
	if err != nil {
		t.Fatal(err)
	}
	r := &run{ctx: ctx, soft: ctx, writer: writer, tree: &oneFile{content: "content"}, files: newFileMap(), bundleRoom: 1 << 20}
	r.o.Now = time.Now
	w := &worker{run: r, hash: digest.NewHasher(access.Host.Scope().ChunkKey(0))}
	unitOf := func(name string) *unit {
		return &unit{bundle: &bundle{done: make(chan struct{})}, members: []member{{path: []byte(name), stat: source.Stat{Size: 7}}}}
	}
	good := unitOf("a")
	if err := w.unit(good); err != nil {
		t.Fatal(err)
	}
	<-good.done
	writer.Abort()
	r.files, r.tree = newFileMap(), &oneFile{content: "changed"}
	bad := unitOf("b")
	if err := w.unit(bad); !errors.Is(err, repo.ErrAborted) {
		t.Fatal(err)
	}
	select {
	case <-bad.done:
		t.Error("a unit that failed counts as finished")
	default:
	}
}
