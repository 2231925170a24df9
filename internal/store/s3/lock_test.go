package s3

import (
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	api "github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"

	"firn/internal/store"
	"firn/internal/storetest"
	"firn/internal/storetest/versitygw"
)

// openLocking makes a new bucket with Object Lock.
func openLocking(t *testing.T, server *versitygw.Server) *Store {
	t.Helper()
	s, err := Open(t.Context(), serverOptions(server, randomBucket(), "some/prefix"))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.client.CreateBucket(t.Context(), &api.CreateBucketInput{Bucket: s.bucket(), ObjectLockEnabledForBucket: aws.Bool(true)}); err != nil {
		t.Fatal(err)
	}
	return s
}

func setLockRule(t *testing.T, st store.Store, rule store.LockRule) {
	t.Helper()
	s := st.(*Store)
	d := &types.DefaultRetention{Mode: types.ObjectLockRetentionMode(rule.Mode)}
	if rule.Days > 0 {
		d.Days = aws.Int32(int32(rule.Days))
	} else {
		d.Years = aws.Int32(int32(rule.Years))
	}
	_, err := s.client.PutObjectLockConfiguration(t.Context(), &api.PutObjectLockConfigurationInput{Bucket: s.bucket(),
		ObjectLockConfiguration: &types.ObjectLockConfiguration{ObjectLockEnabled: types.ObjectLockEnabledEnabled, Rule: &types.ObjectLockRule{DefaultRetention: d}}})
	if err != nil {
		t.Fatal(err)
	}
}

func TestLockSuite(t *testing.T) {
	server := versitygw.StartVersioned(t)
	storetest.LockSuite{
		Open:    func(t *testing.T) (store.Store, func(time.Duration)) { return openLocking(t, server), nil },
		SetRule: setLockRule, NoAgain: true, RuleApart: true,
		Plain: func(t *testing.T) store.Store { return open(t, server, nil) },
	}.Run(t)
}

// A server that was never told to keep versions does not know the questions.
func TestNoVersions(t *testing.T) {
	server := versitygw.Start(t)
	storetest.LockSuite{Open: func(t *testing.T) (store.Store, func(time.Duration)) { t.Skip("it keeps none"); return nil, nil },
		Plain: func(t *testing.T) store.Store { return open(t, server, nil) }}.Run(t)
}
