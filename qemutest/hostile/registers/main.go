// Command registers changes every register and flag that ring 3 can, and makes system calls.
// It goes on, its own values are kept, and forbidden flags are off.
package main

import (
	"fmt"
	"runtime"
	"time"

	"github.com/sluice-os/sluice/nexus/abi"
	"github.com/sluice-os/sluice/qemutest/hostile/kit"
)

// freshSlice returns when a slice has just begun: what follows is over before
// the next tick, whose upcall needs FS.
func freshSlice() {
	until := time.Now().Add(5 * time.Millisecond)
	for time.Now().Before(until) {
		runtime.Gosched()
	}
	kit.Call(abi.SysWait, 1, 0, 0, 0)
	time.Sleep(time.Millisecond)
}

func main() {
	fmt.Println("start")
	const (
		free      = 0xcd5 | 1<<18 | 1<<21 // what a domain may change
		fixed     = 1<<1 | 1<<9           // always on
		forbidden = 1<<8 | 1<<14 | 3<<12 | 1<<16 | 1<<17
	)
	for _, flags := range []uint64{0, 0xcd5, 1 << 10, 1 << 18, 1 << 21, 1 << 14, 3 << 12, free} {
		freshSlice()
		after := kit.FlagsOverCall(flags | 2)
		kit.Check(after&forbidden == 0 && after&fixed == fixed, "flags %#x became %#x", flags, after)
		kit.Check(after&free == flags&free, "flags %#x became %#x: some are lost", flags, after)
	}
	kit.TrapFlagOverCall()
	for _, selector := range []uint16{0, 0x1b, 0x23} {
		freshSlice()
		ds, _, fs, _ := kit.Selectors(selector)
		kit.Check(ds == 0x1b || ds == selector, "DS %#x after %#x", ds, selector)
		kit.Check(fs == 0 || fs == selector, "FS %#x after %#x", fs, selector)
	}
	for _, base := range []uint64{0, 0x201000, 0xffff_8000_0000_0000, abi.ClockPage} {
		freshSlice()
		fs, gs := kit.Bases(base, ^base&0x7fff_ffff_ffff)
		kit.Check(fs == base, "FS base %#x became %#x", base, fs)
		kit.Check(gs == ^base&0x7fff_ffff_ffff, "GS base became %#x", gs)
	}
	for _, c := range []struct {
		mxcsr uint32
		fcw   uint16
	}{{0x1f80, 0x37f}, {0x7f80, 0xf7f}, {0, 0x340}, {0xffc0, 0}} {
		freshSlice()
		mxcsr, fcw := kit.FloatControl(c.mxcsr, c.fcw)
		kit.Check(mxcsr == c.mxcsr, "MXCSR %#x became %#x", c.mxcsr, mxcsr)
		kit.Check(fcw&^0x40 == c.fcw&^0x40, "FCW %#x became %#x", c.fcw, fcw)
	}
	fmt.Println("all kept")
}
