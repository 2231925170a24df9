package s3

import (
	"context"
	"errors"
	"fmt"
	"math"
	"net/http"
	"slices"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/aws/middleware"
	api "github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"
	smithyhttp "github.com/aws/smithy-go/transport/http"

	"firn/internal/store"
)

// hotClasses are those of Amazon from which objects are read at once. Any other class may be a cold one.
var hotClasses = []string{"STANDARD", "STANDARD_IA", "ONEZONE_IA", "REDUCED_REDUNDANCY", "GLACIER_IR", "INTELLIGENT_TIERING", "EXPRESS_ONEZONE"}

// Thaw implements store.Thawer. In INTELLIGENT_TIERING nothing can be asked for days, and archived objects of it are not thawed.
func (s *Store) Thaw(ctx context.Context, name string, o store.ThawOptions) (store.Answer, error) {
	if !store.ValidName(name) {
		return 0, store.Fail("thaw", name, store.ErrName)
	}
	answer, err := s.thaw(ctx, name, o)
	return answer, store.Fail("thaw", name, err)
}

func (s *Store) thaw(ctx context.Context, name string, o store.ThawOptions) (store.Answer, error) {
	if o.Days < 1 || o.Days > math.MaxInt32 {
		return 0, fmt.Errorf("a copy cannot be kept for %d days", o.Days)
	}
	if known := s.known.Load(); o.Tier != store.NoTier && known != nil && known.Tiers == store.No {
		return 0, store.ErrTier
	}
	request := &types.RestoreRequest{Days: aws.Int32(int32(o.Days))}
	if o.Tier != store.NoTier {
		request.GlacierJobParameters = &types.GlacierJobParameters{Tier: types.Tier(o.Tier)}
	}
	out, err := ask(ctx, s, func() (*api.RestoreObjectOutput, error) {
		return s.client.RestoreObject(ctx, &api.RestoreObjectInput{Bucket: s.bucket(), Key: s.key(name), RestoreRequest: request})
	})
	if err != nil {
		err = restoring(err, o.Tier)
		if errors.Is(err, store.ErrThawing) {
			s.asked.Store(&name)
		}
		return 0, err
	}
	s.asked.Store(&name)
	return s.answer(ctx, name, out), nil
}

// answer tells what an answer without an error means: with Amazon 202 is a copy that will come and 200 one that is there already, but others say 200 to both.
func (s *Store) answer(ctx context.Context, name string, out *api.RestoreObjectOutput) store.Answer {
	raw, _ := middleware.GetRawResponse(out.ResultMetadata).(*smithyhttp.Response)
	if raw == nil || raw.StatusCode == http.StatusAccepted {
		s.accepted.Store(true)
		return store.ThawBegun
	}
	if s.amazon || s.accepted.Load() {
		return store.ThawExtended
	}
	if info, err := s.stat(ctx, name); err == nil && info.Copy.State == store.Thawed {
		return store.ThawExtended
	}
	return store.ThawBegun
}

// restoring gives the errors of RestoreObject the meaning that they have there.
func restoring(err error, tier store.Tier) error {
	var e *Error
	if !errors.As(err, &e) {
		return err
	}
	if e.Code == "InvalidObjectState" {
		e.Reason = store.ErrNotCold
	}
	if e.Code == "InvalidTier" || tier != store.NoTier && e.refusesTier() {
		e.Reason, e.temporary = store.ErrTier, false
	}
	return err
}

// refusesTier reports whether the server does not like the one thing in a request to restore that it may not know.
func (e *Error) refusesTier() bool {
	switch e.Code {
	case "MalformedXML":
		return true
	case "InvalidArgument", "InvalidRequest", "NotImplemented":
		text := strings.ToLower(e.Message)
		return strings.Contains(text, "tier") || strings.Contains(text, "retrieval") || strings.Contains(text, "glacierjobparameters")
	}
	return false
}

// maxHeld is how many objects of a listing are held back until it is known whether the listing tells the state of copies: one page.
const maxHeld = 1000

// ListCopies implements store.Thawer. A server that is not Amazon's is compared with its own HEAD: of the object that was asked for last, and of the first cold one
// that is listed without a state. Once it has been caught it is not asked again.
func (s *Store) ListCopies(ctx context.Context, prefix, after string, fn func(store.Info) error) error {
	if err := s.compare(ctx, s.asked.Load()); err != nil {
		return store.Fail("list", prefix, err)
	}
	var held []store.Info
	sure := s.sure()
	release := func() error {
		for _, i := range held {
			if err := fn(i); err != nil {
				return err
			}
		}
		held = nil
		return nil
	}
	err := s.list(ctx, prefix, after, true, func(ctx context.Context, i store.Info) error {
		switch {
		case i.Copy.State != store.NoCopy:
			s.tells.Store(true)
			sure = true
		case !sure && !slices.Contains(hotClasses, i.Class):
			if err := s.compare(ctx, &i.Name); err != nil {
				return store.Fail("list", prefix, err)
			}
			sure = true // as sure as it gets
		}
		if held = append(held, i); sure || len(held) >= maxHeld {
			return release()
		}
		return nil
	})
	if err != nil {
		if s.declines(err) {
			s.silent.Store(true)
			return store.Fail("list", prefix, store.ErrNoStatus)
		}
		return err
	}
	return release()
}

// declines reports whether a listing failed because the server does not like to be asked for the state of copies. Amazon's does.
func (s *Store) declines(err error) bool {
	var e *Error
	if s.amazon || !errors.As(err, &e) {
		return false
	}
	return e.Reason == store.ErrUnsupported || e.Reason == nil && e.Status == http.StatusBadRequest && !e.temporary
}

// sure reports whether nothing has to be found out about the listings.
func (s *Store) sure() bool {
	known := s.known.Load()
	return s.amazon || s.tells.Load() || known != nil && known.Status == store.Yes
}

// compare looks whether a listing tells of the object's copy what HEAD tells, and fails with ErrNoStatus if it does not. nil: of no object.
func (s *Store) compare(ctx context.Context, name *string) error {
	if known := s.known.Load(); s.silent.Load() || known != nil && known.Status == store.No {
		return store.ErrNoStatus
	}
	if s.sure() || name == nil {
		return nil
	}
	info, err := s.stat(ctx, *name)
	if errors.Is(err, store.ErrNotExist) || errors.Is(err, store.ErrDenied) || err == nil && info.Copy.State == store.NoCopy {
		return nil // nothing is found out by it
	}
	if err != nil {
		return err
	}
	told := false
	err = s.list(ctx, *name, "", true, func(_ context.Context, i store.Info) error {
		told = i.Name == *name && i.Copy.State != store.NoCopy
		return errEnough
	})
	if err != nil && err != errEnough {
		return err
	}
	if told {
		s.tells.Store(true)
		return nil
	}
	s.silent.Store(true)
	return store.ErrNoStatus
}

var errEnough = errors.New("enough was listed")

// maxRestore bounds what is looked at of an x-amz-restore header, in bytes.
const maxRestore = 1 << 10

// parseRestore reads a header such as: ongoing-request="false", expiry-date="Fri, 21 Dec 2012 00:00:00 GMT" (Amazon S3 API Reference, HeadObject, x-amz-restore). What
// it cannot read is no copy.
func parseRestore(header string) store.Copy {
	header = header[:min(len(header), maxRestore)]
	switch attribute(header, "ongoing-request") {
	case "true":
		return store.Copy{State: store.Thawing}
	case "false":
		expires, err := http.ParseTime(attribute(header, "expiry-date"))
		if err != nil {
			return store.Copy{State: store.Thawed}
		}
		return store.Copy{State: store.Thawed, Expires: expires.UTC()}
	}
	return store.Copy{}
}

func attribute(header, name string) string {
	_, rest, _ := strings.Cut(header, name+`="`)
	value, _, _ := strings.Cut(rest, `"`)
	return value
}

// copyOf is what a listing tells. Not on its way and not there until any time is what some servers say of every object.
func copyOf(r *types.RestoreStatus) store.Copy {
	switch {
	case r == nil:
	case aws.ToBool(r.IsRestoreInProgress):
		return store.Copy{State: store.Thawing}
	case r.RestoreExpiryDate != nil:
		return store.Copy{State: store.Thawed, Expires: r.RestoreExpiryDate.UTC()}
	}
	return store.Copy{}
}
