package cli

import (
	"bytes"
	"cmp"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"math/big"
	"os"
	"strings"

	"github.com/spf13/cobra"

	"firn/internal/advice"
	"firn/internal/format"
	"firn/internal/keys"
	"firn/internal/repo"
	"firn/internal/state"
	"firn/internal/store"
	"firn/internal/wire"
)

// initCommand makes a repository.
type initCommand struct {
	c           *console
	store       storeFlags
	pass        secretFlags
	host        hostFlags
	recipients  []string
	postQuantum bool
	class       string
	hotClass    string
	padding     bool
	parity      optionalPercent
	metaParity  optionalPercent
	kit         string
	kitSaved    bool
	like        string
}

func newInit(c *console) *cobra.Command {
	x := &initCommand{c: c}
	cmd := &cobra.Command{
		Use:   "init REPO",
		Short: "Make a repository: a folder or s3://bucket/prefix",
		Long: `Makes the folder or bucket where it is missing, finds out what the store can do, makes all keys, and prints the recovery
kit: one page that, with the passphrase or secret key, opens everything even without firn. Nothing on it is secret. In a terminal
firn asks for one word of it, to be sure that it was kept; a script says --kit-saved.

Without --recipient the repository opens with a passphrase. This machine becomes its first host: its own write-only key is
kept in the local state folder, so that backups from here need no passphrase.

With --like REPO2 it becomes a second place for the same snapshots: it opens with the keys that REPO2 has now, and firn copy and
firn backup --also fill it.`,
		Example: `  firn init /mnt/disk/backup
  firn init /mnt/shelf/backup --like s3://bucket/nas
  firn init s3://bucket/nas --class DEEP_ARCHIVE --kit kit.svg
  firn init s3://bucket/nas --endpoint https://s3.example.net --recipient age1… --kit-saved`,
		Args: argsBetween(0, 1, "one argument: where the repository is to be"),
		RunE: func(cmd *cobra.Command, args []string) error {
			if named := x.c.config.used; len(args) == 1 && (named == nil || named.Name != args[0]) {
				if x.store.repo != "" && x.store.repo != args[0] {
					return usage("give one of them", "both %q and --repo %q are given", args[0], x.store.repo)
				}
				x.store.repo = args[0]
			}
			if x.like != "" {
				return x.runLike(cmd)
			}
			return x.run(cmd.Context())
		},
	}
	fl := cmd.Flags()
	x.registerLike(fl)
	fl.StringArrayVar(&x.recipients, "recipient", nil, "who can open it instead of a passphrase: age1…, age1pq1…, ssh-ed25519 …, ssh-rsa …, a plugin's, or a file of them (repeat for more)")
	fl.BoolVar(&x.postQuantum, "post-quantum", false, "encrypt against quantum computers as well; takes passphrases and age1pq1… recipients only")
	fl.StringVar(&x.class, "class", "", "storage class of file content, such as DEEP_ARCHIVE; all the rest stays at hand")
	fl.StringVar(&x.hotClass, "hot-class", "", "storage class of all the rest, where it is not to be the bucket's default")
	fl.BoolVar(&x.padding, "padding", false, "pad objects, so that their sizes tell less (at most 12 % more)")
	fl.Var(&x.parity, "parity", "percent of PAR2 recovery data for packs of file content, 0 to 100 (5 in a cold class, else 0)")
	fl.Var(&x.metaParity, "meta-parity", "percent of PAR2 recovery data for packs of manifests, 0 to 100 (10 where file content has any, else 0)")
	fl.StringVar(&x.kit, "kit", "", "write the recovery kit to this file, .svg for a printer or .txt, instead of printing it")
	fl.BoolVar(&x.kitSaved, "kit-saved", false, "do not ask whether the kit was kept")
	x.host.registerName(cmd)
	x.pass.registerPassphrase(cmd)
	cmd.Flags().StringVarP(&x.store.repo, "repo", "r", "", "the same as REPO (FIRN_REPO)")
	x.store.registerStore(cmd)
	return cmd
}

func (x *initCommand) run(ctx context.Context) error {
	location, err := x.store.location()
	if err == nil {
		err = x.check()
	}
	if err != nil {
		return err
	}
	if _, err := wire.ParseLocation(location); err != nil {
		return &advice.Error{Err: err, Code: advice.Usage}
	}
	st, err := wire.OpenStore(ctx, location, x.store.options(x.c))
	if err != nil {
		return err
	}
	defer func() { _ = st.Close() }()
	if err := vacant(ctx, st); err != nil {
		return err
	}
	o, err := x.options(ctx)
	if err != nil {
		return err
	}
	if err := x.probe(ctx, st); err != nil {
		return err
	}
	access, err := repo.Init(ctx, st, o)
	if err != nil {
		return err
	}
	s := &session{c: x.c, st: st, dirs: localDirs()}
	s.state = state.Open(s.dirs, access.Secrets.Repository, x.c.without())
	if err := s.open(ctx, access); err != nil {
		return err
	}
	if err := x.made(s, access); err != nil {
		return err
	}
	return x.handOver(ctx, s)
}

// check refuses what cannot be, before anything is made.
func (x *initCommand) check() error {
	switch {
	case !x.kitSaved && !x.c.terminal:
		return usage("add --kit-saved, and keep what is printed: print it, or store it where it survives this machine",
			"nobody can be asked whether the recovery kit was kept")
	case x.kit != "" && !strings.HasSuffix(x.kit, ".svg") && !strings.HasSuffix(x.kit, ".txt"):
		return usage("", "recovery kit %q: want a name that ends in .svg or .txt", x.kit)
	case len(x.recipients) > 0 && (x.pass.passphraseFile != "" || x.pass.passphraseCommand != ""):
		return usage("make the repository with one, and add the other with: firn keys add", "both --recipient and a passphrase are given")
	}
	if x.kit != "" {
		if _, err := os.Lstat(x.kit); err == nil {
			return usage("", "recovery kit %q: the file exists already", x.kit)
		}
	}
	return nil
}

// vacant makes sure that no repository, nor anything else, is there, before anybody is asked for a passphrase.
func vacant(ctx context.Context, st store.Store) error {
	_, err := repo.ReadConfig(ctx, st)
	var newer *format.NewerFormatError
	switch {
	case errors.Is(err, repo.ErrNoRepository):
		if err = repo.Vacant(ctx, st); errors.Is(err, repo.ErrNotEmpty) {
			return err
		}
		return nil // what else is wrong, the probe tells
	case err == nil, errors.As(err, &newer):
		return fmt.Errorf("%s: %w", st.Location(), repo.ErrExists)
	case errors.Is(err, store.ErrDenied):
		return nil // without the right to list, S3 says so of what is not there; the probe tells more
	}
	return err
}

// options asks for the passphrase, if it is to be one.
func (x *initCommand) options(ctx context.Context) (o repo.InitOptions, err error) {
	name, err := x.host.orSystem()
	if err != nil {
		return o, err
	}
	recipients, err := newRecipients(ctx, x.c, x.recipients, func() ([]byte, error) {
		return x.pass.newPassphrase(ctx, x.c, "FIRN_PASSPHRASE", "new passphrase")
	})
	if err != nil {
		return o, err
	}
	o = repo.InitOptions{Hybrid: x.postQuantum, Padding: x.padding, DataClass: x.class, HotClass: x.hotClass, Parity: x.percents(), HostName: name, ScopeName: x.host.scope, Now: x.c.now}
	for _, r := range recipients {
		o.Keys = append(o.Keys, repo.NewKey{Label: labelOf(r), Recipient: r})
	}
	kind := keys.X25519
	if x.postQuantum {
		kind = keys.Hybrid
	}
	for _, r := range recipients {
		if err := keys.CheckRecipient(kind, r); err != nil {
			return o, err
		}
	}
	return o, nil
}

// percents is how much parity there is to be.
func (x *initCommand) percents() (p format.Parity) {
	if coldIn(nil)(x.class) {
		p.Data = 5
	}
	if p.Data = x.parity.or(p.Data); p.Data > 0 {
		p.Meta = 10
	}
	p.Meta = x.metaParity.or(p.Meta)
	return p
}

// newPassphrase returns a passphrase for a key that is to be made: from flags, the environment or two questions.
func (f *secretFlags) newPassphrase(ctx context.Context, c *console, env, what string) ([]byte, error) {
	pass, err := f.passphrase(ctx, c)
	if pass == nil && err == nil {
		pass, err = passphraseFromEnv(ctx, c, env)
	}
	if pass != nil || err != nil {
		return pass, err
	}
	if !c.terminal {
		return nil, failure("set "+env+", or give the passphrase by a file or a command, or --recipient", "no new passphrase is given, and nobody can be asked")
	}
	return c.askNewSecret(ctx, what)
}

// probe finds out what the store can do, and says what is missing.
func (x *initCommand) probe(ctx context.Context, st store.Store) error {
	if m, ok := store.As[store.Maker](st); ok {
		if err := m.Make(ctx); err != nil {
			return x.unmade(err, st)
		}
	}
	// Which tiers a server has that is not Amazon's, only thawing something tells.
	found, err := store.Examine(ctx, st, store.ProbeOptions{Class: x.class, Thaw: !x.store.amazon(st), Parts: !x.store.amazon(st)})
	if err != nil {
		return err
	}
	x.store.learn(&found)
	refused := map[string]bool{}
	for _, right := range found.Missing {
		refused[right] = true
	}
	for _, right := range []string{"put", "get", "list"} {
		if refused[right] {
			return failure("the credentials, or the owner and mode of the folder, must allow to list, read and create objects",
				"%s: the right to %s objects is missing", st.Location(), right)
		}
	}
	if !found.Lists {
		return failure("firn needs listings that show what was stored before them", "%s: the listing does not show what was just stored", st.Location())
	}
	if refused["delete"] {
		x.c.note("no right to delete objects: right for a write-only host; pruning needs it, and %q may be removed by hand", found.LeftOver)
	}
	if !found.CreateOnly {
		x.c.warn("the store lets objects be overwritten: turn on versioning or an object lock, so that a thief of the credentials cannot destroy backups")
	}
	if x.class != "" && found.Class != "" && found.Class != x.class {
		x.c.warn("the store keeps objects in class %q, not in %q", found.Class, x.class)
	}
	if weak, ok := store.As[store.Weak](st); ok {
		for _, text := range weak.Weakness() {
			x.c.note("%s: %s", st.Location(), text)
		}
	}
	x.c.warnOfTraps(ctx, st)
	return nil
}

// unmade tells who may not make a bucket with what command somebody else does.
func (x *initCommand) unmade(err error, st store.Store) error {
	l, e := wire.ParseLocation(st.Location())
	if e != nil || l.Scheme != "s3" || !errors.Is(err, store.ErrDenied) {
		return err
	}
	command := "aws s3api create-bucket --bucket " + l.Bucket
	region := cmp.Or(x.store.region, os.Getenv("AWS_REGION"), os.Getenv("AWS_DEFAULT_REGION"))
	if region != "" && region != "us-east-1" { // which has no constraint of its name
		command += " --region " + region + " --create-bucket-configuration LocationConstraint=" + region
	}
	if endpoint := cmp.Or(x.store.endpoint, os.Getenv("AWS_ENDPOINT_URL_S3"), os.Getenv("AWS_ENDPOINT_URL")); endpoint != "" {
		command += " --endpoint-url " + endpoint
	}
	return &advice.Error{Text: fmt.Sprintf("bucket %q is not there and may not be made: %v", l.Bucket, err), Err: err,
		Hint: "have it made by somebody who may, for example with: " + command}
}

// madeJSON is what init prints with --json.
type madeJSON struct {
	Event      string    `json:"event"` // init
	Repository string    `json:"repository"`
	Location   string    `json:"location"`
	Host       string    `json:"host"`
	Scope      string    `json:"scope"`
	Keys       []keyJSON `json:"keys"`
	Kit        string    `json:"kit,omitempty"` // text
	KitFile    string    `json:"kit_file,omitempty"`
}

// made tells what was made.
func (x *initCommand) made(s *session, access repo.Access) error {
	if !x.c.quiet && x.c.json == "" {
		x.c.print("made repository %x at %s\n", access.Secrets.Repository, s.st.Location())
	}
	s.keepHostKey(access.Host)
	return nil
}

// handOver gives the recovery kit to the user, and makes sure that it arrived.
func (x *initCommand) handOver(ctx context.Context, s *session) error {
	list, err := s.repo.Keys(ctx)
	if err != nil {
		return err
	}
	kit := s.kit(list)
	if x.kit != "" {
		if err := writeKit(kit, x.kit); err != nil {
			return fmt.Errorf("the repository is made, but its recovery kit could not be written: %w", err)
		}
	}
	switch {
	case x.c.json != "":
		o := madeJSON{"init", fmt.Sprintf("%x", kit.Repository), kit.Location, s.repo.Host().Name, s.repo.Host().ScopeName, keysJSON(list), kit.Text(), x.kit}
		if err := x.c.object(o); err != nil {
			return err
		}
	case x.kit != "":
		x.c.print("recovery kit written to %s\n", x.kit)
	default:
		x.c.print("\n%s\n", kit.Text())
	}
	if x.kitSaved {
		return nil
	}
	return x.askWord(ctx, kit)
}

// askWord asks for a word of the kit until it is right.
func (x *initCommand) askWord(ctx context.Context, kit *keys.Kit) error {
	n, err := rand.Int(rand.Reader, big.NewInt(keys.KitGroups))
	if err != nil {
		return err
	}
	group := int(n.Int64()) + 1
	for range 3 {
		word, err := x.c.askLine(ctx, fmt.Sprintf("Keep the kit away from this machine. The word after group %d of its root key is: ", group))
		if err != nil {
			return fmt.Errorf("the repository is made, but nobody said that its recovery kit was kept: %w", err)
		}
		if kit.CheckWord(group, word) {
			return nil
		}
		x.c.warn("that is not the word of group %d", group)
	}
	return failure("print it again with: firn keys kit", "the repository is made, but its recovery kit was not read")
}

// kit is the recovery kit of the open repository.
func (s *session) kit(list []repo.KeyInfo) *keys.Kit {
	k := &keys.Kit{Repository: s.repo.ID(), Location: s.st.Location(), Created: s.repo.Config().Created, Root: s.repo.Root(),
		RecoverSum: [32]byte(repo.RecoverScriptSum()), Seal: keys.Seal(s.repo.Config().Seal)}
	for _, i := range list {
		text := fmt.Sprintf("%s (%s)", i.Label, i.Type)
		if i.Label == string(i.Type) {
			text = i.Label
		}
		k.Keys = append(k.Keys, text)
	}
	return k
}

// writeKit writes the kit to a new file.
func writeKit(kit *keys.Kit, path string) error {
	raw := []byte(kit.Text())
	if strings.HasSuffix(path, ".svg") {
		raw = kit.SVG()
	}
	return writeNew(path, raw, 0o644)
}

// writeNew makes a file that was not there, and leaves none if that fails.
func writeNew(path string, raw []byte, mode os.FileMode) error {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, mode)
	if err != nil {
		return err
	}
	_, err = bytes.NewReader(raw).WriteTo(f)
	if err == nil {
		err = f.Sync()
	}
	if e := f.Close(); err == nil {
		err = e
	}
	if err != nil {
		_ = os.Remove(path)
	}
	return err
}
