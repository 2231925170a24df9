package timer

import (
	"fmt"
	"path"
	"strconv"
	"strings"
	"time"
)

// systemDir is where an administrator's units lie (systemd.unit(5)).
const systemDir = "/etc/systemd/system"

// systemd is a service, and a timer or one for each job; and what tells that the service failed.
func (o Options) systemd() ([]File, error) {
	dir := systemDir
	if o.User {
		home := o.ConfigHome
		if home == "" {
			home = path.Join(o.Home, ".config")
		}
		if !path.IsAbs(home) {
			return nil, &Error{"home", o.Home, "want an absolute path"}
		}
		dir = path.Join(home, "systemd", "user")
	}
	file := func(name, content string, active bool) File {
		f := File{Path: path.Join(dir, name), Mode: 0o644, Content: []byte(o.header("# ") + content)}
		if active {
			f.Unit = name
		}
		return f
	}
	files := []File{file(o.Name+"-failure@.service", o.failureUnit(), false)}
	if o.Serve {
		return append(files, file(o.Name+".service", o.service("Keeps backups going", "", o.daemon()), true)), nil
	}
	if len(o.Jobs) == 0 {
		return append(files, file(o.Name+".service", o.service("Backups that are due", "", "Type=oneshot\n"), false),
			file(o.Name+".timer", o.timer("Looks for backups that are due", []string{o.pace()}, o.Delay), true)), nil
	}
	for _, j := range o.Jobs {
		if len(j.Events) == 0 {
			return nil, &Error{"job", j.Name, "systemd cannot be told when it is to run, since its schedule counts from the last run or from a cycle"}
		}
		name := o.Name + "-job-" + escapeUnit(j.Name)
		if len(name) > 200 {
			return nil, &Error{"job", j.Name, "its name is too long for a unit"}
		}
		files = append(files, file(name+".service", o.service("Job "+j.Name, j.Name, "Type=oneshot\n"), false),
			file(name+".timer", o.timer("Starts job "+j.Name, j.Events, 0), true))
	}
	return files, nil
}

// pace is Every as a calendar event, which, unlike a time since the last run, Persistent can make up for.
func (o Options) pace() string {
	switch m := int(o.Every / time.Minute); {
	case m == 1:
		return "*-*-* *:*:00"
	case m < 60:
		return fmt.Sprintf("*-*-* *:00/%d:00", m)
	case m == 60:
		return "*-*-* *:00:00"
	case m < 24*60:
		return fmt.Sprintf("*-*-* 00/%d:00:00", m/60)
	}
	return "*-*-* 00:00:00"
}

// timer is a timer unit.
func (o Options) timer(about string, events []string, delay time.Duration) string {
	var b strings.Builder
	fmt.Fprintf(&b, "\n[Unit]\nDescription=%s\n\n[Timer]\n", specifiers(about))
	for _, e := range events {
		b.WriteString("OnCalendar=" + e + "\n")
	}
	b.WriteString("# What was due while the machine was off runs when it is on again.\nPersistent=true\n")
	if delay > 0 {
		fmt.Fprintf(&b, "# Hosts that share a bucket do not all come at once.\nRandomizedDelaySec=%d\n", int(delay/time.Second))
	}
	b.WriteString("\n[Install]\nWantedBy=timers.target\n")
	return b.String()
}

// daemon is how the service differs that stays.
func (o Options) daemon() string {
	return `# The daemon tells when it is ready, and that it is alive.
Type=notify
NotifyAccess=main
WatchdogSec=300
Restart=on-failure
RestartSec=30
ExecReload=/bin/kill -HUP $MAINPID
# Who is restarted for ever never counts as failed, so it is told each time, and firn tells it on once a day.
ExecStopPost=` + execLine(o.failedArgs()) + ` -- %n
`
}

// service is a service unit.
func (o Options) service(about, job, kind string) string {
	var b strings.Builder
	fmt.Fprintf(&b, "\n[Unit]\nDescription=%s\nDocumentation=man:firn(1)\n", specifiers(about))
	if !o.User { // users' managers know no such target
		b.WriteString("Wants=network-online.target\nAfter=network-online.target\n")
	}
	fmt.Fprintf(&b, "# firn reports on its jobs by itself; this is for when it cannot.\nOnFailure=%s-failure@%%n.service\n\n[Service]\n%s", o.Name, kind)
	fmt.Fprintf(&b, "ExecStart=%s\n", execLine(o.args(job)))
	for _, e := range o.Env {
		b.WriteString("Environment=" + quoteUnit(specifiers(e)) + "\n")
	}
	b.WriteString(`# 3: done, but something could not be read, which has been reported.
SuccessExitStatus=3

# To be stopped, firn gets what Ctrl-C sends, and stops its jobs so that the next run goes on where they stood.
KillMode=mixed
KillSignal=SIGINT
TimeoutStartSec=infinity
TimeoutStopSec=150

# Everybody else comes first. A job that runs out of memory ends alone.
Nice=10
CPUSchedulingPolicy=batch
IOSchedulingClass=idle
OOMPolicy=continue
OOMScoreAdjust=500

# What a backup reads, what its hooks mount and which programs they run is not known here: anything that gives the service a view of its own
# of the file system (ProtectSystem, ProtectHome, PrivateTmp) would hide files from it and its mounts from others, and NoNewPrivileges would break sudo in hooks.
LockPersonality=true
RestrictRealtime=true
UMask=0077
`)
	if !o.User {
		b.WriteString("StateDirectory=firn\nStateDirectoryMode=0700\nCacheDirectory=firn\nCacheDirectoryMode=0700\n")
	}
	if o.Serve {
		target := "multi-user.target"
		if o.User {
			target = "default.target"
		}
		b.WriteString("\n[Install]\nWantedBy=" + target + "\n")
	}
	return b.String()
}

// failureUnit runs where a service has failed, which is its instance.
func (o Options) failureUnit() string {
	var b strings.Builder
	b.WriteString("\n[Unit]\nDescription=Tells that %i has failed\n\n[Service]\nType=oneshot\nTimeoutStartSec=600\n")
	fmt.Fprintf(&b, "ExecStart=%s -- %%i\n", execLine(o.failedArgs()))
	for _, e := range o.Env {
		b.WriteString("Environment=" + quoteUnit(specifiers(e)) + "\n")
	}
	return b.String()
}

// failedArgs are the words of the command that tells that a unit has failed, which is named behind them.
func (o Options) failedArgs() []string {
	args := []string{o.Program, "schedule", "failed"}
	if o.Config != "" {
		args = append(args, "--config", o.Config)
	}
	if o.Serve {
		args = append(args, "--serve")
	}
	return args
}

// specifiers keeps percent signs from meaning something (systemd.unit(5), "Specifiers").
func specifiers(s string) string { return strings.ReplaceAll(s, "%", "%%") }

// execLine is a command line (systemd.service(5), "Command lines"): each word is quoted where it needs that, and neither specifiers nor variables are replaced.
func execLine(args []string) string {
	if strings.ContainsAny(args[0], `"'\\`) { // which systemd refuses in the name of a program
		args = append([]string{"/usr/bin/env"}, args...)
	}
	words := make([]string, len(args))
	for i, a := range args {
		a = specifiers(a)
		if i > 0 {
			a = strings.ReplaceAll(a, "$", "$$") // in the path of the program a dollar is one
		}
		words[i] = quoteUnit(a)
	}
	return strings.Join(words, " ")
}

// quoteUnit quotes one item (systemd.syntax(7), "Quoting").
func quoteUnit(s string) string {
	if s != "" && !strings.ContainsAny(s, " \t\"'\\;") {
		return s
	}
	return `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`).Replace(s) + `"`
}

// escapeUnit makes a text a part of a unit's name, as systemd-escape does (systemd.unit(5), "String Escaping for Inclusion in Unit Names").
func escapeUnit(s string) string {
	var b strings.Builder
	for i := range len(s) {
		switch c := s[i]; {
		case c >= 'a' && c <= 'z', c >= 'A' && c <= 'Z', c >= '0' && c <= '9', c == ':', c == '_', c == '.' && i > 0:
			b.WriteByte(c)
		case c == '/':
			b.WriteByte('-')
		default:
			b.WriteString(`\x` + strconv.FormatInt(int64(c)|0x100, 16)[1:])
		}
	}
	return b.String()
}
