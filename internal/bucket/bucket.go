// Package bucket is the contract between firn and whatever keeps plain objects under names that people choose: files that lie in a bucket as themselves. Unlike store.Store, of which a
// repository is made, objects here are replaced and deleted, bear metadata, and may have been put there by anyone.
package bucket

import (
	"context"
	"errors"
	"io"
	"time"
)

// Errors that implementations return, wrapped.
var (
	ErrNotExist     = errors.New("no such object")
	ErrPrecondition = errors.New("the object is not what it was") // IfMatch or IfNone failed
	ErrCold         = errors.New("the object has to be thawed first")
	ErrDenied       = errors.New("not allowed")
	ErrChecksum     = errors.New("content was damaged on the way")
	ErrNoUpload     = errors.New("no such upload")
)

// MaxKey is the longest key, in bytes of UTF-8.
const MaxKey = 1024

// Algorithm of a checksum over the content, as S3 names it.
type Algorithm string

// The algorithms.
const (
	SHA256    Algorithm = "SHA256"
	CRC64NVME Algorithm = "CRC64NVME"
)

// Sum is a checksum that the server keeps. Parts > 0: it is a checksum of the checksums of that many parts, not one of the content.
type Sum struct {
	Algorithm Algorithm
	Value     []byte
	Parts     int
}

// Object is what a listing says of an object.
type Object struct {
	Key      string // whole, with the prefix
	Size     int64
	ETag     string // without quotes; opaque
	Modified time.Time
	Class    string // empty: STANDARD
	Thawed   bool   // a cold object with a copy that can be read now
}

// Info is what the server says of one object when asked for it alone.
type Info struct {
	Object
	Sum         *Sum // nil: none is kept
	ContentType string
	Encoding    string            // Content-Encoding
	Metadata    map[string]string // names in lower case
	Encryption  string            // of the server: "", AES256, aws:kms, … With aws:kms an ETag is no MD5
	PartSize    int64             // of the first part, where the server tells; else 0
	Version     string
	LockedUntil time.Time
}

// PutOptions say how an object is stored.
type PutOptions struct {
	Class       string
	ContentType string
	Metadata    map[string]string // names of small letters, digits and - _ . and any UTF-8; S3 takes 2 KiB in all
	Sum         *Sum              // of the content; the server refuses what does not match. nil: the implementation sends one of its own
	IfMatch     string            // replace only an object that has this ETag
	IfNone      bool              // create only
}

// GetOptions choose what is read.
type GetOptions struct {
	Offset, Length int64  // Length < 0: to the end
	IfMatch        string // only if it has this ETag
}

// Bucket keeps objects. Implementations are safe for concurrent use; they repeat what may pass, obey the limits they were opened with, and give up connections that are silent.
type Bucket interface {
	// List calls fn for every object whose key starts with prefix, in bytewise order of keys, and stops at the first error that fn returns, which it returns. Keys at or before after are left
	// out. One request tells of up to 1,000 objects.
	List(ctx context.Context, prefix, after string, fn func(Object) error) error
	// Head asks for one object.
	Head(ctx context.Context, key string) (Info, error)
	// Get opens an object. The caller closes the reader, which never ends early without an error.
	Get(ctx context.Context, key string, o GetOptions) (io.ReadCloser, Info, error)
	// Put stores or replaces an object of size bytes in one request. It may read r several times, and touches it no more once it has returned. What it returns, as Copy and Complete, is what
	// the answer tells: Modified may be zero. Content that ends early is ErrShort, and what r fails with is returned.
	Put(ctx context.Context, key string, r io.ReadSeeker, size int64, o PutOptions) (Info, error)
	// Copy stores what from holds, in this or in another bucket of the same server, as key, without its content coming here. fromBucket empty: this one.
	Copy(ctx context.Context, fromBucket, from, key string, size int64, o CopyOptions) (Info, error)
	// Delete removes objects, 1,000 a request, in no order. What was not there is no error. failed has an entry for each key that was not removed.
	Delete(ctx context.Context, keys []string) (failed map[string]error, err error)
	// Begin starts an upload in parts, which a killed process can go on with by its id.
	Begin(ctx context.Context, key string, o PutOptions) (id string, err error)
	// PutPart sends part n, from 1, and returns what Complete needs.
	PutPart(ctx context.Context, key, id string, n int, r io.ReadSeeker, size int64) (Part, error)
	// Parts lists what has arrived of an upload; ErrNoUpload: it is not there any more.
	Parts(ctx context.Context, key, id string) ([]Part, error)
	// Complete makes the object of its parts.
	Complete(ctx context.Context, key, id string, parts []Part, o PutOptions) (Info, error)
	// Abort throws an upload away; what is not there is no error.
	Abort(ctx context.Context, key, id string) error
	// Limits of this server.
	Limits() Limits
	// Location is how the user writes it, without secrets.
	Location() string
	Close() error
}

// CopyOptions say how a copy is stored. nil Metadata: as the original has it.
type CopyOptions struct {
	PutOptions
	IfSource string // only if the original has this ETag
}

// Part of an upload.
type Part struct {
	N    int
	Size int64
	ETag string
	Sum  []byte // CRC64NVME of the part, where it is known
}

// Limits of a server.
type Limits struct {
	MaxPut   int64 // bytes in one Put
	MinPart  int64 // bytes; the last part may be smaller
	MaxPart  int64
	MaxParts int
}

// Thawer has cold objects thawed. Found by type assertion.
type Thawer interface {
	// Thaw asks for a copy that can be read for days; it is no error where there is one, or one is on its way. tier: Standard, Bulk, Expedited.
	Thaw(ctx context.Context, key string, tier string, days int) error
}
