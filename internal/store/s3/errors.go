package s3

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"

	awshttp "github.com/aws/aws-sdk-go-v2/aws/transport/http"
	"github.com/aws/smithy-go"

	"firn/internal/store"
)

// ErrRegion is a bucket that lies in another region than the one asked; Error.Region tells which, if the server does.
var ErrRegion = errors.New("bucket is in another region")

// Error is a request that failed.
type Error struct {
	Code      string // of the S3 API, such as NoSuchBucket; empty where no answer came
	Message   string // the server's words
	Status    int    // of HTTP; 0 where no answer came
	Region    string // where the bucket is, if the server said so
	RequestID string
	Reason    error // one of store.Err…, ErrRegion or nil
	Cause     error // the SDK's error
	temporary bool
}

func (e *Error) Error() string {
	text := e.Message
	if e.Code != "" {
		text = e.Code + ": " + e.Message
	}
	if e.Reason == nil {
		return text
	}
	if e.Reason == ErrRegion && e.Region != "" {
		text = "it is in " + e.Region
	}
	return fmt.Sprintf("%v: %s", e.Reason, text)
}

// Unwrap returns the reason and the cause.
func (e *Error) Unwrap() []error {
	if e.Reason == nil {
		return []error{e.Cause}
	}
	return []error{e.Reason, e.Cause}
}

// Temporary implements store.Temporary.
func (e *Error) Temporary() bool { return e.temporary }

// Throttled implements store.Throttled.
func (e *Error) Throttled() bool {
	switch e.Code {
	case "SlowDown", "Throttling", "ThrottlingException", "RequestThrottledException", "RequestLimitExceeded", "TooManyRequests", "BandwidthLimitExceeded":
		return true
	}
	return e.Reason == nil && (e.Status == http.StatusTooManyRequests || e.Status == http.StatusServiceUnavailable)
}

// answer is what an error code means.
type answer struct {
	reason    error
	temporary bool
}

// Error codes: Amazon S3 API Reference, "Error responses"; those of Ceph, MinIO and Garage where they differ.
var answers = map[string]answer{
	"NoSuchKey":          {reason: store.ErrNotExist},
	"NotFound":           {reason: store.ErrNotExist},
	"NoSuchBucket":       {reason: store.ErrNoStore},
	"NoSuchUpload":       {reason: errNoUpload, temporary: true}, // a new one may be begun
	"InvalidPart":        {reason: errPart, temporary: true},
	"InvalidPartOrder":   {reason: errPart, temporary: true},
	"PreconditionFailed": {reason: store.ErrExist},
	"AccessDenied":       {reason: store.ErrDenied},
	"AllAccessDisabled":  {reason: store.ErrDenied},
	"AccountProblem":     {reason: store.ErrDenied},
	"Forbidden":          {reason: store.ErrDenied},
	"InvalidObjectState": {reason: store.ErrCold},
	"InvalidRange":       {reason: store.ErrRange},

	"ObjectNotInActiveTierError":            {reason: store.ErrCold},    // the source of a copy
	"ObjectAlreadyInActiveTierError":        {reason: store.ErrNotCold}, // RestoreObject
	"RestoreAlreadyInProgress":              {reason: store.ErrThawing},
	"GlacierExpeditedRetrievalNotAvailable": {reason: store.ErrNoCapacity, temporary: true},

	"InvalidAccessKeyId":          {reason: store.ErrAuth},
	"XAdminUserNotFound":          {reason: store.ErrAuth}, // versitygw
	"SignatureDoesNotMatch":       {reason: store.ErrAuth},
	"ExpiredToken":                {reason: store.ErrAuth},
	"ExpiredTokenException":       {reason: store.ErrAuth},
	"InvalidToken":                {reason: store.ErrAuth},
	"TokenRefreshRequired":        {reason: store.ErrAuth},
	"NotSignedUp":                 {reason: store.ErrAuth},
	"UnrecognizedClientException": {reason: store.ErrAuth},
	"RequestTimeTooSkewed":        {reason: store.ErrClock},
	"RequestExpired":              {reason: store.ErrClock},

	"BadDigest":                   {reason: store.ErrChecksum},
	"InvalidDigest":               {reason: store.ErrChecksum},
	"XAmzContentChecksumMismatch": {reason: store.ErrChecksum},
	"XAmzContentSHA256Mismatch":   {reason: store.ErrChecksum},
	"QuotaExceeded":               {reason: store.ErrFull},
	"XMinioStorageFull":           {reason: store.ErrFull},
	"InsufficientStorage":         {reason: store.ErrFull},
	"NotEnoughSpace":              {reason: store.ErrFull},

	"PermanentRedirect":                  {reason: ErrRegion},
	"IllegalLocationConstraintException": {reason: ErrRegion},
	"IncorrectEndpoint":                  {reason: ErrRegion},
	"TemporaryRedirect":                  {temporary: true},
	"ConditionalRequestConflict":         {temporary: true},
	"OperationAborted":                   {temporary: true},
	"SlowDown":                           {temporary: true},
	"ServiceUnavailable":                 {temporary: true},
	"InternalError":                      {temporary: true},
	"RequestTimeout":                     {temporary: true},
	"Throttling":                         {temporary: true},
	"ThrottlingException":                {temporary: true},
	"RequestLimitExceeded":               {temporary: true},
	"TooManyRequests":                    {temporary: true},
	"NotImplemented":                     {reason: store.ErrUnsupported},
	"XNotImplemented":                    {reason: store.ErrUnsupported},
	"UnsupportedOperation":               {reason: store.ErrUnsupported},
	"MethodNotAllowed":                   {reason: store.ErrUnsupported},
	"XMinioServerNotInitialized":         {temporary: true},
	"IncompleteBody":                     {temporary: true},
	"BucketRegionError":                  {reason: ErrRegion},
	"AuthorizationHeaderMalformed":       {reason: store.ErrAuth},
	"AuthorizationQueryParametersError":  {reason: store.ErrAuth},
	"InvalidLocationConstraint":          {reason: ErrRegion},
	"AuthFailure":                        {reason: store.ErrAuth},
	"AccessForbidden":                    {reason: store.ErrDenied},
	"InvalidClientTokenId":               {reason: store.ErrAuth},
	"BandwidthLimitExceeded":             {temporary: true},
	"PriorRequestNotComplete":            {temporary: true},
	"RequestThrottledException":          {temporary: true},
}

// fail makes an error of the SDK one of the contract.
func (s *Store) fail(ctx context.Context, err error) error {
	if err == nil {
		return nil
	}
	if end := ctx.Err(); end != nil {
		return end
	}
	if errors.Is(err, errShort) {
		return errShort
	}
	var done *Error
	if errors.As(err, &done) {
		return err
	}
	e := &Error{Cause: err, Message: err.Error()}
	var response *awshttp.ResponseError
	var request *url.Error
	if errors.As(err, &request) { // the SDK's text has the whole query in it
		if u, bad := url.Parse(request.URL); bad == nil {
			e.Message = fmt.Sprintf("%s: %v", u.Host, request.Err)
		}
	}
	if !errors.As(err, &response) || response.Response == nil || response.HTTPStatusCode() == 0 || errors.As(err, new(net.Error)) {
		e.unanswered()
		return e
	}
	e.Status, e.RequestID = response.HTTPStatusCode(), response.ServiceRequestID()
	e.Region = response.Response.Header.Get("x-amz-bucket-region")
	var coded smithy.APIError
	if errors.As(err, &coded) {
		e.Code, e.Message = coded.ErrorCode(), coded.ErrorMessage()
	}
	if e.Region == s.client.Options().Region {
		e.Region = ""
	}
	e.answered()
	return e
}

// codeOf is the code of the S3 API in an error of the SDK.
func codeOf(err error) string {
	var coded smithy.APIError
	if errors.As(err, &coded) {
		return coded.ErrorCode()
	}
	return ""
}

// unanswered classifies a request to which no whole answer came.
func (e *Error) unanswered() {
	var (
		network     net.Error
		credentials *credentialsError
		certificate *tls.CertificateVerificationError
		authority   x509.UnknownAuthorityError
		record      tls.RecordHeaderError
		operation   *net.OpError
		name        *net.DNSError
	)
	switch {
	case errors.As(e.Cause, &credentials):
		e.Reason = store.ErrAuth
	case errors.As(e.Cause, &certificate), errors.As(e.Cause, &authority), errors.As(e.Cause, &record):
	case errors.As(e.Cause, &network) && network.Timeout():
		e.Reason, e.temporary = store.ErrTimeout, true
	case errors.As(e.Cause, &operation), errors.As(e.Cause, &name), errors.As(e.Cause, &network),
		errors.Is(e.Cause, io.EOF), errors.Is(e.Cause, io.ErrUnexpectedEOF):
		e.temporary = true
	default:
		var send interface{ ConnectionError() bool }
		e.temporary = errors.As(e.Cause, &send)
	}
}

// answered classifies what the server said; the code counts before the status.
func (e *Error) answered() {
	if a, ok := answers[e.Code]; ok {
		e.Reason, e.temporary = a.reason, a.temporary
	} else {
		e.byStatus()
	}
	if e.Region != "" && (e.Status == http.StatusMovedPermanently || e.Status == http.StatusBadRequest) {
		e.Reason, e.temporary = ErrRegion, false
	}
}

func (e *Error) byStatus() {
	switch {
	case e.Status == http.StatusNotFound:
		e.Reason = store.ErrNotExist
	case e.Status == http.StatusForbidden:
		e.Reason = store.ErrDenied
	case e.Status == http.StatusUnauthorized:
		e.Reason = store.ErrAuth
	case e.Status == http.StatusPreconditionFailed:
		e.Reason = store.ErrExist
	case e.Status == http.StatusRequestedRangeNotSatisfiable:
		e.Reason = store.ErrRange
	case e.Status == http.StatusMovedPermanently:
		e.Reason = ErrRegion
	case e.Status == http.StatusInsufficientStorage:
		e.Reason = store.ErrFull
	case e.Status == http.StatusNotImplemented, e.Status == http.StatusMethodNotAllowed:
		e.Reason = store.ErrUnsupported
	case e.Status >= 500, e.Status == http.StatusTooManyRequests, e.Status == http.StatusRequestTimeout,
		e.Status == http.StatusConflict, e.Status == http.StatusTemporaryRedirect:
		e.temporary = true
	case e.Status < 300: // the answer began well and broke off
		e.temporary = true
	}
}
