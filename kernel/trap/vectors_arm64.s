#include "go_asm.h"
#include "textflag.h"

// The table of vectors (Arm Architecture Reference Manual, D1.4): 16 entries of 128 bytes.
// The kernel runs at EL1 with SP_EL0 as its stack, so that exceptions find one of their own,
// SP_EL1's, whatever became of the goroutine's. An exception on that stack comes to the
// second group.

TEXT ·vectors(SB),NOSPLIT|NOFRAME,$0
	PCALIGN	$2048
	SUB	$16, RSP
	STP	(R0, R1), (RSP)
	MOVD	$0, R0
	B	·exception(SB)
	PCALIGN	$128
	B	·interrupt(SB)
	PCALIGN	$128
	SUB	$16, RSP
	STP	(R0, R1), (RSP)
	MOVD	$2, R0
	B	·exception(SB)
	PCALIGN	$128
	SUB	$16, RSP
	STP	(R0, R1), (RSP)
	MOVD	$3, R0
	B	·exception(SB)
	PCALIGN	$128
	MOVD	·stackTop(SB), R0
	MOVD	R0, RSP
	SUB	$16, RSP
	STP	(R0, R1), (RSP)
	MOVD	$4, R0
	B	·exception(SB)
	PCALIGN	$128
	MOVD	·stackTop(SB), R0
	MOVD	R0, RSP
	SUB	$16, RSP
	STP	(R0, R1), (RSP)
	MOVD	$5, R0
	B	·exception(SB)
	PCALIGN	$128
	MOVD	·stackTop(SB), R0
	MOVD	R0, RSP
	SUB	$16, RSP
	STP	(R0, R1), (RSP)
	MOVD	$6, R0
	B	·exception(SB)
	PCALIGN	$128
	MOVD	·stackTop(SB), R0
	MOVD	R0, RSP
	SUB	$16, RSP
	STP	(R0, R1), (RSP)
	MOVD	$7, R0
	B	·exception(SB)
	PCALIGN	$128
	SUB	$16, RSP
	STP	(R0, R1), (RSP)
	MOVD	$8, R0
	B	·exception(SB)
	PCALIGN	$128
	SUB	$16, RSP
	STP	(R0, R1), (RSP)
	MOVD	$9, R0
	B	·exception(SB)
	PCALIGN	$128
	SUB	$16, RSP
	STP	(R0, R1), (RSP)
	MOVD	$10, R0
	B	·exception(SB)
	PCALIGN	$128
	SUB	$16, RSP
	STP	(R0, R1), (RSP)
	MOVD	$11, R0
	B	·exception(SB)
	PCALIGN	$128
	SUB	$16, RSP
	STP	(R0, R1), (RSP)
	MOVD	$12, R0
	B	·exception(SB)
	PCALIGN	$128
	SUB	$16, RSP
	STP	(R0, R1), (RSP)
	MOVD	$13, R0
	B	·exception(SB)
	PCALIGN	$128
	SUB	$16, RSP
	STP	(R0, R1), (RSP)
	MOVD	$14, R0
	B	·exception(SB)
	PCALIGN	$128
	SUB	$16, RSP
	STP	(R0, R1), (RSP)
	MOVD	$15, R0
	B	·exception(SB)
	PCALIGN	$128
	BRK

// func vectorsAddr() uintptr
TEXT ·vectorsAddr(SB),NOSPLIT,$0-8
	MOVD	$·vectors(SB), R0
	ADD	$2047, R0
	AND	$~2047, R0
	MOVD	R0, ret+0(FP)
	RET

// interrupt takes interrupts of EL1, with interrupts off. It sets the event's bit, turns a
// device's interrupt off at the distributor until a driver waits for it again, and asks the
// running goroutine to yield. It runs no Go and clobbers nothing.
//
// The frame: where it returns to (PC, SP, link register), R29 and R0 to R7, R27.
TEXT ·interrupt(SB),NOSPLIT|NOFRAME,$0
	SUB	$128, RSP
	STP	(R30, R29), 16(RSP)
	STP	(R0, R1), 32(RSP)
	STP	(R2, R3), 48(RSP)
	STP	(R4, R5), 64(RSP)
	STP	(R6, R7), 80(RSP)
	MOVD	R27, 96(RSP)
	MRS	ELR_EL1, R0
	MRS	SP_EL0, R1
	STP	(R0, R1), 0(RSP)
	MOVWU	·systemRegisters(SB), R0
	CBNZ	R0, acknowledge3
	MOVD	$const_acknowledgeAddress, R0
	MOVWU	(R0), R6		// number and source
	B	acknowledged
acknowledge3:
	MRS	ICC_IAR1_EL1, R6
	DSB	$15
acknowledged:
	AND	$0x3ff, R6, R7
	CMP	$const_TimerInterrupt, R7
	BEQ	tick
	CMP	$const_SharedFirst, R7
	BLO	unwanted
	CMP	$1020, R7		// it was withdrawn
	BHS	done
	LSR	$5, R7, R1		// off at the distributor
	LSL	$2, R1
	MOVD	$const_disableAddress, R0
	ADD	R0, R1
	AND	$31, R7, R2
	MOVD	$1, R3
	LSL	R2, R3
	MOVW	R3, (R1)
	DSB	$15
	SUB	$const_SharedFirst, R7, R1
	CMP	$const_sharedMost, R1
	BHS	unwanted
	MOVD	$·events(SB), R0
	MOVD	(R0)(R1<<3), R3
	CBZ	R3, unwanted
	MOVD	runtime∕goos·Pending(SB), R0
	ORR	R3, R0
	MOVD	R0, runtime∕goos·Pending(SB)
	MOVD	runtime∕goos·Yield(SB), R7
	B	end
tick:
	MOVD	runtime∕goos·Pending(SB), R0
	ORR	$1, R0
	MOVD	R0, runtime∕goos·Pending(SB)
	MOVD	·tickCount(SB), R0
	MSR	R0, CNTV_TVAL_EL0
	ISB	$15
	MOVD	runtime∕goos·Tick(SB), R7
	B	end
unwanted:
	MOVD	ZR, R7
end:
	MOVWU	·systemRegisters(SB), R0
	CBNZ	R0, end3
	MOVD	$const_endAddress, R0
	MOVW	R6, (R0)
	B	ended
end3:
	MSR	R6, ICC_EOIR1_EL1
	ISB	$15
ended:
	CBZ	R7, done
	MOVD	RSP, R4
	BL	(R7)
done:
	LDP	0(RSP), (R0, R1)
	MSR	R0, ELR_EL1
	MSR	R1, SP_EL0
	MOVD	96(RSP), R27
	LDP	80(RSP), (R6, R7)
	LDP	64(RSP), (R4, R5)
	LDP	48(RSP), (R2, R3)
	LDP	32(RSP), (R0, R1)
	LDP	16(RSP), (R30, R29)
	ADD	$128, RSP
	ERET

// exception takes everything else. It fills ·fault and then either lets the runtime turn the
// fault into a Go panic of the goroutine that made it, or goes to the fatal path. R0 is the
// index of the vector; R0 and R1 lie on the stack.
TEXT ·exception(SB),NOSPLIT|NOFRAME,$0
	MOVD	$·fault(SB), R1
	MOVD	R0, Fault_Kind(R1)
	STP	(R2, R3), 16(R1)
	STP	(R4, R5), 32(R1)
	STP	(R6, R7), 48(R1)
	STP	(R8, R9), 64(R1)
	STP	(R10, R11), 80(R1)
	STP	(R12, R13), 96(R1)
	STP	(R14, R15), 112(R1)
	STP	(R16, R17), 128(R1)
	STP	(R18_PLATFORM, R19), 144(R1)
	STP	(R20, R21), 160(R1)
	STP	(R22, R23), 176(R1)
	STP	(R24, R25), 192(R1)
	STP	(R26, R27), 208(R1)
	STP	(g, R29), 224(R1)
	LDP	(RSP), (R2, R3)
	ADD	$16, RSP
	STP	(R2, R3), 0(R1)
	MRS	SP_EL0, R2
	STP	(R30, R2), 240(R1)	// and SP, behind R
	MRS	ELR_EL1, R3
	MRS	SPSR_EL1, R4
	STP	(R3, R4), Fault_PC(R1)	// and State
	MRS	ESR_EL1, R5
	MRS	FAR_EL1, R6
	STP	(R5, R6), Fault_Syndrome(R1)	// and Addr

	// A fault of Go code at a small address: let the runtime have it.
	CBNZ	R0, fatal		// not synchronous, or not on SP_EL0
	LSR	$26, R5
	CMP	$0x25, R5		// data abort
	BEQ	small
	CMP	$0x21, R5		// instruction abort
	BNE	fatal
small:
	CMP	$4096, R6
	BHS	fatal
	MOVD	runtime∕goos·Panic(SB), R9
	CBZ	R9, fatal
	MOVD	R3, R0
	MOVD	R2, R1
	MOVD	R6, R2
	MOVD	R30, R3
	MOVD	R29, R4
	BL	(R9)
	CBZ	R0, fatal
	MSR	R0, ELR_EL1
	MSR	R1, SP_EL0
	MOVD	R3, R30
	MOVD	$·fault(SB), R1
	MOVD	Fault_State(R1), R0	// interrupts are on there
	AND	$~0x80, R0
	MSR	R0, SPSR_EL1
	MOVD	224(R1), g
	MOVD	232(R1), R29
	ERET				// sigpanic takes no other register

fatal:
	// Go code needs a g whose stack guard lies below this stack, which is in
	// the upper half: g0's does.
	MOVD	$runtime·g0(SB), g
	MOVD	ZR, R29
	BL	·fatal(SB)
	WFI
	B	-1(PC)
