package trap

// What package domain asks of the processor. There are no domains on arm64: images have
// none, so nothing here is called.

const (
	VectorSyscall = 256 // see user_amd64.go
	VectorNone    = 257
)

// Frame has the registers by the names that the ABI of domains gives them.
type Frame struct {
	AX, BX, CX, DX, SI, DI, BP uint64
	R8, R9, R10, R11           uint64
	R12, R13, R14, R15         uint64
	IP, CS, Flags, SP, SS      uint64
	Vector, Code, Addr, G      uint64
}

// User is the processor state of a domain.
type User struct {
	Frame
	FS, GS, Root uint64
}

const noDomains = "trap: there are no domains on arm64"

func (u *User) Reset(ip, sp uint64) { panic(noDomains) }
func (u *User) Check()              { panic(noDomains) }
func Enter(u *User)                 { panic(noDomains) }
func InitUser()                     { panic(noDomains) }
func Features() (xsave, fsgs bool)  { return false, false }
