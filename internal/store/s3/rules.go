package s3

import (
	"context"
	"errors"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	api "github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"

	"firn/internal/store"
)

// Rules implements store.Ruler: the bucket's lifecycle configuration, as far as it is about this store. Amazon moves no object below 128 KiB by a rule that does not say a
// size, since September 2024; buckets that are older may.
func (s *Store) Rules(ctx context.Context) ([]store.Rule, error) {
	out, err := ask(ctx, s, func() (*api.GetBucketLifecycleConfigurationOutput, error) {
		return s.client.GetBucketLifecycleConfiguration(ctx, &api.GetBucketLifecycleConfigurationInput{Bucket: s.bucket()})
	})
	if err != nil {
		var e *Error
		if errors.As(err, &e) && e.Code == "NoSuchLifecycleConfiguration" {
			return nil, nil
		}
		return nil, store.Fail("rules", "", err)
	}
	var rules []store.Rule
	now := time.Now()
	for _, r := range out.Rules {
		rules = append(rules, s.rulesOf(r, now)...)
	}
	return rules, nil
}

// rulesOf takes a rule apart, by what it does. One that is about other objects than the store's is none.
func (s *Store) rulesOf(r types.LifecycleRule, now time.Time) (rules []store.Rule) {
	prefix, narrowed := filterOf(r)
	prefix, ours := s.within(prefix)
	if !ours {
		return nil
	}
	add := func(change func(*store.Rule)) {
		rule := store.Rule{ID: aws.ToString(r.ID), Enabled: r.Status == types.ExpirationStatusEnabled, Prefix: prefix, Narrowed: narrowed}
		change(&rule)
		rules = append(rules, rule)
	}
	for _, t := range r.Transitions {
		add(func(rule *store.Rule) { rule.Days, rule.Class = daysOf(t.Days, t.Date, now), string(t.StorageClass) })
	}
	if e := r.Expiration; e != nil && (e.Days != nil || e.Date != nil) { // else it is about marks of deletion only
		add(func(rule *store.Rule) { rule.Days, rule.Expires = daysOf(e.Days, e.Date, now), true })
	}
	for _, t := range r.NoncurrentVersionTransitions {
		add(func(rule *store.Rule) {
			rule.Noncurrent, rule.Days, rule.Class = true, int(aws.ToInt32(t.NoncurrentDays)), string(t.StorageClass)
		})
	}
	if e := r.NoncurrentVersionExpiration; e != nil {
		add(func(rule *store.Rule) {
			rule.Noncurrent, rule.Days, rule.Expires = true, int(aws.ToInt32(e.NoncurrentDays)), true
		})
	}
	if a := r.AbortIncompleteMultipartUpload; a != nil {
		add(func(rule *store.Rule) { rule.Aborts = int(aws.ToInt32(a.DaysAfterInitiation)) })
	}
	return rules
}

// filterOf tells which keys a rule is about, and whether it is about some of the objects there only.
func filterOf(r types.LifecycleRule) (prefix string, narrowed bool) {
	//lint:ignore SA1019 of rules that were written before there were filters
	prefix = aws.ToString(r.Prefix)
	f := r.Filter
	if f == nil {
		return prefix, false
	}
	narrowed = f.Tag != nil || f.ObjectSizeGreaterThan != nil || f.ObjectSizeLessThan != nil
	if f.Prefix != nil {
		prefix = *f.Prefix
	}
	if a := f.And; a != nil {
		narrowed = narrowed || len(a.Tags) > 0 || a.ObjectSizeGreaterThan != nil || a.ObjectSizeLessThan != nil
		if a.Prefix != nil {
			prefix = *a.Prefix
		}
	}
	return prefix, narrowed
}

// within makes a prefix of keys one of names, and reports whether any name of the store can have it.
func (s *Store) within(prefix string) (string, bool) {
	if s.o.Prefix == "" {
		return prefix, true
	}
	root := s.o.Prefix + "/"
	if strings.HasPrefix(root, prefix) {
		return "", true
	}
	return strings.CutPrefix(prefix, root)
}

// daysOf is the age at which a rule acts. One that acts on a date acts on objects of any age, and is told as the days until then, 0 once it is past.
func daysOf(days *int32, date *time.Time, now time.Time) int {
	if days == nil && date != nil {
		return max(0, int(date.Sub(now)/(24*time.Hour)))
	}
	return int(aws.ToInt32(days))
}
