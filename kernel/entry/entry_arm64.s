#include "go_asm.h"
#include "textflag.h"

// The kernel's first instructions: from what a boot loader leaves (EL1 or EL2, MMU off, X0
// is the device tree's physical address; Linux' boot protocol for arm64) to EL1 with the MMU
// on, and the Go runtime. Until then no atomics and no unaligned accesses.

// Descriptors of 1 GiB: device memory that is not executed, and normal memory.
#define DEVICE $0x0060000000000405	// UXN, PXN, AF, MAIR index 1, block
#define NORMAL 0x701			// AF, inner shareable, MAIR index 0, block
#define TABLE 3

#define MAIR $0x04ff			// 0: write-back; 1: device, nGnRE
// 48 bits of either half, granules of 4 KiB, tables in inner shareable write-back memory.
#define TCR $0xb5103510

TEXT cpuinit(SB),NOSPLIT|NOFRAME,$0
	MSR	$0xf, DAIFSet
	MOVD	R0, R19
	MRS	CurrentEL, R0
	LSR	$2, R0
	CMP	$1, R0
	BEQ	el1
	CMP	$2, R0
	BNE	stuck			// EL3 is firmware's

	// From EL2 to EL1, which has timer and floating point to itself.
	MOVD	$0x80000000, R0		// RW
	WORD	$0xd51c1100		// MSR HCR_EL2, X0
	MOVD	$3, R0
	WORD	$0xd51ce100		// MSR CNTHCTL_EL2, X0
	WORD	$0xd51ce07f		// MSR CNTVOFF_EL2, XZR
	MOVD	$0x33ff, R0
	WORD	$0xd51c1140		// MSR CPTR_EL2, X0
	MRS	ID_AA64PFR0_EL1, R0	// the system registers of a GIC of version 3, if there
	LSR	$24, R0
	AND	$0xf, R0
	CBZ	R0, version2
	WORD	$0xd53cc9a0		// MRS X0, ICC_SRE_EL2
	ORR	$9, R0			// SRE, and EL1 may have its own
	WORD	$0xd51cc9a0		// MSR ICC_SRE_EL2, X0
	ISB	$15
	WORD	$0xd53cc9a0		// not if EL3 forbids it
	TBZ	$0, R0, version2
	WORD	$0xd51ccb1f		// MSR ICH_HCR_EL2, XZR
version2:
	MOVD	$0x30d00800, R0
	MSR	R0, SCTLR_EL1
	MOVD	$0x3c5, R0		// EL1, all masked
	WORD	$0xd51c4000		// MSR SPSR_EL2, X0
	MOVD	$·el1(SB), R0
	WORD	$0xd51c4020		// MSR ELR_EL2, X0
	ISB	$15
	ERET
el1:
	B	·el1(SB)
stuck:
	WFE
	B	stuck

TEXT ·el1(SB),NOSPLIT|NOFRAME,$0
	// What the file has no bytes for is zero; not every boot loader sees to that.
	MOVD	$runtime·bss(SB), R0
	MOVD	$runtime·end(SB), R1
zero:
	CMP	R1, R0
	BHS	zeroed
	MOVD	ZR, (R0)
	ADD	$8, R0
	B	zero
zeroed:
	MOVD	$(3<<20), R0		// floating point
	MSR	R0, CPACR_EL1
	ISB	$15

	// Page tables: the first 4 GiB at their own addresses and again in the direct map.
	// They serve until Hwinit0 has built the real ones.
	MOVD	$·bootTables(SB), R0
	ADD	$4095, R0
	AND	$~4095, R0
	ADD	$4096, R0, R1
	ORR	$TABLE, R1, R2
	MOVD	R2, (R0)
	MOVD	R2, 0x800(R0)		// entry 256: 0xffff_8000_0000_0000
	MOVD	DEVICE, R2
	MOVD	R2, (R1)
	MOVD	$(1<<30|NORMAL), R2
	MOVD	$(1<<30), R3
	MOVD	R2, 8(R1)
	ADD	R3, R2
	MOVD	R2, 16(R1)
	ADD	R3, R2
	MOVD	R2, 24(R1)
	DSB	$15

	MOVD	MAIR, R2
	MSR	R2, MAIR_EL1
	MRS	ID_AA64MMFR0_EL1, R3	// how long physical addresses are: at most 48 bits
	AND	$0xf, R3
	CMP	$5, R3
	BLS	size
	MOVD	$5, R3
size:
	MOVD	TCR, R2
	ORR	R3<<32, R2
	MSR	R2, TCR_EL1
	MSR	R0, TTBR0_EL1
	MSR	R0, TTBR1_EL1
	ISB	$15
	WORD	$0xd508871f		// TLBI VMALLE1
	WORD	$0xd508751f		// IC IALLU
	DSB	$15
	ISB	$15
	MOVD	$0x30d01805, R2		// MMU and caches on
	MSR	R2, SCTLR_EL1
	ISB	$15

	MSR	$0, SPSel
	// The stack ends at the last page boundary in ·bootStack (see stack.go).
	MOVD	$·bootStack+const_bootStackSize(SB), R0
	AND	$~4095, R0
	MOVD	R0, RSP
	MOVD	R19, ·startInfo(SB)
	B	_rt0_tamago_start(SB)

GLOBL	·bootTables(SB),NOPTR,$(3*4096)
