#include "textflag.h"

// A few instructions a routine. None uses the stack.

TEXT ·Root(SB),NOSPLIT,$0-8
	MRS	TTBR0_EL1, R0
	MOVD	R0, ret+0(FP)
	RET

TEXT ·SetRoot(SB),NOSPLIT,$0-8
	MOVD	v+0(FP), R0
	DSB	$10			// ISHST
	MSR	R0, TTBR0_EL1
	MSR	R0, TTBR1_EL1
	ISB	$15
	WORD	$0xd508871f		// TLBI VMALLE1
	DSB	$11			// ISH
	ISB	$15
	RET

TEXT ·TablesWritten(SB),NOSPLIT,$0-0
	DSB	$10
	ISB	$15
	RET

TEXT ·FlushTLB(SB),NOSPLIT,$0-0
	DSB	$10
	WORD	$0xd508871f
	DSB	$11
	ISB	$15
	RET

TEXT ·FlushPage(SB),NOSPLIT,$0-8
	MOVD	addr+0(FP), R0
	LSR	$12, R0
	AND	$0xfffffffffff, R0
	DSB	$10
	WORD	$0xd5088760		// TLBI VAAE1, R0
	DSB	$11
	ISB	$15
	RET

TEXT ·FlushLine(SB),NOSPLIT,$0-8
	MOVD	addr+0(FP), R0
	WORD	$0xd50b7a20		// DC CVAC, R0
	DSB	$11
	RET

TEXT ·SetVectors(SB),NOSPLIT,$0-8
	MOVD	addr+0(FP), R0
	MSR	R0, VBAR_EL1
	ISB	$15
	RET

// Between the two switches SP is the one that is set: nothing is on it, interrupts are off.
TEXT ·SetHandlerStack(SB),NOSPLIT|NOFRAME,$0-8
	MOVD	top+0(FP), R0
	MOVD	RSP, R1
	MSR	$1, SPSel
	MOVD	R0, RSP
	MSR	$0, SPSel
	MOVD	R1, RSP
	RET

TEXT ·Counter(SB),NOSPLIT,$0-8
	ISB	$15
	MRS	CNTVCT_EL0, R0
	MOVD	R0, ret+0(FP)
	RET

TEXT ·CounterHz(SB),NOSPLIT,$0-8
	MRS	CNTFRQ_EL0, R0
	MOVD	R0, ret+0(FP)
	RET

TEXT ·SetTimer(SB),NOSPLIT,$0-4
	MOVWU	counts+0(FP), R0
	MSR	R0, CNTV_TVAL_EL0
	MOVD	$1, R0
	MSR	R0, CNTV_CTL_EL0
	ISB	$15
	RET

TEXT ·HypervisorCall(SB),NOSPLIT,$0-40
	MOVD	function+0(FP), R0
	MOVD	a+8(FP), R1
	MOVD	b+16(FP), R2
	MOVD	c+24(FP), R3
	WORD	$0xd4000002		// HVC #0
	MOVD	R0, ret+32(FP)
	RET

TEXT ·SecureCall(SB),NOSPLIT,$0-40
	MOVD	function+0(FP), R0
	MOVD	a+8(FP), R1
	MOVD	b+16(FP), R2
	MOVD	c+24(FP), R3
	WORD	$0xd4000003		// SMC #0
	MOVD	R0, ret+32(FP)
	RET

TEXT ·Affinity(SB),NOSPLIT,$0-8
	MRS	MPIDR_EL1, R0
	MOVD	R0, ret+0(FP)
	RET

// Priorities of all levels come through, none pre-empts another, the end of an interrupt
// is one write, and group 1 is on.
TEXT ·StartInterruptInterface(SB),NOSPLIT,$0-1
	MRS	ICC_SRE_EL1, R0
	ORR	$1, R0
	MSR	R0, ICC_SRE_EL1
	ISB	$15
	MRS	ICC_SRE_EL1, R0
	AND	$1, R0
	MOVB	R0, ret+0(FP)
	CBZ	R0, off
	MOVD	$0xff, R0
	MSR	R0, ICC_PMR_EL1
	MSR	ZR, ICC_CTLR_EL1
	MOVD	$1, R0
	MSR	R0, ICC_IGRPEN1_EL1
	ISB	$15
off:
	RET

TEXT ·DisableInterrupts(SB),NOSPLIT,$0-8
	MRS	DAIF, R0
	MSR	$2, DAIFSet
	MOVD	R0, flags+0(FP)
	RET

TEXT ·Restore(SB),NOSPLIT,$0-8
	MOVD	flags+0(FP), R0
	MSR	R0, DAIF
	RET

TEXT ·EnableInterrupts(SB),NOSPLIT,$0
	MSR	$2, DAIFClr
	RET

TEXT ·EnableAndHalt(SB),NOSPLIT,$0
	DSB	$15
	WFI
	MSR	$2, DAIFClr
	RET

TEXT ·Halt(SB),NOSPLIT,$0
	MSR	$2, DAIFSet
	WFI
	B	-1(PC)
