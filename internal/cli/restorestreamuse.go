package cli

import (
	"path"
	"slices"
	"strings"

	"firn/internal/advice"
	"firn/internal/snapshot"
	"firn/internal/source"
)

// tellUse prints the commands that take the files of streams, ready for a shell but for the names of what takes them.
func (r *replaying) tellUse() {
	lines := useOf(r.item.Source, r.streams.Links(), r.file)
	if r.x.c.quiet || len(lines) == 0 {
		return
	}
	for _, p := range r.streams.Outside() {
		r.x.c.note("first bring %s of %s back from where the other tool has stored it: the streams start from it", printable(p.At), printable(p.Of))
	}
	r.x.c.print("to use them, in this order:\n")
	for _, l := range lines {
		r.x.c.print("  %s\n", printable(l))
	}
}

// useOf returns these commands; none where streams of this kind stand for themselves.
func useOf(o snapshot.Origin, links []source.Link, file func(source.Link) string) (lines []string) {
	made := map[string]bool{}
	top := string(o.Path)
	if !slices.ContainsFunc(links, func(l source.Link) bool { return l.Point.Of != links[0].Point.Of }) && len(links) > 0 {
		top = links[0].Point.Of // one of several was asked for
	}
	for _, l := range links {
		from := advice.ShellWord(file(l))
		switch o.Kind {
		case "zfs":
			// What is mounted changes by that, and takes no increment any more.
			lines = append(lines, "zfs receive -u "+advice.ShellWord("POOL/DATASET"+below(l.Point.Of, top))+" < "+from)
		case "btrfs":
			lines = append(lines, "btrfs receive FOLDER < "+from)
		case "subversion":
			repository := repositoryOf(l)
			if !made[repository] && l.Point.From == "" {
				parent := ""
				if dir := path.Dir(repository); dir != "." {
					parent = "mkdir -p " + advice.ShellWord(dir) + " && "
				}
				lines = append(lines, parent+"svnadmin create "+advice.ShellWord(repository))
			}
			made[repository] = true
			if l.Point.ID == "" {
				lines = append(lines, "tar -x -C "+advice.ShellWord(repository)+" -f "+from)
				continue
			}
			lines = append(lines, "svnadmin load -q "+advice.ShellWord(repository)+" < "+from)
		}
	}
	if o.Kind == "zfs" && len(lines) > 0 {
		lines = append(lines, "zfs mount -a")
	}
	return lines
}

// below is what the name of a dataset adds to that of one above it.
func below(of, top string) string {
	if rest, ok := strings.CutPrefix(of, top); ok && strings.HasPrefix(rest, "/") {
		return rest
	}
	return ""
}

// repositoryOf is where a stream of Subversion goes: those of a folder of repositories lie in one of their own each.
func repositoryOf(l source.Link) string {
	if dir := path.Dir(l.Path); dir != "." {
		return "REPOSITORIES/" + dir
	}
	return "REPOSITORY"
}
