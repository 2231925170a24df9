// Command bill keeps a repository in S3 Glacier Deep Archive for a year of weekly backups, on a server of coldtest with its virtual clock, and prints what Amazon
// would have charged: for firn as it is, for firn with packs as small as others make them, and for one object a file, as a plain copy of the tree has. Files are
// made up and incompressible, of very different sizes, and small; for the bill each byte of content counts as many (-scale).
//
//	go run ./bench/bill            # a year of 100 GB, about a minute
//	go run ./bench/bill -gb 10 -weeks 8
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"text/tabwriter"

	"firn/internal/price"
)

func main() {
	var y year
	flag.Float64Var(&y.gb, "gb", 100, "size of the source as billed, in GB of 10^9 bytes")
	flag.IntVar(&y.files, "files", 10_000, "number of files")
	flag.IntVar(&y.weeks, "weeks", 52, "weekly backups after the first")
	flag.Float64Var(&y.churn, "churn", 1, "percent of the files that are written anew each week")
	flag.Int64Var(&y.scale, "scale", 100, "how many bytes each byte of content counts as")
	flag.Parse()
	if err := report(context.Background(), &y); err != nil {
		fmt.Fprintln(os.Stderr, "bill:", err)
		os.Exit(1)
	}
}

// report runs all variants and prints their bills.
func report(ctx context.Context, y *year) error {
	dir, err := os.MkdirTemp("", "firn-bill-*")
	if err != nil {
		return err
	}
	defer func() { _ = os.RemoveAll(dir) }()
	fmt.Printf("%.0f GB in %d files, %d weeks, %g %% of the files written anew each week; everything is kept\n\n", y.gb, y.files, y.weeks, y.churn)
	out := tabwriter.NewWriter(os.Stdout, 0, 8, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(out, "\tobjects\tstorage\toverhead\thot storage\trequests\ttotal\tof the floor\tread from cold\tunchanged backup\t")
	for _, v := range variants() {
		r, err := y.run(ctx, dir, v)
		if err != nil {
			return fmt.Errorf("%s: %w", v.name, err)
		}
		fmt.Fprintf(out, "%s\t%d\t%v\t%v\t%v\t%v\t%v\t%.1f %%\t%d B\t%s\t\n", v.name, r.objects, r.cold, r.overhead, r.hot, r.requests, r.bill.Total(),
			100*float64(r.bill.Total()/r.floor), r.retrieved, r.idle)
	}
	return out.Flush()
}

// result is how a variant came out.
type result struct {
	bill      price.Bill
	floor     price.Money // bytes of content at the price of the class, and what objects of the largest size cannot do without
	cold      price.Money // storage in the cold class
	overhead  price.Money // what is billed on top of each object
	hot       price.Money // storage of all the rest
	requests  price.Money
	objects   int   // in the cold class
	retrieved int64 // bytes read from there
	idle      string
	most      int // requests of an unchanged backup
}
