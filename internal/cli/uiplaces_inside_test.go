package cli

import (
	"bufio"
	"io"
	"slices"
	"testing"
	"time"

	"firn/internal/config"
)

// A child of the pages counts in the prices by which somebody agreed to an amount: without them it would refuse to keep to it.
func TestUIPricesOfChildren(t *testing.T) {
	r := &config.Repository{Name: "cold", Location: "s3://bucket/nas", Prices: "/etc/firn/prices.toml", PriceRegion: "aws/eu-west-1"}
	c := &console{out: bufio.NewWriter(io.Discard), err: io.Discard, now: time.Now, quiet: true}
	p, err := uiPlaceOf(c, &config.Config{Repositories: []*config.Repository{r}}, r, nil)
	if err != nil {
		t.Fatal(err)
	}
	flags := p.flags(r.Location)
	for _, want := range []string{"--prices=/etc/firn/prices.toml", "--price-region=aws/eu-west-1"} {
		if !slices.Contains(flags, want) {
			t.Errorf("flags %q lack %s", flags, want)
		}
	}
}
