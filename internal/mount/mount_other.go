//go:build !((linux && !386 && !arm && !mips && !mipsle) || freebsd || darwin)

package mount

import "context"

// Supported reports whether this system can mount.
const Supported = false

func (f *FS) serve(_ context.Context, dir string, _ func()) error {
	return &PointError{dir, ErrUnsupported}
}
