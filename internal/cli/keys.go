package cli

import (
	"context"
	"fmt"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"firn/internal/keys"
	"firn/internal/repo"
)

// newKeys holds the commands about who can open and who can write.
func newKeys(c *console) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "keys",
		Short: "Show and change who can open the repository, and which hosts write to it",
		Long: `A repository opens with any of its keys: passphrases and recipients, each of which wraps the same secrets. Hosts have keys of
their own, which can write but not read.`,
		Example: `  firn keys list
  firn keys add --label safe --recipient age1…
  firn keys write-only --host nas --output host.key
  firn keys revoke nas --reason stolen`,
	}
	cmd.AddCommand(newKeysList(c), newKeysAdd(c), newKeysRemove(c), newKeysPasswd(c), newKeysWriteOnly(c), newKeysHosts(c), newKeysRevoke(c), newKeysKit(c))
	return asFolder(cmd)
}

// keysCommand is what all of them share.
type keysCommand struct {
	c    *console
	read readFlags
}

// open opens the repository with its secrets.
func (x *keysCommand) open(ctx context.Context) (*session, error) {
	s, err := openSession(ctx, x.c, &x.read.store)
	if err != nil {
		return nil, err
	}
	if err := s.openReader(ctx, &x.read.secrets); err != nil {
		s.close()
		return nil, err
	}
	return s, nil
}

// keyJSON is a key in JSON.
type keyJSON struct {
	Event     string    `json:"event"` // key
	Key       string    `json:"key"`
	Label     string    `json:"label"`
	Type      string    `json:"type"` // passphrase, x25519, hybrid, ssh, plugin
	Recipient string    `json:"recipient"`
	Created   time.Time `json:"created"`
}

func metaJSON(m *keys.Meta) keyJSON {
	return keyJSON{"key", m.Key.String(), m.Label, string(m.Type), m.Recipient, m.Created.UTC()}
}

func keysJSON(list []repo.KeyInfo) []keyJSON {
	out := []keyJSON{}
	for _, k := range list {
		out = append(out, metaJSON(k.Meta))
	}
	return out
}

func newKeysList(c *console) *cobra.Command {
	x := &keysCommand{c: c}
	var host hostFlags
	cmd := &cobra.Command{
		Use: "list", Short: "List the passphrases and recipients that open the repository", Args: noArgs,
		Long:    "Lists what opens the repository. A host's own key is enough to see it.",
		Example: "  firn keys list\n  firn keys list --json",
		RunE: func(cmd *cobra.Command, _ []string) error {
			ctx := cmd.Context()
			s, err := openSession(ctx, c, &x.read.store)
			if err != nil {
				return err
			}
			defer s.close()
			if err := s.openLister(ctx, &x.read.secrets, &host); err != nil {
				return err
			}
			list, err := s.repo.Keys(ctx)
			if err != nil {
				return err
			}
			return c.showKeys(list)
		},
	}
	cmd.Flags().StringVar(&host.keyFile, "host-key", "", "write-only key of this host (FIRN_HOST_KEY)")
	x.read.register(cmd)
	return cmd
}

func (c *console) showKeys(list []repo.KeyInfo) error {
	if c.json != "" {
		for _, k := range keysJSON(list) {
			if err := c.object(k); err != nil {
				return err
			}
		}
		return nil
	}
	t := c.table("key", "type", "label", "created", "recipient")
	for _, k := range list {
		recipient := k.Recipient
		if len(recipient) > 72 {
			recipient = recipient[:60] + "…"
		}
		t.row(k.Key.String(), string(k.Type), k.Label, k.Created.Local().Format(timeFormat), recipient)
	}
	t.print()
	return nil
}

// newSecretFlags say what a new key is.
type newSecretFlags struct {
	secretFlags
	label      string
	recipients []string
}

func (f *newSecretFlags) register(cmd *cobra.Command) {
	fl := cmd.Flags()
	fl.StringVar(&f.label, "label", "", "what the new key is called")
	fl.StringVar(&f.passphraseFile, "new-passphrase-file", "", "file whose first line is the new passphrase (FIRN_NEW_PASSPHRASE_FILE)")
	fl.StringVar(&f.passphraseCommand, "new-passphrase-command", "", "command that prints the new passphrase (FIRN_NEW_PASSPHRASE_COMMAND)")
}

// add makes the new keys.
func (f *newSecretFlags) add(ctx context.Context, c *console, r *repo.Repository) ([]*keys.Meta, error) {
	recipients, err := newRecipients(ctx, c, f.recipients, func() ([]byte, error) {
		return f.newPassphrase(ctx, c, "FIRN_NEW_PASSPHRASE", "new passphrase")
	})
	if err != nil {
		return nil, err
	}
	var made []*keys.Meta
	for _, to := range recipients {
		label := f.label
		if label == "" {
			label = labelOf(to)
		}
		m, err := r.AddKey(ctx, label, to)
		if err != nil {
			return made, err
		}
		made = append(made, m)
	}
	return made, nil
}

func newKeysAdd(c *console) *cobra.Command {
	x := &keysCommand{c: c}
	var f newSecretFlags
	cmd := &cobra.Command{
		Use: "add", Short: "Add a passphrase or a recipient", Args: noArgs,
		Long: `Wraps the secrets of the repository for one more passphrase (asked for twice, or FIRN_NEW_PASSPHRASE) or recipient. No data are
written again.`,
		Example: "  firn keys add --label office\n  firn keys add --label safe --recipient age1…\n  firn keys add --recipient ~/.ssh/id_ed25519.pub",
		RunE: func(cmd *cobra.Command, _ []string) error {
			s, err := x.open(cmd.Context())
			if err != nil {
				return err
			}
			defer s.close()
			made, err := f.add(cmd.Context(), c, s.repo)
			for _, m := range made {
				c.tellKey("added", m)
			}
			return err
		},
	}
	f.register(cmd)
	cmd.Flags().StringArrayVar(&f.recipients, "recipient", nil, "age1…, age1pq1…, ssh-ed25519 …, ssh-rsa …, a plugin's, or a file of them (repeat for more)")
	x.read.register(cmd)
	return cmd
}

// tellKey says what became of a key.
func (c *console) tellKey(what string, m *keys.Meta) {
	switch {
	case c.json != "":
		j := metaJSON(m)
		j.Event = what
		_ = c.object(j) // marshals; errors of writing are kept by the console
	case !c.quiet:
		c.print("%s key %s (%s, %s)\n", what, m.Key, m.Type, printable(m.Label))
	}
}

func newKeysRemove(c *console) *cobra.Command {
	x := &keysCommand{c: c}
	cmd := &cobra.Command{
		Use: "remove KEY", Short: "Remove a passphrase or recipient", Args: argsBetween(1, 1, "one key: its id or label"),
		Long: `Removes a way to open the repository. Whoever has used it before may have kept the secrets behind it: this closes a door, it changes
no lock.`,
		Example: "  firn keys remove 0123456789abcdef\n  firn keys remove office",
		RunE: func(cmd *cobra.Command, args []string) error {
			ctx := cmd.Context()
			s, err := x.open(ctx)
			if err != nil {
				return err
			}
			defer s.close()
			list, err := s.repo.Keys(ctx)
			if err != nil {
				return err
			}
			m, err := findKey(list, args[0])
			if err != nil {
				return err
			}
			if err := s.repo.RemoveKey(ctx, m.Key); err != nil {
				return err
			}
			c.tellKey("removed", m)
			return nil
		},
	}
	x.read.register(cmd)
	return cmd
}

// findKey finds a key by the beginning of its id, or by its label.
func findKey(list []repo.KeyInfo, text string) (*keys.Meta, error) {
	var found []*keys.Meta
	for _, k := range list {
		if k.Label == text || len(text) >= 4 && strings.HasPrefix(k.Key.String(), text) {
			found = append(found, k.Meta)
		}
	}
	switch len(found) {
	case 0:
		return nil, failure("firn keys list shows the keys", "no key %q", text)
	case 1:
		return found[0], nil
	}
	return nil, failure("give its id: firn keys list shows them", "%d keys are called %q", len(found), text)
}

func newKeysPasswd(c *console) *cobra.Command {
	x := &keysCommand{c: c}
	var f newSecretFlags
	cmd := &cobra.Command{
		Use: "passwd", Short: "Change the passphrase", Args: noArgs,
		Long: `Adds a new passphrase (asked for twice, or FIRN_NEW_PASSPHRASE), and then removes the key that was used to open the repository. No data
are written again. Whoever knew the old passphrase may have kept the secrets behind it.`,
		Example: "  firn keys passwd\n  firn keys passwd --passphrase-file old --new-passphrase-file new",
		RunE: func(cmd *cobra.Command, _ []string) error {
			return x.passwd(cmd.Context(), &f)
		},
	}
	f.register(cmd)
	x.read.register(cmd)
	return cmd
}

func (x *keysCommand) passwd(ctx context.Context, f *newSecretFlags) error {
	s, err := openSession(ctx, x.c, &x.read.store)
	if err != nil {
		return err
	}
	defer s.close()
	cred, err := x.read.secrets.credential(ctx, x.c)
	if err != nil {
		return err
	}
	if cred == nil {
		if cred, err = askCredential(ctx, x.c, s.st); err != nil {
			return err
		}
	}
	secrets, used, err := repo.UnlockKey(ctx, s.st, cred.ids...)
	if err != nil {
		return wrongSecret(err, s.st, cred)
	}
	if err := s.open(ctx, repo.Access{Secrets: secrets}); err != nil {
		return err
	}
	list, err := s.repo.Keys(ctx)
	if err != nil {
		return err
	}
	var old *keys.Meta
	for _, k := range list {
		if k.Key == used {
			old = k.Meta
		}
	}
	if old != nil && f.label == "" && old.Type == keys.TypePassphrase {
		f.label = old.Label
	}
	made, err := f.add(ctx, x.c, s.repo)
	if err != nil {
		return err
	}
	x.c.tellKey("added", made[0])
	if err := s.repo.RemoveKey(ctx, used); err != nil {
		return fmt.Errorf("the new passphrase opens the repository, but the old one does, too: %w", err)
	}
	if old != nil {
		x.c.tellKey("removed", old)
	}
	return nil
}

func newKeysWriteOnly(c *console) *cobra.Command {
	x := &keysCommand{c: c}
	var host hostFlags
	var output string
	var prune bool
	cmd := &cobra.Command{
		Use: "write-only", Short: "Make a key for a host that can back up, but not read", Args: noArgs,
		Long: `Makes and certifies a key, and writes it to a file of mode 0600, or to standard output if that is no terminal. Give it to the host, and
let it run: firn backup --host-key FILE. It can add snapshots, and list those of its scope; it can read no content.`,
		Example: "  firn keys write-only --host nas --output host.key\n  firn keys write-only --host web1 --scope web | ssh web1 'umask 077; cat > /etc/firn/host.key'",
		RunE: func(cmd *cobra.Command, _ []string) error {
			role := keys.Writer
			if prune {
				role = keys.Pruner
			}
			return x.writeOnly(cmd.Context(), &host, role, output)
		},
	}
	host.registerName(cmd)
	cmd.Flags().StringVarP(&output, "output", "o", "", "new file for the key")
	cmd.Flags().BoolVar(&prune, "prune", false, "the host may also remove old snapshots and packs of its scope")
	x.read.register(cmd)
	return cmd
}

func (x *keysCommand) writeOnly(ctx context.Context, host *hostFlags, role keys.Role, output string) error {
	name := host.given()
	switch {
	case name == "":
		return usage("give --host NAME", "which host is the key for?")
	case output == "" && (term.IsTerminal(int(os.Stdout.Fd())) || x.c.json != ""):
		return usage("give --output FILE, or send standard output to one", "a key does not belong on a terminal or in JSON")
	}
	if output != "" {
		if _, err := os.Lstat(output); err == nil {
			return usage("", "host key %q: the file exists already", output)
		}
	}
	scope := host.scope
	if scope == "" {
		scope = name
	}
	s, err := x.open(ctx)
	if err != nil {
		return err
	}
	defer s.close()
	key, err := s.repo.Enroll(ctx, name, scope, role)
	if err != nil {
		return err
	}
	raw, err := key.Marshal()
	if err != nil {
		return err
	}
	defer keys.Wipe(raw)
	if output == "" {
		_, err = x.c.content().Write(raw)
		return err
	}
	if err := writeNew(output, raw, 0o600); err != nil {
		return err
	}
	if x.c.json != "" {
		return x.c.object(map[string]any{"event": "host", "host": key.Host.String(), "name": name, "scope": scope, "role": role, "file": output})
	}
	if !x.c.quiet {
		x.c.print("key of host %s (%s, scope %s) written to %s\n", printable(name), key.Host, printable(scope), output)
	}
	return nil
}

// hostJSON is a host in JSON.
type hostJSON struct {
	Event   string     `json:"event"` // host
	Host    string     `json:"host"`
	Name    string     `json:"name"`
	Scope   string     `json:"scope"`
	Role    string     `json:"role"` // writer, prune
	Created time.Time  `json:"created"`
	Revoked *time.Time `json:"revoked,omitempty"`
	Reason  string     `json:"reason,omitempty"`
}

func newKeysHosts(c *console) *cobra.Command {
	x := &keysCommand{c: c}
	cmd := &cobra.Command{
		Use: "hosts", Short: "List the hosts that may write", Args: noArgs,
		Long:    "Lists the hosts that have a key for the repository, and those whose key was revoked.",
		Example: "  firn keys hosts",
		RunE: func(cmd *cobra.Command, _ []string) error {
			s, err := x.open(cmd.Context())
			if err != nil {
				return err
			}
			defer s.close()
			list, err := s.repo.Hosts(cmd.Context())
			if err != nil {
				return err
			}
			return c.showHosts(list)
		},
	}
	x.read.register(cmd)
	return cmd
}

func (c *console) showHosts(list []repo.HostInfo) error {
	t := c.table("host", "name", "scope", "role", "created", "revoked")
	for _, h := range list {
		j := hostJSON{Event: "host", Host: h.Host.String(), Name: h.Name, Scope: h.ScopeName, Role: string(h.Role), Created: h.Created.UTC()}
		revoked := ""
		if h.Revoked != nil {
			at := h.Revoked.Time.UTC()
			j.Revoked, j.Reason = &at, h.Revoked.Reason
			revoked = at.Local().Format(timeFormat) + " " + h.Revoked.Reason
		}
		if c.json != "" {
			if err := c.object(j); err != nil {
				return err
			}
			continue
		}
		t.row(j.Host, j.Name, j.Scope, j.Role, j.Created.Local().Format(timeFormat), revoked)
	}
	t.print()
	return nil
}

func newKeysRevoke(c *console) *cobra.Command {
	x := &keysCommand{c: c}
	var reason string
	cmd := &cobra.Command{
		Use: "revoke HOST", Short: "End the right of a host to write", Args: argsBetween(1, 1, "one host: its id or name"),
		Long: `What the host writes from now on does not count; what it wrote before stays. If the host was stolen, take its credentials for
the store away as well.`,
		Example: "  firn keys revoke nas --reason 'disk was replaced'",
		RunE: func(cmd *cobra.Command, args []string) error {
			return x.revoke(cmd.Context(), args[0], reason)
		},
	}
	cmd.Flags().StringVar(&reason, "reason", "", "why")
	x.read.register(cmd)
	return cmd
}

func (x *keysCommand) revoke(ctx context.Context, which, reason string) error {
	if strings.TrimSpace(reason) == "" {
		return usage("give --reason TEXT", "why is the host revoked?")
	}
	s, err := x.open(ctx)
	if err != nil {
		return err
	}
	defer s.close()
	list, err := s.repo.Hosts(ctx)
	if err != nil {
		return err
	}
	var found []repo.HostInfo
	for _, h := range list {
		if h.Revoked == nil && (h.Name == which || len(which) >= 4 && strings.HasPrefix(h.Host.String(), which)) {
			found = append(found, h)
		}
	}
	switch len(found) {
	case 0:
		return failure("firn keys hosts lists them", "no host %q that may write", which)
	case 1:
	default:
		return failure("give its id: firn keys hosts lists them", "%d hosts are called %q", len(found), which)
	}
	if err := s.repo.Revoke(ctx, found[0].Host, reason); err != nil {
		return err
	}
	switch {
	case x.c.json != "":
		return x.c.object(map[string]any{"event": "revoked", "host": found[0].Host.String(), "name": found[0].Name, "reason": reason})
	case !x.c.quiet:
		x.c.print("revoked host %s (%s)\n", printable(found[0].Name), found[0].Host)
	}
	return nil
}

func newKeysKit(c *console) *cobra.Command {
	x := &keysCommand{c: c}
	var host hostFlags
	var file string
	cmd := &cobra.Command{
		Use: "kit", Short: "Print the recovery kit again", Args: noArgs,
		Long: `Prints the page that, with a passphrase or secret key, opens everything even without firn. Nothing on it is secret. Print it again
after keys were added or removed. A host's own key is enough.`,
		Example: "  firn keys kit\n  firn keys kit --kit kit.svg",
		RunE: func(cmd *cobra.Command, _ []string) error {
			return x.kit(cmd.Context(), &host, file)
		},
	}
	cmd.Flags().StringVar(&file, "kit", "", "write it to this file, .svg for a printer or .txt")
	cmd.Flags().StringVar(&host.keyFile, "host-key", "", "write-only key of this host (FIRN_HOST_KEY)")
	x.read.register(cmd)
	return cmd
}

func (x *keysCommand) kit(ctx context.Context, host *hostFlags, file string) error {
	if file != "" && !strings.HasSuffix(file, ".svg") && !strings.HasSuffix(file, ".txt") {
		return usage("", "recovery kit %q: want a name that ends in .svg or .txt", file)
	}
	s, err := openSession(ctx, x.c, &x.read.store)
	if err != nil {
		return err
	}
	defer s.close()
	if err := s.openLister(ctx, &x.read.secrets, host); err != nil {
		return err
	}
	list, err := s.repo.Keys(ctx)
	if err != nil {
		return err
	}
	kit := s.kit(list)
	if file != "" {
		if err := writeKit(kit, file); err != nil {
			return err
		}
	}
	switch {
	case x.c.json != "":
		return x.c.object(map[string]any{"event": "kit", "repository": fmt.Sprintf("%x", kit.Repository), "location": kit.Location, "kit": kit.Text(), "kit_file": file})
	case file != "":
		if !x.c.quiet {
			x.c.print("recovery kit written to %s\n", file)
		}
	default:
		x.c.print("%s", kit.Text())
	}
	return nil
}
