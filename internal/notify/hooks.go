package notify

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"path"
	"strconv"
	"strings"
	"unicode/utf8"
)

// What a body is.
const (
	kindJSON = "application/json"
	kindText = "text/plain; charset=utf-8"
)

// webhook sends what a template makes, or the message as JSON, to any address.
type webhook struct {
	*caller
	method string
}

func newWebhook(c *Channel) (sender, error) {
	h, err := newCaller(c)
	if err != nil {
		return nil, err
	}
	w := &webhook{h, strings.ToUpper(cmpOr(c.o.Method, http.MethodPost))}
	if !isToken(w.method) || w.method == http.MethodConnect {
		return nil, c.wrong("method", "is none")
	}
	return w, nil
}

func (w *webhook) send(ctx context.Context, n *notice) error {
	body, kind := []byte(n.body), kindText
	if n.body == "" {
		body = n.m.JSON()
	}
	if json.Valid(body) {
		kind = kindJSON
	}
	_, err := w.call(ctx, w.method, w.url, kind, body)
	return err
}

// ntfy publishes as JSON (docs.ntfy.sh/publish, "Publish as JSON"), since titles are no ASCII and have no place in headers.
type ntfy struct {
	*caller
	topic string
}

// maxNtfy is the length of a message, in bytes; the server makes a file of what is longer than 4096.
const maxNtfy = 3900

func newNtfy(c *Channel) (sender, error) {
	h, err := newCaller(c)
	if err != nil {
		return nil, err
	}
	dir, topic := path.Split(strings.TrimRight(h.url.Path, "/"))
	if topic == "" {
		return nil, c.wrong("url", "names no topic: the last part of its path is the topic")
	}
	h.url.Path, h.url.RawPath = dir, ""
	return &ntfy{h, topic}, nil
}

func (w *ntfy) send(ctx context.Context, n *notice) error {
	text := n.body
	if text == "" {
		text = n.m.brief()
	} else {
		text = n.text
	}
	priority, tag := 3, "information_source"
	switch n.m.Event {
	case Start:
		priority, tag = 1, "arrow_forward"
	case Success:
		priority, tag = 2, "white_check_mark"
	case Failure:
		priority, tag = 4, "rotating_light"
	case Missed:
		priority, tag = 4, "warning"
	case Recovered:
		tag = "white_check_mark"
	}
	body, err := marshal(map[string]any{"topic": w.topic, "title": n.subject, "message": cutBytes(text, maxNtfy), "priority": priority, "tags": []string{tag}})
	if err != nil {
		return err
	}
	_, err = w.call(ctx, http.MethodPost, w.url, kindJSON, body)
	return err
}

// cutBytes shortens a text to so many bytes, at a character.
func cutBytes(s string, most int) string {
	if len(s) <= most {
		return s
	}
	end := most - len("…")
	for end > 0 && !utf8.RuneStart(s[end]) {
		end--
	}
	return s[:end] + "…"
}

// slack sends what Slack takes, and what Mattermost and Discord (at an address that ends in /slack) take as well. Only Slack looks at the blocks.
type slack struct{ *caller }

// Limits of Slack, in characters.
const (
	maxSlackHeader  = 150
	maxSlackSection = 3000
	maxSlackText    = 1900 // Discord: 2000 in all
)

func newSlack(c *Channel) (sender, error) {
	h, err := newCaller(c)
	return &slack{h}, err
}

func (w *slack) send(ctx context.Context, n *notice) error {
	body := []byte(n.body)
	if !json.Valid(body) || !bytes.HasPrefix(bytes.TrimSpace(body), []byte("{")) {
		var err error
		if body, err = slackJSON(n); err != nil {
			return err
		}
	}
	_, err := w.call(ctx, http.MethodPost, w.url, kindJSON, body)
	return err
}

// slackJSON makes the object; a template that makes an object by itself is sent as it is.
func slackJSON(n *notice) ([]byte, error) {
	text := n.text
	if n.body == "" {
		text = n.m.brief()
	}
	mark := map[Event]string{Start: "▶️ ", Success: "✅ ", Recovered: "✅ ", Failure: "❌ ", Missed: "⚠️ "}[n.m.Event]
	plain := func(s string, most int) map[string]any {
		return map[string]any{"type": "plain_text", "text": cut(cmpOr(s, "-"), most), "emoji": false}
	}
	return marshal(map[string]any{
		"text": harmless(cut(mark+n.subject, maxSubject)) + "\n```\n" + harmless(cut(strings.ReplaceAll(strings.TrimRight(text, "\n"), "`", "'"), maxSlackText-maxSubject)) + "\n```",
		"blocks": []any{
			map[string]any{"type": "header", "text": plain(mark+n.subject, maxSlackHeader)},
			map[string]any{"type": "section", "text": plain(text, maxSlackSection)},
		},
	})
}

// harmless keeps a text from calling people: <!channel>, @everyone.
func harmless(s string) string {
	return strings.NewReplacer("&", "&amp;", "<", "&lt;", ">", "&gt;", "@", "@\u200b").Replace(s)
}

// healthchecks pings as healthchecks.io/docs/http_api has it, there or at a server of one's own.
type healthchecks struct{ *caller }

// maxPing is how much of a body such a server keeps, in bytes.
const maxPing = 100_000

func newHealthchecks(c *Channel) (sender, error) {
	h, err := newCaller(c)
	return &healthchecks{h}, err
}

func (w *healthchecks) send(ctx context.Context, n *notice) error {
	to := *w.url
	switch n.m.Event {
	case Start:
		to = *w.url.JoinPath("start")
	case Success, Recovered:
	case Failure:
		to = *w.url.JoinPath("fail")
		if n.m.ExitCode > 0 && n.m.ExitCode < 256 {
			to = *w.url.JoinPath(strconv.Itoa(n.m.ExitCode))
		}
	case Missed:
		to = *w.url.JoinPath("fail")
	default:
		to = *w.url.JoinPath("log") // changes nothing about the check
	}
	if n.m.Run != "" && n.m.Event != Missed && n.m.Event != Test {
		query := to.Query()
		query.Set("rid", runID(n.m.Run))
		to.RawQuery = query.Encode()
	}
	answer, err := w.call(ctx, http.MethodPost, &to, kindText, []byte(tail(n.text, maxPing)))
	if err == nil && strings.Contains(answer, "(not found)") { // said with status 200
		return &failure{reason: ErrGone, err: errors.New("no check has this address"), answer: answer}
	}
	return err
}

// tail keeps the head of a text and, where it is too long, more of its end: that is where an error stands.
func tail(s string, most int) string {
	if len(s) <= most {
		return s
	}
	head := cutBytes(s, most/4)
	from := len(s) - (most - len(head) - 2)
	for from < len(s) && !utf8.RuneStart(s[from]) {
		from++
	}
	return head + "\n\n" + s[from:]
}

// runID makes a UUID (version 8, RFC 9562) of the name of a run: the server tells by it which end belongs to which start.
func runID(run string) string {
	sum := sha256.Sum256([]byte("firn run " + run))
	sum[6], sum[8] = sum[6]&0x0f|0x80, sum[8]&0x3f|0x80
	return fmt.Sprintf("%x-%x-%x-%x-%x", sum[:4], sum[4:6], sum[6:8], sum[8:10], sum[10:16])
}
