//go:build !windows && (!unix || solaris || aix)

package state

import (
	"errors"
	"os"
)

// tryLock: no locks on this system.
func tryLock(*os.File) error { return errors.ErrUnsupported }
