package notify

import (
	"context"
	"crypto/sha256"
	"crypto/tls"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net"
	netmail "net/mail"
	"net/textproto"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/wneessen/go-mail"
	"github.com/wneessen/go-mail/smtp"
)

// post sends mails over a server that takes them.
type post struct {
	c        *Channel
	from     *netmail.Address
	to       []*netmail.Address
	host     string
	port     int
	tls      string // starttls, tls, none
	loopback bool
}

// maxRecipients is how many addresses a channel may have.
const maxRecipients = 100

func newMail(c *Channel) (sender, error) {
	p := &post{c: c}
	if err := p.addresses(); err != nil {
		return nil, err
	}
	if c.o.Server == "" {
		return nil, c.wrong("server", "is missing")
	}
	host, port, err := net.SplitHostPort(c.o.Server)
	if err != nil {
		host, port = strings.Trim(c.o.Server, "[]"), ""
	}
	if host == "" || strings.ContainsAny(c.o.Server, "/@ \t\r\n") {
		return nil, c.wrong("server", "is no host, or host:port")
	}
	p.host, p.loopback, p.tls = host, isLoopback(host), c.o.TLS
	if p.tls == "" {
		p.tls = "starttls"
		if p.loopback {
			p.tls = "none"
		}
	}
	usual := map[string]int{"starttls": 587, "tls": 465, "none": 25}
	p.port = usual[p.tls]
	if p.port == 0 {
		return nil, c.wrong("tls", "is none of starttls, tls, none")
	}
	if port != "" {
		if p.port, err = strconv.Atoi(port); err != nil || p.port < 1 || p.port > 65535 {
			return nil, c.wrong("server", "has no port from 1 to 65535")
		}
	}
	if c.o.User == "" && c.o.Password != "" {
		return nil, c.wrong("user", "is missing, though there is a password")
	}
	c.place = net.JoinHostPort(p.host, strconv.Itoa(p.port))
	return p, nil
}

// addresses reads who sends to whom.
func (p *post) addresses() error {
	o := p.c.o
	if len(o.To) == 0 || len(o.To) > maxRecipients {
		return p.c.wrong("to", fmt.Sprintf("wants 1 to %d addresses", maxRecipients))
	}
	for _, text := range o.To {
		a, err := address(text)
		if err != nil {
			return p.c.wrong("to", fmt.Sprintf("has %q, which is no address", text))
		}
		p.to = append(p.to, a)
	}
	if o.From != "" {
		a, err := address(o.From)
		if err != nil {
			return p.c.wrong("from", fmt.Sprintf("is %q, which is no address", o.From))
		}
		p.from = a
		return nil
	}
	if a, err := address(o.User); err == nil {
		p.from = &netmail.Address{Name: "firn", Address: a.Address}
		return nil
	}
	p.from = &netmail.Address{Name: "firn", Address: p.to[0].Address}
	return nil
}

// errAddress tells of characters that end lines.
var errAddress = errors.New("control characters")

func address(text string) (*netmail.Address, error) {
	if strings.ContainsFunc(text, control) {
		return nil, errAddress
	}
	a, err := netmail.ParseAddress(text)
	if err == nil && strings.ContainsFunc(a.Address+a.Name, control) {
		err = errAddress
	}
	return a, err
}

// isLoopback reports whether a name stands for this machine by itself, without asking anybody.
func isLoopback(host string) bool {
	ip := net.ParseIP(host)
	return ip != nil && ip.IsLoopback() || strings.EqualFold(host, "localhost")
}

func (p *post) send(ctx context.Context, n *notice) error {
	if n.left == nil {
		for _, a := range p.to {
			n.left = append(n.left, a.Address)
		}
	}
	m, err := p.compose(n)
	if err != nil {
		return &failure{reason: ErrRefused, err: err}
	}
	client, drop, err := p.dial(ctx)
	if err != nil {
		return p.judge(err)
	}
	defer drop()
	return p.hand(client, m, n)
}

// dial connects, encrypts and logs in. drop ends the connection; so does the end of ctx.
func (p *post) dial(ctx context.Context) (client *smtp.Client, drop func(), err error) {
	var conn net.Conn
	config := &tls.Config{ServerName: p.host, MinVersion: tls.VersionTLS12, RootCAs: p.c.o.Roots}
	left := p.c.o.Timeout
	if end, ok := ctx.Deadline(); ok {
		left = max(time.Until(end), time.Millisecond)
	}
	o := []mail.Option{mail.WithPort(p.port), mail.WithHELO(hello()), mail.WithTimeout(left), mail.WithTLSConfig(config), mail.WithTLSPolicy(mail.TLSMandatory)}
	if p.tls != "starttls" {
		o = append(o, mail.WithTLSPolicy(mail.NoTLS))
	}
	if p.c.o.User != "" {
		o = append(o, mail.WithUsername(p.c.o.User), mail.WithPassword(p.c.o.Password), mail.WithOpportunisticSMTPAuth(p.mechanisms()...))
	}
	stop := func() bool { return true }
	o = append(o, mail.WithDialContextFunc(func(ctx2 context.Context, network, place string) (net.Conn, error) {
		raw, err := (&net.Dialer{}).DialContext(ctx2, network, place)
		if err != nil {
			return nil, err
		}
		conn = raw
		stop = context.AfterFunc(ctx, func() { _ = raw.Close() })
		if p.tls == "tls" {
			conn = tls.Client(raw, config)
		}
		return conn, nil
	}))
	drop = func() {
		stop()
		if conn != nil {
			_ = conn.Close()
		}
	}
	c, err := mail.NewClient(p.host, o...)
	if err == nil {
		client, err = c.DialToSMTPClientWithContext(ctx)
	}
	if err != nil {
		drop()
		return nil, nil, err
	}
	return client, drop, nil
}

// mechanisms are the ways to log in, best first. In the clear a password is never sent but to this machine.
func (p *post) mechanisms() []mail.SMTPAuthType {
	switch {
	case p.tls != "none":
		return []mail.SMTPAuthType{mail.SMTPAuthSCRAMSHA256PLUS, mail.SMTPAuthSCRAMSHA256, mail.SMTPAuthSCRAMSHA1PLUS, mail.SMTPAuthSCRAMSHA1, mail.SMTPAuthPlain, mail.SMTPAuthLogin, mail.SMTPAuthCramMD5}
	case p.loopback:
		return []mail.SMTPAuthType{mail.SMTPAuthSCRAMSHA256, mail.SMTPAuthSCRAMSHA1, mail.SMTPAuthCramMD5, mail.SMTPAuthPlainNoEnc, mail.SMTPAuthLoginNoEnc}
	}
	return []mail.SMTPAuthType{mail.SMTPAuthSCRAMSHA256, mail.SMTPAuthSCRAMSHA1, mail.SMTPAuthCramMD5}
}

// hand hands the mail over to those who do not have it yet. Where the server refuses some of them, the others get it all the same.
func (p *post) hand(client *smtp.Client, m *mail.Msg, n *notice) error {
	if err := client.Mail(bare(p.from.Address)); err != nil {
		return p.judge(err)
	}
	var later []string
	var last error
	taken, refused := 0, 0
	for _, to := range n.left {
		err := client.Rcpt(bare(to))
		var said *textproto.Error
		switch {
		case err == nil:
			taken++
		case !errors.As(err, &said):
			return p.judge(err)
		case said.Code/100 == 4:
			later, last = append(later, to), err
		default:
			n.refused, last = append(n.refused, to), err
			refused++
		}
	}
	if taken > 0 {
		if err := p.data(client, m); err != nil {
			n.refused = n.refused[:len(n.refused)-refused] // all are asked again
			return err
		}
	}
	_ = client.Quit()
	n.left, n.got = later, n.got+taken
	if len(later)+len(n.refused) == 0 {
		return nil
	}
	f := &failure{}
	if last != nil {
		f = p.judge(last)
	}
	f.reason, f.err = ErrRecipient, fmt.Errorf("%s (%d of %d got it)", strings.Join(append(n.refused[:len(n.refused):len(n.refused)], later...), ", "), n.got, len(p.to))
	f.temporary = len(later) > 0
	return f
}

// bare is an address as the protocol has it: <a@example.org>.
func bare(address string) string { return (&netmail.Address{Address: address}).String() }

// data sends the mail itself. Once the server has said that it has it, nothing that follows counts.
func (p *post) data(client *smtp.Client, m *mail.Msg) error {
	w, err := client.Data()
	if err != nil {
		return p.judge(err)
	}
	if _, err := m.WriteTo(w); err != nil {
		return p.judge(err)
	}
	if err := w.Close(); err != nil {
		return p.judge(err)
	}
	return nil
}

// judge makes an error of what the library or the server says.
func (p *post) judge(err error) *failure {
	f := &failure{reason: ErrUnreachable, err: err, temporary: true}
	var said *textproto.Error
	switch {
	case errors.As(err, &said):
		f.status, f.answer, f.err = said.Code, said.Msg, fmt.Errorf("%d", said.Code)
		f.reason, f.temporary = ErrRefused, said.Code/100 == 4
		switch said.Code {
		case 421, 450, 451, 452:
			f.reason = ErrBusy
		case 432, 454, 530, 534, 535, 538:
			f.reason = ErrAuth
		}
	case timedOut(err):
		f.reason = ErrTimeout
	case untrusted(err):
		f.reason, f.temporary = ErrCertificate, false
	case errors.Is(err, mail.ErrNoSupportedAuthDiscovered), errors.Is(err, smtp.ErrUnencrypted):
		f.reason, f.temporary, f.err = ErrAuth, false, errors.New("the server offers no way to log in that is safe on this connection")
	case strings.Contains(err.Error(), "does not support STARTTLS"): // the library has no type for it
		f.reason, f.temporary, f.err = ErrPlain, false, errors.New("the server offers no STARTTLS")
	case strings.Contains(err.Error(), "does not support SMTP AUTH"):
		f.reason, f.temporary, f.err = ErrAuth, false, errors.New("the server lets nobody log in on this connection")
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		f.err = errors.New("the server hung up")
	}
	return f
}

// hello is how we call ourselves.
func hello() string {
	name, err := os.Hostname()
	if err != nil || name == "" || strings.ContainsFunc(name, func(r rune) bool {
		return !(r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || r == '.' || r == '-')
	}) {
		return "localhost"
	}
	return name
}

// compose makes the mail: a text, and the report as a file. What parts them is a digest of all that they say, so nothing that they say can have it.
func (p *post) compose(n *notice) (*mail.Msg, error) {
	m := mail.NewMsg(mail.WithCharset(mail.CharsetUTF8), mail.WithEncoding(mail.EncodingQP), mail.WithNoDefaultUserAgent(), mail.WithBoundary("firn-"+digest("boundary", n.key+n.text+string(n.m.Report))))
	m.FromMailAddress(p.from)
	m.ToMailAddress(p.to...)
	m.SetGenHeader(mail.HeaderSubject, strings.ReplaceAll(n.subject, "=?", "= ?")) // or it could bring an encoding of its own
	m.SetDateWithValue(n.now)
	m.SetMessageIDWithValue(p.messageID(n.key))
	if n.refers != "" {
		m.SetGenHeader(mail.HeaderInReplyTo, "<"+p.messageID(n.refers)+">")
		m.SetGenHeader(mail.HeaderReferences, "<"+p.messageID(n.refers)+">")
	}
	m.SetGenHeader("Auto-Submitted", "auto-generated")
	m.SetGenHeader("X-Firn-Event", strings.ReplaceAll(line(string(n.m.Event)), "=?", "= ?"))
	if n.m.Trouble() {
		m.SetImportance(mail.ImportanceHigh)
	}
	m.SetBodyString(mail.TypeTextPlain, strings.ReplaceAll(n.text, "\r\n", "\n"))
	if len(n.m.Report) > 0 {
		err := m.AttachReader("report.json", strings.NewReader(string(n.m.Report)), mail.WithFileContentType(kindJSON))
		if err != nil {
			return nil, err
		}
	}
	return m, nil
}

// messageID names a mail: the same message has the same name however often it is sent.
func (p *post) messageID(key string) string {
	domain := p.from.Address[strings.LastIndexByte(p.from.Address, '@')+1:]
	if strings.ContainsFunc(domain, func(r rune) bool { return r <= ' ' || r >= 0x7f || strings.ContainsRune("<>()[],;:\\\"", r) }) {
		domain = "firn.invalid"
	}
	return digest("message", key) + "@" + domain
}

func digest(what, of string) string {
	sum := sha256.Sum256([]byte("firn " + what + "\x00" + of))
	return hex.EncodeToString(sum[:16])
}
