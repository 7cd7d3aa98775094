#include "go_asm.h"
#include "textflag.h"

// The way to ring 3 and back. See docs/domains.md, "The life of a trap".

#define FNINIT BYTE $0xdb; BYTE $0xe3
#define RDFSBASE_AX BYTE $0xf3; BYTE $0x48; BYTE $0x0f; BYTE $0xae; BYTE $0xc0
#define RDGSBASE_AX BYTE $0xf3; BYTE $0x48; BYTE $0x0f; BYTE $0xae; BYTE $0xc8
#define WRFSBASE_AX BYTE $0xf3; BYTE $0x48; BYTE $0x0f; BYTE $0xae; BYTE $0xd0
#define WRGSBASE_AX BYTE $0xf3; BYTE $0x48; BYTE $0x0f; BYTE $0xae; BYTE $0xd8

// func Enter(u *User)
//
// Returns through ·leave. Between CLI and IRETQ nothing can trap but NMI and
// machine check, which have stacks of their own and are fatal.
TEXT ·Enter(SB),NOSPLIT|NOFRAME,$0-8
	MOVQ	u+0(FP), DI
	CLI
	MOVQ	runtime∕goos·Pending(SB), AX
	ANDQ	runtime∕goos·Waiting(SB), AX
	JNE	pending
	MOVQ	BP, ·kernelBP(SB)
	MOVQ	SP, ·kernelSP(SB)
	MOVQ	DI, ·current(SB)
	MOVQ	User_Root(DI), AX
	MOVQ	CR3, CX
	CMPQ	AX, CX
	JEQ	loaded
	MOVQ	AX, CR3
loaded:
	// Selectors before bases: loading FS or GS sets its base.
	MOVL	$const_UserData, AX
	MOVW	DS, CX
	CMPW	CX, AX
	JEQ	ds
	MOVW	AX, DS
ds:
	MOVW	ES, CX
	CMPW	CX, AX
	JEQ	es
	MOVW	AX, ES
es:
	XORL	AX, AX
	MOVW	FS, CX
	TESTW	CX, CX
	JEQ	fs
	MOVW	AX, FS
fs:
	MOVW	GS, CX
	TESTW	CX, CX
	JEQ	gs
	MOVW	AX, GS
gs:
	CMPB	·hasFSGS(SB), $0
	JEQ	slowbase
	MOVQ	User_FS(DI), AX
	WRFSBASE_AX
	MOVQ	User_GS(DI), AX
	WRGSBASE_AX
	JMP	based
slowbase:
	MOVQ	User_FS(DI), AX
	MOVQ	AX, DX
	SHRQ	$32, DX
	MOVL	$0xc0000100, CX
	WRMSR
	XORL	AX, AX
	XORL	DX, DX
	MOVL	$0xc0000101, CX
	WRMSR
based:
	CMPB	·hasXSAVE(SB), $0
	JEQ	fxrstor
	MOVL	$7, AX
	XORL	DX, DX
	BYTE $0x0f; BYTE $0xae; BYTE $0xaf; LONG $const_stateOffset	// XRSTOR State(DI)
	JMP	restored
fxrstor:
	BYTE $0x48; BYTE $0x0f; BYTE $0xae; BYTE $0x8f; LONG $const_stateOffset	// FXRSTOR64 State(DI)
restored:
	MOVQ	Frame_AX(DI), AX
	MOVQ	Frame_BX(DI), BX
	MOVQ	Frame_CX(DI), CX
	MOVQ	Frame_DX(DI), DX
	MOVQ	Frame_SI(DI), SI
	MOVQ	Frame_BP(DI), BP
	MOVQ	Frame_R8(DI), R8
	MOVQ	Frame_R9(DI), R9
	MOVQ	Frame_R10(DI), R10
	MOVQ	Frame_R11(DI), R11
	MOVQ	Frame_R12(DI), R12
	MOVQ	Frame_R13(DI), R13
	MOVQ	Frame_R14(DI), R14
	MOVQ	Frame_R15(DI), R15
	LEAQ	Frame_IP(DI), SP	// IP, CS, flags, SP, SS lie there as pushed
	MOVQ	Frame_DI(DI), DI
	IRETQ
pending:
	MOVQ	$const_VectorNone, Frame_Vector(DI)
	STI
	RET

// func syscallAddr() uintptr
TEXT ·syscallAddr(SB),NOSPLIT,$0-8
	MOVQ	$·syscall(SB), AX
	MOVQ	AX, ret+0(FP)
	RET

// syscall is where SYSCALL comes in: CX and R11 hold IP and flags, everything
// else is the domain's, interrupts are off. It touches no stack before ·leave
// has switched to the kernel's.
TEXT ·syscall(SB),NOSPLIT|NOFRAME,$0
	MOVQ	DI, ·scratch(SB)
	MOVQ	·current(SB), DI
	MOVQ	AX, Frame_AX(DI)
	MOVQ	BX, Frame_BX(DI)
	MOVQ	CX, Frame_CX(DI)
	MOVQ	DX, Frame_DX(DI)
	MOVQ	SI, Frame_SI(DI)
	MOVQ	BP, Frame_BP(DI)
	MOVQ	R8, Frame_R8(DI)
	MOVQ	R9, Frame_R9(DI)
	MOVQ	R10, Frame_R10(DI)
	MOVQ	R11, Frame_R11(DI)
	MOVQ	R12, Frame_R12(DI)
	MOVQ	R13, Frame_R13(DI)
	MOVQ	R14, Frame_R14(DI)
	MOVQ	R15, Frame_R15(DI)
	MOVQ	CX, Frame_IP(DI)
	MOVQ	R11, Frame_Flags(DI)
	MOVQ	SP, Frame_SP(DI)
	MOVQ	$const_VectorSyscall, Frame_Vector(DI)
	MOVQ	·scratch(SB), AX
	MOVQ	AX, Frame_DI(DI)
	XORL	BX, BX			// no event
	JMP	·leave(SB)

// interruptUser goes on with ·interrupt when ring 3 was interrupted. Stack:
// return address into ·vectors, RIP, CS, RFLAGS, RSP, SS.
TEXT ·interruptUser(SB),NOSPLIT|NOFRAME,$0
	PUSHQ	DI
	MOVQ	·current(SB), DI
	MOVQ	AX, Frame_AX(DI)
	MOVQ	BX, Frame_BX(DI)
	MOVQ	CX, Frame_CX(DI)
	MOVQ	DX, Frame_DX(DI)
	MOVQ	SI, Frame_SI(DI)
	MOVQ	BP, Frame_BP(DI)
	MOVQ	R8, Frame_R8(DI)
	MOVQ	R9, Frame_R9(DI)
	MOVQ	R10, Frame_R10(DI)
	MOVQ	R11, Frame_R11(DI)
	MOVQ	R12, Frame_R12(DI)
	MOVQ	R13, Frame_R13(DI)
	MOVQ	R14, Frame_R14(DI)
	MOVQ	R15, Frame_R15(DI)
	POPQ	AX
	MOVQ	AX, Frame_DI(DI)
	MOVQ	8(SP), AX
	MOVQ	AX, Frame_IP(DI)
	MOVQ	24(SP), AX
	MOVQ	AX, Frame_Flags(DI)
	MOVQ	32(SP), AX
	MOVQ	AX, Frame_SP(DI)
	MOVQ	0(SP), AX
	MOVQ	$·vectors+5(SB), CX
	SUBQ	CX, AX
	XORL	DX, DX
	MOVL	$5, CX
	DIVL	CX			// AX = vector
	MOVQ	AX, Frame_Vector(DI)
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
	MOVQ	runtime∕goos·Yield(SB), BX
	TESTL	AX, AX			// event 0 is the tick
	JNE	device
	MOVQ	·tickCount(SB), DX	// rearm the one-shot timer
	MOVQ	$const_timerCountAddress, CX
	MOVL	DX, (CX)
	MOVQ	runtime∕goos·Tick(SB), BX
device:
	JMP	·leave(SB)

// exceptionUser goes on with ·exception when ring 3 made it: ·fault is filled.
TEXT ·exceptionUser(SB),NOSPLIT|NOFRAME,$0
	MOVQ	$·fault(SB), SI
	MOVQ	·current(SB), DI
	MOVL	$(Frame__size/8), CX
	REP; MOVSQ
	MOVQ	·current(SB), DI
	XORL	BX, BX			// no event
	JMP	·leave(SB)

// leave returns from Enter. DI = the domain's record, whose Frame is filled; BX
// = routine to call for an event (goos.Yield or goos.Tick), 0 for none.
// Interrupts are off. What is not in the Frame yet is the domain's still: the
// bases of FS and GS, x87, SSE and AVX, and flags.
TEXT ·leave(SB),NOSPLIT|NOFRAME,$0
	MOVQ	·kernelSP(SB), SP
	PUSHQ	$2			// every flag off, AC and NT among them
	POPFQ
	CMPB	·hasFSGS(SB), $0
	JEQ	slowbase
	RDFSBASE_AX
	MOVQ	AX, User_FS(DI)
	RDGSBASE_AX
	MOVQ	AX, User_GS(DI)
	MOVQ	·kernelFS(SB), AX
	WRFSBASE_AX
	JMP	based
slowbase:
	// Ring 3 cannot have changed the bases, but by a selector: Enter loads all.
	MOVQ	·kernelFS(SB), AX
	MOVQ	AX, DX
	SHRQ	$32, DX
	MOVL	$0xc0000100, CX
	WRMSR
based:
	CMPB	·hasXSAVE(SB), $0
	JEQ	fxsave
	MOVL	$7, AX
	XORL	DX, DX
	BYTE $0x0f; BYTE $0xae; BYTE $0xa7; LONG $const_stateOffset	// XSAVE State(DI)
	JMP	saved
fxsave:
	BYTE $0x48; BYTE $0x0f; BYTE $0xae; BYTE $0x87; LONG $const_stateOffset	// FXSAVE64 State(DI)
saved:
	FNINIT				// FCW 0x37f
	LDMXCSR	·mxcsr(SB)		// 0x1f80
	MOVQ	·kernelBP(SB), BP
	TESTQ	BX, BX
	JEQ	done
	MOVQ	BX, AX
	// The routine gets a frame as if it had interrupted right here; what it
	// changes there does not matter, as this goroutine is at its end of a slice.
	SUBQ	$40, SP
	MOVQ	$·leave(SB), CX
	MOVQ	CX, 0(SP)
	MOVQ	$0, 24(SP)		// a stack pointer that is no goroutine's
	MOVQ	SP, BX
	CALL	AX
	ADDQ	$40, SP
done:
	STI
	RET
