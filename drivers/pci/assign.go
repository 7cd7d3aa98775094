// This file owns base addresses on machines whose firmware assigns none.

package pci

import (
	"errors"
	"fmt"
)

// Window is memory that base addresses may lie in. The bus has it at the
// addresses at which the processor has it.
type Window struct {
	Start, Size uint64
	// Prefetchable is memory for registers of that kind only.
	Prefetchable bool
}

// narrowEnd is where the addresses end that a register of 32 bits can hold.
const narrowEnd = 1 << 32

// Assign places the memory of functions on a root bus, whatever was there before, one
// behind the other in windows, of which none reaches the end of the address space. It turns
// the decoding of all of them off first: a bridge passes nothing on any more, and nobody may
// be using a function. Registers of 64 bits get addresses above 4 GiB where there
// are such. I/O ports, expansion ROMs and what lies behind bridges get none. One for which there
// is no room holds 0, as Function.BAR says, and is named in the error; one that cannot be
// measured holds 0.
func Assign(functions []*Function, windows []Window) error {
	left := make([]Window, 0, len(windows))
	for _, w := range windows {
		if w.Start+w.Size > w.Start {
			left = append(left, w)
		}
	}
	for _, f := range functions {
		f.Disable(CommandIO | CommandMemory)
	}
	var errs []error
	for _, f := range functions {
		if f.Bridge {
			continue
		}
		if f.bars == barsNormal {
			f.Write32(regROM, 0)
		}
		for i := 0; i < f.bars; i++ {
			off := uint16(regBAR0 + 4*i)
			b, err := f.measure(i)
			if err != nil {
				// It is not implemented, or holds nonsense.
				f.Write32(off, 0)
				if f.Read32(off)&(barIO|barTypeMask) == barType64 && i+1 < f.bars {
					f.Write32(off+4, 0)
					i++
				}
				continue
			}
			if b.IO {
				continue
			}
			at, ok := take(left, b)
			if !ok {
				errs = append(errs, fmt.Errorf("pci %v: no room for the %#x bytes of BAR %d", f.Address, b.Size, i))
			}
			f.Write32(off, uint32(at))
			if b.Wide {
				f.Write32(off+4, uint32(at>>32))
				i++
			}
		}
	}
	return errors.Join(errs...)
}

// take cuts the place of a register from the first window that has it.
func take(windows []Window, b BAR) (at uint64, ok bool) {
	for _, high := range []bool{true, false} {
		for i := range windows {
			w := &windows[i]
			if w.Prefetchable && !b.Prefetchable || (w.Start >= narrowEnd) != high {
				continue
			}
			// Address 0 stands for none.
			at := (max(w.Start, 1) + b.Size - 1) &^ (b.Size - 1)
			end := at + b.Size
			if at < w.Start || at == 0 || end <= at || end > w.Start+w.Size || !b.Wide && end > narrowEnd {
				continue
			}
			w.Size -= end - w.Start
			w.Start = end
			return at, true
		}
	}
	return 0, false
}
