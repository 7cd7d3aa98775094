#include "textflag.h"

#define RESET_STACK 16384

// func callReset(function, kind uint64)
//
// What runs here lies where the boot page tables have it too, as has all of the image. The
// callee keeps BP and R12 to R15.
TEXT ·callReset(SB),NOSPLIT,$0-16
	MOVQ	function+0(FP), AX
	MOVQ	kind+8(FP), CX
	MOVQ	SP, R12
	MOVQ	CR3, R13
	MOVQ	CR4, R15
	MOVQ	$·resetStack+(RESET_STACK-64)(SB), SP
	ANDQ	$~15, SP
	MOVQ	R15, DX
	ANDQ	$~0x80, DX		// PGE: drops what is translated for all spaces
	MOVQ	DX, CR4
	MOVQ	$·bootTables+4095(SB), DX
	ANDQ	$~4095, DX
	MOVQ	DX, CR3
	XORL	DX, DX			// EFI_SUCCESS
	XORL	R8, R8			// no data
	XORL	R9, R9
	CALL	AX
	MOVQ	R13, CR3
	MOVQ	R15, CR4
	MOVQ	R12, SP
	RET

GLOBL	·resetStack(SB),NOPTR,$RESET_STACK
