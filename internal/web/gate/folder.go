package gate

import (
	"encoding/hex"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"time"
)

// ErrNoFolder tells that there is no place to leave a token in.
var ErrNoFolder = errors.New("there is no folder for links")

// maxFile bounds what is read of a file: one time.
const maxFile = 64

// ending is how the names of files with a link end.
const ending = ".link"

// Leave makes a token that a gate in another process with the same Folder will take, once. The file, of mode 0600, is named by the sum of the token and holds when it ends.
func Leave(folder string, now time.Time) (token string, err error) {
	if folder == "" {
		return "", ErrNoFolder
	}
	if err := os.MkdirAll(folder, 0o700); err != nil {
		return "", err
	}
	sweep(folder, now)
	token = random()
	f, err := os.OpenFile(fileOf(folder, sumOf(token)), os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return "", err
	}
	_, err = f.WriteString(now.Add(LinkTime).UTC().Format(time.RFC3339Nano) + "\n")
	if e := f.Close(); err == nil {
		err = e
	}
	if err != nil {
		_ = os.Remove(f.Name())
	}
	return token, err
}

func fileOf(folder string, key sum) string {
	return filepath.Join(folder, hex.EncodeToString(key[:])+ending)
}

// spendFile takes a token that was left, and reports whether it was good. Of several who try, the one counts that removes the file.
func spendFile(folder string, key sum, now time.Time) bool {
	if folder == "" {
		return false
	}
	path := fileOf(folder, key)
	good := standing(path, now)
	return os.Remove(path) == nil && good
}

// standing reports whether what a file stands for is not over. A time that lies further ahead than any link's is no link's.
func standing(path string, now time.Time) bool {
	info, err := os.Lstat(path)
	if err != nil || !info.Mode().IsRegular() {
		return false
	}
	f, err := os.Open(path)
	if err != nil {
		return false
	}
	defer func() { _ = f.Close() }()
	raw, err := io.ReadAll(io.LimitReader(f, maxFile))
	end, bad := time.Parse(time.RFC3339Nano, strings.TrimSpace(string(raw)))
	return err == nil && bad == nil && now.Before(end) && !end.After(now.Add(LinkTime))
}

// sweep removes what nobody came for.
func sweep(folder string, now time.Time) {
	found, _ := os.ReadDir(folder) // what cannot be read is not swept
	for _, e := range found {
		if path := filepath.Join(folder, e.Name()); strings.HasSuffix(e.Name(), ending) && !standing(path, now) {
			_ = os.Remove(path)
		}
	}
}
