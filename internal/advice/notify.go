package advice

import (
	"fmt"

	"firn/internal/notify"
)

// notifyRules are about channels that did not take a message.
func notifyRules() []rule {
	return []rule{
		is(notify.ErrPlain, `port 465 wants tls = "tls"; a server on this machine may do with tls = "none"`),
		is(notify.ErrCertificate, "check the server's name and port; an authority of one's own has to be among those that the system trusts (SSL_CERT_FILE names others)"),
		is(notify.ErrAuth, "check user and password, or the token, of that channel"),
		is(notify.ErrGone, "check the address of that channel: it may have been deleted over there"),
		is(notify.ErrRedirect, "give the address that it leads to as url"),
		is(notify.ErrRecipient, "check the addresses in to"),
		is(notify.ErrTimeout, "check server or url, the network, and HTTPS_PROXY where there is a proxy; timeout and tries of the channel can be raised"),
		is(notify.ErrUnreachable, "check server or url, the network, and HTTPS_PROXY where there is a proxy"),
		is(notify.ErrBusy, "try it again later: firn notify test"),
		is(notify.ErrCommand, "try the command by hand: it gets the message as JSON on its standard input"),
		as(func(e *notify.OptionError) string { return fmt.Sprintf("look at %s in [notify.%s]", e.Key, e.Channel) }),
	}
}
