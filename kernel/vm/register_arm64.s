#include "textflag.h"

// One access a routine, with a barrier that orders it with memory that a device shares
// (outer shareable).
#define LOADED DMB $1		// OSHLD
#define STORING DMB $2		// OSHST

TEXT ·load8(SB),NOSPLIT,$0-9
	MOVD	a+0(FP), R0
	MOVBU	(R0), R1
	LOADED
	MOVB	R1, ret+8(FP)
	RET

TEXT ·load16(SB),NOSPLIT,$0-10
	MOVD	a+0(FP), R0
	MOVHU	(R0), R1
	LOADED
	MOVH	R1, ret+8(FP)
	RET

TEXT ·Load32(SB),NOSPLIT,$0-12
	MOVD	a+0(FP), R0
	MOVWU	(R0), R1
	LOADED
	MOVW	R1, ret+8(FP)
	RET

TEXT ·store8(SB),NOSPLIT,$0-9
	MOVD	a+0(FP), R0
	MOVBU	v+8(FP), R1
	STORING
	MOVB	R1, (R0)
	RET

TEXT ·store16(SB),NOSPLIT,$0-10
	MOVD	a+0(FP), R0
	MOVHU	v+8(FP), R1
	STORING
	MOVH	R1, (R0)
	RET

TEXT ·Store32(SB),NOSPLIT,$0-12
	MOVD	a+0(FP), R0
	MOVWU	v+8(FP), R1
	STORING
	MOVW	R1, (R0)
	RET

TEXT ·Load64(SB),NOSPLIT,$0-16
	MOVD	a+0(FP), R0
	MOVD	(R0), R1
	LOADED
	MOVD	R1, ret+8(FP)
	RET

TEXT ·Store64(SB),NOSPLIT,$0-16
	MOVD	a+0(FP), R0
	MOVD	v+8(FP), R1
	STORING
	MOVD	R1, (R0)
	RET
