#include "textflag.h"

// What runs before anything relies on the whole image being in memory. The
// overlay puts this file into package runtime as well, whose text lies in the
// first MiB of the image: where there is little memory, firmware, which moves to
// its end, overwrites what lies further behind. DUPOK has the linker take the
// copy in runtime, of which no part depends on what the kernel grows to.
//
// As in entry_amd64.s, an instruction's encoding means the same in 32-bit mode.

// The image begins with the page that holds its ELF header. The end of that
// page is free and is the only stack until the real one is there.
#define SCRATCH_STACK 0x200f80

// What firmware may use at the end of memory, in bytes: for SeaBIOS, 192 KiB are
// enough.
#define FIRMWARE 0x100000

// first is entered by a jump, on no stack, and leaves by one: to second, or to
// refuse. BX is kept.
TEXT first(SB),NOSPLIT|NOFRAME|DUPOK,$0
	CLI
	CLD
	MOVL	$SCRATCH_STACK, SP

	// The image must lie in memory to its last word, and something behind it:
	// firmware uses the end of memory, and what it left in our data would not
	// be zero.
	CALL	getpc(SB)
	LEAL	runtime·end(SB), DI
	LEAL	6(AX)(DI*1), DI
	ANDL	$~3, DI
	ADDL	$FIRMWARE, DI
	MOVL	-4(DI), DX		// an archive of domains may lie there
	MOVL	$0x736c7569, -4(DI)
	CMPL	-4(DI), $0x736c7569
	MOVL	DX, -4(DI)
	JNE	little
	JMP	second(SB)
little:
	CALL	getpc(SB)
	LEAL	small(SB), SI
	LEAL	6(AX)(SI*1), SI
	JMP	refuse(SB)

// getpc returns its own return address in AX.
TEXT getpc(SB),NOSPLIT|NOFRAME|DUPOK,$0
	MOVL	(SP), AX
	RET

// refuse sends the text at SI, which ends with a zero byte, to the serial port
// and stops the machine. It is entered by a jump.
TEXT refuse(SB),NOSPLIT|NOFRAME|DUPOK,$0
	MOVL	$0x3f8, DX
letter:
	MOVB	(SI), AX
	TESTB	AX, AX
	JEQ	leave
	OUTB
	ADDL	$1, SI
	JMP	letter
leave:
	MOVL	$49, AX			// exitCannotStart, to isa-debug-exit
	MOVL	$0xf4, DX
	OUTB
	HLT
	JMP	leave

// small is a text, as bytes: "sluice: cannot start: too little memory: the image does not fit, Sluice needs 64 MiB\r\n".
TEXT small(SB),NOSPLIT|NOFRAME|DUPOK,$0
	LONG $0x69756c73; LONG $0x203a6563; LONG $0x6e6e6163; LONG $0x7320746f; LONG $0x74726174; LONG $0x6f74203a
	LONG $0x696c206f; LONG $0x656c7474; LONG $0x6d656d20; LONG $0x3a79726f; LONG $0x65687420; LONG $0x616d6920
	LONG $0x64206567; LONG $0x2073656f; LONG $0x20746f6e; LONG $0x2c746966; LONG $0x756c5320; LONG $0x20656369
	LONG $0x6465656e; LONG $0x34362073; LONG $0x42694d20; LONG $0x00000a0d
