package wire

import (
	"errors"
	"slices"
	"strings"
	"testing"

	"firn/internal/source"
)

func TestParseSpec(t *testing.T) {
	there := func(path string) bool { return path == "notes:today" }
	for text, want := range map[string]Spec{
		"/srv":         {"dir", "/srv"},
		"srv":          {"dir", "srv"},
		"./command:x":  {"dir", "./command:x"},
		"/command:x":   {"dir", "/command:x"},
		"a/command:x":  {"dir", "a/command:x"},
		`C:\data`:      {"dir", `C:\data`},
		"10:30.log":    {"dir", "10:30.log"},
		"Command:x":    {"dir", "Command:x"},
		":x":           {"dir", ":x"},
		"notes:today":  {"dir", "notes:today"},
		"command:a:b":  {"command", "a:b"},
		"command:./x ": {"command", "./x "},
	} {
		got, err := ParseSpec(text, there)
		if err != nil || got != want {
			t.Errorf("%q: %+v, %v", text, got, err)
		}
		if again, err := ParseSpec(got.String(), nil); err != nil || again.Folder() != want.Folder() || strings.TrimPrefix(again.Rest, "./") != strings.TrimPrefix(want.Rest, "./") {
			t.Errorf("%q: %q is read as %+v, %v", text, got.String(), again, err)
		}
	}
	var kind *KindError
	if _, err := ParseSpec("comand:x", there); !errors.As(err, &kind) || kind.Nearest != "command" || !strings.Contains(err.Error(), `"./comand:x"`) {
		t.Error(err)
	}
	if _, err := ParseSpec("something:x", nil); !errors.As(err, &kind) || kind.Nearest != "" {
		t.Error(err)
	}
	for _, bad := range []string{"command:", "a\x00b"} {
		if _, err := ParseSpec(bad, nil); err == nil || errors.As(err, &kind) {
			t.Errorf("%q: %v", bad, err)
		}
	}
}

func FuzzParseSpec(f *testing.F) {
	for _, text := range []string{"command:x", "./a", "x:y", ":", "a\x00"} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		s, err := ParseSpec(text, nil)
		if err != nil {
			return
		}
		again, err := ParseSpec(s.String(), nil)
		if err != nil || again.Kind != s.Kind || s.Kind != "dir" && again.Rest != s.Rest {
			t.Errorf("%q: %+v, then %+v, %v", text, s, again, err)
		}
	})
}

// TestKinds holds the table to what help and configuration rely on.
func TestKinds(t *testing.T) {
	names, origins := map[string]bool{"dir": true}, map[string]bool{"dir": true}
	for _, k := range Kinds() {
		for _, name := range append([]string{k.Name}, k.Others...) {
			if names[name] || len(name) < 2 || strings.Trim(name, "abcdefghijklmnopqrstuvwxyz-") != "" {
				t.Errorf("name %q", name)
			}
			names[name] = true
		}
		if origins[k.Origin] || k.What == "" || k.Rest == "" || k.open == nil {
			t.Errorf("%+v", k)
		}
		origins[k.Origin] = true
		seen := map[string]bool{}
		for _, s := range append(slices.Clone(k.Settings), FolderSettings()...) {
			if strings.Trim(s.Name, "abcdefghijklmnopqrstuvwxyz_0123456789") != "" || s.Name == "" || s.Value == "" || s.Help == "" {
				t.Errorf("%s: setting %+v", k.Name, s)
			}
		}
		for _, s := range k.Settings {
			if seen[s.Name] {
				t.Errorf("%s: setting %q stands twice", k.Name, s.Name)
			}
			seen[s.Name] = true
		}
		for _, name := range []string{"timeout", "use_temp_file", "temp_dir", "before", "after", "read_from"} {
			if !seen[name] {
				t.Errorf("%s: no setting %q", k.Name, name)
			}
		}
	}
}

func TestOpenSource(t *testing.T) {
	var setting *source.SettingError
	if _, err := OpenSource(Spec{"dir", "/srv"}, map[string]string{"timeout": "1h"}, source.Host{}); !errors.As(err, &setting) {
		t.Error(err)
	}
	p, err := OpenSource(Spec{"dir", "/srv"}, map[string]string{"read_from": "/snap"}, source.Host{})
	if err != nil {
		t.Fatal(err)
	}
	if b, err := p.Prepare(t.Context(), nil); err != nil || b.Folder != "/snap" || b.Display != "/srv" {
		t.Errorf("%+v, %v", b, err)
	}
	if p, err := OpenSource(Spec{"command", "x"}, map[string]string{"command": "true", "before": "true", "comand": "x"}, source.Host{}); !errors.As(err, &setting) || setting.Nearest != "command" || p != nil {
		t.Errorf("%v, %v", p, err)
	}
	var kind *KindError
	if _, err := OpenSource(Spec{"x", "y"}, nil, source.Host{}); !errors.As(err, &kind) {
		t.Error(err)
	}
	var taker *TakerError
	for _, s := range []Spec{{"command", "x"}, {"dir", "/srv"}} {
		if _, err := OpenTaker(s, nil); !errors.As(err, &taker) {
			t.Error(err)
		}
	}
	for _, k := range Kinds() {
		if got := (Spec{k.Name, "x"}).Origin(map[string]string{"mode": "files"}); got != k.Origin+"-files" {
			t.Error(got)
		}
	}
}
