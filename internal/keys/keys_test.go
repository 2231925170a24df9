package keys

import (
	"bytes"
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"os"
	"strings"
	"testing"
	"time"

	"filippo.io/age"
	"golang.org/x/crypto/ssh"
)

var (
	testRepo = RepoID{0xf1, 0x2a, 3}
	testTime = time.Date(2026, 11, 20, 10, 0, 0, 0, time.UTC)
)

func generate(t testing.TB, seal Seal) *Secrets {
	t.Helper()
	s, err := Generate(seal, testRepo, testTime)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func hostKey(t testing.TB, s *Secrets) *HostKey {
	t.Helper()
	h, err := s.NewHostKey("nas", "nas scope", Writer, testTime)
	if err != nil {
		t.Fatal(err)
	}
	return h
}

func TestVectors(t *testing.T) {
	raw, err := os.ReadFile("testdata/vectors/keys.json")
	if err != nil {
		t.Fatal(err)
	}
	var file struct{ Cases []map[string]any }
	if err := json.Unmarshal(raw, &file); err != nil || len(file.Cases) < 2 {
		t.Fatal(err)
	}
	for _, c := range file.Cases {
		want := func(name, got string) {
			t.Helper()
			if c[name] != got {
				t.Errorf("%s:\n got %s\nwant %s", name, got, c[name])
			}
		}
		bytesOf := func(name string) []byte { b, _ := hex.DecodeString(c[name].(string)); return b }
		master, repo := Secret(bytesOf("master")), RepoID(bytesOf("repository"))
		id := DeriveScopeID(&master, repo, c["scope_name"].(string))
		want("scope_id", id.String())
		s := DeriveScope(&master, repo, X25519, id)
		want("scope_secret", hex.EncodeToString(s.Secret[:]))
		want("gear_table", hex.EncodeToString(s.GearTable()))
		want("mac_key", fmt.Sprintf("%x", s.MACKey()))
		want("source_key", fmt.Sprintf("%x", s.SourceKey()))
		for _, e := range c["epochs"].([]any) {
			c := e.(map[string]any)
			epoch := uint32(c["epoch"].(float64))
			if c["chunk_key"] != fmt.Sprintf("%x", s.ChunkKey(epoch)) || c["list_key"] != fmt.Sprintf("%x", s.ListKey(epoch)) {
				t.Errorf("epoch %d", epoch)
			}
		}
		x, err := s.IndexIdentity()
		if err != nil {
			t.Fatal(err)
		}
		want("index_identity_x25519", x.Secret())
		want("index_recipient_x25519", x.Public())
		s.Seal = Hybrid
		h, err := s.IndexIdentity()
		if err != nil {
			t.Fatal(err)
		}
		want("index_identity_hybrid", h.Secret())
		if h.Seal() != Hybrid || !strings.HasPrefix(h.Public(), "age1pq1") {
			t.Error(h.Public())
		}
	}
}

func TestBech32(t *testing.T) {
	for range 200 {
		id, err := age.GenerateX25519Identity()
		if err != nil {
			t.Fatal(err)
		}
		hrp, data, err := bech32Decode(id.String())
		if err != nil || hrp != "age-secret-key-" || len(data) != 32 {
			t.Fatal(hrp, err)
		}
		mine, err := identityFromBytes(X25519, data)
		if err != nil || mine.Secret() != id.String() || mine.Public() != id.Recipient().String() {
			t.Fatal(err)
		}
	}
	id, err := age.GenerateHybridIdentity()
	if err != nil {
		t.Fatal(err)
	}
	_, data, err := bech32Decode(id.String())
	if err != nil || len(data) != 32 {
		t.Fatal(err)
	}
	if mine, err := identityFromBytes(Hybrid, data); err != nil || mine.Public() != id.Recipient().String() {
		t.Fatal(err)
	}
	r := rand.New(rand.NewPCG(1, 1))
	for n := range 100 {
		data := make([]byte, n)
		for i := range data {
			data[i] = byte(r.Uint32())
		}
		text := bech32Encode("x1y", data)
		hrp, got, err := bech32Decode(strings.ToUpper(text))
		if err != nil || hrp != "x1y" || !bytes.Equal(got, data) {
			t.Fatalf("%d bytes: %v", n, err)
		}
		bad := []byte(text)
		i := 4 + r.IntN(len(bad)-4)
		bad[i] = bech32Charset[(strings.IndexByte(bech32Charset, bad[i])+1+r.IntN(30))%32]
		if _, _, err := bech32Decode(string(bad)); err == nil {
			t.Fatalf("wrong character %d of %q accepted", i, bad)
		}
	}
}

func FuzzBech32(f *testing.F) {
	f.Add("AGE-SECRET-KEY-1GFPYYSJZGFPYYSJZGFPYYSJZGFPYYSJZGFPYYSJZGFPYYSJZGFPQ4EGAEX")
	f.Add("a1qqqqqqq")
	f.Fuzz(func(t *testing.T, text string) {
		hrp, data, err := bech32Decode(text)
		if err == nil && bech32Encode(hrp, data) != strings.ToLower(text) {
			t.Fatal("not canonical")
		}
	})
}

func TestSecretsRoundTrip(t *testing.T) {
	for _, seal := range []Seal{X25519, Hybrid} {
		s := generate(t, seal)
		if err := s.AddGeneration(seal, testTime.Add(time.Hour)); err != nil {
			t.Fatal(err)
		}
		text, err := s.Marshal()
		if err != nil {
			t.Fatal(err)
		}
		got, err := ParseSecrets(text)
		if err != nil {
			t.Fatal(err)
		}
		if got.Master != s.Master || got.RootSeed != s.RootSeed || got.Repository != s.Repository || len(got.Generations) != 2 || got.Seal() != seal {
			t.Fatal("not the same")
		}
		for i, g := range got.Generations {
			if g.Identity.Secret() != s.Generations[i].Identity.Secret() || !g.Created.Equal(s.Generations[i].Created) || g.Number != i+1 {
				t.Fatalf("generation %d", i)
			}
		}
		if got.Newest().Secret() != s.Generations[1].Identity.Secret() || len(got.DataIdentities()) != 2 {
			t.Fatal("newest")
		}
		again, _ := got.Marshal()
		if !bytes.Equal(text, again) {
			t.Fatal("other text")
		}
		if ids, err := age.ParseIdentities(bytes.NewReader(text)); err != nil || len(ids) != 2 {
			t.Fatalf("age does not read the key file: %v", err)
		}
		if _, err := ParseHostKey(text); !errors.Is(err, ErrNotKeyFile) {
			t.Fatal(err)
		}
	}
}

func TestSecretsRefused(t *testing.T) {
	s := generate(t, X25519)
	text, _ := s.Marshal()
	lines := strings.SplitAfter(string(text), "\n")
	id := lines[3]
	for name, bad := range map[string]string{
		"empty":          "",
		"no identity":    strings.Join(lines[:3], ""),
		"two identities": string(text) + id,
		"no secrets":     lines[0] + id,
		"two secrets":    lines[0] + lines[1] + lines[1] + id,
		"base64":         strings.Replace(string(text), "firn-secrets: ", "firn-secrets: !", 1),
		"json":           lines[0] + "# firn-secrets: e30=\n" + id,
		"null":           lines[0] + "# firn-secrets: bnVsbA==\n" + id,
		"bad identity":   lines[0] + lines[1] + strings.Replace(id, "1", "1A", 1),
		"too long":       string(text) + strings.Repeat("#\n", maxKeyFile/2),
	} {
		_, err := ParseSecrets([]byte(bad))
		if err == nil {
			t.Errorf("%s: accepted", name)
		} else if strings.Contains(err.Error(), strings.TrimSpace(id)[20:40]) {
			t.Errorf("%s: the error tells the secret", name)
		}
	}
	var newer *VersionError
	if _, err := ParseSecrets([]byte("# firn-secrets: eyJ2ZXJzaW9uIjoyfQ==\n" + id)); !errors.As(err, &newer) {
		t.Error(err)
	}
	if _, err := (&Secrets{}).Marshal(); err == nil {
		t.Error("incomplete secrets marshalled")
	}
}

func TestHostKeyRoundTrip(t *testing.T) {
	for _, seal := range []Seal{X25519, Hybrid} {
		s := generate(t, seal)
		h := hostKey(t, s)
		text, err := h.Marshal()
		if err != nil {
			t.Fatal(err)
		}
		got, err := ParseHostKey(text)
		if err != nil {
			t.Fatal(err)
		}
		again, err := got.Marshal()
		if err != nil || !bytes.Equal(text, again) || got.Seal() != seal || got.ScopeSecret != h.ScopeSecret {
			t.Fatal("not the same", err)
		}
		if a, b := got.Scope(), s.Scope(s.ScopeID("nas scope")); *a != *b {
			t.Fatal("the host derives another scope than recovery does")
		}
		if got.Signer().Author() != h.Host || s.RootSigner(h.ScopeID).Author() != (HostID{}) {
			t.Fatal("authors")
		}
		if bytes.Contains(text, []byte(s.Newest().Secret())) {
			t.Fatal("the host knows D")
		}
		if _, err := ParseSecrets(text); !errors.Is(err, ErrNotKeyFile) {
			t.Fatal(err)
		}
		for what, spoil := range map[string]func(*HostKey){
			"name":       func(h *HostKey) { h.Name = "other" },
			"scope":      func(h *HostKey) { h.ScopeID[0]++ },
			"scope name": func(h *HostKey) { h.ScopeName += "x" },
			"seed":       func(h *HostKey) { h.SignSeed = NewSecret() },
			"root":       func(h *HostKey) { h.Root = generate(t, seal).RootPublic() },
			"repository": func(h *HostKey) { h.Repository[0]++ },
			"signature":  func(h *HostKey) { h.CertificateSignature[0]++ },
			"identity":   func(h *HostKey) { h.Identity, _ = GenerateIdentity(seal) },
			"recipients": func(h *HostKey) { h.DataRecipients = nil },
			"recipient":  func(h *HostKey) { h.DataRecipients[0].Recipient = "age1x" },
			"order":      func(h *HostKey) { h.DataRecipients = append(h.DataRecipients, h.DataRecipients[0]) },
		} {
			bad, _ := ParseHostKey(text)
			spoil(bad)
			if _, err := bad.Marshal(); err == nil {
				t.Errorf("wrong %s accepted", what)
			}
		}
		if err := s.AddGeneration(seal, testTime); err != nil {
			t.Fatal(err)
		}
		got.SetDataRecipients(s)
		if fmt.Sprint(got.DataRecipient()) != s.Newest().Public() {
			t.Fatal("newest recipient")
		}
	}
}

func TestCertificates(t *testing.T) {
	s := generate(t, X25519)
	h := hostKey(t, s)
	c, err := VerifyCertificate(s.RootPublic(), testRepo, h.Certificate, h.CertificateSignature)
	if err != nil || c.Host != h.Host || c.Role != Writer || !c.Created.Equal(testTime) {
		t.Fatal(c, err)
	}
	var wrong *CertificateError
	for n := range h.Certificate {
		bad := bytes.Clone(h.Certificate)
		bad[n] ^= 1
		if _, err := VerifyCertificate(s.RootPublic(), testRepo, bad, h.CertificateSignature); err == nil {
			t.Fatalf("byte %d changed: accepted", n)
		}
	}
	if _, err := VerifyCertificate(s.RootPublic(), RepoID{1}, h.Certificate, h.CertificateSignature); !errors.As(err, &wrong) {
		t.Fatal(err)
	}
	if _, err := VerifyCertificate(h.SignPublic(), testRepo, h.Certificate, h.CertificateSignature); !errors.As(err, &wrong) {
		t.Fatal(err)
	}
	if _, err := VerifyCertificate(nil, testRepo, h.Certificate, h.CertificateSignature); !errors.As(err, &wrong) {
		t.Fatal(err)
	}
	proof := s.RootSigner(h.ScopeID).Sign("host", sum256(h.Certificate))
	if !bytes.Equal(proof.Sig[:], h.CertificateSignature) {
		t.Fatal("the envelope of hosts/<host> would have another signature")
	}
	for what, spoil := range map[string]func(*Certificate){
		"id":    func(c *Certificate) { c.Host[0]++ },
		"name":  func(c *Certificate) { c.Name = "a\nb" },
		"empty": func(c *Certificate) { c.Name = "" },
		"role":  func(c *Certificate) { c.Role = "root" },
		"age":   func(c *Certificate) { c.Age = "age1x" },
		"scope": func(c *Certificate) { c.Scope[1]++ },
		"key":   func(c *Certificate) { c.Sign = c.Sign[1:] },
	} {
		bad := *c
		spoil(&bad)
		if _, _, err := s.Certify(&bad); !errors.As(err, &wrong) {
			t.Errorf("wrong %s: %v", what, err)
		}
	}
}

func TestRevocations(t *testing.T) {
	s := generate(t, X25519)
	h := hostKey(t, s)
	body, sig, err := s.Revoke(h.ScopeID, &Revocation{h.Host, testTime, "stolen"})
	if err != nil {
		t.Fatal(err)
	}
	r, err := VerifyRevocation(s.RootPublic(), testRepo, h.ScopeID, body, sig)
	if err != nil || r.Host != h.Host || r.Reason != "stolen" || !r.Time.Equal(testTime) {
		t.Fatal(r, err)
	}
	if _, err := VerifyRevocation(s.RootPublic(), testRepo, ScopeID{}, body, sig); err == nil {
		t.Fatal("wrong scope accepted")
	}
	if _, err := VerifyCertificate(s.RootPublic(), testRepo, body, sig); err == nil {
		t.Fatal("a revocation is no certificate")
	}
	if _, err := VerifyRevocation(s.RootPublic(), testRepo, h.ScopeID, h.Certificate, h.CertificateSignature); err == nil {
		t.Fatal("a certificate is no revocation")
	}
	if _, _, err := s.Revoke(h.ScopeID, &Revocation{Reason: strings.Repeat("x", 5000)}); err == nil {
		t.Fatal("long reason accepted")
	}
}

func TestMeta(t *testing.T) {
	s := generate(t, X25519)
	m := &Meta{NewKeyID(), "Anna's <phone> & laptop", TypeX25519, s.Newest().Public(), testTime}
	raw, err := m.Marshal(s.Root())
	if err != nil {
		t.Fatal(err)
	}
	for _, root := range []ed25519.PublicKey{s.RootPublic(), nil} {
		if got, err := ParseMeta(raw, root); err != nil || *got != *m {
			t.Fatalf("%+v, %v", got, err)
		}
	}
	if _, err := ParseMeta(bytes.Replace(raw, []byte("phone"), []byte("ph0ne"), 1), s.RootPublic()); err == nil {
		t.Fatal("changed label accepted")
	}
	if _, err := ParseMeta(raw, generate(t, X25519).RootPublic()); err == nil {
		t.Fatal("other root key accepted")
	}
	for _, bad := range []Meta{
		{Label: "", Type: TypeSSH, Recipient: "x"}, {Label: "x", Type: "odd", Recipient: "x"},
		{Label: "x", Type: TypePassphrase, Recipient: "x"}, {Label: "x", Type: TypeSSH}, {Label: "a\x1b[2Jb", Type: TypeSSH, Recipient: "x"},
	} {
		if _, err := bad.Marshal(s.Root()); err == nil {
			t.Errorf("%+v accepted", bad)
		}
	}
}

// TestNothingPrintsSecrets looks for every secret in what fmt, JSON and slog make of the values that hold them.
func TestNothingPrintsSecrets(t *testing.T) {
	for _, seal := range []Seal{X25519, Hybrid} {
		s := generate(t, seal)
		h := hostKey(t, s)
		scope := h.Scope()
		pass := []byte("correct horse battery staple")
		to, err := Passphrase(pass, MinWork)
		if err != nil {
			t.Fatal(err)
		}
		id, _ := PassphraseIdentity(pass)
		block, err := ssh.MarshalPrivateKey(ed25519.NewKeyFromSeed(h.SignSeed[:]), "")
		if err != nil {
			t.Fatal(err)
		}
		sshID, err := newSSHIdentity(pem.EncodeToMemory(block))
		if err != nil {
			t.Fatal(err)
		}
		values := []any{
			s, *s, &s, h, *h, scope, *scope, s.Master, &s.Master, s.Generations, s.Generations[0], s.Newest(), to, *to, to.Age(), id, sshID,
			[]any{s, h}, map[string]any{"a": s.Master, "b": s.Newest()}, struct{ A *Secrets }{s}, struct{ B Secret }{s.Master}, []age.Identity{s.Newest(), id, sshID},
		}
		hidden := []string{s.Newest().Secret()[20:40], h.Identity.Secret()[20:40], string(pass[:12])}
		for _, b := range [][]byte{s.Master[:], s.RootSeed[:], scope.Secret[:], h.SignSeed[:], pass} {
			hidden = append(hidden, string(b), hex.EncodeToString(b)[:12], strings.ToUpper(hex.EncodeToString(b)[:12]),
				strings.Trim(fmt.Sprint(b[:6]), "[]"), fmt.Sprintf("%#v", b[:3])[7:20])
		}
		for i, v := range values {
			var log bytes.Buffer
			slog.New(slog.NewJSONHandler(&log, nil)).Info("x", "v", v)
			slog.New(slog.NewTextHandler(&log, nil)).Info("x", "v", v)
			all := log.String()
			for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%X", "%d", "%T %v"} {
				all += fmt.Sprintf(strings.Replace(verb, "%T ", "", 1), v) + "\n"
			}
			j, _ := json.Marshal(v)
			all += string(j)
			for _, secret := range hidden {
				if strings.Contains(all, secret) {
					t.Errorf("value %d (%T) shows %q in:\n%.600s", i, v, secret, all)
				}
			}
		}
		if fmt.Sprint(s) != redacted || fmt.Sprintf("%v %s", h, s.Master) != "redacted redacted" || fmt.Sprintf("%x", *s) != redacted {
			t.Error("want the word redacted")
		}
		s.Wipe()
		h.Wipe()
		if !s.Master.IsZero() || !s.RootSeed.IsZero() || !h.SignSeed.IsZero() || !h.ScopeSecret.IsZero() {
			t.Error("not wiped")
		}
	}
}

func TestIDs(t *testing.T) {
	if id, err := ParseKeyID(NewKeyID().String()); err != nil || id == (KeyID{}) {
		t.Fatal(err)
	}
	for _, bad := range []string{"", "123", "123456789012345g", "ABCDEF0123456789", "0123456789abcdef0"} {
		if _, err := ParseScopeID(bad); err == nil {
			t.Errorf("%q accepted", bad)
		}
	}
}

func FuzzKeyFiles(f *testing.F) {
	s := generate(f, X25519)
	a, _ := s.Marshal()
	b, _ := hostKey(f, s).Marshal()
	f.Add(a)
	f.Add(b)
	f.Add([]byte("# firn-secrets: e30=\nAGE-SECRET-KEY-1"))
	f.Add([]byte("# firn-host-key: e30=\n"))
	f.Fuzz(func(t *testing.T, text []byte) {
		if s, err := ParseSecrets(text); err == nil {
			if _, err := s.Marshal(); err != nil && !s.Master.IsZero() && !s.RootSeed.IsZero() {
				t.Fatal(err)
			}
		}
		if h, err := ParseHostKey(text); err == nil {
			if _, err := h.Marshal(); err != nil {
				t.Fatal(err)
			}
		}
	})
}

func FuzzBodies(f *testing.F) {
	s := generate(f, X25519)
	h := hostKey(f, s)
	f.Add(h.Certificate)
	m, _ := (&Meta{NewKeyID(), "x", TypePassphrase, "", testTime}).Marshal(s.Root())
	f.Add(m)
	r, _ := (&Revocation{h.Host, testTime, "x"}).Body()
	f.Add(r)
	f.Fuzz(func(t *testing.T, raw []byte) {
		if c, err := ParseCertificate(raw); err == nil {
			if _, err := c.Body(); err != nil {
				t.Fatal(err)
			}
		}
		if r, err := ParseRevocation(raw); err == nil {
			if _, err := r.Body(); err != nil {
				t.Fatal(err)
			}
		}
		_, _ = ParseMeta(raw, nil)
		_, _ = ParseMeta(raw, s.RootPublic())
	})
}

func sum256(b []byte) [32]byte { return sha256.Sum256(b) }
