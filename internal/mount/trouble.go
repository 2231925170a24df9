package mount

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"firn/internal/advice"
	"firn/internal/repo"
	"firn/internal/snapshot"
	"firn/internal/store"
)

// kind is what becomes of a request that failed.
type kind int

const (
	isFine    kind = iota
	isNone         // there is no such thing
	isCold         // it has to be thawed first
	isBroken       // it is damaged, or the store does not answer
	isStopped      // nobody waits any more
)

func kindOf(err error) kind {
	switch {
	case err == nil:
		return isFine
	case errors.Is(err, errNone):
		return isNone
	case errors.Is(err, errStopped):
		return isStopped
	case errors.Is(err, store.ErrCold):
		return isCold
	}
	return isBroken
}

// explain says why a file cannot be read, and what to do about it.
func (o *Options) explain(item snapshot.Item, path []byte, err error) string {
	var damage *repo.DamageError
	name := shown(item, path)
	switch {
	case errors.Is(err, store.ErrCold):
		return fmt.Sprintf("%s lies in a cold class and is not thawed; what that costs and how long it takes: firn restore%s %s --plan", name, o.Command, advice.ShellWord(hex.EncodeToString(item.ID[:4])+":"+string(path)))
	case errors.Is(err, context.Canceled):
		return name + ": " + errClosed.Error()
	case errors.Is(err, errSilent):
		return fmt.Sprintf("%s: %v", name, err)
	case errors.Is(err, store.ErrNotExist) && errors.As(err, &damage):
		return fmt.Sprintf("%s: %s is not in the repository any more: the snapshot was forgotten and pruned, or the object is lost (firn check tells)", name, damage.Object)
	case isDamage(err):
		return fmt.Sprintf("%s is damaged: %v (firn check tells what else is, firn repair mends what can be mended)", name, err)
	}
	return fmt.Sprintf("%s: %v", name, err)
}

// shown names a file for people.
func shown(item snapshot.Item, path []byte) string {
	return fmt.Sprintf("%s of %s", quoted(string(path)), hex.EncodeToString(item.ID[:4]))
}

func quoted(path string) string {
	if path == "" {
		path = "."
	}
	return fmt.Sprintf("%q", path)
}

// Bounds of what is told.
const (
	maxTold    = 4096 // texts that are remembered
	perMinute  = 20   // lines
	tellWindow = time.Minute
)

// told tells what went wrong: each thing once, and not too many at a time.
type told struct {
	o *Options

	mu      sync.Mutex
	said    map[string]bool
	why     map[node]string // why a file could not be read
	since   time.Time
	lines   int
	dropped int
}

func (t *told) warn(format string, args ...any) { t.say(true, fmt.Sprintf(format, args...)) }
func (t *told) note(format string, args ...any) { t.say(false, fmt.Sprintf(format, args...)) }

// once tells a thing unless it was told before.
func (t *told) once(what, format string, args ...any) {
	t.mu.Lock()
	before := t.said[what]
	if t.said == nil || len(t.said) >= maxTold {
		t.said = map[string]bool{}
	}
	t.said[what] = true
	t.mu.Unlock()
	if !before {
		t.warn(format, args...)
	}
}

func (t *told) say(warning bool, text string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.o.Report == nil {
		return
	}
	now := t.o.Now()
	if now.Sub(t.since) >= tellWindow {
		if t.dropped > 0 {
			t.o.Report(Report{Text: fmt.Sprintf("%d more such lines were left out", t.dropped)})
		}
		t.since, t.lines, t.dropped = now, 0, 0
	}
	if t.lines++; t.lines > perMinute {
		t.dropped++
		return
	}
	t.o.Report(Report{warning, strings.TrimSpace(text)})
}

// failed remembers why a file cannot be read, and tells it.
func (t *told) failed(n node, text string) {
	t.mu.Lock()
	if t.why == nil || len(t.why) >= maxTold {
		t.why = map[node]string{}
	}
	before := t.why[n]
	t.why[n] = text
	t.mu.Unlock()
	if before != text {
		t.warn("%s", text)
	}
}

// reason returns why a file could not be read the last time; empty: it could.
func (t *told) reason(n node) string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.why[n]
}

// works forgets why a file could not be read.
func (t *told) works(n node) {
	t.mu.Lock()
	defer t.mu.Unlock()
	delete(t.why, n)
}
