package doctor

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
)

// Limits of rule documents. A bucket has at most 1,000 rules (Amazon S3 User Guide, "Managing the lifecycle of objects").
const (
	maxDocument = 4 << 20
	maxRules    = 1000
	maxRuleID   = 255
)

// abortDays is after how many days an upload that was cut off can be taken for given up.
const abortDays = 7

// smallToo is the value of TransitionDefaultMinimumObjectSize that lets rules move small objects, too.
const smallToo = "varies_by_storage_class"

// ErrDocument is the reason of all errors about rule documents.
var ErrDocument = errors.New("not rules of a bucket as JSON of the S3 API")

// document is what GetBucketLifecycleConfiguration answers, in the JSON of the S3 API. Members that firn does not know stay as they are.
type document struct {
	Rules       []lifecycle `json:"Rules"`
	MinimumSize string      `json:"TransitionDefaultMinimumObjectSize,omitempty"`
}

// lifecycle is one rule, with all its members as they were.
type lifecycle map[string]json.RawMessage

// filter says which objects a rule is about: one member, or And with several.
type filter struct {
	Prefix  *string         `json:"Prefix,omitempty"`
	Tag     json.RawMessage `json:"Tag,omitempty"`
	Tags    json.RawMessage `json:"Tags,omitempty"` // in And
	Greater json.RawMessage `json:"ObjectSizeGreaterThan,omitempty"`
	Less    json.RawMessage `json:"ObjectSizeLessThan,omitempty"`
	And     *filter         `json:"And,omitempty"`
}

// action is one transition, or the expiration.
type action struct {
	Days   int    `json:"Days"`
	Date   string `json:"Date"`
	Class  string `json:"StorageClass"`
	Marker bool   `json:"ExpiredObjectDeleteMarker"`
}

// parseDocument reads a document; one without rules may be empty.
func parseDocument(raw []byte) (*document, error) {
	d := &document{}
	if len(bytes.TrimSpace(raw)) == 0 {
		return d, nil
	}
	if len(raw) > maxDocument {
		return nil, fmt.Errorf("%w: longer than %d bytes", ErrDocument, maxDocument)
	}
	var known struct {
		Rules *[]lifecycle
		document
	}
	if err := json.Unmarshal(raw, &known); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrDocument, err)
	}
	if known.Rules == nil {
		return nil, fmt.Errorf("%w: it has no member Rules", ErrDocument)
	}
	d.Rules, d.MinimumSize = *known.Rules, known.MinimumSize
	if len(d.Rules) > maxRules {
		return nil, fmt.Errorf("%w: more than %d rules", ErrDocument, maxRules)
	}
	for i, l := range d.Rules {
		for member, value := range l {
			if string(value) == "null" {
				delete(l, member)
			}
		}
		if err := l.check(); err != nil {
			return nil, fmt.Errorf("%w: rule %d: %w", ErrDocument, i+1, err)
		}
	}
	return d, nil
}

// check makes sure that what the other methods read can be read.
func (l lifecycle) check() error {
	if l == nil {
		return errors.New("it is null")
	}
	var id, status, prefix string
	var f filter
	var one action
	var many []action
	for member, into := range map[string]any{"ID": &id, "Status": &status, "Prefix": &prefix, "Filter": &f, "Expiration": &one, "Transitions": &many,
		"AbortIncompleteMultipartUpload": &struct{ DaysAfterInitiation int }{}} {
		if raw, ok := l[member]; ok {
			if err := json.Unmarshal(raw, into); err != nil {
				return fmt.Errorf("%s: %w", member, err)
			}
		}
	}
	if f.And != nil && f.And.And != nil {
		return errors.New("filter: And within And")
	}
	return nil
}

func (l lifecycle) text(member string) (s string) {
	_ = json.Unmarshal(l[member], &s) // check has tried; absent is empty
	return s
}

func (l lifecycle) filter() (f filter) {
	_ = json.Unmarshal(l["Filter"], &f)
	for _, part := range []*filter{&f, f.And} {
		if part == nil {
			continue
		}
		for _, raw := range []*json.RawMessage{&part.Tag, &part.Tags, &part.Greater, &part.Less} {
			if string(*raw) == "null" {
				*raw = nil
			}
		}
	}
	return f
}

func (l lifecycle) transitions() (list []action) {
	_ = json.Unmarshal(l["Transitions"], &list)
	return list
}

func (l lifecycle) expiration() (a action) {
	_ = json.Unmarshal(l["Expiration"], &a)
	return a
}

func (l lifecycle) aborts() int {
	var a struct{ DaysAfterInitiation int }
	_ = json.Unmarshal(l["AbortIncompleteMultipartUpload"], &a)
	return a.DaysAfterInitiation
}

// expires reports whether the rule deletes objects; one about marks of deletion alone does not.
func (l lifecycle) expires() bool {
	a := l.expiration()
	return a.Days > 0 || a.Date != ""
}

// prefix is that of the keys that the rule is about, from the top of the bucket.
func (l lifecycle) prefix() string {
	f := l.filter()
	if f.And != nil {
		f = *f.And
	}
	if f.Prefix != nil {
		return *f.Prefix
	}
	return l.text("Prefix")
}

func (l lifecycle) narrowed() (tags, size bool) {
	f := l.filter()
	if f.And != nil {
		f = *f.And
	}
	return len(f.Tag) > 0 || len(f.Tags) > 0, len(f.Greater) > 0 || len(f.Less) > 0
}

// about returns what the document says of keys below root.
func (d *document) about(root string) []rule {
	rules := []rule{}
	for _, l := range d.Rules {
		prefix := l.prefix()
		below, inside := strings.CutPrefix(prefix, root)
		if !inside && !strings.HasPrefix(root, prefix) {
			continue
		}
		r := rule{wider: !inside}
		if inside {
			r.Prefix = below
		}
		r.tagged, r.sized = l.narrowed()
		r.large = !r.sized && d.MinimumSize != smallToo
		r.ID, r.Enabled, r.Narrowed = l.text("ID"), l.text("Status") == "Enabled", r.sized || r.tagged
		for _, t := range l.transitions() {
			move := r
			move.Days, move.Class = t.Days, t.Class
			rules = append(rules, move)
		}
		if l.expires() {
			end := r
			end.Days, end.Expires = l.expiration().Days, true
			rules = append(rules, end)
		}
		if l.aborts() > 0 {
			abort := r
			abort.Aborts = l.aborts()
			rules = append(rules, abort)
		}
	}
	return rules
}

// corrected returns the document as it should be for a repository below root. Rules that do no harm stay as they are.
func (d *document) corrected(root string) (*RulesFix, error) {
	fix := &RulesFix{MinimumSize: d.MinimumSize}
	out := struct {
		Rules []lifecycle `json:"Rules"`
	}{Rules: []lifecycle{}}
	ids := map[string]bool{}
	aborts := false
	for _, l := range d.Rules {
		ids[l.text("ID")] = true
	}
	for _, l := range d.Rules {
		parts, change := l.corrected(root, ids)
		if change != "" {
			fix.Changes = append(fix.Changes, change)
		}
		for _, p := range parts {
			tags, size := p.narrowed()
			aborts = aborts || p.text("Status") == "Enabled" && p.aborts() > 0 && strings.HasPrefix(root, p.prefix()) && !tags && !size
			out.Rules = append(out.Rules, p)
		}
	}
	if !aborts {
		out.Rules = append(out.Rules, abortRule(root, ids))
		fix.Changes = append(fix.Changes, fmt.Sprintf("new: parts of uploads below %q that were cut off are cleared away after %d days", root, abortDays))
	}
	var err error
	fix.Document, err = json.MarshalIndent(out, "", "  ")
	fix.Document = append(fix.Document, '\n')
	return fix, err
}

func abortRule(root string, ids map[string]bool) lifecycle {
	l := lifecycle{"Status": encode("Enabled"), "AbortIncompleteMultipartUpload": encode(map[string]int{"DaysAfterInitiation": abortDays})}
	l["ID"] = encode(unused("clear away uploads that were cut off", ids))
	l.limit(root)
	return l
}

// encode is the JSON of texts, numbers and what is made of them, which cannot fail.
func encode(v any) json.RawMessage {
	raw, err := json.Marshal(v)
	if err != nil {
		panic(err)
	}
	return raw
}

// unused makes a rule's ID that no other rule has.
func unused(id string, ids map[string]bool) string {
	for n, try := 2, id; ; n++ {
		if !ids[try] {
			ids[try] = true
			return try
		}
		suffix := fmt.Sprintf(" %d", n)
		try = strings.ToValidUTF8(id[:min(len(id), maxRuleID-len(suffix))], "") + suffix
	}
}

// limit makes the rule one about keys that begin with prefix. Tags and sizes stay.
func (l lifecycle) limit(prefix string) {
	f := l.filter()
	delete(l, "Prefix") // the older form, which may not stand beside the newer one
	switch {
	case f.And != nil:
		f.And.Prefix = &prefix
	case len(f.Tag) > 0:
		f = filter{And: &filter{Prefix: &prefix, Tags: encode([]json.RawMessage{f.Tag})}}
	case len(f.Greater) > 0 || len(f.Less) > 0:
		f = filter{And: &filter{Prefix: &prefix, Greater: f.Greater, Less: f.Less}}
	default:
		f = filter{Prefix: &prefix}
	}
	l["Filter"] = encode(f)
}

// acts reports whether the rule does anything.
func (l lifecycle) acts() bool {
	for _, member := range []string{"Transitions", "Expiration", "NoncurrentVersionTransitions", "NoncurrentVersionExpiration", "AbortIncompleteMultipartUpload"} {
		if _, ok := l[member]; ok {
			return true
		}
	}
	return false
}

// corrected returns what the rule should be, in as many rules as that takes, and what is different.
func (l lifecycle) corrected(root string, ids map[string]bool) (parts []lifecycle, change string) {
	rest, prefix := copyRule(l), l.prefix()
	if _, old := rest["Filter"]; !old {
		rest.limit(prefix)
	}
	below, inside := strings.CutPrefix(prefix, root)
	tags, _ := l.narrowed()
	if !inside && !strings.HasPrefix(root, prefix) || tags || l.text("Status") != "Enabled" {
		return []lifecycle{rest}, ""
	}
	hot, data := within(below)
	if !inside {
		hot, data = within("")
	}
	var changes []string
	if l.expires() && (len(hot) > 0 || data) {
		delete(rest, "Expiration")
		changes = append(changes, "deletes no objects any more")
	}
	chills := slices.ContainsFunc(l.transitions(), func(t action) bool { return isCold(t.Class) })
	var kept lifecycle
	if chills && len(hot) > 0 {
		delete(rest, "Transitions")
		changes = append(changes, "moves nothing any more")
		if data {
			changes[len(changes)-1] = fmt.Sprintf("moves %q only", root+dataArea)
			kept = copyRule(l)
			for _, member := range []string{"Expiration", "NoncurrentVersionTransitions", "NoncurrentVersionExpiration", "AbortIncompleteMultipartUpload"} {
				delete(kept, member)
			}
			kept.limit(root + dataArea)
		}
	}
	if len(changes) == 0 {
		return []lifecycle{rest}, ""
	}
	if rest.acts() {
		parts = append(parts, rest)
	}
	if kept != nil {
		if len(parts) > 0 {
			kept["ID"] = encode(unused(l.text("ID"), ids))
		}
		parts = append(parts, kept)
	}
	change = fmt.Sprintf("rule %q %s", l.text("ID"), list(changes))
	if !inside {
		change += fmt.Sprintf("; for objects outside of %q it has to be written anew, with their own prefixes", root)
	}
	return parts, change
}

func copyRule(l lifecycle) lifecycle {
	out := make(lifecycle, len(l))
	for member, value := range l {
		out[member] = value
	}
	return out
}
