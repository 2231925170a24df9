package mysql

import (
	"bufio"
	"bytes"
	"io"
)

const (
	joinBuffer = 1 << 20   // bytes; longer lines are passed on in pieces
	maxJoined  = 512 << 10 // bytes of a joined statement; servers take at least 1 MiB
)

// joiner reads a dump with one row in a statement, and joins statements that follow one another and insert into the same table. Nothing else changes, except for the name of
// the database in the one kind of statement that a dump of a single one has it in, where old is not empty.
//
// Dumpers write each insertion in one line, since they escape line feeds in texts; where a routine or trigger may have lines of its own they first change the delimiter.
type joiner struct {
	in       *bufio.Reader
	old, new string // names of the database in SQL

	out    []byte // to be read from at on
	at     int
	prefix []byte // of the open statement, such as "INSERT INTO `t` VALUES "
	size   int    // of the open statement; 0: there is none
	body   bool   // of a routine: the delimiter is another
	middle bool   // of a long line
	err    error
}

func newJoiner(in *bufio.Reader, old, new string) *joiner {
	j := &joiner{in: in}
	if old != new {
		j.old, j.new = ident(old), ident(new)
	}
	return j
}

// Read implements io.Reader.
func (j *joiner) Read(b []byte) (int, error) {
	for j.at == len(j.out) && len(b) > 0 {
		if j.err != nil {
			return 0, j.err
		}
		j.out, j.at = j.out[:0], 0
		for len(j.out) < len(b) && j.err == nil {
			j.step()
		}
		if j.err != nil && j.err != io.EOF {
			j.out = j.out[:0] // a statement that is not whole must not be run
		}
	}
	n := copy(b, j.out[j.at:])
	j.at += n
	return n, nil
}

// step reads a line, or a piece of a long one.
func (j *joiner) step() {
	line, err := j.in.ReadSlice('\n')
	whole := err == nil && !j.middle
	j.middle = err == bufio.ErrBufferFull
	if err != nil && err != bufio.ErrBufferFull {
		j.err = err
	}
	if !whole {
		j.end()
		j.out = append(j.out, line...)
		return
	}
	switch {
	case j.body:
		j.body = !bytes.Equal(bytes.TrimRight(line, " \r\n"), []byte("DELIMITER ;"))
	case bytes.HasPrefix(line, []byte("DELIMITER ")):
		j.body = true
	default:
		if n := insertion(line); n > 0 {
			j.row(line[:n], line[n:len(line)-len(";\n")])
			return
		}
	}
	j.end()
	j.renamed(line)
}

// row adds a row to the open statement, or begins one.
func (j *joiner) row(prefix, row []byte) {
	if j.size > 0 && j.size+len(row) < maxJoined && bytes.Equal(prefix, j.prefix) {
		j.out = append(append(j.out, ",\n"...), row...)
		j.size += len(row) + 2
		return
	}
	j.end()
	j.prefix = append(j.prefix[:0], prefix...)
	j.out = append(append(j.out, prefix...), row...)
	j.size = len(prefix) + len(row)
}

// end closes the open statement.
func (j *joiner) end() {
	if j.size > 0 {
		j.out = append(j.out, ";\n"...)
		j.size = 0
	}
}

// renamed passes a line on. Around routines of another collation, dumpers change that of the database, by its name, and change it back.
func (j *joiner) renamed(line []byte) {
	const alter = "ALTER DATABASE "
	if j.old != "" && !j.body && bytes.HasPrefix(line, []byte(alter+j.old+" CHARACTER SET ")) {
		j.out = append(append(j.out, alter...), j.new...)
		line = line[len(alter)+len(j.old):]
	}
	j.out = append(j.out, line...)
}

// insertion is the length of what stands before the row in a line that is one whole statement which inserts one; 0: it is none.
func insertion(line []byte) int {
	const begin, values, end = "INSERT INTO `", " VALUES (", ");\n"
	if !bytes.HasPrefix(line, []byte(begin)) || !bytes.HasSuffix(line, []byte(end)) {
		return 0
	}
	quoted := true
	for i := len(begin); i < len(line); i++ {
		switch c := line[i]; {
		case c == '`':
			quoted = !quoted
		case quoted:
		case c == ' ' && bytes.HasPrefix(line[i:], []byte(values)):
			return i + len(values) - 1
		case c == '\'' || c == ';':
			return 0
		}
	}
	return 0
}
