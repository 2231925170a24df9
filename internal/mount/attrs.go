package mount

import (
	"errors"
	"strings"
	"time"

	"firn/internal/advice"
	"firn/internal/digest"
	"firn/internal/manifest"
)

// Attributes that files have here and did not have at their source. Only attrError is listed, where there is one, so that copies are not full of them.
const (
	attrPrefix   = "user.firn."
	attrError    = attrPrefix + "error"    // why it could not be read, here or when it was backed up
	attrClass    = attrPrefix + "class"    // storage classes of its content
	attrSnapshot = attrPrefix + "snapshot" // id
	attrSource   = attrPrefix + "source"
	attrHost     = attrPrefix + "host"
	attrTime     = attrPrefix + "time"
	attrState    = attrPrefix + "state"
	attrTags     = attrPrefix + "tags"
)

// Attributes that listing programs ask for, file by file, until they hear that there is no such thing.
const (
	aclPrefix = "system.posix_acl_"
	labelName = "security.selinux"
)

// errUnknown tells that nothing has such an attribute here.
var errUnknown = errors.New("not supported")

// missing is what is said of an attribute that a file does not have: ls asks for the label and the ACL of each file until it hears that there are none at all, which is twice the work of all else. A snapshot
// in which files have ACLs says so for each, and so does each where the kernel judges by them.
func (f *FS) missing(v *volume, name string) error {
	if name == labelName || strings.HasPrefix(name, aclPrefix) && !f.o.AllowOther && !v.links.acls() {
		return errUnknown
	}
	return errNone
}

// xattr returns an extended attribute; errNone: it has none of that name.
func (f *FS) xattr(n node, name string, stop stopper) (value []byte, err error) {
	v, err := f.volume(n.slot())
	if err != nil {
		return nil, err
	}
	ours := strings.HasPrefix(name, attrPrefix)
	if !ours && v.hidden.has(n.line()) {
		return nil, f.missing(v, name)
	}
	l := look{v, stop}
	found := false
	err = l.entryOf(n, func(e *manifest.Entry) error {
		for i := range e.Xattrs {
			if e.Xattrs[i].Name == name {
				value, found = append([]byte{}, e.Xattrs[i].Value...), true
			}
		}
		return nil
	})
	if err != nil && !(ours && n.line() < 0) || found {
		return value, err
	}
	if !ours {
		return nil, f.missing(v, name)
	}
	return f.ownXattr(l, n, name)
}

// entryOf is entry for the root too.
func (v look) entryOf(n node, fn func(e *manifest.Entry) error) error {
	if n.line() < 0 {
		err := v.byPath(nil, 0, func(e *manifest.Entry, _ int64) error { return fn(e) })
		if err == errNone {
			return nil
		}
		return err
	}
	return v.entry(n.line(), fn)
}

// xattrNames lists the names of the attributes of a file.
func (f *FS) xattrNames(n node, stop stopper) (names []string, err error) {
	v, err := f.volume(n.slot())
	if err != nil {
		return nil, err
	}
	if !v.hidden.has(n.line()) {
		err = look{v, stop}.entryOf(n, func(e *manifest.Entry) error {
			for i := range e.Xattrs {
				names = append(names, e.Xattrs[i].Name)
			}
			if e.Error != "" {
				names = append(names, attrError)
			}
			return nil
		})
	}
	if err == nil && f.told.reason(n) != "" && (len(names) == 0 || names[len(names)-1] != attrError) {
		names = append(names, attrError)
	}
	return names, err
}

// ownXattr returns what we say of a file.
func (f *FS) ownXattr(l look, n node, name string) ([]byte, error) {
	i := l.item
	text := ""
	switch name {
	case attrSnapshot:
		text = i.ID.String()
	case attrSource:
		text = advice.SourceName(i.Source)
	case attrHost:
		text = i.Host
	case attrTime:
		text = i.Start.UTC().Format(time.RFC3339Nano)
	case attrState:
		text = i.Status().String()
	case attrTags:
		text = strings.Join(i.Tags, ",")
	case attrError:
		if text = f.told.reason(n); text == "" {
			err := l.entryOf(n, func(e *manifest.Entry) error {
				text = e.Error
				return nil
			})
			if err != nil {
				return nil, err
			}
		}
	case attrClass:
		return f.classOf(l, n)
	}
	if text == "" {
		return nil, errNone
	}
	return []byte(text), nil
}

// maxClassed is how many pieces of a file are looked at for its classes.
const maxClassed = 1000

func (f *FS) classOf(l look, n node) ([]byte, error) {
	if n.line() < 0 {
		return nil, errNone
	}
	var e *manifest.Entry
	if err := l.entry(n.line(), func(x *manifest.Entry) error { e = x.Clone(); return nil }); err != nil {
		return nil, err
	}
	if e.Type != manifest.File {
		return nil, errNone
	}
	var ids []digest.Chunk
	p := manifest.NewPieces(l.source(&l.stop), e)
	for k := 0; k < maxClassed && p.Next(); k++ {
		if !p.Piece().IsHole() {
			ids = append(ids, p.Piece().Chunk)
		}
	}
	if err := p.Err(); err != nil {
		return nil, err
	}
	o := l.volume.open(f, n, e, &lateSource{f: f, item: l.item, into: f.data})
	var classes []string
	err := f.patiently(l.stop, func() (err error) {
		classes, err = o.classes(ids)
		return err
	})
	if err != nil {
		return nil, err
	}
	text := strings.Trim(strings.Join(classes, ","), ",")
	if text == "" {
		return nil, errNone
	}
	return []byte(text), nil
}
