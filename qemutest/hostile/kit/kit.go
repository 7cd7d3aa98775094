// Package kit is what hostile programs do that Go has no words for. Each
// function is a few instructions; see kit_amd64.s.
package kit

import (
	"fmt"
	"os"
)

// Call makes a system call of the kernel.
func Call(num, a1, a2, a3, a4 uintptr) int64

// Jump calls the code at an address.
func Jump(addr uintptr)

// Int executes INT n.
func Int(n uint8)

// SyscallAtStack makes a system call, SpinAtStack spins, with a stack pointer.
func SyscallAtStack(sp uintptr)
func SpinAtStack(sp uintptr)

// FlagsOverCall sets flags, makes a system call and returns the flags then.
func FlagsOverCall(flags uint64) (after uint64)

// Selectors loads DS, ES, FS and GS, makes a system call and returns them then.
func Selectors(v uint16) (ds, es, fs, gs uint16)

// Bases sets the bases of FS and GS, makes a system call and returns them then.
func Bases(fs, gs uint64) (afterFS, afterGS uint64)

// FloatControl sets MXCSR and the x87 control word, makes a system call and
// returns them then.
func FloatControl(mxcsr uint32, fcw uint16) (afterMXCSR uint32, afterFCW uint16)

// DivideSSE and DivideX87 divide by zero with all exceptions unmasked.
func DivideSSE()
func DivideX87()

// TrapFlagOverCall makes a system call with TF set.
func TrapFlagOverCall()

// Vectors loads all YMM registers from in, makes system calls and stores them.
func Vectors(in, out *[16][32]byte, calls int)

// Loop loops without a function call.
func Loop()

func address(which int) uintptr

// Entries are routines for upcalls.
func Entries(which int) uintptr { return address(which) }

// The routines of Entries.
const (
	Spin    = iota // spins
	Fault          // writes to address 0
	Exit           // exits
	Nowhere        // resumes nowhere
)

// Survived ends a program that should not have come so far.
func Survived(what string) {
	fmt.Println("SURVIVED", what)
	os.Exit(99)
}

// Check ends the program when something does not hold.
func Check(ok bool, format string, args ...any) {
	if !ok {
		fmt.Printf("SURVIVED with a mistake: "+format+"\n", args...)
		os.Exit(98)
	}
}

func hlt()
func cli()
func sti()
func in()
func out()
func lgdt()
func lidt()
func sgdt()
func sidt()
func sldt()
func str()
func smsw()
func lldt()
func ltr()
func lmsw()
func clts()
func invd()
func wbinvd()
func invlpg()
func readcr0()
func readcr3()
func writecr3()
func writecr4()
func readdr7()
func writedr7()
func rdmsr()
func wrmsr()
func rdpmc()
func swapgs()
func sysret()
func sysexit()
func sysenter()
func xsetbv()
func monitor()
func mwait()
func clac()
func stac()
func iretKernel()
func farCall()
func loadSS0()
func icebp()
func int3()
func ud2()
func trapFlag()

// Instructions are all that Sluice forbids or that trap, by name.
var Instructions = map[string]func(){
	"hlt": hlt, "cli": cli, "sti": sti, "in": in, "out": out,
	"lgdt": lgdt, "lidt": lidt, "sgdt": sgdt, "sidt": sidt, "sldt": sldt, "str": str, "smsw": smsw,
	"lldt": lldt, "ltr": ltr, "lmsw": lmsw, "clts": clts, "invd": invd, "wbinvd": wbinvd, "invlpg": invlpg,
	"readcr0": readcr0, "readcr3": readcr3, "writecr3": writecr3, "writecr4": writecr4,
	"readdr7": readdr7, "writedr7": writedr7, "rdmsr": rdmsr, "wrmsr": wrmsr, "rdpmc": rdpmc,
	"swapgs": swapgs, "sysret": sysret, "sysexit": sysexit, "sysenter": sysenter, "xsetbv": xsetbv,
	"monitor": monitor, "mwait": mwait, "clac": clac, "stac": stac,
	"iret": iretKernel, "farcall": farCall, "ss0": loadSS0,
	"icebp": icebp, "int3": int3, "ud2": ud2, "tf": trapFlag,
}
