package s3

import (
	"errors"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	api "github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"

	"firn/internal/coldtest"
	"firn/internal/store"
)

func TestRulesDocument(t *testing.T) {
	server := coldtest.Start(t, coldtest.Options{})
	s := openCold(t, server, server.User(), nil)
	if raw, err := s.RulesDocument(t.Context()); err != nil || raw == nil || len(raw) > 0 {
		t.Errorf("no rules: %q, %v", raw, err)
	}
	rule := types.LifecycleRule{ID: aws.String("x"), Status: types.ExpirationStatusEnabled, Filter: &types.LifecycleRuleFilter{Prefix: aws.String("")},
		Transitions: []types.Transition{{Days: aws.Int32(3), StorageClass: types.TransitionStorageClassGlacier}}}
	if _, err := s.client.PutBucketLifecycleConfiguration(t.Context(), &api.PutBucketLifecycleConfigurationInput{Bucket: s.bucket(),
		LifecycleConfiguration: &types.BucketLifecycleConfiguration{Rules: []types.LifecycleRule{rule}}}); err != nil {
		t.Fatal(err)
	}
	const want = `{"Rules":[{"Filter":{"Prefix":""},"ID":"x","Status":"Enabled","Transitions":[{"Days":3,"StorageClass":"GLACIER"}]}]}`
	if raw, err := s.RulesDocument(t.Context()); err != nil || string(raw) != want {
		t.Errorf("%s, %v", raw, err)
	}
	poor := coldtest.Start(t, coldtest.Options{Provider: coldtest.Provider{NoLifecycle: true}})
	if _, err := openCold(t, poor, poor.User(), nil).RulesDocument(t.Context()); !errors.Is(err, store.ErrUnsupported) {
		t.Errorf("%v", err)
	}
	user := coldtest.NewUser()
	user.Policy = coldtest.Without("s3:GetLifecycleConfiguration")
	server.AddUser(user)
	denied := openCold(t, server, user, nil)
	if _, err := denied.RulesDocument(t.Context()); !errors.Is(err, store.ErrDenied) {
		t.Errorf("%v", err)
	}
}
