package repo

import (
	"errors"
	"fmt"
	"strings"
	"syscall"

	"firn/internal/chunk"
	"firn/internal/digest"
	"firn/internal/keys"
	"firn/internal/pack"
	"firn/internal/seal"
	"firn/internal/sign"
	"firn/internal/store"
)

// FindingKind is what is wrong with an object.
type FindingKind string

// What can be wrong. Where several things are, the first of them in this list is told.
const (
	Missing    FindingKind = "missing"    // something needs it, and it is not in the store
	Unreadable FindingKind = "unreadable" // the store has it and fails to read it
	WrongSize  FindingKind = "size"       // it has another size than it was stored with
	WrongSum   FindingKind = "sum"        // its SHA-256 is not the one in its name, or in the index
	Sealed     FindingKind = "sealed"     // no key at hand opens it, though one should
	WrongTable FindingKind = "table"      // a pack whose own table is damaged, not proven by its author, or not what the index says
	WrongChunk FindingKind = "chunk"      // a pack with a chunk that is not what its id says
	WrongBody  FindingKind = "body"       // an object that opens and says what it must not: another's place, a false signature, a broken rule
	Unindexed  FindingKind = "unindexed"  // a pack that is there and in no index, and that a snapshot needs
	Unlisted   FindingKind = "unlisted"   // a pack that a snapshot needs and its pack sets do not name
	Unknown    FindingKind = "unknown"    // a chunk that a snapshot needs is in no index
	Orphan     FindingKind = "orphan"     // nothing needs it: no damage
)

// Finding is one object that is not as it has to be. It is an error, too.
type Finding struct {
	Object string // its name; empty where a chunk is in no index
	Kind   FindingKind
	Err    error // why; nil where the kind says it all

	Pack   digest.Object // of a pack, or of the pack whose recovery volume this is; else zero
	Volume bool          // it is a recovery volume
	Whole  bool          // of a pack: nothing of it can be read
	Chunks []LostChunk   // of a pack: the chunks that cannot be read from it, in its order; where Whole, all that are known
	Spans  []Span        // of a pack: the bytes of the object that are damaged, as far as that is known, in order
	Behind []string      // objects that cannot be used because of it: what a host wrote whose certificate is damaged

	read bool // the pack was read, so that Whole and Chunks are all there is to know
}

func (f *Finding) Error() string {
	if f.Err == nil {
		return fmt.Sprintf("%s: %s", f.Object, f.Kind)
	}
	return fmt.Sprintf("%s: %v", f.Object, f.Err)
}

// Unwrap returns the reason.
func (f *Finding) Unwrap() error { return f.Err }

// LostChunk is a chunk that cannot be read from a pack.
type LostChunk struct {
	chunk.Ref
	Offset int64 // of its frame in the plaintext of the pack, in bytes
	Err    error
}

// Span is a stretch of bytes.
type Span struct{ Offset, Length int64 }

// addSpan joins a span to the last one where they touch.
func (f *Finding) addSpan(offset, length int64) {
	if length <= 0 {
		return
	}
	if k := len(f.Spans) - 1; k >= 0 && f.Spans[k].Offset+f.Spans[k].Length >= offset {
		f.Spans[k].Length = max(f.Spans[k].Length, offset+length-f.Spans[k].Offset)
		return
	}
	f.Spans = append(f.Spans, Span{offset, length})
}

// ranks orders kinds by what tells most.
var ranks = map[FindingKind]int{Missing: 12, Unreadable: 11, WrongSize: 10, WrongSum: 9, Sealed: 8, WrongTable: 7, WrongChunk: 6, WrongBody: 5,
	Unindexed: 4, Unlisted: 3, Unknown: 2, Orphan: 1}

// blame notes one more thing that is wrong; the one that tells most is kept.
func (f *Finding) blame(kind FindingKind, err error) {
	if ranks[kind] > ranks[f.Kind] {
		f.Kind, f.Err = kind, err
	}
}

// objectFinding makes a finding of an error about an object, or nil of an error that says nothing about it: a store that does not answer, a context that ended.
func objectFinding(name string, err error) *Finding {
	f := &Finding{Object: name, Err: err}
	var object *ObjectError
	var corrupt *pack.CorruptError
	switch {
	case errors.Is(err, store.ErrNotExist):
		f.Kind = Missing
	case isUnreadable(err):
		f.Kind = Unreadable
	case errors.Is(err, store.ErrRange):
		f.Kind = WrongSize
	case errors.As(err, &object) && (isNoIdentity(err) || errors.Is(err, seal.ErrCorrupt)), isNoIdentity(err), errors.Is(err, seal.ErrCorrupt):
		f.Kind = Sealed
	case errors.As(err, &corrupt), errors.Is(err, pack.ErrTable), errors.Is(err, pack.ErrUnproven):
		f.Kind = WrongTable
	case errors.As(err, &object), errors.Is(err, ErrUntrusted), errors.Is(err, sign.ErrMAC), errors.Is(err, sign.ErrSignature), errors.Is(err, sign.ErrAuthor):
		f.Kind = WrongBody
	default:
		return nil
	}
	return f
}

// isUnreadable reports whether a medium failed: a sector of a disk that no longer reads.
func isUnreadable(err error) bool { return errors.Is(err, syscall.EIO) }

// ObjectName is the name of an object, taken apart.
type ObjectName struct {
	Area   string        // data, meta, index, packset, snapshots, hosts, keys, state or prune; empty: plain
	Scope  keys.ScopeID  // zero where there is none in the name
	Sum    digest.Object // SHA-256 of the object, as its name says; of a recovery volume, of its pack; else zero
	Volume bool          // it is the recovery volume of a pack
	Done   bool          // it is the mark of a snapshot
}

// Summed reports whether the name has the SHA-256 of the object.
func (o ObjectName) Summed() bool { return !o.Sum.IsZero() && !o.Volume }

const volumeSuffix = ".par2"

// ParseName takes the name of an object apart (FORMAT §1). ok is false for what is not the name of an object of a repository.
func ParseName(name string) (o ObjectName, ok bool) {
	area, rest, nested := strings.Cut(name, "/")
	if !nested {
		return o, name == configName || name == recoverText || name == recoverName
	}
	o.Area = area
	var err error
	switch area {
	case "data", "meta":
		rest, o.Volume = strings.CutSuffix(rest, volumeSuffix)
		parts := strings.Split(rest, "/")
		if len(parts) != 3 || !strings.HasPrefix(parts[2], parts[1]) || len(parts[1]) != 2 {
			return o, false
		}
		if o.Sum, err = digest.ParseObject(parts[2]); err == nil {
			o.Scope, err = keys.ParseScopeID(parts[0])
		}
	case "index", "state":
		owner, base, ok := strings.Cut(rest, "/")
		if !ok {
			return o, false
		}
		if _, o.Sum, err = parseGen(base); err == nil && area == "index" {
			o.Scope, err = keys.ParseScopeID(owner)
		}
	case "packset", "snapshots":
		scope, base, ok := strings.Cut(rest, "/")
		if !ok || strings.Contains(base, "/") {
			return o, false
		}
		if o.Scope, err = keys.ParseScopeID(scope); err == nil && area == "packset" {
			o.Sum, err = digest.ParseObject(base)
		}
		_, o.Done = strings.CutSuffix(base, doneSuffix)
	case "prune":
		_, o.Sum, err = parseGen(rest)
	case "hosts", "keys":
	default:
		return o, false
	}
	return o, err == nil
}

// volumeName is the name of the recovery volume of a pack.
func volumeName(pack string) string { return pack + volumeSuffix }
