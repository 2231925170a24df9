package mysql

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"

	"firn/internal/source"
)

// account is a user of the server, or a role.
type account struct {
	user, host string
	role       bool // MariaDB's: it has no host, and is made in another way; MySQL's are accounts like others
}

// String is the account in SQL.
func (a account) String() string {
	if a.role {
		return ident(a.user)
	}
	return ident(a.user) + "@" + ident(a.host)
}

// line is the account in a comment.
func (a account) line() string { return strings.ReplaceAll(a.String(), "\n", " ") }

// builtin are accounts that servers make for themselves.
var builtin = []string{"mariadb.sys", "mysql.sys", "mysql.session", "mysql.infoschema"}

// publicRole is MariaDB's role of everybody, which is always there.
const publicRole = "PUBLIC"

// each bounds how many accounts are asked for at once, since questions are arguments of a program.
const each = 50

// accounts lists accounts and roles.
func (s *server) accounts(ctx context.Context) ([]account, error) {
	version, err := s.ask(ctx, "SELECT version()")
	if err != nil {
		return nil, err
	}
	sql := "SELECT user, host, 'N' FROM mysql.user ORDER BY 1, 2"
	if len(version) == 1 && strings.Contains(version[0][0], "MariaDB") {
		sql = "SELECT user, host, is_role FROM mysql.user ORDER BY 1, 2"
	}
	list, err := s.ask(ctx, sql)
	if err != nil {
		return nil, err
	}
	var all []account
	for _, r := range list {
		if len(r) != 3 {
			return nil, fmt.Errorf("the server gave %d fields for an account, want 3", len(r))
		}
		if !slices.Contains(builtin, r[0]) {
			all = append(all, account{r[0], r[1], r[2] == "Y"})
		}
	}
	return all, nil
}

// asIs has a server say things in the one way that any server reads.
const asIs = "SET SESSION sql_mode = ''; SET SESSION sql_quote_show_create = 1; /*!80017 SET SESSION print_identified_with_as_hex = 1 */; "

// show runs a statement for each account, and returns what it gives for each: nothing where the server does not know an account that its table has, since it resolves no names of hosts.
func (s *server) show(ctx context.Context, what string, all []account) ([][]string, error) {
	answers := make([][]string, len(all))
	for from := 0; from < len(all); from += each {
		to := min(from+each, len(all))
		err := s.showSome(ctx, what, all[from:to], answers[from:to])
		for i := from; unknown(err) && i < to; i++ {
			if err := s.showSome(ctx, what, all[i:i+1], answers[i:i+1]); err != nil && !unknown(err) {
				return nil, err
			}
		}
		if err != nil && !unknown(err) {
			return nil, err
		}
	}
	return answers, nil
}

// unknown reports whether the server has said that there is no such account: ER_PASSWORD_NO_MATCH, ER_NONEXISTING_GRANT, ER_CANNOT_USER.
func unknown(err error) bool {
	var p *source.ProducerError
	return errors.As(err, &p) && slices.ContainsFunc([]string{"1133", "1141", "1396"}, func(n string) bool { return strings.Contains(p.Stderr, "ERROR "+n+" ") })
}

func (s *server) showSome(ctx context.Context, what string, some []account, answers [][]string) error {
	clear(answers)
	var sql strings.Builder
	sql.WriteString(asIs)
	for i, a := range some {
		fmt.Fprintf(&sql, "SELECT %d, ''; %s %v; ", i, what, a)
	}
	list, err := s.ask(ctx, sql.String())
	if err != nil {
		return err
	}
	at := 0
	for _, r := range list {
		if len(r) == 2 { // ours; what servers show of accounts has one column
			if at, err = strconv.Atoi(r[0]); err != nil || at >= len(some) {
				return fmt.Errorf("the server gave %q for the number of an account", r[0])
			}
			continue
		}
		answers[at] = append(answers[at], r[0])
	}
	return nil
}

// blockBegin begins the line before the statements of an account.
const blockBegin = "-- firn account "

// script are statements of accounts.
type script struct{ strings.Builder }

func newScript(what string) *script {
	s := &script{}
	s.WriteString("-- " + what + ", written by firn\nSET SESSION sql_mode = '';\nSET NAMES utf8mb4;\n")
	return s
}

func (s *script) add(a account, statements ...string) {
	if len(statements) == 0 {
		return
	}
	s.WriteString(blockBegin + a.line() + "\n")
	for _, text := range statements {
		s.WriteString(text + ";\n")
	}
}

// dumpUsers makes the stream of accounts and roles.
func (s *server) dumpUsers(ctx context.Context) (io.ReadCloser, error) {
	all, err := s.accounts(ctx)
	if err != nil {
		return nil, err
	}
	out := newScript("Accounts and roles")
	var people []account
	for _, a := range all {
		if !a.role {
			people = append(people, a)
		} else if a.user != publicRole {
			out.add(a, "CREATE ROLE IF NOT EXISTS "+a.String())
		}
	}
	made, err := s.show(ctx, "SHOW CREATE USER", people)
	if err != nil {
		return nil, err
	}
	for i, a := range people {
		var statements []string
		for _, text := range made[i] {
			if rest, ok := strings.CutPrefix(text, "CREATE USER "); ok {
				rest, _ = cutDefaultRole(rest)
				text = "CREATE USER IF NOT EXISTS " + rest
			}
			statements = append(statements, text)
		}
		out.add(a, statements...)
	}
	return io.NopCloser(strings.NewReader(out.String())), nil
}

// dumpGrants makes the stream of what accounts and roles may do.
func (s *server) dumpGrants(ctx context.Context) (io.ReadCloser, error) {
	all, err := s.accounts(ctx)
	if err != nil {
		return nil, err
	}
	shown, err := s.show(ctx, "SHOW GRANTS FOR", all)
	if err != nil {
		return nil, err
	}
	out, last := newScript("Grants"), &script{}
	for i, a := range all {
		var first, later []string
		for _, text := range shown[i] {
			if strings.HasPrefix(text, "GRANT ") {
				first = append(first, cutIdentified(text))
			} else {
				later = append(later, text) // which role is taken by default, and must have been granted
			}
		}
		out.add(a, first...)
		last.add(a, later...)
	}
	if err := s.defaultRoles(ctx, all, last); err != nil {
		return nil, err
	}
	out.WriteString(last.String())
	return io.NopCloser(strings.NewReader(out.String())), nil
}

// defaultRoles adds those that MySQL says where it says how an account is made, which is before they were granted.
func (s *server) defaultRoles(ctx context.Context, all []account, out *script) error {
	people := slices.DeleteFunc(slices.Clone(all), func(a account) bool { return a.role })
	made, err := s.show(ctx, "SHOW CREATE USER", people)
	if err != nil {
		return err
	}
	for i, a := range people {
		for _, text := range made[i] {
			if _, roles := cutDefaultRole(text); roles != "" {
				out.add(a, "ALTER USER "+a.String()+" DEFAULT ROLE "+roles)
			}
		}
	}
	return nil
}

// cutDefaultRole takes the roles out of a statement of MySQL that makes an account.
func cutDefaultRole(text string) (rest, roles string) {
	const begin = " DEFAULT ROLE "
	from := outside(text, 0, begin)
	if from < 0 {
		return text, ""
	}
	to := outside(text, from+len(begin), " REQUIRE ")
	if to < 0 {
		to = len(text)
	}
	return text[:from] + text[to:], text[from+len(begin) : to]
}

// cutIdentified takes out of a grant of MariaDB how the account identifies itself: users.sql says it, and accounts that are there already keep theirs.
func cutIdentified(text string) string {
	from := outside(text, 0, " IDENTIFIED ")
	if from < 0 {
		return text
	}
	to := len(text)
	for _, next := range []string{" REQUIRE ", " WITH "} {
		if at := outside(text, from+1, next); at >= 0 {
			to = min(to, at)
		}
	}
	return text[:from] + text[to:]
}

// outside finds sub in a statement from a place on, but not within quotes; -1: it is not there.
func outside(text string, from int, sub string) int {
	for i := from; i < len(text); i++ {
		switch c := text[i]; c {
		case '\'', '"', '`':
			for i++; i < len(text) && text[i] != c; i++ {
				if text[i] == '\\' && c != '`' {
					i++
				}
			}
		default:
			if strings.HasPrefix(text[i:], sub) {
				return i
			}
		}
	}
	return -1
}

// leaveOut removes the blocks of accounts that are there.
func leaveOut(text string, have map[string]bool) string {
	var out strings.Builder
	skip := false
	for line := range strings.Lines(text) {
		if name, ok := strings.CutPrefix(line, blockBegin); ok {
			skip = have[strings.TrimSuffix(name, "\n")]
		}
		if !skip {
			out.WriteString(line)
		}
	}
	return out.String()
}
