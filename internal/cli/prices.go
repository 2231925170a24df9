package cli

import (
	"cmp"
	"errors"
	"fmt"
	"os"
	"strings"

	"github.com/spf13/cobra"

	"firn/internal/advice"
	"firn/internal/price"
	"firn/internal/store"
	"firn/internal/wire"
)

// priceFlags say which prices count.
type priceFlags struct {
	file   string
	region string
}

func (f *priceFlags) register(cmd *cobra.Command) {
	cmd.Flags().StringVar(&f.file, "prices", "", "TOML file with prices that count before the built-in ones (FIRN_PRICES)")
	cmd.Flags().StringVar(&f.region, "price-region", "", "whose prices count, such as aws/eu-west-1 (FIRN_PRICE_REGION; default: as the endpoint says)")
	_ = cmd.RegisterFlagCompletionFunc("price-region", func(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective) {
		return f.regions(), cobra.ShellCompDirectiveNoFileComp
	})
	_ = cmd.MarkFlagFilename("prices", "toml")
}

// regions lists what can be given to --price-region.
func (f *priceFlags) regions() []string {
	t, err := f.table()
	if err != nil {
		t = price.Default()
	}
	return t.Regions()
}

// table is the built-in prices under those of the user.
func (f *priceFlags) table() (*price.Table, error) {
	file := cmp.Or(f.file, os.Getenv("FIRN_PRICES"))
	if file == "" {
		return price.Default(), nil
	}
	info, err := os.Stat(file)
	if err == nil && info.Size() > price.MaxFile {
		err = fmt.Errorf("%d bytes, want at most %d", info.Size(), price.MaxFile)
	}
	var raw []byte
	if err == nil {
		raw, err = os.ReadFile(file)
	}
	if err != nil {
		return nil, fmt.Errorf("prices %q: %w", file, err)
	}
	user, err := price.Parse(raw)
	if err != nil {
		return nil, badPrices(fmt.Errorf("prices %q: %w", file, err))
	}
	return price.Default().With(user), nil
}

// find returns the prices of a store: those that the user names, or those of the provider and region that the endpoint and the environment tell.
func (f *priceFlags) find(t *price.Table, st store.Store, sf *storeFlags) (*price.Region, error) {
	if chosen := cmp.Or(f.region, os.Getenv("FIRN_PRICE_REGION")); chosen != "" {
		return regionOf(t, chosen)
	}
	location, err := sf.location()
	if err != nil {
		return nil, err
	}
	if l, err := wire.ParseLocation(location); err != nil || l.Scheme != "s3" {
		return regionOf(t, "local")
	}
	endpoint := cmp.Or(sf.endpoint, os.Getenv("AWS_ENDPOINT_URL_S3"), os.Getenv("AWS_ENDPOINT_URL"))
	if s, ok := store.As[interface{ Endpoint() string }](st); ok {
		endpoint = cmp.Or(s.Endpoint(), endpoint)
	}
	region := cmp.Or(sf.region, os.Getenv("AWS_REGION"), os.Getenv("AWS_DEFAULT_REGION"))
	if s, ok := store.As[interface{ Region() string }](st); ok {
		region = cmp.Or(s.Region(), region)
	}
	provider, name := price.Guess(endpoint, region)
	if provider == "" {
		return nil, &advice.Error{Text: sprintf("no prices are known for %s", endpoint), Code: advice.Usage,
			Hint: "say whose prices count with --price-region, such as aws/us-east-1, or give your own with --prices; known are " + strings.Join(t.Providers(), ", ")}
	}
	return regionOf(t, provider+"/"+name)
}

// orNone is find for a command that reports what it cost beside what it is there for: nil where no prices are known and the user names none.
func (f *priceFlags) orNone(st store.Store, sf *storeFlags) (*price.Region, error) {
	t, err := f.table()
	if err != nil {
		return nil, err
	}
	r, err := f.find(t, st, sf)
	if err != nil && cmp.Or(f.region, os.Getenv("FIRN_PRICE_REGION")) == "" {
		return nil, nil
	}
	return r, err
}

// byKey finds the prices of "provider/region".
func (f *priceFlags) byKey(key string) (*price.Region, error) {
	t, err := f.table()
	if err != nil {
		return nil, err
	}
	return regionOf(t, key)
}

// regionOf finds a region by "provider/region" or "provider".
func regionOf(t *price.Table, key string) (*price.Region, error) {
	r, err := t.Region(price.Parsed(key))
	return r, badPrices(err)
}

// badPrices says what to do about a table of prices that lacks something, or is not one.
func badPrices(err error) error {
	var unknown *price.UnknownError
	var bad *price.ParseError
	switch {
	case err == nil:
		return nil
	case errors.As(err, &unknown):
		hint := "known are " + strings.Join(unknown.Known, ", ")
		if len(unknown.Nearest) > 0 {
			hint = "was " + strings.Join(unknown.Nearest, " or ") + " meant? " + hint
		}
		if unknown.What == "region" || unknown.What == "provider" {
			hint += "; --price-region chooses one, --prices adds more"
		}
		return &advice.Error{Err: err, Code: advice.Usage, Hint: hint}
	case errors.As(err, &bad):
		return &advice.Error{Err: err, Code: advice.Usage, Hint: "firn cost --help shows what such a file looks like"}
	}
	return err
}
