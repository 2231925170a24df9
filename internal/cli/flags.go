package cli

import (
	"cmp"
	"os"
	"strings"
	"sync/atomic"
	"time"

	"github.com/spf13/cobra"

	"firn/internal/schedule"
	"firn/internal/store/limit"
	"firn/internal/store/s3"
	"firn/internal/units"
	"firn/internal/wire"
)

// defaultCacheMax is how much the local cache of one repository may take, in bytes.
const defaultCacheMax = 4 * units.GiB

// storeFlags say where the repository lies and how it is reached.
type storeFlags struct {
	repo                      string
	endpoint, region, profile string
	getEndpoint               string
	pathStyle                 string
	connections               int
	timeout                   time.Duration
	up, down                  schedule.Timetable
	sent                      *atomic.Int64 // no flag: counts what is sent; nil: nobody does
	cacheMax                  units.Size
	noCache                   bool
	made                      tally
	recall                    bool // no flag: what firn.json said the last time will do
}

func (f *storeFlags) register(cmd *cobra.Command) {
	cmd.Flags().StringVarP(&f.repo, "repo", "r", "", "repository: a folder or s3://bucket/prefix (FIRN_REPO)")
	f.registerStore(cmd)
	cmd.Flags().BoolVar(&f.noCache, "no-cache", false, "keep no copies of the store's small objects on this machine")
}

// registerStore adds what is said about a store besides its location.
func (f *storeFlags) registerStore(cmd *cobra.Command) {
	f.cacheMax = defaultCacheMax
	fl := cmd.Flags()
	fl.StringVar(&f.endpoint, "endpoint", "", "URL of an S3 compatible server (AWS_ENDPOINT_URL_S3)")
	fl.StringVar(&f.getEndpoint, "get-endpoint", "", "URL of a CDN or the like in front of the bucket, from which packs are read (FIRN_GET_ENDPOINT)")
	fl.StringVar(&f.region, "region", "", "region of the bucket (AWS_REGION)")
	fl.StringVar(&f.profile, "profile", "", "profile in ~/.aws with the credentials (AWS_PROFILE)")
	fl.StringVar(&f.pathStyle, "path-style", "", "on: the bucket in the path of URLs; off: in the host name")
	fl.Lookup("path-style").NoOptDefVal = "on"
	complete(cmd, "path-style", "on", "off")
	fl.IntVar(&f.connections, "connections", 0, "transfers at once in each direction (16 for S3)")
	fl.DurationVar(&f.timeout, "timeout", 0, "how long an S3 server may be silent, such as 2m (30s until it has answered once, then 90s)")
	fl.Var(&f.up, "limit-upload", "bytes a second to the store: 2M, or by the hour, \"Mon-Fri 08:00-18:00 2M, else off\"")
	fl.Var(&f.down, "limit-download", "bytes a second from the store")
	fl.Var(&f.cacheMax, "cache-max", "size of the local cache of a repository")
	for _, name := range []string{"limit-upload", "limit-download"} {
		fl.Lookup(name).DefValue = ""
	}
}

// complete offers the values of a flag to the shell.
func complete(cmd *cobra.Command, flag string, values ...string) {
	_ = cmd.RegisterFlagCompletionFunc(flag, cobra.FixedCompletions(values, cobra.ShellCompDirectiveNoFileComp)) // fails for unknown flags only
}

// location returns where the repository is.
func (f *storeFlags) location() (string, error) {
	if f.timeout != 0 && f.timeout < time.Second {
		return "", usage("", "--timeout %v: want at least 1s", f.timeout)
	}
	if f.repo != "" {
		return f.repo, nil
	}
	if env := os.Getenv("FIRN_REPO"); env != "" {
		return env, nil
	}
	return "", usage("give --repo DIR or --repo s3://bucket/prefix, set FIRN_REPO, or write a configuration: firn config example", "which repository?")
}

// place names a location together with what else decides which store it means.
func (f *storeFlags) place(location string) string {
	return strings.Join([]string{location, f.server(), cmp.Or(f.profile, os.Getenv("AWS_PROFILE")), f.region}, "\n")
}

// server is the URL of a server that is not Amazon's, where the flags or the environment name one.
func (f *storeFlags) server() string {
	return cmp.Or(f.endpoint, os.Getenv("AWS_ENDPOINT_URL_S3"), os.Getenv("AWS_ENDPOINT_URL"))
}

// options are those of wire, with tracing for --debug and with notes about what has to be repeated.
func (f *storeFlags) options(c *console) wire.StoreOptions {
	o := wire.StoreOptions{
		Endpoint: f.endpoint, Region: f.region, Profile: f.profile, PathStyle: f.pathStyle,
		Connections: f.connections, Up: byHour(f.up), Down: byHour(f.down), Sent: f.sent, Idle: f.timeout, Retry: c.retrying(), GetEndpoint: cmp.Or(f.getEndpoint, os.Getenv("FIRN_GET_ENDPOINT")), Known: f.known(),
	}
	o.Trace = f.made.note
	if c.debug {
		o.Trace = func(r s3.Request) {
			f.made.note(r)
			text := ""
			if r.Err != nil {
				text = ": " + r.Err.Error()
			}
			c.say("debug", sprintf("%s %s %s: status %d, %d bytes sent, %d received, %s%s", r.Operation, r.Method, r.Path, r.Status, r.Sent, r.Received, duration(r.Time), text))
		}
	}
	return o
}

// byHour is a timetable as stores have it, by the clock on the wall here.
func byHour(t schedule.Timetable) limit.Rate {
	now := time.Now()
	if t.At(now, time.Local) == 0 && t.Changes(now, time.Local).IsZero() {
		return nil
	}
	return func(now time.Time) (units.Size, time.Time) { return t.At(now, time.Local), t.Changes(now, time.Local) }
}

// secretFlags are the ways to give what opens a repository. Nothing secret stands in an argument.
type secretFlags struct {
	passphraseFile    string
	passphraseCommand string
	passphraseEnv     string
	identities        []string
	given             *credential // what was read
}

func (f *secretFlags) register(cmd *cobra.Command) {
	f.registerPassphrase(cmd)
	cmd.Flags().StringArrayVarP(&f.identities, "identity", "i", nil, "file with age identities or an SSH private key (FIRN_IDENTITY)")
}

func (f *secretFlags) registerPassphrase(cmd *cobra.Command) {
	cmd.Flags().StringVar(&f.passphraseFile, "passphrase-file", "", "file whose first line is the passphrase; - is standard input (FIRN_PASSPHRASE_FILE)")
	cmd.Flags().StringVar(&f.passphraseCommand, "passphrase-command", "", "command that prints the passphrase (FIRN_PASSPHRASE_COMMAND)")
	cmd.Flags().StringVar(&f.passphraseEnv, "passphrase-env", "", "name of the variable that holds the passphrase (FIRN_PASSPHRASE)")
	_ = cmd.Flags().MarkHidden("passphrase-env") // for configurations; fails for unknown flags only
}

// hostFlags say as whom this machine writes.
type hostFlags struct {
	keyFile string
	name    string
	scope   string
}

func (f *hostFlags) register(cmd *cobra.Command) {
	cmd.Flags().StringVar(&f.keyFile, "host-key", "", "write-only key of this host (FIRN_HOST_KEY)")
	f.registerName(cmd)
}

func (f *hostFlags) registerName(cmd *cobra.Command) {
	cmd.Flags().StringVar(&f.name, "host", "", "name of this host (FIRN_HOST)")
	cmd.Flags().StringVar(&f.scope, "scope", "", "hosts with the same scope share what they store (default: the host's name)")
}

// path is that of the host key that the user names, if any.
func (f *hostFlags) path() string {
	if f.keyFile != "" {
		return f.keyFile
	}
	return os.Getenv("FIRN_HOST_KEY")
}

// explicit reports whether the user names a host key.
func (f *hostFlags) explicit() bool { return f.path() != "" }

// given returns the name that the user chose, if any.
func (f *hostFlags) given() string {
	if f.name != "" {
		return f.name
	}
	return os.Getenv("FIRN_HOST")
}

// orSystem returns the name that the user chose, or the system's.
func (f *hostFlags) orSystem() (string, error) {
	if name := f.given(); name != "" {
		return name, nil
	}
	name, err := os.Hostname()
	if err != nil || strings.TrimSpace(name) == "" {
		return "", failure("give one with --host or FIRN_HOST", "this machine has no name")
	}
	return name, nil
}
