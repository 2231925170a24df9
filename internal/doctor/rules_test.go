package doctor

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"firn/internal/store"
	"firn/internal/store/mem"
)

// tell returns severities and texts of the findings of one check.
func tell(findings []Finding, check string) (out []string) {
	for _, f := range findings {
		if f.Check == check {
			out = append(out, f.Severity.String()+": "+f.What)
		}
	}
	return out
}

// TestTraps looks at rules as stores tell them.
func TestTraps(t *testing.T) {
	on := func(r store.Rule) store.Rule { r.ID, r.Enabled = "r", true; return r }
	for name, c := range map[string]struct {
		rule store.Rule
		want string // beginning of the first finding
	}{
		"nothing":           {on(store.Rule{Noncurrent: true, Days: 7, Expires: true}), "ok: 1 rule, none of which"},
		"all cold":          {on(store.Rule{Days: 30, Class: "GLACIER"}), `problem: rule "r" moves everything but data/ to GLACIER 30 days after they were stored`},
		"at once":           {on(store.Rule{Class: "DEEP_ARCHIVE"}), `problem: rule "r" moves everything but data/ to DEEP_ARCHIVE at once`},
		"unknown class":     {on(store.Rule{Days: 1, Class: "ICE"}), "problem: "},
		"narrowed":          {on(store.Rule{Days: 30, Class: "GLACIER", Narrowed: true}), "warning: "},
		"off":               {store.Rule{ID: "r", Days: 30, Class: "GLACIER"}, "ok: "},
		"meta":              {on(store.Rule{Prefix: "me", Days: 30, Class: "GLACIER"}), `problem: rule "r" moves meta/ to GLACIER`},
		"in meta":           {on(store.Rule{Prefix: "meta/0123", Days: 30, Class: "GLACIER"}), `problem: rule "r" moves meta/ `},
		"s":                 {on(store.Rule{Prefix: "s", Days: 30, Class: "GLACIER"}), `problem: rule "r" moves snapshots/ and state/ `},
		"firn.json":         {on(store.Rule{Prefix: "firn.json", Days: 30, Class: "GLACIER"}), `problem: rule "r" moves firn.json `},
		"data":              {on(store.Rule{Prefix: "data/", Days: 1, Class: "DEEP_ARCHIVE"}), `ok: rule "r" moves data/ to DEEP_ARCHIVE 1 day after they were stored, which does no harm`},
		"data, by its head": {on(store.Rule{Prefix: "d", Days: 0, Class: "DEEP_ARCHIVE"}), "ok: "},
		"others":            {on(store.Rule{Prefix: "photos/", Days: 1, Expires: true}), "ok: 1 rule"},
		"deletes data":      {on(store.Rule{Prefix: "data/", Days: 365, Expires: true}), `problem: rule "r" deletes data/ 365 days`},
		"deletes all":       {on(store.Rule{Days: 365, Expires: true}), `problem: rule "r" deletes the whole repository 365 days`},
		"deletes locks":     {on(store.Rule{Prefix: "prune/", Days: 365, Expires: true}), `problem: rule "r" deletes prune/`},
		"infrequent":        {on(store.Rule{Days: 30, Class: "STANDARD_IA"}), `note: rule "r" moves everything but data/ to STANDARD_IA`},
		"tiering":           {on(store.Rule{Days: 0, Class: "INTELLIGENT_TIERING"}), "note: "},
		"uploads":           {on(store.Rule{Aborts: 3}), "ok: 1 rule"},
	} {
		st := mem.New(mem.Options{Rules: []store.Rule{c.rule}})
		findings := Traps(t.Context(), st, "")
		got := tell(findings, CheckRules)
		if len(got) == 0 || !strings.HasPrefix(got[0], c.want) {
			t.Errorf("%s: %q, want %q", name, got, c.want)
		}
		uploads := tell(findings, CheckUploads)
		if c.rule.Aborts > 0 != strings.HasPrefix(uploads[0], "ok: ") {
			t.Errorf("%s: %q", name, uploads)
		}
		for _, f := range findings {
			if f.Severity >= Warning && (f.Why == "" || len(f.Evidence) == 0 || f.Fix.Rules != nil) {
				t.Errorf("%s: %+v", name, f)
			}
		}
	}
	findings := Traps(t.Context(), documented{mem.New(mem.Options{}), ""}, "nas/")
	if got := tell(findings, CheckUploads); len(findings) != 2 || findings[0].What != "the bucket has no rules about this repository" || !strings.HasPrefix(got[0], "note: ") || findings[1].Fix.Rules == nil ||
		!strings.Contains(string(findings[1].Fix.Rules.Document), `"Prefix": "nas/"`) {
		t.Errorf("no rules: %+v", findings)
	}
	refusing := mem.New(mem.Options{Watch: func(r mem.Request) error { return store.ErrDenied }})
	if got := tell(Traps(t.Context(), refusing, ""), CheckRules); len(got) != 1 || !strings.HasPrefix(got[0], "note: not known") {
		t.Errorf("refused: %q", got)
	}
	broken := mem.New(mem.Options{Watch: func(r mem.Request) error { return errors.New("hm") }})
	if got := tell(Traps(t.Context(), broken, ""), CheckRules); len(got) != 1 || !strings.HasPrefix(got[0], "note: not known") {
		t.Errorf("broken: %q", got)
	}
}

// documented is a store that shows its rules as a document.
type documented struct {
	store.Store
	doc string
}

func (s documented) RulesDocument(context.Context) ([]byte, error) { return []byte(s.doc), nil }

// correct returns the rules of a corrected document by ID, and what was changed.
func correct(t *testing.T, doc, root string) (map[string]lifecycle, *RulesFix) {
	t.Helper()
	d, err := parseDocument([]byte(doc))
	if err != nil {
		t.Fatal(err)
	}
	fix, err := d.corrected(root)
	if err != nil {
		t.Fatal(err)
	}
	again, err := parseDocument(fix.Document)
	if err != nil {
		t.Fatalf("%v in %s", err, fix.Document)
	}
	rules := map[string]lifecycle{}
	for _, l := range again.Rules {
		rules[l.text("ID")] = l
	}
	if len(rules) != len(again.Rules) {
		t.Errorf("an ID stands twice in %s", fix.Document)
	}
	return rules, fix
}

const wholeBucket = `{"TransitionDefaultMinimumObjectSize": "varies_by_storage_class", "Rules": [
  {"ID": "archive", "Status": "Enabled", "Filter": {}, "Transitions": [{"Days": 30, "StorageClass": "GLACIER"}], "NoncurrentVersionExpiration": {"NoncurrentDays": 90}},
  {"ID": "photos", "Status": "Enabled", "Filter": {"Prefix": "photos/"}, "Transitions": [{"Days": 1, "StorageClass": "DEEP_ARCHIVE"}], "Expiration": {"Days": 9}, "Unknown": {"a": 1}},
  {"ID": "tagged", "Status": "Enabled", "Filter": {"Tag": {"Key": "a", "Value": "b"}}, "Expiration": {"Days": 1}},
  {"ID": "marks", "Status": "Enabled", "Filter": {"Prefix": ""}, "Expiration": {"ExpiredObjectDeleteMarker": true}},
  {"ID": "off", "Status": "Disabled", "Filter": {}, "Expiration": {"Days": 1}},
  {"ID": "data", "Status": "Enabled", "Filter": {"Prefix": "nas/data/"}, "Transitions": [{"Days": 3, "StorageClass": "DEEP_ARCHIVE"}]},
  {"ID": "old", "Status": "Enabled", "Prefix": "nas/meta/", "Transitions": [{"Days": 3, "StorageClass": "DEEP_ARCHIVE"}]},
  {"ID": "big", "Status": "Enabled", "Filter": {"ObjectSizeGreaterThan": 1000000}, "Transitions": [{"Date": "2027-01-01T00:00:00Z", "StorageClass": "GLACIER"}]},
  {"ID": "small and dead", "Status": "Enabled", "Filter": {"And": {"Prefix": "nas/", "ObjectSizeLessThan": 5}}, "Expiration": {"Days": 5}}]}`

func TestCorrected(t *testing.T) {
	rules, fix := correct(t, wholeBucket, "nas/")
	want := map[string]string{
		"archive":                              `{"Filter":{},"ID":"archive","NoncurrentVersionExpiration":{"NoncurrentDays":90},"Status":"Enabled"}`,
		"archive 2":                            `{"Filter":{"Prefix":"nas/data/"},"ID":"archive 2","Status":"Enabled","Transitions":[{"Days":30,"StorageClass":"GLACIER"}]}`,
		"photos":                               `{"Expiration":{"Days":9},"Filter":{"Prefix":"photos/"},"ID":"photos","Status":"Enabled","Transitions":[{"Days":1,"StorageClass":"DEEP_ARCHIVE"}],"Unknown":{"a":1}}`,
		"tagged":                               `{"Expiration":{"Days":1},"Filter":{"Tag":{"Key":"a","Value":"b"}},"ID":"tagged","Status":"Enabled"}`,
		"marks":                                `{"Expiration":{"ExpiredObjectDeleteMarker":true},"Filter":{"Prefix":""},"ID":"marks","Status":"Enabled"}`,
		"off":                                  `{"Expiration":{"Days":1},"Filter":{},"ID":"off","Status":"Disabled"}`,
		"data":                                 `{"Filter":{"Prefix":"nas/data/"},"ID":"data","Status":"Enabled","Transitions":[{"Days":3,"StorageClass":"DEEP_ARCHIVE"}]}`,
		"big":                                  `{"Filter":{"And":{"Prefix":"nas/data/","ObjectSizeGreaterThan":1000000}},"ID":"big","Status":"Enabled","Transitions":[{"Date":"2027-01-01T00:00:00Z","StorageClass":"GLACIER"}]}`,
		"clear away uploads that were cut off": `{"AbortIncompleteMultipartUpload":{"DaysAfterInitiation":7},"Filter":{"Prefix":"nas/"},"ID":"clear away uploads that were cut off","Status":"Enabled"}`,
	}
	for id, l := range rules {
		raw, err := json.Marshal(l)
		if err != nil || compact(string(raw)) != want[id] {
			t.Errorf("%s: %s, want %s", id, compact(string(raw)), want[id])
		}
	}
	if len(rules) != len(want) {
		t.Errorf("%d rules, want %d: %s", len(rules), len(want), fix.Document)
	}
	changes := strings.Join(fix.Changes, "\n")
	for _, words := range []string{`rule "archive" moves "nas/data/" only; for objects outside of "nas/"`, `rule "old" moves nothing any more`, `rule "small and dead" deletes no objects any more`, `new: parts of uploads below "nas/"`} {
		if !strings.Contains(changes, words) {
			t.Errorf("no %q in %s", words, changes)
		}
	}
	if len(fix.Changes) != 5 || fix.MinimumSize != "varies_by_storage_class" {
		t.Errorf("%q, %q", fix.Changes, fix.MinimumSize)
	}
	if rules, _ := correct(t, wholeBucket, ""); rules["photos"] == nil || rules["big"] == nil {
		t.Error("a bucket of firn's own: a rule about a prefix that is none of firn's went")
	}
}

func compact(s string) string {
	var b bytes.Buffer
	if err := json.Compact(&b, []byte(s)); err != nil {
		return err.Error()
	}
	return b.String()
}

// TestTrapsByDocument takes what the document tells beyond store.Rule into account.
func TestTrapsByDocument(t *testing.T) {
	st := documented{mem.New(mem.Options{}), wholeBucket}
	got := tell(Traps(t.Context(), st, "nas/"), CheckRules)
	want := []string{
		`problem: rule "archive" moves everything but data/ to GLACIER 30 days`, `ok: rule "data" moves data/`, `problem: rule "old" moves meta/ to DEEP_ARCHIVE 3 days`,
		`problem: rule "big" moves everything but data/ to GLACIER at once, or at a set date`, `problem: rule "small and dead" deletes the whole repository 5 days`,
	}
	if len(got) != len(want) {
		t.Fatalf("%q", got)
	}
	for i := range want {
		if !strings.HasPrefix(got[i], want[i]) {
			t.Errorf("%q, want %q", got[i], want[i])
		}
	}
	for _, f := range Traps(t.Context(), st, "nas/") {
		if f.Severity >= Warning && f.Fix.Rules == nil {
			t.Errorf("%+v", f)
		}
	}
	if got := tell(Traps(t.Context(), st, "elsewhere/"), CheckRules); len(got) != 2 {
		t.Errorf("of another prefix: %q", got)
	}
	for _, bad := range []string{"x", "[]", `{"Rules":[null]}`, `{"Rules":[{"Filter":3}]}`, `{"Rules":[{"Filter":{"And":{"And":{}}}}]}`, `{"rule":1}`, `{"Rules":[` + strings.Repeat("{},", maxRules) + "{}]}"} {
		st.doc = bad
		if got := tell(Traps(t.Context(), st, ""), CheckRules); len(got) != 1 || !strings.HasPrefix(got[0], "note: not known") {
			t.Errorf("%.40q: %q", bad, got)
		}
	}
}

// TestNull: members that are null are none, as some programs write them.
func TestNull(t *testing.T) {
	doc := `{"Rules": [{"ID": "x", "Status": "Enabled", "Prefix": null, "Expiration": null, "Filter": {"Prefix": "", "Tag": null, "And": null, "ObjectSizeLessThan": null}, "Transitions": [{"Days": 1, "Date": null, "StorageClass": "GLACIER"}]}]}`
	if got := tell(Traps(t.Context(), documented{mem.New(mem.Options{}), doc}, ""), CheckRules); len(got) != 1 || !strings.HasPrefix(got[0], "problem: ") {
		t.Errorf("%q", got)
	}
	if rules, fix := correct(t, doc, ""); len(rules) != 2 || strings.Contains(string(fix.Document), "null,") && !strings.Contains(string(fix.Document), `"Date": null`) {
		t.Errorf("%s", fix.Document)
	}
}

// randomDocument makes rules of every sort.
func randomDocument(r *rand.Rand) string {
	pick := func(from ...string) string { return from[r.IntN(len(from))] }
	var rules []string
	for i := range r.IntN(6) {
		members := []string{fmt.Sprintf(`"ID": %q`, pick("a", "b", strings.Repeat("x", maxRuleID))+fmt.Sprint(i)), fmt.Sprintf(`"Status": %q`, pick("Enabled", "Enabled", "Disabled"))}
		prefix := pick("", "n", "nas", "nas/", "nas/d", "nas/data/", "nas/meta/", "nas/s", "nas/firn.json", "nasty/", "photos/")
		members = append(members, pick(
			fmt.Sprintf(`"Prefix": %q`, prefix), fmt.Sprintf(`"Filter": {"Prefix": %q}`, prefix), `"Filter": {}`, `"Filter": {"ObjectSizeGreaterThan": 10}`,
			fmt.Sprintf(`"Filter": {"And": {"Prefix": %q, "ObjectSizeLessThan": 1000}}`, prefix), fmt.Sprintf(`"Filter": {"And": {"Prefix": %q, "Tags": [{"Key": "k", "Value": "v"}]}}`, prefix)))
		for _, action := range []string{
			fmt.Sprintf(`"Transitions": [{"Days": 1, "StorageClass": %q}, {"Days": 9, "StorageClass": %q}]`, pick("STANDARD_IA", "GLACIER"), pick("DEEP_ARCHIVE", "GLACIER_IR")),
			pick(`"Expiration": {"Days": 3}`, `"Expiration": {"ExpiredObjectDeleteMarker": true}`, `"Expiration": {"Date": "2027-01-01"}`),
			`"NoncurrentVersionExpiration": {"NoncurrentDays": 3}`, fmt.Sprintf(`"AbortIncompleteMultipartUpload": {"DaysAfterInitiation": %d}`, 1+r.IntN(9)),
		} {
			if r.IntN(2) == 0 {
				members = append(members, action)
			}
		}
		rules = append(rules, "{"+strings.Join(members, ", ")+"}")
	}
	return `{"Rules": [` + strings.Join(rules, ", ") + "]}"
}

// TestCorrectedIsRight: whatever the rules, the corrected ones do no harm, and correcting them again changes nothing.
func TestCorrectedIsRight(t *testing.T) {
	for seed := range uint64(2000) {
		doc := randomDocument(rand.New(rand.NewPCG(seed, 1)))
		checkCorrected(t, []byte(doc), "nas/")
		checkCorrected(t, []byte(doc), "")
	}
}

func checkCorrected(t *testing.T, doc []byte, root string) {
	t.Helper()
	d, err := parseDocument(doc)
	if err != nil {
		if !errors.Is(err, ErrDocument) {
			t.Errorf("%v", err)
		}
		return
	}
	fix, err := d.corrected(root)
	if err != nil {
		t.Fatal(err)
	}
	again, err := parseDocument(fix.Document)
	if len(d.Rules) == maxRules || errors.Is(err, ErrDocument) && len(d.Rules)*2+1 > maxRules {
		return // there may be no room for what is split
	}
	if err != nil {
		t.Fatalf("%v\n%s\n%s", err, doc, fix.Document)
	}
	for _, r := range again.about(root) {
		for _, f := range r.examine(root) {
			if f.Severity >= Warning {
				t.Fatalf("%s\nbecomes %s\nwhich %s", doc, fix.Document, f.What)
			}
		}
	}
	twice, err := again.corrected(root)
	if err != nil || len(twice.Changes) > 0 || !bytes.Equal(twice.Document, fix.Document) {
		t.Fatalf("%s\nbecomes %s\nand then %s", doc, fix.Document, twice.Document)
	}
	for _, l := range d.Rules { // what is none of firn's stays
		if tags, _ := l.narrowed(); tags || l.text("Status") != "Enabled" || !strings.HasPrefix(root, l.prefix()) && !strings.HasPrefix(l.prefix(), root) {
			if !slices.ContainsFunc(again.Rules, func(o lifecycle) bool { return o.text("ID") == l.text("ID") && o.prefix() == l.prefix() }) {
				t.Fatalf("rule %q is gone", l.text("ID"))
			}
		}
	}
}

func FuzzDocument(f *testing.F) {
	f.Add([]byte(wholeBucket))
	f.Add([]byte(randomDocument(rand.New(rand.NewPCG(7, 7)))))
	f.Add([]byte(`{"Rules":[{"Filter":{"And":null,"Tag":null,"Prefix":null},"Transitions":null,"Expiration":null}]}`))
	f.Add([]byte(`{"Rules":null}`))
	f.Fuzz(func(t *testing.T, doc []byte) { checkCorrected(t, doc, "nas/") })
}
