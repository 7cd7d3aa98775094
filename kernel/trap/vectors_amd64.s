#include "go_asm.h"
#include "textflag.h"

// Entry points of all 256 vectors. Each is a CALL of five bytes, so that the
// return address on the stack names the vector.

#define X8 CALL ·exception(SB); CALL ·exception(SB); CALL ·exception(SB); CALL ·exception(SB); CALL ·exception(SB); CALL ·exception(SB); CALL ·exception(SB); CALL ·exception(SB)
#define I8 CALL ·interrupt(SB); CALL ·interrupt(SB); CALL ·interrupt(SB); CALL ·interrupt(SB); CALL ·interrupt(SB); CALL ·interrupt(SB); CALL ·interrupt(SB); CALL ·interrupt(SB)

TEXT ·vectors(SB),NOSPLIT|NOFRAME,$0
	X8; X8; X8; X8			// 0-31: exceptions
	I8; I8; I8; I8; I8; I8; I8; I8	// 32-95: events 0-63
	X8; X8; X8; X8; X8; X8; X8; X8	// 96-254: nobody raises these
	X8; X8; X8; X8; X8; X8; X8; X8
	X8; X8; X8
	CALL ·exception(SB); CALL ·exception(SB); CALL ·exception(SB); CALL ·exception(SB)
	CALL ·exception(SB); CALL ·exception(SB); CALL ·exception(SB)
	CALL ·spurious(SB)		// 255: see SDM volume 3, 11.9

// spurious takes an interrupt that the local APIC withdrew: no EOI.
TEXT ·spurious(SB),NOSPLIT|NOFRAME,$0
	ADDQ	$8, SP
	IRETQ

// func vectorsAddr() uintptr
TEXT ·vectorsAddr(SB),NOSPLIT,$0-8
	MOVQ	$·vectors(SB), AX
	MOVQ	AX, ret+0(FP)
	RET

// interrupt takes vectors 32 to 95 on the interrupt stack, interrupts off. It
// sets the event's bit, holds a level-triggered line back, acknowledges the local
// APIC, and asks the running goroutine to yield. It runs no Go and clobbers nothing.
//
// Stack: return address into ·vectors, RIP, CS, RFLAGS, RSP, SS.
TEXT ·interrupt(SB),NOSPLIT|NOFRAME,$0
	CLD
	TESTB	$3, 16(SP)
	JNE	user
	PUSHQ	AX
	PUSHQ	BX
	PUSHQ	CX
	PUSHQ	DX
	MOVQ	32(SP), AX
	MOVQ	$·vectors+5(SB), CX
	SUBQ	CX, AX
	XORL	DX, DX
	MOVL	$5, CX
	DIVL	CX			// AX = vector
	SUBL	$const_FirstVector, AX
	LOCK
	BTSQ	AX, runtime∕goos·Pending(SB)
	MOVQ	AX, CX
	SHLQ	$const_lineShift, CX
	MOVQ	$·lines(SB), BX
	ADDQ	BX, CX
	MOVQ	Line_Select(CX), BX
	TESTQ	BX, BX
	JEQ	eoi
	MOVL	Line_Index(CX), DX	// hold the line back: see Line
	MOVL	DX, (BX)
	MOVL	Line_Masked(CX), DX
	MOVL	DX, const_lineWindow(BX)
	MOVQ	Line_Events(CX), DX
	LOCK
	ORQ	DX, runtime∕goos·Pending(SB)
eoi:
	MOVQ	$const_eoiAddress, CX
	MOVL	$0, (CX)
	TESTL	AX, AX			// event 0 is the tick
	JNE	device
	MOVQ	·tickCount(SB), DX	// rearm the one-shot timer
	MOVQ	$const_timerCountAddress, CX
	MOVL	DX, (CX)
	MOVQ	runtime∕goos·Tick(SB), AX
	JMP	yield
device:
	MOVQ	runtime∕goos·Yield(SB), AX
yield:
	TESTQ	AX, AX
	JEQ	done
	LEAQ	40(SP), BX		// the interrupt frame
	CALL	AX
done:
	POPQ	DX
	POPQ	CX
	POPQ	BX
	POPQ	AX
	ADDQ	$8, SP
	IRETQ
user:
	JMP	·interruptUser(SB)

// exception takes every other vector on a stack of its own, interrupts off.
// It fills ·fault and then either lets the runtime turn the fault into a Go
// panic of the goroutine that made it, or goes to the fatal path.
//
// Stack: return address into ·vectors, error code for some vectors, RIP, CS,
// RFLAGS, RSP, SS.
TEXT ·exception(SB),NOSPLIT|NOFRAME,$0
	CLD
	MOVQ	AX, ·fault+Frame_AX(SB)
	MOVQ	BX, ·fault+Frame_BX(SB)
	MOVQ	CX, ·fault+Frame_CX(SB)
	MOVQ	DX, ·fault+Frame_DX(SB)
	MOVQ	SI, ·fault+Frame_SI(SB)
	MOVQ	DI, ·fault+Frame_DI(SB)
	MOVQ	BP, ·fault+Frame_BP(SB)
	MOVQ	R8, ·fault+Frame_R8(SB)
	MOVQ	R9, ·fault+Frame_R9(SB)
	MOVQ	R10, ·fault+Frame_R10(SB)
	MOVQ	R11, ·fault+Frame_R11(SB)
	MOVQ	R12, ·fault+Frame_R12(SB)
	MOVQ	R13, ·fault+Frame_R13(SB)
	MOVQ	R14, ·fault+Frame_R14(SB)
	MOVQ	R15, ·fault+Frame_R15(SB)
	POPQ	AX
	MOVQ	$·vectors+5(SB), CX
	SUBQ	CX, AX
	XORL	DX, DX
	MOVL	$5, CX
	DIVL	CX
	MOVQ	AX, ·fault+Frame_Vector(SB)
	XORL	DX, DX
	CMPQ	AX, $32
	JAE	noerror
	MOVQ	AX, CX
	MOVL	$0x60227d00, BX		// 8, 10-14, 17, 21, 29, 30 push a code
	BTL	CX, BX
	JCC	noerror
	POPQ	DX
noerror:
	MOVQ	DX, ·fault+Frame_Code(SB)
	MOVQ	0(SP), AX
	MOVQ	AX, ·fault+Frame_IP(SB)
	MOVQ	8(SP), AX
	MOVQ	AX, ·fault+Frame_CS(SB)
	MOVQ	16(SP), AX
	MOVQ	AX, ·fault+Frame_Flags(SB)
	MOVQ	24(SP), AX
	MOVQ	AX, ·fault+Frame_SP(SB)
	MOVQ	32(SP), AX
	MOVQ	AX, ·fault+Frame_SS(SB)
	MOVQ	CR2, AX
	MOVQ	AX, ·fault+Frame_Addr(SB)

	// Two exceptions are the machine's and not the running code's.
	MOVQ	·fault+Frame_Vector(SB), DX
	CMPQ	DX, $2			// NMI
	JEQ	fatal
	CMPQ	DX, $18			// machine check
	JEQ	fatal
	TESTB	$3, 8(SP)
	JNE	user

	// A fault of ring-0 Go code at a small address or by a division: let the
	// runtime have it.
	MOVQ	runtime∕goos·Panic(SB), AX
	TESTQ	AX, AX
	JEQ	fatal
	MOVQ	·fault+Frame_Vector(SB), DX
	TESTQ	DX, DX
	JEQ	panic
	CMPQ	DX, $14
	JNE	fatal
	CMPQ	·fault+Frame_Addr(SB), $4096
	JAE	fatal
panic:
	MOVQ	·fault+Frame_IP(SB), BX
	MOVQ	·fault+Frame_SP(SB), SI
	MOVQ	·fault+Frame_Addr(SB), DI
	CALL	AX			// AX = new IP or 0, SI = new SP
	TESTQ	AX, AX
	JEQ	fatal
	MOVQ	AX, 0(SP)
	MOVQ	SI, 24(SP)
	ORQ	$0x200, 16(SP)
	MOVQ	·fault+Frame_AX(SB), AX
	MOVQ	·fault+Frame_BX(SB), BX
	MOVQ	·fault+Frame_CX(SB), CX
	MOVQ	·fault+Frame_DX(SB), DX
	MOVQ	·fault+Frame_SI(SB), SI
	MOVQ	·fault+Frame_DI(SB), DI
	IRETQ
user:
	JMP	·exceptionUser(SB)

fatal:
	// FS may be a domain's still, and flags too.
	MOVQ	·kernelFS(SB), AX
	TESTQ	AX, AX
	JEQ	early
	MOVQ	AX, DX
	SHRQ	$32, DX
	MOVL	$0xc0000100, CX		// FS_BASE
	WRMSR
early:
	PUSHQ	$2
	POPFQ
	// Go code needs a g whose stack guard lies below this stack, which is in
	// the upper half: g0's does.
	MOVQ	(TLS), AX
	TESTQ	AX, AX
	JEQ	nog
	MOVQ	AX, ·fault+Frame_G(SB)
nog:
	BYTE	$0xdb; BYTE $0xe3	// FNINIT: FCW 0x37f
	LDMXCSR	·mxcsr(SB)
	MOVQ	$runtime·g0(SB), R14
	MOVQ	R14, (TLS)
	XORPS	X15, X15
	XORL	BP, BP
	CALL	·fatal(SB)
	HLT
	JMP	-1(PC)

DATA	·mxcsr(SB)/4, $0x1f80
GLOBL	·mxcsr(SB),RODATA,$4
