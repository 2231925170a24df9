package sync

import (
	"firn/internal/bucket"
)

// Action is what becomes of a file.
type Action string

// The actions.
const (
	Upload   Action = "upload"
	Download Action = "download"
	Copy     Action = "copy"
	Touch    Action = "touch" // only metadata
	Delete   Action = "delete"
	Equal    Action = "same"
	Keep     Action = "keep" // newer at the target
	Thaw     Action = "thaw"
	Refuse   Action = "refuse"
	Extra    Action = "extra" // the target alone has it, and nothing is to be deleted
)

// Item is one file and what was done with it.
type Item struct {
	Action  Action
	Path    string // below the folder or prefix
	Key     string // of the object, whole
	New     bool   // the target did not have it
	Size    int64
	Class   string
	Change  string // letters: c content, s size, t time, m metadata, of what differs
	Replace string // class of the object that is replaced, where there is one
	Link    bool
	Folder  bool
}

// Itemized is the item as rsync --itemize-changes prints it, as far as that has letters for it: "<" is sent, ">" is got, "c" is copied by the server, "." only metadata changed.
func (i *Item) Itemized() string {
	kind := "f"
	switch {
	case i.Link:
		kind = "L"
	case i.Folder:
		kind = "d"
	}
	head := map[Action]string{Upload: "<", Download: ">", Copy: "c", Touch: ".", Equal: ".", Keep: "."}[i.Action]
	switch i.Action {
	case Delete:
		return "*deleting  "
	case Extra:
		return "*extra     "
	case Thaw:
		return "*thawing   "
	case Refuse:
		return "*refused   "
	}
	if i.New {
		return head + kind + "+++++++++"
	}
	marks := []byte(".........")
	for _, c := range i.Change {
		switch c {
		case 'c':
			marks[0] = 'c'
		case 's':
			marks[1] = 's'
		case 't':
			marks[2] = 't'
		case 'm':
			marks[3] = 'p'
		}
	}
	if i.Action == Equal || i.Action == Keep {
		marks = []byte("         ")
	}
	return head + kind + string(marks)
}

// localFile is what the walk of a folder tells.
type localFile struct {
	path  string // below the folder, with slashes
	key   string // below the prefix
	abs   string // absolute, of what a symlink led to; empty: it lies in the folder itself
	link  string // target of a symlink that is kept
	size  int64
	mtime int64 // nanoseconds since 1970
	ctime int64
	inode uint64
	mode  uint32 // with the type, as s3fs has it
	uid   uint32
	gid   uint32
	dir   bool
	isLnk bool
	left  bool // it is there, and nothing is made of it

	listed *listed // sum in a list; nil: none
}

// object is an object with its key below the prefix.
type object struct {
	bucket.Object
	key string
}

// job is one file that has to be dealt with.
type job struct {
	action  Action
	key     string
	local   *localFile // file of the source, or of the target
	from    *object    // object of the source
	to      *object    // object of the target
	entry   *entryRef  // that counts for the object
	known   *entryRef  // whatever the ledger has
	change  string
	compare bool  // contents first
	agreed  bool  // what it costs
	again   bool  // it was blocked before
	told    bool  // to whoever wants a report
	asked   int64 // when the object was asked to be thawed, seconds since 1970
}
