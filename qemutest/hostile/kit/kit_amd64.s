#include "textflag.h"

// func Call(num, a1, a2, a3, a4 uintptr) int64
TEXT ·Call(SB),NOSPLIT,$0-48
	MOVQ	num+0(FP), AX
	MOVQ	a1+8(FP), DI
	MOVQ	a2+16(FP), SI
	MOVQ	a3+24(FP), DX
	MOVQ	a4+32(FP), R10
	SYSCALL
	MOVQ	AX, ret+40(FP)
	RET

// func Jump(addr uintptr)
TEXT ·Jump(SB),NOSPLIT,$0-8
	MOVQ	addr+0(FP), AX
	CALL	AX
	RET

// func Int(n uint8)
TEXT ·Int(SB),NOSPLIT,$0-1
	MOVBQZX	n+0(FP), AX
	LEAQ	(AX)(AX*2), AX
	MOVQ	$·ints(SB), BX
	ADDQ	AX, BX
	CALL	BX
	RET

// INT n; RET for each n, three bytes each.
#define I(n) BYTE $0xcd; BYTE $(n); BYTE $0xc3
#define ROW(n) I(n); I(n+1); I(n+2); I(n+3); I(n+4); I(n+5); I(n+6); I(n+7); I(n+8); I(n+9); I(n+10); I(n+11); I(n+12); I(n+13); I(n+14); I(n+15)
TEXT ·ints(SB),NOSPLIT|NOFRAME,$0
	ROW(0x00); ROW(0x10); ROW(0x20); ROW(0x30); ROW(0x40); ROW(0x50); ROW(0x60); ROW(0x70)
	ROW(0x80); ROW(0x90); ROW(0xa0); ROW(0xb0); ROW(0xc0); ROW(0xd0); ROW(0xe0); ROW(0xf0)

// func SyscallAtStack(sp uintptr): a system call with another stack pointer.
TEXT ·SyscallAtStack(SB),NOSPLIT,$0-8
	MOVQ	sp+0(FP), BX
	MOVQ	SP, R9
	MOVQ	BX, SP
	MOVL	$0, AX
	SYSCALL
	MOVQ	R9, SP
	RET

// func SpinAtStack(sp uintptr)
TEXT ·SpinAtStack(SB),NOSPLIT,$0-8
	MOVQ	sp+0(FP), SP
	JMP	0(PC)

// func FlagsOverCall(flags uint64) (after uint64): sets flags, makes a system call
// and returns the flags that it finds then.
TEXT ·FlagsOverCall(SB),NOSPLIT,$0-16
	MOVQ	flags+0(FP), BX
	PUSHQ	BX
	POPFQ
	MOVL	$0, AX
	SYSCALL
	PUSHFQ
	POPQ	BX
	CLD
	PUSHQ	$2
	POPFQ
	MOVQ	BX, after+8(FP)
	RET

// func Selectors(v uint16) (ds, es, fs, gs uint16): loads all four, makes a system
// call, and returns what is in them then. FS base is put back.
TEXT ·Selectors(SB),NOSPLIT,$0-16
	BYTE $0xf3; BYTE $0x49; BYTE $0x0f; BYTE $0xae; BYTE $0xc0	// RDFSBASE R8
	MOVWLZX	v+0(FP), BX
	MOVW	BX, DS
	MOVW	BX, ES
	MOVW	BX, FS
	MOVW	BX, GS
	MOVL	$0, AX
	SYSCALL
	MOVW	DS, AX
	MOVW	AX, ds+8(FP)
	MOVW	ES, AX
	MOVW	AX, es+10(FP)
	MOVW	FS, AX
	MOVW	AX, fs+12(FP)
	MOVW	GS, AX
	MOVW	AX, gs+14(FP)
	XORL	AX, AX
	MOVW	AX, FS
	BYTE $0xf3; BYTE $0x49; BYTE $0x0f; BYTE $0xae; BYTE $0xd0	// WRFSBASE R8
	RET

// func Bases(fs, gs uint64) (afterFS, afterGS uint64): sets the bases of FS and GS,
// makes a system call, returns what they are then, and puts FS back.
TEXT ·Bases(SB),NOSPLIT,$0-32
	BYTE $0xf3; BYTE $0x49; BYTE $0x0f; BYTE $0xae; BYTE $0xc0	// RDFSBASE R8
	MOVQ	fs+0(FP), BX
	BYTE $0xf3; BYTE $0x48; BYTE $0x0f; BYTE $0xae; BYTE $0xd3	// WRFSBASE BX
	MOVQ	gs+8(FP), BX
	BYTE $0xf3; BYTE $0x48; BYTE $0x0f; BYTE $0xae; BYTE $0xdb	// WRGSBASE BX
	MOVL	$0, AX
	SYSCALL
	BYTE $0xf3; BYTE $0x48; BYTE $0x0f; BYTE $0xae; BYTE $0xc0	// RDFSBASE AX
	MOVQ	AX, afterFS+16(FP)
	BYTE $0xf3; BYTE $0x48; BYTE $0x0f; BYTE $0xae; BYTE $0xc8	// RDGSBASE AX
	MOVQ	AX, afterGS+24(FP)
	BYTE $0xf3; BYTE $0x49; BYTE $0x0f; BYTE $0xae; BYTE $0xd0	// WRFSBASE R8
	RET

// func FloatControl(mxcsr uint32, fcw uint16) (afterMXCSR uint32, afterFCW uint16):
// sets both, makes a system call, returns them and puts the usual ones back.
TEXT ·FloatControl(SB),NOSPLIT,$8-14
	LDMXCSR	mxcsr+0(FP)
	FLDCW	fcw+4(FP)
	MOVL	$0, AX
	SYSCALL
	STMXCSR	afterMXCSR+8(FP)
	FSTCW	afterFCW+12(FP)
	MOVL	$0x1f80, 0(SP)
	LDMXCSR	0(SP)
	MOVW	$0x37f, 0(SP)
	FLDCW	0(SP)
	RET

// func DivideSSE(): 1/0 with every exception unmasked, after a system call.
TEXT ·DivideSSE(SB),NOSPLIT,$8-0
	MOVL	$0, 0(SP)
	LDMXCSR	0(SP)
	MOVL	$0, AX
	SYSCALL
	MOVL	$1, AX
	CVTSL2SD	AX, X0
	XORPS	X1, X1
	DIVSD	X1, X0
	RET

// func DivideX87(): the same, with the x87.
TEXT ·DivideX87(SB),NOSPLIT,$8-0
	MOVW	$0x340, 0(SP)
	FLDCW	0(SP)
	MOVL	$0, AX
	SYSCALL
	BYTE $0xd9; BYTE $0xe8		// FLD1
	BYTE $0xd9; BYTE $0xee		// FLDZ
	BYTE $0xde; BYTE $0xf9		// FDIVP
	BYTE $0x9b			// FWAIT
	RET

// func Vectors(in, out *[16][32]byte, calls int): loads YMM0 to YMM15 from in,
// makes system calls, spins a while between them, and stores them to out.
TEXT ·Vectors(SB),NOSPLIT,$0-24
	MOVQ	in+0(FP), BX
	VMOVDQU	0(BX), Y0
	VMOVDQU	32(BX), Y1
	VMOVDQU	64(BX), Y2
	VMOVDQU	96(BX), Y3
	VMOVDQU	128(BX), Y4
	VMOVDQU	160(BX), Y5
	VMOVDQU	192(BX), Y6
	VMOVDQU	224(BX), Y7
	VMOVDQU	256(BX), Y8
	VMOVDQU	288(BX), Y9
	VMOVDQU	320(BX), Y10
	VMOVDQU	352(BX), Y11
	VMOVDQU	384(BX), Y12
	VMOVDQU	416(BX), Y13
	VMOVDQU	448(BX), Y14
	VMOVDQU	480(BX), Y15
	MOVQ	calls+16(FP), R12
again:
	MOVL	$0, AX
	SYSCALL
	MOVL	$1000, CX
spin:
	SUBL	$1, CX
	JNE	spin
	SUBQ	$1, R12
	JNE	again
	MOVQ	out+8(FP), BX
	VMOVDQU	Y0, 0(BX)
	VMOVDQU	Y1, 32(BX)
	VMOVDQU	Y2, 64(BX)
	VMOVDQU	Y3, 96(BX)
	VMOVDQU	Y4, 128(BX)
	VMOVDQU	Y5, 160(BX)
	VMOVDQU	Y6, 192(BX)
	VMOVDQU	Y7, 224(BX)
	VMOVDQU	Y8, 256(BX)
	VMOVDQU	Y9, 288(BX)
	VMOVDQU	Y10, 320(BX)
	VMOVDQU	Y11, 352(BX)
	VMOVDQU	Y12, 384(BX)
	VMOVDQU	Y13, 416(BX)
	VMOVDQU	Y14, 448(BX)
	VMOVDQU	Y15, 480(BX)
	VZEROUPPER
	PXOR	X15, X15
	RET

// Upcall entries.
TEXT ·UpcallSpin(SB),NOSPLIT|NOFRAME,$0
	JMP	0(PC)

TEXT ·UpcallFault(SB),NOSPLIT|NOFRAME,$0
	MOVQ	$0, 0
	RET

TEXT ·UpcallExit(SB),NOSPLIT|NOFRAME,$0
	MOVL	$1, AX			// abi.SysExit
	MOVL	$0, DI
	SYSCALL
	INT	$3

TEXT ·UpcallNowhere(SB),NOSPLIT|NOFRAME,$0
	MOVL	$8, AX			// abi.SysResume
	MOVL	$0, DI
	SYSCALL
	INT	$3

// func address(which int) uintptr
TEXT ·address(SB),NOSPLIT,$0-16
	MOVQ	which+0(FP), AX
	MOVQ	$·UpcallSpin(SB), BX
	CMPQ	AX, $1
	JNE	2(PC)
	MOVQ	$·UpcallFault(SB), BX
	CMPQ	AX, $2
	JNE	2(PC)
	MOVQ	$·UpcallExit(SB), BX
	CMPQ	AX, $3
	JNE	2(PC)
	MOVQ	$·UpcallNowhere(SB), BX
	MOVQ	BX, ret+8(FP)
	RET

// func Loop()
TEXT ·Loop(SB),NOSPLIT,$0
	JMP	0(PC)

// Instructions that only ring 0 may execute, or that tell what it knows.
TEXT ·hlt(SB),NOSPLIT,$0
	BYTE $0xf4
	RET
TEXT ·cli(SB),NOSPLIT,$0
	BYTE $0xfa
	RET
TEXT ·sti(SB),NOSPLIT,$0
	BYTE $0xfb
	RET
TEXT ·in(SB),NOSPLIT,$0
	MOVL	$0xf4, DX
	BYTE $0xec
	RET
TEXT ·out(SB),NOSPLIT,$0
	MOVL	$0xf4, DX
	BYTE $0xee
	RET
TEXT ·lgdt(SB),NOSPLIT,$16
	BYTE $0x0f; BYTE $0x01; BYTE $0x14; BYTE $0x24
	RET
TEXT ·lidt(SB),NOSPLIT,$16
	BYTE $0x0f; BYTE $0x01; BYTE $0x1c; BYTE $0x24
	RET
TEXT ·sgdt(SB),NOSPLIT,$16
	BYTE $0x0f; BYTE $0x01; BYTE $0x04; BYTE $0x24
	RET
TEXT ·sidt(SB),NOSPLIT,$16
	BYTE $0x0f; BYTE $0x01; BYTE $0x0c; BYTE $0x24
	RET
TEXT ·sldt(SB),NOSPLIT,$0
	BYTE $0x0f; BYTE $0x00; BYTE $0xc0
	RET
TEXT ·str(SB),NOSPLIT,$0
	BYTE $0x0f; BYTE $0x00; BYTE $0xc8
	RET
TEXT ·smsw(SB),NOSPLIT,$0
	BYTE $0x0f; BYTE $0x01; BYTE $0xe0
	RET
TEXT ·lldt(SB),NOSPLIT,$0
	BYTE $0x0f; BYTE $0x00; BYTE $0xd0
	RET
TEXT ·ltr(SB),NOSPLIT,$0
	BYTE $0x0f; BYTE $0x00; BYTE $0xd8
	RET
TEXT ·lmsw(SB),NOSPLIT,$0
	BYTE $0x0f; BYTE $0x01; BYTE $0xf0
	RET
TEXT ·clts(SB),NOSPLIT,$0
	BYTE $0x0f; BYTE $0x06
	RET
TEXT ·invd(SB),NOSPLIT,$0
	BYTE $0x0f; BYTE $0x08
	RET
TEXT ·wbinvd(SB),NOSPLIT,$0
	BYTE $0x0f; BYTE $0x09
	RET
TEXT ·invlpg(SB),NOSPLIT,$0
	BYTE $0x0f; BYTE $0x01; BYTE $0x3c; BYTE $0x24
	RET
TEXT ·readcr0(SB),NOSPLIT,$0
	BYTE $0x0f; BYTE $0x20; BYTE $0xc0
	RET
TEXT ·readcr3(SB),NOSPLIT,$0
	BYTE $0x0f; BYTE $0x20; BYTE $0xd8
	RET
TEXT ·writecr3(SB),NOSPLIT,$0
	BYTE $0x0f; BYTE $0x22; BYTE $0xd8
	RET
TEXT ·writecr4(SB),NOSPLIT,$0
	BYTE $0x0f; BYTE $0x22; BYTE $0xe0
	RET
TEXT ·readdr7(SB),NOSPLIT,$0
	BYTE $0x0f; BYTE $0x21; BYTE $0xf8
	RET
TEXT ·writedr7(SB),NOSPLIT,$0
	BYTE $0x0f; BYTE $0x23; BYTE $0xf8
	RET
TEXT ·rdmsr(SB),NOSPLIT,$0
	MOVL	$0xc0000082, CX
	BYTE $0x0f; BYTE $0x32
	RET
TEXT ·wrmsr(SB),NOSPLIT,$0
	MOVL	$0xc0000082, CX
	BYTE $0x0f; BYTE $0x30
	RET
TEXT ·rdpmc(SB),NOSPLIT,$0
	BYTE $0x0f; BYTE $0x33
	RET
TEXT ·swapgs(SB),NOSPLIT,$0
	BYTE $0x0f; BYTE $0x01; BYTE $0xf8
	RET
TEXT ·sysret(SB),NOSPLIT,$0
	BYTE $0x48; BYTE $0x0f; BYTE $0x07
	RET
TEXT ·sysexit(SB),NOSPLIT,$0
	BYTE $0x0f; BYTE $0x35
	RET
TEXT ·sysenter(SB),NOSPLIT,$0
	BYTE $0x0f; BYTE $0x34
	RET
TEXT ·xsetbv(SB),NOSPLIT,$0
	MOVL	$7, AX
	XORL	CX, CX
	XORL	DX, DX
	BYTE $0x0f; BYTE $0x01; BYTE $0xd1
	RET
TEXT ·monitor(SB),NOSPLIT,$0
	BYTE $0x0f; BYTE $0x01; BYTE $0xc8
	RET
TEXT ·mwait(SB),NOSPLIT,$0
	BYTE $0x0f; BYTE $0x01; BYTE $0xc9
	RET
TEXT ·clac(SB),NOSPLIT,$0
	BYTE $0x0f; BYTE $0x01; BYTE $0xca
	RET
TEXT ·stac(SB),NOSPLIT,$0
	BYTE $0x0f; BYTE $0x01; BYTE $0xcb
	RET
TEXT ·iretKernel(SB),NOSPLIT,$0
	// To ring 0's code selector.
	PUSHQ	$0x10
	PUSHQ	$0x201000
	PUSHQ	$0x202
	PUSHQ	$0x08
	PUSHQ	$0x201000
	BYTE $0x48; BYTE $0xcf
	ADJSP	$-40
	RET
TEXT ·farCall(SB),NOSPLIT,$16
	MOVL	$0x201000, 0(SP)
	MOVW	$0x08, 4(SP)
	BYTE $0xff; BYTE $0x1c; BYTE $0x24
	RET
TEXT ·loadSS0(SB),NOSPLIT,$0
	MOVL	$0x10, AX
	BYTE $0x8e; BYTE $0xd0
	RET
TEXT ·icebp(SB),NOSPLIT,$0
	BYTE $0xf1
	RET
TEXT ·int3(SB),NOSPLIT,$0
	BYTE $0xcc
	RET
TEXT ·ud2(SB),NOSPLIT,$0
	BYTE $0x0f; BYTE $0x0b
	RET
TEXT ·trapFlag(SB),NOSPLIT,$0
	PUSHQ	$0x102
	POPFQ
	BYTE $0x90
	BYTE $0x90
	RET
TEXT ·TrapFlagOverCall(SB),NOSPLIT,$0
	MOVL	$0, AX
	PUSHQ	$0x102
	POPFQ
	SYSCALL
	RET
