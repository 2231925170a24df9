package coldtest

import (
	"crypto/hmac"
	"crypto/sha256"
	"net/http"
	"net/url"
	"slices"
	"sort"
	"strconv"
	"strings"
	"time"
)

// User may call the server. Its rights are all, but for what Policy says.
type User struct {
	Access, Secret string
	Token          string    // of a session; empty: none is needed
	Expires        time.Time // of the session, by Clock; zero: never
	Policy         *Policy   // nil: everything is allowed
}

// NewUser returns a user with random keys and all rights.
func NewUser() User { return User{Access: "AKIA" + strings.ToUpper(random(8)), Secret: random(20)} }

// AddUser makes a user known, in place of one with the same access key.
func (s *Server) AddUser(u User) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.users[u.Access] = &u
}

const (
	scheme    = "AWS4-HMAC-SHA256"
	shortDate = "20060102"
	longDate  = "20060102T150405Z"
	maxSkew   = 15 * time.Minute
	maxUse    = 7 * 24 * time.Hour // of a presigned URL

	unsignedPayload = "UNSIGNED-PAYLOAD"
	streamUnsigned  = "STREAMING-UNSIGNED-PAYLOAD-TRAILER"
	streamSigned    = "STREAMING-AWS4-HMAC-SHA256-PAYLOAD"
	streamTrailer   = "STREAMING-AWS4-HMAC-SHA256-PAYLOAD-TRAILER"
	emptySum        = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
)

// signature is what a request says of who signed what (Amazon S3 API Reference, "Authenticating Requests: AWS Signature Version 4").
type signature struct {
	access, day, region, service string
	time                         time.Time
	signed                       []string // headers
	given                        string
	payload                      string // x-amz-content-sha256
	token                        string
	presigned                    bool
	use                          time.Duration // of a presigned URL
	key                          []byte        // once it is verified
}

// authenticate finds the user who signed the request.
func (s *Server) authenticate(r *http.Request) (*User, *signature, error) {
	g, err := s.readSignature(r)
	if err != nil {
		return nil, nil, err
	}
	s.mu.Lock()
	u := s.users[g.access]
	s.mu.Unlock()
	if u == nil {
		return nil, nil, fail(http.StatusForbidden, "InvalidAccessKeyId", "The AWS Access Key Id you provided does not exist in our records.", [2]string{"AWSAccessKeyId", g.access})
	}
	if err := s.timely(g); err != nil {
		return nil, nil, err
	}
	if err := g.complete(r); err != nil {
		return nil, nil, err
	}
	g.key = s.signingKey(u.Secret, g)
	text := strings.Join([]string{scheme, g.time.Format(longDate), g.scope(), hexSum(g.canonical(r))}, "\n")
	if want := hexOf(sign(g.key, text)); !hmac.Equal([]byte(want), []byte(g.given)) {
		return nil, nil, fail(http.StatusForbidden, "SignatureDoesNotMatch",
			"The request signature we calculated does not match the signature you provided. Check your key and signing method.",
			[2]string{"AWSAccessKeyId", g.access}, [2]string{"StringToSign", text}, [2]string{"CanonicalRequest", g.canonical(r)})
	}
	if u.Token != g.token {
		return nil, nil, fail(http.StatusBadRequest, "InvalidToken", "The provided token is malformed or otherwise invalid.")
	}
	if !u.Expires.IsZero() && !s.now().Before(u.Expires) {
		return nil, nil, fail(http.StatusBadRequest, "ExpiredToken", "The provided token has expired.")
	}
	return u, g, nil
}

// readSignature takes the signature out of the header or the query.
func (s *Server) readSignature(r *http.Request) (*signature, error) {
	if r.Header.Get("Authorization") != "" {
		return s.fromHeader(r)
	}
	q := r.URL.Query()
	if !q.Has("X-Amz-Algorithm") {
		return nil, denied("Access Denied")
	}
	bad := func(why string) error { return fail(http.StatusBadRequest, "AuthorizationQueryParametersError", why) }
	g := &signature{given: q.Get("X-Amz-Signature"), signed: strings.Split(q.Get("X-Amz-SignedHeaders"), ";"), token: q.Get("X-Amz-Security-Token"),
		presigned: true, payload: unsignedPayload}
	if v := r.Header.Get("X-Amz-Content-Sha256"); v != "" {
		g.payload = v
	}
	seconds, err := strconv.Atoi(q.Get("X-Amz-Expires"))
	g.use = time.Duration(seconds) * time.Second
	if q.Get("X-Amz-Algorithm") != scheme || err != nil || g.use < 0 || g.use > maxUse {
		return nil, bad("X-Amz-Algorithm only supports \"AWS4-HMAC-SHA256\", and X-Amz-Expires must be a number of at most 604800")
	}
	if g.time, err = time.Parse(longDate, q.Get("X-Amz-Date")); err != nil {
		return nil, bad("X-Amz-Date must be in the ISO8601 Long Format \"yyyyMMdd'T'HHmmss'Z'\"")
	}
	if !g.credential(q.Get("X-Amz-Credential")) {
		return nil, bad("Error parsing the X-Amz-Credential parameter")
	}
	return g, s.scoped(g)
}

func (s *Server) fromHeader(r *http.Request) (*signature, error) {
	malformed := func(why string) error { return fail(http.StatusBadRequest, "AuthorizationHeaderMalformed", why) }
	kind, rest, _ := strings.Cut(r.Header.Get("Authorization"), " ")
	if kind != scheme {
		return nil, invalidRequest("The authorization mechanism you have provided is not supported. Please use AWS4-HMAC-SHA256.")
	}
	g := &signature{payload: r.Header.Get("X-Amz-Content-Sha256"), token: r.Header.Get("X-Amz-Security-Token")}
	for _, field := range strings.Split(rest, ",") {
		name, value, _ := strings.Cut(strings.TrimSpace(field), "=")
		switch name {
		case "Credential":
			if !g.credential(value) {
				return nil, malformed("The authorization header is malformed; the Credential is mal-formed; expecting \"<YOUR-AKID>/YYYYMMDD/REGION/SERVICE/aws4_request\".")
			}
		case "SignedHeaders":
			g.signed = strings.Split(value, ";")
		case "Signature":
			g.given = value
		}
	}
	if g.access == "" || len(g.signed) == 0 || g.given == "" {
		return nil, malformed("The authorization header is malformed; the authorization header requires three components: Credential, SignedHeaders, and Signature.")
	}
	var err error
	if g.time, err = time.Parse(longDate, r.Header.Get("X-Amz-Date")); err != nil {
		return nil, denied("AWS authentication requires a valid Date or x-amz-date header")
	}
	if g.payload == "" {
		return nil, invalidRequest("Missing required header for this request: x-amz-content-sha256")
	}
	return g, s.scoped(g)
}

// credential reads "access/day/region/service/aws4_request".
func (g *signature) credential(text string) bool {
	f := strings.Split(text, "/")
	if len(f) != 5 || f[4] != "aws4_request" {
		return false
	}
	g.access, g.day, g.region, g.service = f[0], f[1], f[2], f[3]
	return true
}

// scoped compares what a signature is for with where and when it came.
func (s *Server) scoped(g *signature) error {
	switch {
	case g.service != "s3":
		return fail(http.StatusBadRequest, "AuthorizationHeaderMalformed", "The authorization header is malformed; incorrect service. This endpoint belongs to \"s3\".")
	case g.region != s.o.Region:
		return fail(http.StatusBadRequest, "AuthorizationHeaderMalformed",
			"The authorization header is malformed; the region '"+g.region+"' is wrong; expecting '"+s.o.Region+"'", [2]string{"Region", s.o.Region})
	case g.day != g.time.Format(shortDate):
		return fail(http.StatusForbidden, "SignatureDoesNotMatch", "Date in Credential scope does not match YYYYMMDD from ISO-8601 version of date from HTTP")
	}
	return nil
}

// timely compares a signature's time with the machine's.
func (s *Server) timely(g *signature) error {
	now := time.Now().UTC().Add(s.o.Skew)
	if g.presigned {
		if now.After(g.time.Add(g.use)) || g.time.After(now.Add(maxSkew)) {
			return denied("Request has expired")
		}
		return nil
	}
	if d := now.Sub(g.time); d > maxSkew || d < -maxSkew {
		return fail(http.StatusForbidden, "RequestTimeTooSkewed", "The difference between the request time and the current time is too large.",
			[2]string{"RequestTime", g.time.Format(longDate)}, [2]string{"ServerTime", isoTime(now)}, [2]string{"MaxAllowedSkewMilliseconds", "900000"})
	}
	return nil
}

// complete looks that everything is signed that has to be.
func (g *signature) complete(r *http.Request) error {
	if !slices.Contains(g.signed, "host") {
		return denied("There were headers present in the request which were not signed")
	}
	for name := range r.Header {
		lower := strings.ToLower(name)
		if strings.HasPrefix(lower, "x-amz-") && !slices.Contains(g.signed, lower) && !(g.presigned && lower == "x-amz-content-sha256") {
			return fail(http.StatusForbidden, "AccessDenied", "There were headers present in the request which were not signed", [2]string{"HeadersNotSigned", lower})
		}
	}
	return nil
}

func (g *signature) scope() string {
	return g.day + "/" + g.region + "/" + g.service + "/aws4_request"
}

// canonical is the request as it is signed.
func (g *signature) canonical(r *http.Request) string {
	var b strings.Builder
	b.WriteString(r.Method + "\n" + escapePath(r.URL) + "\n" + canonicalQuery(r.URL.RawQuery) + "\n")
	for _, name := range g.signed {
		b.WriteString(name + ":" + headerValue(r, name) + "\n")
	}
	b.WriteString("\n" + strings.Join(g.signed, ";") + "\n" + g.payload)
	return b.String()
}

func headerValue(r *http.Request, name string) string {
	switch {
	case name == "host":
		return r.Host
	case name == "content-length" && r.Header.Get(name) == "":
		return strconv.FormatInt(r.ContentLength, 10)
	}
	var values []string
	for _, v := range r.Header.Values(name) {
		values = append(values, strings.Join(strings.Fields(v), " "))
	}
	return strings.Join(values, ",")
}

// escapePath escapes a path as S3 wants it signed: everything but the unreserved characters and slashes.
func escapePath(u *url.URL) string {
	if u.Path == "" {
		return "/"
	}
	return escape(u.Path, true)
}

// escape is the URI encoding of signatures.
func escape(text string, slashes bool) string {
	const upper = "0123456789ABCDEF"
	var b strings.Builder
	for i := range len(text) {
		c := text[i]
		switch {
		case c >= 'a' && c <= 'z', c >= 'A' && c <= 'Z', c >= '0' && c <= '9', c == '-', c == '.', c == '_', c == '~', c == '/' && slashes:
			b.WriteByte(c)
		default:
			b.WriteByte('%')
			b.WriteByte(upper[c>>4])
			b.WriteByte(upper[c&15])
		}
	}
	return b.String()
}

// canonicalQuery sorts and escapes a query, without the signature of a presigned URL.
func canonicalQuery(raw string) string {
	var fields []string
	for _, field := range strings.Split(raw, "&") {
		if field == "" {
			continue
		}
		name, value, _ := strings.Cut(field, "=")
		name, value = unescape(name), unescape(value)
		if name != "X-Amz-Signature" {
			fields = append(fields, escape(name, false)+"="+escape(value, false))
		}
	}
	sort.Strings(fields)
	return strings.Join(fields, "&")
}

func unescape(text string) string {
	out, err := url.QueryUnescape(text)
	if err != nil {
		return text
	}
	return out
}

func sign(key []byte, text string) []byte {
	h := hmac.New(sha256.New, key)
	h.Write([]byte(text))
	return h.Sum(nil)
}

func hexSum(text string) string {
	sum := sha256.Sum256([]byte(text))
	return hexOf(sum[:])
}

// signingKey derives the key of a day.
func (s *Server) signingKey(secret string, g *signature) []byte {
	name := secret + "/" + g.scope()
	if key, ok := s.keys.Load(name); ok {
		return key.([]byte)
	}
	key := sign(sign(sign(sign([]byte("AWS4"+secret), g.day), g.region), g.service), "aws4_request")
	s.keys.Store(name, key)
	return key
}
