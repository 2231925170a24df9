package subversion

import (
	"archive/tar"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"time"
)

// filesName is how the stream of what a dump lacks is called.
const filesName = "conf.tar"

// stored are the folders and files that a dump lacks.
var stored = []string{"conf", "hooks", "db/fsfs.conf"}

// maxFile bounds a file of configuration, in bytes.
const maxFile = 64 << 20

// openFiles makes the stream of what a dump lacks. The goroutine ends with it.
func openFiles(dir string) func(context.Context) (io.ReadCloser, error) {
	return func(ctx context.Context) (io.ReadCloser, error) {
		r, w := io.Pipe()
		stop := context.AfterFunc(ctx, func() { w.CloseWithError(context.Cause(ctx)) })
		go func() {
			defer stop()
			w.CloseWithError(writeFiles(w, dir))
		}()
		return r, nil
	}
}

func writeFiles(w io.Writer, dir string) error {
	root, err := os.OpenRoot(dir)
	if err != nil {
		return err
	}
	defer func() { _ = root.Close() }()
	out := tar.NewWriter(w)
	for _, name := range stored {
		err := fs.WalkDir(root.FS(), name, func(name string, _ fs.DirEntry, err error) error {
			if errors.Is(err, fs.ErrNotExist) {
				return nil // repositories of other times lack this and that
			}
			if err != nil {
				return err
			}
			return writeFile(out, root, name)
		})
		if err != nil {
			return err
		}
	}
	return out.Close()
}

// writeFile writes a folder, file or link, and passes over what is neither.
func writeFile(out *tar.Writer, root *os.Root, name string) error {
	st, err := root.Lstat(name)
	if err != nil {
		return err
	}
	target := ""
	var content []byte
	switch {
	case st.IsDir():
	case st.Mode()&fs.ModeSymlink != 0:
		if target, err = root.Readlink(name); err != nil {
			return err
		}
	case st.Mode().IsRegular():
		if content, err = readFile(root, name); err != nil {
			return err
		}
	default:
		return nil
	}
	h, err := tar.FileInfoHeader(st, target)
	if err != nil {
		return err
	}
	h.Name, h.Uname, h.Gname, h.Format = name, "", "", tar.FormatPAX
	h.AccessTime, h.ChangeTime = time.Time{}, time.Time{} // or reading would change the stream
	if st.IsDir() {
		h.Name += "/"
	}
	if st.Mode().IsRegular() {
		h.Size = int64(len(content)) // it may have grown since it was looked at
	}
	if err := out.WriteHeader(h); err != nil {
		return err
	}
	_, err = out.Write(content)
	return err
}

func readFile(root *os.Root, name string) ([]byte, error) {
	f, err := root.Open(name)
	if err != nil {
		return nil, err
	}
	defer func() { _ = f.Close() }()
	content, err := io.ReadAll(io.LimitReader(f, maxFile+1))
	if err == nil && len(content) > maxFile {
		err = fmt.Errorf("%q has more than %d bytes", f.Name(), maxFile)
	}
	return content, err
}

// takeFiles writes them into a repository that was made for them, and nothing outside it.
func takeFiles(dir string, r io.Reader) error {
	root, err := os.OpenRoot(dir)
	if err != nil {
		return err
	}
	defer func() { _ = root.Close() }()
	in := tar.NewReader(r)
	for {
		h, err := in.Next()
		if err == io.EOF {
			_, err = io.Copy(io.Discard, r) // to the end, where a damage would be told
			return err
		}
		if err != nil {
			return err
		}
		if err := takeFile(root, h, in); err != nil {
			return err
		}
	}
}

func takeFile(root *os.Root, h *tar.Header, in io.Reader) error {
	name := filepath.FromSlash(path.Clean(h.Name))
	switch h.Typeflag {
	case tar.TypeDir:
		return root.MkdirAll(name, 0o755)
	case tar.TypeSymlink:
		_ = root.Remove(name)
		return root.Symlink(h.Linkname, name)
	case tar.TypeReg:
		if err := root.MkdirAll(filepath.Dir(name), 0o755); err != nil {
			return err
		}
		_ = root.Remove(name)
		f, err := root.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
		if err != nil {
			return err
		}
		_, err = io.Copy(f, in)
		if wrong := f.Close(); err == nil {
			err = wrong
		}
		if err == nil {
			err = root.Chmod(name, fs.FileMode(h.Mode)&fs.ModePerm)
		}
		if err == nil {
			err = root.Chtimes(name, h.ModTime, h.ModTime)
		}
		return err
	}
	return nil
}
