// Package vtd drives Intel's IOMMU (Intel Virtualization Technology for Directed
// I/O, Architecture Specification, revision 3.3; section numbers are its own).
//
// A unit stands between devices and memory. Each device has tables of its own,
// which the unit walks with the addresses that the device uses: it reaches the
// segments that were mapped for it, in the direction that they were mapped for, and
// nothing else. What it tries beyond is blocked, recorded, counted and told. A
// device that was never given memory has no tables at all and reaches nothing.
//
// Bus addresses are not physical ones. They start at 4 GiB, and behind each
// segment lies a page that is never mapped, so that a device which runs over a
// segment's end faults.
//
// Used are legacy mode tables, second-level translation and queued invalidation,
// which every unit of the last fifteen years has. Interrupts are not remapped, and
// a device may not answer for translations itself (ATS).
package vtd

import (
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/sluice-os/sluice/drivers/hw"
)

// Source is the identity of a device on its PCI segment: bus, device, function.
type Source uint16

// SourceOf returns the identity of the function at a PCI address.
func SourceOf(bus, device, function uint8) Source {
	return Source(bus)<<8 | Source(device&31)<<3 | Source(function&7)
}

// String returns the identity as drivers print the place of a device:
// "pci 00:02.0".
func (s Source) String() string {
	return fmt.Sprintf("pci %02x:%02x.%x", uint8(s>>8), uint8(s>>3&31), uint8(s&7))
}

// Config is what a unit needs.
type Config struct {
	// Map makes size bytes of registers at a physical address accessible.
	Map func(phys, size uint64) (hw.Registers, error)
	// Tables hands out the pages of the unit's own structures, which no device
	// reaches.
	Tables hw.Allocator
	// Flush writes b back from the processor's caches to memory, for units that
	// do not look there.
	Flush func(b []byte)
	// Interrupt is raised by the unit, by a message, when it has recorded a
	// fault.
	Interrupt hw.Interrupt
	// Blocked, if not nil, is called by Serve for each recorded fault.
	Blocked func(Fault)

	// Pause separates rounds of reading faults; nil: 10 ms.
	Pause func()
	// Now is the clock that limits log lines; nil: time.Now.
	Now func() time.Time
	Log *slog.Logger // nil: no log
}

// pause is how long Serve leaves a device that faults without end alone. The unit
// loses faults meanwhile, and says so.
const pause = 10 * time.Millisecond

// Unit is one IOMMU that translates.
type Unit struct {
	cfg  Config
	base uint64
	regs hw.Registers
	cap  Capability

	mu      sync.Mutex // over all below, and over the tables
	root    table
	context map[uint8]table // by bus
	queue   queue
	domains []*Domain // the index is the domain's number less 1
	broken  error     // an invalidation failed: nothing can be taken away any more

	faults faults
}

// Open turns the unit on whose registers lie at a physical address. From then on
// no device behind it reaches anything, but for what its Domain maps. After an
// error the unit does not translate, unless the error says so; its pages are kept,
// as nobody can say whether it still reads them.
func Open(base uint64, cfg Config) (*Unit, error) {
	if cfg.Pause == nil {
		cfg.Pause = func() { time.Sleep(pause) }
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	u := &Unit{cfg: cfg, base: base, context: map[uint8]table{}}
	if err := u.open(); err != nil {
		return nil, fmt.Errorf("iommu at %#x: %w", base, err)
	}
	return u, nil
}

func (u *Unit) open() error {
	var err error
	if u.regs, err = u.cfg.Map(u.base, hw.PageSize); err != nil {
		return err
	}
	if u.cap, err = parseCapability(u.regs.Read32(regVER), u.read64(regCAP), u.read64(regECAP)); err != nil {
		return err
	}
	if end := u.cap.registersEnd(); end > hw.PageSize {
		if u.regs, err = u.cfg.Map(u.base, end); err != nil {
			return err
		}
	}
	if !u.cap.Coherent && u.cfg.Flush == nil {
		return fmt.Errorf("it does not look into the processor's caches, and nothing writes them back")
	}
	if err := u.quiet(); err != nil {
		return err
	}
	if u.root, err = u.newTable(); err != nil {
		return err
	}
	if err := u.openQueue(); err != nil {
		return err
	}
	u.write64(regRTADDR, u.root.phys)
	if err := u.command("the root table", globalSRTP, true); err != nil {
		return err
	}
	if err := u.invalidate(
		descriptor{invalidateContext | granularityGlobal, 0},
		descriptor{invalidateIOTLB | granularityGlobal | u.cap.drain, 0},
	); err != nil {
		return err
	}
	if err := u.armFaults(); err != nil {
		return err
	}
	if err := u.command("translation", globalTE, true); err != nil {
		return err
	}
	return u.openRanges()
}

// quiet stops what firmware has left running.
func (u *Unit) quiet() error {
	u.regs.Write32(regFECTL, fectlIM)
	on := u.regs.Read32(regGSTS)
	for _, c := range []struct {
		name string
		bit  uint32
	}{
		{"translation", globalTE}, {"interrupt remapping", globalIRE},
		{"the advanced fault log", globalEAFL}, {"queued invalidation", globalQIE},
	} {
		if on&c.bit == 0 {
			continue
		}
		if c.bit == globalQIE {
			u.drainQueue()
		}
		if err := u.command(c.name, c.bit, false); err != nil {
			return err
		}
	}
	return nil
}

// openRanges turns off the ranges that firmware keeps devices out of while nothing
// translates (10.4.16): the tables stand for them.
func (u *Unit) openRanges() error {
	if !u.cap.protected || u.regs.Read32(regPMEN)&(pmenEPM|pmenPRS) == 0 {
		return nil
	}
	u.regs.Write32(regPMEN, 0)
	for range polls {
		if u.regs.Read32(regPMEN)&pmenPRS == 0 {
			return nil
		}
	}
	return fmt.Errorf("it translates, and its protected memory ranges do not turn off")
}

// Capability returns what the unit can do.
func (u *Unit) Capability() Capability { return u.cap }

// Base returns the physical address of the unit's registers.
func (u *Unit) Base() uint64 { return u.base }
