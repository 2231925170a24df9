package retain

import (
	"errors"
	"fmt"
	"time"
)

// ErrEmpty tells of a policy without a rule: it would keep nothing, which has to be asked for.
var ErrEmpty = errors.New("no rule says what to keep")

// PolicyError tells of a policy that contradicts itself or breaks a limit.
type PolicyError struct{ Reason string }

func (e *PolicyError) Error() string { return "retention: " + e.Reason }

// maxSpan bounds times in policies.
const maxSpan = 200 * 366 * 24 * time.Hour

// Check fails with ErrEmpty, *PolicyError or *CycleError if p says nothing, contradicts itself or breaks a limit.
func (p *Policy) Check() error {
	rules := 0
	for _, r := range []struct {
		rule Rule
		n    int
	}{{RuleLast, p.Last}, {RuleHourly, p.Hourly}, {RuleDaily, p.Daily}, {RuleWeekly, p.Weekly}, {RuleMonthly, p.Monthly}, {RuleQuarterly, p.Quarterly},
		{RuleYearly, p.Yearly}, {RuleMin, p.Min}} {
		if r.n < 0 || r.n > All {
			return &PolicyError{fmt.Sprintf("%s %d: want a number from 0 on", r.rule, r.n)}
		}
		if r.n > 0 {
			rules++
		}
	}
	switch {
	case p.Within < 0 || p.Within > maxSpan:
		return &PolicyError{fmt.Sprintf("within %v: want up to 200 years", p.Within)}
	case p.Burst != NoBurst && (p.Burst < 0 || p.Burst > maxSpan):
		return &PolicyError{fmt.Sprintf("burst of %v: want up to 200 years", p.Burst)}
	}
	for _, tag := range p.Tags {
		if tag == "" {
			return &PolicyError{"an empty tag"}
		}
	}
	if p.Within > 0 {
		rules++
	}
	if len(p.Tags) > 0 {
		rules++
	}
	if p.Cycle.Kind != "" {
		if err := p.Cycle.Check(); err != nil {
			return err
		}
		rules++
	}
	switch {
	case p.None && rules > 0:
		return &PolicyError{"keep nothing, and keep something: only one of them can be meant"}
	case !p.None && rules == 0:
		return ErrEmpty
	}
	return nil
}
