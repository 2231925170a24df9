package cli

import (
	"cmp"
	"os"

	"firn/internal/price"
)

func (f *storeFlags) priceRegion() *price.Region {
	endpoint := cmp.Or(f.endpoint, os.Getenv("AWS_ENDPOINT_URL_S3"), os.Getenv("AWS_ENDPOINT_URL"))
	p, name := price.Guess(endpoint, f.region)
	r, err := price.Default().Region(p, name)
	if err != nil {
		r, _ = price.Default().Region("aws", "us-east-1")
	}
	return r
}
