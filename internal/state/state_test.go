package state

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"firn/internal/keys"
	"firn/internal/source"
)

func TestMain(m *testing.M) {
	if os.Getenv("FIRN_TEST_LOCK") != "" {
		holdLock()
		return
	}
	os.Exit(m.Run())
}

// holdLock is the other process of TestLockProcesses: it locks, says so, and waits to be killed.
func holdLock() {
	s := Open(Dirs{State: os.Getenv("FIRN_TEST_LOCK")}, [16]byte{7}, nil)
	if _, err := s.Lock(testSource, time.Unix(1_700_000_000, 0)); err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println("locked")
	time.Sleep(time.Minute)
}

func TestLock(t *testing.T) {
	s, notes := testState(t)
	since := time.Unix(1_700_000_000, 0)
	l, err := s.Lock(testSource, since)
	if err != nil {
		t.Fatal(err)
	}
	_, err = s.Lock(testSource, since)
	var held *HeldError
	if !errors.As(err, &held) || held.PID != os.Getpid() || !held.Since.Equal(since) {
		t.Fatalf("second lock: %v", err)
	}
	if other, err := s.Lock(SourceID{9}, since); err != nil {
		t.Fatal(err)
	} else {
		other.Release()
	}
	l.Release()
	l.Release()
	if l, err = s.Lock(testSource, since); err != nil {
		t.Fatal(err)
	}
	l.Release()
	if len(*notes) > 0 {
		t.Fatal(*notes)
	}
}

func TestLockProcesses(t *testing.T) {
	s, _ := testState(t)
	cmd := exec.Command(os.Args[0], "-test.run=^$")
	cmd.Env = append(os.Environ(), "FIRN_TEST_LOCK="+filepath.Dir(s.state))
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	line := make([]byte, 7)
	if _, err := out.Read(line); err != nil || string(line) != "locked\n" {
		t.Fatalf("%q, %v", line, err)
	}
	_, err = s.Lock(testSource, time.Now())
	var held *HeldError
	if !errors.As(err, &held) || held.PID != cmd.Process.Pid {
		t.Fatalf("lock of another process: %v", err)
	}
	_ = cmd.Process.Kill()
	_ = cmd.Wait()
	l, err := s.Lock(testSource, time.Now())
	if err != nil {
		t.Fatalf("after the holder was killed: %v", err)
	}
	l.Release()
}

func TestHeads(t *testing.T) {
	s, notes := testState(t)
	if _, ok := s.Head(testSource); ok {
		t.Fatal("a head out of nothing")
	}
	want := Head{[16]byte{1}, 1 << 60, [32]byte{2}}
	s.SetHead(testSource, Head{})
	s.SetHead(testSource, want)
	if got, ok := s.Head(testSource); !ok || got != want {
		t.Fatalf("%+v, %v", got, ok)
	}
	path := s.headPath(testSource)
	whole, _ := os.ReadFile(path)
	for n := range whole {
		for _, bad := range [][]byte{whole[:n], append(append(bytes.Clone(whole[:n]), whole[n]^1), whole[n+1:]...)} {
			_ = os.WriteFile(path, bad, 0o600)
			*notes, s.noted = nil, map[string]bool{}
			if h, ok := s.Head(testSource); ok || len(*notes) != 1 {
				t.Fatalf("damage at %d: %+v, %v", n, h, *notes)
			}
			_, _ = s.Head(testSource)
			if len(*notes) != 1 {
				t.Fatal("told twice")
			}
		}
	}
	s.ForgetHead(testSource)
	s.ForgetHead(testSource)
	if _, ok := s.Head(testSource); ok || len(*notes) != 1 {
		t.Fatal(*notes)
	}
}

func TestHostKey(t *testing.T) {
	s, _ := testState(t)
	if _, err := s.HostKey(); !errors.Is(err, fs.ErrNotExist) {
		t.Fatal(err)
	}
	secrets, err := keys.Generate(keys.X25519, s.repo, time.Unix(1e9, 0))
	if err != nil {
		t.Fatal(err)
	}
	h, err := secrets.NewHostKey("nas", "nas", keys.Writer, time.Unix(1e9, 0))
	if err != nil {
		t.Fatal(err)
	}
	if err := s.SetHostKey(h); err != nil {
		t.Fatal(err)
	}
	got, err := s.HostKey()
	if err != nil || got.Host != h.Host {
		t.Fatal(err)
	}
	path := filepath.Join(s.state, "host.key")
	other := Open(Dirs{State: filepath.Dir(s.state)}, [16]byte{8}, nil)
	if other.SetHostKey(h) == nil {
		t.Fatal("kept the key of another repository")
	}
	_ = os.MkdirAll(other.state, 0o700)
	raw, _ := os.ReadFile(path)
	_ = os.WriteFile(filepath.Join(other.state, "host.key"), raw, 0o600)
	if _, err := other.HostKey(); !errors.Is(err, ErrForeign) {
		t.Fatal(err)
	}
	if runtime.GOOS == "windows" {
		return
	}
	info, _ := os.Stat(path)
	if info.Mode().Perm() != 0o600 {
		t.Fatal(info.Mode())
	}
	for _, mode := range []fs.FileMode{0o640, 0o604, 0o660} {
		_ = os.Chmod(path, mode)
		var open *ModeError
		if _, err := s.HostKey(); !errors.As(err, &open) {
			t.Fatalf("mode %o: %v", mode, err)
		}
	}
}

func (s *State) journal(t testing.TB, name string) (*Journal, []string) {
	var got []string
	j, err := s.OpenJournal(name, func(r []byte) error { got = append(got, string(r)); return nil })
	if err != nil {
		t.Fatal(err)
	}
	return j, got
}

func TestJournal(t *testing.T) {
	s, notes := testState(t)
	j, got := s.journal(t, "packs")
	var want []string
	r := rand.New(rand.NewPCG(1, 1))
	for i := range 300 {
		rec := strings.Repeat(string(rune('a'+i%26)), r.IntN(2000))
		if i%100 == 7 {
			rec = strings.Repeat("L", 200_000)
		}
		want = append(want, rec)
		j.Append([]byte(rec))
	}
	j.Sync()
	j.Close()
	if len(got) > 0 || !errors.Is(j.Err(), os.ErrClosed) {
		t.Fatal(got, j.Err())
	}
	j.Append([]byte("after Close"))
	for _, extra := range []string{"", "more"} {
		j, got = s.journal(t, "packs")
		if strings.Join(got, "|") != strings.Join(want, "|") {
			t.Fatalf("%d records, want %d", len(got), len(want))
		}
		j.Append([]byte(extra))
		want = append(want, extra)
		j.Close()
	}
	j, _ = s.journal(t, "packs")
	j.Rewrite([][]byte{[]byte("x"), []byte("y")})
	j.Append([]byte("z"))
	size := j.Size()
	j.Close()
	if j, got = s.journal(t, "packs"); strings.Join(got, "") != "xyz" || j.Size() != size {
		t.Fatal(got)
	}
	j.Clear()
	j.Append([]byte("w"))
	j.Close()
	if j, got = s.journal(t, "packs"); strings.Join(got, "") != "w" || j.Err() != nil {
		t.Fatal(got)
	}
	j.Close()
	stop := errors.New("stop")
	if _, err := s.OpenJournal("packs", func([]byte) error { return stop }); !errors.Is(err, stop) {
		t.Fatal(err)
	}
	if len(*notes) > 0 {
		t.Fatal(*notes)
	}
}

// TestJournalCrash cuts a journal at every length and flips every byte: what comes back is a prefix, and appending goes on behind it.
func TestJournalCrash(t *testing.T) {
	s, notes := testState(t)
	j, _ := s.journal(t, "packs")
	want := []string{"one", "", "three", "fourfourfour", "5"}
	for _, r := range want {
		j.Append([]byte(r))
	}
	j.Close()
	whole, _ := os.ReadFile(j.path)
	for n := range len(whole) {
		for _, flipped := range []bool{false, true} {
			bad := bytes.Clone(whole[:n])
			if flipped {
				bad = bytes.Clone(whole)
				bad[n] ^= 0x10
			}
			_ = os.WriteFile(j.path, bad, 0o600)
			*notes, s.noted = nil, map[string]bool{}
			j, got := s.journal(t, "packs")
			if len(got) > len(want) || strings.Join(got, "|") != strings.Join(want[:len(got)], "|") || len(got) == len(want) {
				t.Fatalf("at %d: %q", n, got)
			}
			if !flipped && len(*notes) > 0 {
				t.Fatalf("a torn tail is no damage: %v", *notes)
			}
			if flipped && n < headLen && len(*notes) != 1 {
				t.Fatalf("damaged head: %v", *notes)
			}
			j.Append([]byte("next"))
			j.Close()
			if _, again := s.journal(t, "packs"); len(again) != len(got)+1 || again[len(got)] != "next" {
				t.Fatalf("at %d: %q after %q", n, again, got)
			}
		}
	}
}

func FuzzJournal(f *testing.F) {
	s, _ := testState(f)
	f.Add([]byte{}, []byte("record"))
	f.Add([]byte{1, 0, 0, 0, 0, 0, 0, 0, 9}, []byte(""))
	f.Fuzz(func(t *testing.T, body, record []byte) {
		raw := append(s.makeHead(kindJournal, nil), body...)
		replay := func(raw []byte) (end int64, list []string) {
			end, _, err := (&Journal{s: s}).replayAll(bytes.NewReader(raw), int64(len(raw)), func(r []byte) error { list = append(list, string(r)); return nil })
			if err != nil || end < headLen || end > int64(len(raw)) || len(list) > len(body)/recordHead+1 {
				t.Fatal(end, err)
			}
			return end, list
		}
		end, list := replay(raw)
		raw = binary.LittleEndian.AppendUint32(raw[:end], uint32(len(record)))
		raw = append(binary.LittleEndian.AppendUint32(raw, recordSum(uint32(len(record)), record)), record...)
		if _, again := replay(raw); len(again) != len(list)+1 || again[len(list)] != string(record) {
			t.Fatal("appended record is lost")
		}
	})
}

func FuzzSmallFile(f *testing.F) {
	s, _ := testState(f)
	f.Add(append(s.makeHead(kindHead, []byte{5}), "12345"...))
	f.Fuzz(func(t *testing.T, raw []byte) {
		s, _ := testState(t)
		path := filepath.Join(t.TempDir(), "f")
		_ = os.WriteFile(path, raw, 0o600)
		body, err := s.readFile(path, kindHead, 100)
		if err == nil && len(body) != len(raw)-headLen {
			t.Fatal("length")
		}
		_ = readHolder(bytes.NewReader(raw))
	})
}

func TestSpool(t *testing.T) {
	s, notes := testState(t)
	p := s.Spool()
	f, err := p.Create()
	if err != nil {
		t.Fatal(err)
	}
	_, _ = f.WriteString("pack")
	if err := f.Keep("abc"); err != nil {
		t.Fatal(err)
	}
	if _, err := p.Open("abc"); err == nil {
		t.Fatal("a file in use was opened")
	}
	f.Close()
	note := p.UploadNote("abc")
	for _, id := range []string{"", "one", "two"} {
		if note.SetUpload(id); p.UploadNote("abc").Upload() != id {
			t.Fatalf("upload %q is not remembered", id)
		}
	}
	gone, _ := p.Create()
	gone.Discard()
	used, _ := p.Create()
	killed, _ := p.Create()
	killed.Close()
	p.Clean()
	if _, err := os.Stat(killed.Name()); !errors.Is(err, fs.ErrNotExist) {
		t.Fatal("what a killed process left is still there")
	}
	if err := used.Keep("abd"); err != nil {
		t.Fatal("Clean took a file in use:", err)
	}
	list, err := p.List()
	if err != nil || len(list) != 2 || list[0] != (SpoolEntry{"abc", 4}) {
		t.Fatal(list, err)
	}
	r, err := p.Open("abc")
	if err != nil {
		t.Fatal(err)
	}
	r.Close()
	for _, name := range []string{"", ".x", "../x", "a/b", ".."} {
		if _, err := p.Open(name); !errors.Is(err, fs.ErrInvalid) {
			t.Fatalf("%q: %v", name, err)
		}
	}
	if r, err = p.Open("abc"); err != nil {
		t.Fatal(err)
	}
	if r.Discard(); note.Upload() != "" {
		t.Fatal("the note outlives its file")
	}
	for range 2 { // the second time there is nothing left to remove
		if err := p.Remove("abc"); err != nil || len(*notes) > 0 {
			t.Fatal(err, *notes)
		}
	}
}

func TestTrim(t *testing.T) {
	s, _ := testState(t)
	old := time.Unix(1_600_000_000, 0)
	for i := range SourceID([8]byte{}) {
		src := SourceID{byte(i)}
		w := s.CreateStats(src, nil)
		w.Add([]byte("a"), &source.Stat{}, bytes.Repeat([]byte("l"), 1000))
		w.Commit(nil)
		list, _ := generations(s.sourceDir(src))
		for _, n := range []string{list[0].statFile(), list[0].linesFile()} {
			s.Touch(filepath.Join(s.sourceDir(src), n), old.Add(time.Duration(i)*time.Hour))
		}
	}
	chunk := filepath.Join(s.ChunkTableDir(), "table")
	_ = os.WriteFile(chunk, make([]byte, 5000), 0o600)
	s.Touch(chunk, old.Add(-time.Hour))
	stored := filepath.Join(s.StoreCacheDir(), "x")
	_ = os.WriteFile(stored, make([]byte, 700), 0o600)
	f, _ := s.Spool().Create()
	_, _ = f.Write(make([]byte, 300))
	s.OpenStats(SourceID{0}).Close() // used now
	u := s.Usage()
	if u.Chunks != 5000 || u.Store != 700 || u.Spool != 300 || u.Sources < 8*2000 || u.State != 0 {
		t.Fatalf("%+v", u)
	}
	one := u.Sources / 8
	if freed := s.Trim(u.Cache() - 5000 - one); freed != 5000+one {
		t.Fatalf("freed %d", freed)
	}
	if s.OpenStats(SourceID{1}) != nil || s.OpenStats(SourceID{0}) == nil || s.OpenStats(SourceID{2}) == nil {
		t.Fatal("not the one that was used the longest time ago")
	}
	if left := s.Usage().Cache(); left != u.Cache()-5000-one {
		t.Fatal(left)
	}
	s.Trim(0)
	if left := s.Usage().Cache(); left != 300 {
		t.Fatalf("%d bytes left, want the file being written", left)
	}
	if err := f.Keep("pack"); err != nil {
		t.Fatal(err)
	}
	s.Spool().UploadNote("pack").SetUpload("1 2 3 4")
	if s.Trim(0); s.Usage().Cache() != 307 {
		t.Fatalf("%d bytes left, want the pack that is being sent, and the note of its upload", s.Usage().Cache())
	}
	_ = f.Close()
	if s.Trim(0); s.Usage().Cache() != 0 {
		t.Fatalf("%d bytes left of a pack that nobody sends", s.Usage().Cache())
	}
	f.Discard()
}

func TestFindDirs(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("paths of unix")
	}
	env := func(m map[string]string) func(string) string { return func(k string) string { return m[k] } }
	t.Setenv("TMPDIR", t.TempDir())
	tmp := filepath.Join(os.TempDir(), fmt.Sprintf("firn-%d", os.Geteuid()))
	for _, c := range []struct {
		w    Where
		want Dirs
	}{
		{Where{UID: 0, Getenv: env(map[string]string{"HOME": "/root"})}, Dirs{"/var/cache/firn", "/var/lib/firn"}},
		{Where{UID: 5, Getenv: env(map[string]string{"HOME": "/h"})}, Dirs{"/h/.cache/firn", "/h/.local/state/firn"}},
		{Where{UID: 5, Getenv: env(map[string]string{"HOME": "/h", "XDG_CACHE_HOME": "/c", "XDG_STATE_HOME": "rel"})}, Dirs{"/c/firn", "/h/.local/state/firn"}},
		{Where{UID: 5, CacheDir: "x", Getenv: env(map[string]string{"HOME": "/h"})}, Dirs{"x", "/h/.local/state/firn"}},
		{Where{UID: 0, CacheDir: "x", StateDir: "y"}, Dirs{"x", "y"}},
		{Where{UID: -1}, Dirs{}},
		{Where{UID: 1 << 30}, Dirs{}}, // the folder made is not owned by that user
	} {
		if got := FindDirs(c.w); got != c.want {
			t.Errorf("%+v: %+v, want %+v", c.w, got, c.want)
		}
	}
	if os.Geteuid() != 0 {
		if got := FindDirs(Where{UID: os.Geteuid()}); got.Cache != filepath.Join(tmp, "cache") {
			t.Error(got)
		}
	}
	w := Where{UID: os.Geteuid()}
	if w.temporary() != tmp {
		t.Error("own folder refused")
	}
	_ = os.Chmod(tmp, 0o755)
	if w.temporary() != "" {
		t.Error("open folder accepted")
	}
}

// exercise uses every part; none may fail or panic, whatever the folders are like.
func exercise(t *testing.T, s *State) {
	t.Helper()
	list := makeRecords(3000, rand.New(rand.NewPCG(1, 2)))
	s.write(list, "x")
	r := s.OpenStats(testSource)
	for r.Next() {
	}
	w := s.CreateStats(testSource, nil)
	w.CopyBefore(r)
	w.Close()
	r.Close()
	s.SetHead(testSource, Head{Sequence: 1})
	s.Head(testSource)
	for range 2 {
		if l, err := s.Lock(testSource, time.Now()); err == nil {
			defer l.Release()
		}
	}
	j, err := s.OpenJournal("x", nil)
	if err != nil {
		t.Fatal(err)
	}
	for range 100 {
		j.Append(make([]byte, 5000))
	}
	j.Rewrite([][]byte{make([]byte, 100_000)})
	j.Sync()
	j.Clear()
	j.Close()
	p := s.Spool()
	if f, err := p.Create(); err == nil {
		_, _ = f.Write(make([]byte, 300_000))
		_ = f.Keep("name")
	}
	_, _ = p.List()
	p.Clean()
	s.Usage()
	s.Trim(0)
	s.StoreCacheDir()
	s.ChunkTableDir()
}

func TestNoFolders(t *testing.T) {
	var notes []error
	exercise(t, Open(Dirs{}, [16]byte{7}, func(err error) { notes = append(notes, err) }))
	if len(notes) > 0 {
		t.Fatal(notes)
	}
	exercise(t, Open(Dirs{}, [16]byte{7}, nil))
	file := filepath.Join(t.TempDir(), "file")
	_ = os.WriteFile(file, nil, 0o600)
	exercise(t, Open(Dirs{file, file}, [16]byte{7}, func(err error) { notes = append(notes, err) }))
	if len(notes) == 0 {
		t.Fatal("nobody was told")
	}
	told := map[string]bool{}
	for _, n := range notes {
		if told[n.Error()] {
			t.Errorf("told twice: %v", n)
		}
		told[n.Error()] = true
	}
}
