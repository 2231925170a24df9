package s3

import (
	"context"
	"encoding/json"
	"errors"

	api "github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"

	"firn/internal/store"
)

// RulesDocument returns the lifecycle rules of the whole bucket, those that are about others' objects too, as JSON of the S3 API; nothing where there are none. It fails with
// ErrUnsupported where the server has no such rules.
func (s *Store) RulesDocument(ctx context.Context) ([]byte, error) {
	out, err := ask(ctx, s, func() (*api.GetBucketLifecycleConfigurationOutput, error) {
		return s.client.GetBucketLifecycleConfiguration(ctx, &api.GetBucketLifecycleConfigurationInput{Bucket: s.bucket()})
	})
	var e *Error
	if errors.As(err, &e) && e.Code == "NoSuchLifecycleConfiguration" {
		return []byte{}, nil
	}
	if err != nil {
		return nil, store.Fail("rules", "", err)
	}
	raw, err := json.Marshal(struct {
		Rules                              []types.LifecycleRule
		TransitionDefaultMinimumObjectSize types.TransitionDefaultMinimumObjectSize `json:",omitempty"`
	}{out.Rules, out.TransitionDefaultMinimumObjectSize})
	var tree any
	if err == nil {
		err = json.Unmarshal(raw, &tree)
	}
	if err != nil {
		return nil, err
	}
	return json.Marshal(withoutNull(tree))
}

// withoutNull leaves out members that the SDK has and the server did not send.
func withoutNull(tree any) any {
	switch x := tree.(type) {
	case map[string]any:
		for name, value := range x {
			if value == nil {
				delete(x, name)
				continue
			}
			x[name] = withoutNull(value)
		}
	case []any:
		for i := range x {
			x[i] = withoutNull(x[i])
		}
	}
	return tree
}
