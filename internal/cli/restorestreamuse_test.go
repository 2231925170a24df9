package cli

import (
	"slices"
	"testing"

	"firn/internal/snapshot"
	"firn/internal/source"
)

// TestUseOf: what is printed can be pasted into a shell, and each stream goes to where it belongs.
func TestUseOf(t *testing.T) {
	file := func(l source.Link) string { return "out/" + l.Path }
	link := func(path, of, id, from string) source.Link {
		return source.Link{Path: path, Point: source.Point{Of: of, ID: id, From: from}}
	}
	for _, c := range []struct {
		kind, path string
		links      []source.Link
		want       []string
	}{
		{"zfs", "tank/home", []source.Link{link("home-T1.zfs", "tank/home", "1", ""), link("home/bob smith-T1.zfs", "tank/home/bob smith", "2", ""), link("home-F1-T2.zfs", "tank/home", "3", "1")},
			[]string{"zfs receive -u POOL/DATASET < out/home-T1.zfs", "zfs receive -u 'POOL/DATASET/bob smith' < 'out/home/bob smith-T1.zfs'", "zfs receive -u POOL/DATASET < out/home-F1-T2.zfs", "zfs mount -a"}},
		{"zfs", "tank/home", []source.Link{link("home/a-T1.zfs", "tank/home/a", "1", ""), link("home/a-F1-T2.zfs", "tank/home/a", "2", "1")},
			[]string{"zfs receive -u POOL/DATASET < out/home/a-T1.zfs", "zfs receive -u POOL/DATASET < out/home/a-F1-T2.zfs", "zfs mount -a"}},
		{"btrfs", "/data/@home", []source.Link{link("it's-T1.btrfs", "/data/@home", "1", "")}, []string{`btrfs receive FOLDER < 'out/it'\''s-T1.btrfs'`}},
		{"subversion", "/srv/svn", []source.Link{link("one/0-4.svndump", "one", "u:4", ""), link("a/b/0-0.svndump", "a/b", "v:0", ""), link("one/5-5.svndump", "one", "u:5", "u:4"), link("one/conf.tar", "", "", "")},
			[]string{"mkdir -p REPOSITORIES && svnadmin create REPOSITORIES/one", "svnadmin load -q REPOSITORIES/one < out/one/0-4.svndump",
				"mkdir -p REPOSITORIES/a && svnadmin create REPOSITORIES/a/b", "svnadmin load -q REPOSITORIES/a/b < out/a/b/0-0.svndump",
				"svnadmin load -q REPOSITORIES/one < out/one/5-5.svndump", "tar -x -C REPOSITORIES/one -f out/one/conf.tar"}},
		{"subversion", "/srv/one", []source.Link{link("one.0-4.svndump", "one", "u:4", ""), link("one.conf.tar", "", "", "")},
			[]string{"svnadmin create REPOSITORY", "svnadmin load -q REPOSITORY < out/one.0-4.svndump", "tar -x -C REPOSITORY -f out/one.conf.tar"}},
		{"zfs", "tank/home", nil, nil},
		{"postgres", "all", []source.Link{link("shop.dump", "", "", "")}, nil},
	} {
		if got := useOf(snapshot.Origin{Kind: c.kind, Path: []byte(c.path)}, c.links, file); !slices.Equal(got, c.want) {
			t.Errorf("%s:\n got %q\nwant %q", c.kind, got, c.want)
		}
	}
}
