// This file owns the two ways to configuration space: a memory window (ECAM) and
// the port pair 0xcf8/0xcfc.

package pci

import (
	"fmt"
	"sync"

	"github.com/sluice-os/sluice/drivers/hw"
)

// ecamBusBytes is the part of an ECAM window that one bus takes.
const ecamBusBytes = 1 << 20

type ecam struct {
	regs     hw.Registers
	firstBus int
	buses    int
}

// NewECAM gives access through the enhanced configuration mechanism (PCI
// Express 3.0, section 7.2.2): regs is a window whose first byte belongs to
// bus firstBus, as the ACPI MCFG table says. It must cover one bus at least.
func NewECAM(regs hw.Registers, firstBus uint8) (Config, error) {
	buses := min(regs.Size()/ecamBusBytes, busMax)
	if buses == 0 {
		return nil, fmt.Errorf("ECAM window of %#x bytes, need %#x for each bus", regs.Size(), ecamBusBytes)
	}
	return &ecam{regs: regs, firstBus: int(firstBus), buses: int(buses)}, nil
}

// offset returns where the word lies in the window.
func (e *ecam) offset(a Address, off uint16) (uint64, bool) {
	bus := int(a.Bus) - e.firstBus
	if bus < 0 || bus >= e.buses || a.Device >= deviceMax || a.Function >= functionMax || off >= ConfigBytes {
		return 0, false
	}
	return uint64(bus)<<20 | uint64(a.Device)<<15 | uint64(a.Function)<<12 | uint64(off&^3), true
}

func (e *ecam) Read32(a Address, off uint16) uint32 {
	at, ok := e.offset(a, off)
	if !ok {
		return absent
	}
	return e.regs.Read32(at)
}

func (e *ecam) Write32(a Address, off uint16, v uint32) {
	if at, ok := e.offset(a, off); ok {
		e.regs.Write32(at, v)
	}
}

// PortIO is access to 32-bit I/O ports.
type PortIO interface {
	In32(port uint16) uint32
	Out32(port uint16, v uint32)
}

const (
	portAddress = 0xcf8
	portData    = 0xcfc
	portEnable  = 1 << 31
)

type ports struct {
	// mu keeps the address and the data access together: a goroutine may be
	// pre-empted between the two.
	mu sync.Mutex
	io PortIO
}

// NewPorts gives access through configuration mechanism #1 (PCI 3.0, section
// 3.2.2.3.2), which every PC has.
func NewPorts(io PortIO) Config { return &ports{io: io} }

func (p *ports) address(a Address, off uint16) uint32 {
	return portEnable | uint32(a.Bus)<<16 | uint32(a.Device)<<11 | uint32(a.Function)<<8 | uint32(off&0xfc)
}

func valid(a Address, off uint16) bool {
	return a.Device < deviceMax && a.Function < functionMax && off < ConfigBytes
}

func (p *ports) Read32(a Address, off uint16) uint32 {
	if !valid(a, off) {
		return absent
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.io.Out32(portAddress, p.address(a, off))
	return p.io.In32(portData)
}

func (p *ports) Write32(a Address, off uint16, v uint32) {
	if !valid(a, off) {
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.io.Out32(portAddress, p.address(a, off))
	p.io.Out32(portData, v)
}
