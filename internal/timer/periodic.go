package timer

import (
	"strings"
	"time"
)

// periodic is a script that FreeBSD runs each night (periodic(8)); for other paces and the daemon there is cron.
func (o Options) periodic() ([]File, error) {
	if o.Serve || o.Every != 24*time.Hour {
		return nil, &Error{"kind", string(Periodic), "it runs once a day; cron does what comes more often"}
	}
	words := []string{"/usr/bin/env"}
	for _, a := range append(append([]string(nil), o.Env...), o.args("")...) {
		words = append(words, quoteShell(a))
	}
	variable := "daily_" + strings.ReplaceAll(o.Name, "-", "_") + "_enable"
	script := "#!/bin/sh\n" + o.header("# ") + `
if [ -r /etc/defaults/periodic.conf ]; then
	. /etc/defaults/periodic.conf
	source_periodic_confs
fi
case "${` + variable + `:-YES}" in
[Nn][Oo]) exit 0 ;;
esac
` + strings.Join(words, " ") + `
case $? in
0) exit 0 ;;
3) exit 1 ;; # done, but something could not be read
*) exit 2 ;;
esac
`
	return []File{{Path: "/usr/local/etc/periodic/daily/500." + o.Name, Mode: 0o755, Content: []byte(script)}}, nil
}
