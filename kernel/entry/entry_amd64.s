#include "go_asm.h"
#include "textflag.h"

// The kernel's first instructions: from the PVH entry state (32-bit protected
// mode, paging off, flat segments, EBX = physical address of the start info;
// "x86/HVM direct boot ABI") to 64-bit mode and the Go runtime.
//
// The assembler only writes 64-bit code. Up to the far return everything below
// is chosen from instructions whose encoding means the same in 32-bit mode:
// no REX prefix, no RIP-relative operand that is dereferenced. There
// `LEAL sym(SB), R` yields the distance from its own end to sym, to which the
// program counter is added.

#define BOOT_TABLES 6	// PML4, PDPT and four page directories: 4 GiB

// cpuinit is where the TamaGo distribution's entry point jumps to; ours jumps to
// first (first_amd64.s) itself.
TEXT cpuinit(SB),NOSPLIT|NOFRAME,$0
	JMP	first(SB)

// second is entered by a jump from first, which has set the stack, and does not
// return. BX is kept.
TEXT second(SB),NOSPLIT|NOFRAME,$0
	// The firmware may have left the 8259s' timer interrupt on, at a vector
	// that means "double fault" to us. Mask both.
	MOVL	$0xff, AX
	MOVL	$0x21, DX
	OUTB
	MOVL	$0xa1, DX
	OUTB

	// NX and long mode must be there before they are turned on.
	MOVL	BX, SI
	MOVL	$0x80000001, AX
	CPUID
	MOVL	SI, BX
	ANDL	$0x20100000, DX
	CMPL	DX, $0x20100000
	JEQ	tables
	CALL	getpc(SB)
	LEAL	·unfit(SB), SI
	LEAL	6(AX)(SI*1), SI
	JMP	refuse(SB)
tables:
	// Page tables: the first 4 GiB at their own addresses and again in the
	// direct map, by 2 MiB pages. They serve until Hwinit0 has built the real
	// ones. DI = PML4, page aligned.
	CALL	getpc(SB)
	LEAL	·bootTables(SB), DI
	LEAL	6(AX)(DI*1), DI
	ADDL	$4095, DI
	ANDL	$~4095, DI

	LEAL	0x1003(DI), AX		// PDPT, present and writable
	MOVL	AX, 0(DI)
	MOVL	AX, 0x800(DI)		// entry 256: 0xffff_8000_0000_0000
	ADDL	$0x1000, AX		// the first page directory
	LEAL	0x1000(DI), SI
	MOVL	AX, 0(SI)
	ADDL	$0x1000, AX
	MOVL	AX, 8(SI)
	ADDL	$0x1000, AX
	MOVL	AX, 16(SI)
	ADDL	$0x1000, AX
	MOVL	AX, 24(SI)
	ADDL	$0x1000, SI
	MOVL	$0x83, AX		// present, writable, 2 MiB
	MOVL	$2048, CX
directory:
	MOVL	AX, 0(SI)
	MOVL	$0, 4(SI)
	ADDL	$0x200000, AX
	ADDL	$8, SI
	SUBL	$1, CX
	JNE	directory

	MOVL	DI, CR3
	MOVL	CR4, AX
	ORL	$0x6a0, AX		// PAE, PGE, OSFXSR, OSXMMEXCPT
	MOVL	AX, CR4
	MOVL	$0xc0000080, CX		// EFER: LME, NXE
	RDMSR
	ORL	$0x900, AX
	WRMSR
	MOVL	CR0, AX
	ANDL	$~0x0c, AX		// EM, TS off
	ORL	$0x80010023, AX		// PG, WP, NE, MP, PE
	MOVL	AX, CR0

	CALL	getpc(SB)
	LEAL	·bootGDTR(SB), CX
	LEAL	6(AX)(CX*1), CX
	LGDT	(CX)
	CALL	getpc(SB)
	LEAL	·start64(SB), CX
	LEAL	6(AX)(CX*1), CX
	PUSHQ	$0x08
	PUSHQ	CX
	RETFQ				// in 32-bit mode: DEC EAX; RETF

// start64 is the first code in 64-bit mode. BX = start info.
TEXT ·start64(SB),NOSPLIT|NOFRAME,$0
	MOVL	BX, BX
	MOVQ	BX, ·startInfo(SB)
	MOVL	$0x10, AX
	MOVW	AX, DS
	MOVW	AX, ES
	MOVW	AX, SS
	XORL	AX, AX
	MOVW	AX, FS
	MOVW	AX, GS

	// Floating point: x87 reset, exceptions masked; AVX where XSAVE can keep it.
	BYTE	$0xdb; BYTE $0xe3	// FNINIT
	MOVL	$0x1f80, AX
	MOVL	AX, ·scratch(SB)
	LDMXCSR	·scratch(SB)
	MOVL	$1, AX
	XORL	CX, CX
	CPUID
	TESTL	$(1<<26), CX		// XSAVE
	JEQ	stack
	MOVQ	CR4, AX
	ORQ	$(1<<18), AX		// OSXSAVE
	MOVQ	AX, CR4
	MOVL	$0xd, AX
	XORL	CX, CX
	CPUID
	ANDL	$7, AX			// x87, SSE, AVX
	XORL	CX, CX
	XORL	DX, DX
	BYTE	$0x0f; BYTE $0x01; BYTE $0xd1	// XSETBV
stack:
	// The stack ends at the last page boundary in ·bootStack (see stack.go).
	MOVQ	$·bootStack+const_bootStackSize(SB), SP
	ANDQ	$~4095, SP
	JMP	_rt0_tamago_start(SB)

DATA	·bootGDT+0x00(SB)/8, $0
DATA	·bootGDT+0x08(SB)/8, $0x00209b0000000000	// code, ring 0, 64-bit
DATA	·bootGDT+0x10(SB)/8, $0x0000930000000000	// data, ring 0
GLOBL	·bootGDT(SB),NOPTR,$24
DATA	·bootGDTR+0x00(SB)/2, $23
DATA	·bootGDTR+0x02(SB)/8, $·bootGDT(SB)
GLOBL	·bootGDTR(SB),NOPTR,$10

DATA	·unfit+0(SB)/8, $"sluice: "
DATA	·unfit+8(SB)/8, $"cannot s"
DATA	·unfit+16(SB)/8, $"tart: th"
DATA	·unfit+24(SB)/8, $"e proces"
DATA	·unfit+32(SB)/8, $"sor has "
DATA	·unfit+40(SB)/8, $"no NX or"
DATA	·unfit+48(SB)/8, $" no long"
DATA	·unfit+56(SB)/8, $" mode: g"
DATA	·unfit+64(SB)/8, $"ive QEMU"
DATA	·unfit+72(SB)/8, $" -cpu ma"
DATA	·unfit+80(SB)/4, $"x\r\n\x00"
GLOBL	·unfit(SB),NOPTR,$84

GLOBL	·bootTables(SB),NOPTR,$((BOOT_TABLES+1)*4096)
GLOBL	·scratch(SB),NOPTR,$8
