package cli

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"firn/internal/advice"
	"firn/internal/config"
)

// configCommand looks at the configuration.
type configCommand struct{ c *console }

func newConfig(c *console) *cobra.Command {
	x := &configCommand{c}
	cmd := &cobra.Command{
		Use: "config", Short: "Look over the configuration file, show it, or begin one",
		Long: `The configuration is one TOML file: which repositories there are, what is backed up, when, and who is told. Without --config or FIRN_CONFIG
root's is /etc/firn/firn.toml, and a user's ~/.config/firn/firn.toml, or else root's where it can be read. Where neither --repo nor
FIRN_REPO is given, all commands work on its repository; flags and variables count before it. docs/CONFIG.md lists all keys.`,
		Example: "  firn config example > ~/.config/firn/firn.toml\n  firn config check",
	}
	cmd.AddCommand(
		&cobra.Command{
			Use: "check [FILE]", Short: "Tell everything that is wrong with it, and what looks wrong around it", Args: argsBetween(0, 1, "one file at most"),
			Long: `Reads the configuration and the files that it includes. All errors are told at once, each with its file, line and key; the exit code is 2
then. Of a configuration without errors it warns of what looks wrong: secrets that others can read, paths that are missing, hooks that
cannot be run.`,
			Example: "  firn config check\n  firn config check ./firn.toml --json",
			RunE:    func(_ *cobra.Command, args []string) error { return x.check(args) },
		},
		&cobra.Command{
			Use: "show [FILE]", Short: "Print it as it is in effect, with all defaults and includes", Args: argsBetween(0, 1, "one file at most"),
			Example: "  firn config show",
			RunE:    func(_ *cobra.Command, args []string) error { return x.show(args) },
		},
		&cobra.Command{
			Use: "example", Short: "Print one to begin with", Args: noArgs,
			Example: "  firn config example > /etc/firn/firn.toml",
			RunE:    func(*cobra.Command, []string) error { return x.text(config.Example()) },
		},
		&cobra.Command{
			Use: "schema", Short: "Print its JSON schema, for editors", Args: noArgs,
			Example: "  firn config schema > firn.schema.json",
			RunE:    func(*cobra.Command, []string) error { return x.schema() },
		},
		&cobra.Command{
			Use: "path", Short: "Print where it is", Args: noArgs,
			Example: "  firn config path",
			RunE:    func(*cobra.Command, []string) error { return x.path() },
		},
	)
	return asFolder(cmd)
}

// load reads the configuration that is named, or the one that is found. Here there has to be one.
func (x *configCommand) load(args []string) (*config.Config, error) {
	if len(args) == 1 {
		x.c.config.file = args[0]
	}
	all, err := x.c.config.load()
	if err == nil && all == nil {
		err = x.none()
	}
	return all, err
}

// none tells that there is no configuration.
func (x *configCommand) none() error {
	if x.c.config.asked() == noConfig {
		return usage("", "no configuration is to be read")
	}
	return usage("firn config example prints one to begin with", "there is no configuration: looked for %s", strings.Join(places(), " and "))
}

// problemJSON is one thing that is wrong, or looks wrong.
type problemJSON struct {
	Event    string `json:"event"`    // problem
	Severity string `json:"severity"` // error, warning
	File     string `json:"file,omitempty"`
	Line     int    `json:"line,omitempty"`
	Key      string `json:"key,omitempty"`
	Text     string `json:"text"`
	Nearest  string `json:"nearest,omitempty"`
	Hint     string `json:"hint,omitempty"`
}

// configJSON tells of a configuration as a whole.
type configJSON struct {
	Event        string   `json:"event"` // config
	File         string   `json:"file"`
	Files        []string `json:"files,omitempty"` // with those that it includes
	Sources      int      `json:"sources"`
	Repositories int      `json:"repositories"`
	Errors       int      `json:"errors"`
	Warnings     int      `json:"warnings"`
	Config       string   `json:"config,omitempty"` // TOML
}

func (x *configCommand) check(args []string) error {
	all, err := x.load(args)
	var wrong config.Errors
	if errors.As(err, &wrong) {
		return x.tellErrors(wrong)
	}
	if err != nil {
		return err
	}
	found := lookAround(all)
	for _, p := range found {
		if x.c.json == "" {
			x.c.warn("%s:%d: %s%s", p.File, p.Line, strings.TrimPrefix(p.Key+": ", ": "), p.Text)
		} else if err := x.c.object(p); err != nil {
			return err
		}
	}
	j := configJSON{Event: "config", File: x.c.config.path, Files: all.Files, Sources: len(all.Sources), Repositories: len(all.Repositories), Warnings: len(found)}
	if x.c.json != "" {
		return x.c.object(j)
	}
	verdict := "fine"
	if len(found) > 0 {
		verdict = counted(int64(len(found)), "warning")
	}
	if j.Sources == 0 {
		x.c.note("it has no sources: firn run backs nothing up")
	}
	x.c.print("%s, %s: %s\n", counted(int64(j.Sources), "source"), counted(int64(j.Repositories), "repository"), verdict)
	return nil
}

func (x *configCommand) tellErrors(wrong config.Errors) error {
	for _, e := range wrong {
		if x.c.json == "" {
			x.c.print("%s\n", printable(e.Error()))
			continue
		}
		if err := x.c.object(problemJSON{"problem", "error", e.File, e.Line, e.Key, e.Text, e.Nearest, e.Hint}); err != nil {
			return err
		}
	}
	if x.c.json != "" {
		if err := x.c.object(configJSON{Event: "config", File: x.c.config.path, Errors: len(wrong)}); err != nil {
			return err
		}
	}
	return &advice.Error{Text: "configuration: " + counted(int64(len(wrong)), "error"), Err: wrong, Code: advice.Usage}
}

func (x *configCommand) show(args []string) error {
	all, err := x.load(args)
	if err != nil {
		return err
	}
	if x.c.json != "" {
		return x.c.object(configJSON{Event: "config", File: x.c.config.path, Files: all.Files, Sources: len(all.Sources), Repositories: len(all.Repositories), Config: all.Show()})
	}
	x.c.print("# %s\n%s", printable(strings.Join(all.Files, ", ")), all.Show())
	return nil
}

func (x *configCommand) text(text string) error {
	if x.c.json != "" {
		return x.c.object(map[string]any{"event": "example", "config": text})
	}
	x.c.print("%s", text)
	return nil
}

func (x *configCommand) schema() error {
	raw := config.Schema(kindsOfSources())
	if x.c.json != "" {
		return x.c.object(map[string]any{"event": "schema", "schema": json.RawMessage(raw)})
	}
	x.c.print("%s", raw)
	return nil
}

func (x *configCommand) path() error {
	path, err := x.c.config.find()
	if err != nil {
		return err
	}
	if x.c.json != "" {
		return x.c.object(map[string]any{"event": "path", "file": path, "searched": places()})
	}
	if path == "" {
		return x.none()
	}
	x.c.print("%s\n", printable(path))
	return nil
}

// lookAround finds what looks wrong around a configuration that is right.
func lookAround(all *config.Config) (found []problemJSON) {
	warn := func(at config.Place, key, text string) {
		p := problemJSON{Event: "problem", Severity: "warning", File: at.File, Line: at.Line, Key: key, Text: text}
		if text != "" && !slices.Contains(found, p) {
			found = append(found, p)
		}
	}
	hooks := func(at config.Place, key string, h config.Hooks) {
		for i, line := range []string{h.Before, h.After, h.OnSuccess, h.OnFailure} {
			warn(at, key+"."+[]string{"before", "after", "on_success", "on_failure"}[i], notRunnable(line))
		}
	}
	for _, file := range all.Files {
		if info, err := os.Stat(file); err == nil && runtime.GOOS != "windows" && info.Mode().Perm()&0o002 != 0 {
			warn(config.Place{File: file, Line: 1}, "", fmt.Sprintf("anybody can change it (mode %04o), and with it what is run: chmod 644", info.Mode().Perm()))
		}
	}
	for _, r := range all.Repositories {
		key := "repositories." + r.Name
		for _, file := range append([]string{r.Passphrase.File, r.HostKey, r.PruneKey}, r.Identity...) {
			warn(r.Place, key, secretFile(file))
		}
		warn(r.Place, key, secretVariable(r.Passphrase))
		for name, u := range map[string]*config.Upkeep{"transition": r.Transition, "prune": r.Prune, "check": r.Check, "drill": r.Drill} {
			if u != nil {
				hooks(u.Place, key+"."+name, u.Hooks)
			}
		}
		for _, c := range r.Copies {
			hooks(c.Place, key+".copies."+c.To, c.Hooks)
		}
	}
	for _, s := range all.Sources {
		key := "sources." + s.Name
		if !s.Off {
			for _, path := range append(slices.Clone(s.Paths), s.Rest) {
				if filepath.IsAbs(path) && (s.Kind == "dir" || s.Kind == "svn" || s.Kind == "btrfs") && s.Settings["read_from"] == "" && s.Hooks.Before == "" && !exists(path) {
					warn(s.Place, key, fmt.Sprintf("%q is not there", path))
				}
			}
		}
		if r := all.Repository(s.Repository); !s.Off && s.Then != "" && r != nil && r.Transition == nil {
			warn(s.Place, key, fmt.Sprintf("nothing here moves its content to %s: the repository %s has no transition job, such as transition = \"weekly Sun 04:00\"", s.Then, r.Name))
		}
		for _, file := range append([]string{s.Passphrase.File}, s.Identity...) {
			warn(s.Place, key, secretFile(file))
		}
		hooks(s.Place, key, s.Hooks)
	}
	for _, n := range all.Notify {
		for _, secret := range []config.Secret{n.Secret, n.URLFrom} {
			warn(n.Place, "notify."+n.Name, secretFile(secret.File))
		}
	}
	warn(config.Place{File: all.Files[0], Line: 1}, "serve", secretFile(all.Serve.Token.File))
	slices.SortStableFunc(found, func(a, b problemJSON) int {
		return strings.Compare(fmt.Sprintf("%s %9d %s", a.File, a.Line, a.Key), fmt.Sprintf("%s %9d %s", b.File, b.Line, b.Key))
	})
	return found
}

// secretFile says what is wrong with a file that holds a secret; empty: nothing.
func secretFile(file string) string {
	if file != "" && !exists(file) {
		return fmt.Sprintf("%q is not there", file)
	}
	return openToOthers(file)
}

// secretVariable says that the variable with a secret is not set; empty: it is.
func secretVariable(s config.Secret) string {
	if s.Env != "" && os.Getenv(s.Env) == "" {
		return fmt.Sprintf("the variable %s is not set here", s.Env)
	}
	return ""
}

// notRunnable says that the program with which a hook begins cannot be run; empty: it can, or nobody can tell.
func notRunnable(line string) string {
	program, _, _ := strings.Cut(strings.TrimSpace(line), " ")
	if !filepath.IsAbs(program) || strings.ContainsAny(program, `"'$\;|&<>(`) && runtime.GOOS != "windows" {
		return ""
	}
	switch info, err := os.Stat(program); {
	case err != nil:
		return fmt.Sprintf("%q is not there", program)
	case info.IsDir() || runtime.GOOS != "windows" && info.Mode().Perm()&0o111 == 0:
		return fmt.Sprintf("%q is not executable", program)
	}
	return ""
}
