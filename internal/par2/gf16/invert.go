package gf16

import (
	"encoding/binary"
	"errors"
)

// ErrSingular is the error of Select where the rows do not determine the unknowns.
var ErrSingular = errors.New("gf16: the equations do not determine the unknowns")

// Select picks n of the given rows of n factors, the earliest that are independent of those before them, and inverts their matrix. It returns the
// numbers of the rows and the inverse: unknown u is the sum over k of inverse[u*n+k] times the right side of row picked[k].
// It needs about 4·n² bytes and n³ steps. ErrSingular: the rows leave an unknown open.
func Select(n, rows int, row func(r int, factors []uint16)) (picked []int, inverse []uint16, err error) {
	e := &elimination{n: n, bytes: 4 * n, pivot: make([]int, 0, n)}
	factors := make([]uint16, n)
	for r := 0; r < rows && len(picked) < n; r++ {
		row(r, factors)
		if e.add(factors) {
			picked = append(picked, r)
		}
	}
	if len(picked) < n {
		return nil, nil, ErrSingular
	}
	inverse = make([]uint16, n*n)
	for k, b := range e.rows {
		for j := range n {
			inverse[e.pivot[k]*n+j] = binary.LittleEndian.Uint16(b[2*(n+j):])
		}
	}
	return picked, inverse, nil
}

// elimination is Gauss and Jordan's, row by row: every row has a 1 in its own pivot column and 0 in those of all others. Right of the n factors
// stands which sum of the original rows it is.
type elimination struct {
	n     int
	bytes int // of a row
	rows  [][]byte
	pivot []int // column of each row
}

// add takes one more row, and reports whether it is independent of the rows before.
func (e *elimination) add(factors []uint16) bool {
	b := make([]byte, e.bytes)
	for j, f := range factors {
		binary.LittleEndian.PutUint16(b[2*j:], f)
	}
	binary.LittleEndian.PutUint16(b[2*(e.n+len(e.rows)):], 1)
	known := make([]uint16, len(e.rows))
	for k := range known {
		known[k] = factors[e.pivot[k]]
	}
	NewMatrix(1, len(known), known).MulAdd([][]byte{b}, e.rows)
	p := 0
	for p < e.n && binary.LittleEndian.Uint16(b[2*p:]) == 0 {
		p++
	}
	if p == e.n {
		return false
	}
	unit := make([]byte, e.bytes)
	inv := Inv(binary.LittleEndian.Uint16(b[2*p:]))
	NewMatrix(1, 1, []uint16{inv}).MulAdd([][]byte{unit}, [][]byte{b})
	for k, r := range e.rows {
		known[k] = binary.LittleEndian.Uint16(r[2*p:])
	}
	NewMatrix(len(known), 1, known).MulAdd(e.rows, [][]byte{unit})
	e.rows, e.pivot = append(e.rows, unit), append(e.pivot, p)
	return true
}
