package envelope

import (
	"bytes"
	"crypto/ed25519"
	"crypto/sha256"
	"errors"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"testing"
	"testing/iotest"

	"filippo.io/age"

	"firn/internal/digest"
	"firn/internal/frame"
	"firn/internal/seal"
	"firn/internal/sign"
)

var (
	repo  = [16]byte{1}
	scope = [8]byte{2}
	mac   = [32]byte{3}
	host  = sign.NewSigner(repo, scope, mac, [32]byte{4})
	root  = sign.NewRootSigner(repo, scope, mac, [32]byte{5})
)

func author(a sign.Author) (ed25519.PublicKey, bool) {
	switch a {
	case host.Author():
		return host.Public(), true
	case sign.Root:
		return root.Public(), true
	}
	return nil, false
}

func identity(t testing.TB) *age.X25519Identity {
	t.Helper()
	id, err := age.GenerateX25519Identity()
	if err != nil {
		t.Fatal(err)
	}
	return id
}

func text(n int) []byte {
	r := rand.New(rand.NewPCG(uint64(n), 1))
	b := make([]byte, n)
	for i := range b {
		b[i] = "firn snow"[r.IntN(9)]
	}
	return b
}

func TestRoundTrip(t *testing.T) {
	a, b := identity(t), identity(t)
	check := Check{Repo: repo, Scope: scope, MAC: &mac, Author: author}
	for _, n := range []int{0, 1, 1000, FrameSize - 1, FrameSize, FrameSize + 1, 3*FrameSize + 5} {
		for _, padding := range []bool{false, true} {
			body := text(n)
			k := Keys{Signer: host, Recipients: []age.Recipient{a.Recipient(), b.Recipient()}, Padding: padding}
			obj, name, err := Seal(sign.Index, body, k)
			if err != nil || name != digest.SumObject(obj) {
				t.Fatalf("seal: %v", err)
			}
			if padding {
				p, err := seal.PrefixLen(obj)
				if err != nil {
					t.Fatal(err)
				}
				if plain, err := seal.PlainSize(p, int64(len(obj))); err != nil || frame.Padme(plain) != plain {
					t.Errorf("%d bytes of plaintext, %v", plain, err)
				}
			}
			for _, id := range []age.Identity{a, b} {
				got, by, err := Open(sign.Index, obj, []age.Identity{id}, check)
				if err != nil || !bytes.Equal(got, body) || by != host.Author() {
					t.Fatalf("%d bytes: %d bytes by %v, %v", n, len(got), by, err)
				}
			}
			if n > 2*FrameSize {
				continue
			}
			r, err := NewReader(sign.Index, iotest.HalfReader(bytes.NewReader(obj)), []age.Identity{a}, check)
			if err != nil {
				t.Fatal(err)
			}
			if err := iotest.TestReader(r, body); err != nil && n < 2000 {
				t.Error(err)
			}
		}
	}
}

func TestChecks(t *testing.T) {
	id := identity(t)
	ids := []age.Identity{id}
	k := Keys{Signer: host, Recipients: []age.Recipient{id.Recipient()}}
	obj, _, err := Seal(sign.Snapshot, []byte("body"), k)
	if err != nil {
		t.Fatal(err)
	}
	full := Check{Repo: repo, Scope: scope, MAC: &mac, Author: author}
	with := func(change func(*Check)) Check {
		c := full
		change(&c)
		return c
	}
	for name, c := range map[string]struct {
		kind  sign.Kind
		check Check
		want  error
	}{
		"good":           {sign.Snapshot, full, nil},
		"mac only":       {sign.Snapshot, with(func(c *Check) { c.Author = nil }), nil},
		"signature only": {sign.Snapshot, with(func(c *Check) { c.MAC = nil }), nil},
		"neither":        {sign.Snapshot, with(func(c *Check) { c.MAC, c.Author = nil, nil }), ErrUnproven},
		"unknown author": {sign.Snapshot, with(func(c *Check) {
			c.MAC, c.Author = nil, func(sign.Author) (ed25519.PublicKey, bool) { return nil, false }
		}), ErrUnproven},
		"wrong kind":      {sign.Done, full, sign.ErrMAC},
		"wrong kind, sig": {sign.Done, with(func(c *Check) { c.MAC = nil }), sign.ErrSignature},
		"wrong repo":      {sign.Snapshot, with(func(c *Check) { c.Repo[0]++ }), sign.ErrMAC},
		"wrong scope":     {sign.Snapshot, with(func(c *Check) { c.Scope[0]++ }), sign.ErrMAC},
		"wrong mac":       {sign.Snapshot, with(func(c *Check) { c.MAC = new([32]byte) }), sign.ErrMAC},
		"wrong key":       {sign.Snapshot, with(func(c *Check) { c.Author = func(sign.Author) (ed25519.PublicKey, bool) { return root.Public(), true } }), sign.ErrAuthor},
		"not root":        {sign.Host, full, sign.ErrAuthor},
		"no kind":         {"pack", full, ErrKind},
	} {
		if _, _, err := Open(c.kind, obj, ids, c.check); !errors.Is(err, c.want) {
			t.Errorf("%s: %v, want %v", name, err, c.want)
		}
	}
	if _, _, err := Open(sign.Snapshot, obj, []age.Identity{identity(t)}, full); !errors.Is(err, seal.ErrNoIdentity) {
		t.Errorf("stranger: %v", err)
	}
	cert, _, err := Seal(sign.Host, []byte("certificate"), Keys{Signer: root, Recipients: k.Recipients})
	if err != nil {
		t.Fatal(err)
	}
	if _, by, err := Open(sign.Host, cert, ids, full); err != nil || !by.IsRoot() {
		t.Errorf("certificate: %v, %v", by, err)
	}
	if _, _, err := Open(sign.Host, cert, ids, with(func(c *Check) { c.Author = nil })); !errors.Is(err, ErrUnproven) {
		t.Errorf("certificate by MAC alone: %v", err)
	}
	if _, _, err := Seal(sign.Done, make([]byte, Limit(sign.Done)+1), k); !errors.Is(err, ErrLimit) {
		t.Errorf("too long a body: %v", err)
	}
}

// TestDamage changes and cuts an object everywhere.
func TestDamage(t *testing.T) {
	id := identity(t)
	obj, _, err := Seal(sign.State, text(500), Keys{Signer: host, Recipients: []age.Recipient{id.Recipient()}, Padding: true})
	if err != nil {
		t.Fatal(err)
	}
	check := Check{Repo: repo, Scope: scope, MAC: &mac}
	open := func(b []byte) error {
		_, _, err := Open(sign.State, b, []age.Identity{id}, check)
		return err
	}
	for i := range obj {
		obj[i] ^= 4
		if open(obj) == nil {
			t.Errorf("byte %d changed, and nothing said", i)
		}
		obj[i] ^= 4
		if err := open(obj[:i]); !errors.Is(err, seal.ErrCorrupt) {
			t.Errorf("cut to %d: %v", i, err)
		}
	}
	if open(append(bytes.Clone(obj), 0)) == nil {
		t.Error("a byte more, and nothing said")
	}
}

// sealPlain seals any plaintext.
func sealPlain(t testing.TB, id *age.X25519Identity, plain []byte) []byte {
	t.Helper()
	s, err := seal.Header(id.Recipient())
	if err != nil {
		t.Fatal(err)
	}
	return s.Seal(nil, plain, 1)
}

func proofFrame(kind sign.Kind, body []byte) []byte {
	p := host.Sign(kind, sha256.Sum256(body))
	return frame.AppendSkippable(nil, p.Append([]byte(sigTag)))
}

func TestHostilePlaintexts(t *testing.T) {
	id := identity(t)
	enc := frame.NewEncoder(frame.Fastest)
	body := []byte("body")
	content, proof := enc.Append(nil, body), proofFrame(sign.State, body)
	pad := frame.AppendSkippable(nil, []byte(frame.PadTag+"\x00\x00"))
	bomb := enc.Append(nil, make([]byte, 16<<20))
	join := func(parts ...[]byte) []byte { return bytes.Join(parts, nil) }
	rle := []byte{0x28, 0xb5, 0x2f, 0xfd, 0xa0, 1, 0, 0, 1, 3, 0, 0x10} // declares more than 16 MiB
	check := Check{Repo: repo, Scope: scope, MAC: &mac}
	if _, _, err := Open(sign.State, sealPlain(t, id, join(content, pad, proof)), []age.Identity{id}, check); err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		plain []byte
		want  error
	}{
		"empty":              {nil, ErrFormat},
		"no proof":           {content, ErrFormat},
		"no content":         {proof, ErrFormat},
		"proof first":        {join(proof, content), ErrFormat},
		"two proofs":         {join(content, proof, proof), ErrFormat},
		"two paddings":       {join(content, pad, pad, proof), ErrFormat},
		"padding first":      {join(pad, content, proof), ErrFormat},
		"content after":      {join(content, pad, content, proof), ErrFormat},
		"behind":             {join(content, proof, []byte{0}), ErrFormat},
		"unknown skippable":  {join(content, frame.AppendSkippable(nil, []byte("FIRNWHAT")), proof), ErrFormat},
		"short skippable":    {join(content, frame.AppendSkippable(nil, nil), proof), ErrFormat},
		"other magic":        {join(content, []byte{0x50, 0x2a, 0x4d, 0x18, 0, 0, 0, 0}, proof), ErrFormat},
		"long proof":         {join(content, frame.AppendSkippable(nil, append([]byte(sigTag), make([]byte, 200)...))), ErrFormat},
		"padding that lies":  {join(content, []byte{0x57, 0x2a, 0x4d, 0x18, 0xff, 0xff, 0xff, 0xff}, []byte(frame.PadTag)), ErrFormat},
		"bomb":               {join(bomb, bomb, proof), ErrLimit},
		"declared too large": {join(rle, proof), ErrLimit},
		"other body":         {join(content, content, proof), sign.ErrMAC},
		"not zstd":           {[]byte("plain text, and more of it"), ErrFormat},
	} {
		_, _, err := Open(sign.State, sealPlain(t, id, c.plain), []age.Identity{id}, check)
		if !errors.Is(err, c.want) {
			t.Errorf("%s: %v, want %v", name, err, c.want)
		}
	}
	rle[5] = 0 // declares 16 MiB, which its one block cannot hold
	if _, _, err := Open(sign.State, sealPlain(t, id, join(rle, proof)), []age.Identity{id}, check); !errors.Is(err, frame.ErrCorrupt) && !errors.Is(err, ErrFormat) {
		t.Errorf("declares more than it has: %v", err)
	}
}

// TestMemory streams a long body through both ways.
func TestMemory(t *testing.T) {
	id := identity(t)
	var object bytes.Buffer
	object.Grow(40 << 20)
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	w, err := NewWriter(sign.Index, &object, Keys{Signer: host, Recipients: []age.Recipient{id.Recipient()}})
	if err != nil {
		t.Fatal(err)
	}
	piece := make([]byte, 100_000)
	src := rand.NewChaCha8([32]byte{})
	for range 320 {
		_, _ = src.Read(piece)
		if _, err := w.Write(piece); err != nil {
			t.Fatal(err)
		}
	}
	if _, _, err := w.Close(); err != nil {
		t.Fatal(err)
	}
	r, err := NewReader(sign.Index, &object, []age.Identity{id}, Check{Repo: repo, Scope: scope, MAC: &mac})
	if err != nil {
		t.Fatal(err)
	}
	n, err := io.Copy(io.Discard, r)
	if err != nil || n != 32_000_000 {
		t.Fatalf("%d bytes, %v", n, err)
	}
	runtime.ReadMemStats(&after)
	if used := after.TotalAlloc - before.TotalAlloc; used > 52<<20 { // age's reader makes garbage of 64 KiB for each segment, 31 MiB in all
		t.Errorf("%d MiB allocated for 31 MiB of body", used>>20)
	}
}

// TestPrograms opens an envelope with age and zstd alone.
func TestPrograms(t *testing.T) {
	for _, p := range []string{"age", "zstd"} {
		if _, err := exec.LookPath(p); err != nil {
			if os.Getenv("CI") == "true" {
				t.Fatal(err)
			}
			t.Skip(err)
		}
	}
	id := identity(t)
	body := text(2*FrameSize + 77)
	obj, _, err := Seal(sign.Snapshot, body, Keys{Signer: host, Recipients: []age.Recipient{id.Recipient()}, Padding: true})
	if err != nil {
		t.Fatal(err)
	}
	key := filepath.Join(t.TempDir(), "key")
	if err := os.WriteFile(key, []byte(id.String()), 0o600); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command("age", "-d", "-i", key)
	cmd.Stdin = bytes.NewReader(obj)
	plain, err := cmd.Output()
	if err != nil {
		t.Fatal(err)
	}
	cmd = exec.Command("zstd", "-dc")
	cmd.Stdin = bytes.NewReader(plain)
	if got, err := cmd.Output(); err != nil || !bytes.Equal(got, body) {
		t.Errorf("%d bytes, %v", len(got), err)
	}
	// and what zstd writes, with a checksum and another block size, is read
	cmd = exec.Command("zstd", "-19", "-c", "--single-thread", "--no-progress", "--stream-size=1000")
	cmd.Stdin = bytes.NewReader(body[:1000])
	foreign, err := cmd.Output()
	if err != nil {
		t.Skip("zstd does not take --stream-size")
	}
	got, _, err := Open(sign.State, sealPlain(t, id, append(foreign, proofFrame(sign.State, body[:1000])...)), []age.Identity{id}, Check{Repo: repo, Scope: scope, MAC: &mac})
	if err != nil || !bytes.Equal(got, body[:1000]) {
		t.Errorf("written by zstd: %v", err)
	}
}

// FuzzPlaintext gives plaintexts to the reader, past the seal.
func FuzzPlaintext(f *testing.F) {
	enc := frame.NewEncoder(frame.Fastest)
	body := []byte("body")
	f.Add(bytes.Join([][]byte{enc.Append(nil, body), frame.AppendSkippable(nil, []byte(frame.PadTag)), proofFrame(sign.State, body)}, nil))
	f.Add(bytes.Join([][]byte{enc.Append(nil, nil), proofFrame(sign.State, nil)}, nil))
	f.Add(enc.Append(nil, make([]byte, 200_000)))
	id, err := age.GenerateX25519Identity()
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, plain []byte) {
		got, _, err := Open(sign.State, sealPlain(t, id, plain), []age.Identity{id}, Check{Repo: repo, Scope: scope, MAC: &mac})
		if err != nil {
			return
		}
		all, err := frame.DecodeAll(plain, MaxBody)
		if err != nil || !bytes.Equal(all, got) {
			t.Errorf("body %q, a zstd decoder reads %q, %v", got, all, err)
		}
	})
}
