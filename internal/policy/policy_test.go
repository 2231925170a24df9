package policy

import (
	"bytes"
	"encoding/json"
	"errors"
	"slices"
	"strings"
	"testing"
)

// That each document suffices, and that nothing in it is too much, is shown by running the program under it: internal/cli, TestPolicies.

func TestWriteOnly(t *testing.T) {
	for _, o := range []Options{{}, {Probe: true}, {Scopes: []string{"0123456789abcdef"}, Hosts: []string{strings.Repeat("ab", 16)}}, {Cold: true, Versions: true, Lock: true, Transition: true}} {
		o.Role, o.Bucket, o.Prefix = WriteOnly, "bucket", "nas"
		d, err := IAM(o)
		if err != nil {
			t.Fatal(err)
		}
		for _, s := range d.Statement {
			for _, action := range s.Action {
				probe := slices.Equal(s.Resource, []string{"arn:aws:s3:::bucket/nas/probe/*"})
				if strings.Contains(action, "Delete") && !probe || strings.ContainsAny(action, "*?") || strings.Contains(action, "Tagging") || strings.Contains(action, "Acl") ||
					strings.Contains(action, "PutObjectRe") {
					t.Errorf("%s: %s", s.Sid, action)
				}
				if action == "s3:PutObject" && !probe && s.Condition == nil {
					t.Errorf("%s: objects can be replaced", s.Sid)
				}
				for _, resource := range s.Resource {
					if action == "s3:GetObject" && (strings.Contains(resource, "/data/") || strings.Contains(resource, "/meta/") || strings.Contains(resource, "/keys/") || strings.HasSuffix(resource, "nas/*")) {
						t.Errorf("%s: reads %s", s.Sid, resource)
					}
				}
			}
			if s.Effect != "Allow" {
				t.Errorf("%s: %s", s.Sid, s.Effect)
			}
		}
		again := &Document{}
		if err := json.Unmarshal(d.JSON(), again); err != nil || !bytes.Equal(again.JSON(), d.JSON()) {
			t.Errorf("%v:\n%s", err, d.JSON())
		}
	}
}

func TestEveryRole(t *testing.T) {
	sids := map[string]bool{}
	for _, role := range Roles() {
		d, err := IAM(Options{Role: role, Partition: "aws-cn", Bucket: "bucket", Cold: true, Versions: true, Lock: true, Transition: true, Probe: true})
		if err != nil || role.About() == "" {
			t.Fatalf("%s: %v", role, err)
		}
		clear(sids)
		for _, s := range d.Statement {
			if sids[s.Sid] || strings.Trim(s.Sid, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ") != "" {
				t.Errorf("%s: Sid %q", role, s.Sid)
			}
			sids[s.Sid] = true
			for _, r := range s.Resource {
				if !strings.HasPrefix(r, "arn:aws-cn:s3:::bucket") {
					t.Errorf("%s: %s", role, r)
				}
			}
		}
	}
}

func TestBadOptions(t *testing.T) {
	for name, o := range map[string]Options{
		"role": {Role: "god", Bucket: "bucket"}, "partition": {Role: Prune, Bucket: "bucket", Partition: "moon"}, "bucket": {Role: Prune, Bucket: "b*cket"}, "no bucket": {Role: Prune},
		"prefix": {Role: Prune, Bucket: "bucket", Prefix: "a*"}, "variable": {Role: Prune, Bucket: "bucket", Prefix: "${aws:username}"}, "scope": {Role: Prune, Bucket: "bucket", Scopes: []string{"*"}},
		"host": {Role: Prune, Bucket: "bucket", Hosts: []string{"0123456789abcdef"}},
	} {
		var bad *Error
		if _, err := IAM(o); !errors.As(err, &bad) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestBucket(t *testing.T) {
	now := []byte(`{"TransitionDefaultMinimumObjectSize": "varies_by_storage_class", "Rules": [{"ID": "theirs", "Status": "Enabled", "Filter": {"Prefix": "photos/"}, "Expiration": {"Days": 9}},
		{"ID": "firn: old versions", "Status": "Enabled", "Filter": {"Prefix": "nas/"}, "NoncurrentVersionExpiration": {"NoncurrentDays": 1}}]}`)
	settings, err := Bucket(BucketOptions{Bucket: "bucket", Prefix: "nas", LockDays: 7, CreateOnly: true, Rules: now})
	if err != nil {
		t.Fatal(err)
	}
	var all strings.Builder
	for _, s := range settings {
		if s.Why == "" || !json.Valid(s.JSON()) {
			t.Errorf("%s: %s", s.Name, s.JSON())
		}
		all.WriteString(strings.Join(s.Args("bucket"), " ") + "\n")
	}
	for _, want := range []string{`"BlockPublicPolicy":true`, `{"Status":"Enabled"}`, `"ID":"theirs"`, `"DaysAfterInitiation":14`, `"NoncurrentDays":30`, `"aws:SecureTransport":["false"]`,
		`"Principal":"*"`, `"s3:if-none-match":["true"]`, `"Mode":"GOVERNANCE"`, "--transition-default-minimum-object-size varies_by_storage_class", "s3api put-bucket-policy --bucket bucket --policy {"} {
		if !strings.Contains(all.String(), want) {
			t.Errorf("no %s in\n%s", want, all.String())
		}
	}
	if strings.Contains(all.String(), `"NoncurrentDays":1}`) {
		t.Error("an older rule of ours stays")
	}
	for name, o := range map[string]BucketOptions{"days": {Bucket: "bucket", KeepDays: -1}, "mode": {Bucket: "bucket", LockDays: 1, LockMode: "x"}, "rules": {Bucket: "bucket", Rules: []byte("{")}, "bucket": {}} {
		if _, err := Bucket(o); err == nil {
			t.Errorf("%s passes", name)
		}
	}
}
