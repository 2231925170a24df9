package cli

import (
	"strings"
	"unicode/utf8"
)

// table prints rows in columns.
type table struct {
	c     *console
	right []bool
	rows  [][]string
	codes map[int]string // colours of rows, where they are shown
}

// table begins a table. A column whose title begins with ">" is aligned to the right.
func (c *console) table(titles ...string) *table {
	t := &table{c: c, right: make([]bool, len(titles))}
	head := make([]string, len(titles))
	for i, title := range titles {
		head[i], t.right[i] = strings.CutPrefix(title, ">")
	}
	t.rows = append(t.rows, head)
	return t
}

func (t *table) row(cells ...string) {
	for i := range cells {
		cells[i] = printable(cells[i])
	}
	t.rows = append(t.rows, cells)
}

// colour gives the last row a colour of terminals ("31": red), where standard output is one that shows them.
func (t *table) colour(code string) {
	if code == "" || !coloured() {
		return
	}
	if t.codes == nil {
		t.codes = map[int]string{}
	}
	t.codes[len(t.rows)-1] = code
}

// print prints the table, without its titles where there is no row. Columns that are empty throughout are left out.
func (t *table) print() {
	if len(t.rows) == 1 {
		return
	}
	widths := make([]int, len(t.right))
	used := make([]bool, len(t.right))
	for n, row := range t.rows {
		for i, cell := range row {
			widths[i] = max(widths[i], utf8.RuneCountInString(cell))
			used[i] = used[i] || n > 0 && cell != ""
		}
	}
	for n, row := range t.rows {
		var line strings.Builder
		for i, cell := range row {
			if !used[i] {
				continue
			}
			pad := strings.Repeat(" ", widths[i]-utf8.RuneCountInString(cell))
			if t.right[i] {
				line.WriteString(pad + cell + "  ")
			} else {
				line.WriteString(cell + pad + "  ")
			}
		}
		text := strings.TrimRight(line.String(), " ")
		if code := t.codes[n]; code != "" {
			text = "\x1b[" + code + "m" + text + "\x1b[0m"
		}
		t.c.print("%s\n", text)
	}
}
