package trap

import (
	"unsafe"

	"github.com/sluice-os/sluice/kernel/cpu"
)

// VectorSyscall is the Vector of a system call. Vectors of interrupts are
// FirstVector and above, those of exceptions below.
const VectorSyscall = 256

// VectorNone is the Vector of an Enter that did not enter: an event that a
// kernel goroutine waits for was pending.
const VectorNone = 257

// User is the processor state of a domain, while the domain does not run. It
// must lie at a multiple of 64 and stay where it is.
type User struct {
	Frame
	FS, GS uint64 // segment bases
	Root   uint64 // physical address of its PML4
	_      [40]byte
	// Vectors and floating point, as XSAVE (standard form; x87, SSE and AVX) or
	// FXSAVE64 lays them out.
	State [1024]byte
}

// Flags that ring 3 may set: carry, parity, adjust, zero, sign, direction,
// overflow, alignment check and identification. The others come to it as:
// interrupts on, everything else off.
const (
	flagsFree  = 0x240cd5
	flagsFixed = 0x202
)

// Reset makes u the state of a domain that begins: the instruction and stack
// pointer given, all other registers zero or the processor's initial value.
func (u *User) Reset(ip, sp uint64) {
	root := u.Root
	*u = User{Root: root}
	u.IP, u.SP = ip, sp
	u.State[0], u.State[1] = 0x7f, 0x03   // FCW
	u.State[24], u.State[25] = 0x80, 0x1f // MXCSR
	u.Check()
}

// Check makes the frame one that IRETQ takes to ring 3 and nowhere else. The
// caller has checked IP and SP.
func (u *User) Check() {
	u.CS, u.SS = UserCode, UserData
	u.Flags = u.Flags&flagsFree | flagsFixed
}

// Enter runs the domain until the next trap, which u then describes. IP and SP
// must be canonical addresses below 1<<47 and Check must have been called.
//
// It must be called on a goroutine with interrupts on; it switches to u.Root.
// Everything of the kernel's registers is replaced on the way out: general
// registers, flags, FS and GS and their selectors, x87, SSE and AVX.
func Enter(u *User)

// What the assembly keeps, or is told.
var (
	hasXSAVE bool
	hasFSGS  bool

	// FS base of the one thread.
	//lint:ignore U1000 used by assembly
	kernelFS uint64
	//lint:ignore U1000 used by assembly
	current *User
	//lint:ignore U1000 used by assembly
	kernelSP uint64
	//lint:ignore U1000 used by assembly
	kernelBP uint64
	//lint:ignore U1000 used by assembly
	scratch uint64
)

const (
	msrEFER  = 0xc0000080
	msrSTAR  = 0xc0000081
	msrLSTAR = 0xc0000082
	msrFMASK = 0xc0000084
	msrFS    = 0xc0000100

	// Flags that SYSCALL clears: IF, TF, DF, AC, NT, IOPL, RF.
	syscallMask = 0x57700
)

func syscallAddr() uintptr

// InitUser opens the way to ring 3 and back. cpu.Protect has been called.
func InitUser() {
	_, _, c, _ := cpu.CPUID(1, 0)
	hasXSAVE = c&(1<<27) != 0 // OSXSAVE: start64 has turned it on
	hasFSGS = cpu.ReadCR4()&cpu.CR4FSGSBASE != 0
	kernelFS = cpu.ReadMSR(msrFS)
	cpu.WriteMSR(msrSTAR, KernelCode<<32)
	cpu.WriteMSR(msrLSTAR, uint64(syscallAddr()))
	cpu.WriteMSR(msrFMASK, syscallMask)
	cpu.WriteMSR(msrEFER, cpu.ReadMSR(msrEFER)|1)
}

// Features of ring 3 that a domain is told about.
func Features() (xsave, fsgs bool) { return hasXSAVE, hasFSGS }

// stateOffset is where State lies, for user_amd64.s. XSAVE wants a multiple of
// 64: the second constant does not compile otherwise.
const (
	stateOffset = unsafe.Offsetof(User{}.State)
	_           = -(stateOffset % 64)
)
