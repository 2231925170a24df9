package zfs_test

// A stand-in for zfs and zpool, for what zfs-fuse does not have: raw, compressed and large blocks, bookmarks, volumes, encryption, estimates, receives that can be resumed. It is this test's
// own program under another name. It keeps its pool in a file, says what OpenZFS 2 says, and its streams begin as those of ZFS do.

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"
)

func TestMain(m *testing.M) {
	if name := filepath.Base(os.Args[0]); name == "zfs" || name == "zpool" {
		os.Exit(standIn(name, os.Args[1:]))
	}
	os.Exit(m.Run())
}

// world is what the stand-in keeps.
type world struct {
	Health   string
	Datasets map[string]*fakeDataset
	Txg      uint64
	Calls    []string          // commands that were run
	Fail     map[string]string // by the begin of a command: what it says, failing
}

type fakeDataset struct {
	Type, Encryption, Mountpoint, Content, Token string
	Written                                      string
	Mounted                                      bool
	States                                       []*fakeState
	Props                                        map[string]string
}

type fakeState struct {
	Name     string // with @ or #
	GUID     uint64
	Txg      uint64
	Creation int64
	Content  string
	Holds    []string
	Props    map[string]string
}

// pool is a stand-in that programs find.
type pool struct {
	t    *testing.T
	file string
}

func newPool(t *testing.T) *pool {
	t.Helper()
	if runtime.GOOS == "windows" {
		t.Skip("needs links")
	}
	if testing.Short() && t.Name() != "TestModernPretend" {
		t.Skip("left out of short runs: it starts this program dozens of times, which takes long where races are looked for")
	}
	dir := t.TempDir()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"zfs", "zpool"} {
		if err := os.Symlink(self, filepath.Join(dir, name)); err != nil {
			t.Fatal(err)
		}
	}
	p := &pool{t, filepath.Join(dir, "world.json")}
	t.Setenv("PATH", dir+string(os.PathListSeparator)+os.Getenv("PATH"))
	t.Setenv("FIRN_TEST_WORLD", p.file)
	saveWorld(p.file, &world{Health: "ONLINE", Txg: 10, Fail: map[string]string{}, Datasets: map[string]*fakeDataset{
		"tank": {Type: "filesystem", Mountpoint: "/tank", Mounted: true}, "tank/home": {Type: "filesystem", Mountpoint: "/tank/home", Mounted: true, Content: "home"},
		"tank/home/secret": {Type: "filesystem", Encryption: "aes-256-gcm", Content: "secret"}, "tank/home/disk": {Type: "volume", Content: "disk"},
	}})
	return p
}

// change changes the world between two commands.
func (p *pool) change(fn func(w *world)) {
	w := loadWorld(p.file)
	fn(w)
	saveWorld(p.file, w)
}

// calls returns the commands since the last time that begin with a word.
func (p *pool) calls(word string) (list []string) {
	p.change(func(w *world) {
		for _, c := range w.Calls {
			if strings.HasPrefix(c, word+" ") {
				list = append(list, c)
			}
		}
		w.Calls = nil
	})
	return list
}

func loadWorld(file string) *world {
	w := &world{}
	b, err := os.ReadFile(file)
	if err == nil {
		err = json.Unmarshal(b, w)
	}
	if err != nil {
		panic(err)
	}
	return w
}

func saveWorld(file string, w *world) {
	b, err := json.Marshal(w)
	if err == nil {
		err = os.WriteFile(file+".new", b, 0o600)
	}
	if err == nil {
		err = os.Rename(file+".new", file)
	}
	if err != nil {
		panic(err)
	}
}

// usages are as OpenZFS prints them.
var usages = map[string]string{
	"send": `missing snapshot argument
usage:
	send [-DLPbcehnpsVvw] [-i|-I snapshot] <snapshot>
	send [-DnVvPLecw] [-i snapshot|bookmark] <filesystem|volume|snapshot>
	send [-DnPpVvLec] [-i bookmark|snapshot] --redact <bookmark> <snapshot>
	send [-nVvPe] -t <receive_resume_token>
`,
	"receive": `missing snapshot argument
usage:
	receive [-vMnsFhu] [-o <property>=<value>] ... [-x <property>] ...
	    <filesystem|volume|snapshot>
	receive -A <filesystem|volume>
`,
	"bookmark": `missing source argument
usage:
	bookmark <snapshot|bookmark> <newbookmark>
`,
	"get": `missing property argument
usage:
	get [-rHp] [-d max] [-o "all" | field[,...]]
	    [-t type[,...]] [-s source[,...]]
	    <"all" | property[,...]> [filesystem|volume|snapshot|bookmark] ...

The following properties are supported:

	PROPERTY       EDIT  INHERIT   VALUES
	creation         NO       NO   <date>
	encryption       NO      YES   on | off
	guid             NO       NO   <uint64>
	mounted          NO       NO   yes | no
	mountpoint      YES      YES   <path> | legacy | none
	receive_resume_token  NO       NO   <string token>
	referenced       NO       NO   <size>
	type             NO       NO   filesystem | volume | snapshot | bookmark
	userrefs         NO       NO   <count>
	written          NO       NO   <size>
`}

type fakeError string

func (e fakeError) Error() string { return string(e) }

// standIn is the stand-in's main.
func standIn(program string, args []string) int {
	file := os.Getenv("FIRN_TEST_WORLD")
	w := loadWorld(file)
	if program == "zfs" && len(args) == 1 && usages[args[0]] != "" {
		fmt.Fprint(os.Stderr, usages[args[0]])
		return 2
	}
	line := strings.Join(args, " ")
	w.Calls = append(w.Calls, line)
	err := w.do(program, args)
	saveWorld(file, w)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return 0
}

func (w *world) do(program string, args []string) error {
	for begin, text := range w.Fail {
		if strings.HasPrefix(strings.Join(args, " "), begin) {
			if text == "hang" {
				time.Sleep(10 * time.Minute) // until it is stopped
			}
			return fakeError(text)
		}
	}
	var flags []string
	options := map[string]string{}
	rest := args[1:]
	for len(rest) > 0 && strings.HasPrefix(rest[0], "-") {
		f := rest[0]
		rest = rest[1:]
		if strings.Contains("-o -t -d -i -I", f) {
			if k, v, ok := strings.Cut(rest[0], "="); ok && f == "-o" {
				options[k] = v
			}
			options[f] = rest[0]
			rest = rest[1:]
			continue
		}
		flags = append(flags, f)
	}
	has := func(f string) bool { return slices.Contains(flags, f) }
	last := rest[len(rest)-1]
	switch program + " " + args[0] {
	case "zpool list":
		if last != "tank" {
			return fakeError("cannot open '" + last + "': no such pool")
		}
		fmt.Println(w.Health)
		return nil
	case "zfs get":
		return w.get(strings.Split(rest[0], ","), last, options["-o"], has("-r"), strings.Contains(options["-t"], "bookmark"))
	case "zfs snapshot":
		return w.snapshot(last, has("-r"), options)
	case "zfs send":
		return w.send(last, options, has("-nP"))
	case "zfs receive":
		if has("-A") {
			w.Datasets[last].Token = ""
			return nil
		}
		return w.receive(last, has("-F"))
	}
	return w.alter(args[0], rest)
}

// alter is for commands that change one thing.
func (w *world) alter(command string, rest []string) error {
	last := rest[len(rest)-1]
	switch command {
	case "create":
		w.Datasets[last] = &fakeDataset{Type: "filesystem"}
	case "mount":
		w.Datasets[last].Mounted = true
	case "bookmark":
		_, s := w.find(rest[0])
		d, old := w.find(last)
		if old != nil {
			return fakeError("cannot create bookmark '" + last + "': bookmark exists")
		}
		d.States = append(d.States, &fakeState{Name: last[strings.Index(last, "#"):], GUID: s.GUID, Txg: s.Txg, Creation: s.Creation})
	case "set", "hold", "release", "destroy":
		names := rest[1:]
		if command == "destroy" {
			names = rest
		}
		for _, n := range names {
			d, s := w.find(n)
			if s == nil {
				return fakeError("cannot open '" + n + "': dataset does not exist")
			}
			if err := s.alter(command, n, rest[0], d); err != nil {
				return err
			}
		}
	default:
		return fakeError("unrecognized command '" + command + "'")
	}
	return nil
}

func (s *fakeState) alter(command, name, arg string, d *fakeDataset) error {
	switch command {
	case "set":
		k, v, _ := strings.Cut(arg, "=")
		s.Props[k] = v
	case "hold":
		if slices.Contains(s.Holds, arg) {
			return fakeError("cannot hold snapshot '" + name + "': tag already exists on this dataset")
		}
		s.Holds = append(s.Holds, arg)
	case "release":
		if !slices.Contains(s.Holds, arg) {
			return fakeError("cannot release hold from snapshot '" + name + "': no such tag on this dataset")
		}
		s.Holds = slices.DeleteFunc(s.Holds, func(h string) bool { return h == arg })
	case "destroy":
		if len(s.Holds) > 0 {
			return fakeError("cannot destroy snapshot " + name + ": dataset is busy")
		}
		d.States = slices.DeleteFunc(d.States, func(o *fakeState) bool { return o == s })
	}
	return nil
}

// find finds a dataset, and a snapshot or bookmark of it.
func (w *world) find(name string) (*fakeDataset, *fakeState) {
	at := strings.IndexAny(name, "@#")
	if at < 0 {
		return w.Datasets[name], nil
	}
	d := w.Datasets[name[:at]]
	if d == nil {
		return nil, nil
	}
	for _, s := range d.States {
		if s.Name == name[at:] {
			return d, s
		}
	}
	return d, nil
}

func (w *world) get(props []string, root, columns string, recursive, bookmarks bool) error {
	if w.Datasets[root] == nil {
		return fakeError("cannot open '" + root + "': dataset does not exist")
	}
	for name, d := range w.Datasets {
		if name != root && !(recursive && strings.HasPrefix(name, root+"/")) {
			continue
		}
		or := func(v, otherwise string) string {
			if v == "" {
				return otherwise
			}
			return v
		}
		own := map[string]string{"type": d.Type, "encryption": or(d.Encryption, "off"), "mountpoint": or(d.Mountpoint, "none"), "mounted": map[bool]string{true: "yes", false: "no"}[d.Mounted],
			"receive_resume_token": or(d.Token, "-"), "referenced": strconv.Itoa(len(d.Content)), "written": or(d.Written, "0"), "guid": "1", "createtxg": "1"}
		line := func(name, prop, value, from string) {
			if columns == "value,source" {
				fmt.Printf("%s\t%s\n", or(value, "-"), from)
				return
			}
			fmt.Printf("%s\t%s\t%s\t%s\n", name, prop, or(value, "-"), from)
		}
		for _, p := range props {
			line(name, p, own[p], "-")
		}
		for _, s := range d.States {
			if s.Name[0] == '#' && !bookmarks {
				continue
			}
			own := map[string]string{"guid": strconv.FormatUint(s.GUID, 10), "createtxg": strconv.FormatUint(s.Txg, 10), "creation": strconv.FormatInt(s.Creation, 10),
				"userrefs": strconv.Itoa(len(s.Holds)), "referenced": strconv.Itoa(len(s.Content))}
			for _, p := range props {
				if v, ok := s.Props[p]; ok {
					line(name+s.Name, p, v, "local")
				} else {
					line(name+s.Name, p, own[p], "-")
				}
			}
		}
	}
	return nil
}

func (w *world) snapshot(name string, recursive bool, options map[string]string) error {
	root, at, _ := strings.Cut(name, "@")
	w.Txg++
	for n, d := range w.Datasets {
		if n != root && !(recursive && strings.HasPrefix(n, root+"/")) {
			continue
		}
		if _, old := w.find(n + "@" + at); old != nil {
			return fakeError("cannot create snapshot '" + n + "@" + at + "': dataset already exists")
		}
		props := map[string]string{}
		for k, v := range options {
			if strings.HasPrefix(k, "firn:") {
				props[k] = v
			}
		}
		d.States = append(d.States, &fakeState{Name: "@" + at, GUID: w.Txg<<40 + uint64(len(n)), Txg: w.Txg, Creation: 1784430000 + int64(w.Txg)*86400, Content: d.Content, Props: props})
	}
	return nil
}

func (w *world) send(name string, options map[string]string, estimate bool) error {
	_, s := w.find(name)
	if s == nil {
		return fakeError("cannot open '" + name + "': dataset does not exist")
	}
	var b bytes.Buffer
	head := make([]byte, 312)
	binary.LittleEndian.PutUint64(head[8:], 0x2F5bacbac)
	head[16] = 1
	binary.LittleEndian.PutUint64(head[40:], s.GUID)
	if from := options["-i"]; from != "" {
		_, f := w.find(from)
		if f == nil {
			return fakeError("cannot open '" + from + "': dataset does not exist")
		}
		binary.LittleEndian.PutUint64(head[48:], f.GUID)
	}
	copy(head[56:], name)
	b.Write(head)
	b.WriteString(s.Content)
	if estimate {
		fmt.Printf("full\t%s\t%d\nsize\t%d\n", name, b.Len(), b.Len())
		return nil
	}
	_, err := os.Stdout.Write(b.Bytes())
	return err
}

func (w *world) receive(name string, force bool) error {
	b, err := io.ReadAll(os.Stdin)
	if err != nil || len(b) < 312 {
		return fakeError("cannot receive: failed to read from stream")
	}
	from := binary.LittleEndian.Uint64(b[48:])
	d := w.Datasets[name]
	switch {
	case d != nil && d.Token != "":
		return fakeError("cannot receive new filesystem stream: destination " + name + " contains partially-complete state from \"zfs receive -s\".")
	case from == 0 && d != nil && !force:
		return fakeError("cannot receive new filesystem stream: destination '" + name + "' exists\nmust specify -F to overwrite it")
	case from != 0 && d == nil:
		return fakeError("cannot receive incremental stream: destination '" + name + "' does not exist")
	case from != 0 && d.States[len(d.States)-1].GUID != from:
		return fakeError("cannot receive incremental stream: most recent snapshot of " + name + " does not\nmatch incremental source")
	case d == nil:
		d = &fakeDataset{Type: "filesystem", Mountpoint: "/" + name}
		w.Datasets[name] = d
	}
	w.Txg++
	sent := string(bytes.TrimRight(b[56:312], "\x00"))
	d.Content = string(b[312:])
	d.States = append(d.States, &fakeState{Name: sent[strings.Index(sent, "@"):], GUID: binary.LittleEndian.Uint64(b[40:]), Txg: w.Txg, Content: d.Content, Props: map[string]string{}})
	return nil
}
