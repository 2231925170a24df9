package keys

import (
	"crypto/ecdh"
	"crypto/ed25519"
	"crypto/hkdf"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/sha512"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"math/big"
	"slices"

	"filippo.io/age"
	"golang.org/x/crypto/chacha20poly1305"
	"golang.org/x/crypto/ssh"
)

// The SSH recipients of age (age-encryption.org/v1, "ssh-rsa" and "ssh-ed25519" stanzas), read and written by the age program with -R and -i.
//
//	-> ssh-ed25519 <tag> <share>    tag: first 4 bytes of SHA-256 of the SSH wire form of the public key; base64 without padding
//	<body>                          share: ephemeral X25519 public key
//	-> ssh-rsa <tag>
//	<body>                          RSAES-OAEP with SHA-256 and the label "age-encryption.org/v1/ssh-rsa"
//
// ssh-ed25519: peer is the Curve25519 form of the public key; tweak = HKDF(no ikm, wire form, label, 32); secret = X25519(tweak,
// X25519(ephemeral, peer)); wrap key = HKDF(secret, share ‖ peer, label, 32); body = ChaCha20-Poly1305(wrap key, zero nonce, file key).

const (
	sshEd25519Label = "age-encryption.org/v1/ssh-ed25519"
	sshRSALabel     = "age-encryption.org/v1/ssh-rsa"
	fileKeySize     = 16
	minRSABits      = 2048
	maxRSABits      = 16384
)

var errSSHKey = errors.New("ssh key: want ssh-ed25519, or ssh-rsa of 2048 to 16384 bits")

// sshPublic is an SSH public key that can be a recipient.
type sshPublic struct {
	kind string // "ssh-ed25519" or "ssh-rsa"
	wire []byte
	tag  string
	peer *ecdh.PublicKey // ssh-ed25519
	rsa  *rsa.PublicKey  // ssh-rsa
}

func newSSHPublic(key ssh.PublicKey) (*sshPublic, error) {
	sum := sha256.Sum256(key.Marshal())
	p := &sshPublic{kind: key.Type(), wire: key.Marshal(), tag: base64.RawStdEncoding.EncodeToString(sum[:4])}
	crypto, ok := key.(ssh.CryptoPublicKey)
	if !ok {
		return nil, errSSHKey
	}
	switch k := crypto.CryptoPublicKey().(type) {
	case ed25519.PublicKey:
		u, err := montgomery(k)
		if err != nil {
			return nil, err
		}
		p.peer, err = ecdh.X25519().NewPublicKey(u)
		return p, err
	case *rsa.PublicKey:
		if bits := k.N.BitLen(); bits < minRSABits || bits > maxRSABits {
			return nil, errSSHKey
		}
		p.rsa = k
		return p, nil
	}
	return nil, errSSHKey
}

// parseSSHRecipient reads a line of authorized_keys and returns it without its comment.
func parseSSHRecipient(line string) (age.Recipient, string, error) {
	key, _, options, rest, err := ssh.ParseAuthorizedKey([]byte(line))
	if err != nil || len(options) > 0 || len(rest) > 0 {
		return nil, "", errors.New("malformed ssh public key")
	}
	p, err := newSSHPublic(key)
	if err != nil {
		return nil, "", err
	}
	return p, p.kind + " " + base64.StdEncoding.EncodeToString(p.wire), nil
}

// Wrap makes sshPublic an age.Recipient.
func (p *sshPublic) Wrap(fileKey []byte) ([]*age.Stanza, error) {
	if p.rsa != nil {
		body, err := rsa.EncryptOAEP(sha256.New(), rand.Reader, p.rsa, fileKey, []byte(sshRSALabel))
		return []*age.Stanza{{Type: p.kind, Args: []string{p.tag}, Body: body}}, err
	}
	ephemeral, err := ecdh.X25519().GenerateKey(rand.Reader)
	if err != nil {
		return nil, err
	}
	share := ephemeral.PublicKey().Bytes()
	key, err := p.wrapKey(ephemeral, p.peer, share)
	if err != nil {
		return nil, err
	}
	cipher, err := chacha20poly1305.New(key)
	if err != nil {
		return nil, err
	}
	body := cipher.Seal(nil, make([]byte, chacha20poly1305.NonceSize), fileKey, nil)
	return []*age.Stanza{{Type: p.kind, Args: []string{p.tag, base64.RawStdEncoding.EncodeToString(share)}, Body: body}}, nil
}

// wrapKey derives the key that encrypts the file key; mine and theirs are the ephemeral secret and the peer, or the peer's secret and the share.
func (p *sshPublic) wrapKey(mine *ecdh.PrivateKey, theirs *ecdh.PublicKey, share []byte) ([]byte, error) {
	shared, err := mine.ECDH(theirs)
	if err != nil {
		return nil, err
	}
	raw, err := hkdf.Key(sha256.New, nil, p.wire, sshEd25519Label, 32)
	if err != nil {
		return nil, err
	}
	tweak, err := ecdh.X25519().NewPrivateKey(raw)
	if err != nil {
		return nil, err
	}
	point, err := ecdh.X25519().NewPublicKey(shared)
	if err != nil {
		return nil, err
	}
	if shared, err = tweak.ECDH(point); err != nil {
		return nil, err
	}
	return hkdf.Key(sha256.New, shared, slices.Concat(share, p.peer.Bytes()), sshEd25519Label, 32)
}

// sshIdentity is an SSH private key.
type sshIdentity struct {
	public *sshPublic
	x25519 *ecdh.PrivateKey
	rsa    *rsa.PrivateKey
}

// newSSHIdentity takes what ssh.ParseRawPrivateKey returns.
func newSSHIdentity(raw any) (*sshIdentity, error) {
	i := &sshIdentity{}
	switch k := raw.(type) {
	case *ed25519.PrivateKey:
		return newSSHIdentity(*k)
	case ed25519.PrivateKey:
		sum := sha512.Sum512(k.Seed()) // RFC 8032 §5.1.5; X25519 clamps the scalar itself
		defer Wipe(sum[:])
		var err error
		if i.x25519, err = ecdh.X25519().NewPrivateKey(sum[:32]); err != nil {
			return nil, err
		}
	case *rsa.PrivateKey:
		i.rsa = k
	default:
		return nil, errSSHKey
	}
	signer, err := ssh.NewSignerFromKey(raw)
	if err != nil {
		return nil, errSSHKey
	}
	i.public, err = newSSHPublic(signer.PublicKey())
	return i, err
}

// Unwrap makes sshIdentity an age.Identity.
func (i *sshIdentity) Unwrap(stanzas []*age.Stanza) ([]byte, error) {
	for _, s := range stanzas {
		if !i.public.fits(s) {
			continue
		}
		fileKey, err := i.open(s)
		if err == nil || !errors.Is(err, age.ErrIncorrectIdentity) {
			return fileKey, err
		}
	}
	return nil, age.ErrIncorrectIdentity
}

// fits reports whether the stanza may be for this key; tags have 32 bits only.
func (p *sshPublic) fits(s *age.Stanza) bool {
	return s.Type == p.kind && len(s.Args) > 0 && s.Args[0] == p.tag
}

func (i *sshIdentity) open(s *age.Stanza) ([]byte, error) {
	if i.rsa != nil {
		if len(s.Args) != 1 {
			return nil, errors.New("malformed ssh-rsa stanza")
		}
		fileKey, err := rsa.DecryptOAEP(sha256.New(), nil, i.rsa, s.Body, []byte(sshRSALabel))
		if err != nil || len(fileKey) != fileKeySize {
			return nil, age.ErrIncorrectIdentity
		}
		return fileKey, nil
	}
	if len(s.Args) != 2 || len(s.Body) != fileKeySize+chacha20poly1305.Overhead {
		return nil, errors.New("malformed ssh-ed25519 stanza")
	}
	share, err := base64.RawStdEncoding.Strict().DecodeString(s.Args[1])
	if err != nil {
		return nil, errors.New("malformed ssh-ed25519 stanza")
	}
	theirs, err := ecdh.X25519().NewPublicKey(share)
	if err != nil {
		return nil, errors.New("malformed ssh-ed25519 stanza")
	}
	key, err := i.public.wrapKey(i.x25519, theirs, share)
	if err != nil {
		return nil, fmt.Errorf("ssh-ed25519 stanza: %w", err)
	}
	cipher, err := chacha20poly1305.New(key)
	if err != nil {
		return nil, err
	}
	fileKey, err := cipher.Open(nil, make([]byte, chacha20poly1305.NonceSize), s.Body, nil)
	if err != nil {
		return nil, age.ErrIncorrectIdentity
	}
	return fileKey, nil
}

// Format prints "redacted" for every verb.
func (i *sshIdentity) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, redacted) }

// sshLocked is an SSH private key under a passphrase, which is asked for only when a stanza fits.
type sshLocked struct {
	public *sshPublic
	pem    []byte
	ask    func() ([]byte, error)
	open   *sshIdentity
}

// Unwrap makes sshLocked an age.Identity.
func (l *sshLocked) Unwrap(stanzas []*age.Stanza) ([]byte, error) {
	if l.open == nil {
		if !slices.ContainsFunc(stanzas, l.public.fits) {
			return nil, age.ErrIncorrectIdentity
		}
		pass, err := l.ask()
		if err != nil {
			return nil, err
		}
		defer Wipe(pass)
		raw, err := ssh.ParseRawPrivateKeyWithPassphrase(l.pem, pass)
		if err != nil {
			return nil, fmt.Errorf("ssh key: %w", err)
		}
		open, err := newSSHIdentity(raw)
		if err != nil {
			return nil, err
		}
		if !slices.Equal(open.public.wire, l.public.wire) {
			return nil, errors.New("ssh key: private and public half do not fit")
		}
		l.open = open
	}
	return l.open.Unwrap(stanzas)
}

// Format prints "redacted" for every verb.
func (l *sshLocked) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, redacted) }

// montgomery maps an Ed25519 public key to the u-coordinate on Curve25519 (RFC 7748 §4.1): u = (1 + y) / (1 − y) mod 2^255 − 19. Only public
// values pass through here, so time does not matter. It refuses what is no point of the curve.
func montgomery(public ed25519.PublicKey) ([]byte, error) {
	p := new(big.Int).Sub(new(big.Int).Lsh(big.NewInt(1), 255), big.NewInt(19))
	raw := slices.Clone([]byte(public))
	if len(raw) != ed25519.PublicKeySize {
		return nil, errSSHKey
	}
	raw[31] &= 0x7f // the sign of x
	slices.Reverse(raw)
	y, one := new(big.Int).SetBytes(raw), big.NewInt(1)
	if y.Cmp(p) >= 0 || y.Cmp(one) == 0 {
		return nil, errSSHKey
	}
	// x² = (y² − 1) / (d·y² + 1) must be a square, d = −121665/121666.
	y2 := new(big.Int).Mul(y, y)
	d := new(big.Int).Mul(big.NewInt(-121665), new(big.Int).ModInverse(big.NewInt(121666), p))
	v := new(big.Int).Add(new(big.Int).Mul(d, y2), one)
	x2 := new(big.Int).Sub(y2, one)
	x2.Mul(x2, new(big.Int).ModInverse(v.Mod(v, p), p)).Mod(x2, p)
	if big.Jacobi(x2, p) < 0 {
		return nil, errSSHKey
	}
	u := new(big.Int).Sub(one, y)
	u.ModInverse(u.Mod(u, p), p).Mul(u, new(big.Int).Add(one, y)).Mod(u, p)
	out := u.FillBytes(make([]byte, 32))
	slices.Reverse(out)
	return out, nil
}
