package cli

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"firn/internal/config"
)

// TestConfigPage holds docs/CONFIG.md to the tables that read the configuration, and its examples to what can be read. UPDATE=1 writes the tables anew.
func TestConfigPage(t *testing.T) {
	page := filepath.Join("..", "..", "docs", "CONFIG.md")
	raw, err := os.ReadFile(page)
	if err != nil {
		t.Fatal(err)
	}
	const mark = "<!-- From here on made by go test ./internal/cli -run TestConfigPage with UPDATE=1 -->\n"
	text := strings.ReplaceAll(string(raw), "\r\n", "\n")
	start, made, found := strings.Cut(text, mark)
	if !found {
		t.Fatal("the mark is missing")
	}
	if want := config.Reference(kindsOfSources()); made != want {
		if os.Getenv("UPDATE") == "" {
			t.Error("docs/CONFIG.md is stale: run this test with UPDATE=1")
		} else if err := os.WriteFile(page, []byte(start+mark+want), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	env := func(name string) (string, bool) { return "/home/me", name == "HOME" }
	parts := strings.Split(start, "```toml\n")
	if len(parts) < 5 {
		t.Errorf("%d examples", len(parts)-1)
	}
	for _, part := range append(parts[1:], config.Example()) {
		example, _, _ := strings.Cut(part, "```")
		if _, err := config.Parse("example", []byte(example), kindsOfSources(), env); err != nil {
			t.Errorf("%v in\n%s", err, example)
		}
	}
}
