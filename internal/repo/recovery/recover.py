#!/usr/bin/env python3
"""Restores from a firn repository without firn. Needs Python 3.8 or newer and the programs age and zstd (and par2, to mend damaged packs).

  recover.py REPO KEY                           list the snapshots
  recover.py REPO KEY --list SNAPSHOT[:PATH]    print the data objects that a restore needs; reads none of them
  recover.py REPO KEY SNAPSHOT[:PATH] TARGET    restore into the folder TARGET, which has to be new or empty

REPO      folder with a copy of the repository, or of keys/ snapshots/ packset/ index/ meta/ and what --list prints
KEY       REPO/keys/NAME.age (age asks for the passphrase), or your own age or SSH identity, or what age -d made of a keys/NAME.age
SNAPSHOT  an id, the beginning of one, or latest; PATH is relative to what was backed up

The SHA-256 of every pack and the MACs of all that leads to it are checked, so somebody with a key of the repository made it. Who of them,
only the Ed25519 signatures tell, which are not checked here. Work files, secrets among them, lie in a folder in $TMPDIR until the end.
Section numbers (§) are those of docs/FORMAT.md of firn."""
import base64, collections, hashlib, hmac, itertools, json, os, shutil, sqlite3, stat, struct, subprocess, sys, tempfile

FAULTS = (OSError, ValueError, KeyError, struct.error, subprocess.CalledProcessError, NotImplementedError, AttributeError)
problems = []

def note(*words): print("recover:", *words, file=sys.stderr, flush=True)

def problem(path, why): problems.append(note("PROBLEM with %s: %s" % (os.fsdecode(path), why)))

def run(*command, **more): return subprocess.run(command, check=True, stdout=subprocess.PIPE, **more).stdout

def text(member, name):  # of a JSON object: as it stands, or in base64 where it is not UTF-8
    return base64.b64decode(member[name + "_b64"]) if name + "_b64" in member else member.get(name, "").encode()

def order(path): return path.replace(b"/", b"\0")  # paths sort by component (§7.4)

def sha256(path):
    with open(path, "rb") as f:
        total = hashlib.sha256()
        for part in iter(lambda: f.read(1 << 20), b""): total.update(part)
        return total.hexdigest()

class Repository:
    def __init__(self, folder, key, tmp):
        self.folder, self.tmp, self.key, self.secrets = folder, tmp, os.path.join(tmp, "d.key"), None
        self.unpacked = collections.OrderedDict()
        with open(key, "rb") as f: found = f.read()
        if found.startswith((b"age-encryption.org/", b"-----BEGIN AGE")): found = run("age", "-d", key)  # age asks for the passphrase
        for attempt in [None] + [name for name in self.names("keys") if name.endswith(".age")]:
            if attempt:  # KEY is somebody's own identity: one of keys/ opens with it (§4.1)
                opened = subprocess.run(("age", "-d", "-i", self.key, self.path(attempt)), stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
                found = opened.stdout if opened.returncode == 0 else found
            mark = [line for line in found.splitlines() if line.startswith(b"# firn-secrets: ")]
            if mark: self.secrets = json.loads(base64.b64decode(mark[0][16:]))
            with open(self.key, "wb") as f: f.write(found)
            if mark: break
        else: note("KEY opens nothing in keys/ (AGE-SECRET-KEY-PQ needs age 1.3 or newer); trying it as it is, without a look at the MACs")
        self.db = sqlite3.connect(os.path.join(tmp, "db"))
        self.db.executescript("""pragma journal_mode = off; pragma synchronous = off; pragma cache_size = -100000;
            create table pack (n integer primary key, name text unique, size integer);
            create table chunk (id blob primary key, pack integer, pos integer, length integer) without rowid;
            create table entry (n integer primary key, path blob, line blob, link blob);
            create table piece (id blob, off integer, length integer, file integer, at integer);""")

    def path(self, name): return os.path.join(self.folder, *name.split("/"))

    def names(self, prefix): return [prefix + "/" + n for n in sorted(os.listdir(self.path(prefix)))] if os.path.isdir(self.path(prefix)) else []

    def envelope(self, kind, name):
        """The body of an envelope (§5). Its plaintext ends with MAC (32 bytes) and signature (64), in a frame that zstd skips."""
        plain = run("age", "-d", "-i", self.key, self.path(name))
        body = run("zstd", "-dcq", input=plain)
        if self.secrets:
            scope, salt, key = name.split("/")[1], bytes.fromhex(self.secrets["repository"]), base64.b64decode(self.secrets["master"])
            for info in (b"firn/1 scope secret\0" + scope.encode(), b"firn/1 mac key"):  # HKDF, one block (§4, RFC 5869)
                key = hmac.new(hmac.new(salt, key, "sha256").digest(), info + b"\1", "sha256").digest()
            message = "firn/1\n%s\n%s\n%s\n%s\n" % (kind, salt.hex(), scope, hashlib.sha256(body).hexdigest())
            if not hmac.compare_digest(hmac.new(key, message.encode(), "sha256").digest(), plain[-96:-64]):
                raise ValueError("nobody with a key of this repository wrote it: its MAC is wrong")
        return body

    def bodies(self, kind, names):
        for name in names:
            try: yield name, self.envelope(kind, name)
            except FAULTS as why: problem(name, why)

    def snapshots(self):
        found = []
        for name, body in self.bodies("snapshot", [n for scope in self.names("snapshots") for n in self.names(scope) if not n.endswith(".done")]):
            s = json.loads(body)
            s["state"] = "partial" if not s["complete"] else "done" if os.path.exists(self.path(name + ".done")) else "unconfirmed"
            s["what"] = "%s:%s" % (s["host"], s["source"]["name"] or os.fsdecode(text(s["source"], "path")))
            found.append(s)
        return sorted(found, key=lambda s: (s["source"]["id"], s["sequence"], s["time"]))

    def choose(self, wish):
        found = [s for s in self.snapshots() if (s["state"] == "done" if wish == "latest" else s["id"].startswith(wish))]
        if wish == "latest" and len({s["source"]["id"] for s in found}) == 1: found = found[-1:]
        if len(found) != 1: sys.exit("recover: %d snapshots are %r; the list (recover.py REPO KEY) shows their ids" % (len(found), wish))
        note("snapshot %(id)s of %(what)s, %(time)s, %(state)s" % found[0])
        return found[0]

    def load(self, scope, parts):
        """Learns where the chunks of a snapshot lie: in which pack, and where in that pack's decompressed content (§8, §9)."""
        wanted, known = set(), set()
        for _, body in self.bodies("packset", ["packset/%s/%s" % (scope, part["object"]) for part in parts]):
            wanted.update(body[i:i + 32].hex() for i in range(0, len(body), 32))
        for _, body in self.bodies("index", self.names("index/" + scope)):
            at = 12 + struct.unpack_from("<I", body, 8)[0]
            while at < len(body):
                size, = struct.unpack_from("<I", body, at)
                pack, (count,) = json.loads(body[at + 4:at + 4 + size]), struct.unpack_from("<I", body, at + 4 + size)
                at += 8 + size + 40 * count
                if pack["pack"] in wanted or problems:  # where something is lost, any pack may help
                    known.add(pack["pack"])
                    self.add_pack("%s/%s/%s/%s" % (pack["kind"], scope, pack["pack"][:2], pack["pack"]), pack["size"], body[at - 40 * count:at])
        for pack in sorted(wanted - known):  # in no index that is left: its own table tells (§6)
            names = ["%s/%s/%s/%s" % (kind, scope, pack[:2], pack) for kind in ("meta", "data")]
            for name in [n for n in names if os.path.exists(self.path(n))] or problem(pack, "this pack of data/ or meta/ is in no index, and not here") or ():
                with tempfile.TemporaryFile(dir=self.tmp) as f:
                    subprocess.run(("age", "-d", "-i", self.key, self.path(name)), stdout=f)
                    f.seek(-12, os.SEEK_END)
                    f.seek(-struct.unpack("<I", f.read(4))[0], os.SEEK_END)
                    self.add_pack(name, os.path.getsize(self.path(name)), f.read(40 * struct.unpack("<24xI", f.read(28))[0]))

    def add_pack(self, name, size, table):
        n, rows, pos = self.db.execute("insert or ignore into pack (name, size) values (?, ?)", (name, size)).lastrowid, [], 0
        for chunk, _, length in struct.iter_unpack("<32sII", table):
            rows.append((chunk, n, pos, length))
            pos += length
        verb = "replace" if os.path.exists(self.path(name)) else "ignore"  # of two packs, the one that is here
        self.db.executemany("insert or %s into chunk values (?, ?, ?, ?)" % verb, rows)

    def chunk(self, ident):
        """The content of a chunk of a manifest. Its pack is unpacked into a file; the latest of these files stay."""
        n, pos, length = self.db.execute("select pack, pos, length from chunk where id = ?", (ident,)).fetchone() or (None, 0, 0)
        if n is None: raise ValueError("chunk %s is in no pack" % ident.hex())
        if n not in self.unpacked:
            if len(self.unpacked) >= 32: os.remove(self.unpacked.popitem(last=False)[1])
            with open(os.path.join(self.tmp, "pack%d" % n), "wb") as f, Pack(self, n) as pack: shutil.copyfileobj(pack.out, f, 1 << 20)
            self.unpacked[n] = f.name
        self.unpacked.move_to_end(n)
        with open(self.unpacked[n], "rb") as f:
            f.seek(pos)
            content = f.read(length)
        if len(content) < length: raise ValueError("a pack in meta/ is damaged")
        return content

    def lines(self, tree, lo=None, hi=None, path=b"", size=None):
        """The lines of a line tree (§7.3): of a manifest those from lo to before hi, and some more; of a file's content all."""
        def below(chunk, level, size):
            try: part = self.chunk(chunk).split(b"\n")[:-1]
            except FAULTS as why:
                problem(path, "a part of the list of its %s is lost: %s" % ("content" if size else "files", why))
                part, level = [b"[null,0,%d]" % size] if size else [], 0
            if level == 0: return (yield from part)
            nodes = [json.loads(line) for line in part]
            keys = [order(text(node, "first")) for node in nodes] + [None]
            for node, first, after in zip(nodes, keys, keys[1:]):
                if lo is None or first < hi and (after is None or after > lo):
                    yield from below(bytes.fromhex(node["chunk"]), level - 1, node.get("size"))
        return below(bytes.fromhex(tree["chunk"]), tree["level"], size) if tree["chunk"] else iter(())

    def select(self, tree, path):
        """Writes down the entries at and below path, with their names in the target, and the pieces of their content (§7.4)."""
        inside = lambda name: not path or name == path or name.startswith(path + b"/")
        lo, hi, strip = (order(path), order(path) + b"\1", len(path) + 1) if path else (None, None, 0)
        firsts, count = {}, 0
        for e in map(json.loads, self.lines(tree, lo, hi, path)):
            name, first = text(e, "path"), text(e, "hardlink")
            if not inside(name): continue
            if name and not {b"", b".", b".."}.isdisjoint(name.split(b"/")) or b"\0" in name or os.sep == "\\" and (b"\\" in name or b":" in name):
                problem(name, "not a path that can be restored")
                continue
            if name == path and e["type"] != "dir": strip = name.rfind(b"/") + 1
            name, count, link = name[strip:], count + 1, first[strip:] if first else None
            if first and not inside(first):  # its content is under a name that was not asked for
                link = firsts.get(first)
                if link is None:
                    found = map(json.loads, self.lines(tree, order(first), order(first) + b"\0", path))
                    e, firsts[first] = next((f for f in found if text(f, "path") == first), e), name
            self.db.execute("insert into entry values (?, ?, ?, ?)", (count, name, json.dumps(e), link))
            big, at = e.get("content_tree"), 0
            for chunk, off, length in map(json.loads, self.lines(big, path=name, size=e["size"])) if big else e.get("content", ()):
                if chunk: self.db.execute("insert into piece values (?, ?, ?, ?, ?)", (bytes.fromhex(chunk), off, length, count, at))
                at += length
            if "error" in e: note("%s was not read whole when it was backed up: %s" % (os.fsdecode(name), e["error"]))
        if not count: sys.exit("recover: %r is not in this snapshot" % os.fsdecode(path))

class Pack:
    """The decompressed content of a pack, which is its chunks one after another, read from the start on."""
    def __init__(self, repo, n):
        (self.name,), self.at = repo.db.execute("select name from pack where n = ?", (n,)).fetchone(), 0
        file = repo.path(self.name)
        if not os.path.exists(file): raise ValueError("%s is not here" % self.name)
        if sha256(file) != self.name[-64:]: file = self.mend(file, os.path.join(repo.tmp, "mend"))
        self.age = subprocess.Popen(("age", "-d", "-i", repo.key, file), stdout=subprocess.PIPE)
        self.zstd = subprocess.Popen(("zstd", "-dcq"), stdin=self.age.stdout, stdout=subprocess.PIPE, bufsize=1 << 20)
        self.out = self.zstd.stdout

    def __enter__(self): return self

    def __exit__(self, *_):
        for program in (self.zstd, self.age): program.stdout.close()
        for program in (self.zstd, self.age): program.wait()

    def mend(self, file, folder):
        copy = os.path.join(folder, os.path.basename(file))
        if os.path.exists(file + ".par2") and shutil.which("par2"):
            shutil.rmtree(folder, ignore_errors=True)
            os.mkdir(folder)
            for end in ("", ".par2"): shutil.copy(file + end, copy + end)
            subprocess.run(("par2", "r", "-q", "-q", copy + ".par2"), stdout=subprocess.DEVNULL)
            if sha256(copy) == self.name[-64:]: return note("par2 mended a copy of", self.name) or copy
        return problem(self.name, "its SHA-256 is wrong; taking what opens") or file

    def read(self, pos, length):
        while self.at < pos: self.at += len(self.out.read(min(pos - self.at, 1 << 20))) or sys.maxsize  # behind its end
        content = self.out.read(length) if self.at == pos else b""
        self.at += len(content)
        if len(content) < length: raise ValueError("%s is damaged" % self.name)
        return content

def restore(repo, target):
    join = lambda path: os.path.join(target, path) if path else target
    for path, line, link in repo.db.execute("select path, line, link from entry order by n"):
        e = json.loads(line)
        try:
            os.makedirs(join(path) if e["type"] == "dir" else os.path.dirname(join(path)), exist_ok=True)
            if e["type"] == "file" and link is None:
                with open(join(path), "xb") as f: f.truncate(e["size"])  # what is not written stays a hole
        except FAULTS as why: problem(path, why)
    rows = repo.db.execute("""select chunk.pack, chunk.pos, chunk.length, piece.off, piece.length, piece.at, entry.path
        from piece join entry on piece.file = entry.n left join chunk on piece.id = chunk.id order by 1, 2, piece.file, piece.at""")
    lost, number = {}, 0
    for n, pieces in itertools.groupby(rows, key=lambda row: row[0]):  # each pack once
        pack, have, content, number = None, None, b"", number + 1
        note("pack", number)
        for _, pos, length, off, want, at, path in pieces:
            try:
                if n is None: raise ValueError("a chunk of it is in no pack")
                pack = pack or Pack(repo, n)
                if have != pos: content, have = pack.read(pos, length), pos
                with open(join(path), "r+b") as f:
                    f.seek(at)
                    f.write(content[off:off + want])
            except FAULTS as why: lost.setdefault(path, why)
        if pack: pack.__exit__()
    for path, why in lost.items(): problem(path, "not whole: %s" % why)
    for way, folders in (("asc", False), ("desc", True)):  # folders last, the deepest first
        for path, line, link in repo.db.execute("select path, line, link from entry order by n " + way):
            e = json.loads(line)
            if (e["type"] == "dir") != folders: continue
            try: finish(join(path), e, None if link is None else join(link))
            except FAULTS as why: problem(path, why)

def finish(path, e, link):
    if link is not None: return os.link(link, path, follow_symlinks=False)
    if e["type"] == "socket": return note("%s: sockets are not restored" % os.fsdecode(path))
    if e["type"] == "symlink": os.symlink(text(e, "target"), path)
    if e["type"] == "fifo": os.mkfifo(path)
    if "rdev" in e: os.mknod(path, 0o600 | (stat.S_IFCHR if e["type"] == "char" else stat.S_IFBLK), os.makedev(*e["rdev"]))
    if hasattr(os, "geteuid") and os.geteuid() == 0: os.chown(path, e["uid"], e["gid"], follow_symlinks=False)
    if e["type"] != "symlink": os.chmod(path, int(e["mode"], 8))
    for name, value, *other in e.get("xattrs", []):
        try: os.setxattr(path, base64.b64decode(other[0]) if other else name.encode(), base64.b64decode(value), follow_symlinks=False)
        except FAULTS as why: problem(path, "attribute %s: %s" % (name, why))
    when = [int(number) for number in e["mtime"].split(".")]
    os.utime(path, ns=(when[0] * 10**9 + when[1],) * 2, follow_symlinks=False)

def main(args):
    listing, args = "--list" in args, [a for a in args if a != "--list"]
    if len(args) not in ((3,) if listing else (2, 4)): sys.exit(__doc__)
    for program in ("age", "zstd"): shutil.which(program) or sys.exit("recover: the program %s is needed" % program)
    if len(args) == 4 and os.path.exists(args[3]) and os.listdir(args[3]): sys.exit("recover: %r is not empty" % args[3])
    os.umask(0o077)
    with tempfile.TemporaryDirectory(prefix="recover-") as tmp:
        repo = Repository(args[0], args[1], tmp)
        if len(args) == 2:
            for s in repo.snapshots():
                print("%s  %s  %-11s  %9d files  %15d bytes  %s" % (s["id"], s["time"][:19], s["state"], s["stats"]["files"], s["stats"]["bytes"], s["what"]))
        else:
            wish, _, path = args[2].partition(":")
            snapshot = repo.choose(wish)
            repo.load(snapshot["scope"], snapshot["packs"])
            repo.select(snapshot["manifest"], os.fsencode(path).strip(b"/"))
            if not listing: restore(repo, os.fsencode(args[3]))
            packs = repo.db.execute("select name, size from pack where n in (select pack from chunk join piece using (id)) order by name").fetchall()
            if listing: print("".join(name + "\n" for name, _ in packs), end="")
            note("%d objects, %d bytes" % (len(packs), sum(size for _, size in packs)))
        repo.db.close()
    if problems: sys.exit("recover: %d problems, named above" % len(problems))

if __name__ == "__main__":
    try: main(sys.argv[1:])
    except subprocess.CalledProcessError as e: sys.exit("recover: %s failed" % " ".join(e.cmd))
    except OSError as e: sys.exit("recover: %s" % e)
