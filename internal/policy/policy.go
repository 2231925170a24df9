// Package policy writes down the least rights that somebody needs who works with a repository in S3, as documents of IAM, and what a bucket for backups should be set to. It is pure: it
// knows what firn asks of a store (FORMAT §2 has the names of objects) and what Amazon calls the rights to that.
//
// Two things make a host harmless that can write. It may store an object only where there is none: Amazon has the condition keys s3:if-none-match and
// s3:ObjectCreationOperation for that (S3 User Guide, "Enforce conditional writes on Amazon S3 buckets"; Service Authorization Reference, "Amazon S3"). And it may read what it
// has to know before it stores anything, which is small, and no pack.
//
// Statements allow, and none denies: a server that does not know a condition key refuses then, and does not let pass.
package policy

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
)

// Role is what somebody does with a repository.
type Role string

// The roles.
const (
	WriteOnly Role = "write-only" // backs up, and can neither read, replace nor delete what is stored
	Prune     Role = "prune"      // forgets snapshots and deletes what none needs
	Restore   Role = "restore"    // reads and thaws everything: restores, checks, drills, is copied from
	Copy      Role = "copy"       // what a copy is written with
	Repair    Role = "repair"     // reads everything, and puts what is whole in the place of what is damaged
	Admin     Role = "admin"      // makes the repository and its keys, and locks objects
	Sync      Role = "sync"       // mirrors plain files below a prefix
)

// Roles are all of them, in the order in which people meet them.
func Roles() []Role { return []Role{WriteOnly, Prune, Restore, Copy, Repair, Admin, Sync} }

// About says what a role is for.
func (r Role) About() string {
	return map[Role]string{
		WriteOnly: "a host that backs up, and can neither read packs nor replace or delete anything",
		Prune:     "who forgets snapshots and deletes what none needs",
		Restore:   "who restores, looks, checks and drills; also the side that is copied from",
		Copy:      "the side of a copy that is written to",
		Repair:    "who mends what is damaged",
		Admin:     "who makes the repository, its keys and its locks",
		Sync:      "who mirrors plain files below a prefix",
	}[r]
}

// Options say for whom and about what a document is.
type Options struct {
	Role      Role
	Partition string // of Amazon's cloud: aws (empty), aws-cn, aws-us-gov
	Bucket    string
	Prefix    string   // of the repository in the bucket, or of the files that are mirrored; empty: all of it
	Scopes    []string // ids, 16 hexadecimal digits each, to which the rights are limited; empty: all. For WriteOnly and Prune
	Hosts     []string // ids, 32 hexadecimal digits each, to whose state they are limited; empty: all. For WriteOnly

	Cold       bool // file content lies in a class that has to be thawed
	Versions   bool // the bucket keeps versions of what is deleted, and who may delete may delete those; else they go by the rules of the bucket
	Lock       bool // the bucket has Object Lock: Prune and Admin see how long objects are locked, and extend that
	Transition bool // Prune may move packs into their cold class
	Probe      bool // the server and the rights may be examined by objects that are stored and deleted below "probe/"
}

// Error tells of options that make no document.
type Error struct {
	What   string // which option
	Value  string
	Reason string
}

func (e *Error) Error() string { return fmt.Sprintf("%s %q: %s", e.What, e.Value, e.Reason) }

// version is that of the language (IAM User Guide, "IAM JSON policy elements: Version").
const version = "2012-10-17"

// Document is a policy of IAM (IAM User Guide, "Grammar of the IAM JSON policy language").
type Document struct {
	Version   string
	Statement []Statement
}

// Statement allows or denies actions.
type Statement struct {
	Sid       string
	Effect    string `json:"Effect"` // Allow, Deny
	Principal string `json:",omitempty"`
	Action    []string
	Resource  []string
	Condition Condition `json:",omitempty"`
}

// Condition is operator, key, values.
type Condition map[string]map[string][]string

// JSON is the document as people read it.
func (d *Document) JSON() []byte { return indent(d) }

func indent(v any) []byte {
	var b strings.Builder
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	e.SetIndent("", "  ")
	if err := e.Encode(v); err != nil {
		panic(err) // these types always encode
	}
	return []byte(b.String())
}

// IAM returns the least document for a role.
func IAM(o Options) (*Document, error) {
	w, err := newWriter(o)
	if err != nil {
		return nil, err
	}
	switch o.Role {
	case WriteOnly:
		w.writeOnly()
	case Prune:
		w.prune()
	case Restore:
		w.restore()
	case Copy:
		w.copyTo()
	case Repair:
		w.repair()
	case Admin:
		w.admin()
	case Sync:
		w.sync()
	default:
		return nil, &Error{"role", string(o.Role), "there is no such role"}
	}
	return &Document{version, w.statements}, nil
}

// writer collects the statements of a document.
type writer struct {
	o          Options
	root       string // of names in the bucket, with a slash at its end, or empty
	statements []Statement
}

func newWriter(o Options) (*writer, error) {
	if o.Partition == "" {
		o.Partition = "aws"
	}
	if !slices.Contains([]string{"aws", "aws-cn", "aws-us-gov"}, o.Partition) {
		return nil, &Error{"partition", o.Partition, "want aws, aws-cn or aws-us-gov"}
	}
	if err := checkBucket(o.Bucket); err != nil {
		return nil, err
	}
	w := &writer{o: o}
	if w.root = strings.Trim(o.Prefix, "/"); w.root != "" {
		w.root += "/"
	}
	// What IAM reads as a pattern or a variable cannot stand for itself in a prefix (IAM User Guide, "IAM policy elements: Variables and tags").
	if strings.ContainsAny(w.root, "*?") || strings.Contains(w.root, "${") {
		return nil, &Error{"prefix", o.Prefix, "*, ? and ${ mean something else in a policy"}
	}
	for what, ids := range map[string][]string{"scope": o.Scopes, "host": o.Hosts} {
		digits := map[string]int{"scope": 16, "host": 32}[what]
		for _, id := range ids {
			if len(id) != digits || strings.Trim(id, "0123456789abcdef") != "" {
				return nil, &Error{what, id, fmt.Sprintf("want the %d hexadecimal digits of an id", digits)}
			}
		}
	}
	return w, nil
}

// checkBucket keeps patterns out of the place of a bucket's name (S3 User Guide, "General purpose bucket naming rules").
func checkBucket(name string) error {
	if len(name) < 3 || len(name) > 63 || strings.Trim(name, "abcdefghijklmnopqrstuvwxyz0123456789.-_ABCDEFGHIJKLMNOPQRSTUVWXYZ") != "" {
		return &Error{"bucket", name, "want 3 to 63 letters, digits, dots and hyphens"}
	}
	return nil
}

func (w *writer) bucket() string { return "arn:" + w.o.Partition + ":s3:::" + w.o.Bucket }

// scoped are the prefixes that areas have: one for each scope, or one for all.
func (w *writer) scoped(areas ...string) (prefixes []string) {
	for _, area := range areas {
		prefixes = append(prefixes, within(area, w.o.Scopes)...)
	}
	return prefixes
}

func within(area string, ids []string) (prefixes []string) {
	if len(ids) == 0 {
		return []string{area + "/"}
	}
	for _, id := range ids {
		prefixes = append(prefixes, area+"/"+id+"/")
	}
	return prefixes
}

// objects are the resources of names; one that ends in a slash stands for all below it.
func (w *writer) objects(names []string) (resources []string) {
	for _, name := range names {
		if name == "" || strings.HasSuffix(name, "/") {
			name += "*"
		}
		resources = append(resources, w.bucket()+"/"+w.root+name)
	}
	return resources
}

func (w *writer) allow(sid string, actions, resources []string, c Condition) {
	w.statements = append(w.statements, Statement{Sid: sid, Effect: "Allow", Action: actions, Resource: resources, Condition: c})
}

// create allows to store objects where there is none, and no others. names that may be sent in parts are parted, too.
func (w *writer) create(names, parted []string) {
	w.createWhole(names...)
	w.parts(parted)
}

func (w *writer) createWhole(names ...string) {
	w.allow("CreateOnly", []string{"s3:PutObject"}, w.objects(names), Condition{"Null": {"s3:if-none-match": {"false"}}})
}

// parts allows what an upload in parts asks for besides its completion, which is what makes the object and falls under the conditions for that.
func (w *writer) parts(names []string) {
	w.allow("SendParts", []string{"s3:PutObject"}, w.objects(names), Condition{"Bool": {"s3:ObjectCreationOperation": {"false"}}})
	w.allow("GoOnWithParts", []string{"s3:AbortMultipartUpload", "s3:ListMultipartUploadParts"}, w.objects(names), nil)
}

// read allows to read objects.
func (w *writer) read(sid string, names ...string) {
	w.allow(sid, []string{"s3:GetObject"}, w.objects(names), nil)
}

// list allows to list what lies below prefixes.
func (w *writer) list(prefixes ...string) {
	for i, p := range prefixes {
		prefixes[i] = w.root + p + "*"
	}
	w.allow("List", []string{"s3:ListBucket"}, []string{w.bucket()}, Condition{"StringLike": {"s3:prefix": prefixes}})
}

// see allows to list what lies below the root, and to be told that an object is not there, which S3 tells only to who may list; a request for an object has no prefix.
func (w *writer) see() {
	var c Condition
	if w.root != "" {
		c = Condition{"StringLikeIfExists": {"s3:prefix": {w.root + "*"}}}
	}
	w.allow("List", []string{"s3:ListBucket"}, []string{w.bucket()}, c)
}

// probe allows to find out what the server and the credentials can do.
func (w *writer) probe(reads bool) {
	if !w.o.Probe {
		return
	}
	actions := []string{"s3:PutObject", "s3:DeleteObject", "s3:RestoreObject", "s3:AbortMultipartUpload"}
	if !reads {
		actions = append(actions, "s3:GetObject")
	}
	w.allow("Probe", actions, w.objects([]string{"probe/"}), nil)
	w.allow("SeeSettings", []string{"s3:GetLifecycleConfiguration", "s3:GetBucketVersioning", "s3:GetBucketObjectLockConfiguration"}, []string{w.bucket()}, nil)
}

// proofs is where the outcomes of drills lie, of scopes or of all.
func (w *writer) proofs() (prefixes []string) {
	for _, s := range w.o.Scopes {
		prefixes = append(prefixes, "state/"+strings.Repeat("0", 16)+s+"/")
	}
	if len(prefixes) == 0 {
		prefixes = []string{"state/"}
	}
	return prefixes
}

func (w *writer) writeOnly() {
	packs := w.scoped("data", "meta")
	w.create(slices.Concat(packs, w.scoped("index", "packset", "snapshots"), within("state", w.o.Hosts)), packs)
	w.read("ReadWhatIsThere", slices.Concat([]string{"firn.json", "hosts/", "prune/"}, w.scoped("index", "snapshots"), w.proofs())...)
	// The names of packs are sums: who sees them in a listing knows whether they were stored before a run was cut off, and nothing else.
	prefixes := slices.Concat([]string{"hosts/", "prune/"}, w.scoped("index", "snapshots", "data", "meta"), w.proofs())
	if w.o.Probe {
		prefixes = append(prefixes, "probe/")
	}
	w.list(prefixes...)
	w.probe(false)
}

// thaw allows to have cold objects thawed.
func (w *writer) thaw() {
	if w.o.Cold {
		w.allow("Thaw", []string{"s3:RestoreObject"}, w.objects([]string{"data/"}), nil)
	}
}

// remove allows to delete objects, and what is kept of them. Where that is not allowed firn hides objects, and the rules of the bucket remove them.
func (w *writer) remove(names []string) {
	w.allow("Delete", []string{"s3:DeleteObject"}, w.objects(names), nil)
	if w.o.Versions {
		w.allow("DeleteVersions", []string{"s3:DeleteObjectVersion"}, w.objects(names), nil)
		w.allow("SeeVersions", []string{"s3:GetBucketVersioning", "s3:ListBucketVersions"}, []string{w.bucket()}, nil)
	}
}

func (w *writer) prune() {
	areas := append(w.scoped("data", "meta", "index", "packset", "snapshots"), "state/")
	w.see()
	names := append([]string{"firn.json", "hosts/", "prune/", "keys/", "state/"}, w.scoped("index", "packset", "snapshots", "meta")...)
	if w.o.Lock { // what is to be locked is asked for its lock first
		names = append(append(names, "RECOVER.md", "recover.py"), w.scoped("data")...)
	}
	w.read("Read", names...)
	w.createWhole(append([]string{"prune/"}, w.scoped("index")...)...)
	w.remove(append(areas, "prune/"))
	if w.o.Transition {
		actions := []string{"s3:PutObject"}
		if !w.o.Lock {
			actions = append(actions, "s3:GetObject")
		}
		w.allow("Move", actions, w.objects(w.scoped("data")), nil)
	}
	w.locks()
}

// locks allows to see how long objects are locked, and to extend that.
func (w *writer) locks() {
	if !w.o.Lock {
		return
	}
	if !w.o.Probe { // which sees them, too
		w.allow("SeeLocks", []string{"s3:GetBucketObjectLockConfiguration"}, []string{w.bucket()}, nil)
	}
	// Without the first a HEAD does not tell of a lock (S3 API Reference, "HeadObject"). Neither shortens one.
	w.allow("Locks", []string{"s3:GetObjectRetention", "s3:PutObjectRetention"}, w.objects([]string{""}), nil)
}

func (w *writer) restore() {
	w.see()
	w.read("Read", "")
	w.thaw()
	w.createWhole("state/") // the outcome of a drill
}

func (w *writer) copyTo() {
	packs := []string{"data/", "meta/"}
	w.create(append([]string{"index/", "packset/", "snapshots/", "hosts/"}, packs...), packs)
	w.see()
	w.read("ReadWhatIsThere", "firn.json", "hosts/", "index/", "snapshots/", "packset/", "prune/")
}

func (w *writer) repair() {
	w.see()
	w.read("Read", "")
	w.thaw()
	w.create([]string{"data/", "meta/", "index/", "packset/", "prune/"}, []string{"data/", "meta/"})
	w.remove([]string{"data/", "meta/", "index/", "packset/"})
}

func (w *writer) admin() {
	w.allow("MakeBucket", []string{"s3:CreateBucket"}, []string{w.bucket()}, nil)
	w.see()
	w.read("Read", "")
	w.createWhole("firn.json", "RECOVER.md", "recover.py", "keys/", "hosts/")
	w.remove([]string{"keys/"})
	w.probe(true)
	w.locks()
}

func (w *writer) sync() {
	w.see()
	all := w.objects([]string{""})
	w.allow("ReadAndWrite", []string{"s3:PutObject", "s3:GetObject", "s3:DeleteObject", "s3:AbortMultipartUpload", "s3:ListMultipartUploadParts"}, all, nil)
	if w.o.Cold {
		w.allow("Thaw", []string{"s3:RestoreObject"}, all, nil)
	}
}
