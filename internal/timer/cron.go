package timer

import (
	"bytes"
	"fmt"
	"hash/fnv"
	"strings"
	"time"
)

// maxCron is how long a command of a crontab may be for the oldest cron in use, in bytes.
const maxCron = 990

// cron is a file for cron.d, or a block for a crontab.
func (o Options) cron() ([]File, error) {
	user := ""
	if !o.User && !o.Crontab {
		user = "root "
	}
	command := cronCommand(o.Env, o.args(""))
	if len(command) > maxCron {
		return nil, &Error{"command", command, fmt.Sprintf("cron takes up to %d bytes", maxCron)}
	}
	line := o.moments() + " " + user + command + "\n"
	if o.User || o.Crontab {
		return []File{{Content: []byte(o.begin() + o.header("# ") + line + o.end())}}, nil
	}
	// A name with a dot in it would be passed over.
	return []File{{Path: "/etc/cron.d/" + o.Name, Mode: 0o644, Content: []byte(o.header("# ") + line)}}, nil
}

func (o Options) begin() string { return "# begin " + o.Name + "\n" }
func (o Options) end() string   { return "# end " + o.Name + "\n" }

// moments are the five fields. Hosts differ in the minute by their key.
func (o Options) moments() string {
	if o.Serve {
		return "@reboot"
	}
	h := fnv.New32a()
	h.Write([]byte(o.Key))
	m := int(o.Every / time.Minute)
	offset := 0
	if o.Key != "" {
		offset = int(h.Sum32() % uint32(min(m, 60)))
	}
	switch {
	case m == 1:
		return "* * * * *"
	case m < 60:
		minutes := []string{}
		for at := offset; at < 60; at += m {
			minutes = append(minutes, fmt.Sprint(at))
		}
		return strings.Join(minutes, ",") + " * * * *"
	case m == 60:
		return fmt.Sprintf("%d * * * *", offset)
	case m < 24*60:
		return fmt.Sprintf("%d */%d * * *", offset, m/60)
	}
	return fmt.Sprintf("%d 0 * * *", offset)
}

// cronCommand is a command line for cron: env gives the program what a crontab has not, whatever shell and variables the lines before have set; a percent sign would end the line (crontab(5)).
func cronCommand(env, args []string) string {
	words := []string{"/usr/bin/env"}
	for _, e := range env {
		words = append(words, quoteShell(e))
	}
	for _, a := range args {
		words = append(words, quoteShell(a))
	}
	return strings.ReplaceAll(strings.Join(words, " "), "%", `\%`)
}

// quoteShell quotes a word for a POSIX shell where it needs that.
func quoteShell(s string) string {
	if s != "" && strings.Trim(s, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_./:=,@+") == "" {
		return s
	}
	return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'"
}

// splice puts a block into a crontab, in the place of one with the same marks, else at the end; an empty block is taken out. All other bytes stay. it fails where a mark has lost its other.
func splice(crontab, block []byte, begin, end string) ([]byte, error) {
	from, to, err := find(crontab, begin, end)
	if err != nil {
		return nil, err
	}
	if from < 0 {
		if len(block) == 0 {
			return crontab, nil
		}
		out := bytes.Clone(crontab)
		if len(out) > 0 && out[len(out)-1] != '\n' {
			out = append(out, '\n')
		}
		return append(out, block...), nil
	}
	return append(append(bytes.Clone(crontab[:from]), block...), crontab[to:]...), nil
}

// find finds a block with its marks; from is negative where there is none.
func find(crontab []byte, begin, end string) (from, to int, err error) {
	from, to = -1, -1
	at := 0
	for line := range bytes.Lines(crontab) {
		text := string(bytes.TrimRight(line, "\r\n")) + "\n"
		switch {
		case text == begin && from >= 0, text == end && (from < 0 || to >= 0):
			return -1, -1, &Error{"crontab", strings.TrimSpace(text), "this line stands there without the one that belongs to it, or twice"}
		case text == begin:
			from = at
		case text == end:
			to = at + len(line)
		}
		at += len(line)
	}
	if from >= 0 && to < 0 {
		return -1, -1, &Error{"crontab", strings.TrimSpace(begin), "this line stands there without the one that belongs to it"}
	}
	return from, to, nil
}
