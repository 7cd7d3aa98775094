// Package fatal is the end of a kernel that cannot go on: it prints what is
// known and stops the machine as the option panic= says. It runs on any stack,
// in any state, with interrupts off, and takes no lock. Only the runtime's
// lookup of an inlined function's name allocates; should that fail, what comes
// behind the trace is printed all the same.
package fatal

import (
	"runtime"

	"github.com/sluice-os/sluice/kernel/build"
	"github.com/sluice-os/sluice/kernel/console"
	"github.com/sluice-os/sluice/kernel/cpu"
	"github.com/sluice-os/sluice/kernel/vm"
)

// The parts that main sets once they exist.
var (
	// Log calls f with each of the last log lines.
	Log func(f func(line []byte))
	// Reset resets the machine.
	Reset func()
	// Action is what happens in the end.
	Action = Exit
)

// What Stop does (the option panic=).
const (
	// Exit ends QEMU with a status that is not 0, by its isa-debug-exit
	// device; without the device it resets the machine.
	Exit = iota
	// Reboot resets the machine.
	Reboot
	// Halt stops the processor and leaves the console as it is.
	Halt
)

// Exit codes: see leave.
const (
	codePanic = 1
	codeFault = 2
)

// depth bounds the frames that are printed.
const depth = 32

// busy says that the fatal path is running; a fault in it only stops.
var busy bool

// Panic is goos.Exit: the runtime calls it when main has returned (code 0) or
// when it has printed a panic or throw and its goroutines (2).
func Panic(code int32) {
	cpu.DisableInterrupts()
	status := uint8(codePanic)
	if busy {
		status = codeFault
	}
	busy = true
	tail()
	stop(status)
}

// told says that tail has printed.
var told bool

// tail prints the build id and the last log lines, once.
func tail() {
	if told {
		return
	}
	told = true
	text("build ")
	text(build.ID())
	text(" version ")
	text(build.Version)
	text("\n")
	if Log != nil {
		text("last log lines:\n")
		Log(func(line []byte) {
			for _, c := range line {
				console.PutLine(c)
			}
		})
	}
}

// stop ends as Action says; it does not return.
func stop(code uint8) {
	switch Action {
	case Exit:
		leave(code)
		fallthrough
	case Reboot:
		if Reset != nil {
			Reset()
		}
	}
	text("sluice: halted\n")
	cpu.Halt()
}

// trace prints the call chain from ip, following the frame pointers that the
// Go compiler keeps: at each lies the caller's frame pointer and, behind it,
// the return address. Nothing is read that is not mapped.
func trace(ip, bp uintptr) {
	for range depth {
		fn := runtime.FuncForPC(ip)
		if fn == nil {
			text("\t")
			hex(uint64(ip), 16)
			text(" not in the kernel's text\n")
		} else {
			file, line := fn.FileLine(ip)
			text("\t")
			text(fn.Name())
			text("\n\t\t")
			text(file)
			text(":")
			decimal(uint64(line))
			text(" +")
			hex(uint64(ip-fn.Entry()), 1)
			text("\n")
		}
		if bp%8 != 0 || !vm.Mapped(bp, 16) {
			return
		}
		next := vm.Word(bp)
		ip = vm.Word(bp+8) - 1
		if next <= bp || ip+1 == 0 {
			return
		}
		bp = next
	}
}

func text(s string) {
	for i := range len(s) {
		console.PutLine(s[i])
	}
}

func decimal(v uint64) {
	var buf [20]byte
	i := len(buf)
	for {
		i--
		buf[i] = byte('0' + v%10)
		if v /= 10; v == 0 {
			break
		}
	}
	for _, c := range buf[i:] {
		console.Put(c)
	}
}

// hex prints v with at least the given number of digits.
func hex(v uint64, digits int) {
	text("0x")
	for i := 15; i >= 0; i-- {
		d := v >> (4 * i)
		if d == 0 && i >= digits {
			continue
		}
		console.Put("0123456789abcdef"[d&15])
	}
}
