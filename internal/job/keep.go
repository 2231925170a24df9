package job

import (
	"cmp"
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
)

// writeKeep writes what a prune keeps of which source into the folder of the job, where a person can read it as well, and returns its path. It is about sources of this host: others may have some
// of the same name.
func writeKeep(dir, host string, all []Keep) (string, error) {
	if dir == "" {
		return "", ErrNoState
	}
	keep := slices.Clone(all)
	for i := range keep {
		keep[i].Host = cmp.Or(keep[i].Host, host)
	}
	raw, err := json.MarshalIndent(keep, "", " ")
	if err != nil {
		return "", err
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return "", err
	}
	path := filepath.Join(dir, "keep.json")
	return path, writeFile(path, append(raw, '\n'))
}
