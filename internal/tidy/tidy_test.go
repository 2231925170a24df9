package tidy

import (
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"path"
	"path/filepath"
	"strings"
	"testing"
)

// Floors with a name.
const (
	words     = -1 // what even floor 0 speaks in: names of things and measures, nothing that needs more than its argument
	command   = 8  // the programs
	testsOnly = 99 // imported by tests and by one another, never by what ships
)

// room is one package: the floor it lives on and why there. Its path is that below internal/, or the whole path for what lies elsewhere.
type room struct {
	path   string
	floor  int
	reason string
}

// A package imports strictly lower floors. A parent and its child (store, store/s3) are one, so they may import each other
// as far as Go lets them; two children of one parent are neighbours and may not. Tests may also use their
// neighbours (a round trip needs backup and restore) and the packages for tests, but nothing above them.
var house = []room{
	{"cmd/firn", command, "hands the exit code of cli to the system and nothing else"},

	{"cli", 7, "one file per command: parses, calls a verb, renders; decides nothing"},

	{"web", 6, "the local pages: layout, repositories kept open for them, what was begun from them; calls what the commands call"},
	{"web/gate", 6, "who may ask for a page: one-time tokens, sessions, names of this machine, forged requests"},
	{"web/desk", 6, "pages: how all stands, and what can be begun"},
	{"web/look", 6, "pages: what snapshots hold: folders, search, versions, differences, previews"},
	{"web/history", 6, "pages: time and money: calendar, storage, cost"},
	{"web/wizard", 6, "pages: a basket of files, its priced plan, and its way back"},
	{"web/webtest", testsOnly, "a site over a small repository, and a browser of sorts, for the tests of pages"},
	{"mount", 6, "snapshots as a file system; a face as the pages are, since it decides nothing"},
	{"serve", 6, "the daemon: jobs by the clock, reloading, health; runs what the command line runs"},

	{"job", 5, "named jobs, schedule, history: what both faces call"},
	{"job/metrics", 5, "what jobs did, as Prometheus reads it"},
	{"advice", 5, "turns errors into hints and exit codes; the lowest floor that knows commands and flags"},

	{"backup", 4, "a verb: source to repository; verbs never import one another"},
	{"restore", 4, "a verb: repository to target, with its thaw jobs"},
	{"retention", 4, "a verb: which policy speaks of which source, and what it decides"},
	{"cost", 4, "a verb: what a repository costs, will cost and would cost; reads hot objects only"},
	{"doctor", 4, "a verb: looks for what will go wrong with a store, its rights and its rules"},
	{"transition", 4, "a verb: moves packs whose hot time is over into their cold class"},
	{"browse", 4, "a verb: looks into snapshots (ls, find, diff, cat) and reads hot objects only"},
	{"prune", 4, "a verb: retires and deletes packs, the only one that does"},
	{"check", 4, "a verb: compares what is stored with what should be"},
	{"repair", 4, "a verb: mends packs from parity or from the source"},
	{"drill", 4, "a verb: restores a sample to prove that it can be done"},
	{"copy", 4, "a verb: repository to repository"},
	{"rewrite", 4, "a verb: snapshots without some of their paths, in the place of others"},
	{"replay", 4, "a verb: streams of a snapshot, and of the chain that it needs, back into what they came from"},
	{"sync", 4, "a verb: mirrors plain files, knows no repository"},
	{"sync/inventory", 4, "listings of a bucket that S3 writes by itself, read in the place of asking for one"},
	{"sync/ledger", 4, "what was last synced: a local file, all of which can be lost"},

	{"repo", 3, "sole owner of object names, commit order, keys and format version"},
	{"thaw", 3, "jobs that have cold objects thawed, window by window, and outlive the process; verbs share them"},
	{"wire", 3, "one explicit table from URL to store and from configuration to source; must see all adapters"},

	{"store/local", 2, "adapter: a folder as a store"},
	{"store/mem", 2, "adapter: memory as a store"},
	{"store/s3", 2, "adapter: S3 and compatibles as a store"},
	{"store/s3/plain", 2, "adapter: plain objects in a bucket, by the client of its parent"},
	{"store/retry", 2, "wrapper around any store: repeats what may pass"},
	{"store/limit", 2, "wrapper around any store: bandwidth and connections"},
	{"store/cache", 2, "wrapper around any store: keeps hot objects near"},
	{"source/dir", 2, "adapter: a folder as a source"},
	{"source/stream", 2, "adapter: streams that programs produce, as a tree that a backup reads"},
	{"source/zfs", 2, "adapter: a ZFS dataset or volume as a source"},
	{"source/btrfs", 2, "adapter: a btrfs subvolume as a source"},
	{"source/postgres", 2, "adapter: PostgreSQL databases as a source"},
	{"source/mysql", 2, "adapter: MySQL and MariaDB databases as a source"},
	{"source/subversion", 2, "adapter: Subversion repositories as a source"},
	{"source/command", 2, "adapter: the output of any command, or standard input, as a source"},
	{"state", 2, "adapter: the local cache and state folders, all of which can be lost"},
	{"notify", 2, "adapter: tells people and programs elsewhere: mail, webhooks and the like"},
	{"logs", 2, "adapter: where log lines go: files that rotate, syslog, the journal"},
	{"timer", 2, "adapter: the system's own scheduler: systemd, cron, launchd, periodic"},
	{"target", 2, "adapter: writes files, links and metadata where a restore wants them"},

	{"store", 1, "contract between firn and whatever keeps objects"},
	{"bucket", 1, "contract between firn and whatever keeps plain objects under names that people choose"},
	{"program", 1, "runs the programs of others, bounds and judges them, and keeps what they make in temporary files; the adapters that share it may not import one another"},
	{"pack", 1, "format of packs and their tables"},
	{"envelope", 1, "format of the sealed and signed small objects"},
	{"manifest", 1, "format of the list of files"},
	{"manifest/linetree", 1, "sorted lines as a tree of chunks, which manifests and long content lists share"},
	{"index", 1, "format of the index and of the local chunk table"},
	{"packset", 1, "format of pack sets"},
	{"snapshot", 1, "format of snapshots, host state and prune records"},
	{"keys", 1, "format of key objects and key files; derives keys"},
	{"format", 1, "format of firn.json"},
	{"config", 1, "format of the configuration file"},
	{"migrate", 1, "reads the configurations of other tools into ours"},

	{"chunk", 0, "pure: what a chunk is to those who pack, index and list it"},
	{"cdc", 0, "pure: cuts content"},
	{"frame", 0, "pure: zstd frames, skippable frames, padding"},
	{"seal", 0, "pure: age files, sealed in parallel and opened at random"},
	{"sign", 0, "pure: signatures and MACs"},
	{"par2", 0, "pure: PAR 2.0 recovery volumes"},
	{"par2/gf16", 0, "pure: arithmetic of par2"},
	{"retain", 0, "pure: which snapshots to keep"},
	{"schedule", 0, "pure: when something is to happen"},
	{"policy", 0, "pure: the least rights that a host needs, as documents for whoever grants them"},
	{"price", 0, "pure: what things cost"},
	{"plot", 0, "pure: pictures of numbers over time, as SVG"},
	{"glob", 0, "pure: patterns of paths"},
	{"source", 0, "contract between the backup and whatever has the data; lower than other contracts, since what runs programs for adapters speaks in it"},
	{"event", 0, "pure: what a verb tells while it runs"},
	{"manifest/jsonline", 0, "pure: writes and reads the JSON lines of manifests, by hand and fast"},

	{"digest", words, "chunk ids and object names: the types by which every floor names things"},
	{"units", words, "sizes, rates and times as people write them"},

	{"storetest", testsOnly, "one conformance suite for every store"},
	{"bucket/buckettest", testsOnly, "one conformance suite for every keeper of plain objects, and one in memory that fails as it is told"},
	{"storetest/versitygw", testsOnly, "a strict S3 server on the loopback interface, for the suite"},
	{"storetest/wrappers", testsOnly, "every wrapper around a store, to run the suite through"},
	{"doctest", testsOnly, "runs what the documents tell people to type, each page in a small world of its own"},
	{"dbtest", testsOnly, "real database servers for the adapters that store databases, and for whoever runs these"},
	{"faultstore", testsOnly, "a store that fails as it is told"},
	{"coldtest", testsOnly, "an S3 server with cold classes, a clock and a bill"},
	{"cmd/coldtest", testsOnly, "starts that server on the loopback interface, to try firn with; does not ship"},
	{"mounttest", testsOnly, "runs tests among mounts and processes of their own, with zfs-fuse or btrfs on a file"},
	{"sim", testsOnly, "a simulated world that tries to make firn lose data"},
	{"cmd/firn-sim", testsOnly, "runs that world for as long as one likes; does not ship"},
	{"frozen", testsOnly, "holds the format to vectors, frozen repositories and programs that are not firn"},
	{"crash", testsOnly, "kills the real program at random moments, on a real file system and against a real server, and has many of it work at once"},
	{"metamorphic", testsOnly, "one history of a tree under many settings, interruptions and faults restores the same"},
	{"tidy", testsOnly, "these rules"},
	{"bench/scale", testsOnly, "makes up repositories of very many files and measures what grows; a program, but none that ships"},
	{"bench/bill", testsOnly, "prints what a year in cold storage costs; a program, but none that ships"},
	{"bench", testsOnly, "runs the finished program beside its peers; a program, but none that ships"},
}

func floors() map[string]int {
	m := make(map[string]int, len(house))
	for _, r := range house {
		m[r.path] = r.floor
	}
	return m
}

func TestTable(t *testing.T) {
	seen := map[string]bool{}
	for _, r := range house {
		if r.reason == "" {
			t.Errorf("%s: no reason given", r.path)
		}
		if seen[r.path] {
			t.Errorf("%s: stands twice", r.path)
		}
		seen[r.path] = true
	}
}

// TestHouse applies the rules for Go files to every package of this module.
func TestHouse(t *testing.T) {
	root := moduleRoot(t)
	known := floors()
	for _, name := range files(t, root) {
		if !strings.HasSuffix(name, ".go") || strings.Contains("/"+name, "/testdata/") {
			continue
		}
		f := parse(t, root, name)
		for _, finding := range f.check(known) {
			t.Error(finding)
		}
	}
}

// TestArchitecture holds docs/ARCHITECTURE.md to name every package that there is.
func TestArchitecture(t *testing.T) {
	root := moduleRoot(t)
	page, err := os.ReadFile(filepath.Join(root, "docs", "ARCHITECTURE.md"))
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range house {
		there, err := filepath.Glob(filepath.Join(root, "internal", filepath.FromSlash(r.path), "*.go"))
		if err != nil {
			t.Fatal(err)
		}
		if len(there) > 0 && !strings.Contains(string(page), "`"+r.path+"`") {
			t.Errorf("docs/ARCHITECTURE.md does not say what `%s` is for", r.path)
		}
	}
}

// TestText applies the rules for all files, whatever they are.
func TestText(t *testing.T) {
	root := moduleRoot(t)
	secrets := machinePaths(root)
	for _, name := range files(t, root) {
		if strings.Contains("/"+name, "/testdata/") {
			continue
		}
		b, err := os.ReadFile(filepath.Join(root, filepath.FromSlash(name)))
		if err != nil {
			continue // gone since it was listed, or a link that leads nowhere
		}
		for _, finding := range checkText(name, b, secrets) {
			t.Error(finding)
		}
	}
}

// parse reads one file; name is slash-separated and relative to root.
func parse(t *testing.T, root, name string) *file {
	t.Helper()
	src, err := os.ReadFile(filepath.Join(root, filepath.FromSlash(name)))
	if os.IsNotExist(err) {
		return &file{name: name} // removed but still in git's index
	}
	if err != nil {
		t.Fatal(err)
	}
	f, err := newFile(name, src)
	if err != nil {
		t.Fatal(err)
	}
	return f
}

func newFile(name string, src []byte) (*file, error) {
	fset := token.NewFileSet()
	tree, err := parser.ParseFile(fset, name, src, parser.ParseComments|parser.SkipObjectResolution)
	if err != nil {
		return nil, err
	}
	f := &file{name: name, src: src, fset: fset, tree: tree}
	f.pkg = strings.TrimPrefix(path.Dir(name), "internal/")
	f.test = strings.HasSuffix(name, "_test.go")
	return f, nil
}

// file is one Go file of the module.
type file struct {
	name string // slash-separated, relative to the root of the module
	pkg  string // as in the table
	test bool
	src  []byte
	fset *token.FileSet
	tree *ast.File
}
