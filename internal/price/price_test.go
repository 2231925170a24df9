package price_test

import (
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"firn/internal/price"
)

const (
	gb   = 1 << 30
	tb   = 1 << 40
	year = 12 * price.Month
)

func region(t testing.TB, key string) *price.Region {
	t.Helper()
	p, n := price.Parsed(key)
	r, err := price.Default().Region(p, n)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func all(t testing.TB) []*price.Region {
	t.Helper()
	var out []*price.Region
	for _, key := range price.Default().Regions() {
		out = append(out, region(t, key))
	}
	return out
}

func near(a, b price.Money) bool {
	return math.Abs(float64(a-b)) <= 1e-9+1e-9*math.Max(math.Abs(float64(a)), math.Abs(float64(b)))
}

func must(b price.Bill, err error) price.Bill {
	if err != nil {
		panic(err)
	}
	return b
}

// TestGolden holds the arithmetic to bills worked out by hand, where there are any to examples that Amazon publishes.
func TestGolden(t *testing.T) {
	us := region(t, "aws/us-east-1")
	thaw := func(class, tier string, n, bytes int64, days float64) price.Money {
		return must(us.Thaw(class, tier, n, bytes, days)).Total()
	}
	for _, x := range []struct {
		what string
		got  price.Money
		want price.Money
	}{
		// Amazon re:Post, "How do I manage data retrieval costs": 15,000,000 objects of 100 TB in all.
		{"100 TB from GLACIER, Standard", thaw("GLACIER", "Standard", 15e6, 102400*gb, 0), 750 + 1024},
		{"100 TB from GLACIER, Expedited", thaw("GLACIER", "Expedited", 15e6, 102400*gb, 0), 150000 + 3072},
		{"100 TB from GLACIER, Bulk", thaw("GLACIER", "Bulk", 15e6, 102400*gb, 0), 0},
		// S3 FAQ: 100,000 objects of 1 GB in GLACIER take 32 KB more there and 8 KB in STANDARD, each.
		{"100,000 GB in GLACIER", us.HoldMonths("GLACIER", 100000, 100000*gb, 1).Total(), 100000*0.0036 + 100000*32768.0/gb*0.0036 + 100000*8192.0/gb*0.023},
		// 1 TB in objects of 1 MB: 1.01376 + 32 GB at 0.00099 + 8 GB at 0.023.
		{"1 TB in DEEP_ARCHIVE", us.HoldMonths("deep_archive", 1<<20, tb, 1).Total(), 1.01376 + 0.03168 + 0.184},
		{"1 TB a year in DEEP_ARCHIVE", us.Hold("DEEP_ARCHIVE", 0, tb, year).Total(), 12 * 1.01376},
		{"8,192 puts", us.Put("DEEP_ARCHIVE", 8192, tb).Cost, 0.4096},
		{"100 objects in 10 parts each", us.PutParts("DEEP_ARCHIVE", 100, 1000, gb).Total(), 100*0.05/1000 + 1100*0.005/1000},
		{"parts in STANDARD_IA", us.PutParts("STANDARD_IA", 1, 3, gb).Total(), 5 * 0.01 / 1000},
		{"list of 1,000,000 objects", us.List(price.Lists(1e6)).Cost, 0.005},
		{"1,000 gets of 10 GB from STANDARD_IA", us.Get("STANDARD_IA", 1000, 10*gb).Cost, 0.001 + 0.1},
		{"small objects in GLACIER_IR", us.HoldMonths("GLACIER_IR", 8192, 8192, 1).Total(), 0.004},
		{"bulk from DEEP_ARCHIVE, kept 7 days", thaw("DEEP_ARCHIVE", "bulk", 1000, 100*gb, 7), 0.025 + 0.25 + 100*0.023*7*24/730},
		{"99 GB out", us.Egress(price.Direct, 99*gb, 0).Cost, 0},
		{"1,124 GB out", us.Egress("", 1124*gb, 0).Cost, 1024 * 0.09},
		{"10 TB out after 100 GB", us.Egress("", 10240*gb, 100*gb).Cost, 10240 * 0.09},
		{"50 TB + 100 GB out", us.Egress("direct", 51300*gb, 0).Cost, 10240*0.09 + 40960*0.085},
		{"one GB more after it", us.Egress("direct", gb, 51300*gb).Cost, 0.07},
		{"1 TB by CDN", us.Egress("cdn", tb, 0).Cost, 0},
		{"to a machine there", us.Egress("in-region", tb, 0).Cost, 0},
		{"deleted after 60 of 180 days", us.Early("DEEP_ARCHIVE", 0, 1000*gb, 60*24*time.Hour).Total(), 1000 * 0.00099 * 120 * 24 / 730},
		{"deleted after 180 days", us.Early("DEEP_ARCHIVE", 5, gb, 180*24*time.Hour).Total(), 0},
		{"STANDARD to DEEP_ARCHIVE", us.Move("", "DEEP_ARCHIVE", 1000, tb).Total(), 0.05},
		{"STANDARD_IA to DEEP_ARCHIVE", us.Move("STANDARD_IA", "DEEP_ARCHIVE", 1000, gb).Total(), 0.05 + 0.01},
		{"DEEP_ARCHIVE to STANDARD", us.Move("DEEP_ARCHIVE", "STANDARD", 1000, 100*gb).Total(), 0.025 + 0.25 + 100*0.023*24/730 + 0.005},
		{"to itself", us.Move("GLACIER", "glacier", 1000, gb).Total(), 0},
		{"B2 restore", region(t, "backblaze").Egress("", 10e12, 0).Cost, 0},
		{"B2, fourth time in a month", region(t, "backblaze").Egress("", 1e12, 3e12).Cost, 10},
		{"R2", region(t, "r2/auto").HoldMonths("", 10, 1e12, 1).Total(), 15},
		{"Wasabi", region(t, "wasabi/eu-central-2").HoldMonths("", 0, tb, 1).Total(), 7.99},
		{"Scaleway", region(t, "scaleway/fr-par").HoldMonths("GLACIER", 0, 1e12, 1).Total(), 2.54},
		{"a folder", region(t, "local").HoldMonths("", 10, tb, 1).Total(), 0},
	} {
		if !near(x.got, x.want) {
			t.Errorf("%s: %v, want %v", x.what, float64(x.got), float64(x.want))
		}
	}
}

// TestMonths: Amazon's example in the S3 FAQ, 100 GB for 15 days of March and 100 TB for the other 16 are 52,900 GB-months.
func TestMonths(t *testing.T) {
	day := func(m time.Month, d int) time.Time { return time.Date(2026, m, d, 0, 0, 0, 0, time.UTC) }
	got := 100*price.Months(day(3, 1), day(3, 16)) + 102400*price.Months(day(3, 16), day(4, 1))
	if math.Abs(got-52900) > 1 {
		t.Errorf("%v GB-months, want 52,900", got)
	}
	for _, x := range []struct {
		from, to time.Time
		want     float64
	}{
		{day(2, 1), day(3, 1), 1}, {day(1, 1), day(2, 1), 1}, {day(1, 1), day(13, 1), 12}, {day(2, 1), day(2, 15), 0.5}, {day(2, 15), day(4, 16), 2}, {day(4, 16), day(2, 15), -2},
		{day(3, 1).In(time.FixedZone("", 7200)), day(4, 1), 1},
	} {
		if got := price.Months(x.from, x.to); math.Abs(got-x.want) > 1e-12 {
			t.Errorf("%v to %v: %v, want %v", x.from, x.to, got, x.want)
		}
	}
}

// TestProperties: nothing is negative, more never costs less, and what is bought in two goes costs what it costs in one.
func TestProperties(t *testing.T) {
	rnd := rand.New(rand.NewPCG(3, 1))
	number := func() int64 { return int64(math.Pow(2, rnd.Float64()*45)) }
	for _, r := range all(t) {
		for _, c := range r.Classes {
			bills := map[string]func(n, bytes int64) price.Money{
				"put":      func(n, b int64) price.Money { return r.Put(c.Name, n, b).Cost },
				"parts":    func(n, b int64) price.Money { return r.PutParts(c.Name, n, n, b).Total() },
				"get":      func(n, b int64) price.Money { return r.Get(c.Name, n, b).Cost },
				"list":     func(n, b int64) price.Money { return r.List(n).Cost },
				"hold":     func(n, b int64) price.Money { return r.Hold(c.Name, n, b, 100*time.Hour).Total() },
				"early":    func(n, b int64) price.Money { return r.Early(c.Name, n, b, time.Hour).Total() },
				"move out": func(n, b int64) price.Money { return r.Move(c.Name, "", n, b).Total() },
				"move in":  func(n, b int64) price.Money { return r.Move("", c.Name, n, b).Total() },
			}
			for _, tier := range c.Tiers {
				bills["thaw "+tier.Name] = func(n, b int64) price.Money {
					return must(r.Thaw(c.Name, tier.Name, n, b, 2)).Total()
				}
			}
			for what, bill := range bills {
				for range 20 {
					n, b := number()%1e9, number()
					m, d := number()%1e9, number()
					one, two, both := bill(n, b), bill(m, d), bill(n+m, b+d)
					sized := (what == "hold" || what == "early") && c.MinBytes > 0
					switch {
					case one < 0 || math.IsNaN(float64(one)) || bill(0, 0) != 0:
						t.Errorf("%s %s %s of %d, %d: %v; of nothing: %v", r.Key(), c.Name, what, n, b, one, bill(0, 0))
					case both < one*(1-1e-9):
						t.Errorf("%s %s %s: more is cheaper: %v, %v", r.Key(), c.Name, what, one, both)
					case !sized && !near(one+two, both) && what[:1] != "m":
						t.Errorf("%s %s %s: %v + %v is %v", r.Key(), c.Name, what, one, two, both)
					}
				}
			}
			if a, b := r.Hold(c.Name, 10, gb, price.Month).Total(), r.Hold(c.Name, 10, gb, 3*price.Month).Total(); !near(3*a, b) {
				t.Errorf("%s %s: three months cost %v, one %v", r.Key(), c.Name, b, a)
			}
			early, later := r.Early(c.Name, 1, gb, 0).Total(), r.Early(c.Name, 1, gb, 10*24*time.Hour).Total()
			if early < later || r.Early(c.Name, 1, gb, c.MinStay()) != nil {
				t.Errorf("%s %s: early deletion: %v, then %v", r.Key(), c.Name, early, later)
			}
		}
		routes(t, r, number)
	}
}

func routes(t *testing.T, r *price.Region, number func() int64) {
	for _, way := range r.Routes {
		for range 50 {
			a, b, used := number(), number(), number()
			one := r.EgressStored(way.Name, a, used, a).Cost
			rest := r.EgressStored(way.Name, b, used+a, a).Cost
			both := r.EgressStored(way.Name, a+b, used, a).Cost
			if one < 0 || rest < 0 || !near(one+rest, both) {
				t.Errorf("%s %s: %d, then %d: %v + %v is %v", r.Key(), way.Name, a, b, one, rest, both)
			}
		}
	}
}

// TestTable looks at what the built-in table says, not at how it adds up.
func TestTable(t *testing.T) {
	for _, r := range all(t) {
		if _, ok := r.Route(price.Direct); !ok {
			t.Errorf("%s: no direct route", r.Key())
		}
		if _, err := time.Parse(time.DateOnly, r.Date); err != nil || r.Source == "" || len(r.Currency) != 3 {
			t.Errorf("%s: date %q, source %q, currency %q", r.Key(), r.Date, r.Source, r.Currency)
		}
		for i, c := range r.Classes {
			if i > 0 && c.Storage > r.Classes[i-1].Storage {
				t.Errorf("%s: %s stands after %s", r.Key(), c.Name, r.Classes[i-1].Name)
			}
			if c.Cold != (len(c.Tiers) > 0) {
				t.Errorf("%s %s: cold %v, %d tiers", r.Key(), c.Name, c.Cold, len(c.Tiers))
			}
			for _, tier := range c.Tiers {
				if tier.Last <= 0 || tier.First > tier.Last {
					t.Errorf("%s %s %s: %v to %v", r.Key(), c.Name, tier.Name, tier.First, tier.Last)
				}
			}
		}
	}
}

func TestUnknown(t *testing.T) {
	us := region(t, "aws")
	for provider, want := range map[string]string{"aws": "aws/us-east-1", "ovh": "ovh/eu-west-par", "scaleway": "scaleway/fr-par", "r2": "r2/any", "gcs": "gcs/europe-north1"} {
		if got := region(t, provider).Key(); got != want {
			t.Errorf("%s is %s", provider, got)
		}
	}
	bill := append(us.HoldMonths("NEW_CLASS", 1, 1, 1), us.Put("NEW_CLASS", 1, 1), us.Egress("tape", 1, 0))
	bill = append(bill, us.Move("NEW_CLASS", "", 1, 1)...)
	if got := strings.Join(bill.Unknown(), " "); got != "NEW_CLASS tape" || bill.Total() != 0 {
		t.Errorf("unknown %q, total %v", got, bill.Total())
	}
	for _, x := range []struct{ provider, region, what, nearest string }{
		{"aws", "eu-wst-1", "region", "eu-west-1"}, {"scalewy", "", "provider", "scaleway"}, {"aws", "mars", "region", ""}, {"", "", "provider", ""},
	} {
		_, err := price.Default().Region(x.provider, x.region)
		var e *price.UnknownError
		if !errors.As(err, &e) || e.What != x.what || x.nearest != "" && (len(e.Nearest) == 0 || e.Nearest[0] != x.nearest) || len(e.Known) == 0 {
			t.Errorf("%q, %q: %v, nearest %v", x.provider, x.region, err, e)
		}
	}
	for _, x := range [][2]string{{"STANDARD", "Bulk"}, {"DEEP_ARCHIVE", "Expedited"}, {"NEW_CLASS", ""}} {
		if bill, err := us.Thaw(x[0], x[1], 1, 1, 1); !errors.As(err, new(*price.UnknownError)) {
			t.Errorf("thaw of %v: %v, %v", x, bill, err)
		}
	}
	if c, ok := region(t, "ovh/eu-west-par").Class("deep_archive"); !ok || c.Name != "COLD_ARCHIVE" {
		t.Error("an alias is not found")
	}
}

func TestCheapest(t *testing.T) {
	us := region(t, "aws/us-east-1")
	for class, want := range map[string]string{"GLACIER": "Bulk", "DEEP_ARCHIVE": "Bulk"} {
		if got := us.Cheapest(class, 100, gb); got == nil || got.Name != want {
			t.Errorf("%s: %v", class, got)
		}
	}
	if us.Cheapest("STANDARD", 1, 1) != nil || us.Cheapest("DEEP_ARCHIVE", 0, 0).Name != "Standard" {
		t.Error("the cheapest tier")
	}
}

func TestMigrate(t *testing.T) {
	us, eu, r2 := region(t, "aws/us-east-1"), region(t, "aws/eu-central-1"), region(t, "r2")
	leave, arrive := price.Migrate(us, "", eu, "DEEP_ARCHIVE", 1000, 100*gb, 0)
	if !near(leave.Total(), 0.0004+2) || !near(arrive.Total(), 0.06) {
		t.Errorf("between regions: %v, %v", leave, arrive)
	}
	leave, arrive = price.Migrate(us, "DEEP_ARCHIVE", r2, "", 1000, 200*gb, 0)
	if !near(leave.Total(), 0.025+0.5+200*0.023*24/730+0.0004+9) || !near(arrive.Total(), 0.0045) {
		t.Errorf("to another provider: %v %v, %v", leave, leave.Total(), arrive)
	}
	if leave, arrive := price.Migrate(us, "NEW", r2, "", 1, 1, 0); len(leave.Unknown()) != 1 || arrive != nil {
		t.Errorf("from an unknown class: %v, %v", leave, arrive)
	}
}

func TestBackup(t *testing.T) {
	us := region(t, "aws/us-east-1")
	sent := []price.Sent{{Class: "DEEP_ARCHIVE", Objects: 100, Bytes: 100 * gb}, {Objects: 10, Bytes: gb}, {Class: "DEEP_ARCHIVE", Objects: 1, Parts: 9, Bytes: gb}, {Class: "GLACIER"}}
	bill := us.Backup(sent, 4, 7)
	if want := price.Money(101*0.05+20*0.005+4*0.005+7*0.0004) / 1000; !near(bill.Total(), want) || len(bill) != 5 {
		t.Errorf("%v, want %v: %v", float64(bill.Total()), float64(want), bill)
	}
	if got := us.Monthly(sent).Of(price.WhatStorage); !near(got, 101*0.00099+0.023) {
		t.Errorf("a month of it: %v", got)
	}
	w := region(t, "wasabi")
	if got := w.AtLeast(w.HoldMonths("", 0, tb/2, 3), 3).Cost; !near(got, 1.5*7.99) || w.AtLeast(w.HoldMonths("", 0, 2*tb, 1), 1).Cost != 0 {
		t.Errorf("least charge: %v", got)
	}
}

func TestMoney(t *testing.T) {
	for v, want := range map[price.Money]string{
		0: "$0.00", 1e-10: "<$0.000001", -1e-10: "<-$0.000001", 1e-6: "$0.000001", price.Money(math.NaN()): "$?", 0.000004: "$0.000004", 0.0004: "$0.0004", 0.00043: "$0.00043", 0.0125: "$0.013", 0.05: "$0.05", 0.0996: "$0.10", 0.1: "$0.10",
		0.999: "$1.00", 1.234: "$1.23", 999.999: "$1,000.00", 1234567.891: "$1,234,567.89", -3: "-$3.00", price.Money(math.Inf(1)): "$?",
	} {
		if got := v.String(); got != want {
			t.Errorf("%v: %q, want %q", float64(v), got, want)
		}
	}
	if got := price.Money(2.5).In("EUR") + price.Money(2.5).In("CHF"); got != "€2.502.50 CHF" {
		t.Error(got)
	}
}

func TestParse(t *testing.T) {
	for text, want := range map[string]string{
		"[aws.us-east-1]\nlist = 3\n":                                       "line 2: aws.us-east-1.list: unknown key",
		"[aws.us-east-1.class.STANDARD]\nput = 1\nstorge = 0.02":            "line 3: aws.us-east-1.class.STANDARD.storge: unknown key",
		"[aws.us-east-1]\ngb = \"x\"":                                       "line 2: aws.us-east-1.gb: string where something else belongs",
		"[aws.us-east-1":                                                    "line 1: ",
		"aws = 3":                                                           "line 1: aws: integer where something else belongs",
		"[aws.x.class.S]\nstorage = -1":                                     "aws.x.class.S.storage: -1: want a number from 0",
		"[aws.x.class.S]\nstorage = nan":                                    "aws.x.class.S.storage: NaN",
		"[aws.x]\ncurrency = \"dollar\"":                                    "aws.x.currency: \"dollar\": want three letters",
		"[aws.x]\ndate = \"yesterday\"":                                     "aws.x.date",
		"[aws.x]\ngb = 1000":                                                "aws.x.gb",
		"[aws.\"a b\"]":                                                     "is no name",
		"[aws.x.class.S.tier.Bulk]\nlast = \"soon\"":                        "want a time such as 12h",
		"[aws.x.route.direct]\nsteps = [{up_to_gb = 5, per_gb = 1}]":        "the last step has an end",
		"[aws.x.route.direct]\nsteps = [{per_gb = 1}, {per_gb = 1}]":        "want steps that grow",
		"[aws.x.class.S]\nmin_days = 1000000":                               "min_days",
		strings.Repeat("#", price.MaxFile+1):                                "want at most",
		"[aws.us-east-1.class.STANDARD]\nstorage = 1\nstorage = 2":          "line 3",
		"[aws.us-east-1.class.STANDARD.tier]\nBulk = { per_gigabyte = 1.0}": "unknown key",
	} {
		_, err := price.Parse([]byte(text))
		var bad *price.ParseError
		if !errors.As(err, &bad) || !strings.Contains(err.Error(), want) {
			t.Errorf("%.60q: %v, want %q", text, err, want)
		}
	}
}

// TestWith lays a user's file over the table: single figures, classes, regions, providers.
func TestWith(t *testing.T) {
	user, err := price.Parse([]byte(`
[aws.us-east-1.class.DEEP_ARCHIVE]
storage = 0.5
[aws.us-east-1.class.DEEP_ARCHIVE.tier.Bulk]
per_gb = 1
[aws.us-east-1.class.MINE]
storage = 1
put = 2
get = 3
[aws.us-east-1.route.direct]
steps = [{per_gb = 7}]
[aws.eu-nowhere-1]
like = "aws/eu-west-1"
without = ["GLACIER"]
currency = "EUR"
[minio.cellar.class.STANDARD]
storage = 0
put = 0
get = 0
[broken.one]
like = "broken/two"
[broken.two]
like = "broken/one"
[broken.three]
like = "aws/mars"
[broken.four]
note = "empty"
[broken.five.class.STANDARD]
storage = 1
[broken.six.class.STANDARD]
storage = 1
put = 1
get = 1
cold = true
[broken.seven.class.STANDARD]
storage = 1
put = 1
get = 1
parts = "OTHER"
`))
	if err != nil {
		t.Fatal(err)
	}
	table := price.Default().With(user)
	us, err := table.Region("aws", "us-east-1")
	if err != nil {
		t.Fatal(err)
	}
	deep, _ := us.Class("DEEP_ARCHIVE")
	bulk, _ := deep.Tier("bulk")
	mine, _ := us.Class("mine")
	if deep.Storage != 0.5 || deep.Put != 0.05 || bulk.PerGB != 1 || bulk.Per1000 != 0.025 || len(deep.Tiers) != 2 || mine.Storage != 1 || len(us.Classes) != 7 {
		t.Errorf("%+v", us)
	}
	if got := us.Egress("", 200*gb, 0).Cost; got != 700 {
		t.Errorf("egress %v", got)
	}
	own, err := table.Region("aws", "eu-nowhere-1")
	if _, glacier := own.Class("GLACIER"); err != nil || glacier || own.Currency != "EUR" || own.Classes[0].Storage != 0.023 {
		t.Errorf("%+v, %v", own, err)
	}
	if r, err := table.Region("minio", ""); err != nil || r.Key() != "minio/cellar" {
		t.Errorf("%v, %v", r, err)
	}
	for _, name := range []string{"one", "three", "four", "five", "six", "seven"} {
		if r, err := table.Region("broken", name); !errors.As(err, new(*price.ParseError)) {
			t.Errorf("%s: %v, %v", name, r, err)
		}
	}
	if r, err := price.Default().With(nil).Region("aws", ""); err != nil || len(r.Classes) != 6 {
		t.Errorf("%v, %v", r, err)
	}
	if _, err := price.Default().Region("aws", "eu-nowhere-1"); err == nil {
		t.Error("the table itself has changed")
	}
	if !slices.IsSorted(table.Regions()) || !slices.Contains(table.Providers(), "minio") {
		t.Error(table.Regions())
	}
}

func TestGuess(t *testing.T) {
	for _, x := range [][4]string{
		{"", "", "aws", ""}, {"", "eu-west-1", "aws", "eu-west-1"},
		{"https://s3.eu-central-1.amazonaws.com", "", "aws", "eu-central-1"}, {"https://s3.amazonaws.com", "us-west-2", "aws", "us-west-2"},
		{"bucket.s3.dualstack.eu-west-1.amazonaws.com:443", "", "aws", "eu-west-1"}, {"https://s3-us-gov-west-1.amazonaws.com/", "", "aws", "us-gov-west-1"},
		{"s3-fips.us-east-2.amazonaws.com", "", "aws", "us-east-2"}, {"https://bucket.vpce-1a2b-3c.s3.us-east-1.vpce.amazonaws.com", "", "aws", "us-east-1"},
		{"https://s3.fr-par.scw.cloud", "", "scaleway", "fr-par"}, {"https://b.s3.nl-ams.scw.cloud", "fr-par", "scaleway", "nl-ams"},
		{"https://s3.gra.io.cloud.ovh.net/", "", "ovh", "gra"}, {"https://s3.eu-west-par.io.cloud.ovh.net", "", "ovh", "eu-west-par"},
		{"https://s3.us-west-002.backblazeb2.com", "", "backblaze", "us-west-002"}, {"s3.wasabisys.com", "us-east-1", "wasabi", "us-east-1"},
		{"https://s3.eu-central-2.wasabisys.com", "", "wasabi", "eu-central-2"}, {"https://abc123.r2.cloudflarestorage.com", "auto", "r2", "auto"},
		{"https://abc.eu.r2.cloudflarestorage.com", "", "r2", ""}, {"https://storage.googleapis.com", "europe-west1", "gcs", "europe-west1"},
		{"https://storage.europe-west2.rep.googleapis.com", "", "gcs", "europe-west2"}, {"https://me.blob.core.windows.net", "eastus2", "azure", "eastus2"},
		{"http://127.0.0.1:9000", "us-east-1", "", ""}, {"http://[::1]:9000", "", "", ""}, {"https://amazonaws.com.evil.example", "", "", ""}, {"notamazonaws.com", "", "", ""},
		{"://", "", "", ""}, {"https://S3.EU-West-1.AmazonAWS.com.", "", "aws", "eu-west-1"},
	} {
		if p, r := price.Guess(x[0], x[1]); p != x[2] || r != x[3] {
			t.Errorf("%q, %q: %q, %q, want %q, %q", x[0], x[1], p, r, x[2], x[3])
		}
	}
}

// FuzzParse: any file is refused or gives regions with sane prices.
func FuzzParse(f *testing.F) {
	f.Add([]byte("[aws.us-east-1.class.STANDARD]\nstorage = 0.5\n"))
	f.Add([]byte("[a.b]\nlike = \"aws/us-east-1\"\n[a.b.route.direct]\nsteps = [{up_to_gb = 1, per_gb = 2}, {per_gb = 1}]\n"))
	f.Add([]byte("[a.b.class.STANDARD]\nstorage=1\nput=1\nget=1\ncold=true\ntier.none.last=\"3h\"\n"))
	f.Fuzz(func(t *testing.T, text []byte) {
		user, err := price.Parse(text)
		if err != nil {
			return
		}
		table := price.Default().With(user)
		for _, key := range table.Regions() {
			p, n := price.Parsed(key)
			r, err := table.Region(p, n)
			if err != nil {
				continue
			}
			for _, c := range r.Classes {
				if v := r.Hold(c.Name, 10, 10*gb, time.Hour).Total(); v < 0 || math.IsNaN(float64(v)) {
					t.Fatalf("%s %s: %v", key, c.Name, v)
				}
			}
			for _, w := range r.Routes {
				if v := r.Egress(w.Name, tb, 0).Cost; v < 0 || math.IsNaN(float64(v)) {
					t.Fatalf("%s %s: %v", key, w.Name, v)
				}
			}
		}
	})
}

func FuzzGuess(f *testing.F) {
	f.Add("https://s3.eu-central-1.amazonaws.com", "x")
	f.Add("[::1]:80", "")
	f.Fuzz(func(t *testing.T, endpoint, region string) { price.Guess(endpoint, region) })
}

func ExampleRegion_Thaw() {
	r, _ := price.Default().Region("aws", "us-east-1")
	bill, _ := r.Thaw("DEEP_ARCHIVE", "Bulk", 16384, 1<<40, 7)
	for _, l := range bill {
		fmt.Println(l.What, r.Format(l.Cost))
	}
	fmt.Println("egress", r.Format(r.Egress(price.Direct, 1<<40, 0).Cost))
	// Output:
	// thaw requests $0.41
	// retrieval $2.56
	// temporary copy $5.42
	// egress $83.16
}
