// Package iommu says which IOMMU of the machine a PCI function is behind, from what
// firmware's tables and the bridges say. Neither is believed: every way is bounded.
package iommu

import (
	"fmt"
	"slices"

	"github.com/sluice-os/sluice/drivers/pci"
	"github.com/sluice-os/sluice/kernel/acpi"
)

// None is the answer for a function that no IOMMU is in front of.
const None = -1

// segment is the PCI segment of all functions.
const segment = 0

// Find returns the index in d.Units of the IOMMU that f is behind, or None. all are
// the functions on the buses. An error says why f cannot be kept to memory of its
// own: it must not be used then.
func Find(d *acpi.DMAR, all []*pci.Function, f *pci.Function) (unit int, err error) {
	unit = None
	bridges := pci.Above(all, f)
	for i, u := range d.Units {
		if u.Segment != segment {
			continue
		}
		if u.Rest && unit == None {
			unit = i
		}
		if names(u.Scopes, all, f, bridges) {
			unit = i
			break
		}
	}
	if unit == None {
		return None, nil
	}
	for _, b := range bridges {
		// Behind such a bridge functions share an identity, and with it their
		// memory (VT-d specification, 3.4.1).
		if kind, express := b.Express(); !express || kind != pci.ExpressRootPort && kind != pci.ExpressUpstream && kind != pci.ExpressDownstream {
			return None, fmt.Errorf("it is behind the bridge %v to conventional PCI, where the IOMMU cannot tell devices apart: plug it into the root bus or a PCI Express port", b.Address)
		}
	}
	for _, r := range d.Reserved {
		if r.Segment == segment && names(r.Scopes, all, f, bridges) {
			return None, fmt.Errorf("firmware has it use the memory from %#x to %#x, which the IOMMU would take away", r.First, r.Last)
		}
	}
	return unit, nil
}

// names reports whether one of the scopes is f, or a bridge that f is behind.
func names(scopes []acpi.Scope, all []*pci.Function, f *pci.Function, bridges []*pci.Function) bool {
	for _, s := range scopes {
		at, ok := follow(s, all)
		if !ok {
			continue
		}
		switch s.Kind {
		case acpi.ScopeEndpoint:
			if at == f.Address {
				return true
			}
		case acpi.ScopeBridge:
			if at == f.Address || slices.ContainsFunc(bridges, func(b *pci.Function) bool { return b.Address == at }) {
				return true
			}
		}
	}
	return false
}

// follow returns the address that a scope's way leads to.
func follow(s acpi.Scope, all []*pci.Function) (at pci.Address, ok bool) {
	bus := s.Bus
	for i, step := range s.Path {
		at = pci.Address{Bus: bus, Device: step.Device, Function: step.Function}
		if i == len(s.Path)-1 {
			return at, true
		}
		ok = false
		for _, b := range all {
			if b.Address == at && b.Bridge {
				bus, ok = b.SecondaryBus, true
			}
		}
		if !ok {
			return at, false
		}
	}
	return at, false
}
