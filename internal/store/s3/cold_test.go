package s3

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"reflect"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	awscredentials "github.com/aws/aws-sdk-go-v2/credentials"

	"firn/internal/store"
	"firn/internal/storetest"
)

// sayError answers as S3 does to what fails.
func sayError(w http.ResponseWriter, status int, code, message string) {
	w.WriteHeader(status)
	fmt.Fprintf(w, `<?xml version="1.0"?><Error><Code>%s</Code><Message>%s</Message></Error>`, code, message)
}

func TestThawAnswers(t *testing.T) {
	for _, c := range []struct {
		status        int
		code, message string
		tier          store.Tier
		answer        store.Answer
		want          error
		temporary     bool
	}{
		{status: 202, tier: store.Bulk, answer: store.ThawBegun},
		{status: 202, tier: store.NoTier, answer: store.ThawBegun},
		{status: 200, tier: store.Standard, answer: store.ThawExtended},
		{409, "RestoreAlreadyInProgress", "", store.Bulk, 0, store.ErrThawing, false},
		{503, "GlacierExpeditedRetrievalNotAvailable", "", store.Expedited, 0, store.ErrNoCapacity, true},
		{400, "InvalidArgument", "Retrieval option is not supported by this storage class", store.Expedited, 0, store.ErrTier, false},
		{403, "InvalidTier", "", store.Expedited, 0, store.ErrTier, false},
		{400, "MalformedXML", "unknown element", "Warp", 0, store.ErrTier, false},
		{501, "NotImplemented", "GlacierJobParameters are not implemented", store.Bulk, 0, store.ErrTier, false},
		{501, "NotImplemented", "no", store.Bulk, 0, store.ErrUnsupported, false},
		{400, "MalformedXML", "", store.NoTier, 0, nil, false},
		{400, "InvalidArgument", "Retrieval option is not supported", store.NoTier, 0, nil, false},
		{400, "InvalidArgument", "days", store.Bulk, 0, nil, false},
		{403, "InvalidObjectState", "", store.Bulk, 0, store.ErrNotCold, false},
		{403, "ObjectAlreadyInActiveTierError", "", store.Bulk, 0, store.ErrNotCold, false},
		{403, "AccessDenied", "", store.Bulk, 0, store.ErrDenied, false},
		{404, "NoSuchKey", "", store.Bulk, 0, store.ErrNotExist, false},
		{404, "NoSuchBucket", "", store.Bulk, 0, store.ErrNoStore, false},
		{400, "ExpiredToken", "", store.Bulk, 0, store.ErrAuth, false},
		{403, "RequestTimeTooSkewed", "", store.Bulk, 0, store.ErrClock, false},
		{503, "SlowDown", "", store.Bulk, 0, nil, true},
		{500, "InternalError", "", store.Bulk, 0, nil, true},
		{501, "", "", store.Bulk, 0, store.ErrUnsupported, false},
	} {
		var body string
		s := against(t, func(w http.ResponseWriter, r *http.Request) {
			b, _ := io.ReadAll(r.Body)
			body = string(b)
			if c.status < 300 {
				w.WriteHeader(c.status)
				return
			}
			sayError(w, c.status, c.code, c.message)
		}, nil)
		s.amazon = true
		got, err := s.Thaw(t.Context(), "data/a", store.ThawOptions{Tier: c.tier, Days: 3})
		if (err == nil) != (c.status < 300) || c.want != nil && !errors.Is(err, c.want) || got != c.answer || store.IsTemporary(err) != c.temporary {
			t.Errorf("%d %s (%q): %v, %v, temporary %v", c.status, c.code, c.tier, got, err, store.IsTemporary(err))
		}
		for _, other := range []error{store.ErrThawing, store.ErrNotCold, store.ErrTier, store.ErrNoCapacity, store.ErrCold, store.ErrDenied, store.ErrNotExist} {
			if other != c.want && errors.Is(err, other) {
				t.Errorf("%d %s is %v too", c.status, c.code, other)
			}
		}
		if !strings.Contains(body, "<Days>3</Days>") || strings.Contains(body, "GlacierJobParameters") != (c.tier != store.NoTier) ||
			c.tier != store.NoTier && !strings.Contains(body, "<Tier>"+string(c.tier)+"</Tier>") {
			t.Errorf("tier %q: %s", c.tier, body)
		}
	}
}

func TestThawRefuses(t *testing.T) {
	asked := 0
	s := against(t, func(w http.ResponseWriter, r *http.Request) { asked++; w.WriteHeader(202) }, func(o *Options) {
		o.Known = &store.Abilities{Tiers: store.No}
	})
	if _, err := s.Thaw(t.Context(), "a", store.ThawOptions{Tier: store.Bulk, Days: 1}); !errors.Is(err, store.ErrTier) {
		t.Errorf("a tier where there are none: %v", err)
	}
	for _, days := range []int64{0, -1, 1 << 40} {
		if _, err := s.Thaw(t.Context(), "a", store.ThawOptions{Days: int(days)}); err == nil {
			t.Errorf("%d days", days)
		}
	}
	if _, err := s.Thaw(t.Context(), "../a", store.ThawOptions{Days: 1}); !errors.Is(err, store.ErrName) {
		t.Error(err)
	}
	if asked != 0 {
		t.Errorf("asked %d times", asked)
	}
	if _, err := s.Thaw(t.Context(), "a", store.ThawOptions{Days: 1}); err != nil || asked != 1 {
		t.Errorf("%v, asked %d times", err, asked)
	}
}

// A server that says 200 to everything is asked what that means; one that has said 202 is not.
func TestThawTwoHundred(t *testing.T) {
	status, restore, heads := 200, "", 0
	s := against(t, func(w http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodHead {
			heads++
			if restore != "" {
				w.Header().Set("x-amz-restore", restore)
			}
			return
		}
		w.WriteHeader(status)
	}, nil)
	thaw := func(want store.Answer) {
		t.Helper()
		if got, err := s.Thaw(t.Context(), "a", store.ThawOptions{Days: 1}); err != nil || got != want {
			t.Errorf("%v, %v", got, err)
		}
	}
	thaw(store.ThawBegun)
	restore = `ongoing-request="true"`
	thaw(store.ThawBegun)
	restore = `ongoing-request="false", expiry-date="Fri, 21 Dec 2029 00:00:00 GMT"`
	thaw(store.ThawExtended)
	if heads != 3 {
		t.Errorf("%d HEADs", heads)
	}
	status = 202
	thaw(store.ThawBegun)
	status = 200
	thaw(store.ThawExtended)
	if heads != 3 {
		t.Errorf("%d HEADs in the end", heads)
	}
}

func TestParseRestore(t *testing.T) {
	expires := time.Date(2012, 12, 21, 0, 0, 0, 0, time.UTC)
	for header, want := range map[string]store.Copy{
		`ongoing-request="true"`: {State: store.Thawing},
		`ongoing-request="false", expiry-date="Fri, 21 Dec 2012 00:00:00 GMT"`: {State: store.Thawed, Expires: expires},
		`expiry-date="Fri, 21 Dec 2012 00:00:00 GMT",ongoing-request="false"`:  {State: store.Thawed, Expires: expires},
		`ongoing-request="false"`:                     {State: store.Thawed},
		`ongoing-request="false", expiry-date="soon"`: {State: store.Thawed},
		``:                          {},
		`ongoing-request="perhaps"`: {},
		`ongoing-request=true`:      {},
		strings.Repeat(" ", maxRestore) + `ongoing-request="true"`: {},
	} {
		if got := parseRestore(header); got != want {
			t.Errorf("%.100q: %+v", header, got)
		}
	}
}

func FuzzParseRestore(f *testing.F) {
	f.Add(`ongoing-request="false", expiry-date="Fri, 21 Dec 2012 00:00:00 GMT"`)
	f.Add(`ongoing-request="true`)
	f.Fuzz(func(t *testing.T, header string) {
		if c := parseRestore(header); c.State != store.Thawed && !c.Expires.IsZero() {
			t.Errorf("%q: %+v", header, c)
		}
	})
}

func TestStatCopy(t *testing.T) {
	s := against(t, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("x-amz-storage-class", "DEEP_ARCHIVE")
		w.Header().Set("x-amz-restore", `ongoing-request="true"`)
	}, nil)
	if info, err := s.Stat(t.Context(), "a"); err != nil || info.Class != "DEEP_ARCHIVE" || info.Copy.State != store.Thawing {
		t.Errorf("%+v, %v", info, err)
	}
}

// shelf is a server with listings, of which each object has a class, a header for HEAD and an element for listings.
type shelf struct {
	mu      sync.Mutex
	objects map[string]shelved
	heads   []string
	asked   []string // attributes that listings asked for
	status  int      // of HEAD; 0: 200
}

type shelved struct{ class, head, list string }

const (
	listThawing = "<RestoreStatus><IsRestoreInProgress>true</IsRestoreInProgress></RestoreStatus>"
	listThawed  = "<RestoreStatus><IsRestoreInProgress>false</IsRestoreInProgress><RestoreExpiryDate>2029-12-21T00:00:00Z</RestoreExpiryDate></RestoreStatus>"
	listNothing = "<RestoreStatus><IsRestoreInProgress>false</IsRestoreInProgress></RestoreStatus>"
	headThawing = `ongoing-request="true"`
	headThawed  = `ongoing-request="false", expiry-date="Fri, 21 Dec 2029 00:00:00 GMT"`
)

func (f *shelf) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	f.mu.Lock()
	defer f.mu.Unlock()
	name := strings.TrimPrefix(r.URL.Path, "/bucket/")
	switch {
	case r.Method == http.MethodHead:
		f.heads = append(f.heads, name)
		o, ok := f.objects[name]
		if f.status != 0 || !ok {
			w.WriteHeader(cmp.Or(f.status, 404))
			return
		}
		w.Header().Set("x-amz-storage-class", o.class)
		if o.head != "" {
			w.Header().Set("x-amz-restore", o.head)
		}
	case r.Method == http.MethodPost:
		w.WriteHeader(202)
	default:
		f.asked = append(f.asked, r.Header.Get("x-amz-optional-object-attributes"))
		var names []string
		for name := range f.objects {
			if strings.HasPrefix(name, r.URL.Query().Get("prefix")) {
				names = append(names, name)
			}
		}
		slices.Sort(names)
		_, _ = io.WriteString(w, `<?xml version="1.0"?><ListBucketResult>`)
		for _, name := range names {
			o := f.objects[name]
			fmt.Fprintf(w, "<Contents><Key>%s</Key><Size>1</Size><StorageClass>%s</StorageClass>%s</Contents>", name, o.class, o.list)
		}
		_, _ = io.WriteString(w, `</ListBucketResult>`)
	}
}

// copies lists them as text.
func copies(t *testing.T, s *Store, prefix string) (string, error) {
	t.Helper()
	var out []string
	err := s.ListCopies(t.Context(), prefix, "", func(i store.Info) error {
		out = append(out, fmt.Sprintf("%s:%d", i.Name, i.Copy.State))
		return nil
	})
	return strings.Join(out, " "), err
}

func TestListCopies(t *testing.T) {
	f := &shelf{objects: map[string]shelved{
		"a": {"STANDARD", "", ""}, "b": {"DEEP_ARCHIVE", "", listNothing}, "c": {"DEEP_ARCHIVE", headThawing, listThawing},
		"d": {"DEEP_ARCHIVE", headThawed, listThawed}, "e": {"GLACIER", "", ""},
	}}
	s := against(t, f.ServeHTTP, nil)
	s.amazon = true
	got, err := copies(t, s, "")
	if err != nil || got != "a:0 b:0 c:1 d:2 e:0" || len(f.heads) != 0 || !slices.Equal(f.asked, []string{"RestoreStatus"}) {
		t.Errorf("%s, %v, heads %q, asked for %q", got, err, f.heads, f.asked)
	}
	err = s.List(t.Context(), "", "", func(i store.Info) error {
		if i.Copy != (store.Copy{}) {
			t.Errorf("list tells %+v", i)
		}
		return nil
	})
	if err != nil || f.asked[1] != "" {
		t.Errorf("%v, asked for %q", err, f.asked)
	}
	// elsewhere the first cold object is looked at, and what it tells about the listing stays known
	s = against(t, f.ServeHTTP, nil)
	if got, err = copies(t, s, ""); err != nil || got != "a:0 b:0 c:1 d:2 e:0" || !slices.Equal(f.heads, []string{"b"}) {
		t.Errorf("%s, %v, heads %q", got, err, f.heads)
	}
	if _, err = copies(t, s, ""); err != nil || len(f.heads) != 1 {
		t.Errorf("%v, heads %q", err, f.heads)
	}
}

func TestListCopiesSilent(t *testing.T) {
	f := &shelf{objects: map[string]shelved{"a": {"STANDARD", "", ""}, "b": {"COLD", headThawed, ""}, "c": {"COLD", "", ""}}}
	s := against(t, f.ServeHTTP, nil)
	for range 2 {
		if got, err := copies(t, s, ""); !errors.Is(err, store.ErrNoStatus) || got != "" {
			t.Errorf("%q, %v", got, err)
		}
	}
	if len(f.heads) != 1 {
		t.Errorf("heads %q", f.heads)
	}
	// nothing is thawed that the first look would find; but what was asked for by this store is compared
	f = &shelf{objects: map[string]shelved{"b": {"COLD", "", ""}, "c": {"COLD", "", ""}}}
	s = against(t, f.ServeHTTP, nil)
	if got, err := copies(t, s, ""); err != nil || got != "b:0 c:0" {
		t.Errorf("%q, %v", got, err)
	}
	if _, err := s.Thaw(t.Context(), "c", store.ThawOptions{Days: 1}); err != nil {
		t.Fatal(err)
	}
	f.objects["c"] = shelved{"COLD", headThawing, ""}
	if got, err := copies(t, s, ""); !errors.Is(err, store.ErrNoStatus) || got != "" {
		t.Errorf("%q, %v", got, err)
	}
	// the same, and the listing tells
	s = against(t, f.ServeHTTP, nil)
	if _, err := s.Thaw(t.Context(), "c", store.ThawOptions{Days: 1}); err != nil {
		t.Fatal(err)
	}
	f.objects["c"] = shelved{"COLD", headThawing, listThawing}
	if got, err := copies(t, s, ""); err != nil || got != "b:0 c:1" {
		t.Errorf("%q, %v", got, err)
	}
	// what a probe found counts
	for _, c := range []struct {
		known store.Ability
		want  error
		heads int
	}{{store.No, store.ErrNoStatus, 0}, {store.Yes, nil, 0}, {store.Unknown, nil, 1}} {
		f = &shelf{objects: map[string]shelved{"b": {"COLD", "", ""}}}
		s = against(t, f.ServeHTTP, func(o *Options) { o.Known = &store.Abilities{Status: c.known} })
		if _, err := copies(t, s, ""); !errors.Is(err, c.want) || len(f.heads) != c.heads {
			t.Errorf("%q: %v, heads %q", c.known, err, f.heads)
		}
	}
	// who may not look is told what the listing says, and any other error
	for status, want := range map[int]error{403: nil, 404: nil, 401: store.ErrAuth} {
		f = &shelf{objects: map[string]shelved{"b": {"COLD", "", ""}}, status: status}
		s = against(t, f.ServeHTTP, nil)
		if _, err := copies(t, s, ""); !errors.Is(err, want) {
			t.Errorf("HEAD says %d: %v", status, err)
		}
	}
}

// A server that does not like the question does not tell either.
func TestListCopiesDeclined(t *testing.T) {
	for _, c := range []struct {
		status int
		code   string
		want   error
	}{
		{501, "NotImplemented", store.ErrNoStatus}, {400, "InvalidArgument", store.ErrNoStatus}, {403, "AccessDenied", store.ErrDenied}, {404, "NoSuchBucket", store.ErrNoStore},
		{400, "ExpiredToken", store.ErrAuth},
	} {
		s := against(t, refuse(c.status, c.code), nil)
		for range 2 {
			if _, err := copies(t, s, ""); !errors.Is(err, c.want) {
				t.Errorf("%d %s: %v", c.status, c.code, err)
			}
		}
		if n := s.Requests()["ListObjectsV2"]; (c.want == store.ErrNoStatus) != (n == 1) {
			t.Errorf("%d %s: %d listings", c.status, c.code, n)
		}
	}
	s := against(t, refuse(503, "SlowDown"), nil)
	if _, err := copies(t, s, ""); !store.IsTemporary(err) || errors.Is(err, store.ErrNoStatus) {
		t.Error(err)
	}
}

// What is held back until the listing is known to tell is shown in the end, and no more than a page of it is held.
func TestListCopiesHeld(t *testing.T) {
	f := &shelf{objects: map[string]shelved{}}
	for i := range maxHeld + 5 {
		f.objects[fmt.Sprintf("a/%05d", i)] = shelved{class: "STANDARD"}
	}
	f.objects["b"] = shelved{"COLD", headThawed, ""}
	s := against(t, f.ServeHTTP, nil)
	got, err := copies(t, s, "a/")
	if n := len(strings.Fields(got)); err != nil || n != maxHeld+5 {
		t.Errorf("%d objects, %v", n, err)
	}
	stop, seen := errors.New("enough"), 0
	if err := s.ListCopies(t.Context(), "a/", "", func(store.Info) error { seen++; return stop }); err != stop || seen != 1 {
		t.Errorf("%v after %d", err, seen)
	}
	got, err = copies(t, s, "")
	if n := len(strings.Fields(got)); !errors.Is(err, store.ErrNoStatus) || n != maxHeld {
		t.Errorf("too late to say it before: %d objects, %v", n, err)
	}
}

func TestRules(t *testing.T) {
	const head, tail = `<?xml version="1.0"?><LifecycleConfiguration>`, `</LifecycleConfiguration>`
	date := time.Now().Add(73 * time.Hour).UTC().Format(time.RFC3339)
	rule := func(inside string) string { return "<Rule><ID>r</ID><Status>Enabled</Status>" + inside + "</Rule>" }
	const chill = "<Transition><Days>30</Days><StorageClass>GLACIER</StorageClass></Transition>"
	cold := store.Rule{ID: "r", Enabled: true, Days: 30, Class: "GLACIER"}
	with := func(change func(*store.Rule)) []store.Rule { r := cold; change(&r); return []store.Rule{r} }
	for _, c := range []struct {
		prefix, rules string
		want          []store.Rule
	}{
		{"", "", nil},
		{"", rule("<Filter><Prefix></Prefix></Filter>" + chill), []store.Rule{cold}},
		{"", rule("<Filter/>" + chill), []store.Rule{cold}},
		{"", rule("<Prefix>data/</Prefix>" + chill), with(func(r *store.Rule) { r.Prefix = "data/" })},
		{"a/b", rule("<Filter><Prefix>a/b/data/</Prefix></Filter>" + chill), with(func(r *store.Rule) { r.Prefix = "data/" })},
		{"a/b", rule("<Filter><Prefix>a/b/</Prefix></Filter>" + chill), []store.Rule{cold}},
		{"a/b", rule("<Filter><Prefix>a/</Prefix></Filter>" + chill), []store.Rule{cold}},
		{"a/b", rule("<Filter><Prefix>a/bc</Prefix></Filter>" + chill), nil},
		{"a/b", rule("<Filter><Prefix>other</Prefix></Filter>" + chill), nil},
		{"", rule("<Filter><Tag><Key>k</Key><Value>v</Value></Tag></Filter>" + chill), with(func(r *store.Rule) { r.Narrowed = true })},
		{"", rule("<Filter><ObjectSizeGreaterThan>5</ObjectSizeGreaterThan></Filter>" + chill), with(func(r *store.Rule) { r.Narrowed = true })},
		{"", rule("<Filter><And><Prefix>meta/</Prefix><ObjectSizeLessThan>5</ObjectSizeLessThan></And></Filter>" + chill),
			with(func(r *store.Rule) { r.Narrowed, r.Prefix = true, "meta/" })},
		{"", rule("<Filter><And><Prefix>meta/</Prefix><Tag><Key>k</Key><Value>v</Value></Tag></And></Filter>" + chill),
			with(func(r *store.Rule) { r.Narrowed, r.Prefix = true, "meta/" })},
		{"", strings.Replace(rule(chill), "Enabled", "Disabled", 1), with(func(r *store.Rule) { r.Enabled = false })},
		{"", rule("<Expiration><ExpiredObjectDeleteMarker>true</ExpiredObjectDeleteMarker></Expiration>"), nil},
		{"", rule("<Expiration><Date>" + date + "</Date></Expiration>"), []store.Rule{{ID: "r", Enabled: true, Days: 3, Expires: true}}},
		{"", rule("<Expiration><Date>2020-01-01T00:00:00Z</Date></Expiration>"), []store.Rule{{ID: "r", Enabled: true, Expires: true}}},
		{"", rule(chill + "<Expiration><Days>400</Days></Expiration><NoncurrentVersionExpiration><NoncurrentDays>5</NoncurrentDays></NoncurrentVersionExpiration>" +
			"<NoncurrentVersionTransition><NoncurrentDays>2</NoncurrentDays><StorageClass>GLACIER</StorageClass></NoncurrentVersionTransition>" +
			"<AbortIncompleteMultipartUpload><DaysAfterInitiation>7</DaysAfterInitiation></AbortIncompleteMultipartUpload>"), []store.Rule{
			cold, {ID: "r", Enabled: true, Days: 400, Expires: true}, {ID: "r", Enabled: true, Noncurrent: true, Days: 2, Class: "GLACIER"},
			{ID: "r", Enabled: true, Noncurrent: true, Days: 5, Expires: true}, {ID: "r", Enabled: true, Aborts: 7}}},
	} {
		s := against(t, func(w http.ResponseWriter, r *http.Request) { _, _ = io.WriteString(w, head+c.rules+tail) }, func(o *Options) { o.Prefix = c.prefix })
		if got, err := s.Rules(t.Context()); err != nil || !reflect.DeepEqual(got, c.want) {
			t.Errorf("below %q, %s: %+v, %v", c.prefix, c.rules, got, err)
		}
	}
	for code, want := range map[string]error{"NoSuchLifecycleConfiguration": nil, "NotImplemented": store.ErrUnsupported, "AccessDenied": store.ErrDenied,
		"NoSuchBucket": store.ErrNoStore} {
		s := against(t, refuse(404, code), nil)
		if got, err := s.Rules(t.Context()); !errors.Is(err, want) || len(got) > 0 {
			t.Errorf("%s: %+v, %v", code, got, err)
		}
	}
}

// expiring hands out keys one after another.
type expiring struct {
	mu    sync.Mutex
	turns int
	last  int // the keys do not change any more after so many
}

func (e *expiring) Retrieve(context.Context) (aws.Credentials, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.turns++
	return aws.Credentials{AccessKeyID: fmt.Sprintf("KEY%d", min(e.turns, e.last)), SecretAccessKey: "s", SessionToken: "t"}, nil
}

// Credentials that the server takes for expired are asked for again, once, also by those who ask at once.
func TestExpiredCredentials(t *testing.T) {
	for _, code := range []string{"ExpiredToken", "ExpiredTokenException", "TokenRefreshRequired"} {
		provider := &expiring{last: 2}
		var mu sync.Mutex
		bodies := map[string]string{}
		s := against(t, func(w http.ResponseWriter, r *http.Request) {
			b, _ := io.ReadAll(r.Body)
			if strings.Contains(r.Header.Get("Authorization"), "KEY1/") {
				if r.Method == http.MethodHead {
					w.WriteHeader(400)
					return
				}
				sayError(w, 400, code, "The provided token has expired.")
				return
			}
			mu.Lock()
			defer mu.Unlock()
			bodies[r.Method+r.URL.Path] = string(b)
		}, func(o *Options) { o.Credentials = provider })
		if code == "ExpiredToken" { // a HEAD has no code
			if _, err := s.Stat(t.Context(), "a"); err != nil {
				t.Errorf("stat: %v", err)
			}
		}
		var wg sync.WaitGroup
		for i := range 8 {
			wg.Go(func() {
				if err := s.Put(t.Context(), fmt.Sprint("p", i), strings.NewReader("content"), 7, store.PutOptions{}); err != nil {
					t.Errorf("put: %v", err)
				}
			})
		}
		wg.Wait()
		if len(bodies) < 8 || bodies["PUT/bucket/p3"] != "content" || provider.turns != 2 {
			t.Errorf("%d bodies, %q, asked %d times", len(bodies), bodies["PUT/bucket/p3"], provider.turns)
		}
	}
}

// Where there are no others the error is what it was, and nothing is repeated.
func TestExpiredForGood(t *testing.T) {
	for name, provider := range map[string]aws.CredentialsProvider{
		"same again": &expiring{last: 1}, "fixed": awscredentials.NewStaticCredentialsProvider("KEY1", "s", "t"), "none": &failingOnce{},
		"in a cache": aws.NewCredentialsCache(&expiring{last: 1}),
	} {
		requests := 0
		s := against(t, func(w http.ResponseWriter, r *http.Request) { requests++; sayError(w, 400, "ExpiredToken", "told so") },
			func(o *Options) { o.Credentials = provider })
		if _, err := s.Get(t.Context(), "a", 0, -1); !errors.Is(err, store.ErrAuth) || store.IsTemporary(err) || requests != 1 {
			t.Errorf("%s: %v after %d requests", name, err, requests)
		}
	}
	// others that are refused, too, are not tried for ever
	requests := 0
	s := against(t, func(w http.ResponseWriter, r *http.Request) { requests++; sayError(w, 400, "ExpiredToken", "told so") },
		func(o *Options) { o.Credentials = &expiring{last: 1000} })
	if _, err := s.Get(t.Context(), "a", 0, -1); !errors.Is(err, store.ErrAuth) || requests != 2 {
		t.Errorf("%v after %d requests", err, requests)
	}
	// a cache that the caller made is told to ask again
	s = against(t, func(w http.ResponseWriter, r *http.Request) {
		if strings.Contains(r.Header.Get("Authorization"), "KEY1/") {
			sayError(w, 400, "ExpiredToken", "told so")
		}
	}, func(o *Options) { o.Credentials = aws.NewCredentialsCache(&expiring{last: 2}) })
	if _, err := storetest.Get(t.Context(), s, "a", 0, -1); err != nil {
		t.Error(err)
	}
}

// failingOnce has keys once, and then none.
type failingOnce struct{ asked int }

func (f *failingOnce) Retrieve(context.Context) (aws.Credentials, error) {
	if f.asked++; f.asked > 1 {
		return aws.Credentials{}, errors.New("signed out")
	}
	return aws.Credentials{AccessKeyID: "KEY1", SecretAccessKey: "s", SessionToken: "t"}, nil
}
