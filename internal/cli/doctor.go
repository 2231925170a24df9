package cli

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"os"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"firn/internal/advice"
	"firn/internal/doctor"
	"firn/internal/repo"
	"firn/internal/state"
	"firn/internal/store"
	"firn/internal/wire"
)

// doctorCommand looks for what will go wrong.
type doctorCommand struct {
	c        *console
	store    storeFlags
	secrets  secretFlags
	host     hostFlags
	rules    string
	fixRules string
	readOnly bool
	thorough bool

	bucket string // empty: the store is none
}

func newDoctor(c *console) *cobra.Command {
	x := &doctorCommand{c: c}
	cmd := &cobra.Command{
		Use:   "doctor",
		Short: "Look for what will go wrong: rights, rules of the bucket, clock, disk, configuration, schedule",
		Long: `Finds out what the store really does and what the credentials may, whether rules of the bucket would move or delete what has to stay,
whether that has happened already, and what this machine lacks. It stores and deletes two small objects; --read-only leaves that out.
It changes nothing else, and reads nothing in a cold class. No key is needed; with one, packs are compared with the index, too.

Where there is a configuration, it looks whether its folders, programs, hooks and secrets are there and open to nobody else, whether the
system starts firn as it should, whether anybody hears of trouble, and when jobs have last run. --config none leaves that out.

Where rules of the bucket do harm, --fix-rules writes the rules as they should be, all others as they are, to a file for the AWS program
or any other. Credentials that may not see the rules can be helped with --rules.`,
		Example: `  firn doctor
  firn doctor --fix-rules rules.json
  aws s3api get-bucket-lifecycle-configuration --bucket B > now.json && firn doctor --rules now.json
  firn doctor --json | jq -r 'select(.severity == "problem") | .what'`,
		Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return x.run(cmd.Context()) },
	}
	fl := cmd.Flags()
	fl.StringVar(&x.fixRules, "fix-rules", "", "write the rules of the bucket as they should be to this new file")
	fl.StringVar(&x.rules, "rules", "", "file with the rules of the bucket, as aws s3api get-bucket-lifecycle-configuration prints them")
	fl.BoolVar(&x.readOnly, "read-only", false, "store no objects; what the store does and the credentials may stays unknown")
	fl.BoolVar(&x.thorough, "thorough", false, "have a small object thawed, to know how the store does that, and count parts of uploads; costs about a cent")
	fl.StringVar(&x.host.keyFile, "host-key", "", "write-only key of this host (FIRN_HOST_KEY)")
	x.secrets.register(cmd)
	x.store.register(cmd)
	return cmd
}

func (x *doctorCommand) run(ctx context.Context) error {
	location, err := x.store.location()
	if err != nil {
		return err
	}
	if _, err := wire.ParseLocation(location); err != nil {
		return &advice.Error{Err: err, Code: advice.Usage}
	}
	o := doctor.Options{NoProbe: x.readOnly, Thorough: x.thorough, Dirs: localDirs(), Now: x.c.now}
	if o.Rules, err = x.given(); err != nil {
		return err
	}
	cred, err := x.secrets.credential(ctx, x.c)
	if err != nil {
		return err
	}
	st, err := wire.OpenStore(ctx, location, x.store.options(x.c))
	if err != nil {
		return err
	}
	defer func() { _ = st.Close() }()
	o.Store = st
	x.bucket, o.Root = bucketOf(st)
	if raw := o.Dirs.Place(x.store.place(location)); raw != nil && x.bucket != "" {
		if h, err := repo.ParseHeader(raw); err == nil {
			o.Header = h
		}
	}
	o.Open = func(ctx context.Context, h *repo.Header) ([]*repo.ScopeState, error) {
		return x.scopes(ctx, st, h, cred)
	}
	o.Machine = x.machine(ctx)
	findings, err := doctor.Examine(ctx, o)
	if err != nil {
		return err
	}
	return x.report(findings)
}

// given reads the rules that the user brings, and makes sure that the file to be written is not there.
func (x *doctorCommand) given() ([]byte, error) {
	if x.fixRules != "" {
		if _, err := os.Lstat(x.fixRules); err == nil {
			return nil, usage("", "%q: the file exists already", x.fixRules)
		}
	}
	if x.rules == "" {
		return nil, nil
	}
	raw, err := os.ReadFile(x.rules)
	if err == nil && len(raw) == 0 {
		raw = []byte{} // what the AWS program prints where there are none
	}
	return raw, err
}

// bucketOf returns the bucket of a store, and what stands before names in it; neither where it is none.
func bucketOf(st store.Store) (bucket, root string) {
	l, err := wire.ParseLocation(st.Location())
	if err != nil || l.Scheme != "s3" {
		return "", ""
	}
	if l.Prefix != "" {
		l.Prefix += "/"
	}
	return l.Bucket, l.Prefix
}

// scopes loads what the keys at hand open. Nobody is asked for a passphrase.
func (x *doctorCommand) scopes(ctx context.Context, st store.Store, h *repo.Header, cred *credential) ([]*repo.ScopeState, error) {
	s := &session{c: x.c, st: st, header: h, dirs: localDirs()}
	s.state = state.OpenCopy(s.dirs, h.ID, h.Copy, x.c.without())
	if dir := s.state.StoreCacheDir(); dir != "" && x.bucket != "" && !x.store.noCache {
		s.st = wire.Cached(st, dir, min(x.store.cacheMax, defaultCacheMax)/4)
	}
	var access repo.Access
	var err error
	if cred != nil {
		access.Secrets, err = unlock(ctx, x.c, s.st, cred)
	} else if access.Host, err = s.hostKey(&x.host); access.Host == nil || errors.As(err, new(*state.ModeError)) {
		return nil, nil // of a key that others can read the examination tells
	}
	if err == nil {
		err = s.open(ctx, access)
	}
	if err != nil {
		return nil, err
	}
	ids, err := s.repo.Scopes(ctx)
	all := []*repo.ScopeState{}
	for _, id := range ids {
		scope, err := s.repo.Load(ctx, id, true)
		if err != nil {
			return nil, err
		}
		all = append(all, scope)
	}
	return all, err
}

// findingJSON is what doctor prints with --json for each finding.
type findingJSON struct {
	Event    string     `json:"event"` // finding
	Check    string     `json:"check"`
	Severity string     `json:"severity"` // ok, note, warning, problem
	What     string     `json:"what"`
	Why      string     `json:"why,omitempty"`
	Evidence []string   `json:"evidence,omitempty"`
	Remedy   []string   `json:"remedy,omitempty"`
	Rules    *rulesJSON `json:"rules,omitempty"`
	Thaw     *thawJSON  `json:"thaw,omitempty"`
	Grant    []string   `json:"grant,omitempty"`
}

type rulesJSON struct {
	Document json.RawMessage `json:"document,omitempty"`
	Changes  []string        `json:"changes,omitempty"`
}

type thawJSON struct {
	Objects  int64    `json:"objects"`
	Bytes    int64    `json:"bytes"`
	Classes  []string `json:"classes"`
	Readable int64    `json:"readable"`
}

// examinedJSON is the last line of doctor with --json.
type examinedJSON struct {
	Event    string `json:"event"` // examined
	Problems int    `json:"problems"`
	Warnings int    `json:"warnings"`
	Notes    int    `json:"notes"`
	File     string `json:"file,omitempty"` // with the rules as they should be
}

// report prints the findings, and what to do about them.
func (x *doctorCommand) report(findings []doctor.Finding) error {
	counts := map[doctor.Severity]int{}
	t := x.c.table("check", "state", "found")
	var fix *doctor.RulesFix
	for _, f := range findings {
		counts[f.Severity]++
		if f.Fix.Rules != nil {
			fix = f.Fix.Rules
		}
		if !x.c.quiet || f.Severity >= doctor.Warning {
			t.row(f.Check, f.Severity.String(), f.What)
		}
	}
	written, err := x.writeRules(fix)
	if err != nil {
		return err
	}
	if x.c.json != "" {
		if err := x.reportJSON(findings, examinedJSON{"examined", counts[doctor.Problem], counts[doctor.Warning], counts[doctor.Note], written}); err != nil {
			return err
		}
	} else {
		t.print()
		x.details(findings)
		if written != "" {
			x.c.print("\nThe rules as they should be are in %s:\n", written)
			for _, change := range fix.Changes {
				x.c.print("  %s\n", printable(change))
			}
			x.c.print("After a look at them: %s\n", x.putRules(written, fix))
		}
	}
	if n := counts[doctor.Problem]; n > 0 {
		return &advice.Error{Text: counted(int64(n), "problem") + " found"}
	}
	return nil
}

func (x *doctorCommand) reportJSON(findings []doctor.Finding, last examinedJSON) error {
	for _, f := range findings {
		j := findingJSON{"finding", f.Check, f.Severity.String(), f.What, f.Why, f.Evidence, x.remedy(f), nil, nil, f.Fix.Grant}
		if r := f.Fix.Rules; r != nil {
			j.Rules = &rulesJSON{r.Document, r.Changes}
		}
		if t := f.Fix.Thaw; t != nil {
			j.Thaw = &thawJSON{t.Objects, t.Bytes, t.Classes, t.Readable}
		}
		if err := x.c.object(j); err != nil {
			return err
		}
	}
	return x.c.object(last)
}

// writeRules writes the corrected rules where the user wants them, and returns where that was.
func (x *doctorCommand) writeRules(fix *doctor.RulesFix) (string, error) {
	if x.fixRules == "" {
		return "", nil
	}
	if fix == nil || fix.Document == nil {
		if x.bucket == "" || fix == nil && x.rules != "" {
			x.c.note("there is nothing to correct in rules: %q is not written", x.fixRules)
			return "", nil
		}
		x.c.warn("%q is not written: either the rules need no correction, or they are not known whole; --rules brings them", x.fixRules)
		return "", nil
	}
	return x.fixRules, writeNew(x.fixRules, fix.Document, 0o644)
}

// details says of everything that is not as it should be why that matters and what to do.
func (x *doctorCommand) details(findings []doctor.Finding) {
	for _, f := range findings {
		if f.Severity == doctor.OK || x.c.quiet && f.Severity < doctor.Warning {
			continue
		}
		remedy := x.remedy(f)
		if f.Why == "" && len(f.Evidence)+len(remedy) == 0 {
			continue
		}
		x.c.print("\n%s: %s: %s\n", f.Severity, f.Check, printable(f.What))
		for _, e := range f.Evidence {
			x.c.print("  seen: %s\n", printable(oneLine(e)))
		}
		if f.Why != "" {
			x.c.print("  why:  %s\n", printable(f.Why))
		}
		for _, r := range remedy {
			x.c.print("  do:   %s\n", printable(r))
		}
	}
}

// remedy says what to do about a finding, in the words of this program and of others.
func (x *doctorCommand) remedy(f doctor.Finding) (do []string) {
	if r := f.Fix.Rules; r != nil {
		switch {
		case r.Document == nil:
			do = append(do, "correct the rule, so that it is about data/ alone")
		case x.fixRules == "":
			do = append(do, "firn doctor --fix-rules rules.json writes the rules of the bucket as they should be; then: "+x.putRules("rules.json", r))
		default:
			do = append(do, x.putRules(x.fixRules, r))
		}
	} else if f.Check == doctor.CheckRules && f.Severity >= doctor.Warning {
		do = append(do, "limit the rule to data/, and let it move only; to have all rules written as they should be, give the present ones with --rules, as printed by: "+x.aws("get-bucket-lifecycle-configuration"))
	}
	if f.Fix.Thaw != nil {
		do = append(do, "firn thaw --metadata brings them back, and says before what that costs; correct the rules of the bucket first, or it happens again")
	}
	if len(f.Fix.Grant) > 0 {
		do = append(do, x.grant(f.Fix.Grant))
		if f.Check == doctor.CheckRights && x.bucket != "" {
			do = append(do, "--read-only stores no object below probe/; firn policy ROLE --probe prints rights that allow it")
		}
	}
	if len(f.Fix.Delete) > 0 {
		do = append(do, "delete by hand, with other credentials: "+strings.Join(f.Fix.Delete, ", ")+"; --read-only stores none")
	}
	do = append(do, remedyHere(f)...)
	if hint := advice.Hint(f.Fix.Why); hint != "" && len(do) == 0 {
		do = append(do, hint)
	}
	return do
}

// grant names the rights in the words of the store.
func (x *doctorCommand) grant(rights []string) string {
	if x.bucket == "" {
		return "change owner and mode of the folder, or run firn as a user who may"
	}
	names := map[string]string{"put": "s3:PutObject", "get": "s3:GetObject", "list": "s3:ListBucket", "delete": "s3:DeleteObject", "restore": "s3:RestoreObject", "rules": "s3:GetLifecycleConfiguration"}
	var actions []string
	for _, right := range rights {
		actions = append(actions, cmp.Or(names[right], right))
	}
	text := "allow the credentials " + strings.Join(actions, ", ") + " on this bucket"
	if slices.Equal(rights, []string{"rules"}) {
		text += "; or have somebody who may run: " + x.aws("get-bucket-lifecycle-configuration") + " > now.json, and give that file with --rules"
	}
	return text
}

// putRules is the command that makes rules those of the bucket.
func (x *doctorCommand) putRules(file string, fix *doctor.RulesFix) string {
	args := []string{"--lifecycle-configuration", "file://" + file}
	if fix.MinimumSize != "" {
		args = append(args, "--transition-default-minimum-object-size", fix.MinimumSize)
	}
	return x.aws("put-bucket-lifecycle-configuration", args...)
}

// aws is a command line of the AWS program about the bucket.
func (x *doctorCommand) aws(operation string, args ...string) string {
	words := append([]string{"aws", "s3api", operation, "--bucket", cmp.Or(x.bucket, "BUCKET")}, args...)
	if endpoint := cmp.Or(x.store.endpoint, os.Getenv("AWS_ENDPOINT_URL_S3"), os.Getenv("AWS_ENDPOINT_URL")); endpoint != "" {
		words = append(words, "--endpoint-url", endpoint)
	}
	return strings.Join(words, " ")
}

// warnOfTraps warns of rules of a bucket that would move or delete what has to stay.
func (c *console) warnOfTraps(ctx context.Context, st store.Store) {
	_, root := bucketOf(st)
	for _, f := range doctor.Traps(ctx, st, root) {
		if f.Severity >= doctor.Warning {
			c.warn("%s: %s; firn doctor tells how to correct the rules", f.What, f.Why)
		}
	}
}
