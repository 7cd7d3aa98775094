package kernel

import (
	"errors"
	"fmt"
	"log/slog"
	"slices"

	"github.com/sluice-os/sluice/drivers/hw"
	"github.com/sluice-os/sluice/drivers/pci"
	"github.com/sluice-os/sluice/kernel/acpi"
	"github.com/sluice-os/sluice/kernel/irq"
)

// pciHost is what the way to a PC's PCI bus gives its functions.
type pciHost struct{ acpi acpi.Info } // which has the routes of pins

// assign does nothing: firmware has given functions their addresses.
func (pciHost) assign([]*pci.Function) error { return nil }

// messages reports whether functions can signal by message.
func (pciHost) messages() bool { return true }

// line returns the line that a function's pin goes to: by ACPI's table, without one by what
// firmware has noted in the function. all are the functions on the buses.
func (h pciHost) line(f *pci.Function, all []*pci.Function) (hw.Interrupt, error) {
	pin, ok := f.InterruptPin()
	if !ok {
		return nil, errors.New("it signals no messages and has no pin")
	}
	var behind []uint32
	for _, b := range slices.Backward(pci.Above(all, f)) {
		behind = append(behind, uint32(b.Address.Device)<<16|uint32(b.Address.Function))
	}
	switch r, known := h.acpi.RouteOf(behind, f.Address.Device, pin); known {
	case acpi.RouteUnreadable:
		// The register, or the bridge's pin, would be a guess that nobody hears fail.
		return nil, errors.New("the _PRT that has its line cannot be read")
	case acpi.RouteKnown:
		if !r.Level {
			return nil, fmt.Errorf("_PRT has an edge triggered interrupt for it, %d", r.GSI)
		}
		interrupt, err := irq.Routed(int(r.GSI), r.ActiveLow, location(f))
		if err != nil {
			return nil, err
		}
		slog.Info("line of PCI", "device", location(f), "interrupt", r.GSI, "by", "_PRT")
		return interrupt, nil
	}
	isa, ok := f.InterruptLine()
	if !ok {
		return nil, errors.New("it signals no messages, and firmware names no line for it")
	}
	interrupt, err := irq.PCI(isa, location(f))
	if err != nil {
		return nil, err
	}
	slog.Info("line of PCI", "device", location(f), "interrupt", isa, "by", "interrupt line register")
	if h.acpi.RoutesUnread() {
		slog.Warn("no _PRT can be read: if the device is not heard by that line, intx=off has a timer look after it", "device", location(f))
	}
	return interrupt, nil
}
