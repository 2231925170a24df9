package price

import (
	"net/url"
	"strings"
)

// Guess tells provider and region from the endpoint of an S3 store, as a URL or a host, and the region that the user or the environment names. An empty
// endpoint is Amazon's. Both are empty where the host says nothing; a region that is not known is empty.
func Guess(endpoint, region string) (provider, name string) {
	region = strings.ToLower(strings.TrimSpace(region))
	host := hostOf(endpoint)
	if host == "" && strings.TrimSpace(endpoint) == "" {
		return "aws", region
	}
	for _, h := range hosts() {
		if rest, ok := strings.CutSuffix("."+host, h.suffix); ok {
			if found := h.region(strings.Split(strings.TrimPrefix(rest, "."), ".")); found != "" {
				region = found
			}
			return h.provider, region
		}
	}
	return "", ""
}

// hostOf takes the host out of what the user writes as an endpoint.
func hostOf(endpoint string) string {
	endpoint = strings.TrimSpace(endpoint)
	if !strings.Contains(endpoint, "://") {
		endpoint = "https://" + endpoint
	}
	u, err := url.Parse(endpoint)
	if err != nil {
		return ""
	}
	return strings.TrimSuffix(strings.ToLower(u.Hostname()), ".")
}

// pattern is how the hosts of a provider end, and where in what stands before the region is said.
type pattern struct {
	suffix   string
	provider string
	region   func(labels []string) string
}

func hosts() []pattern {
	last := func(labels []string) string { return after(labels, "s3") }
	none := func([]string) string { return "" }
	return []pattern{
		{".amazonaws.com", "aws", amazon},
		{".amazonaws.com.cn", "aws", amazon},
		{".scw.cloud", "scaleway", last},
		{".io.cloud.ovh.net", "ovh", last},
		{".perf.cloud.ovh.net", "ovh", last},
		{".io.cloud.ovh.us", "ovh", last},
		{".cloud.ovh.net", "ovh", last},
		{".backblazeb2.com", "backblaze", last},
		{".wasabisys.com", "wasabi", last},
		{".r2.cloudflarestorage.com", "r2", none},
		{".storage.googleapis.com", "gcs", none},
		{".rep.googleapis.com", "gcs", func(labels []string) string { return after(labels, "storage") }},
		{".blob.core.windows.net", "azure", none},
	}
}

// after returns the label that follows word.
func after(labels []string, word string) string {
	for i := len(labels) - 2; i >= 0; i-- {
		if labels[i] == word {
			return labels[i+1]
		}
	}
	return ""
}

// amazon finds the region in hosts such as bucket.s3.dualstack.eu-west-1, s3-eu-west-1, s3-fips.us-east-1 and vpce-1.s3.us-east-1.vpce.
func amazon(labels []string) string {
	for i := len(labels) - 1; i >= 0; i-- {
		l := labels[i]
		if rest, ok := strings.CutPrefix(l, "s3-"); ok && isRegion(rest) {
			return rest
		}
		if isRegion(l) && i > 0 {
			return l
		}
	}
	return ""
}

// isRegion reports whether a label looks like eu-west-1 or us-gov-west-1.
func isRegion(l string) bool {
	parts := strings.Split(l, "-")
	n := len(parts)
	return n >= 3 && n <= 4 && len(parts[0]) == 2 && len(parts[n-1]) == 1 && parts[n-1][0] >= '0' && parts[n-1][0] <= '9' && !strings.ContainsAny(strings.Join(parts[:n-1], ""), "0123456789")
}
