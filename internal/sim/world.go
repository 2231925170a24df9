package sim

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"strings"
	"sync"
	"time"

	"filippo.io/age"

	"firn/internal/digest"
	"firn/internal/format"
	"firn/internal/keys"
	"firn/internal/price"
	"firn/internal/repo"
	"firn/internal/retain"
	"firn/internal/snapshot"
	"firn/internal/state"
	"firn/internal/store"
)

// clock is the world's time. It goes on when a step says so, and a little with every request.
type clock struct {
	mu sync.Mutex
	at time.Time
}

func (c *clock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.at
}

func (c *clock) pass(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.at = c.at.Add(d)
}

// Sleep implements thaw.Clock: nobody waits.
func (c *clock) Sleep(ctx context.Context, d time.Duration) error {
	c.pass(d)
	return ctx.Err()
}

// setup is how a world is, by its seed.
type setup struct {
	cold    bool // content lies in a class from which it has to be thawed
	parity  bool
	hybrid  bool
	padding bool
	shared  bool // the second host shares the scope of the first
	creator bool // the store takes streams
	weak    bool // listings may be late
	retry   bool
	tables  bool // local chunk tables
	rarely  bool // hardly any partial snapshots are kept
	coarse  bool // backups go by size and mtime
	grace   time.Duration
	orphans time.Duration
	policy  retain.Policy
	last    int          // keep so many, by no rule of package retain; 0: policy
	cycle   retain.Cycle // by which backups are planned; of no kind: by none
}

// lag is by how much listings of a weak store may be late.
const lag = 20 * time.Minute

func newSetup(rng *rand.Rand) (s setup) {
	one := func(n int) bool { return rng.IntN(n) == 0 }
	s = setup{cold: one(3), parity: one(2), hybrid: one(8), padding: one(4), shared: one(2), creator: one(2), weak: one(5), retry: one(3), tables: one(2), coarse: one(4)}
	s.grace = []time.Duration{0, 3 * time.Hour, 24 * time.Hour, 24 * time.Hour}[rng.IntN(4)]
	s.orphans = []time.Duration{0, 5 * time.Hour, 48 * time.Hour}[rng.IntN(3)]
	if s.weak && s.grace == 0 {
		s.grace = 3 * time.Hour
	}
	if s.last = rng.IntN(4); s.last == 0 {
		s.policy = []retain.Policy{{Daily: 3, Weekly: 2}, {Hourly: 6, Daily: 2}, {Within: 72 * time.Hour}, {Last: 3}}[rng.IntN(4)]
	}
	return s
}

// host is a machine: its key, its local folders, its trees.
type host struct {
	name    string
	key     *keys.HostKey
	dirs    state.Dirs
	skew    time.Duration // of its clock
	trees   []*tree
	lives   int // processes that died
	revoked bool
	heads   map[snapshot.Source]uint64 // what it has reported last, as long as it has not lost its state
}

// attempt is one run of a backup: what its snapshots may hold.
type attempt struct {
	host, tree int
	tag        string
	source     snapshot.Source
	versions   []truth // how the tree was when it began, and after each change meanwhile
	when       time.Time
	notes      []string // what was told
}

// taken is a snapshot that the store has, or should have.
type taken struct {
	attempt  *attempt
	scope    keys.ScopeID
	reported bool            // as done
	gone     bool            // a rule has let it go: it may be there or not
	hurt     bool            // it needs something that is lost for good, and the loss has to be named
	packs    []digest.Object // once known
	failed   []string        // paths that could not be read whole, as the snapshot says
	read     int             // what was sick when all of it was compared last, as a number; −1: never
}

// world is everything.
type world struct {
	ctx    context.Context
	o      Options
	dir    string
	setup  setup
	clock  *clock
	main   *vault
	spare  *vault // the copy; nil: there is none
	access repo.Access
	human  *age.X25519Identity
	pruner *keys.HostKey
	hosts  []*host
	desk   *host // where the owner restores, checks and repairs: no host of the repository
	region *price.Region
	mirror *mirror // for sync; nil: there is none yet

	cutOff    bool          // a change of keys was
	phraseKey *keys.KeyID   // of the passphrase that was added last
	copied    []snapshot.ID // that were read in the copy

	attempts map[string]*attempt
	running  []*attempt
	taken    map[snapshot.ID]*taken
	foreign  map[snapshot.ID]bool // made by the thief
	sick     map[string][]byte    // objects that are damaged or gone, as they were
	lost     map[string]bool      // objects that are gone for good, and known to be
	sickness int                  // counts what befell the store
	judged   int                  // what the store had changed when it was judged last
	inner    int                  // how deep steps are inside of others
	serial   int
	due      []func() // puts that are carried out late
	secrets  [][]byte // that must be in no object and no local file
	canary   string
	counts   Counts

	unsynced []string                 // of NoSync
	stay     map[snapshot.ID]bool     // done, and not let go by the last prunes: looked for when the world is judged
	epochs   map[digest.Object]uint32 // of packs

	torn  map[string]int64 // of TornPack: sizes that packs should have
	tears int

	logMu  sync.Mutex // guards what is below, the mistakes, due, sick and counts.Requests
	log    []string
	broken []error
}

const phrase = "wer das liest kennt die Losung"

func newWorld(ctx context.Context, o Options, dir string) (*world, error) {
	rng := rand.New(rand.NewPCG(o.Seed, 1))
	w := &world{ctx: ctx, o: o, dir: dir, setup: newSetup(rng), clock: &clock{at: time.Date(2026, 11, 20, 7, 0, 0, 0, time.UTC)}, attempts: map[string]*attempt{},
		taken: map[snapshot.ID]*taken{}, foreign: map[snapshot.ID]bool{}, sick: map[string][]byte{}, lost: map[string]bool{}, torn: map[string]int64{}, counts: Counts{By: map[string]int64{}},
		stay: map[snapshot.ID]bool{}, epochs: map[digest.Object]uint32{}}
	w.setup.cycle = newCycle(o.Seed)
	o.Bug.prepare(&w.setup)
	w.canary = fmt.Sprintf("Kanarienvogel%08x", rng.Uint32())
	w.main = newVault(w.clock)
	if err := w.begin(rng); err != nil {
		return nil, fmt.Errorf("a world cannot begin: %w", err)
	}
	return w, nil
}

// begin makes the repository, its hosts and their trees.
func (w *world) begin(rng *rand.Rand) (err error) {
	if w.region, err = price.Default().Region("aws", "us-east-1"); err != nil {
		return err
	}
	if w.human, err = age.GenerateX25519Identity(); err != nil {
		return err
	}
	to, err := keys.ParseRecipient(w.human.Recipient().String(), nil)
	if w.setup.hybrid && err == nil { // a repository of that kind takes no classic recipient
		to, err = keys.Passphrase([]byte(phrase), keys.MinWork)
	}
	if err != nil {
		return err
	}
	init := repo.InitOptions{Keys: []repo.NewKey{{Label: "mine", Recipient: to}}, HostName: "host0", ScopeName: "scope0", Hybrid: w.setup.hybrid, Padding: w.setup.padding, Now: w.clock.Now,
		Chunk: &format.Chunk{Min: 64 << 10, Avg: 96 << 10, Max: 256 << 10}, Bundle: &format.Bundle{Min: 4 << 10, Max: 64 << 10}}
	if w.setup.cold {
		init.DataClass = "DEEP_ARCHIVE"
	}
	if w.setup.parity {
		init.Parity = format.Parity{Data: 20, Meta: 20}
	}
	if w.access, err = repo.Init(w.ctx, w.main, init); err != nil {
		return err
	}
	w.addHost("host0", w.access.Host, rng)
	scope := "scope1"
	if w.setup.shared {
		scope = "scope0"
	}
	for i, at := range []string{scope, "scope2"} {
		key, err := w.admin().Enroll(w.ctx, fmt.Sprintf("host%d", i+1), at, keys.Writer)
		if err != nil {
			return err
		}
		w.addHost(key.Name, key, rng)
	}
	w.desk = &host{name: "desk", dirs: state.Dirs{Cache: w.path("desk", "0", "cache"), State: w.path("desk", "0", "state")}}
	w.pruner, err = w.admin().Enroll(w.ctx, "pruner", "scope0", keys.Pruner)
	w.noteSecrets()
	return err
}

func (w *world) addHost(name string, key *keys.HostKey, rng *rand.Rand) {
	h := &host{name: name, key: key, heads: map[snapshot.Source]uint64{}}
	h.dirs = state.Dirs{Cache: w.path(name, "0", "cache"), State: w.path(name, "0", "state")}
	for range 1 + len(w.hosts)%2 {
		t := newTree(func() time.Time { return w.clock.Now().Add(h.skew) }, w.canary)
		t.coarse = w.setup.coarse
		for range 6 + rng.IntN(10) {
			t.mutate(rng)
		}
		h.trees = append(h.trees, t)
	}
	w.hosts = append(w.hosts, h)
	w.clock.pass(time.Second)
}

// admin opens the repository with everything, and nothing in the way.
func (w *world) admin() *repo.Repository {
	r, err := repo.Open(w.ctx, w.main, repo.Access{Secrets: w.access.Secrets}, repo.Options{Now: w.clock.Now})
	if err != nil {
		panic(fmt.Sprintf("sim: %v", err)) // nothing is wrong when it is called
	}
	return r
}

// noteSecrets lists what nobody may find in objects, nor, as far as a host does not hold it, in local files.
func (w *world) noteSecrets() {
	s := w.access.Secrets
	w.secrets = [][]byte{[]byte(phrase), s.Master[:], s.RootSeed[:], []byte(w.human.String()), []byte(strings.TrimPrefix(w.human.String(), "AGE-SECRET-KEY-"))}
	for _, g := range s.Generations {
		w.secrets = append(w.secrets, []byte(g.Identity.Secret()))
	}
}

func (w *world) tell(format string, args ...any) {
	line := w.clock.Now().Format("01-02 15:04:05 ") + fmt.Sprintf(format, args...)
	if w.o.Trace != nil {
		w.o.Trace(line)
	}
	w.logMu.Lock()
	defer w.logMu.Unlock()
	w.log = append(w.log, line)
	if len(w.log) > 400 {
		w.log = w.log[200:]
	}
}

func (w *world) lastLog() []string {
	w.logMu.Lock()
	defer w.logMu.Unlock()
	return w.log[max(0, len(w.log)-60):]
}

// storeOf is what a process of this world sees of a vault: the vault, or what a planted mistake makes of it.
func (w *world) storeOf(v *vault, who string) store.Store { return w.o.Bug.wrap(w, v, who) }

// dirsOf are the local folders of a process; full: nothing can be written to them.
func (w *world) dirsOf(h *host, full bool) (state.Dirs, error) {
	if !full {
		return h.dirs, nil
	}
	file := w.path("full")
	err := os.WriteFile(file, nil, 0o600)
	return state.Dirs{Cache: file + "/cache", State: file + "/state"}, err
}

var errViolated = errors.New("violated")

// violated is an invariant that does not hold.
func violated(format string, args ...any) error {
	return fmt.Errorf("%w: "+format, append([]any{errViolated}, args...)...)
}
