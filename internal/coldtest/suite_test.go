package coldtest

import (
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	awscredentials "github.com/aws/aws-sdk-go-v2/credentials"
	api "github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"

	"firn/internal/store"
	"firn/internal/store/s3"
	"firn/internal/storetest"
)

// open opens a new bucket of a server as a store.
func open(t *testing.T, s *Server, change func(*s3.Options)) *s3.Store {
	t.Helper()
	u := s.User()
	o := s3.Options{Bucket: "firn-" + random(8), Prefix: "some/prefix", Endpoint: s.Endpoint(), Region: s.Region(),
		Credentials: awscredentials.NewStaticCredentialsProvider(u.Access, u.Secret, u.Token)}
	if change != nil {
		change(&o)
	}
	st, err := s3.Open(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	if err := st.Make(t.Context()); err != nil {
		t.Fatal(err)
	}
	return st
}

// The conformance suite of stores, over this server as it is and with every weakness that a provider has.
func TestSuite(t *testing.T) {
	for name, c := range map[string]struct {
		o     Options
		suite storetest.Suite
		tune  func(*s3.Options)
	}{
		"amazon":     {suite: storetest.Suite{}},
		"pages":      {o: Options{PageKeys: 7}, suite: storetest.Suite{Big: 1 << 20, Objects: 60}},
		"folder":     {o: Options{Folder: "folder"}, suite: storetest.Suite{Big: 1 << 20, Objects: 30}},
		"parts":      {suite: storetest.Suite{Objects: 3, Big: 12 << 20}, tune: func(o *s3.Options) { o.PartsAbove, o.PartSize = 1, 5<<20 }},
		"elsewhere":  {o: Options{Region: "eu-north-1"}, suite: storetest.Suite{Big: 1 << 20, Objects: 5}},
		"no tiers":   {o: Options{Provider: NoTiers}, suite: storetest.Suite{Big: 1 << 20, Objects: 5}},
		"scaleway":   {o: Options{Provider: Scaleway}, suite: storetest.Suite{Big: 1 << 20, Objects: 5}},
		"ceph":       {o: Options{Provider: Ceph}, suite: storetest.Suite{Big: 1 << 20, Objects: 5}},
		"versity":    {o: Options{Provider: Versity}, suite: storetest.Suite{Big: 1 << 20, Objects: 5}},
		"conditions": {o: Options{Provider: Provider{ConditionsIgnored: true}}, suite: storetest.Suite{Big: 1 << 20, Objects: 5, NoCreateOnly: true}},
		"old":        {o: Options{Provider: Old}, suite: storetest.Suite{Big: 1 << 20, Objects: 5, NoCreateOnly: true, NoSums: true}},
	} {
		t.Run(name, func(t *testing.T) {
			if c.o.Folder != "" {
				c.o.Folder = t.TempDir()
			}
			s := Start(t, c.o)
			c.suite.Open = func(t *testing.T) store.Store { return open(t, s, c.tune) }
			c.suite.Run(t)
		})
	}
}

// setRules puts rules on the bucket of a store, by Amazon's client.
func setRules(t *testing.T, server *Server, st store.Store, rules []store.Rule) {
	t.Helper()
	s := st.(*s3.Store)
	bucket, prefix, _ := strings.Cut(strings.TrimPrefix(s.Location(), "s3://"), "/")
	var list []types.LifecycleRule
	for _, r := range rules {
		x := types.LifecycleRule{ID: &r.ID, Status: types.ExpirationStatusDisabled}
		if r.Enabled {
			x.Status = types.ExpirationStatusEnabled
		}
		x.Filter = &types.LifecycleRuleFilter{Prefix: aws.String(prefix + "/" + r.Prefix)}
		if r.Narrowed {
			x.Filter = &types.LifecycleRuleFilter{And: &types.LifecycleRuleAndOperator{Prefix: x.Filter.Prefix, ObjectSizeGreaterThan: aws.Int64(7)}}
		}
		days := aws.Int32(int32(r.Days))
		switch {
		case r.Noncurrent:
			x.NoncurrentVersionExpiration = &types.NoncurrentVersionExpiration{NoncurrentDays: days}
		case r.Aborts > 0:
			x.AbortIncompleteMultipartUpload = &types.AbortIncompleteMultipartUpload{DaysAfterInitiation: aws.Int32(int32(r.Aborts))}
		case r.Expires:
			x.Expiration = &types.LifecycleExpiration{Days: days}
		default:
			x.Transitions = []types.Transition{{Days: days, StorageClass: types.TransitionStorageClass(r.Class)}}
		}
		if n := len(list); n > 0 && *list[n-1].ID == r.ID {
			list[n-1].Expiration = x.Expiration
			continue
		}
		list = append(list, x)
	}
	_, err := client(server, server.User()).PutBucketLifecycleConfiguration(t.Context(), &api.PutBucketLifecycleConfigurationInput{Bucket: &bucket,
		LifecycleConfiguration: &types.BucketLifecycleConfiguration{Rules: list}})
	if err != nil {
		t.Fatal(err)
	}
}

// The suite of cold stores, likewise.
func TestColdSuite(t *testing.T) {
	for name, c := range map[string]struct {
		o     Options
		suite storetest.ColdSuite
	}{
		"amazon":   {},
		"pages":    {o: Options{PageKeys: 2}},
		"no tiers": {o: Options{Provider: NoTiers}, suite: storetest.ColdSuite{NoTiers: true}},
		"status":   {o: Options{Provider: Provider{NoListStatus: true, RestoreOK: true}}, suite: storetest.ColdSuite{NoStatus: true}},
	} {
		t.Run(name, func(t *testing.T) {
			s := Start(t, c.o)
			c.suite.Open = func(t *testing.T) (store.Store, func(time.Duration)) { return open(t, s, nil), s.Advance }
			c.suite.SetRules = func(t *testing.T, st store.Store, rules []store.Rule) { setRules(t, s, st, rules) }
			c.suite.Run(t)
		})
	}
}

// setLockRule puts a default lock on the bucket of a store, by Amazon's client.
func setLockRule(t *testing.T, server *Server, st store.Store, rule store.LockRule) {
	t.Helper()
	bucket, _, _ := strings.Cut(strings.TrimPrefix(st.(*s3.Store).Location(), "s3://"), "/")
	d := &types.DefaultRetention{Mode: types.ObjectLockRetentionMode(rule.Mode)}
	if rule.Days > 0 {
		d.Days = aws.Int32(int32(rule.Days))
	} else {
		d.Years = aws.Int32(int32(rule.Years))
	}
	_, err := client(server, server.User()).PutObjectLockConfiguration(t.Context(), &api.PutObjectLockConfigurationInput{Bucket: &bucket,
		ObjectLockConfiguration: &types.ObjectLockConfiguration{ObjectLockEnabled: types.ObjectLockEnabledEnabled, Rule: &types.ObjectLockRule{DefaultRetention: d}}})
	if err != nil {
		t.Fatal(err)
	}
}

// The suite of stores that lock and keep versions, likewise.
func TestLockSuite(t *testing.T) {
	for name, o := range map[string]Options{"amazon": {}, "pages": {PageKeys: 2}} {
		t.Run(name, func(t *testing.T) {
			s := Start(t, o)
			storetest.LockSuite{Class: "STANDARD_IA", Open: func(t *testing.T) (store.Store, func(time.Duration)) {
				bucket := "firn-" + random(8)
				_, err := client(s, s.User()).CreateBucket(t.Context(), &api.CreateBucketInput{Bucket: &bucket, ObjectLockEnabledForBucket: aws.Bool(true)})
				if err != nil {
					t.Fatal(err)
				}
				return open(t, s, func(o *s3.Options) { o.Bucket = bucket }), s.Advance
			}, SetRule: func(t *testing.T, st store.Store, rule store.LockRule) { setLockRule(t, s, st, rule) },
				Plain: func(t *testing.T) store.Store { return open(t, s, nil) }}.Run(t)
		})
	}
	t.Run("none", func(t *testing.T) {
		s := Start(t, Options{Provider: Provider{NoVersions: true}})
		storetest.LockSuite{Open: func(t *testing.T) (store.Store, func(time.Duration)) { t.Skip("it keeps none"); return nil, nil },
			Plain: func(t *testing.T) store.Store { return open(t, s, nil) }}.Run(t)
	})
}

// An object sent in parts is locked by the bucket as one that is sent whole: its parts have their sums.
func TestLockedParts(t *testing.T) {
	s := Start(t, Options{})
	s.CreateBucket("locked")
	s.LockBucket("locked", "COMPLIANCE", 5)
	st := open(t, s, func(o *s3.Options) { o.Bucket, o.PartsAbove, o.PartSize = "locked", 1, 5<<20 })
	for name, size := range map[string]int{"whole": 0, "parts": 6 << 20} {
		storetest.Put(t, st, name, storetest.Content(1, size))
		if mode, until := s.LockOf("locked", "some/prefix/"+name); mode != "COMPLIANCE" || !until.Equal(s.Clock().Now().UTC().AddDate(0, 0, 5)) {
			t.Errorf("%s: %s until %v", name, mode, until)
		}
	}
	if s.Count("CompleteMultipartUpload") != 1 {
		t.Error("nothing was sent in parts")
	}
}
