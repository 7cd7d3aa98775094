package vm

import (
	"github.com/sluice-os/sluice/kernel/cpu"
	"github.com/sluice-os/sluice/kernel/layout"
)

// What a domain sees where no memory is behind addresses that it shares with the kernel:
// zeros, and what it writes there itself. Two frames of its own stand for all of it, so
// that it neither takes memory by touching what was taken from it, nor ends for want of
// some.

// Shadow makes these two frames, once in a space's life. It reports false when the quota
// or the machine has none left.
func (s *Space) Shadow() (ok bool) {
	systemstack(func() {
		if s.zero == 0 {
			s.zero, _ = s.frame(ownState)
		}
		if s.shadow == 0 {
			s.shadow, _ = s.frame(ownState)
		}
		ok = s.zero != 0 && s.shadow != 0
	})
	return ok
}

// Hole maps what stands for memory at addr, where none is: for reading zeros, for writing
// the shadow that is behind all pages that were written to. It reports false without
// Shadow, where other memory is mapped, and when there is no memory for page tables.
func (s *Space) Hole(addr uint64, write bool) (ok bool) {
	systemstack(func() {
		if !inRange(addr, 1) || s.zero == 0 || s.shadow == 0 {
			return
		}
		e := s.entry(addr&^(layout.PageSize-1), true)
		if e == nil || *e&(present|hole) == present {
			return
		}
		switch {
		case write:
			*e = s.shadow | present | user | noExec | hole | writable
		case *e&present == 0:
			*e = s.zero | present | user | noExec | hole
		}
		if cpu.Root() == s.root {
			cpu.FlushPage(uintptr(addr))
		}
		ok = true
	})
	return ok
}
