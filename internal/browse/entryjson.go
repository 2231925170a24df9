package browse

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"unicode/utf8"
)

// entryJSON has the members of a manifest line (FORMAT §7.4) that an Entry knows; mtime is RFC 3339 for people and jq alike.
type entryJSON struct {
	Path        *string  `json:"path,omitempty"`
	PathB64     string   `json:"path_b64,omitempty"`
	Type        string   `json:"type"`
	Mode        string   `json:"mode"`
	UID         int64    `json:"uid"`
	GID         int64    `json:"gid"`
	User        string   `json:"user,omitempty"`
	Group       string   `json:"group,omitempty"`
	Mtime       string   `json:"mtime"`
	Size        *int64   `json:"size,omitempty"`
	Hash        string   `json:"hash,omitempty"`
	Hardlink    string   `json:"hardlink,omitempty"`
	HardlinkB64 string   `json:"hardlink_b64,omitempty"`
	Target      string   `json:"target,omitempty"`
	TargetB64   string   `json:"target_b64,omitempty"`
	Rdev        []uint32 `json:"rdev,omitempty"`
	Xattrs      []string `json:"xattrs,omitempty"`
	Error       string   `json:"error,omitempty"`
}

// MarshalJSON writes the entry with the names of the manifest: path_b64 and so on where a text is not UTF-8.
func (x *Entry) MarshalJSON() ([]byte, error) {
	j := entryJSON{Type: x.Type, Mode: fmt.Sprintf("%04o", x.Mode), UID: x.UID, GID: x.GID, User: x.User, Group: x.Group,
		Mtime: x.Mtime.UTC().Format("2006-01-02T15:04:05.999999999Z"), Hash: x.Hash, Xattrs: x.Xattrs, Error: x.Error}
	if path, b64 := text(x.Path); b64 == "" {
		j.Path = &path
	} else {
		j.PathB64 = b64
	}
	j.Hardlink, j.HardlinkB64 = text(x.Hardlink)
	j.Target, j.TargetB64 = text(x.Target)
	switch x.Type {
	case "file":
		j.Size = &x.Size
	case "char", "block":
		j.Rdev = []uint32{x.Major, x.Minor}
	}
	return json.Marshal(j)
}

// text returns b as text, or in base64 if it is not UTF-8.
func text(b []byte) (plain, b64 string) {
	if utf8.Valid(b) {
		return string(b), ""
	}
	return "", base64.StdEncoding.EncodeToString(b)
}

// MarshalJSON writes the entry and which snapshots have it.
func (v *Version) MarshalJSON() ([]byte, error) {
	return json.Marshal(struct {
		Entry  *Entry `json:"entry"`
		Source string `json:"source"`
		First  string `json:"first"`
		Last   string `json:"last"`
		Count  int    `json:"count"`
	}{&v.Entry, v.Source.ID.String(), v.First.ID.String(), v.Last.ID.String(), v.Count})
}
