// Package wire makes stores out of how the user writes them, from one explicit table.
package wire

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"firn/internal/store"
	"firn/internal/store/cache"
	"firn/internal/store/limit"
	"firn/internal/store/local"
	"firn/internal/store/mem"
	"firn/internal/store/retry"
	"firn/internal/store/s3"
	"firn/internal/units"
)

// Location is where a store is, taken apart.
type Location struct {
	Scheme string // file, s3 or mem
	Path   string // file: path as the system writes it; mem: a name
	Bucket string // s3
	Prefix string // s3: below which the objects lie, without slashes around it; may be empty
}

// String returns a text that ParseLocation reads as l.
func (l Location) String() string {
	switch {
	case l.Scheme == "file":
		if parsed, err := ParseLocation(l.Path); err == nil && parsed == l {
			return l.Path
		}
		return "file://" + (&url.URL{Path: filepath.ToSlash(l.Path)}).EscapedPath()
	case l.Scheme == "mem":
		return "mem:" + l.Path
	case l.Prefix == "":
		return "s3://" + l.Bucket
	}
	return "s3://" + l.Bucket + "/" + l.Prefix
}

// maxLocation bounds what ParseLocation looks at, in bytes.
const maxLocation = 4096

// ParseLocation reads a path, file:///path, s3://bucket/prefix or mem:name. A text is a path where it does not begin with a
// scheme of two or more letters and a colon (so that C:\folder is one); "./" in front makes anything a path. Credentials in a URL are refused.
func ParseLocation(text string) (Location, error) {
	if text == "" {
		return Location{}, errors.New("location of the store is empty")
	}
	if len(text) > maxLocation || strings.ContainsRune(text, 0) {
		return Location{}, fmt.Errorf("location %.40q…: too long, or not text", text)
	}
	scheme, rest, found := strings.Cut(text, ":")
	if !found || len(scheme) < 2 || strings.Trim(strings.ToLower(scheme), "abcdefghijklmnopqrstuvwxyz0123456789+") != "" {
		return Location{Scheme: "file", Path: text}, nil
	}
	switch strings.ToLower(scheme) {
	case "file":
		return parseFile(text, rest)
	case "s3":
		return parseS3(text, rest)
	case "mem":
		return Location{Scheme: "mem", Path: rest}, nil
	}
	return Location{}, fmt.Errorf("location %q: %q is not file, s3 or mem; write %q for a folder of that name", text, scheme, "./"+text)
}

func parseFile(text, rest string) (Location, error) {
	path, ok := strings.CutPrefix(rest, "//")
	if !ok || !strings.HasPrefix(path, "/") {
		return Location{}, fmt.Errorf("location %q: want file:/// and an absolute path", text)
	}
	path, err := url.PathUnescape(path)
	if err != nil || strings.ContainsRune(path, 0) {
		return Location{}, fmt.Errorf("location %q: bad escape in the path", text)
	}
	if len(path) >= 3 && path[2] == ':' && filepath.Separator == '\\' {
		path = path[1:] // file:///C:/folder
	}
	return Location{Scheme: "file", Path: filepath.FromSlash(path)}, nil
}

func parseS3(text, rest string) (Location, error) {
	rest, ok := strings.CutPrefix(rest, "//")
	if !ok {
		return Location{}, fmt.Errorf("location %q: want s3://bucket or s3://bucket/prefix", text)
	}
	bucket, prefix, _ := strings.Cut(rest, "/")
	prefix = strings.Trim(prefix, "/")
	if strings.Contains(bucket, "@") {
		return Location{}, errors.New("location of the store holds credentials: they belong into the environment or a profile")
	}
	if !validBucket(bucket) {
		return Location{}, fmt.Errorf("location %q: %q is no bucket's name", text, bucket)
	}
	if prefix != "" && !store.ValidName(prefix) {
		return Location{}, fmt.Errorf("location %q: prefix %q may hold letters, digits and . _ - / only", text, prefix)
	}
	return Location{Scheme: "s3", Bucket: bucket, Prefix: prefix}, nil
}

// validBucket is a little wider than Amazon's rules, for the servers that are.
func validBucket(name string) bool {
	return len(name) >= 3 && len(name) <= 255 && !strings.Contains(name, "/") && store.ValidName(name)
}

// StoreOptions are what the user can say about a store beside its location. Zero values stand for the defaults.
type StoreOptions struct {
	Endpoint, Region, Profile string // s3
	PathStyle                 string // s3: on, off or empty
	Class                     string // s3: storage class of objects for which the caller names none
	PartSize, PartsAbove      units.Size
	MaxParts                  int              // s3: of an upload; 0: as the endpoint has it
	GetEndpoint               string           // s3: URL of a CDN or the like in front of the bucket, from which packs are read; empty: none
	Known                     *store.Abilities // s3: what a probe found out about the endpoint (store.Examine); nil: nothing

	Connections int           // transfers at once in each direction; s3: 16, others: no limit
	Up, Down    limit.Rate    // bytes a second, over all connections; nil: no limit
	Sent        *atomic.Int64 // gets what is handed on to be sent, in bytes, repetitions included; nil: nobody counts
	Tries       int           // of each call; s3: 10, others: 1
	Idle        time.Duration // s3: how long the server may be silent; 0: 90 s, and 30 s until it has answered once

	CacheDir string     // folder for copies of hot objects; empty: none. One folder for each store
	CacheMax units.Size // default 1 GiB

	Trace func(s3.Request)                                     // told of every S3 request
	Retry func(op, name string, err error, wait time.Duration) // told of every call that is repeated
}

// opener makes the store of one scheme.
type opener func(context.Context, Location, StoreOptions) (store.Store, error)

// table returns what opens each scheme.
func table() map[string]opener {
	return map[string]opener{"file": openLocal, "s3": openS3, "mem": openMem}
}

// Schemes lists the schemes that OpenStore knows, sorted.
func Schemes() []string {
	var out []string
	for scheme := range table() {
		out = append(out, scheme)
	}
	slices.Sort(out)
	return out
}

// defaults of a store across a network.
const (
	defaultConnections = 16
	defaultTries       = 10
)

// OpenStore opens the store at location, with the wrappers that o asks for: the cache outermost, then retry, then the limits.
// It need not exist: see store.Maker.
func OpenStore(ctx context.Context, location string, o StoreOptions) (store.Store, error) {
	l, err := ParseLocation(location)
	if err != nil {
		return nil, err
	}
	if l.Scheme == "s3" {
		if o.Connections == 0 {
			o.Connections = defaultConnections
		}
		if o.Tries == 0 {
			o.Tries = defaultTries
		}
	}
	open := table()[l.Scheme]
	s, err := open(ctx, l, o)
	if err != nil {
		return nil, err
	}
	if o.Connections > 0 || o.Up != nil || o.Down != nil || o.Sent != nil {
		s = limit.New(s, limit.Options{Connections: o.Connections, Up: o.Up, Down: o.Down, Sent: o.Sent})
	}
	if o.Tries > 1 {
		s = retry.New(s, retry.Options{Tries: o.Tries, Notify: o.Retry})
	}
	if o.CacheDir != "" {
		s = Cached(s, o.CacheDir, o.CacheMax)
	}
	return s, nil
}

// Cached puts a cache in front of a store that is open already, for callers that know the folder only when they have read from it.
func Cached(s store.Store, dir string, limit units.Size) store.Store {
	return cache.New(s, cache.Options{Dir: dir, Max: limit})
}

func openLocal(_ context.Context, l Location, o StoreOptions) (store.Store, error) {
	for option, set := range map[string]bool{"endpoint": o.Endpoint != "", "region": o.Region != "", "profile": o.Profile != "", "get endpoint": o.GetEndpoint != ""} {
		if set {
			return nil, fmt.Errorf("store %q is a folder and has no %s", l.Path, option)
		}
	}
	return local.Open(l.Path, local.Options{})
}

func openS3(ctx context.Context, l Location, o StoreOptions) (store.Store, error) {
	return s3.Open(ctx, s3.Options{
		Bucket: l.Bucket, Prefix: l.Prefix, Endpoint: o.Endpoint, Region: o.Region, Profile: o.Profile, PathStyle: o.PathStyle,
		Class: o.Class, PartSize: o.PartSize, PartsAbove: o.PartsAbove, MaxParts: o.MaxParts, GetEndpoint: o.GetEndpoint, Known: o.Known, Idle: o.Idle, First: o.Idle, Connections: 2 * o.Connections, Trace: o.Trace,
	})
}

// mems are the stores behind mem: URLs, which live as long as the process.
var mems sync.Map

func openMem(_ context.Context, l Location, _ StoreOptions) (store.Store, error) {
	s, _ := mems.LoadOrStore(l.Path, mem.New(mem.Options{Location: l.String()}))
	return s.(*mem.Store), nil
}
