package zfs_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"testing"
	"time"

	"firn/internal/source"
	"firn/internal/source/zfs"
)

func settings(values map[string]string) *source.Settings {
	return source.NewSettings(zfs.Settings, values)
}

// shelf stands for a repository: it keeps streams by their snapshots.
type shelf struct {
	t       *testing.T
	batches []*kept // oldest first
}

type kept struct {
	batch   *source.Batch
	streams map[string][]byte
	base    *kept
}

func (s *shelf) have() (list []source.Have) {
	for i := len(s.batches) - 1; i >= 0; i-- {
		list = append(list, source.Have{Points: s.batches[i].batch.Points})
	}
	return list
}

func newSource(t *testing.T, dataset string, host source.Host, values map[string]string) *zfs.Source {
	t.Helper()
	s, err := zfs.New(dataset, settings(values), host)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// run makes one backup.
func (s *shelf) run(dataset string, host source.Host, values map[string]string) *kept {
	s.t.Helper()
	b, err := newSource(s.t, dataset, host, values).Prepare(context.Background(), s.have())
	if err != nil {
		s.t.Fatal(err)
	}
	k := s.read(b)
	if err := b.End(context.Background(), true); err != nil {
		s.t.Fatal(err)
	}
	s.batches = append(s.batches, k)
	return k
}

func (s *shelf) read(b *source.Batch) *kept {
	s.t.Helper()
	k := &kept{batch: b, streams: map[string][]byte{}}
	if b.Base >= 0 {
		k.base = s.batches[len(s.batches)-1-b.Base]
	}
	for _, st := range b.Streams {
		r, err := st.Open(context.Background())
		if err != nil {
			s.t.Fatal(err)
		}
		content, err := io.ReadAll(r)
		if err != nil {
			s.t.Fatal(err)
		}
		_ = r.Close()
		k.streams[st.Path] = content
	}
	return k
}

// links are those that lead to the last backup.
func (s *shelf) links() (links []source.Link) {
	for k := s.batches[len(s.batches)-1]; k != nil; k = k.base {
		var own []source.Link
		for _, p := range k.batch.Points {
			content := k.streams[p.Stream]
			own = append(own, source.Link{Path: p.Stream, Point: p, Size: int64(len(content)),
				Open: func(context.Context) (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(content)), nil }})
		}
		links = append(own, links...)
	}
	return links
}

func restore(t *testing.T, target string, links []source.Link, values map[string]string) (int, error) {
	t.Helper()
	taker, err := zfs.NewTaker(target, settings(values))
	if err != nil {
		t.Fatal(err)
	}
	missing, err := taker.Missing(context.Background(), links)
	if err != nil {
		return 0, err
	}
	for i, l := range missing {
		if err := taker.Take(context.Background(), l); err != nil {
			return i, err
		}
	}
	return len(missing), nil
}

// clock goes on by a week, as the machine's does not.
type clock struct{ at time.Time }

func (c *clock) now() time.Time { return c.at }
func (c *clock) week()          { c.at = c.at.Add(7 * 24 * time.Hour) }

func weekly() *clock { return &clock{time.Date(2026, 7, 19, 3, 0, 0, 0, time.UTC)} }

// TestModern: what the version has is used: raw for what is encrypted, bookmarks, estimates, volumes.
func TestModern(t *testing.T) {
	p := newPool(t)
	c := weekly()
	host := source.Host{Now: c.now, Holder: "me"}
	opts := map[string]string{"recursive": "yes", "keep": "0", "pattern": "offsite-%F"}
	s := &shelf{t: t}
	p.calls("send")
	first := s.run("tank/home", host, opts)
	sends := p.calls("send")
	for _, want := range []string{
		"send -L -e -c tank/home@offsite-2026-07-19", "send -w -L -e -c tank/home/secret@offsite-2026-07-19", "send -L -e -c tank/home/disk@offsite-2026-07-19",
	} {
		if !slices.Contains(sends, want) {
			t.Errorf("no %q in %q", want, sends)
		}
	}
	if b := first.batch; len(b.Streams) != 3 || b.Streams[0].Size != 312+4 || !strings.HasPrefix(b.Streams[0].Path, "home-T") || b.Streams[1].Path[:11] != "home/disk-T" {
		t.Fatalf("%+v", b.Streams)
	}
	p.change(func(w *world) {
		for name, d := range w.Datasets {
			for _, st := range d.States {
				if st.Name[0] == '@' || !strings.HasSuffix(st.Name, ":firn:me") {
					t.Errorf("%s%s is left", name, st.Name)
				}
			}
			d.Content += " changed"
		}
	})
	c.week()
	second := s.run("tank/home", host, opts)
	if b := second.batch; b.Base != 0 || len(b.Notes) != 0 {
		t.Fatalf("%+v", b)
	}
	if sends, want := p.calls("send"), "send -w -L -e -c -i tank/home/secret#offsite-2026-07-19:firn:me tank/home/secret@offsite-2026-07-26"; !slices.Contains(sends, want) {
		t.Errorf("no %q in %q", want, sends)
	}
	// Switched off.
	c.week()
	s.run("tank/home", host, map[string]string{"raw": "no", "embedded": "no", "compressed": "no", "properties": "yes", "intermediates": "yes"})
	sends = p.calls("send")
	if len(sends) != 2 || !strings.HasPrefix(sends[1], "send -L -i tank/home#") {
		t.Errorf("%q", sends) // what lies between a bookmark and a snapshot nobody can send, nor properties
	}
	links := s.links()
	if n, err := restore(t, "tank/copy", links, nil); n != len(links) || err != nil {
		t.Fatal(n, err)
	}
	p.change(func(w *world) {
		if d := w.Datasets["tank/copy/disk"]; d == nil || d.Content != "disk changed" || !d.Mounted {
			t.Errorf("%+v", d)
		}
	})
	for _, call := range p.calls("receive") {
		if !strings.HasPrefix(call, "receive -u ") || strings.Contains(call, "-F") { // what changes what is not mounted is somebody who wants to
			t.Error(call)
		}
	}

	// OpenZFS receives no stream without -L on top of one that has large blocks.
	for i, want := range []string{"send tank/home@", "send -i tank/home@"} {
		c.week()
		small := s.run("tank/home", host, map[string]string{"large_blocks": "no", "embedded": "no", "compressed": "no"})
		if sends = p.calls("send"); !strings.HasPrefix(sends[len(sends)-1], want) || len(small.batch.Notes) != 1-i {
			t.Errorf("%q, %q", sends, small.batch.Notes)
		}
		for _, st := range small.batch.Streams {
			if !strings.HasSuffix(st.Path, ".small.zfs") {
				t.Error(st.Path)
			}
		}
	}
}

// TestModernEncryptedLater: a dataset that was received into an encrypted one keeps its snapshots, by their GUIDs; but no raw increment can be received on top of a stream that is not.
func TestModernEncryptedLater(t *testing.T) {
	p := newPool(t)
	c := weekly()
	host := source.Host{Now: c.now, Holder: "me"}
	s := &shelf{t: t}
	encryption := ""
	week := func(to string) *source.Batch {
		encryption = to
		p.change(func(w *world) {
			w.Datasets["tank/home"].Encryption = encryption
			w.Datasets["tank/home"].Content += " changed"
		})
		c.week()
		return s.run("tank/home", host, nil).batch
	}
	for i, step := range []struct {
		encryption string
		full, raw  bool
	}{{"", true, false}, {"", false, false}, {"aes-256-gcm", true, true}, {"aes-256-gcm", false, true}, {"", true, false}} {
		b := week(step.encryption)
		if full := b.Points[0].From == ""; full != step.full || full != (b.Base < 0) || strings.HasSuffix(b.Points[0].Stream, ".raw.zfs") != step.raw || full && i > 0 != (len(b.Notes) == 1) {
			t.Errorf("%d: %+v", i, b)
		}
	}
}

// TestModernBookmarks: only so many are kept, and the last one is a base.
func TestModernBookmarks(t *testing.T) {
	p := newPool(t)
	c := weekly()
	host := source.Host{Now: c.now, Holder: "me"}
	p.change(func(w *world) {
		d := w.Datasets["tank/home"]
		for i := range 19 {
			d.States = append(d.States, &fakeState{Name: fmt.Sprintf("#old%02d:firn:me", i), GUID: uint64(i + 1), Txg: uint64(i/2 + 1)}, &fakeState{Name: fmt.Sprintf("#theirs%d", i), GUID: uint64(i + 100), Txg: 1})
		}
	})
	s := &shelf{t: t}
	for range 3 {
		s.run("tank/home", host, map[string]string{"keep": "2"})
		c.week()
	}
	p.change(func(w *world) {
		var snaps, marks int
		d := w.Datasets["tank/home"]
		for _, st := range d.States {
			if st.Name[0] == '@' {
				snaps++
			} else {
				marks++
			}
		}
		if snaps != 2 || marks != 20+19 {
			t.Errorf("%d snapshots, %d bookmarks", snaps, marks)
		}
		last := d.States[len(d.States)-1]
		d.States = []*fakeState{last} // all snapshots are gone
	})
	if k := s.run("tank/home", host, nil); k.batch.Base != 0 {
		t.Fatalf("%+v", k.batch)
	}
	// A pool that is too old for bookmarks does without.
	p.change(func(w *world) {
		w.Fail["bookmark"] = "cannot create bookmark: pool must be upgraded to allow bookmarks"
	})
	c.week()
	if k := s.run("tank/home", host, map[string]string{"keep": "0"}); k.batch.Base != 0 {
		t.Fatalf("%+v", k.batch)
	}
	c.week()
	if k := s.run("tank/home", host, nil); k.batch.Base != 0 {
		t.Fatalf("%+v: keep=0 without a bookmark has destroyed the base", k.batch)
	}
}

// TestModernUnmoved: a snapshot that is stored already is not stored again.
func TestModernUnmoved(t *testing.T) {
	p := newPool(t)
	p.change(func(w *world) { _ = w.snapshot("tank/home@theirs", false, nil) })
	s := &shelf{t: t}
	host := source.Host{Now: weekly().now, Holder: "me"}
	opts := map[string]string{"snapshot": "theirs"}
	first := s.run("tank/home", host, opts)
	second := s.run("tank/home", host, opts)
	if b := second.batch; len(b.Streams) != 0 || len(b.Points) != 1 || b.Points[0].From != first.batch.Points[0].ID || b.Points[0].ID != b.Points[0].From || b.Points[0].Stream != "" {
		t.Fatalf("%+v", b)
	}
	p.change(func(w *world) {
		if w.Datasets["tank/home"].States[0].Name != "@theirs" {
			t.Error("what is not ours is gone")
		}
	})
}

// TestModernGone: what somebody destroyed meanwhile, or holds, is no reason to complain.
func TestModernGone(t *testing.T) {
	p := newPool(t)
	c := weekly()
	host := source.Host{Now: c.now, Holder: "me"}
	s := &shelf{t: t}
	for range 3 {
		s.run("tank/home", host, map[string]string{"keep": "3"})
		c.week()
	}
	b, err := newSource(t, "tank/home", host, nil).Prepare(context.Background(), s.have())
	if err != nil {
		t.Fatal(err)
	}
	p.change(func(w *world) {
		d := w.Datasets["tank/home"]
		d.States = slices.DeleteFunc(d.States, func(st *fakeState) bool { return st.Name == "@firn-20260719-030000" })
		_, held := w.find("tank/home@firn-20260726-030000")
		held.Holds = append(held.Holds, "somebody")
	})
	if err := b.End(context.Background(), true); err != nil {
		t.Fatal(err)
	}
	p.change(func(w *world) {
		if _, held := w.find("tank/home@firn-20260726-030000"); held == nil {
			t.Error("destroyed what somebody holds")
		}
		if _, old := w.find("tank/home@firn-20260802-030000"); old != nil {
			t.Error("kept what nobody needs")
		}
	})
}

// TestModernPretend: a dry run leaves nothing.
func TestModernPretend(t *testing.T) {
	p := newPool(t)
	b, err := newSource(t, "tank/home", source.Host{Holder: "me", Pretend: true}, map[string]string{"recursive": "yes"}).Prepare(context.Background(), nil)
	if err != nil {
		t.Fatal(err)
	}
	if err := b.End(context.Background(), false); err != nil {
		t.Fatal(err)
	}
	p.change(func(w *world) {
		for name, d := range w.Datasets {
			if len(d.States) > 0 {
				t.Errorf("%s%s is left", name, d.States[0].Name)
			}
		}
	})
}

// TestModernPretendHold: nor does it leave a hold on what others have taken.
func TestModernPretendHold(t *testing.T) {
	p := newPool(t)
	p.change(func(w *world) {
		w.Datasets["tank/home"].States = []*fakeState{{Name: "@theirs", GUID: 77, Txg: 3}}
	})
	b, err := newSource(t, "tank/home", source.Host{Holder: "me", Pretend: true}, map[string]string{"snapshot": "theirs"}).Prepare(context.Background(), nil)
	if err != nil {
		t.Fatal(err)
	}
	if err := b.End(context.Background(), false); err != nil {
		t.Error(err)
	}
	p.change(func(w *world) {
		if st := w.Datasets["tank/home"].States; len(st) != 1 || len(st[0].Holds) != 0 {
			t.Errorf("%+v", st[0])
		}
	})
}

func TestModernBad(t *testing.T) {
	p := newPool(t)
	ctx := context.Background()
	host := source.Host{Now: weekly().now, Holder: "me"}
	try := func() error {
		t.Helper()
		_, err := newSource(t, "tank/home", host, nil).Prepare(ctx, nil)
		if err == nil {
			t.Fatal("no error")
		}
		t.Log(err)
		return err
	}
	var sick *zfs.PoolError
	p.change(func(w *world) { w.Health = "SUSPENDED" })
	if err := try(); !errors.As(err, &sick) || sick.Health != "SUSPENDED" {
		t.Fatal(err)
	}
	p.change(func(w *world) { w.Health = "DEGRADED" })
	for begin, text := range map[string]string{"snapshot": "cannot create snapshots : permission denied", "get": "Permission denied the ZFS utilities must be run as root.", "hold": "cannot hold snapshot: permission denied"} {
		p.change(func(w *world) { w.Fail, w.Datasets["tank/home"].States = map[string]string{begin: text}, nil })
		var denied *zfs.DeniedError
		if err := try(); !errors.As(err, &denied) {
			t.Fatal(begin, err)
		}
	}
	p.change(func(w *world) {
		w.Fail = map[string]string{"send -L": "cannot open 'tank/home': pool I/O is currently suspended"}
		w.Datasets["tank/home"].States = nil
	})
	b, err := newSource(t, "tank/home", host, nil).Prepare(ctx, nil)
	if err != nil {
		t.Fatal(err)
	}
	r, err := b.Streams[0].Open(ctx)
	if err == nil {
		_, err = io.ReadAll(r)
		_ = r.Close()
	}
	if !errors.As(err, &sick) {
		t.Fatal(err)
	}
	// A snapshot that another took under the same name while nobody looked.
	p.change(func(w *world) { w.Fail = nil; w.Datasets["tank/home"].States[0].GUID = 4711 })
	if r, err = b.Streams[0].Open(ctx); err == nil {
		_, err = io.ReadAll(r)
		_ = r.Close()
	}
	var failed *source.ProducerError
	if !errors.As(err, &failed) || !strings.Contains(err.Error(), "not the stream that was asked for") {
		t.Fatal(err)
	}
	t.Setenv("PATH", t.TempDir())
	var none *source.ProgramError
	if _, err := newSource(t, "tank/home", host, nil).Prepare(ctx, nil); err == nil || !errors.As(err, &none) && !errors.As(err, new(*source.ProducerError)) && !errors.As(err, new(*source.MissingError)) {
		t.Fatal(err) // a zfs in the system's folders is found without PATH
	}
}

// TestModernHang: a stream that does not come is given up where the user says when.
func TestModernHang(t *testing.T) {
	p := newPool(t)
	b, err := newSource(t, "tank/home", source.Host{Holder: "me"}, map[string]string{"timeout": "1s"}).Prepare(context.Background(), nil)
	if err != nil {
		t.Fatal(err)
	}
	p.change(func(w *world) { w.Fail["send -L"] = "hang" })
	r, err := b.Streams[0].Open(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = r.Close() }()
	var failed *source.ProducerError
	if _, err = io.ReadAll(r); !errors.As(err, &failed) {
		t.Fatal(err)
	}
}

// TestModernChanged: that a target was changed is told before anything is fetched.
func TestModernChanged(t *testing.T) {
	p := newPool(t)
	c := weekly()
	host := source.Host{Now: c.now, Holder: "me"}
	s := &shelf{t: t}
	s.run("tank/home", host, nil)
	if n, err := restore(t, "tank/copy", s.links(), nil); n != 1 || err != nil {
		t.Fatal(n, err)
	}
	c.week()
	s.run("tank/home", host, nil)
	p.change(func(w *world) { w.Datasets["tank/copy"].Written = "4096" })
	taker, err := zfs.NewTaker("tank/copy", settings(nil))
	if err != nil {
		t.Fatal(err)
	}
	var target *source.TargetError
	if _, err := taker.Missing(context.Background(), s.links()); !errors.As(err, &target) || !target.Exists || !strings.Contains(err.Error(), "changed") {
		t.Fatal(err)
	}
	p.calls("receive")
	if n, err := restore(t, "tank/copy", s.links(), map[string]string{"force": "yes"}); n != 1 || err != nil {
		t.Fatal(n, err)
	}
	if calls := p.calls("receive"); len(calls) != 1 || calls[0] != "receive -u -F tank/copy" {
		t.Fatalf("%q", calls)
	}
}

// TestModernResume: what a receive has left that was stopped is in the way, unless it may be given up.
func TestModernResume(t *testing.T) {
	p := newPool(t)
	host := source.Host{Now: weekly().now, Holder: "me"}
	s := &shelf{t: t}
	s.run("tank/home", host, nil)
	p.change(func(w *world) { w.Datasets["tank/copy"] = &fakeDataset{Type: "filesystem", Token: "1-abc"} })
	var target *source.TargetError
	if _, err := restore(t, "tank/copy", s.links(), nil); !errors.As(err, &target) || !target.Exists || !strings.Contains(err.Error(), "stopped") {
		t.Fatal(err)
	}
	if n, err := restore(t, "tank/copy", s.links(), map[string]string{"force": "yes"}); n != 1 || err != nil {
		t.Fatal(n, err)
	}
}

func TestSettings(t *testing.T) {
	for _, bad := range []map[string]string{
		{"mode": "both"}, {"raw": "maybe"}, {"keep": "-1"}, {"pattern": "a%"}, {"pattern": "%Q"}, {"pattern": "a/b"}, {"pattern": "-x"}, {"pattern": ""}, {"pattern": strings.Repeat("x", 121)},
		{"snapshot": "a@b"}, {"mode": "files", "recursive": "yes"}, {"mode": "files", "snapshot": "x"}, {"resume": "soon"}, {"nothing": "1"},
	} {
		var wrong *source.SettingError
		if _, err := zfs.New("tank/home", settings(bad), source.Host{}); !errors.As(err, &wrong) {
			t.Errorf("%v: %v", bad, err)
		}
	}
	for _, bad := range []string{"", "/", "tank/", "/tank", "tank//a", "tank@a", "tank/../a", "tank/-rf", "-r", "tank/a#b", "tank/a%b", "tank/a\nb", "tank/ä", strings.Repeat("a", 256)} {
		var wrong *zfs.NameError
		if _, err := zfs.New(bad, settings(nil), source.Host{}); !errors.As(err, &wrong) {
			t.Errorf("%q: %v", bad, err)
		}
		if _, err := zfs.NewTaker(bad, settings(nil)); !errors.As(err, &wrong) {
			t.Errorf("%q: %v", bad, err)
		}
		if _, err := zfs.NewBaseline(bad+"@x", "", settings(nil), source.Host{}); !errors.As(err, &wrong) {
			t.Errorf("%q: %v", bad, err)
		}
	}
}
