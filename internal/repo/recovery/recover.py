#!/usr/bin/env python3
"""Restores from a firn repository without firn. Needs a Unix with Python 3.8, age and zstd (and par2, to mend damaged packs).

  recover.py REPO KEY                           list the snapshots
  recover.py REPO KEY SNAPSHOT[:PATH] TARGET    restore into the folder TARGET, which has to be new or empty
  recover.py REPO KEY --list SNAPSHOT[:PATH]    list the packs of data/ that a restore needs: name, class, bytes, here or missing; reads none of them

Print commands of the AWS program, one a line, for those that are missing here; the repository lies in S3 at WHERE, s3://BUCKET/PREFIX:
  recover.py REPO KEY --thaw SNAPSHOT[:PATH] WHERE [DAYS [TIER]]    ask for copies that stay for DAYS (10); TIER: Bulk, Standard, Expedited or none
  recover.py REPO KEY --status SNAPSHOT[:PATH] WHERE                ask how far that is: thawed where it says ongoing-request="false"
  recover.py REPO KEY --fetch SNAPSHOT[:PATH] WHERE                 copy them into REPO

REPO: a folder with a copy of the repository, or of its keys/ snapshots/ packset/ index/ meta/ and of the packs that --list names
KEY: REPO/keys/NAME.age (age asks for its passphrase), or what age -d -i IDENTITY REPO/keys/NAME.age printed
SNAPSHOT: an id, the beginning of one, or latest; PATH is relative to what was backed up
It checks SHA-256, but no signatures. It takes about 1 kB of memory a file. Sections (§) are those of docs/FORMAT.md of firn."""
import atexit, base64, glob, hashlib, itertools, json, os, pathlib, shlex, shutil, stat, struct, subprocess, sys, tempfile, zlib

def note(*words): print("recover:", *words, file=sys.stderr, flush=True)
def run(*command, **more): return subprocess.run(command, check=True, stdout=subprocess.PIPE, **more).stdout
def right(file): return hashlib.sha256(pathlib.Path(file).read_bytes()).hexdigest() == os.path.basename(file)
def text(o, name): return base64.b64decode(o[name + "_b64"]) if name + "_b64" in o else o.get(name, "").encode()
def order(path): return path and b"\0" + path.replace(b"/", b"\0")  # paths sort by component (§7.4)
def rows(pack): return struct.iter_unpack("<32sII", packs[pack])  # id, frame length and content length of its chunks (§8)
def needed(wanted): return (n for n in sorted(packs, reverse=True) if any(row[0] in wanted for row in rows(n)))  # meta/ first
def problem(what, why):
    if what not in problems: problems[what] = note("PROBLEM with %s: %s" % (os.fsdecode(what), why))
def read(name, parse):  # an envelope (§5)
    try: return parse(run("zstd", "-dcq", input=run("age", "-d", "-i", key, name)))
    except Exception as why: problem(name, why)
def describe(raw):  # a snapshot (§10)
    s = json.loads(raw)
    s["state"] = "partial" if not s["complete"] else "done" if glob.glob("snapshots/*/%(id)s.done" % s) else "unconfirmed"
    return {**s["stats"], **s, "what": "%s:%s" % (s["host"], s["source"]["name"] or os.fsdecode(text(s["source"], "path")))}
def learn(raw):  # an index (§8)
    at = 12 + struct.unpack_from("<I", raw, 8)[0]
    while at < len(raw):
        end = at + 4 + struct.unpack_from("<I", raw, at)[0]
        pack, at = json.loads(raw[at + 4:end]), end + 4 + 40 * struct.unpack_from("<I", raw, end)[0]
        if pack["pack"] in wanted or problems:  # where something is lost, any pack may help
            if pack["kind"] not in ("data", "meta") or len(bytes.fromhex(pack["pack"])) != 32: raise ValueError("it names what is no pack")
            name = "%s/%s/%s/%s" % (pack["kind"], scope, pack["pack"][:2], pack["pack"])
            packs[name], about[name] = raw[end + 4:at], (pack["class"], pack["size"])

def sound(name):  # the file of a pack, or of a copy that par2 has mended
    if right(name): return note("reading", name) or name
    if os.path.exists(name + ".par2") and shutil.which("par2"):
        copy, volume = shutil.copy(name, tmp), shutil.copy(name + ".par2", tmp)
        subprocess.run(("par2", "repair", "-q", "-q", volume), stdout=subprocess.DEVNULL)
        if right(copy): return copy
    return problem(name, "its SHA-256 is wrong; taking what opens") or name

def chunks(wanted):  # takes chunks out of wanted and yields what it had for them, and their content; each pack is read once (§6)
    for name in needed(wanted):
        try:
            with subprocess.Popen(("sh", "-c", 'age -d -i "$0" "$1" | zstd -dcq', key, sound(name)), stdout=subprocess.PIPE) as p:
                for chunk, _, length in rows(name):
                    content = p.stdout.read(min(length, 1 << 24))
                    if len(content) < length: raise ValueError("it is damaged")
                    if chunk in wanted: yield wanted.pop(chunk), content
        except Exception as why: problem(name, why)

def lines(node, level, low=b"", high=b"\1"):  # of a line tree (§7.3); of a manifest those from low to before high, and some more
    if node["chunk"] not in lists:
        if "size" in node: raise ValueError("a part of the list of its content is lost")
        return problem(b"the list of files from here on: " + text(node, "first"), "a part is lost")
    part = zlib.decompress(lists[node["chunk"]]).split(b"\n")[:-1]
    if level == 0: return (yield from part)
    nodes = [json.loads(line) for line in part]
    firsts = [order(text(node, "first")) for node in nodes] + [high]
    for node, first, after in zip(nodes, firsts, firsts[1:]):
        if first < high and after >= low: yield from lines(node, level - 1, low, high)
def entries(low, high): return ((line, json.loads(line)) for line in lines(tree, tree["level"], low, high))

def here(name): return os.path.exists(name) and os.path.getsize(name) == about[name][1]
def command(name):  # one line for a shell
    bucket, _, prefix = where[5:].partition("/")
    key = "/".join(filter(None, (prefix.strip("/"), name)))
    words = {"--thaw": ["aws", "s3api", "restore-object", "--bucket", bucket, "--key", key, "--restore-request", request],
             "--status": ["aws", "s3api", "head-object", "--bucket", bucket, "--key", key, "--query", "[StorageClass,Restore]", "--output", "text"],
             "--fetch": ["aws", "s3", "cp", "--force-glacier-transfer", "s3://%s/%s" % (bucket, key), os.path.join(args[0], name)]}
    return " ".join(map(shlex.quote, words[mode]))

# What is asked for, and the key
sys.excepthook = lambda kind, why, trace: note("%s: %s" % (kind.__name__, why))
args, mode, problems = sys.argv[1:], "".join(sys.argv[3:4]), {}
listing = mode in ("--list", "--thaw", "--status", "--fetch")
if len(args) not in ((2, 4) if mode == "--list" or not listing else (5, 6, 7) if mode == "--thaw" else (5,)): sys.exit(__doc__)
where, days, tier = args[4:] + ["s3://", "10", "Bulk"][len(args[4:]):]
if not where.startswith("s3://"): sys.exit("recover: %r does not begin with s3://" % where)
request = "Days=%d" % int(days) + (",GlacierJobParameters={Tier=%s}" % tier.capitalize() if tier.lower() != "none" else "")
key, target = os.path.abspath(args[1]), os.fsencode(os.path.abspath(args[-1]))
if args[2:] and not listing and os.path.exists(target) and os.listdir(target): sys.exit("recover: %r is not empty" % args[3])
os.umask(0o077)
atexit.register(shutil.rmtree, tmp := tempfile.mkdtemp(prefix="recover-"))  # for the opened key, and for packs to mend
os.chdir(args[0])
if pathlib.Path(key).read_bytes().startswith(b"age-encryption.org/"):
    sealed, key = key, os.path.join(tmp, "d.key")
    pathlib.Path(key).write_bytes(run("age", "-d", sealed))  # age asks for the passphrase

# The snapshots
found = filter(None, [read(name, describe) for name in glob.glob("snapshots/*/" + 32 * "?")])
found = sorted(found, key=lambda s: (s["what"], s["sequence"]))
if len(args) == 2:
    for s in found: print("%(id)s  %(time).19s  %(state)-11s  %(files)9d files  %(bytes)15d bytes  %(what)s" % s)
    sys.exit(len(problems) > 0)
wish, _, path = args[3 if listing else 2].partition(":")
found = [s for s in found if (s["state"] == "done" if wish == "latest" else s["id"].startswith(wish))]
if wish == "latest" and len({s["source"]["id"] for s in found}) == 1: found = found[-1:]
if len(found) != 1: sys.exit("recover: %d snapshots are %r; recover.py REPO KEY lists them" % (len(found), wish))
note("snapshot %(id)s of %(what)s, %(time)s, %(state)s" % found[0])

# What is in its packs (§9), and the content of those in meta/
bytes.fromhex(found[0]["scope"])  # or it fails here: names of files are made of it
scope, tree, wanted, packs, about = found[0]["scope"], found[0]["manifest"], set(), {}, {}
for name in ["packset/%s/%s" % (scope, part["object"]) for part in found[0]["packs"]]:
    read(name, lambda raw: wanted.update(raw[i:i + 32].hex() for i in range(0, len(raw), 32)))
for name in glob.glob("index/%s/*" % scope): read(name, learn)
for pack in wanted.difference(name[-64:] for name in packs): problem("pack " + pack, "it is in no index here")
wanted = {row[0]: row[0].hex() for name in packs if name.startswith("meta/") for row in rows(name)}
lists = {"": zlib.compress(b""), **{chunk: zlib.compress(content, 1) for chunk, content in chunks(wanted)}}

# What is at and below PATH (§7.4): its folders, its files without content, and the pieces of content by chunk
path, wanted, others, folders, adopted = os.fsencode(path).strip(b"/"), {}, {}, {}, {}
low, high, strip = order(path), order(path) + b"\1", len(path) + 1 if path else 0
for line, e in entries(low, high):
    name, first = text(e, "path"), text(e, "hardlink")
    if not low <= order(name) < high: continue
    try:
        name = name[strip:] or (b"" if e["type"] == "dir" else os.path.basename(name))
        link = first[strip:] if low <= order(first) < high else adopted.get(first)
        if first and not link:  # its content is under a name that was not asked for
            adopted[first] = name
            line, e = next(pair for pair in entries(order(first), order(first) + b"\0") if text(pair[1], "path") == first)
        odd = b"\0" in name or name and not {b"", b".", b".."}.isdisjoint(name.split(b"/")) or name in others or name in folders
        if odd or link and link not in others: raise ValueError("it cannot have this path, or this hard link")
        file = os.path.join(target, name)
        if not listing: os.makedirs(file if e["type"] == "dir" else os.path.dirname(file), exist_ok=True)
        if e["type"] == "file" and not link and not listing:
            with open(file, "xb") as f: f.truncate(e["size"])  # what is not written stays a hole
        (folders if e["type"] == "dir" else others)[name] = line, link
        big, at = e.get("content_tree"), 0
        for chunk, off, length in map(json.loads, lines({**big, "size": 0}, big["level"])) if big else e.get("content", ()):
            if chunk: wanted.setdefault(bytes.fromhex(chunk), []).append((name, at, off, length))
            at += length
    except Exception as why: problem(name, str(why) or "its first name is not in the list of files")
if not others and not folders: sys.exit("recover: %r is not in this snapshot" % os.fsdecode(path))
if listing:
    names = list(needed(wanted))
    for name in names:
        if mode == "--list": print(name, about[name][0] or "-", about[name][1], "here" if here(name) else "missing", sep="\t")
        elif not here(name): print(command(name))
    missing = [about[name][1] for name in names if not here(name)]
    note("%d packs of data/ are needed, %d of them with %d bytes are missing here" % (len(names), len(missing), sum(missing)))
    sys.exit(len(problems) > 0)

# The content, pack after pack
for places, content in chunks(wanted):
    for name, at, off, length in places:
        try:
            with open(os.path.join(target, name), "r+b") as f:
                if os.pwrite(f.fileno(), content[off:off + length], at) < length: raise ValueError("it could not be written")
        except Exception as why: problem(name, "not whole: %s" % why)
for name in {place[0] for places in wanted.values() for place in places}: problem(name, "not whole: a part of it is lost")

# What is neither file nor folder, then owners, attributes, modes and times; folders last, the deepest first
types = {"fifo": stat.S_IFIFO, "char": stat.S_IFCHR, "block": stat.S_IFBLK, "socket": stat.S_IFSOCK}
for name, (line, link) in itertools.chain(others.items(), reversed(folders.items())):
    try:
        e, file = json.loads(line), os.path.join(target, name)
        if link: os.link(os.path.join(target, link), file, follow_symlinks=False)
        elif e["type"] == "symlink": os.symlink(text(e, "target"), file)
        elif e["type"] not in ("file", "dir"): os.mknod(file, 0o600 | types[e["type"]], os.makedev(*e.get("rdev", (0, 0))))
        if link: continue
        if os.geteuid() == 0: os.chown(file, e["uid"], e["gid"], follow_symlinks=False)
        for x, value, *b in e.get("xattrs", ()):
            try: os.setxattr(file, base64.b64decode(b[0]) if b else x.encode(), base64.b64decode(value), follow_symlinks=False)
            except Exception as why: problem(name + b", attribute " + x.encode(), why)
        if e["type"] != "symlink": os.chmod(file, int(e["mode"], 8))
        os.utime(file, ns=(int(e["mtime"][:-10]) * 10**9 + int(e["mtime"][-9:]),) * 2, follow_symlinks=False)
    except Exception as why: problem(name, why)
if problems: sys.exit("recover: %d problems, named above" % len(problems))
