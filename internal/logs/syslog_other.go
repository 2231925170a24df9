//go:build !unix

package logs

import "log/slog"

const haveSyslog = false

// syslog is never called here.
func (*sinks) syslog(Options, slog.Level) {}
