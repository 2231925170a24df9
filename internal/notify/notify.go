package notify

import (
	"cmp"
	"context"
	"crypto/x509"
	"encoding/json"
	"errors"
	"math/rand/v2"
	"net/url"
	"slices"
	"strings"
	"sync"
	"time"
)

// Options are the settings of one channel, and what it needs of the world. Secrets are given as they are.
type Options struct {
	Name string // as in the configuration, for errors
	Type string // mail, webhook, ntfy, slack, healthchecks, command

	To       []string // mail: addresses, with or without a name
	From     string   // mail; empty: User where that is an address, else the first of To
	Server   string   // mail: host or host:port; the port by default is 587 (starttls), 465 (tls) or 25 (none)
	TLS      string   // mail: starttls, tls, none. Empty: starttls, on the loopback interface none. none is taken as said also elsewhere, but then a password is never sent in the clear
	User     string   // mail; empty: nobody logs in
	Password string   // mail
	URL      string   // all others but command; http or https
	Token    string   // all others but command: sent as Authorization: Bearer; empty: none
	Method   string   // webhook; empty: POST
	Headers  map[string]string
	Subject  string        // template; empty: built in. The subject of a mail, the title of ntfy and slack
	Body     string        // template; empty: built in
	Command  string        // command: a line for the system's shell
	Timeout  time.Duration // of each try; 0: 30 s
	Tries    int           // 0: 3; at most 20
	Secrets  []string      // texts that must not stand in a message, such as passphrases; those of less than 4 bytes are ignored

	Roots *x509.CertPool                             // that certificates of servers are checked by; nil: those of the system
	Now   func() time.Time                           // nil: time.Now
	Sleep func(context.Context, time.Duration) error // between tries; nil: a timer
	Rand  func() float64                             // 0 to 1, spreads the waits; nil: random
}

// Types of channels.
var types = []string{"mail", "webhook", "ntfy", "slack", "healthchecks", "command"}

// Types returns the types of channels.
func Types() []string { return slices.Clone(types) }

// Waits between tries: at most first before the second, doubled each time, at most longest. Who wants us to wait for longer than patience is not asked again.
const (
	first    = time.Second
	longest  = 30 * time.Second
	patience = 2 * time.Minute
	maxTries = 20
)

// Channel takes messages somewhere. Its methods may be called by several goroutines at once.
type Channel struct {
	o             Options
	place         string // for errors
	subject, body *text
	inMessage     *strings.Replacer // takes secrets out of messages
	inError       *strings.Replacer // and out of errors, with all parts of the address
	sender        sender
}

// sender takes one notice somewhere, in one try. Errors are *failure, or count as a refusal.
type sender interface {
	send(ctx context.Context, n *notice) error
}

// notice is a message on its way through one channel.
type notice struct {
	m       Message // without secrets, within limits
	key     string  // of the message
	refers  string
	subject string // one line
	body    string // what the template said; empty: there is none, or it failed
	text    string // body, or the built-in text
	now     time.Time
	left    []string // mail: recipients that do not have it yet; nil: all
	got     int      // mail: how many have it
	refused []string // mail: recipients that never get it
}

// Open makes a channel. It fails with *OptionError where a setting is missing or impossible; it asks nobody whether the channel works. A template with a fault is no reason to fail: Faults tells it.
func Open(o Options) (*Channel, error) {
	if o.Timeout <= 0 {
		o.Timeout = 30 * time.Second
	}
	if o.Tries <= 0 {
		o.Tries = 3
	}
	o.Tries = min(o.Tries, maxTries)
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Sleep == nil {
		o.Sleep = sleep
	}
	if o.Rand == nil {
		o.Rand = rand.Float64
	}
	c := &Channel{o: o}
	c.inMessage, c.inError = replacers(o)
	var err error
	switch o.Type {
	case "mail":
		c.sender, err = newMail(c)
	case "webhook":
		c.sender, err = newWebhook(c)
	case "ntfy":
		c.sender, err = newNtfy(c)
	case "slack":
		c.sender, err = newSlack(c)
	case "healthchecks":
		c.sender, err = newHealthchecks(c)
	case "command":
		c.sender, err = newCommand(c)
	default:
		err = c.wrong("type", "is none of "+strings.Join(types, ", "))
	}
	if err != nil {
		return nil, err
	}
	c.subject, c.body = parseText(c, "subject", o.Subject), parseText(c, "body", o.Body)
	return c, nil
}

// wrong makes an error about a setting.
func (c *Channel) wrong(key, text string) error { return &OptionError{c.o.Name, key, text} }

// Name and Type of the channel.
func (c *Channel) Name() string { return c.o.Name }

// Type is what the channel is: mail, webhook, …
func (c *Channel) Type() string { return c.o.Type }

// Place is where it sends to, without what is secret: scheme://host/…, host:port; of a command nothing.
func (c *Channel) Place() string { return c.place }

// Faults tells what is wrong with the templates, of a message such as will come: *TemplateError. A channel with faults works all the same.
func (c *Channel) Faults() []error {
	var all []error
	now := c.o.Now()
	n := c.prepare(Message{ID: "id", Refers: "other", Run: "run", Event: Failure, Host: "host", Job: "job", Kind: "backup", Repository: "repository", Source: "source", Snapshot: "0123456789abcdef",
		Program: "firn", Time: now, Started: now, Seconds: 1, Summary: "summary", Error: "error", Hint: "hint", ExitCode: 1, Counts: Counts{1, 1, 1, 1, 1, 1, 1, 1, 1}, Problems: []Problem{{"path", "error"}},
		Failures: 1, Missed: 1, Since: now, LastSuccess: now, Next: now, Cost: 1, Currency: "USD", StaleAfter: 1, ReportFile: "file", Log: []string{"line"}, Report: []byte("{}"), Warnings: []string{"warning"}})
	for _, t := range []*text{c.subject, c.body} {
		if _, err := t.render(n.m); err != nil && !strings.Contains(err.Error(), "map has no entry") { // nobody knows what a report will have
			all = append(all, err)
		}
	}
	return all
}

// Result is how one channel fared.
type Result struct {
	Channel  *Channel
	Err      error // nil: it took the message; else *Error
	Warnings []error
	Tries    int
	Took     time.Duration
}

// Send takes a message to where the channel leads, in several tries where need be, and returns nil or an *Error. What is worth a warning is dropped: Deliver returns it.
func (c *Channel) Send(ctx context.Context, m Message) error { return c.Deliver(ctx, m).Err }

// SendAll takes a message to all channels side by side, and returns how each fared, in their order. None waits for another.
func SendAll(ctx context.Context, channels []*Channel, m Message) []Result {
	results := make([]Result, len(channels))
	var all sync.WaitGroup
	for i, c := range channels {
		all.Go(func() { results[i] = c.Deliver(ctx, m) })
	}
	all.Wait()
	return results
}

// Deliver is Send that tells all there is to tell.
func (c *Channel) Deliver(ctx context.Context, m Message) Result {
	began := c.o.Now()
	r := Result{Channel: c}
	n := c.prepare(m)
	r.Warnings = c.fill(n)
	for r.Tries < c.o.Tries {
		r.Tries++
		err := c.try(ctx, n)
		if err == nil {
			r.Err = nil
			break
		}
		r.Err = c.explain(ctx, err, r.Tries)
		if wait, again := c.again(ctx, err, r.Tries); !again || c.o.Sleep(ctx, wait) != nil {
			break
		}
	}
	r.Took = c.o.Now().Sub(began)
	return r
}

// try makes one try, within the time limit.
func (c *Channel) try(ctx context.Context, n *notice) error {
	limit, cancel := context.WithTimeout(ctx, c.o.Timeout)
	defer cancel()
	n.now = c.o.Now()
	err := c.sender.send(limit, n)
	var f *failure
	switch {
	case err == nil, errors.As(err, &f) && f.status != 0: // it was answered
		return err
	case ctx.Err() != nil:
		return &failure{reason: ErrStopped}
	case limit.Err() != nil:
		return &failure{reason: ErrTimeout, temporary: true}
	}
	return err
}

// again says how long to wait before the next try, and whether there is to be one.
func (c *Channel) again(ctx context.Context, err error, tries int) (wait time.Duration, again bool) {
	var f *failure
	if !errors.As(err, &f) || !f.temporary || tries >= c.o.Tries || ctx.Err() != nil || f.wait > patience {
		return 0, false
	}
	most := min(first<<min(tries-1, 10), longest)
	wait = most/16 + time.Duration(c.o.Rand()*float64(most)*15/16)
	return max(wait, f.wait), true
}

func sleep(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// prepare makes a notice of a message: without secrets, within limits.
func (c *Channel) prepare(m Message) *notice {
	n := &notice{key: m.Key(), refers: m.Thread()}
	if n.refers == n.key {
		n.refers = ""
	}
	m.Refers = n.refers
	n.m = m.clean(c.inMessage)
	n.m.ID = n.key
	if strings.ContainsAny(n.key, "\r\n") || c.inMessage.Replace(n.key) != n.key {
		n.m.ID = line(c.inMessage.Replace(n.key))
	}
	return n
}

// fill makes the texts of a notice, by templates where there are some, and returns what is to be told of them.
func (c *Channel) fill(n *notice) (warnings []error) {
	var faults []string
	use := func(t *text) string {
		made, fault := t.render(n.m)
		if fault == nil {
			return made
		}
		warnings = append(warnings, fault)
		faults = append(faults, fault.Error())
		return ""
	}
	n.subject = cut(line(c.inMessage.Replace(use(c.subject))), maxSubject)
	n.body = c.inMessage.Replace(use(c.body))
	n.m.Warnings = append(slices.Clone(n.m.Warnings), faults...)
	if n.subject == "" {
		n.subject = n.m.Title()
	}
	switch {
	case n.body == "":
		n.text = n.m.Text()
	case len(faults) > 0:
		n.text = n.body + "\n\n" + strings.Join(faults, "\n") + "\n"
	default:
		n.text = n.body
	}
	return warnings
}

// veil takes out of a text what must not be seen.
func (c *Channel) veil(s string) string { return c.inError.Replace(s) }

// hidden is what stands in the place of a secret.
const hidden = "[secret]"

// replacers take secrets out: out of messages what is named as one, the password, the token and the address; out of errors also its parts, which a server may quote.
func replacers(o Options) (inMessage, inError *strings.Replacer) {
	secrets := append([]string{o.Password, o.Token, o.URL}, o.Secrets...)
	for name, value := range o.Headers {
		lower := strings.ToLower(name)
		for _, word := range []string{"auth", "token", "key", "secret", "cookie", "pass"} {
			if strings.Contains(lower, word) {
				_, rest, _ := strings.Cut(value, " ")
				secrets = append(secrets, value, rest)
				break
			}
		}
	}
	parts := slices.Clone(secrets)
	parts = append(parts, o.Command)
	if u, err := url.Parse(o.URL); err == nil {
		if pass, ok := u.User.Password(); ok {
			secrets, parts = append(secrets, pass), append(parts, pass, u.User.String())
		} else if u.User != nil { // a token
			secrets, parts = append(secrets, u.User.Username()), append(parts, u.User.Username())
		}
		parts = append(parts, u.RequestURI(), u.EscapedPath(), u.Path, u.RawQuery)
		for _, part := range strings.FieldsFunc(u.EscapedPath()+"&"+u.RawQuery, func(r rune) bool { return strings.ContainsRune("/&=;", r) }) {
			if len(part) >= 8 {
				parts = append(parts, part)
			}
		}
	}
	return replacer(secrets), replacer(parts)
}

// replacer replaces each of these texts, also where it stands in JSON or in an address; longer ones first.
func replacer(secrets []string) *strings.Replacer {
	var all []string
	for _, s := range secrets {
		if s = strings.TrimSpace(s); len(s) < 4 {
			continue
		}
		raw, _ := json.Marshal(s)
		all = append(all, s, quoted(s), string(raw[1:len(raw)-1]), url.QueryEscape(s), url.PathEscape(s))
	}
	slices.SortFunc(all, func(a, b string) int { return cmp.Or(len(b)-len(a), strings.Compare(a, b)) })
	pairs := make([]string, 0, 2*len(all))
	for _, s := range slices.Compact(all) {
		pairs = append(pairs, s, hidden)
	}
	return strings.NewReplacer(pairs...)
}
