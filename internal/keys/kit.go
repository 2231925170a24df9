package keys

import (
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"strings"
	"time"
)

// Kit is the content of the recovery kit: the page that its owner prints and keeps away from the machine. Nothing on it is secret; it leaves a line
// for the passphrase to be written by hand.
type Kit struct {
	Repository RepoID
	Location   string // where the repository lies, as the user gave it
	Created    time.Time
	Root       ed25519.PublicKey
	RecoverSum [32]byte // SHA-256 of recover.py
	Seal       Seal
	Keys       []string // labels of the wrapped keys, with their types
}

// KitGroups is the number of groups in which the root public key is printed.
const KitGroups = 8

const kitGroupSize = ed25519.PublicKeySize / KitGroups

// Group is four bytes of the root public key and the word that checks them.
type Group struct {
	Digits string // 8 hex digits
	Word   string
}

// Groups returns the root public key as it is printed. The word of a group depends on its place, its bytes and all groups before it, so that
// both a wrong digit and swapped groups are noticed where they stand.
func (k *Kit) Groups() (groups [KitGroups]Group) { return rootGroups(k.Root) }

func rootGroups(root ed25519.PublicKey) (groups [KitGroups]Group) {
	if len(root) != ed25519.PublicKeySize {
		panic("keys: recovery kit without a root public key")
	}
	for i := range groups {
		end := (i + 1) * kitGroupSize
		groups[i] = Group{hex.EncodeToString(root[end-kitGroupSize : end]), groupWord(root[:end])}
	}
	return groups
}

func groupWord(upTo []byte) string {
	sum := sha256.Sum256(append([]byte("firn/1 kit\n"), upTo...))
	return kitWords[sum[0]]
}

// KitError tells which group of a root public key was typed wrong, from 1; 0: not eight groups.
type KitError struct{ Group int }

func (e *KitError) Error() string {
	if e.Group == 0 {
		return fmt.Sprintf("root key: want %d groups of 8 hex digits and a word", KitGroups)
	}
	return fmt.Sprintf("root key: group %d does not fit its word, or the word is not of the list", e.Group)
}

// ParseRoot reads a root public key typed from a printed kit: eight groups of 8 hex digits, each with its word, in any spacing and case. *KitError
// tells the first group that is wrong.
func ParseRoot(text string) (ed25519.PublicKey, error) {
	if len(text) > 4096 {
		return nil, &KitError{}
	}
	var root []byte
	var digits string
	for _, field := range strings.Fields(strings.ToLower(text)) {
		group := len(root)/kitGroupSize + 1
		if group > KitGroups {
			return nil, &KitError{}
		}
		if len(digits) < 2*kitGroupSize {
			digits += field
			continue
		}
		raw, err := hex.DecodeString(digits)
		if err != nil || len(raw) != kitGroupSize {
			return nil, &KitError{group}
		}
		if root = append(root, raw...); groupWord(root) != field {
			return nil, &KitError{group}
		}
		digits = ""
	}
	if len(root) != ed25519.PublicKeySize || digits != "" {
		return nil, &KitError{}
	}
	return root, nil
}

// CheckWord reports whether somebody who has the kit in front of them typed the word of a group (from 1) back.
func (k *Kit) CheckWord(group int, typed string) bool {
	return group >= 1 && group <= KitGroups && strings.EqualFold(strings.TrimSpace(typed), k.Groups()[group-1].Word)
}

// steps tells how to use the kit. Only programs outside firn are named, since the kit must hold without it.
var kitSteps = []string{
	"You need the storage at the location above, and a passphrase or key file of this repository.",
	"With firn: point it at the location. It asks for the passphrase and compares the root key.",
	"Without firn: copy recover.py and the folder keys out of the repository. Both are plain objects.",
	"Compare the SHA-256 of recover.py (sha256sum recover.py) with the sum above before you run it.",
	"It needs Python 3 and the programs age and zstd, and tells which objects it wants.",
	"By hand: age -d keys/NAME.age > d.key, then age -d -i d.key OBJECT | zstd -dc for any object.",
	"Without a passphrase or key file nobody can open it. Keep this page in another building.",
}

// Text returns the kit as plain text, lines of at most 100 bytes but for the location.
func (k *Kit) Text() string {
	var b strings.Builder
	line := func(format string, args ...any) { fmt.Fprintf(&b, format+"\n", args...) }
	line("firn recovery kit")
	line("")
	line("Repository  %x", k.Repository)
	line("Location    %s", printable(k.Location))
	line("Created     %s", formatTime(k.Created))
	line("Encryption  %s", k.Seal)
	for i, label := range k.Keys {
		line("%-11s %s", map[bool]string{true: "Keys"}[i == 0], printable(label))
	}
	line("")
	line("Root key    (public; whoever types it gives digits and words)")
	groups := k.Groups()
	for i := 0; i < KitGroups; i += 2 {
		line("            %d  %s %-10s  %d  %s %s", i+1, groups[i].Digits, groups[i].Word, i+2, groups[i+1].Digits, groups[i+1].Word)
	}
	line("")
	line("recover.py  SHA-256 %x", k.RecoverSum)
	line("")
	line("Passphrase  (by hand) ______________________________________________________")
	line("")
	for i, s := range kitSteps {
		line("%d. %s", i+1, s)
	}
	return b.String()
}

// printable replaces control characters, which could forge lines of the kit.
func printable(s string) string {
	return strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f || r >= 0x80 && r < 0xa0 || r == 0x2028 || r == 0x2029 {
			return '?'
		}
		return r
	}, strings.ToValidUTF8(s, "?"))
}
