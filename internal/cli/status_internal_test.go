package cli

import (
	"slices"
	"testing"

	"firn/internal/job"
)

// TestStatusCost: money is told as everywhere else, not as a power of ten.
func TestStatusCost(t *testing.T) {
	for currency, want := range map[string]string{"USD": "$0.000065", "EUR": "€0.000065"} {
		s := &job.Status{Success: &job.Record{Amounts: job.Amounts{Cost: 6.54e-05, Currency: currency}}}
		s.Job = &job.Job{Name: "photos"}
		if got := statusCells(s); !slices.Contains(got, want) {
			t.Errorf("%q, want %s in it", got, want)
		}
	}
}
