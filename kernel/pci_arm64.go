package kernel

// The PCI bus that a device tree describes, as "pci-host-ecam-generic".

import (
	"errors"
	"fmt"
	"log/slog"

	"github.com/sluice-os/sluice/drivers/hw"
	"github.com/sluice-os/sluice/drivers/pci"
	"github.com/sluice-os/sluice/kernel/bootinfo"
	"github.com/sluice-os/sluice/kernel/entry"
	"github.com/sluice-os/sluice/kernel/fdt"
	"github.com/sluice-os/sluice/kernel/irq"
)

const (
	// configBytes is the configuration space of one bus: what is behind bridges is
	// not looked for.
	configBytes = 1 << 20
	// addressEnd is where the addresses end that the processor can have.
	addressEnd = 1 << 48
	// rangesMax bounds the ranges that are looked at.
	rangesMax = 16
)

// pciHost is a PCI bus that firmware has left as it was. The zero value is none.
type pciHost struct {
	node    *fdt.Node
	config  uint64 // physical address of bus 0's configuration space
	windows []pci.Window
}

// newHost looks at the node of a bus. It fails when that is none that can be used.
func newHost(n fdt.Node) (h pciHost, err error) {
	start, size, ok := n.Reg(0)
	switch {
	case !ok:
		return h, errors.New("the device tree does not say where its configuration space is")
	case size < configBytes:
		return h, fmt.Errorf("configuration space at %#x has %#x bytes, bus 0 needs %#x", start, size, configBytes)
	case !free(start, configBytes):
		return h, fmt.Errorf("configuration space at %#x lies in RAM, or beyond all addresses", start)
	}
	if b, ok := n.Property("bus-range"); ok && (len(b) != 8 || b[0]|b[1]|b[2]|b[3] != 0) {
		return h, errors.New("the first bus is not bus 0")
	}
	h.node, h.config = &n, start
	for i := range rangesMax {
		r, ok := n.Range(i)
		if !ok {
			break
		}
		if r.Space != fdt.SpaceMemory32 && r.Space != fdt.SpaceMemory64 || r.Bus != r.Start || !free(r.Start, r.Size) {
			continue
		}
		h.windows = append(h.windows, pci.Window{Start: r.Start, Size: r.Size, Prefetchable: r.Prefetchable})
	}
	return h, nil
}

// free reports whether a range of physical addresses is one and has no RAM in it.
func free(start, size uint64) bool {
	if size == 0 || size > addressEnd || start > addressEnd-size {
		return false
	}
	m := &entry.Info.Memory
	for i := range m.Len() {
		if r := m.At(i); r.Type == bootinfo.RAM && start < r.End && r.Start < start+size {
			return false
		}
	}
	return true
}

// assign gives the functions their addresses.
func (h pciHost) assign(functions []*pci.Function) error { return pci.Assign(functions, h.windows) }

// messages reports that there are none: that would be the frame of a GICv2m, or an ITS.
func (pciHost) messages() bool { return false }

// line returns the interrupt that the tree's map has for a function's pin.
func (h pciHost) line(f *pci.Function, _ []*pci.Function) (hw.Interrupt, error) {
	pin, ok := f.InterruptPin()
	if !ok {
		return nil, errors.New("it has no interrupt pin")
	}
	a := f.Address
	in, ok := h.node.Pin(uint32(a.Bus)<<16|uint32(a.Device)<<11|uint32(a.Function)<<8, uint32(pin)+1)
	if !ok {
		return nil, fmt.Errorf("the device tree has no line for its pin %d", pin+1)
	}
	if in.Edge {
		return nil, fmt.Errorf("interrupt-map has an edge triggered interrupt for its pin %d, %d", pin+1, in.Number)
	}
	interrupt, err := irq.PCI(in.Number, location(f))
	if err != nil {
		return nil, err
	}
	slog.Info("line of PCI", "device", location(f), "interrupt", in.Number, "by", "interrupt-map")
	return interrupt, nil
}
