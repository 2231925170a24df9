package coldtest

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// Policy is what a user may do, in the language of IAM (IAM User Guide, "IAM JSON policy elements reference"). What no statement allows is denied; what one denies
// is denied whatever others allow.
type Policy struct {
	Version   string
	Statement []Statement
}

// Statement is one of a policy. Actions and resources may hold * and ?.
type Statement struct {
	Sid       string
	Effect    string // Allow, Deny
	Action    Words
	Resource  Words
	Condition map[string]map[string]Words // operator, key, values
}

// Words is a text or a list of them.
type Words []string

// UnmarshalJSON implements json.Unmarshaler.
func (w *Words) UnmarshalJSON(b []byte) error {
	var one string
	if err := json.Unmarshal(b, &one); err == nil {
		*w = Words{one}
		return nil
	}
	return json.Unmarshal(b, (*[]string)(w))
}

// conditionKeys are those that are understood.
var conditionKeys = []string{"s3:if-none-match", "s3:if-match", "s3:x-amz-storage-class", "s3:prefix", "s3:ObjectCreationOperation", "s3:versionid", "aws:SecureTransport",
	"s3:object-lock-mode"}

// ParsePolicy reads a policy. What it does not understand is an error, so that a policy that passes means what it says.
func ParsePolicy(text []byte) (*Policy, error) {
	p := &Policy{}
	d := json.NewDecoder(strings.NewReader(string(text)))
	d.DisallowUnknownFields()
	if err := d.Decode(p); err != nil {
		return nil, err
	}
	if d.More() {
		return nil, errors.New("something follows the policy")
	}
	for i, s := range p.Statement {
		if s.Effect != "Allow" && s.Effect != "Deny" || len(s.Action) == 0 || len(s.Resource) == 0 {
			return nil, fmt.Errorf("statement %d: want an effect, actions and resources", i+1)
		}
		for operator, keys := range s.Condition {
			if _, ok := operators[strings.TrimSuffix(operator, "IfExists")]; !ok {
				return nil, fmt.Errorf("statement %d: condition %q is not understood", i+1, operator)
			}
			for key := range keys {
				if !slices.Contains(conditionKeys, key) {
					return nil, fmt.Errorf("statement %d: condition key %q is not understood", i+1, key)
				}
			}
		}
	}
	return p, nil
}

// Without allows everything but some actions.
func Without(actions ...string) *Policy {
	return &Policy{Statement: []Statement{
		{Effect: "Allow", Action: Words{"*"}, Resource: Words{"*"}},
		{Effect: "Deny", Action: actions, Resource: Words{"*"}},
	}}
}

// CreateOnly allows what a host needs that can add to a repository, but neither read nor replace nor delete what is in it.
func CreateOnly() *Policy {
	return &Policy{Statement: []Statement{
		{Effect: "Allow", Action: Words{"s3:PutObject", "s3:ListBucket", "s3:AbortMultipartUpload", "s3:ListMultipartUploadParts", "s3:ListBucketMultipartUploads", "s3:GetBucketLocation"}, Resource: Words{"*"}},
		{Effect: "Deny", Action: Words{"s3:PutObject"}, Resource: Words{"*"}, Condition: map[string]map[string]Words{
			"Null": {"s3:if-none-match": {"true"}}, "Bool": {"s3:ObjectCreationOperation": {"true"}}}},
	}}
}

// operators compare a value, which may be missing, with one that a policy names.
var operators = map[string]func(have string, there bool, want string) bool{
	"StringEquals":    func(have string, there bool, want string) bool { return there && have == want },
	"StringNotEquals": func(have string, there bool, want string) bool { return !there || have != want },
	"StringLike":      func(have string, there bool, want string) bool { return there && like(want, have) },
	"StringNotLike":   func(have string, there bool, want string) bool { return !there || !like(want, have) },
	"Bool":            func(have string, there bool, want string) bool { return there && strings.EqualFold(have, want) },
	"Null": func(_ string, there bool, want string) bool {
		return strconv.FormatBool(!there) == strings.ToLower(want)
	},
}

// like matches text with a pattern of * and ?.
func like(pattern, text string) bool {
	p, t, star, mark := 0, 0, -1, 0
	for t < len(text) {
		switch {
		case p < len(pattern) && pattern[p] == '*':
			star, mark = p, t
			p++
		case p < len(pattern) && (pattern[p] == '?' || pattern[p] == text[t]):
			p, t = p+1, t+1
		case star >= 0:
			mark++
			p, t = star+1, mark
		default:
			return false
		}
	}
	return strings.Trim(pattern[p:], "*") == ""
}

// allowed refuses what the user may not do. key is empty for what is about the bucket.
func (q *request) allowed(action, key string) error {
	if q.user == nil || q.user.Policy == nil {
		return nil
	}
	resource := "arn:aws:s3:::" + q.bucket
	if key != "" {
		resource += "/" + key
	}
	by := ""
	allowed := false
	for _, s := range q.user.Policy.Statement {
		matches := func(text string, fold bool) func(string) bool {
			return func(pattern string) bool {
				if fold {
					return like(strings.ToLower(pattern), strings.ToLower(text))
				}
				return like(pattern, text)
			}
		}
		if !slices.ContainsFunc(s.Action, matches(action, true)) || !slices.ContainsFunc(s.Resource, matches(resource, false)) || !q.holds(s.Condition) {
			continue
		}
		if s.Effect == "Deny" {
			return denied("User is not authorized to perform: " + action + " on resource: \"" + resource + "\" with an explicit deny in an identity-based policy")
		}
		if !allowed {
			allowed, by = true, s.Sid
		}
	}
	if allowed {
		q.entry.Statements = append(q.entry.Statements, by)
	} else {
		return denied("User is not authorized to perform: " + action + " on resource: \"" + resource + "\" because no identity-based policy allows the " + action + " action")
	}
	return nil
}

// holds tells whether all conditions of a statement do.
func (q *request) holds(conditions map[string]map[string]Words) bool {
	for name, keys := range conditions {
		operator, ifExists := strings.CutSuffix(name, "IfExists")
		compare := operators[operator]
		for key, values := range keys {
			have, there := q.conditionValue(key)
			if ifExists && !there {
				continue
			}
			negative := strings.Contains(operator, "Not")
			match := func(want string) bool { return compare(have, there, want) }
			if negative && slices.ContainsFunc(values, func(w string) bool { return !match(w) }) || !negative && !slices.ContainsFunc(values, match) {
				return false
			}
		}
	}
	return true
}

// conditionValue is what a request says of a condition key.
func (q *request) conditionValue(key string) (value string, there bool) {
	header := func(name string) (string, bool) { v := q.r.Header.Get(name); return v, v != "" }
	switch key {
	case "s3:if-none-match":
		return header("If-None-Match")
	case "s3:if-match":
		return header("If-Match")
	case "s3:x-amz-storage-class":
		return header("X-Amz-Storage-Class")
	case "s3:object-lock-mode":
		return header("X-Amz-Object-Lock-Mode")
	case "s3:prefix":
		return q.query.Get("prefix"), q.query.Has("prefix")
	case "s3:versionid":
		return q.query.Get("versionId"), q.query.Has("versionId")
	case "aws:SecureTransport":
		return strconv.FormatBool(q.r.TLS != nil), true
	case "s3:ObjectCreationOperation":
		switch q.op.name {
		case "PutObject", "CopyObject", "CompleteMultipartUpload":
			return "true", true
		case "CreateMultipartUpload", "UploadPart", "UploadPartCopy":
			return "false", true
		}
	}
	return "", false
}
