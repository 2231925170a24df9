package gf16

import (
	"bytes"
	"flag"
	"fmt"
	"os"
	"testing"
)

var update = flag.Bool("update", false, "write the assembly files anew")

// TestAssembly holds kernels_amd64.s to the generator below, which is its source.
func TestAssembly(t *testing.T) {
	const name = "kernels_amd64.s"
	g := new(generator)
	g.file()
	if *update {
		if err := os.WriteFile(name, g.Bytes(), 0o666); err != nil {
			t.Fatal(err)
		}
	}
	have, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(bytes.ReplaceAll(have, []byte("\r\n"), []byte("\n")), g.Bytes()) {
		t.Errorf("%s is not what its generator writes: go test -tags purego -run TestAssembly -update", name)
	}
}

// generator writes the kernels. All have the same shape: for each unit of columns, sums of all inputs are made in registers, for up to K
// outputs at once, and then added to the outputs in memory.
type generator struct{ bytes.Buffer }

func (g *generator) line(format string, args ...any) { fmt.Fprintf(g, format+"\n", args...) }

// op writes an instruction.
func (g *generator) op(format string, args ...any) { g.line("\t"+format, args...) }

func (g *generator) file() {
	g.line("// Written by assembly_test.go; do not edit.")
	g.line("")
	g.line("//go:build !purego")
	g.line("")
	g.line("#include \"textflag.h\"")
	g.line("")
	g.line("// In each 16 bytes: low bytes of words first, then high bytes; and back.")
	g.bytes16("apart", []byte{0, 2, 4, 6, 8, 10, 12, 14, 1, 3, 5, 7, 9, 11, 13, 15})
	g.bytes16("together", []byte{0, 8, 1, 9, 2, 10, 3, 11, 4, 12, 5, 13, 6, 14, 7, 15})
	g.bytes16("nibble", bytes.Repeat([]byte{15}, 16))
	g.kernel(&affine{width: 64})
	g.kernel(&affine{width: 32})
	g.kernel(&shuffle{width: 64})
	g.kernel(&shuffle{width: 32})
	g.line("")
	g.line("// func leaf7() (ecx uint32)")
	g.line("TEXT ·leaf7(SB), NOSPLIT, $0-4")
	for _, s := range []string{"MOVL $7, AX", "XORL CX, CX", "CPUID", "MOVL CX, ecx+0(FP)", "RET"} {
		g.op("%s", s)
	}
}

func (g *generator) bytes16(name string, b []byte) {
	for i := 0; i < 16; i += 8 {
		x := uint64(0)
		for j := 7; j >= 0; j-- {
			x = x<<8 | uint64(b[i+j])
		}
		g.line("DATA %s<>+%d(SB)/8, $%#016x", name, i, x)
	}
	g.line("GLOBL %s<>(SB), RODATA|NOPTR, $16", name)
}

// shape is what kernels differ in.
type shape interface {
	name() string
	outs() int               // K
	unit() int               // bytes of a unit of columns
	size() int               // bytes of a factor
	constants(g *generator)  // loads what stays in registers
	acc(k int) []int         // registers of output k's sum
	input(g *generator)      // loads the unit of columns at (R13)(R8)
	add(g *generator, k int) // adds its product with the factor at size·k(R11) to output k's sum
	finish(g *generator, k int)
	reg(n int) string
	move() string // instruction that loads and stores a register
	xor() string
}

// ahead is how many bytes ahead the inputs are called for: there are more of them than the processor follows on its own.
const ahead = 512

func (g *generator) kernel(s shape) {
	g.line("")
	g.line("// func %s(out, in *[]byte, coef *byte, outs, ins, off, end int)", s.name())
	g.line("TEXT ·%s(SB), NOSPLIT, $0-56", s.name())
	for _, arg := range []string{"out+0(FP), DI", "in+8(FP), SI", "coef+16(FP), DX", "outs+24(FP), AX", "ins+32(FP), CX", "off+40(FP), R8", "end+48(FP), R9"} {
		g.op("MOVQ %s", arg)
	}
	s.constants(g)
	for k := s.outs(); k > 1; k-- {
		g.op("CMPQ AX, $%d", k)
		g.op("JEQ  outs%d", k)
	}
	for k := 1; k <= s.outs(); k++ {
		g.loop(s, k)
	}
}

// loop writes the kernel for exactly n outputs.
func (g *generator) loop(s shape, n int) {
	g.line("")
	g.line("outs%d:", n)
	for k := range n {
		for _, r := range s.acc(k) {
			g.op("%s %s, %s, %s", s.xor(), s.reg(r), s.reg(r), s.reg(r))
		}
	}
	for _, c := range []string{"SI, R10", "DX, R11", "CX, R12"} {
		g.op("MOVQ %s", c)
	}
	g.line("")
	g.line("ins%d:", n)
	g.op("MOVQ (R10), R13")
	for i := 0; i < s.unit(); i += 64 {
		g.op("PREFETCHT0 %d(R13)(R8*1)", ahead+i)
	}
	s.input(g)
	for k := range n {
		s.add(g, k)
	}
	g.op("ADDQ $24, R10")
	g.op("ADDQ $%d, R11", s.size()*n)
	g.op("DECQ R12")
	g.op("JNE  ins%d", n)
	for k := range n {
		g.op("MOVQ %d(DI), R13", 24*k)
		s.finish(g, k)
		width := s.unit() / len(s.acc(k))
		for i, r := range s.acc(k) {
			g.op("%s %d(R13)(R8*1), %s, %s", s.xor(), i*width, s.reg(r), s.reg(r))
			g.op("%s %s, %d(R13)(R8*1)", s.move(), s.reg(r), i*width)
		}
	}
	g.op("ADDQ $%d, R8", s.unit())
	g.op("CMPQ R8, R9")
	g.op("JLT  outs%d", n)
	g.op("VZEROUPPER")
	g.op("RET")
}

// vector is what kernels of one width have in common.
func vectorReg(width, n int) string {
	if width == 64 {
		return fmt.Sprint("Z", n)
	}
	return fmt.Sprint("Y", n)
}

func vectorMove(width int) string {
	if width == 64 {
		return "VMOVDQU64"
	}
	return "VMOVDQU"
}

func vectorXor(width int) string {
	if width == 64 {
		return "VPXORQ"
	}
	return "VPXOR"
}

func vectorBroadcast(width int) string {
	if width == 64 {
		return "VBROADCASTI64X2"
	}
	return "VBROADCASTI128"
}

// affine multiplies with GFNI: a factor is four matrices of 8 × 8 bits, from each byte of a word to each. With the low bytes of 8 words in one
// quadword and the high bytes in the next, and the same once more the other way round, two instructions do them all.
type affine struct{ width int }

func (a *affine) name() string     { return fmt.Sprint("mulAddAffine", 8*a.width) }
func (a *affine) size() int        { return 32 }
func (a *affine) reg(n int) string { return vectorReg(a.width, n) }
func (a *affine) move() string     { return vectorMove(a.width) }
func (a *affine) xor() string      { return vectorXor(a.width) }

func (a *affine) outs() int {
	if a.width == 64 {
		return 10
	}
	return 8
}

func (a *affine) parts() int {
	if a.width == 64 {
		return 2
	}
	return 1
}

func (a *affine) unit() int { return a.parts() * a.width }

func (a *affine) acc(k int) []int {
	if a.width == 64 {
		return []int{2 * k, 2*k + 1}
	}
	return []int{k}
}

// After the sums come: the input and its swapped twin, for each part; two matrices; two products; the order of bytes.
func (a *affine) after(n int) string { return a.reg(len(a.acc(0))*a.outs() + n) }

func (a *affine) order() string { return a.after(2*a.parts() + 4) }

func (a *affine) constants(g *generator) {
	g.op("%s apart<>(SB), %s", vectorBroadcast(a.width), a.order())
}

func (a *affine) input(g *generator) {
	for i := range a.parts() {
		g.op("%s %d(R13)(R8*1), %s", a.move(), i*a.width, a.after(2*i))
		g.op("VPSHUFB %s, %s, %s", a.order(), a.after(2*i), a.after(2*i))
		g.op("VPSHUFD $0x4e, %s, %s", a.after(2*i), a.after(2*i+1))
	}
}

func (a *affine) add(g *generator, k int) {
	m := 2 * a.parts()
	g.op("%s %d(R11), %s", vectorBroadcast(a.width), 32*k, a.after(m))
	g.op("%s %d(R11), %s", vectorBroadcast(a.width), 32*k+16, a.after(m+1))
	for i, r := range a.acc(k) {
		g.op("VGF2P8AFFINEQB $0, %s, %s, %s", a.after(m), a.after(2*i), a.after(m+2))
		g.op("VGF2P8AFFINEQB $0, %s, %s, %s", a.after(m+1), a.after(2*i+1), a.after(m+3))
		if a.width == 64 {
			g.op("VPTERNLOGQ $0x96, %s, %s, %s", a.after(m+2), a.after(m+3), a.reg(r))
			continue
		}
		g.op("VPXOR %s, %s, %s", a.after(m+2), a.reg(r), a.reg(r))
		g.op("VPXOR %s, %s, %s", a.after(m+3), a.reg(r), a.reg(r))
	}
}

func (a *affine) finish(g *generator, k int) {
	if k == 0 {
		g.op("%s together<>(SB), %s", vectorBroadcast(a.width), a.after(0))
	}
	for _, r := range a.acc(k) {
		g.op("VPSHUFB %s, %s, %s", a.after(0), a.reg(r), a.reg(r))
	}
}

// shuffle multiplies by looking up: a factor is eight tables, for each nibble of a word the low and the high bytes of its 16 products. The low bytes
// of a unit's words are in one register, the high bytes in another.
type shuffle struct{ width int }

func (s *shuffle) name() string     { return fmt.Sprint("mulAddShuffle", 8*s.width) }
func (s *shuffle) size() int        { return 128 }
func (s *shuffle) unit() int        { return 2 * s.width }
func (s *shuffle) reg(n int) string { return vectorReg(s.width, n) }
func (s *shuffle) move() string     { return vectorMove(s.width) }
func (s *shuffle) xor() string      { return vectorXor(s.width) }
func (s *shuffle) acc(k int) []int  { return []int{2 * k, 2*k + 1} }

func (s *shuffle) outs() int {
	if s.width == 64 {
		return 10
	}
	return 4
}

// After the sums come: four registers of nibbles, two products, and where there are 32 registers two constants.
func (s *shuffle) after(n int) string { return s.reg(2*s.outs() + n) }

func (s *shuffle) constants(g *generator) {
	g.op("%s nibble<>(SB), %s", vectorBroadcast(s.width), s.after(6))
	g.op("%s apart<>(SB), %s", vectorBroadcast(s.width), s.after(7))
}

func (s *shuffle) and() string {
	if s.width == 64 {
		return "VPANDQ"
	}
	return "VPAND"
}

func (s *shuffle) input(g *generator) {
	g.op("%s (R13)(R8*1), %s", s.move(), s.after(0))
	g.op("%s %d(R13)(R8*1), %s", s.move(), s.width, s.after(1))
	g.op("VPSHUFB %s, %s, %s", s.after(7), s.after(0), s.after(0))
	g.op("VPSHUFB %s, %s, %s", s.after(7), s.after(1), s.after(1))
	g.op("VPUNPCKHQDQ %s, %s, %s", s.after(1), s.after(0), s.after(2)) // high bytes
	g.op("VPUNPCKLQDQ %s, %s, %s", s.after(1), s.after(0), s.after(0)) // low bytes
	for _, n := range []int{0, 2} {
		g.op("VPSRLQ $4, %s, %s", s.after(n), s.after(n+1))
		g.op("%s %s, %s, %s", s.and(), s.after(6), s.after(n), s.after(n))
		g.op("%s %s, %s, %s", s.and(), s.after(6), s.after(n+1), s.after(n+1))
	}
}

func (s *shuffle) add(g *generator, k int) {
	for half, r := range s.acc(k) {
		for n := 0; n < 4; n += 2 {
			for i := range 2 {
				g.op("%s %d(R11), %s", vectorBroadcast(s.width), 128*k+16*(2*(n+i)+half), s.after(4+i))
				g.op("VPSHUFB %s, %s, %s", s.after(n+i), s.after(4+i), s.after(4+i))
			}
			if s.width == 64 {
				g.op("VPTERNLOGQ $0x96, %s, %s, %s", s.after(4), s.after(5), s.reg(r))
				continue
			}
			g.op("VPXOR %s, %s, %s", s.after(4), s.reg(r), s.reg(r))
			g.op("VPXOR %s, %s, %s", s.after(5), s.reg(r), s.reg(r))
		}
	}
}

func (s *shuffle) finish(g *generator, k int) {
	if k == 0 {
		g.op("%s together<>(SB), %s", vectorBroadcast(s.width), s.after(0))
	}
	lo, hi := s.reg(s.acc(k)[0]), s.reg(s.acc(k)[1])
	g.op("VPUNPCKHQDQ %s, %s, %s", hi, lo, s.after(1))
	g.op("VPUNPCKLQDQ %s, %s, %s", hi, lo, lo)
	g.op("VPSHUFB %s, %s, %s", s.after(0), lo, lo)
	g.op("VPSHUFB %s, %s, %s", s.after(0), s.after(1), hi)
}
