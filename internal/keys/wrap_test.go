package keys

import (
	"bytes"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"filippo.io/age"
	"filippo.io/age/armor"
	"filippo.io/age/plugin"
	"golang.org/x/crypto/ssh"
)

func passphrase(t testing.TB, text string) (*Recipient, age.Identity) {
	t.Helper()
	r, err := Passphrase([]byte(text), MinWork)
	if err != nil {
		t.Fatal(err)
	}
	id, err := PassphraseIdentity([]byte(text))
	if err != nil {
		t.Fatal(err)
	}
	return r, id
}

func recipient(t testing.TB, text string) *Recipient {
	t.Helper()
	r, err := ParseRecipient(text, nil)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func wrap(t testing.TB, s *Secrets, r *Recipient) []byte {
	t.Helper()
	object, err := Wrap(s, r)
	if err != nil {
		t.Fatal(err)
	}
	return object
}

func sameSecrets(t testing.TB, a, b *Secrets) {
	t.Helper()
	x, err := a.Marshal()
	if err != nil {
		t.Fatal(err)
	}
	if y, err := b.Marshal(); err != nil || !bytes.Equal(x, y) {
		t.Fatal("other secrets came back", err)
	}
}

// sshKeys returns the PEM of a private key and its line for authorized_keys.
func sshKeys(t testing.TB, key any, pass string) (private []byte, public string) {
	t.Helper()
	signer, err := ssh.NewSignerFromKey(key)
	if err != nil {
		t.Fatal(err)
	}
	var block *pem.Block
	if pass == "" {
		block, err = ssh.MarshalPrivateKey(key, "comment")
	} else {
		block, err = ssh.MarshalPrivateKeyWithPassphrase(key, "comment", []byte(pass))
	}
	if err != nil {
		t.Fatal(err)
	}
	return pem.EncodeToMemory(block), strings.TrimSpace(string(ssh.MarshalAuthorizedKey(signer.PublicKey()))) + " a comment"
}

func readMap(files map[string]string) func(string) ([]byte, error) {
	return func(path string) ([]byte, error) {
		if text, ok := files[path]; ok {
			return []byte(text), nil
		}
		return nil, os.ErrNotExist
	}
}

func TestWrapRoundTrip(t *testing.T) {
	s := generate(t, X25519)
	rsaKey, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	_, edKey, _ := ed25519.GenerateKey(rand.Reader)
	rsaPEM, rsaPub := sshKeys(t, rsaKey, "")
	edPEM, edPub := sshKeys(t, edKey, "")
	lockedPEM, _ := sshKeys(t, edKey, "ssh pass")
	oldPEM := pem.EncodeToMemory(&pem.Block{Type: "RSA PRIVATE KEY", Bytes: x509.MarshalPKCS1PrivateKey(rsaKey)})
	native, _ := GenerateIdentity(X25519)
	pq, _ := GenerateIdentity(Hybrid)
	files := map[string]string{
		"rsa": string(rsaPEM), "ed": string(edPEM), "locked": string(lockedPEM), "old": string(oldPEM),
		"native": "# comment\n\n" + native.Secret() + "\r\n", "pq": pq.Secret(),
	}
	asked := 0
	reading := Reading{ReadFile: readMap(files), Passphrase: func(string) ([]byte, error) { asked++; return []byte("ssh pass"), nil }}
	for _, c := range []struct {
		to   string
		kind Type
		ids  []string
	}{
		{rsaPub, TypeSSH, []string{"rsa", "old"}}, {edPub, TypeSSH, []string{"ed", "locked"}},
		{native.Public(), TypeX25519, []string{"native"}}, {pq.Public(), TypeHybrid, []string{"pq"}},
	} {
		r := recipient(t, c.to)
		if r.Type() != c.kind || !strings.HasPrefix(c.to, r.Public()) {
			t.Fatal(r.Type(), r.Public())
		}
		object := wrap(t, s, r)
		for name := range files {
			ids, err := ParseIdentities(name, reading)
			if err != nil {
				t.Fatal(name, err)
			}
			got, err := Unwrap(object, ids...)
			switch fits := strings.Contains(strings.Join(c.ids, " "), name); {
			case fits && err != nil:
				t.Fatalf("%s for %s: %v", name, c.to, err)
			case fits:
				sameSecrets(t, s, got)
			case !errors.Is(err, ErrNoKey):
				t.Fatalf("%s opens what is for %s: %v", name, c.to, err)
			}
		}
	}
	if asked != 1 {
		t.Fatalf("asked %d times for the passphrase of the ssh key, want only when it fits", asked)
	}
}

func TestPassphrases(t *testing.T) {
	s := generate(t, Hybrid)
	a, idA := passphrase(t, "a")
	b, idB := passphrase(t, "b")
	_, wrong := passphrase(t, "c")
	pq, _ := GenerateIdentity(Hybrid)
	objects := []Wrapped{{NewKeyID(), wrap(t, s, a)}, {NewKeyID(), wrap(t, s, b)}, {NewKeyID(), wrap(t, s, recipient(t, pq.Public()))}}
	for i, id := range []age.Identity{idA, idB, pq} {
		got, key, err := UnwrapAny(objects, id)
		if err != nil || key != objects[i].Key {
			t.Fatal(i, err)
		}
		sameSecrets(t, s, got)
	}
	counting := &countingIdentity{Identity: wrong}
	if _, _, err := UnwrapAny(objects, counting); !errors.Is(err, ErrNoKey) || counting.n != 3 {
		t.Fatalf("wrong passphrase: %v, tried on %d", err, counting.n)
	}
	broken := append([]Wrapped{{NewKeyID(), []byte("rubbish")}}, objects...)
	if _, _, err := UnwrapAny(broken, idB); err != nil {
		t.Fatal("a damaged key hides the others:", err)
	}
	if _, _, err := UnwrapAny(broken, wrong); !errors.Is(err, ErrNoKey) || !strings.Contains(err.Error(), broken[0].Key.String()) {
		t.Fatal(err)
	}
	for _, work := range []int{9, 23, -1} {
		if _, err := Passphrase([]byte("x"), work); err == nil {
			t.Error("work factor", work)
		}
	}
	if _, err := Passphrase(nil, 0); !errors.Is(err, ErrEmptyPassphrase) {
		t.Error(err)
	}
	if _, err := PassphraseIdentity(nil); !errors.Is(err, ErrEmptyPassphrase) {
		t.Error(err)
	}
}

type countingIdentity struct {
	age.Identity
	n int
}

func (c *countingIdentity) Unwrap(s []*age.Stanza) ([]byte, error) {
	c.n++
	return c.Identity.Unwrap(s)
}

func TestWrapDamage(t *testing.T) {
	s := generate(t, X25519)
	id, _ := GenerateIdentity(X25519)
	object := wrap(t, s, recipient(t, id.Public()))
	for n := range object {
		bad := bytes.Clone(object)
		bad[n] ^= 1
		if _, err := Unwrap(bad, id); err == nil {
			t.Fatalf("byte %d changed: opened", n)
		}
		if _, err := Unwrap(object[:n], id); err == nil {
			t.Fatalf("cut at %d: opened", n)
		}
	}
	if _, err := Unwrap(make([]byte, maxKeyFile+1), id); err == nil {
		t.Fatal("too long")
	}
}

func TestHybridRefusesClassic(t *testing.T) {
	s := generate(t, Hybrid)
	_, edKey, _ := ed25519.GenerateKey(rand.Reader)
	_, edPub := sshKeys(t, edKey, "")
	x, _ := GenerateIdentity(X25519)
	for _, text := range []string{x.Public(), edPub, plugin.EncodeRecipient("foo", []byte("data"))} {
		var classic *ClassicRecipientError
		if _, err := Wrap(s, recipient(t, text)); !errors.As(err, &classic) {
			t.Errorf("%.20s: %v", text, err)
		}
	}
	// A repository that went over to hybrid keys keeps old ones: still no classic recipient.
	mixed := generate(t, X25519)
	_ = mixed.AddGeneration(Hybrid, testTime)
	if _, err := Wrap(mixed, recipient(t, x.Public())); err == nil {
		t.Error("mixed generations wrapped for a classic recipient")
	}
}

func TestParseRecipients(t *testing.T) {
	x, _ := GenerateIdentity(X25519)
	pq, _ := GenerateIdentity(Hybrid)
	_, edKey, _ := ed25519.GenerateKey(rand.Reader)
	private, edPub := sshKeys(t, edKey, "")
	r := Reading{ReadFile: readMap(map[string]string{
		"list": "# mine\n" + x.Public() + "\n\n  " + pq.Public() + "  \r\n" + edPub + "\n" + plugin.EncodeRecipient("foo", []byte("data")), "empty": "# nothing\n",
		"secret": "\n" + x.Secret(), "key.pub": edPub, "bad": x.Public() + "\nwhat\n", "pem": string(private),
	})}
	for arg, want := range map[string]string{
		x.Public(): "x25519", pq.Public(): "hybrid", edPub: "ssh", "list": "x25519 hybrid ssh plugin", "@list": "x25519 hybrid ssh plugin", "key.pub": "ssh",
		plugin.EncodeRecipient("yubikey", []byte{1}): "plugin",
	} {
		list, err := ParseRecipients(arg, r)
		var got []string
		for _, one := range list {
			got = append(got, string(one.Type()))
		}
		if err != nil || strings.Join(got, " ") != want {
			t.Errorf("%.30q: %v, %v", arg, got, err)
		}
	}
	for arg, want := range map[string]error{
		x.Secret(): ErrSecretGiven, strings.ToLower(x.Secret()): ErrSecretGiven, "secret": ErrSecretGiven, "pem": ErrSecretGiven, "@empty": ErrEmptyList,
		"https://github.com/anna.keys": ErrURL, "github:anna": ErrURL, "nofile": os.ErrNotExist,
	} {
		_, err := ParseRecipients(arg, r)
		if !errors.Is(err, want) {
			t.Errorf("%.30q: %v, want %v", arg, err, want)
		}
		if err != nil && strings.Contains(strings.ToUpper(err.Error()), x.Secret()[20:40]) {
			t.Errorf("the error tells the secret: %v", err)
		}
	}
	var at *RecipientError
	if _, err := ParseRecipients("bad", r); !errors.As(err, &at) || at.Line != 2 || at.File != "bad" {
		t.Error(err)
	}
	for _, bad := range []string{"age1", "age1pq1xxx", x.Public()[:40], x.Public() + "q", "ssh-ed25519 AAAA", "ssh-dss AAAAB3NzaC1kc3M=", edPub + "\n" + edPub} {
		if _, err := ParseRecipient(bad, nil); err == nil {
			t.Errorf("%.30q accepted", bad)
		}
	}
	weak, _ := rsa.GenerateKey(rand.Reader, 1024)
	if weak != nil {
		if _, weakPub := sshKeys(t, weak, ""); weakPub != "" {
			if _, err := ParseRecipient(weakPub, nil); err == nil {
				t.Error("1024-bit RSA accepted")
			}
		}
	}
}

func TestParseIdentities(t *testing.T) {
	x, _ := GenerateIdentity(X25519)
	pass, _ := passphrase(t, "file pass")
	var plain, armored bytes.Buffer
	w, _ := age.Encrypt(&plain, pass.Age())
	fmt.Fprintf(w, "%s\n", x.Secret())
	w.Close()
	a := armor.NewWriter(&armored)
	_, _ = a.Write(plain.Bytes())
	a.Close()
	plug := plugin.EncodeIdentity("foo", []byte("data"))
	files := map[string]string{
		"enc": plain.String(), "arm": armored.String(), "plug": plug + "\n" + x.Secret(), "empty": "#\n", "public": x.Public(), "bad": x.Secret() + "\n" + x.Secret()[:70] + "\n",
		"pem": "-----BEGIN OPENSSH PRIVATE KEY-----\nAAAA\n-----END OPENSSH PRIVATE KEY-----\n",
	}
	r := Reading{ReadFile: readMap(files), Passphrase: func(file string) ([]byte, error) { return []byte("file pass"), nil }}
	for name, n := range map[string]int{"enc": 1, "arm": 1, "plug": 2} {
		if ids, err := ParseIdentities(name, r); err != nil || len(ids) != n {
			t.Errorf("%s: %d, %v", name, len(ids), err)
		}
	}
	if _, err := ParseIdentities("enc", Reading{ReadFile: r.ReadFile}); !errors.Is(err, ErrNeedsPassphrase) {
		t.Error(err)
	}
	if _, err := ParseIdentities("empty", r); !errors.Is(err, ErrNoIdentity) {
		t.Error(err)
	}
	for _, name := range []string{"public", "bad", "pem", "none"} {
		_, err := ParseIdentities(name, r)
		var at *IdentityError
		if !errors.As(err, &at) || at.File != name || strings.Contains(err.Error(), x.Secret()[20:40]) {
			t.Errorf("%s: %v", name, err)
		}
		if name == "bad" && at.Line != 2 {
			t.Error(at.Line)
		}
	}
}

func FuzzRecipients(f *testing.F) {
	x, _ := GenerateIdentity(X25519)
	_, edKey, _ := ed25519.GenerateKey(rand.Reader)
	private, edPub := sshKeys(f, edKey, "")
	f.Add(x.Public() + "\n" + edPub)
	f.Add(x.Secret())
	f.Add(string(private))
	f.Add(plugin.EncodeRecipient("foo", []byte("data")))
	f.Fuzz(func(t *testing.T, text string) {
		r := Reading{ReadFile: readMap(map[string]string{"f": text}), Passphrase: func(string) ([]byte, error) { return nil, os.ErrPermission }}
		list, err := ParseRecipients("@f", r)
		if err == nil && len(list) == 0 {
			t.Fatal("neither recipients nor an error")
		}
		for _, one := range list {
			if again, err := ParseRecipient(one.Public(), nil); err != nil || again.Public() != one.Public() {
				t.Fatal("what it prints does not parse", err)
			}
		}
		_, _ = ParseIdentities("f", r)
	})
}

// tool returns the path of a program that judges, or skips.
func tool(t *testing.T, name string) string {
	t.Helper()
	path, err := exec.LookPath(name)
	if err != nil {
		if os.Getenv("CI") == "true" {
			t.Fatalf("%s is not installed", name)
		}
		t.Skipf("%s is not installed", name)
	}
	return path
}

// TestAgeProgram lets the age program open what Wrap made, and Unwrap what age made, with native and SSH keys.
func TestAgeProgram(t *testing.T) {
	program := tool(t, "age")
	keygen := tool(t, "ssh-keygen")
	dir := t.TempDir()
	s := generate(t, X25519)
	want, _ := s.Marshal()
	native, _ := GenerateIdentity(X25519)
	if err := os.WriteFile(filepath.Join(dir, "native"), []byte(native.Secret()+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	recipients := map[string]string{"native": native.Public()}
	for _, kind := range []string{"ed25519", "rsa"} {
		path := filepath.Join(dir, kind)
		if out, err := exec.Command(keygen, "-q", "-t", kind, "-N", "", "-f", path).CombinedOutput(); err != nil {
			t.Fatalf("%v: %s", err, out)
		}
		pub, err := os.ReadFile(path + ".pub")
		if err != nil {
			t.Fatal(err)
		}
		recipients[kind] = strings.TrimSpace(string(pub))
	}
	for name, to := range recipients {
		id := filepath.Join(dir, name)
		object := filepath.Join(dir, name+".age")
		if err := os.WriteFile(object, wrap(t, s, recipient(t, to)), 0o600); err != nil {
			t.Fatal(err)
		}
		got, err := exec.Command(program, "-d", "-i", id, object).Output()
		if err != nil || !bytes.Equal(got, want) {
			t.Fatalf("age opens %s: %v", name, err)
		}
		cmd := exec.Command(program, "-r", to)
		cmd.Stdin = bytes.NewReader(want)
		made, err := cmd.Output()
		if err != nil {
			t.Fatal(err)
		}
		ids, err := ParseIdentities(id, Reading{ReadFile: os.ReadFile})
		if err != nil {
			t.Fatal(err)
		}
		back, err := Unwrap(made, ids...)
		if err != nil {
			t.Fatalf("open what age made for %s: %v", name, err)
		}
		sameSecrets(t, s, back)
	}
	// What is in the object is an identity file that opens what is sealed to the data recipient.
	cmd := exec.Command(program, "-r", s.Newest().Public())
	cmd.Stdin = strings.NewReader("content")
	sealed, err := cmd.Output()
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "d.key"), want, 0o600); err != nil {
		t.Fatal(err)
	}
	cmd = exec.Command(program, "-d", "-i", filepath.Join(dir, "d.key"))
	cmd.Stdin = bytes.NewReader(sealed)
	if got, err := cmd.Output(); err != nil || string(got) != "content" {
		t.Fatalf("%q, %v", got, err)
	}
}

// TestScryptMemory shows that scrypt's memory is given back: several keys cost the memory of one.
func TestScryptMemory(t *testing.T) {
	s := generate(t, X25519)
	r, err := Passphrase([]byte("a"), DefaultWork)
	if err != nil {
		t.Fatal(err)
	}
	start := time.Now()
	object := wrap(t, s, r)
	t.Logf("one run: %v", time.Since(start))
	_, wrong := passphrase(t, "b")
	objects := []Wrapped{{NewKeyID(), object}, {NewKeyID(), object}, {NewKeyID(), object}}
	if _, _, err := UnwrapAny(objects, wrong); !errors.Is(err, ErrNoKey) {
		t.Fatal(err)
	}
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	if held := m.HeapSys - m.HeapReleased; held > 40<<20 {
		t.Fatalf("%d MiB still held", held>>20)
	}
	if m.HeapSys > 150<<20 {
		t.Fatalf("the heap grew to %d MiB", m.HeapSys>>20)
	}
}
