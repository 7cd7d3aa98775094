package iommu

import (
	"strings"
	"testing"

	"github.com/sluice-os/sluice/drivers/pci"
	"github.com/sluice-os/sluice/kernel/acpi"
)

// bus is configuration space: the words of each function.
type bus map[pci.Address]map[uint16]uint32

func (b bus) Read32(a pci.Address, off uint16) uint32 {
	if f, ok := b[a]; ok {
		return f[off]
	}
	return 0xffffffff
}

func (bus) Write32(pci.Address, uint16, uint32) {}

// at makes an address of "bus:device.function" as numbers.
func at(bus, device, function uint8) pci.Address {
	return pci.Address{Bus: bus, Device: device, Function: function}
}

// device puts a function there, bridge one with a bus behind it; port is its kind
// of PCI Express port, 0 for conventional PCI.
func (b bus) device(a pci.Address) { b[a] = map[uint16]uint32{0x00: 0x1041_1af4} }

func (b bus) bridge(a pci.Address, secondary uint8, port uint32) {
	b[a] = map[uint16]uint32{0x00: 0x0001_1b36, 0x0c: 1 << 16, 0x18: uint32(secondary) << 8}
	if port != 0 {
		b[a][0x04], b[a][0x34], b[a][0x40] = 1<<20, 0x40, port<<20|0x10
	}
}

// machine has a card on the root bus, one behind a root port, one two switches
// deeper, and one behind a bridge to conventional PCI.
func machine(t testing.TB) []*pci.Function {
	t.Helper()
	b := bus{}
	b.device(at(0, 2, 0))
	b.bridge(at(0, 3, 0), 1, pci.ExpressRootPort)
	b.device(at(1, 0, 0))
	b.bridge(at(0, 3, 1), 2, pci.ExpressRootPort)
	b.bridge(at(2, 0, 0), 3, pci.ExpressUpstream)
	b.bridge(at(3, 4, 0), 4, pci.ExpressDownstream)
	b.device(at(4, 0, 0))
	b.bridge(at(0, 4, 0), 5, 0)
	b.device(at(5, 1, 0))
	b[at(0, 3, 0)][0x0c] = 0x81 << 16 // several functions
	found, err := pci.Enumerate(b)
	if err != nil || len(found) != 9 {
		t.Fatalf("%d functions, %v", len(found), err)
	}
	return found
}

func endpoint(bus uint8, path ...acpi.PathStep) acpi.Scope {
	return acpi.Scope{Kind: acpi.ScopeEndpoint, Bus: bus, Path: path}
}

func below(bus uint8, path ...acpi.PathStep) acpi.Scope {
	return acpi.Scope{Kind: acpi.ScopeBridge, Bus: bus, Path: path}
}

func TestFind(t *testing.T) {
	type step = acpi.PathStep
	one := func(scopes ...acpi.Scope) acpi.DMAR {
		return acpi.DMAR{Units: []acpi.RemappingUnit{{Address: 1 << 12, Scopes: scopes}}}
	}
	rest := acpi.RemappingUnit{Address: 2 << 12, Rest: true}
	for _, c := range []struct {
		name string
		d    acpi.DMAR
		f    pci.Address
		want int
		err  string
	}{
		{"no units", acpi.DMAR{}, at(0, 2, 0), None, ""},
		{"named", one(endpoint(0, step{Device: 2})), at(0, 2, 0), 0, ""},
		{"another function", one(endpoint(0, step{Device: 2, Function: 1})), at(0, 2, 0), None, ""},
		{"another bus", one(endpoint(1, step{Device: 2})), at(0, 2, 0), None, ""},
		{"of another kind", one(acpi.Scope{Kind: acpi.ScopeIOAPIC, Path: []step{{Device: 2}}}), at(0, 2, 0), None, ""},
		{"of an unknown kind", one(acpi.Scope{Kind: 9, Path: []step{{Device: 2}}}), at(0, 2, 0), None, ""},
		{"an endpoint is not what is behind it", one(endpoint(0, step{Device: 3})), at(1, 0, 0), None, ""},
		{"behind a bridge", one(below(0, step{Device: 3})), at(1, 0, 0), 0, ""},
		{"the bridge itself", one(below(0, step{Device: 3})), at(0, 3, 0), 0, ""},
		{"behind another bridge", one(below(0, step{Device: 3, Function: 1})), at(1, 0, 0), None, ""},
		{"behind a bridge far above", one(below(0, step{Device: 3, Function: 1})), at(4, 0, 0), 0, ""},
		{"behind a bridge on the way", one(below(0, step{Device: 3, Function: 1}, step{})), at(4, 0, 0), 0, ""},
		{"by its way over bridges", one(endpoint(0, step{Device: 3, Function: 1}, step{}, step{Device: 4}, step{})), at(4, 0, 0), 0, ""},
		{"by a way from a bus in the middle", one(endpoint(3, step{Device: 4}, step{})), at(4, 0, 0), 0, ""},
		{"by a way over what is no bridge", one(endpoint(0, step{Device: 2}, step{})), at(4, 0, 0), None, ""},
		{"by a way over nothing", one(endpoint(0, step{Device: 9}, step{})), at(4, 0, 0), None, ""},
		{"no way", one(endpoint(0)), at(0, 2, 0), None, ""},

		{"the rest", acpi.DMAR{Units: []acpi.RemappingUnit{rest}}, at(4, 0, 0), 0, ""},
		{"named comes before the rest", acpi.DMAR{Units: []acpi.RemappingUnit{rest, {Scopes: []acpi.Scope{endpoint(0, step{Device: 2})}}}}, at(0, 2, 0), 1, ""},
		{"not named", acpi.DMAR{Units: []acpi.RemappingUnit{{Scopes: []acpi.Scope{endpoint(0, step{Device: 2})}}, rest}}, at(1, 0, 0), 1, ""},
		{"another segment's rest", acpi.DMAR{Units: []acpi.RemappingUnit{{Rest: true, Segment: 1}}}, at(0, 2, 0), None, ""},
		{"named in another segment", acpi.DMAR{Units: []acpi.RemappingUnit{{Segment: 1, Scopes: []acpi.Scope{endpoint(0, step{Device: 2})}}}}, at(0, 2, 0), None, ""},

		{"conventional PCI", acpi.DMAR{Units: []acpi.RemappingUnit{rest}}, at(5, 1, 0), None, "behind the bridge 00:04.0 to conventional PCI"},
		{"conventional PCI and no IOMMU", acpi.DMAR{}, at(5, 1, 0), None, ""},
		{"reserved memory", acpi.DMAR{Units: []acpi.RemappingUnit{rest}, Reserved: []acpi.ReservedMemory{
			{First: 0x1000, Last: 0x2fff, Scopes: []acpi.Scope{endpoint(0, step{Device: 2})}}}}, at(0, 2, 0), None, "memory from 0x1000 to 0x2fff"},
		{"another's reserved memory", acpi.DMAR{Units: []acpi.RemappingUnit{rest}, Reserved: []acpi.ReservedMemory{
			{First: 0x1000, Last: 0x2fff, Scopes: []acpi.Scope{endpoint(0, step{Device: 2})}}}}, at(1, 0, 0), 0, ""},
		{"reserved memory in another segment", acpi.DMAR{Units: []acpi.RemappingUnit{rest}, Reserved: []acpi.ReservedMemory{
			{Segment: 1, Last: 0xfff, Scopes: []acpi.Scope{endpoint(0, step{Device: 2})}}}}, at(0, 2, 0), 0, ""},
	} {
		all := machine(t)
		for _, f := range all {
			if f.Address != c.f {
				continue
			}
			unit, err := Find(&c.d, all, f)
			if unit != c.want || (err == nil) != (c.err == "") || err != nil && !strings.Contains(err.Error(), c.err) {
				t.Errorf("%s: %d, %v; want %d, %s", c.name, unit, err, c.want, c.err)
			}
		}
	}
}

// FuzzFind has bridges and tables say anything: the search ends, and its answer is
// in range.
func FuzzFind(f *testing.F) {
	f.Add([]byte{1, 2, 3, 1, 2, 0, 1, 0}, []byte{1, 0, 3, 0, 2, 0})
	f.Add([]byte{0, 0, 1, 1, 1, 0, 0, 4}, []byte{2, 1, 0, 0, 1, 1})
	f.Fuzz(func(t *testing.T, bridges, scopes []byte) {
		b := bus{}
		b.device(at(0, 2, 0))
		for ; len(bridges) >= 4; bridges = bridges[4:] {
			b.bridge(at(bridges[0]%4, bridges[1]%32, 0), bridges[2]%4, uint32(bridges[3]%8))
		}
		all, _ := pci.Enumerate(b)
		var d acpi.DMAR
		for ; len(scopes) >= 6; scopes = scopes[6:] {
			d.Units = append(d.Units, acpi.RemappingUnit{Rest: scopes[0]&8 != 0, Scopes: []acpi.Scope{{
				Kind: acpi.ScopeKind(scopes[0] & 7), Bus: scopes[1] % 4,
				Path: []acpi.PathStep{{Device: scopes[2] % 32}, {Device: scopes[3] % 32}, {Device: scopes[4] % 32}}[:scopes[5]%4],
			}}})
		}
		for _, f := range all {
			if unit, err := Find(&d, all, f); unit < None || unit >= len(d.Units) || err != nil && unit != None {
				t.Fatalf("%v: %d of %d, %v", f.Address, unit, len(d.Units), err)
			}
		}
	})
}
