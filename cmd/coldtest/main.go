// Coldtest runs an S3 server with cold classes on the loopback interface, to try firn with: thawing, its waiting and its price, without an account.
//
// It prints the environment that leads S3 clients to it, and some commands to try; the bill now and then, and at the end, which SIGINT brings about.
// Nothing of it is meant to keep data: it is for trying only.
package main

import (
	"context"
	"flag"
	"fmt"
	"io"
	"net"
	"os"
	"os/signal"
	"strings"
	"time"

	"firn/internal/coldtest"
	"firn/internal/price"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	err := run(ctx, os.Args[1:], os.Stdout, os.Stderr)
	stop()
	if err == flag.ErrHelp {
		os.Exit(0)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "coldtest:", err)
		os.Exit(1)
	}
}

// providers are those that can be simulated.
var providers = map[string]coldtest.Provider{
	"amazon": coldtest.Amazon, "no-tiers": coldtest.NoTiers, "scaleway": coldtest.Scaleway, "ceph": coldtest.Ceph, "versity": coldtest.Versity, "old": coldtest.Old,
}

const bucket = "try"

type settings struct {
	o         coldtest.Options
	billEvery time.Duration
}

// parse reads the arguments.
func parse(args []string, stderr io.Writer) (*settings, error) {
	x := &settings{o: coldtest.Options{Clock: coldtest.Real{}, Users: []coldtest.User{{Access: "COLDTEST", Secret: "coldtest"}}}}
	fl := flag.NewFlagSet("coldtest", flag.ContinueOnError)
	fl.SetOutput(stderr)
	fl.StringVar(&x.o.Address, "addr", "127.0.0.1:9099", "loopback address to listen on")
	fl.Float64Var(&x.o.Speed, "speed", 1, "thaw, expire and bill so many times faster than Amazon: with 1440 a day takes a minute")
	fl.StringVar(&x.o.Folder, "dir", "", "folder for the objects, and for going on later; without it they are kept in memory and end with the server")
	fl.DurationVar(&x.billEvery, "bill-every", 0, "print the bill so often, such as 5m")
	fl.Int64Var(&x.o.Scale, "scale", 1, "bill every object as so many times as large")
	fl.DurationVar(&x.o.Latency, "latency", 0, "answer every request so much later, such as 50ms")
	faults := fl.String("faults", "", "file of rules by which requests fail; see package coldtest, Fault")
	provider := fl.String("provider", "amazon", "what to simulate: amazon, no-tiers, scaleway, ceph, versity, old")
	prices := fl.String("prices", "aws/us-east-1", "provider and region whose prices are billed")
	if err := fl.Parse(args); err != nil {
		return nil, err
	}
	if fl.NArg() > 0 {
		return nil, fmt.Errorf("unexpected argument %q", fl.Arg(0))
	}
	if x.o.Speed <= 0 || x.o.Scale <= 0 {
		return nil, fmt.Errorf("speed %v and scale %d must be above 0", x.o.Speed, x.o.Scale)
	}
	if host, _, err := net.SplitHostPort(x.o.Address); err != nil || host != "localhost" && !net.ParseIP(host).IsLoopback() {
		return nil, fmt.Errorf("%q is no address of this machine alone, such as 127.0.0.1:9099", x.o.Address)
	}
	var ok bool
	if x.o.Provider, ok = providers[*provider]; !ok {
		return nil, fmt.Errorf("unknown provider %q", *provider)
	}
	name, region, _ := strings.Cut(*prices, "/")
	var err error
	if x.o.Prices, err = price.Default().Region(name, region); err != nil {
		return nil, err
	}
	if *faults != "" {
		rules, err := os.ReadFile(*faults)
		if err != nil {
			return nil, err
		}
		x.o.Faults = string(rules)
	}
	return x, nil
}

// run serves until ctx ends.
func run(ctx context.Context, args []string, stdout, stderr io.Writer) error {
	x, err := parse(args, stderr)
	if err != nil {
		return err
	}
	s, err := coldtest.Listen(x.o)
	if err != nil {
		return err
	}
	s.CreateBucket(bucket)
	x.greet(stdout, s)
	var ticks <-chan time.Time
	if x.billEvery > 0 {
		ticker := time.NewTicker(x.billEvery)
		defer ticker.Stop()
		ticks = ticker.C
	}
	for {
		select {
		case <-ticks:
			x.bill(stdout, s)
		case <-ctx.Done():
			x.bill(stdout, s)
			return s.Close()
		}
	}
}

// greet says how to reach the server and what to try.
func (x *settings) greet(w io.Writer, s *coldtest.Server) {
	fmt.Fprintf(w, "# An S3 server to try things out with, at %s. In another terminal:\n\n", s.Endpoint())
	for _, line := range s.Environment() {
		fmt.Fprintf(w, "export %s\n", line)
	}
	fast := ""
	if x.o.Speed > 1 {
		fast = " --poll 1s --days 10" // copies go as fast as they come
	}
	fmt.Fprintf(w, `export FIRN_REPO=s3://%s/repository FIRN_PASSPHRASE="only for trying" FIRN_PRICE_REGION=aws/us-east-1

firn init --class DEEP_ARCHIVE
firn backup ~/Documents
firn restore latest --target restored --plan
firn restore latest --target restored%s
firn cost

`, bucket, fast)
	if x.o.Speed != 1 {
		fmt.Fprintf(w, "# Time goes %v times faster here: 12 hours of thawing take %v.\n", x.o.Speed, time.Duration(float64(12*time.Hour)/x.o.Speed).Round(time.Second))
	} else {
		fmt.Fprintf(w, "# Thawing takes as long as at Amazon's: hours. With -speed 1440 a day takes a minute.\n")
	}
	fmt.Fprintf(w, "# Ctrl-C ends it and prints the bill.\n")
}

// bill prints what all of it would cost.
func (x *settings) bill(w io.Writer, s *coldtest.Server) {
	r := x.o.Prices
	bill := s.Bill()
	fmt.Fprintf(w, "\nBill after %d requests, at the prices of %s of %s:\n", s.Count(""), r.Key(), r.Date)
	for _, l := range bill {
		fmt.Fprintf(w, "  %-20s %-24s %10d %16d bytes %12s\n", l.What, l.Class, l.Count, l.Bytes, r.Format(l.Cost))
	}
	fmt.Fprintf(w, "  %-20s %-24s %10s %16s       %12s\n", "total", "", "", "", r.Format(bill.Total()))
}
