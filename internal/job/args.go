package job

import (
	"path/filepath"
	"slices"
	"sort"
	"strconv"
	"strings"
	"time"

	"firn/internal/config"
	"firn/internal/units"
)

// args is a command line that grows. Every value is bound to its flag by "=", so that none is taken for a flag.
type args []string

func (a *args) flag(name string) { *a = append(*a, "--"+name) }

func (a *args) text(name, value string) {
	if value != "" {
		*a = append(*a, "--"+name+"="+value)
	}
}

func (a *args) all(name string, values []string) {
	for _, v := range values {
		a.text(name, v)
	}
}

func (a *args) on(name string, yes bool) {
	if yes {
		a.flag(name)
	}
}

func (a *args) number(name string, n int) {
	if n != 0 {
		a.text(name, strconv.Itoa(n))
	}
}

func (a *args) size(name string, n units.Size) {
	if n != 0 {
		a.text(name, strconv.FormatInt(int64(n), 10))
	}
}

// begin begins a command line: the verb, and what all children have in common.
func begin(verb string) args { return args{verb, "--config=none", "--json=events"} }

// store says where a repository is and how it is reached.
func (a *args) store(r *config.Repository) {
	a.text("repo", r.Location)
	a.text("endpoint", r.Endpoint)
	a.text("get-endpoint", r.GetEndpoint)
	a.text("region", r.Region)
	a.text("profile", r.Profile)
	a.text("path-style", r.PathStyle)
	a.number("connections", r.Connections)
	if r.Timeout != 0 {
		a.text("timeout", r.Timeout.String())
	}
	a.text("limit-upload", r.LimitUpload.String())
	a.text("limit-download", r.LimitDownload.String())
	a.size("cache-max", r.CacheMax)
	a.on("no-cache", r.NoCache)
}

// second says how another repository is reached; prefix is that of its flags.
func (a *args) second(prefix string, r *config.Repository) {
	a.text(prefix+"endpoint", r.Endpoint)
	a.text(prefix+"region", r.Region)
	a.text(prefix+"profile", r.Profile)
	a.text(prefix+"path-style", r.PathStyle)
}

func (a *args) prices(r *config.Repository) {
	a.text("prices", r.Prices)
	a.text("price-region", r.PriceRegion)
}

// secrets say what opens a repository. A passphrase from the environment is returned: it travels in that of the child.
func (a *args) secrets(s config.Secret, identity []string) config.Secret {
	a.text("passphrase-file", s.File)
	a.text("passphrase-command", s.Command)
	a.all("identity", identity)
	if s.File == "" && s.Command == "" {
		return s
	}
	return config.Secret{}
}

// hours writes a time as the flags that take whole hours read it, rounded up.
func hours(d time.Duration) string {
	return strconv.FormatInt(int64((d+time.Hour-1)/time.Hour), 10) + "h"
}

// backupArgs is the command line of a backup.
func backupArgs(c *config.Config, r *config.Repository, s *config.Source) ([]string, []string, config.Secret) {
	a := begin("backup")
	a.store(r)
	a.prices(r)
	pass, identity := s.Passphrase, s.Identity
	if pass == (config.Secret{}) && len(identity) == 0 {
		pass, identity = r.Passphrase, r.Identity
	}
	secret := a.secrets(pass, identity)
	a.text("host-key", r.HostKey)
	a.text("host", r.Host)
	a.text("scope", r.Scope)
	for i, name := range r.Also {
		also := c.Repository(name)
		if also == nil {
			continue
		}
		a.text("also", also.Location)
		if i == 0 {
			a.second("also-", also)
		}
	}
	a.text("source", s.As)
	a.exclude(s)
	a.all("tag", s.Tags)
	a.text("detect", s.Detect)
	a.text("class", s.Class)
	a.text("then", s.Then)
	a.text("hot-for", s.HotFor)
	if s.Parity != nil {
		a.text("parity", strconv.Itoa(*s.Parity))
	}
	a.text("compression", s.Compression)
	a.size("pack-size", s.PackSize)
	a.size("memory", s.Memory)
	a.number("workers", s.Workers)
	if s.Cycle.Kind != "" {
		a.text("cycle", s.Cycle.String())
	}
	a.text("max-shrink", strconv.FormatFloat(100*s.MaxShrink, 'g', 6, 64)+"%")
	for _, name := range sorted(s.Settings) {
		a.text("option", name+"="+s.Settings[name])
	}
	a = append(a, s.Options...)
	return a, specs(s), secret
}

// exclude says what is left out.
func (a *args) exclude(s *config.Source) {
	a.all("exclude", s.Exclude)
	a.all("exclude-file", s.ExcludeFrom)
	a.all("iexclude", s.ExcludeAnyCase)
	a.size("exclude-larger-than", s.ExcludeLargerThan)
	a.all("exclude-if-present", s.ExcludeIfPresent)
	for _, pattern := range s.Include {
		a.text("exclude", "!"+pattern)
	}
	a.on("one-file-system", s.OneFileSystem)
	a.on("exclude-caches", s.ExcludeCaches)
}

func sorted(m map[string]string) []string {
	names := make([]string, 0, len(m))
	for name := range m {
		names = append(names, name)
	}
	sort.Strings(names)
	return names
}

// specs are the sources as the command line has them.
func specs(s *config.Source) []string {
	if s.Kind != "dir" {
		return []string{s.Kind + ":" + s.Rest}
	}
	all := slices.Clone(s.Paths)
	if s.Rest != "" {
		all = append(all, s.Rest)
	}
	for i, p := range all {
		if name, _, ok := strings.Cut(p, ":"); ok && len(name) > 1 && !filepath.IsAbs(p) {
			all[i] = "./" + p
		}
	}
	return all
}

// names are what the snapshots of a source are called.
func names(s *config.Source) []string {
	switch {
	case s.As != "":
		return []string{s.As}
	case len(s.Paths) > 0:
		return s.Paths
	}
	return []string{s.Rest}
}

// upkeepArgs is the command line of a job that looks after a repository.
func upkeepArgs(r *config.Repository, kind Kind, u *config.Upkeep, keeps bool) ([]string, config.Secret) {
	a := begin(string(kind))
	a.store(r)
	a.prices(r)
	secret := a.secrets(r.Passphrase, r.Identity)
	switch kind {
	case Transition:
		a.text("host-key", r.HostKey)
		a.on("anyway", u.Anyway)
		a.flag("yes")
	case Prune:
		a.text("host-key", r.PruneKey)
		if u.Grace != 0 {
			a.text("grace", hours(u.Grace))
		}
		a.text("refresh", u.Refresh)
		a.text("lock", u.Lock)
		a.on("keep-all", !keeps)
		if !keeps && u.Refresh == "" {
			a.text("refresh", "never") // it goes by how long snapshots stay
		}
		a.flag("yes")
	case Check:
		a.text("host-key", r.HostKey)
		a.text("sums", u.Sums)
		a.text("read-data", u.ReadData)
		if u.MaxCost != "" {
			a.flag("thaw")
			a.text("max-cost", u.MaxCost)
		}
		a.flag("yes")
	case Drill:
		a.number("files", u.Files)
		a.size("bytes", u.Bytes)
		a.text("max-cost", u.MaxCost)
		a.flag("yes")
	}
	return a, secret
}

// copyArgs is the command line of a copy.
func copyArgs(r, to *config.Repository) ([]string, []string, config.Secret) {
	a := begin("copy")
	a.store(r)
	a.prices(r)
	secret := a.secrets(r.Passphrase, r.Identity)
	a.text("host-key", r.HostKey)
	a.second("to-", to)
	if up := to.LimitUpload.String(); up != "" && r.LimitUpload.String() == "" {
		a.text("limit-upload", up)
	}
	a.flag("yes")
	return a, []string{to.Location}, secret
}
