package par2

import (
	"bytes"
	"flag"
	"fmt"
	"math"
	"os"
	"testing"
)

var update = flag.Bool("update", false, "write the assembly files anew")

// TestAssembly holds the assembly files to the generators below, which are their source.
func TestAssembly(t *testing.T) {
	for name, write := range map[string]func(*generator){"chains_amd64.s": (*generator).chains, "lanes_amd64.s": (*generator).lanes} {
		g := new(generator)
		g.line("// Written by assembly_test.go; do not edit.")
		g.line("")
		g.line("//go:build !purego")
		g.line("")
		g.line("#include \"textflag.h\"")
		write(g)
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
}

type generator struct{ bytes.Buffer }

func (g *generator) line(format string, args ...any) { fmt.Fprintf(g, format+"\n", args...) }

// op writes an instruction.
func (g *generator) op(format string, args ...any) { g.line("\t"+format, args...) }

// md5Step tells step i of MD5 (RFC 1321): which word of the block it takes, its constant, and by how much it rotates.
func md5Step(i int) (word int, constant uint32, rotate int) {
	round, n := i/16, i%16
	word = [4]int{n, 5*n + 1, 3*n + 5, 7 * n}[round] % 16
	rotate = [4][4]int{{7, 12, 17, 22}, {5, 9, 14, 20}, {4, 11, 16, 23}, {6, 10, 15, 21}}[round][n%4]
	return word, uint32(math.Floor(math.Abs(math.Sin(float64(i+1))) * (1 << 32))), rotate
}

// chains writes the kernels that hash a file and its slices at once. A chain of MD5 is bound by the latency of its steps: two take little longer than one, and
// whatever else is woven in between takes no time at all.
func (g *generator) chains() {
	g.line("")
	g.line("// func md5Pair(s *[2][4]uint32, p *byte, blocks int)")
	g.line("TEXT ·md5Pair(SB), NOSPLIT, $0-24")
	for _, arg := range []string{"s+0(FP), R13", "p+8(FP), SI", "blocks+16(FP), AX"} {
		g.op("MOVQ %s", arg)
	}
	g.end("blocks+16(FP)")
	g.loadChains()
	g.line("")
	g.line("loop:")
	g.block(nil)
	g.op("ADDQ $64, SI")
	g.op("CMPQ SI, blocks+16(FP)")
	g.op("JNE  loop")
	g.op("RET")

	g.line("")
	g.line("// What CRC-32 multiplies low and high quadwords by to move them on by 64 bytes.")
	g.line("DATA fold<>+0(SB)/8, $0x154442bd4")
	g.line("DATA fold<>+8(SB)/8, $0x1c6e41596")
	g.line("GLOBL fold<>(SB), RODATA|NOPTR, $16")
	g.line("DATA apart<>+0(SB)/8, $0x0e0c0a0806040200")
	g.line("DATA apart<>+8(SB)/8, $0x0f0d0b0907050301")
	g.line("GLOBL apart<>(SB), RODATA|NOPTR, $16")
	g.line("DATA together<>+0(SB)/8, $0x0b030a0209010800")
	g.line("DATA together<>+8(SB)/8, $0x0f070e060d050c04")
	g.line("GLOBL together<>(SB), RODATA|NOPTR, $16")
	g.woven("weave0", 0)
	g.woven("weave1", 1)
	g.woven("weave5", 5)
}

// The registers of both chains, their temporaries, and that of the block's word. SI is the data, R13 the state, DI is free.
var (
	chainRegs = [2][]string{{"AX", "BX", "CX", "DX"}, {"R8", "R9", "R10", "R11"}}
	chainTemp = [2]string{"R12", "R14"}
)

const wordReg = "R15"

// end turns a number of blocks in AX into the address where they end.
func (g *generator) end(slot string) {
	g.op("SHLQ $6, AX")
	g.op("ADDQ SI, AX")
	g.op("MOVQ AX, %s", slot)
}

func (g *generator) loadChains() {
	for k, regs := range chainRegs {
		for i, r := range regs {
			g.op("MOVL %d(R13), %s", 16*k+4*i, r)
		}
	}
}

// block writes the 64 steps with other instructions evenly between them.
func (g *generator) block(other []string) {
	for i := range 64 {
		for _, s := range other[len(other)*i/64 : len(other)*(i+1)/64] {
			g.line("%s", s)
		}
		g.pairStep(i)
	}
	for k, regs := range chainRegs {
		for i, r := range regs {
			g.op("ADDL %d(R13), %s", 16*k+4*i, r)
			g.op("MOVL %s, %d(R13)", r, 16*k+4*i)
		}
	}
}

// Offsets in type weaver.
const (
	atCRC       = 32
	atIn        = 96
	atInOff     = 104
	atInEnd     = 112
	atFactors   = 120
	atFactorOff = 128
	atOut       = 136
	atOutOff    = 144
	atOutEnd    = 152
	atOff       = 160
	atEnd       = 168
	atSums      = 176
)

// woven writes the kernel that hashes, computes the CRC and copies, and adds, for each 64 bytes hashed, n times 64 bytes of slices to 10 recovery slices.
func (g *generator) woven(name string, n int) {
	g.line("")
	g.line("// func %s(w *weaver, p, dst *byte, step, blocks int) (left int)", name)
	g.line("TEXT ·%s(SB), NOSPLIT, $0-48", name)
	for _, arg := range []string{"w+0(FP), R13", "p+8(FP), SI", "blocks+32(FP), AX"} {
		g.op("MOVQ %s", arg)
	}
	g.end("blocks+32(FP)")
	g.op("VBROADCASTI64X2 fold<>(SB), Z29")
	g.op("VMOVDQU64 %d(R13), Z25", atCRC)
	if n > 0 {
		g.op("VBROADCASTI64X2 apart<>(SB), Z30")
		g.op("VBROADCASTI64X2 together<>(SB), Z31")
		g.sums("VMOVDQU64 %[2]d(R13), Z%[1]d")
	}
	g.loadChains()
	g.line("")
	g.line("loop:")
	other := hashAndCopy()
	for i := range n {
		other = append(other, addQuantum(i)...)
	}
	g.block(other)
	g.op("ADDQ $64, SI")
	if n > 0 {
		g.op("MOVQ %d(R13), DI", atOff)
		g.op("CMPQ DI, %d(R13)", atEnd)
		g.op("JEQ  done")
	}
	g.op("CMPQ SI, blocks+32(FP)")
	g.op("JNE  loop")
	g.line("")
	g.line("done:")
	g.op("VMOVDQU64 Z25, %d(R13)", atCRC)
	if n > 0 {
		g.sums("VMOVDQU64 Z%d, %d(R13)")
	}
	g.op("MOVQ blocks+32(FP), AX")
	g.op("SUBQ SI, AX")
	g.op("SHRQ $6, AX")
	g.op("MOVQ AX, left+40(FP)")
	g.op("VZEROUPPER")
	g.op("RET")
	for i := range n {
		g.flush(i)
	}
}

func (g *generator) sums(format string) {
	for k := range 10 {
		g.op(format, k, atSums+64*k)
	}
}

// lines begins instructions with a tab.
func lines(s ...string) []string {
	for i := range s {
		s[i] = "\t" + s[i]
	}
	return s
}

func hashAndCopy() []string {
	return lines(
		"VMOVDQU64 (SI), Z24",
		"MOVQ dst+16(FP), DI",
		"VMOVDQU64 Z24, (DI)",
		"ADDQ step+24(FP), DI",
		"MOVQ DI, dst+16(FP)",
		"VPCLMULQDQ $0x00, Z29, Z25, Z26",
		"VPCLMULQDQ $0x11, Z29, Z25, Z27",
		"VMOVDQA64 Z24, Z25",
		"VPTERNLOGQ $0x96, Z26, Z27, Z25",
	)
}

// addQuantum returns instructions that add 64 bytes of one slice, times its factors, to the sums of 10 recovery slices (see package gf16 for how).
// After the last slice of a batch the sums are flushed.
func addQuantum(i int) []string {
	s := []string{
		fmt.Sprintf("MOVQ %d(R13), DI", atIn),
		fmt.Sprintf("ADDQ %d(R13), DI", atInOff),
		"MOVQ (DI), DI",
		fmt.Sprintf("ADDQ %d(R13), DI", atOff),
		"VMOVDQU64 (DI), Z20",
		"PREFETCHT0 512(DI)",
		"VPSHUFB Z30, Z20, Z20",
		"VPSHUFD $0x4e, Z20, Z21",
		fmt.Sprintf("MOVQ %d(R13), DI", atFactors),
		fmt.Sprintf("ADDQ %d(R13), DI", atFactorOff),
	}
	for k := range 10 {
		s = append(s,
			fmt.Sprintf("VBROADCASTI64X2 %d(DI), Z22", 32*k),
			fmt.Sprintf("VBROADCASTI64X2 %d(DI), Z23", 32*k+16),
			"VGF2P8AFFINEQB $0, Z22, Z20, Z22",
			"VGF2P8AFFINEQB $0, Z23, Z21, Z23",
			fmt.Sprintf("VPTERNLOGQ $0x96, Z22, Z23, Z%d", k))
	}
	s = append(s,
		fmt.Sprintf("ADDQ $320, %d(R13)", atFactorOff),
		fmt.Sprintf("MOVQ %d(R13), DI", atInOff),
		"ADDQ $24, DI",
		fmt.Sprintf("MOVQ DI, %d(R13)", atInOff),
		// Nothing may come between these: a step of MD5 would change the flags, or be left out.
		fmt.Sprintf("CMPQ DI, %d(R13)\n\tJEQ  flush%d\nflushed%d:", atInEnd, i, i))
	return lines(s...)
}

// flush adds the sums to their recovery slices, and goes on to the next ten, or after the last of these to the next column.
func (g *generator) flush(i int) {
	g.line("")
	g.line("flush%d:", i)
	for k := range 10 {
		g.op("MOVQ %d(R13), DI", atOut)
		g.op("ADDQ %d(R13), DI", atOutOff)
		g.op("MOVQ %d(DI), DI", 24*k)
		g.op("ADDQ %d(R13), DI", atOff)
		g.op("VPSHUFB Z31, Z%d, Z%d", k, k)
		g.op("VPXORQ (DI), Z%d, Z%d", k, k)
		g.op("VMOVDQU64 Z%d, (DI)", k)
		g.op("PREFETCHT0 512(DI)")
		g.op("VPXORQ Z%d, Z%d, Z%d", k, k, k)
	}
	g.op("MOVQ $0, %d(R13)", atInOff)
	g.op("MOVQ %d(R13), DI", atOutOff)
	g.op("ADDQ $240, DI")
	g.op("MOVQ DI, %d(R13)", atOutOff)
	g.op("CMPQ DI, %d(R13)", atOutEnd)
	g.op("JNE  flushed%d", i)
	g.op("MOVQ $0, %d(R13)", atOutOff)
	g.op("MOVQ $0, %d(R13)", atFactorOff)
	g.op("ADDQ $64, %d(R13)", atOff)
	g.op("JMP  flushed%d", i)
}

func (g *generator) pairStep(i int) {
	word, constant, rotate := md5Step(i)
	const m = wordReg
	g.op("MOVL %d(SI), %s", 4*word, m)
	g.op("ADDL $%#x, %s", constant, m)
	var a, b, c, d, t [2]string
	for k, r := range chainRegs {
		a[k], b[k], c[k], d[k], t[k] = r[(64-i)%4], r[(65-i)%4], r[(66-i)%4], r[(67-i)%4], chainTemp[k]
		g.op("ADDL %s, %s", m, a[k])
	}
	for k := range chainRegs {
		switch i / 16 {
		case 0:
			g.op("MOVL %s, %s", c[k], t[k])
			g.op("XORL %s, %s", d[k], t[k])
			g.op("ANDL %s, %s", b[k], t[k])
			g.op("XORL %s, %s", d[k], t[k])
		case 1:
			g.op("MOVL %s, %s", d[k], t[k])
			g.op("NOTL %s", t[k])
			g.op("ANDL %s, %s", c[k], t[k])
			g.op("ADDL %s, %s", t[k], a[k])
			g.op("MOVL %s, %s", d[k], t[k])
			g.op("ANDL %s, %s", b[k], t[k])
		case 2:
			g.op("MOVL %s, %s", c[k], t[k])
			g.op("XORL %s, %s", d[k], t[k])
			g.op("XORL %s, %s", b[k], t[k])
		case 3:
			g.op("MOVL %s, %s", d[k], t[k])
			g.op("NOTL %s", t[k])
			g.op("ORL %s, %s", b[k], t[k])
			g.op("XORL %s, %s", c[k], t[k])
		}
		g.op("ADDL %s, %s", t[k], a[k])
		g.op("ROLL $%d, %s", rotate, a[k])
		g.op("ADDL %s, %s", b[k], a[k])
	}
}

// lanes writes MD5 of 16 or 8 streams at once, a word of each in one register.
func (g *generator) lanes() {
	g.line("")
	for i := range 64 {
		_, k, _ := md5Step(i)
		g.line("DATA md5k<>+%d(SB)/4, $%#08x", 4*i, k)
	}
	g.line("GLOBL md5k<>(SB), RODATA|NOPTR, $256")
	g.lanesKernel(16, "Z", g.transpose16, g.laneStep16)
	g.lanesKernel(8, "Y", g.transpose8, g.laneStep8)
}

// lanesKernel writes the frame of one width. Words of a block, one register each, wait in memory between the transposition and the steps.
func (g *generator) lanesKernel(n int, reg string, transpose func(), step func(i int)) {
	g.line("")
	g.line("// func md5Lanes%d(s *laneState, p *[16]*byte, blocks int)", n)
	g.line("TEXT ·md5Lanes%d(SB), NOSPLIT, $0-24", n)
	for _, arg := range []string{"s+0(FP), DI", "p+8(FP), SI", "blocks+16(FP), CX"} {
		g.op("MOVQ %s", arg)
	}
	g.op("XORL DX, DX")
	g.op("LEAQ md5k<>(SB), BX")
	g.line("")
	g.line("loop:")
	transpose()
	for i := range 4 {
		g.op("VMOVDQU%s %d(DI), %s%d", map[string]string{"Z": "32"}[reg], 4*n*i, reg, i)
	}
	for i := range 64 {
		step(i)
	}
	for i := range 4 {
		g.op("VPADDD %d(DI), %s%d, %s%d", 4*n*i, reg, i, reg, i)
		g.op("VMOVDQU%s %s%d, %d(DI)", map[string]string{"Z": "32"}[reg], reg, i, 4*n*i)
	}
	g.op("ADDQ $64, DX")
	g.op("DECQ CX")
	g.op("JNE  loop")
	g.op("VZEROUPPER")
	g.op("RET")
}

// Words begin behind the four registers of the state.
func laneWord(n, word int) string { return fmt.Sprintf("%d(DI)", 4*n*(4+word)) }

func (g *generator) transpose16() {
	for i := range 16 {
		g.op("MOVQ %d(SI), AX", 8*i)
		g.op("VMOVDQU32 (AX)(DX*1), Z%d", i)
	}
	for i := 0; i < 16; i += 2 { // words 0, 1 and 2, 3 of two streams side by side
		g.op("VPUNPCKLDQ Z%d, Z%d, Z%d", i+1, i, 16+i)
		g.op("VPUNPCKHDQ Z%d, Z%d, Z%d", i+1, i, 17+i)
	}
	for i := 0; i < 16; i += 4 { // register i+j: word j, of each 16 bytes, of streams i to i+3
		g.op("VPUNPCKLQDQ Z%d, Z%d, Z%d", 18+i, 16+i, i)
		g.op("VPUNPCKHQDQ Z%d, Z%d, Z%d", 18+i, 16+i, i+1)
		g.op("VPUNPCKLQDQ Z%d, Z%d, Z%d", 19+i, 17+i, i+2)
		g.op("VPUNPCKHQDQ Z%d, Z%d, Z%d", 19+i, 17+i, i+3)
	}
	for j := range 4 {
		g.op("VSHUFI32X4 $0x88, Z%d, Z%d, Z16", 4+j, j)
		g.op("VSHUFI32X4 $0xdd, Z%d, Z%d, Z17", 4+j, j)
		g.op("VSHUFI32X4 $0x88, Z%d, Z%d, Z18", 12+j, 8+j)
		g.op("VSHUFI32X4 $0xdd, Z%d, Z%d, Z19", 12+j, 8+j)
		for k, r := range [][3]int{{16, 18, 0x88}, {17, 19, 0x88}, {16, 18, 0xdd}, {17, 19, 0xdd}} {
			g.op("VSHUFI32X4 $%#x, Z%d, Z%d, Z%d", r[2], r[1], r[0], 20+k)
			g.op("VMOVDQU32 Z%d, %s", 20+k, laneWord(16, 4*k+j))
		}
	}
}

func (g *generator) laneStep16(i int) {
	word, _, rotate := md5Step(i)
	a, b, c, d := (64-i)%4, (65-i)%4, (66-i)%4, (67-i)%4
	truth := 0 // of the round's function, for each d, c, b
	for x := range 8 {
		d, c, b := x>>2, x>>1&1, x&1
		f := [4]int{b&c | (1-b)&d, b&d | c&(1-d), b ^ c ^ d, c ^ (b | (1 - d))}[i/16]
		truth |= f << x
	}
	g.op("VPADDD %s, Z%d, Z%d", laneWord(16, word), a, a)
	g.op("VPADDD.BCST %d(BX), Z%d, Z%d", 4*i, a, a)
	g.op("VMOVDQA32 Z%d, Z4", d)
	g.op("VPTERNLOGD $%#x, Z%d, Z%d, Z4", truth, b, c)
	g.op("VPADDD Z4, Z%d, Z%d", a, a)
	g.op("VPROLD $%d, Z%d, Z%d", rotate, a, a)
	g.op("VPADDD Z%d, Z%d, Z%d", b, a, a)
}

// transpose8 takes half a block of each stream at a time.
func (g *generator) transpose8() {
	for half := 0; half < 16; half += 8 {
		for i := range 8 {
			g.op("MOVQ %d(SI), AX", 8*i)
			g.op("VMOVDQU %d(AX)(DX*1), Y%d", 4*half, i)
		}
		for i := 0; i < 8; i += 2 {
			g.op("VPUNPCKLDQ Y%d, Y%d, Y%d", i+1, i, 8+i)
			g.op("VPUNPCKHDQ Y%d, Y%d, Y%d", i+1, i, 9+i)
		}
		for i := 0; i < 8; i += 4 {
			g.op("VPUNPCKLQDQ Y%d, Y%d, Y%d", 10+i, 8+i, i)
			g.op("VPUNPCKHQDQ Y%d, Y%d, Y%d", 10+i, 8+i, i+1)
			g.op("VPUNPCKLQDQ Y%d, Y%d, Y%d", 11+i, 9+i, i+2)
			g.op("VPUNPCKHQDQ Y%d, Y%d, Y%d", 11+i, 9+i, i+3)
		}
		for j := range 4 {
			g.op("VPERM2I128 $0x20, Y%d, Y%d, Y8", 4+j, j)
			g.op("VPERM2I128 $0x31, Y%d, Y%d, Y9", 4+j, j)
			g.op("VMOVDQU Y8, %s", laneWord(8, half+j))
			g.op("VMOVDQU Y9, %s", laneWord(8, half+4+j))
		}
	}
	g.op("VPCMPEQD Y15, Y15, Y15")
}

func (g *generator) laneStep8(i int) {
	word, _, rotate := md5Step(i)
	a, b, c, d := (64-i)%4, (65-i)%4, (66-i)%4, (67-i)%4
	g.op("VPADDD %s, Y%d, Y%d", laneWord(8, word), a, a)
	g.op("VPBROADCASTD %d(BX), Y6", 4*i)
	g.op("VPADDD Y6, Y%d, Y%d", a, a)
	switch i / 16 {
	case 0:
		g.op("VPXOR Y%d, Y%d, Y4", c, d)
		g.op("VPAND Y%d, Y4, Y4", b)
		g.op("VPXOR Y%d, Y4, Y4", d)
	case 1:
		g.op("VPANDN Y%d, Y%d, Y5", c, d)
		g.op("VPADDD Y5, Y%d, Y%d", a, a)
		g.op("VPAND Y%d, Y%d, Y4", b, d)
	case 2:
		g.op("VPXOR Y%d, Y%d, Y4", c, d)
		g.op("VPXOR Y%d, Y4, Y4", b)
	case 3:
		g.op("VPXOR Y15, Y%d, Y4", d)
		g.op("VPOR Y%d, Y4, Y4", b)
		g.op("VPXOR Y%d, Y4, Y4", c)
	}
	g.op("VPADDD Y4, Y%d, Y%d", a, a)
	g.op("VPSLLD $%d, Y%d, Y5", rotate, a)
	g.op("VPSRLD $%d, Y%d, Y%d", 32-rotate, a, a)
	g.op("VPOR Y5, Y%d, Y%d", a, a)
	g.op("VPADDD Y%d, Y%d, Y%d", b, a, a)
}
