package doctor

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"firn/internal/store"
)

// RulesFix is what the rules of a bucket should say.
type RulesFix struct {
	// Document has all rules of the bucket, those of others too, as JSON of the S3 API (BucketLifecycleConfiguration); nil where the present ones are not known whole.
	Document []byte
	// MinimumSize is TransitionDefaultMinimumObjectSize of the present rules, which stands outside of the document; empty: not set.
	MinimumSize string
	// Changes say what is different, rule by rule.
	Changes []string
}

// rule is a rule of the bucket as the checks see it: that of a store, and what only the document tells.
type rule struct {
	store.Rule
	tagged bool // it is about objects with certain tags only; firn sets none
	sized  bool // it is about objects of certain sizes only
	large  bool // it is about objects of 128 KiB and more, as all rules that say no size where the bucket does not ask for more
	wider  bool // it is about objects above the root of the store, too
}

// Traps looks only for rules of the bucket that would move or delete what has to stay, and for what an own rule would do good. See Options for root.
func Traps(ctx context.Context, st store.Store, root string) []Finding {
	d := &doctor{o: Options{Store: st, Root: root}}
	d.rules(ctx)
	return d.findings
}

// rulesDocument is a store that shows the rules of its bucket as the JSON document that the S3 API knows, so that a correction keeps what store.Rule leaves out.
type rulesDocument interface {
	RulesDocument(ctx context.Context) ([]byte, error)
}

// rules examines the rules of the bucket.
func (d *doctor) rules(ctx context.Context) {
	rules, doc, err := d.readRules(ctx)
	switch {
	case errors.Is(err, store.ErrDenied):
		d.add(Finding{Check: CheckRules, Severity: Note, What: "not known: the credentials may not see the rules of the bucket",
			Why: "a rule that moves or deletes objects would be noticed late", Fix: Fix{Grant: []string{"rules"}, Why: err}})
		return
	case errors.Is(err, store.ErrUnsupported), err == nil && rules == nil:
		d.ok(CheckRules, "the store has no rules of its own")
		return
	case err != nil:
		d.unknown(CheckRules, "the rules of the bucket cannot be read", err)
		return
	}
	var fix *RulesFix
	if doc != nil {
		if fix, err = doc.corrected(d.o.Root); err != nil {
			d.unknown(CheckRules, "the rules of the bucket cannot be read", err)
			return
		}
	}
	worst := OK
	for _, r := range rules {
		for _, f := range r.examine(d.o.Root) {
			if f.Severity >= Warning {
				f.Fix.Rules = fix
			}
			worst = max(worst, f.Severity)
			d.add(f)
		}
	}
	switch {
	case len(rules) == 0:
		d.ok(CheckRules, "the bucket has no rules about this repository")
	case worst == OK:
		d.ok(CheckRules, "%s, none of which moves or deletes what has to stay", counted(len(rules), "rule"))
	}
	d.uploads(rules, fix)
}

// readRules returns the rules, nil if the store knows none, and their document where it is at hand.
func (d *doctor) readRules(ctx context.Context) (rules []rule, doc *document, err error) {
	if d.o.Rules == nil {
		if s, ok := store.As[rulesDocument](d.o.Store); ok {
			if d.o.Rules, err = s.RulesDocument(ctx); err != nil {
				return nil, nil, err
			}
		}
	}
	if d.o.Rules != nil {
		if doc, err = parseDocument(d.o.Rules); err != nil {
			return nil, nil, err
		}
		return doc.about(d.o.Root), doc, nil
	}
	ruler, ok := store.As[store.Ruler](d.o.Store)
	if !ok {
		return nil, nil, nil
	}
	plain, err := ruler.Rules(ctx)
	if err != nil {
		return nil, nil, err
	}
	rules = []rule{}
	for _, r := range plain {
		rules = append(rules, rule{Rule: r})
	}
	return rules, nil, nil // of what others have in the bucket these tell nothing
}

// examine says what a rule does to a repository; nothing where it does no harm.
func (r rule) examine(root string) (out []Finding) {
	hot, data := within(r.Prefix)
	if !r.Enabled || r.Noncurrent || r.tagged && (r.Expires || r.Class != "") || len(hot) == 0 && !data {
		return nil
	}
	f := Finding{Check: CheckRules, Evidence: []string{r.describe(root)}}
	when := when(r.Days)
	switch {
	case r.Expires:
		f.Severity, f.What = Problem, fmt.Sprintf("rule %q deletes %s %s", r.ID, list(spell(hot, data)), when)
		f.Why = "backups are lost: an old object is as needed as a new one as long as any snapshot refers to it, and only pruning knows which do"
	case r.Class != "" && isCold(r.Class) && len(hot) > 0:
		f.Severity, f.What = Problem, fmt.Sprintf("rule %q moves %s to %s %s", r.ID, list(spell(hot, false)), r.Class, when)
		f.Why = whyHot
	case r.Class != "" && strings.EqualFold(r.Class, "INTELLIGENT_TIERING") && len(hot) > 0:
		f.Severity, f.What = Note, fmt.Sprintf("rule %q moves %s to %s %s", r.ID, list(spell(hot, false)), r.Class, when)
		f.Why = "they stay readable as long as its archive tiers are not turned on"
	case r.Class != "" && len(hot) > 0 && !sameClass(r.Class, "STANDARD"):
		f.Severity, f.What = Note, fmt.Sprintf("rule %q moves %s to %s %s", r.ID, list(spell(hot, false)), r.Class, when)
		f.Why = "they stay readable, but small objects are billed as larger ones there, and reading them costs by the gigabyte"
	case r.Class != "" && data:
		f.What = fmt.Sprintf("rule %q moves data/ to %s %s, which does no harm", r.ID, r.Class, when)
		f.Why = "the class that the store tells of counts, whatever a pack was stored in"
	default:
		return nil
	}
	if r.large && r.Class != "" {
		f.Evidence = append(f.Evidence, "it leaves objects of less than 128 KiB where they are")
	}
	if r.Narrowed && !r.sized && f.Severity == Problem {
		f.Severity = Warning
		f.Why += "; the rule is about some of these objects only, by size or by tags"
	}
	return []Finding{f}
}

// describe is the rule in a line.
func (r rule) describe(root string) string {
	var about string
	switch {
	case r.wider:
		about = "of the whole bucket, or more of it than this repository"
	case r.Prefix == "":
		about = "of the whole repository"
	default:
		about = fmt.Sprintf("that begin with %q", root+r.Prefix)
	}
	if r.sized {
		about += ", of certain sizes"
	}
	return "it is about objects " + about
}

// spell lists areas, shortly where it is all of them.
func spell(hot []string, data bool) []string {
	if len(hot) == len(areas())-1 {
		if data {
			return []string{"the whole repository"}
		}
		return []string{"everything but data/"}
	}
	if data {
		return append([]string{dataArea}, hot...)
	}
	return hot
}

// when says at what age a rule acts.
func when(days int) string {
	if days == 0 {
		return "at once, or at a set date"
	}
	return counted(days, "day") + " after they were stored"
}

func counted(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return fmt.Sprintf("%d %ss", n, what)
}

// uploads looks for a rule that clears away the parts of uploads that were given up.
func (d *doctor) uploads(rules []rule, fix *RulesFix) {
	for _, r := range rules {
		if r.Enabled && r.Aborts > 0 && r.Prefix == "" && !r.Narrowed {
			d.ok(CheckUploads, "rule %q clears parts of uploads that were cut off away after %s", r.ID, counted(r.Aborts, "day"))
			return
		}
	}
	d.add(Finding{Check: CheckUploads, Severity: Note, What: "no rule of the bucket clears away parts of uploads that were cut off",
		Why: "they are billed and shown in no listing; firn gives its own up, but not those of a machine that never comes back", Fix: Fix{Rules: fix}})
}
