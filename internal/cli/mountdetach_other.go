//go:build !unix

package cli

import (
	"context"
	"os"

	"firn/internal/mount"
)

// hangups are the signals of a terminal that goes away: here it ends its processes by itself.
func hangups() []os.Signal { return []os.Signal{os.Interrupt} }

func (x *mountCommand) behind(context.Context) error {
	return mountError(&mount.PointError{Err: mount.ErrUnsupported})
}

func (x *mountCommand) settle() error { return nil }
