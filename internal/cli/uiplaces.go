package cli

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"path"
	"path/filepath"
	"runtime/debug"
	"slices"
	"strconv"
	"strings"
	"sync"

	"filippo.io/age"
	"github.com/spf13/cobra"

	"firn/internal/advice"
	"firn/internal/config"
	"firn/internal/keys"
	"firn/internal/repo"
	"firn/internal/retention"
	"firn/internal/web"
)

// uiPlace is a repository that pages show, and what opens it.
type uiPlace struct {
	c    *console // asks nobody, and notes nothing
	name string
	*uiFlags
	keep retention.Rules

	mu      sync.Mutex
	typed   []byte        // a passphrase that was typed, or came by standard input; nil: none
	secrets *keys.Secrets // once they were opened: that takes time and memory
}

// uiFlags are those of firn ui that say which repository is meant.
type uiFlags struct {
	read   readFlags
	host   hostFlags
	prices priceFlags
}

func (f *uiFlags) register(cmd *cobra.Command) {
	cmd.Flags().StringVar(&f.host.keyFile, "host-key", "", "write-only key of this host (FIRN_HOST_KEY)")
	f.prices.register(cmd)
	f.read.register(cmd)
}

// uiPlacesOf are the repositories of a configuration. given, which may be nil, are flags that count before what it says of secrets.
func uiPlacesOf(c *console, cfg *config.Config, given *uiFlags) (all []*uiPlace, err error) {
	for _, r := range cfg.Repositories {
		p, err := uiPlaceOf(c, cfg, r, given)
		if err != nil {
			return nil, err
		}
		all = append(all, p)
	}
	return all, nil
}

// uiPlaceOf takes what the configuration says of a repository.
func uiPlaceOf(c *console, cfg *config.Config, r *config.Repository, given *uiFlags) (*uiPlace, error) {
	f := &uiFlags{}
	cmd := &cobra.Command{Use: "ui"}
	f.register(cmd)
	plain := *r
	ours := given != nil && (given.read.secrets.passphraseFile != "" || given.read.secrets.passphraseCommand != "" || len(given.read.secrets.identities) > 0)
	if ours {
		plain.Passphrase, plain.Identity = config.Secret{}, nil
	}
	if err := (&console{err: c.err, out: c.out, now: c.now, quiet: true}).takeOver(cmd, &plain); err != nil {
		return nil, err
	}
	if ours {
		f.read.secrets = given.read.secrets
	}
	if given != nil && given.host.keyFile != "" {
		f.host.keyFile = given.host.keyFile
	}
	rules, err := retention.Of(cfg, r, (&hostFlags{}).orSystem)
	return &uiPlace{c: c, name: r.Name, uiFlags: f, keep: rules}, err
}

// uiPlaceAt is the repository that flags or the environment name.
func uiPlaceAt(c *console, f *uiFlags) (*uiPlace, error) {
	location, err := f.read.store.location()
	if err != nil {
		return nil, err
	}
	name := strings.Map(func(r rune) rune {
		if r < 0x80 && (r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || strings.ContainsRune("._-", r)) {
			return r
		}
		return '-'
	}, path.Base(filepath.ToSlash(location)))
	if strings.Trim(name, ".-") == "" {
		name = "repository"
	}
	return &uiPlace{c: c, name: name, uiFlags: f}, nil
}

// given reports whether somebody says what opens the repository.
func (p *uiPlace) given() bool {
	s := &p.read.secrets
	return s.passphraseFile != "" || s.passphraseCommand != "" || s.passphraseEnv != "" || len(s.identities) > 0 ||
		anySet("FIRN_PASSPHRASE", "FIRN_PASSPHRASE_FILE", "FIRN_PASSPHRASE_COMMAND", "FIRN_IDENTITY")
}

// web is the place as pages have it.
func (p *uiPlace) web() (web.Place, error) {
	location, err := p.read.store.location()
	if err != nil {
		return web.Place{}, err
	}
	out := web.Place{Name: p.name, Location: location, Flags: p.flags(location), Open: p.open, Keep: p.keep}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.typed != nil {
		out.Secret = func(context.Context) ([]byte, error) { return slices.Clone(p.typed), nil }
	}
	return out, nil
}

// flags are what leads a child to the repository: what a person would type.
func (p *uiPlace) flags(location string) (all []string) {
	put := func(name, value string) {
		if value != "" {
			all = append(all, "--"+name+"="+value)
		}
	}
	s, o := &p.read.store, &p.read.secrets
	put("repo", location)
	put("endpoint", s.endpoint)
	put("get-endpoint", s.getEndpoint)
	put("region", s.region)
	put("profile", s.profile)
	put("path-style", s.pathStyle)
	if s.connections > 0 {
		put("connections", strconv.Itoa(s.connections))
	}
	if s.timeout > 0 {
		put("timeout", s.timeout.String())
	}
	put("limit-upload", s.up.String())
	put("limit-download", s.down.String())
	if s.noCache {
		all = append(all, "--no-cache")
	}
	if s.cacheMax != defaultCacheMax {
		put("cache-max", strconv.FormatInt(int64(s.cacheMax), 10))
	}
	put("prices", p.prices.file)
	put("price-region", p.prices.region) // else a child would not keep to an amount that was agreed to by these prices
	if p.typed == nil {
		put("passphrase-file", o.passphraseFile)
		put("passphrase-command", o.passphraseCommand)
		put("passphrase-env", o.passphraseEnv)
	}
	for _, file := range o.identities {
		put("identity", file)
	}
	return all
}

// open opens the repository for pages: with the secrets, or else with the key of this host.
func (p *uiPlace) open(ctx context.Context) (*web.Opened, error) {
	s, err := openSession(ctx, p.c, &p.read.store)
	if err != nil {
		return nil, err
	}
	access, err := p.access(ctx, s)
	if err == nil {
		err = s.open(ctx, access)
	}
	if err != nil {
		s.close()
		return nil, err
	}
	region, err := p.prices.orNone(s.st, &p.read.store)
	if err != nil {
		s.close()
		return nil, err
	}
	return &web.Opened{Repo: s.repo, Store: s.st, Region: region, Reads: access.Secrets != nil, Close: s.close}, nil
}

// access is what opens the repository, as far as that is known.
func (p *uiPlace) access(ctx context.Context, s *session) (repo.Access, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.secrets != nil {
		return repo.Access{Secrets: p.secrets}, nil
	}
	cred, err := p.credential(ctx)
	if err != nil {
		return repo.Access{}, err
	}
	if cred == nil {
		host, err := s.hostKey(&p.host)
		if err == nil && host == nil {
			err = &advice.Error{Text: "nothing here opens " + s.st.Location(), Hint: "end firn ui, and start it again with a passphrase or an identity: " + advice.HowToUnlock, Err: repo.ErrWriteOnly}
		}
		return repo.Access{Host: host}, err
	}
	p.secrets, err = unlock(ctx, p.c, s.st, cred)
	debug.FreeOSMemory() // a passphrase takes much of it for a moment
	return repo.Access{Secrets: p.secrets}, err
}

// credential is what was typed, or what flags and the environment say. A file is read anew each time: what it says may have changed. p.mu is held.
func (p *uiPlace) credential(ctx context.Context) (*credential, error) {
	if p.typed != nil {
		id, err := keys.PassphraseIdentity(p.typed)
		return &credential{ids: []age.Identity{id}, passphrase: true}, err
	}
	if !p.given() {
		return nil, nil
	}
	fresh := p.read.secrets
	fresh.given = nil
	return fresh.credential(ctx, p.c)
}

// unlockAll asks for what opens the places, where nobody says it and somebody can be asked. An empty answer leaves a place to the key of this host.
func unlockAll(ctx context.Context, c *console, all []*uiPlace) error {
	var before []byte
	for _, p := range all {
		if p.read.secrets.passphraseFile == "-" {
			if before == nil {
				line, err := passphraseFromInput(ctx, c)
				if err != nil {
					return err
				}
				before = line
			}
			p.typed, p.read.secrets.passphraseFile = slices.Clone(before), ""
			continue
		}
		if p.given() || !c.terminal {
			continue
		}
		typed, err := p.ask(ctx, c, before)
		if err != nil {
			return err
		}
		before = typed
	}
	return nil
}

// ask asks for a passphrase until one opens the repository. before is one that opened another, and may open this.
func (p *uiPlace) ask(ctx context.Context, c *console, before []byte) ([]byte, error) {
	location, err := p.read.store.location()
	if err != nil {
		return nil, err
	}
	if before != nil && p.try(ctx, before) == nil {
		return before, nil
	}
	for range 3 {
		pass, err := c.askSecret(ctx, fmt.Sprintf("passphrase of %s (nothing: only list snapshots, with the key of this host): ", location))
		if err != nil {
			return nil, err
		}
		if len(pass) == 0 {
			return before, nil
		}
		if err = p.try(ctx, pass); err == nil {
			return pass, nil
		}
		if !errors.Is(err, repo.ErrNoKey) {
			c.warn("%v; the pages say when it can be reached", err)
			p.typed = pass
			return pass, nil
		}
		c.warn("wrong passphrase")
	}
	return nil, failure("firn keys list shows what opens the repository", "no right passphrase was given in three tries")
}

// try opens the repository with a passphrase, which it then keeps.
func (p *uiPlace) try(ctx context.Context, pass []byte) error {
	p.typed = pass
	o, err := p.open(ctx)
	if err != nil {
		p.typed = nil
		return err
	}
	o.Close()
	return nil
}

// webPlaces are the places as pages have them, each under a name of its own.
func webPlaces(all []*uiPlace) (out []web.Place, err error) {
	taken := map[string]bool{}
	for _, p := range all {
		one, err := p.web()
		if err != nil {
			return nil, err
		}
		for n := 2; taken[one.Name]; n++ {
			one.Name = p.name + "-" + strconv.Itoa(n)
		}
		taken[one.Name] = true
		out = append(out, one)
	}
	return out, nil
}

// uiHost is how snapshots of this machine are called.
func uiHost(cfg *config.Config) string {
	if cfg != nil {
		return hostName(cfg)
	}
	name, _ := os.Hostname() // without a name it has none
	return cmp.Or(os.Getenv("FIRN_HOST"), name)
}
