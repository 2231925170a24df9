package timer

import (
	"encoding/xml"
	"fmt"
	"path"
	"strings"
	"time"
)

// launchd is one agent or daemon (launchd.plist(5)). What was missed while the machine slept runs once when it wakes.
func (o Options) launchd() ([]File, error) {
	dir, label := "/Library/LaunchDaemons", "org."+o.Name
	if o.User {
		if !path.IsAbs(o.Home) {
			return nil, &Error{"home", o.Home, "want an absolute path"}
		}
		dir = path.Join(o.Home, "Library", "LaunchAgents")
	}
	var b strings.Builder
	b.WriteString(xml.Header + `<!DOCTYPE plist PUBLIC "-//Apple//DTD PLIST 1.0//EN" "http://www.apple.com/DTDs/PropertyList-1.0.dtd">` + "\n")
	fmt.Fprintf(&b, "<!--\n%s-->\n<plist version=\"1.0\">\n<dict>\n", o.header(""))
	key := func(name, value string) { fmt.Fprintf(&b, "\t<key>%s</key>\n%s", name, value) }
	text := func(s string) string { return "\t<string>" + escapeXML(s) + "</string>\n" }
	key("Label", text(label))
	var args strings.Builder
	for _, a := range o.args("") {
		args.WriteString("\t" + text(a))
	}
	key("ProgramArguments", "\t<array>\n"+args.String()+"\t</array>\n")
	if len(o.Env) > 0 {
		var env strings.Builder
		for _, e := range o.Env {
			name, value, _ := strings.Cut(e, "=")
			fmt.Fprintf(&env, "\t\t<key>%s</key>\n\t%s", escapeXML(name), text(value))
		}
		key("EnvironmentVariables", "\t<dict>\n"+env.String()+"\t</dict>\n")
	}
	if o.Serve {
		key("RunAtLoad", "\t<true/>\n")
		key("KeepAlive", "\t<dict>\n\t\t<key>SuccessfulExit</key>\n\t\t<false/>\n\t</dict>\n")
		key("ThrottleInterval", "\t<integer>30</integer>\n")
	} else {
		key("StartInterval", fmt.Sprintf("\t<integer>%d</integer>\n", int(o.Every/time.Second)))
	}
	key("ProcessType", text("Background"))
	key("LowPriorityIO", "\t<true/>\n")
	key("Nice", "\t<integer>10</integer>\n")
	key("Umask", "\t<integer>63</integer>\n") // 0077
	key("ExitTimeOut", "\t<integer>150</integer>\n")
	b.WriteString("</dict>\n</plist>\n")
	return []File{{Path: path.Join(dir, label+".plist"), Mode: 0o644, Content: []byte(b.String()), Unit: label}}, nil
}

func escapeXML(s string) string {
	var b strings.Builder
	_ = xml.EscapeText(&b, []byte(s)) // a Builder takes everything
	return b.String()
}
