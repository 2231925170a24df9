package policy

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
)

// BucketOptions say what a bucket for backups should be like.
type BucketOptions struct {
	Partition string
	Bucket    string
	Prefix    string // of the repository; rules are about objects below it

	AbortDays int // after which an upload that was not completed is given up; 0: 14. A run goes on with what is left of one that was cut off
	KeepDays  int // for which what was deleted or replaced is kept; 0: 30
	// LockDays is how long new objects are locked by themselves; 0: not at all.
	LockDays int
	LockMode string // GOVERNANCE (empty) or COMPLIANCE
	// CreateOnly forbids everybody to replace an object, whatever else they may.
	CreateOnly bool
	// Rules are those that the bucket has, as JSON of the S3 API; those of others stay as they are. nil: it has none.
	Rules []byte
}

// Setting is one thing to be set, by one command of the AWS program.
type Setting struct {
	Name      string
	Why       string
	Operation string   // of aws s3api
	Option    string   // of the operation, that takes the document
	Document  any      // as JSON of the S3 API
	More      []string // further options of the operation
}

// JSON is the document of a setting in one line.
func (s Setting) JSON() []byte {
	var b strings.Builder
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	if err := e.Encode(s.Document); err != nil {
		panic(err) // what is made here always encodes
	}
	return []byte(strings.TrimSuffix(b.String(), "\n"))
}

// Args are the words of the command, after the program's name.
func (s Setting) Args(bucket string) []string {
	return append([]string{"s3api", s.Operation, "--bucket", bucket, "--" + s.Option, string(s.JSON())}, s.More...)
}

const (
	defaultAbort = 14
	defaultKeep  = 30
	maxDays      = 36_500 // of a retention (S3 API Reference, "DefaultRetention"), and of rules here
)

// Bucket returns the settings in the order in which they can be made.
func Bucket(o BucketOptions) ([]Setting, error) {
	w, err := newWriter(Options{Partition: o.Partition, Bucket: o.Bucket, Prefix: o.Prefix})
	if err != nil {
		return nil, err
	}
	for name, days := range map[string]*int{"abort": &o.AbortDays, "keep": &o.KeepDays, "lock": &o.LockDays} {
		if *days < 0 || *days > maxDays {
			return nil, &Error{name, fmt.Sprint(*days), "want up to 36,500 days"}
		}
	}
	if o.AbortDays == 0 {
		o.AbortDays = defaultAbort
	}
	if o.KeepDays == 0 {
		o.KeepDays = defaultKeep
	}
	rules, more, err := w.rules(o)
	if err != nil {
		return nil, err
	}
	settings := []Setting{
		{Name: "public access", Why: "nobody gets access by an ACL or by a policy for all the world", Operation: "put-public-access-block", Option: "public-access-block-configuration",
			Document: map[string]bool{"BlockPublicAcls": true, "IgnorePublicAcls": true, "BlockPublicPolicy": true, "RestrictPublicBuckets": true}},
		{Name: "versions", Why: "what somebody deletes or replaces who may, or who has stolen such rights, stays for a while", Operation: "put-bucket-versioning",
			Option: "versioning-configuration", Document: map[string]string{"Status": "Enabled"}},
		{Name: "rules", Why: "what is left of uploads that were cut off goes after a while, and so do versions that were deleted or replaced",
			Operation: "put-bucket-lifecycle-configuration", Option: "lifecycle-configuration", Document: rules, More: more},
		{Name: "policy", Why: "nothing is asked or answered without encryption on the way", Operation: "put-bucket-policy", Option: "policy", Document: w.bucketPolicy(o)},
	}
	if o.LockDays > 0 {
		lock, err := lockOf(o)
		if err != nil {
			return nil, err
		}
		settings = append(settings, lock)
	}
	return settings, nil
}

func lockOf(o BucketOptions) (Setting, error) {
	mode := strings.ToUpper(o.LockMode)
	if mode == "" {
		mode = "GOVERNANCE"
	}
	if mode != "GOVERNANCE" && mode != "COMPLIANCE" {
		return Setting{}, &Error{"lock mode", o.LockMode, "want GOVERNANCE or COMPLIANCE"}
	}
	type m = map[string]any
	return Setting{Name: "lock", Why: fmt.Sprintf("nobody deletes an object in its first %d days", o.LockDays), Operation: "put-object-lock-configuration", Option: "object-lock-configuration",
		Document: m{"ObjectLockEnabled": "Enabled", "Rule": m{"DefaultRetention": m{"Mode": mode, "Days": o.LockDays}}}}, nil
}

// bucketPolicy holds for everybody, whatever other documents allow.
func (w *writer) bucketPolicy(o BucketOptions) *Document {
	d := &Document{Version: version, Statement: []Statement{{Sid: "EncryptedOnTheWay", Effect: "Deny", Principal: "*", Action: []string{"s3:*"}, Resource: []string{w.bucket(), w.bucket() + "/*"},
		Condition: Condition{"Bool": {"aws:SecureTransport": {"false"}}}}}}
	if o.CreateOnly {
		d.Statement = append(d.Statement, Statement{Sid: "NothingIsReplaced", Effect: "Deny", Principal: "*", Action: []string{"s3:PutObject"}, Resource: w.objects([]string{""}),
			Condition: Condition{"Null": {"s3:if-none-match": {"true"}}, "Bool": {"s3:ObjectCreationOperation": {"true"}}}})
	}
	return d
}

// ids of the rules that are ours.
const (
	ruleUploads  = "firn: uploads that were cut off"
	ruleVersions = "firn: old versions"
)

// rules are those of the bucket with ours among them, and what else the command that sets them has to be told. Setting rules replaces all that there are.
func (w *writer) rules(o BucketOptions) (any, []string, error) {
	var now struct {
		Rules       []json.RawMessage
		MinimumSize string `json:"TransitionDefaultMinimumObjectSize"`
	}
	if len(o.Rules) > 0 {
		if err := json.Unmarshal(o.Rules, &now); err != nil {
			return nil, nil, fmt.Errorf("rules of the bucket: %w", err)
		}
	}
	all := []any{}
	for _, raw := range now.Rules {
		var rule struct{ ID string }
		if err := json.Unmarshal(raw, &rule); err != nil {
			return nil, nil, fmt.Errorf("rules of the bucket: %w", err)
		}
		if !slices.Contains([]string{ruleUploads, ruleVersions}, rule.ID) {
			all = append(all, raw)
		}
	}
	type m = map[string]any
	filter := m{"Prefix": w.root}
	all = append(all, m{"ID": ruleUploads, "Status": "Enabled", "Filter": filter, "AbortIncompleteMultipartUpload": m{"DaysAfterInitiation": o.AbortDays}},
		m{"ID": ruleVersions, "Status": "Enabled", "Filter": filter, "NoncurrentVersionExpiration": m{"NoncurrentDays": o.KeepDays}, "Expiration": m{"ExpiredObjectDeleteMarker": true}})
	var more []string
	if now.MinimumSize != "" {
		more = []string{"--transition-default-minimum-object-size", now.MinimumSize}
	}
	return m{"Rules": all}, more, nil
}
