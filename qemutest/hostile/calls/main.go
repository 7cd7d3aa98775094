// Command calls makes every system call with arguments that are wrong, and looks that
// each is refused and changes nothing.
package main

import (
	"bytes"
	"fmt"
	"unsafe"

	"github.com/sluice-os/sluice/nexus/abi"
	"github.com/sluice-os/sluice/qemutest/hostile/kit"
)

const (
	kernelAddr   = 0x201000
	upperHalf    = 0xffff_8000_0000_0000
	nonCanonical = 0x8000_0000_0000_0000
	untouched    = abi.HeapEnd - 1<<30
)

var good [2 * 4096]byte

func refused(what string, want abi.Errno, num uintptr, args ...uintptr) {
	var a [4]uintptr
	copy(a[:], args)
	got := kit.Call(num, a[0], a[1], a[2], a[3])
	kit.Check(got == int64(want), "%s(%#x): got %d, want %d", what, args, got, want)
}

func main() {
	fmt.Println("start")
	for _, num := range []uintptr{0, 10, 157, 159, 1 << 20, ^uintptr(0)} {
		refused("unknown", abi.BadCall, num)
	}
	bad := []uintptr{0, 8, kernelAddr, upperHalf, nonCanonical, ^uintptr(0) - 8, abi.SharedEnd, abi.HeapEnd + 8, abi.ClockPage - 8}
	for _, p := range bad {
		refused("write", abi.BadAddress, abi.SysWrite, p, 16)
		refused("random", abi.BadAddress, abi.SysControl, abi.ControlRandom, p, 16)
		refused("read", abi.BadAddress, abi.SysControl, abi.ControlRead, p, 16)
		refused("upcall", abi.BadAddress, abi.SysUpcall, p, abi.StackTop)
		refused("return", abi.BadAddress, abi.SysReturn, p)
		refused("release", abi.BadAddress, abi.SysRelease, p&^4095, 4096)
	}
	start := uintptr(unsafe.Pointer(&good))
	page := (start + 4095) &^ 4095
	for _, n := range []uintptr{abi.WriteMax + 1, 1 << 40, ^uintptr(0)} {
		refused("long write", abi.BadArgument, abi.SysWrite, page, n)
		refused("long random", abi.BadArgument, abi.SysControl, abi.ControlRandom, page, n)
	}
	refused("wrapping release", abi.BadAddress, abi.SysRelease, page, ^uintptr(0)&^4095)
	refused("odd release", abi.BadArgument, abi.SysRelease, page+1, 4096)
	refused("release of text", abi.BadAddress, abi.SysRelease, abi.ImageStart, 4096)
	refused("release of the boot page", abi.BadAddress, abi.SysRelease, abi.BootPage, 4096)
	refused("unknown request", abi.BadArgument, abi.SysControl, 99, page, 8)
	refused("notify", abi.BadArgument, abi.SysNotify, 1)
	refused("late wait", abi.BadArgument, abi.SysWait, 1<<63, 0)
	refused("upcall in data", abi.BadAddress, abi.SysUpcall, page, abi.StackTop)
	refused("resume", abi.NotNow, abi.SysResume, 0, 0)
	refused("FS in the kernel", abi.BadArgument, abi.SysSetFS, 0x1002, kernelAddr)

	// Results go to memory that the domain may write, and nowhere else.
	for _, p := range []uintptr{abi.ClockPage, abi.BootPage, abi.ImageStart + 0x2000} {
		before := *(*[16]byte)(unsafe.Pointer(p))
		refused("result in read-only memory", abi.BadAddress, abi.SysControl, abi.ControlRandom, p, 16)
		kit.Check(before == *(*[16]byte)(unsafe.Pointer(p)), "read-only memory at %#x has changed", p)
	}
	// A result that begins in a good page and ends in a bad one changes neither.
	end := uintptr(abi.StackTop) - 16
	tail := unsafe.Slice((*byte)(unsafe.Pointer(end)), 16)
	before := bytes.Clone(tail)
	refused("result over the end", abi.BadAddress, abi.SysControl, abi.ControlRandom, end, 64)
	kit.Check(bytes.Equal(before, tail), "half a result was written")
	// An untouched page is given.
	got := kit.Call(abi.SysControl, abi.ControlRandom, untouched, 64, 0)
	kit.Check(got == 64, "result in an untouched page: %d", got)
	kit.Check(!bytes.Equal(unsafe.Slice((*byte)(unsafe.Pointer(uintptr(untouched))), 64), make([]byte, 64)), "no result in an untouched page")
	kit.Check(kit.Call(abi.SysRelease, untouched, 4096, 0, 0) == 0, "release")
	kit.Check(*(*byte)(unsafe.Pointer(uintptr(untouched))) == 0, "a released page came back with its content")
	fmt.Println("all refused")
}
