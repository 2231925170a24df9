package s3

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"sync"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	awscredentials "github.com/aws/aws-sdk-go-v2/credentials"
	api "github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"

	"firn/internal/coldtest"
	"firn/internal/store"
	"firn/internal/store/limit"
	"firn/internal/store/retry"
	"firn/internal/storetest"
	"firn/internal/units"
)

// openCold makes a new bucket on a server with cold classes.
func openCold(t *testing.T, server *coldtest.Server, u coldtest.User, change func(*Options)) *Store {
	t.Helper()
	o := Options{Bucket: randomBucket(), Prefix: "some/prefix", Endpoint: server.Endpoint(), Region: server.Region(),
		Credentials: awscredentials.NewStaticCredentialsProvider(u.Access, u.Secret, u.Token)}
	if change != nil {
		change(&o)
	}
	s, err := Open(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Make(t.Context()); err != nil {
		t.Fatal(err)
	}
	return s
}

// setRules gives the bucket rules, one lifecycle rule for all that have one ID.
func setRules(t *testing.T, s store.Store, rules []store.Rule) {
	t.Helper()
	var out []types.LifecycleRule
	for _, r := range rules {
		if n := len(out); n == 0 || *out[n-1].ID != r.ID {
			rule := types.LifecycleRule{ID: aws.String(r.ID), Status: types.ExpirationStatusDisabled, Filter: &types.LifecycleRuleFilter{Prefix: s.(*Store).key(r.Prefix)}}
			if r.Narrowed {
				rule.Filter = &types.LifecycleRuleFilter{And: &types.LifecycleRuleAndOperator{Prefix: s.(*Store).key(r.Prefix), ObjectSizeGreaterThan: aws.Int64(5)}}
			}
			out = append(out, rule)
		}
		rule := &out[len(out)-1]
		if r.Enabled {
			rule.Status = types.ExpirationStatusEnabled
		}
		days := aws.Int32(int32(r.Days))
		switch {
		case r.Noncurrent:
			rule.NoncurrentVersionExpiration = &types.NoncurrentVersionExpiration{NoncurrentDays: days}
		case r.Class != "":
			rule.Transitions = []types.Transition{{Days: days, StorageClass: types.TransitionStorageClass(r.Class)}}
		case r.Expires:
			rule.Expiration = &types.LifecycleExpiration{Days: days}
		default:
			rule.AbortIncompleteMultipartUpload = &types.AbortIncompleteMultipartUpload{DaysAfterInitiation: aws.Int32(int32(r.Aborts))}
		}
	}
	_, err := s.(*Store).client.PutBucketLifecycleConfiguration(t.Context(), &api.PutBucketLifecycleConfigurationInput{Bucket: s.(*Store).bucket(),
		LifecycleConfiguration: &types.BucketLifecycleConfiguration{Rules: out}})
	if err != nil {
		t.Fatal(err)
	}
}

// The suite of cold stores passes over servers of every kind, once a probe has found out what they lack.
func TestColdServers(t *testing.T) {
	weak := coldtest.Provider{Tiers: coldtest.TiersInvalid, NoListStatus: true, RestoreOK: true, Checksums: coldtest.ChecksumsRefused, MaxParts: 1000}
	for name, c := range map[string]struct {
		provider coldtest.Provider
		suite    storetest.ColdSuite
		want     store.Abilities
	}{
		"amazon": {suite: storetest.ColdSuite{SetRules: setRules}, want: store.Abilities{CreateOnly: true, VerifiesSum: true, ReportsSum: true, Tiers: store.Yes,
			Status: store.Yes, MaxParts: maxParts}},
		"weak": {provider: weak, suite: storetest.ColdSuite{NoTiers: true, NoStatus: true}, want: store.Abilities{CreateOnly: true, VerifiesSum: true,
			Tiers: store.No, Status: store.No, MaxParts: fewParts, Refuses: []string{store.Sums}}},
	} {
		t.Run(name, func(t *testing.T) {
			server := coldtest.Start(t, coldtest.Options{Provider: c.provider})
			found, err := store.Examine(t.Context(), openCold(t, server, server.User(), nil), store.ProbeOptions{Class: "DEEP_ARCHIVE", Thaw: true, Parts: true})
			c.want.Lists, c.want.Class, c.want.Cold, c.want.Thaws, c.want.Rules = true, "DEEP_ARCHIVE", true, store.Yes, store.Yes
			if err != nil || found.String() != c.want.String() || found.Cold != c.want.Cold || found.Lists != c.want.Lists {
				t.Errorf("found %v, %v; want %v", found, err, c.want)
			}
			c.suite.Open = func(t *testing.T) (store.Store, func(time.Duration)) {
				return openCold(t, server, server.User(), func(o *Options) { o.Known = &found }), server.Advance
			}
			c.suite.Run(t)
		})
	}
}

// What a probe finds out without having anything thawed, and where rights are missing.
func TestProbeServers(t *testing.T) {
	without := coldtest.NewUser()
	without.Policy = coldtest.Without("s3:RestoreObject", "s3:GetLifecycleConfiguration")
	for name, c := range map[string]struct {
		provider coldtest.Provider
		denied   bool
		class    string
		want     store.Abilities
	}{
		"hot":     {class: "STANDARD_IA", want: store.Abilities{Class: "STANDARD_IA", Thaws: store.Yes, Rules: store.Yes}},
		"cold":    {class: "GLACIER", want: store.Abilities{Class: "GLACIER", Cold: true, Thaws: store.Yes, Rules: store.Yes}},
		"denied":  {denied: true, class: "GLACIER", want: store.Abilities{Class: "GLACIER", Cold: true, Thaws: store.Denied, Rules: store.Denied}},
		"versity": {provider: coldtest.Versity, class: "GLACIER", want: store.Abilities{Class: "STANDARD", Thaws: store.No, Rules: store.No}},
	} {
		server := coldtest.Start(t, coldtest.Options{Provider: c.provider})
		u := server.User()
		if c.denied {
			server.AddUser(without)
			u = without
		}
		s := openCold(t, server, u, nil)
		server.ForgetRequests()
		got, err := store.Probe(t.Context(), s, c.class)
		w := c.want
		if err != nil || got.Class != w.Class || got.Cold != w.Cold || got.Thaws != w.Thaws || got.Rules != w.Rules || got.Tiers != "" || len(got.Missing)+len(got.LeftOver) > 0 {
			t.Errorf("%s: %+v, %v", name, got, err)
		}
		if n := server.CountFunc(func(r coldtest.Request) bool { return r.Operation == "RestoreObject" && r.Class == "GLACIER" }); n > 0 {
			t.Errorf("%s: a cold object is thawed though nobody asked", name)
		}
		if n := server.Count(""); n > 16 {
			t.Errorf("%s: %d requests", name, n)
		}
	}
	deny := coldtest.NewUser()
	deny.Policy = coldtest.Without("s3:RestoreObject")
	server := coldtest.Start(t, coldtest.Options{})
	server.AddUser(deny)
	got, err := store.Examine(t.Context(), openCold(t, server, deny, nil), store.ProbeOptions{Class: "GLACIER", Thaw: true})
	if err != nil || got.Thaws != store.Denied || got.Tiers != store.Unknown || got.Status != store.Unknown {
		t.Errorf("%+v, %v", got, err)
	}
}

// A session that ends in the middle of a run is followed by the next.
func TestSessionEnds(t *testing.T) {
	server := coldtest.Start(t, coldtest.Options{})
	var mu sync.Mutex
	retrieved := 0
	provider := aws.CredentialsProviderFunc(func(context.Context) (aws.Credentials, error) {
		mu.Lock()
		defer mu.Unlock()
		retrieved++
		u := coldtest.NewUser()
		u.Token, u.Expires = "session", server.Clock().Now().Add(time.Hour)
		server.AddUser(u)
		return aws.Credentials{AccessKeyID: u.Access, SecretAccessKey: u.Secret, SessionToken: u.Token}, nil
	})
	s := openCold(t, server, server.User(), func(o *Options) { o.Credentials = provider })
	content := storetest.Content(1, int(part*2+7))
	for i, call := range []func() error{
		func() error { storetest.Put(t, s, "data/a", content[:1000]); return nil },
		func() error { _, err := s.Stat(t.Context(), "data/a"); return err },
		func() error { _, err := storetest.Names(t.Context(), s, "", ""); return err },
		func() error {
			return s.Put(t.Context(), "data/b", bytes.NewReader(content), int64(len(content)), store.PutOptions{Class: "GLACIER", Parts: part})
		},
		func() error { _, err := storetest.Get(t.Context(), s, "data/a", 0, -1); return err },
		func() error {
			_, err := s.Thaw(t.Context(), "data/b", store.ThawOptions{Tier: store.Bulk, Days: 1})
			return err
		},
	} {
		if err := call(); err != nil {
			t.Errorf("call %d: %v", i, err)
		}
		server.Advance(2 * time.Hour)
	}
	if retrieved != 6 {
		t.Errorf("credentials were asked for %d times", retrieved)
	}
}

// Through cut connections and a bandwidth limit an object in parts arrives, and what has arrived is not sent again.
func TestPartsThroughFaults(t *testing.T) {
	content := storetest.Content(2, int(part*6+100))
	for seed := range uint64(3) {
		server := coldtest.Start(t, coldtest.Options{Seed: seed, Faults: "UploadPart * cut-in p=0.3\nUploadPart * cut-after p=0.1\nListParts * internal p=0.2\n" +
			"CompleteMultipartUpload * embedded times=1\nCompleteMultipartUpload * cut-after p=0.3"})
		s := openCold(t, server, server.User(), nil)
		m := &slip{}
		wrapped := retry.New(limit.New(s, limit.Options{Up: limit.Always(units.GiB), Connections: 2}), retry.Options{Tries: 30, Sleep: func(context.Context, time.Duration) error { return nil }})
		o := store.PutOptions{Sum: sha256.Sum256(content), Class: "STANDARD_IA", Parts: part, Memory: m}
		if err := wrapped.Put(t.Context(), "data/a", bytes.NewReader(content), int64(len(content)), o); err != nil && !errors.Is(err, store.ErrExist) {
			t.Fatalf("seed %d: %v", seed, err)
		}
		if got, err := storetest.Get(t.Context(), s, "data/a", 0, -1); err != nil || !bytes.Equal(got, content) || m.id != "" {
			t.Errorf("seed %d: %d bytes, %v, remembered %q", seed, len(got), err, m.id)
		}
		arrived := server.CountFunc(func(r coldtest.Request) bool { return r.Operation == "UploadPart" && r.Status == 200 && r.Fault == "" })
		if arrived > 7+partsAtOnce { // one whose answer came too late is sent twice
			t.Errorf("seed %d: %d parts arrived of 7", seed, arrived)
		}
	}
}
