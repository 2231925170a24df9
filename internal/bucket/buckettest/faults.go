package buckettest

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync"

	"github.com/minio/crc64nvme"

	"firn/internal/bucket"
)

// ErrBroken is what a rule "broken" or "lost" fails with: nothing that the caller could know.
var ErrBroken = errors.New("broken by a rule")

// rule is one line of Faults.
//
//	operation prefix fault [nth=n] [times=n]
//
// operation is list, head, get, put, copy, delete (of one key), deletes (a whole request), begin, part, parts, complete, abort, thaw or any. prefix is the beginning of keys, or "*" for all.
// fault is
//
//	denied, missing, precondition, cold, checksum, noupload   the error of package bucket of that name
//	broken                                                    ErrBroken
//	lost                                                      it is done, and fails with ErrBroken
//	cut                                                       a get breaks off in the middle
//	flip                                                      a get has a wrong byte, and ends with ErrChecksum
//
// nth: the n-th request that matches, alone; times: at most so many.
type rule struct {
	op, prefix, fault string
	nth, times        int
	matched, fired    int
}

var operations = []string{"list", "head", "get", "put", "copy", "delete", "deletes", "begin", "part", "parts", "complete", "abort", "thaw", "any"}

var errorOf = map[string]error{"denied": bucket.ErrDenied, "missing": bucket.ErrNotExist, "precondition": bucket.ErrPrecondition, "cold": bucket.ErrCold, "checksum": bucket.ErrChecksum,
	"noupload": bucket.ErrNoUpload, "broken": ErrBroken, "lost": nil, "cut": nil, "flip": nil}

// rules decide which requests fail.
type rules struct {
	mu    sync.Mutex
	rules []*rule
}

func parseRules(text string) (*rules, error) {
	out := &rules{}
	for number, line := range strings.Split(text, "\n") {
		fields := strings.Fields(line)
		if len(fields) == 0 || fields[0][0] == '#' {
			continue
		}
		bad := fmt.Errorf("rule %q in line %d", line, number+1)
		if len(fields) < 3 || !slices.Contains(operations, fields[0]) {
			return nil, bad
		}
		if _, known := errorOf[fields[2]]; !known {
			return nil, bad
		}
		r := &rule{op: fields[0], prefix: strings.TrimSuffix(fields[1], "*"), fault: fields[2]}
		for _, field := range fields[3:] {
			name, value, _ := strings.Cut(field, "=")
			n, err := strconv.Atoi(value)
			if err != nil || n < 1 || name != "nth" && name != "times" {
				return nil, bad
			}
			if name == "nth" {
				r.nth = n
			} else {
				r.times = n
			}
		}
		out.rules = append(out.rules, r)
	}
	return out, nil
}

func (s *rules) replace(by *rules) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.rules = by.rules
}

// strike is what happens to one request.
type strike struct {
	err, lost error
	cut, flip bool
}

func (s *rules) strike(op, key string) (out strike) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, r := range s.rules {
		if r.op != op && r.op != "any" || !strings.HasPrefix(key, r.prefix) {
			continue
		}
		r.matched++
		if r.nth > 0 && r.matched != r.nth || r.times > 0 && r.fired >= r.times {
			continue
		}
		r.fired++
		switch r.fault {
		case "lost":
			out.lost = ErrBroken
		case "cut":
			out.cut = true
		case "flip":
			out.flip = true
		default:
			out.err = errorOf[r.fault]
		}
	}
	return out
}

// sumOf is the sum of content.
func sumOf(a bucket.Algorithm, content []byte) []byte {
	if a == bucket.SHA256 {
		sum := sha256.Sum256(content)
		return sum[:]
	}
	h := crc64nvme.New()
	h.Write(content)
	return h.Sum(nil)
}
