package migrate

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"sort"
	"strings"
)

// PasswordsOptions are what the file does not say.
type PasswordsOptions struct {
	Base   string // location below which each repository goes, such as s3://bucket
	Folder string // where the caller keeps the passwords, one file for each; absolute
}

// Passwords reads the JSON file in which a script around zfs send keeps a password for each dataset: {"dataset": {"pass": "…"}}. What one password protected stays apart: each dataset becomes a
// source with a repository of its own, whose passphrase is its password. Datasets that share a password share a repository.
func Passwords(name string, raw []byte, o PasswordsOptions) (*Result, error) {
	if err := text(name, raw); err != nil {
		return nil, err
	}
	sets, err := readPasswords(name, raw)
	if err != nil {
		return nil, err
	}
	r := &Result{}
	var n notes
	var d document
	d.comment("Made from the passwords of %d datasets. The passwords lie in %s, one file each.\nRead it, then: firn config check, and for each repository once: firn init --repo NAME", len(sets), o.Folder)
	d.set("schedule", "weekly Sun 03:00", "the script ran when cron called it: put the time of that line here")
	first := map[string]string{} // name of the repository, by password
	for _, s := range sets {
		job := d.name(s.dataset)
		home, shared := first[s.pass]
		if !shared {
			home = job
			first[s.pass] = job
			r.Secrets = append(r.Secrets, Secret{job + ".pass", s.pass})
			d.table("repositories", job)
			d.set("location", value(strings.TrimRight(o.Base, "/")+"/"+job), "")
			d.set("passphrase_file", value(strings.TrimRight(o.Folder, "/")+"/"+job+".pass"), "")
		}
		d.table("sources", job)
		d.set("repository", home, "")
		d.set("zfs", value(s.dataset), "")
		if !strings.Contains(s.dataset, "/") {
			n.add(0, "%q: the script knew datasets by their last name; put the pool in front where it is missing (zfs = \"tank/%s\")", s.dataset, s.dataset)
		}
		r.Sources++
	}
	n.add(0, "a baseline that is off-site already can be gone on from: firn import zfs-baseline tells that the repository has it, and the next backup is an increment")
	n.add(0, "once firn works, delete %s: its passwords lie in files of their own now", name)
	r.TOML, r.Notes = d.b.String(), n.sorted()
	return r, nil
}

// dataset and its password.
type dataset struct{ dataset, pass string }

// errPassword is about the values of the file.
var errPassword = errors.New(`want {"dataset": {"pass": "…"}, …}`)

func readPasswords(name string, raw []byte) ([]dataset, error) {
	dec := json.NewDecoder(bytes.NewReader(bytes.TrimPrefix(raw, []byte("\xef\xbb\xbf"))))
	fail := func(err error) error {
		at := dec.InputOffset()
		var syntax *json.SyntaxError
		if errors.As(err, &syntax) {
			at = max(at, syntax.Offset)
		}
		line := 1 + bytes.Count(raw[:min(int(at), len(raw))], []byte("\n"))
		switch {
		case syntax != nil && strings.Contains(err.Error(), "escape"):
			return &Error{name, line, "a backslash in a password has to be written twice: " + err.Error()}
		case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
			return &Error{name, line, "it ends too early"}
		}
		return &Error{name, line, err.Error()}
	}
	if t, err := dec.Token(); err != nil {
		return nil, fail(err)
	} else if t != json.Delim('{') {
		return nil, fail(errPassword)
	}
	var sets []dataset
	seen := map[string]bool{}
	for dec.More() {
		t, err := dec.Token()
		if err != nil {
			return nil, fail(err)
		}
		key, _ := t.(string) // keys of objects are strings
		if key == "" || seen[key] {
			return nil, fail(fmt.Errorf("dataset %q stands twice, or has no name", key))
		}
		seen[key] = true
		var v map[string]json.RawMessage
		if err := dec.Decode(&v); err != nil {
			var kind *json.UnmarshalTypeError
			if errors.As(err, &kind) {
				return nil, fail(fmt.Errorf("dataset %q: %w", key, errPassword))
			}
			return nil, fail(err)
		}
		pass, err := password(v)
		if err != nil {
			return nil, fail(fmt.Errorf("dataset %q: %w", key, err))
		}
		sets = append(sets, dataset{key, pass})
	}
	if _, err := dec.Token(); err != nil {
		return nil, fail(err)
	}
	if _, err := dec.Token(); !errors.Is(err, io.EOF) {
		return nil, fail(errors.New("there is more behind its end"))
	}
	if len(sets) == 0 {
		return nil, &Error{name, 0, "no dataset in it"}
	}
	return sets, nil
}

// password takes the only member that there may be.
func password(v map[string]json.RawMessage) (string, error) {
	var others []string
	for k := range v {
		if k != "pass" {
			others = append(others, k)
		}
	}
	if len(others) > 0 {
		sort.Strings(others)
		return "", fmt.Errorf("%q is not known; %w", others[0], errPassword)
	}
	var pass string
	if err := json.Unmarshal(v["pass"], &pass); err != nil || pass == "" {
		return "", errPassword
	}
	if strings.ContainsAny(pass, "\n\r\x00") {
		return "", errors.New("its password has more than one line, which a passphrase cannot")
	}
	return pass, nil
}
