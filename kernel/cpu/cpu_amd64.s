#include "textflag.h"

// One instruction a routine. None uses the stack beyond its frame.

TEXT ·In8(SB),NOSPLIT,$0-9
	MOVW	port+0(FP), DX
	INB
	MOVB	AX, ret+8(FP)
	RET

TEXT ·In16(SB),NOSPLIT,$0-10
	MOVW	port+0(FP), DX
	INW
	MOVW	AX, ret+8(FP)
	RET

TEXT ·In32(SB),NOSPLIT,$0-12
	MOVW	port+0(FP), DX
	INL
	MOVL	AX, ret+8(FP)
	RET

TEXT ·Out8(SB),NOSPLIT,$0-3
	MOVW	port+0(FP), DX
	MOVB	v+2(FP), AX
	OUTB
	RET

TEXT ·Out16(SB),NOSPLIT,$0-4
	MOVW	port+0(FP), DX
	MOVW	v+2(FP), AX
	OUTW
	RET

TEXT ·Out32(SB),NOSPLIT,$0-8
	MOVW	port+0(FP), DX
	MOVL	v+4(FP), AX
	OUTL
	RET

TEXT ·CPUID(SB),NOSPLIT,$0-24
	MOVL	leaf+0(FP), AX
	MOVL	sub+4(FP), CX
	CPUID
	MOVL	AX, a+8(FP)
	MOVL	BX, b+12(FP)
	MOVL	CX, c+16(FP)
	MOVL	DX, d+20(FP)
	RET

TEXT ·ReadMSR(SB),NOSPLIT,$0-16
	MOVL	msr+0(FP), CX
	RDMSR
	SHLQ	$32, DX
	ORQ	DX, AX
	MOVQ	AX, ret+8(FP)
	RET

TEXT ·WriteMSR(SB),NOSPLIT,$0-16
	MOVL	msr+0(FP), CX
	MOVQ	v+8(FP), AX
	MOVQ	AX, DX
	SHRQ	$32, DX
	WRMSR
	RET

TEXT ·RDTSC(SB),NOSPLIT,$0-8
	RDTSC
	SHLQ	$32, DX
	ORQ	DX, AX
	MOVQ	AX, ret+0(FP)
	RET

TEXT ·RDRAND(SB),NOSPLIT,$0-9
	RDRANDQ	AX
	SETCS	ok+8(FP)
	MOVQ	AX, v+0(FP)
	RET

TEXT ·RDSEED(SB),NOSPLIT,$0-9
	RDSEEDQ	AX
	SETCS	ok+8(FP)
	MOVQ	AX, v+0(FP)
	RET

TEXT ·Root(SB),NOSPLIT,$0-8
	MOVQ	CR3, AX
	MOVQ	AX, ret+0(FP)
	RET

TEXT ·ReadCR4(SB),NOSPLIT,$0-8
	MOVQ	CR4, AX
	MOVQ	AX, ret+0(FP)
	RET

TEXT ·SetRoot(SB),NOSPLIT,$0-8
	MOVQ	v+0(FP), AX
	MOVQ	AX, CR3
	RET

// Nothing that Go does comes between the two: no goroutine is preempted in assembly.
TEXT ·FlushTLB(SB),NOSPLIT,$0-0
	MOVQ	CR3, AX
	MOVQ	AX, CR3
	RET

TEXT ·WriteCR4(SB),NOSPLIT,$0-8
	MOVQ	v+0(FP), AX
	MOVQ	AX, CR4
	RET

TEXT ·FlushPage(SB),NOSPLIT,$0-8
	MOVQ	addr+0(FP), AX
	INVLPG	(AX)
	RET

TEXT ·LoadGDT(SB),NOSPLIT,$0-8
	MOVQ	desc+0(FP), AX
	LGDT	(AX)
	RET

TEXT ·FlushLine(SB),NOSPLIT,$0-8
	MOVQ	addr+0(FP), AX
	CLFLUSH	(AX)
	RET

TEXT ·LoadIDT(SB),NOSPLIT,$0-8
	MOVQ	desc+0(FP), AX
	LIDT	(AX)
	RET

TEXT ·LoadTR(SB),NOSPLIT,$0-2
	MOVW	selector+0(FP), AX
	LTR	AX
	XORL	AX, AX
	LLDT	AX
	RET

TEXT ·DisableInterrupts(SB),NOSPLIT,$0-8
	PUSHFQ
	POPQ	AX
	CLI
	MOVQ	AX, flags+0(FP)
	RET

TEXT ·Restore(SB),NOSPLIT,$0-8
	MOVQ	flags+0(FP), AX
	TESTQ	$0x200, AX
	JEQ	2(PC)
	STI
	RET

TEXT ·EnableInterrupts(SB),NOSPLIT,$0
	STI
	RET

TEXT ·EnableAndHalt(SB),NOSPLIT,$0
	STI
	HLT
	RET

TEXT ·Halt(SB),NOSPLIT,$0
	CLI
	HLT
	JMP	-1(PC)

TEXT ·TripleFault(SB),NOSPLIT,$0
	CLI
	LIDT	·noVectors(SB)
	INT	$3
	JMP	-1(PC)

// A table of no length, at 0.
GLOBL	·noVectors(SB),RODATA|NOPTR,$16
