package job

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"firn/internal/config"
	"firn/internal/notify"
	"firn/internal/program"
)

// maxSecret bounds a secret, in bytes.
const maxSecret = 64 << 10

// ReadSecret returns a secret from where the configuration says it is; empty where it says nothing.
func ReadSecret(ctx context.Context, s config.Secret) (string, error) {
	var raw []byte
	var err error
	switch {
	case s.File != "":
		var f *os.File
		if f, err = os.Open(s.File); err == nil {
			raw, err = io.ReadAll(io.LimitReader(f, maxSecret))
			_ = f.Close()
		}
	case s.Command != "":
		c := program.Shell(s.Command)
		c.Label, c.Idle = "the command that prints a secret", time.Minute
		raw, err = c.Output(ctx, maxSecret)
	case s.Env != "":
		v, ok := os.LookupEnv(s.Env)
		if !ok {
			err = fmt.Errorf("the variable %q is not set", s.Env)
		}
		raw = []byte(v)
	}
	if err != nil {
		return "", err
	}
	line, _, _ := bytes.Cut(raw, []byte("\n"))
	return strings.TrimSuffix(string(line), "\r"), nil
}

// Notifier tells the channels of a configuration. It implements Reporter. Channels are opened when there is something to tell them.
type Notifier struct {
	c   *config.Config
	dir string // as Options.Dir

	mu   sync.Mutex
	open map[string]*opened
}

type opened struct {
	channel *notify.Channel
	err     error
	at      time.Time // when that was
}

// openAgain is how long a channel that could not be opened is left alone: where its secret comes from may be back then, and who serves lives for months.
const openAgain = 5 * time.Minute

// NewNotifier makes one. dir is as Options.Dir: what channels were told is remembered beside the ledgers.
func NewNotifier(c *config.Config, dir string) *Notifier {
	return &Notifier{c: c, dir: dir, open: map[string]*opened{}}
}

// Channel opens a channel of the configuration, or returns it where that was done.
func (n *Notifier) Channel(ctx context.Context, c *config.Channel) (*notify.Channel, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if o := n.open[c.Name]; o != nil && (o.err == nil || time.Since(o.at) < openAgain) {
		return o.channel, o.err
	}
	o := &opened{at: time.Now()}
	o.channel, o.err = n.make(ctx, c)
	n.open[c.Name] = o
	return o.channel, o.err
}

// forget has a channel opened anew the next time: it did not work, and its secret may be another one by now.
func (n *Notifier) forget(c *notify.Channel) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if o := n.open[c.Name()]; o != nil && o.channel == c {
		delete(n.open, c.Name())
	}
}

func (n *Notifier) make(ctx context.Context, c *config.Channel) (*notify.Channel, error) {
	secret, err := ReadSecret(ctx, c.Secret)
	if err != nil {
		return nil, fmt.Errorf("channel %q: %w", c.Name, err)
	}
	url := c.URL
	if url == "" {
		if url, err = ReadSecret(ctx, c.URLFrom); err != nil {
			return nil, fmt.Errorf("channel %q: %w", c.Name, err)
		}
	}
	o := notify.Options{Name: c.Name, Type: c.Type, To: c.To, From: c.From, Server: c.Server, TLS: c.TLS, User: c.User, URL: url, Method: c.Method, Headers: c.Headers, Subject: c.Subject,
		Body: c.Body, Command: c.Command, Timeout: c.Timeout, Tries: c.Tries}
	if c.Type == "mail" {
		o.Password = secret
	} else {
		o.Token = secret
	}
	for _, name := range SecretVariables(n.c) {
		if v := os.Getenv(name); v != "" {
			o.Secrets = append(o.Secrets, v)
		}
	}
	return notify.Open(o)
}

// Report implements Reporter. The channels that want a message get it side by side; the error joins those of all that did not.
func (n *Notifier) Report(ctx context.Context, j *Job, m notify.Message) error {
	told := n.told(j)
	before := notify.History{Failures: m.Failures}
	switch m.Event {
	case notify.Failure:
		before.Failures--
	case notify.Missed:
		before.Failures -= m.Missed
	}
	var to []*notify.Channel
	var errs []error
	changed := false
	inVain := func(name string) {
		if _, tried := told[name]; m.Trouble() && !tried {
			told[name], changed = time.Time{}, true
		}
	}
	for _, c := range n.c.Notify {
		at, tried := told[c.Name]
		if before.Told = at; tried && at.IsZero() && m.Event == notify.Recovered {
			before.Told = m.Time // it could not be told of the trouble: it is of its end, with how much of it there was
		}
		if !takes(c, j) || !notify.Wanted(rule(c), before, m) {
			continue
		}
		channel, err := n.Channel(ctx, c)
		if err != nil {
			errs = append(errs, err)
			inVain(c.Name)
			continue
		}
		to = append(to, channel)
	}
	for _, r := range notify.SendAll(ctx, to, m) {
		errs = append(errs, r.Warnings...)
		if r.Err != nil {
			errs = append(errs, r.Err)
			n.forget(r.Channel)
			inVain(r.Channel.Name())
		} else if m.Trouble() {
			told[r.Channel.Name()], changed = m.Time, true
		}
	}
	if m.Event == notify.Recovered && len(told) > 0 {
		told, changed = nil, true
	}
	if changed {
		errs = append(errs, n.setTold(j, told))
	}
	return inOneLine(errs)
}

// several are errors of several channels, which are told in one line.
type several []error

func inOneLine(errs []error) error {
	errs = slices.DeleteFunc(errs, func(err error) bool { return err == nil })
	if len(errs) < 2 {
		return errors.Join(errs...)
	}
	return several(errs)
}

// Error implements error.
func (s several) Error() string {
	var all []string
	for _, err := range s {
		all = append(all, err.Error())
	}
	return strings.Join(all, "; ")
}

// Unwrap gives errors.Is and errors.As all of them.
func (s several) Unwrap() []error { return s }

// takes reports whether a channel is for a job.
func takes(c *config.Channel, j *Job) bool {
	if len(j.Notify) > 0 {
		return slices.Contains(j.Notify, c.Name)
	}
	return c.All
}

func rule(c *config.Channel) notify.Rule {
	r := notify.Rule{After: c.After}
	for _, on := range c.On {
		r.On = append(r.On, notify.Event(on))
	}
	return r
}

func (n *Notifier) toldPath(j *Job) string {
	return filepath.Join(n.dir, safeName(j.Name), "told.json")
}

// told returns when each channel was last told of the trouble that lasts. What cannot be read was not told.
func (n *Notifier) told(j *Job) map[string]time.Time {
	told := map[string]time.Time{}
	if n.dir == "" {
		return told
	}
	raw, err := os.ReadFile(n.toldPath(j))
	if err != nil || len(raw) > maxSecret || json.Unmarshal(raw, &told) != nil || told == nil {
		return map[string]time.Time{}
	}
	return told
}

func (n *Notifier) setTold(j *Job, told map[string]time.Time) error {
	if n.dir == "" {
		return nil
	}
	path := n.toldPath(j)
	if len(told) == 0 {
		if err := os.Remove(path); !errors.Is(err, os.ErrNotExist) {
			return err
		}
		return nil
	}
	raw, err := json.Marshal(told)
	if err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return err
	}
	return writeFile(path, raw)
}
