package cli

import (
	"cmp"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"firn/internal/advice"
	"firn/internal/config"
	"firn/internal/retention"
	"firn/internal/wire"
)

// configuration is the configuration of this run: which one was asked for, and what was read. It is read once, and only where somebody needs it.
type configuration struct {
	file string // --config

	read bool
	path string         // where it was read; empty: there is none
	all  *config.Config // nil: there is none, or it cannot be read
	err  error
	used *config.Repository // the one that flags were taken from; nil: none
}

// noConfig as a file means that none is to be read.
const noConfig = "none"

func (c *configuration) register(f *pflag.FlagSet) {
	f.StringVar(&c.file, "config", "", "configuration file, or none (FIRN_CONFIG; default: /etc/firn/firn.toml or ~/.config/firn/firn.toml)")
}

// asked is the file that the user names, if any.
func (c *configuration) asked() string {
	if c.file != "" {
		return c.file
	}
	return os.Getenv("FIRN_CONFIG")
}

// places are where a configuration is looked for when none is named, in order.
func places() []string {
	if runtime.GOOS == "windows" {
		var all []string
		for _, name := range []string{"AppData", "ProgramData"} {
			if dir := os.Getenv(name); dir != "" {
				all = append(all, filepath.Join(dir, "firn", "firn.toml"))
			}
		}
		return all
	}
	system := "/etc/firn/firn.toml"
	if os.Geteuid() == 0 {
		return []string{system}
	}
	dir := os.Getenv("XDG_CONFIG_HOME")
	if home, err := os.UserHomeDir(); !filepath.IsAbs(dir) && err == nil {
		dir = filepath.Join(home, ".config")
	}
	if dir == "" {
		return []string{system}
	}
	return []string{filepath.Join(dir, "firn", "firn.toml"), system}
}

// find returns the path of the configuration; empty: there is none.
func (c *configuration) find() (string, error) {
	switch asked := c.asked(); asked {
	case noConfig:
		return "", nil
	case "":
	default:
		path, err := filepath.Abs(asked)
		return path, err
	}
	for _, path := range places() {
		f, err := os.Open(path)
		if err == nil {
			_ = f.Close()
			return path, nil
		}
		if os.Geteuid() == 0 && !errors.Is(err, os.ErrNotExist) {
			return "", fmt.Errorf("configuration: %w", err)
		}
	}
	return "", nil
}

// load reads the configuration. Nil and no error: there is none. What is wrong with it comes as *advice.Error with the code of a usage error; errors.As finds config.Errors in it.
func (c *configuration) load() (*config.Config, error) {
	if c.read {
		return c.all, c.err
	}
	c.read = true
	if c.path, c.err = c.find(); c.err != nil || c.path == "" {
		return nil, c.err
	}
	c.all, c.err = config.Load(disk{}, c.path, kindsOfSources())
	var wrong config.Errors
	switch {
	case errors.As(c.err, &wrong):
		text := wrong[0].Error()
		if len(wrong) > 1 {
			text = fmt.Sprintf("%s, and %s more", text, counted(int64(len(wrong)-1), "error"))
		}
		c.err = &advice.Error{Text: "configuration: " + text, Hint: "firn config check tells all; --config none goes without", Err: wrong, Code: advice.Usage}
	case c.err != nil:
		c.err = &advice.Error{Err: c.err, Hint: "--config none goes without", Code: advice.Usage}
	}
	return c.all, c.err
}

// disk is what a configuration sees of the world.
type disk struct{}

// ReadFile implements config.Reader.
func (disk) ReadFile(name string) ([]byte, error) {
	info, err := os.Stat(name)
	switch {
	case err != nil:
		return nil, err
	case info.IsDir():
		return nil, fmt.Errorf("%q is a folder", name)
	case info.Size() > config.MaxFile:
		return nil, fmt.Errorf("%q: %d bytes, want at most %d", name, info.Size(), config.MaxFile)
	}
	return os.ReadFile(name)
}

// Glob implements config.Reader.
func (disk) Glob(pattern string) ([]string, error) { return filepath.Glob(pattern) }

// Env implements config.Reader.
func (disk) Env(name string) (string, bool) { return os.LookupEnv(name) }

// kindsOfSources tells the configuration which kinds of sources there are.
func kindsOfSources() []config.Kind {
	all := []config.Kind{{Name: "dir", Rest: "PATH", What: "a folder or file", Settings: wire.FolderSettings()}}
	for _, k := range wire.Kinds() {
		all = append(all, config.Kind{Name: k.Name, Others: k.Others, Rest: k.Rest, What: k.What, Settings: k.Settings})
	}
	return all
}

// configure gives a command that works on a repository what the configuration says of it, where the command line and the environment do not.
func (c *console) configure(cmd *cobra.Command, args []string) error {
	where := cmd.Flags().Lookup("repo")
	if where == nil || !strings.Contains(where.Usage, "FIRN_REPO") {
		return nil
	}
	given := where.Value.String()
	if cmd.Name() == "init" && len(args) == 1 {
		given = args[0]
	}
	if given == "" {
		given = os.Getenv("FIRN_REPO")
	}
	if given != "" && (!isRepositoryName(given) || exists(given)) {
		if c.config.asked() != "" {
			c.tellBroken()
		}
		return nil
	}
	all, err := c.config.load()
	switch {
	case err != nil && given != "":
		c.tellBroken()
		return nil
	case err != nil || all == nil:
		return err
	}
	r := all.DefaultRepository()
	if given != "" {
		r = all.Repository(given)
	}
	var names []string
	for _, r := range all.Repositories {
		names = append(names, r.Name)
	}
	switch {
	case r != nil:
		return c.takeOver(cmd, r)
	case given != "" && cmd.Name() != "init" && len(names) > 0:
		c.note("the configuration has no repository %q, but %s: it is taken for a folder", given, strings.Join(names, ", "))
	case given == "" && len(names) > 0:
		return usage("give --repo NAME: "+strings.Join(names, ", "), "which repository? The configuration has %d, and none is the default", len(names))
	}
	return nil
}

// sourceCalled is what snapshots may call the source of this name in the configuration, where the repository in use is one of its own.
func (c *configuration) sourceCalled(name string) []string {
	if c.used == nil {
		return nil
	}
	s := c.all.Source(name)
	switch {
	case s == nil || len(s.Paths) > 1:
		return nil
	case s.As != "":
		return []string{s.As}
	case len(s.Paths) == 1:
		return s.Paths
	case s.Kind == "dir" || s.Kind == "command":
		return []string{s.Rest}
	}
	spec := wire.Spec{Kind: s.Kind, Rest: s.Rest}
	if origin := spec.Origin(s.Settings); strings.HasSuffix(origin, "-files") {
		return []string{origin + ":" + s.Rest} // beside streams of the same, which are another source
	}
	return []string{spec.String()}
}

// isRepositoryName reports whether text may be the name of a repository rather than a place.
func isRepositoryName(text string) bool {
	return !strings.ContainsAny(text, `/\:`) && text != "." && text != ".."
}

func exists(path string) bool {
	_, err := os.Lstat(path)
	return err == nil
}

// tellBroken notes that the configuration, which is not needed, cannot be read.
func (c *console) tellBroken() {
	if _, err := c.config.load(); err != nil {
		c.note("%v; going on without it", err)
	}
}

// takeOver sets the flags of a command that the user has not set, and no variable stands for, as a repository of the configuration says.
func (c *console) takeOver(cmd *cobra.Command, r *config.Repository) error {
	c.config.used = r
	f := filling{fl: cmd.Flags()}
	f.put("repo", r.Location)
	f.put("endpoint", r.Endpoint, "AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL")
	f.put("get-endpoint", r.GetEndpoint, "FIRN_GET_ENDPOINT")
	f.put("region", r.Region, "AWS_REGION", "AWS_DEFAULT_REGION")
	f.put("profile", r.Profile, "AWS_PROFILE")
	f.put("path-style", r.PathStyle)
	if r.Connections > 0 {
		f.put("connections", strconv.Itoa(r.Connections))
	}
	if r.Timeout > 0 {
		f.put("timeout", r.Timeout.String())
	}
	f.put("limit-upload", r.LimitUpload.String())
	f.put("limit-download", r.LimitDownload.String())
	if r.CacheMax > 0 {
		f.put("cache-max", strconv.FormatInt(int64(r.CacheMax), 10))
	}
	if r.NoCache {
		f.put("no-cache", "true")
	}
	f.put("prices", r.Prices, "FIRN_PRICES")
	f.put("price-region", r.PriceRegion, "FIRN_PRICE_REGION")
	if key := f.usage("host-key"); strings.Contains(key, "may prune") {
		f.put("host-key", r.PruneKey, "FIRN_HOST_KEY")
	} else if key != "" {
		f.put("host-key", r.HostKey, "FIRN_HOST_KEY")
	}
	if strings.Contains(f.usage("host"), "FIRN_HOST") { // else it chooses snapshots
		f.put("host", r.Host, "FIRN_HOST")
		f.put("scope", r.Scope)
	}
	c.takeSecrets(&f, r)
	return f.err
}

// resolve puts what the configuration says of a second repository in the place of its name.
func (c *console) resolve(f *storeFlags) {
	if !isRepositoryName(f.repo) || exists(f.repo) {
		return
	}
	all, err := c.config.load()
	if err != nil || all == nil {
		return // then it is a folder
	}
	if r := all.Repository(f.repo); r != nil {
		f.repo, f.endpoint, f.region, f.profile, f.pathStyle = r.Location, cmp.Or(f.endpoint, r.Endpoint), cmp.Or(f.region, r.Region), cmp.Or(f.profile, r.Profile), cmp.Or(f.pathStyle, r.PathStyle)
	}
}

// takeSecrets says what opens the repository, unless the user does in whatever way.
func (c *console) takeSecrets(f *filling, r *config.Repository) {
	names := []string{"passphrase-file", "passphrase-command", "passphrase-env", "identity", "recipient"}
	if f.usage("passphrase-file") == "" || slices.ContainsFunc(names, f.changed) ||
		anySet("FIRN_PASSPHRASE", "FIRN_PASSPHRASE_FILE", "FIRN_PASSPHRASE_COMMAND", "FIRN_IDENTITY") {
		return
	}
	f.put("passphrase-file", r.Passphrase.File)
	f.put("passphrase-command", r.Passphrase.Command)
	f.put("passphrase-env", r.Passphrase.Env)
	for _, file := range r.Identity {
		f.put("identity", file)
	}
	for _, file := range append([]string{r.Passphrase.File}, r.Identity...) {
		if text := openToOthers(file); text != "" {
			c.warn("%s", text)
		}
	}
}

// openToOthers says that a file with a secret can be read by others; empty: it cannot, or nobody can tell.
func openToOthers(file string) string {
	if file == "" || runtime.GOOS == "windows" {
		return ""
	}
	if info, err := os.Stat(file); err == nil && info.Mode().IsRegular() && info.Mode().Perm()&0o077 != 0 {
		return fmt.Sprintf("%q holds a secret and can be read by others (mode %04o): chmod 600", file, info.Mode().Perm())
	}
	return ""
}

// filling sets flags that were not given.
type filling struct {
	fl  *pflag.FlagSet
	err error
}

func (f *filling) usage(name string) string {
	if flag := f.fl.Lookup(name); flag != nil {
		return flag.Usage
	}
	return ""
}

func (f *filling) changed(name string) bool {
	flag := f.fl.Lookup(name)
	return flag != nil && flag.Changed
}

// put sets a flag, unless the user or one of the variables does.
func (f *filling) put(name, value string, variables ...string) {
	flag := f.fl.Lookup(name)
	if value == "" || flag == nil || flag.Changed && name != "repo" || anySet(variables...) {
		return
	}
	if err := flag.Value.Set(value); err != nil && f.err == nil {
		f.err = &advice.Error{Text: fmt.Sprintf("configuration: --%s: %v", name, err), Err: err, Code: advice.Usage}
	}
}

func anySet(variables ...string) bool {
	return slices.ContainsFunc(variables, func(name string) bool { return os.Getenv(name) != "" })
}

// policies are what the configuration keeps of the sources of the repository that is used, where it is used; nil: it says nothing.
func (c *console) policies() (retention.Rules, error) {
	r := c.config.used
	if r == nil || c.config.all == nil {
		return nil, nil
	}
	return retention.Of(c.config.all, r, (&hostFlags{}).orSystem)
}
