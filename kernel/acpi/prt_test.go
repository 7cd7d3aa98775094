package acpi

import (
	"encoding/binary"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"testing"
)

// TestRoutesOfMachines reads those of QEMU's machines. The q35's are in a package that a method
// chooses, by link devices with constant resources; those of pc its method computes.
func TestRoutesOfMachines(t *testing.T) {
	for name, want := range map[string]int{"q35": 32 * 4, "q35-iommu": 32 * 4, "pc": 0, "microvm": 0} {
		info := Parse(0, saved(t, name).read)
		if len(info.Routes) != want || info.RoutesLost || want > 0 && (len(info.Buses) != 1 || info.Buses[0].Unread) {
			t.Errorf("%s: %d routes, want %d; of buses %+v, lost %t", name, len(info.Routes), want, info.Buses, info.RoutesLost)
		}
		if _, known := info.RouteOf([]uint32{3 << 16}, 0, 0); (known == RouteKnown) != (want > 0) || known == RouteUnreadable {
			t.Errorf("%s: a pin behind a bridge: %d", name, known)
		}
		if unread := info.RoutesUnread(); unread != (name == "pc") {
			t.Errorf("%s: there is a _PRT that is not read: %t", name, unread)
		}
		for i, r := range info.Routes {
			// QEMU's hw/i386/acpi-build.c and hw/isa/lpc_ich9.c: slots 0 to 24 go to PIRQ E
			// to H in turns, 30 to E to H, the others to A to D; PIRQ A is interrupt 16.
			gsi := uint32(16 + i%4)
			if slot := i / 4; slot < 25 {
				gsi = uint32(20 + i%4 + slot%4)
				if gsi > 23 {
					gsi -= 4
				}
			} else if slot == 30 {
				gsi += 4
			}
			want := PCIRoute{Device: uint8(i / 4), Pin: uint8(i % 4), GSI: gsi, Level: true}
			if !reflect.DeepEqual(r, want) {
				t.Errorf("%s: route %+v, want %+v", name, r, want)
			}
		}
	}
}

// lengthTerm writes a term with a length: op, or opExt and op.
func lengthTerm(op string, parts ...string) string {
	body := strings.Join(parts, "")
	n := len(body) + 3
	if n >= 1<<12 {
		panic("too long")
	}
	return op + string([]byte{0x80 | byte(n&15), byte(n >> 4), byte(n >> 12)}) + body
}

func deviceTerm(parts ...string) string { return lengthTerm("\x5b\x82", parts...) }
func scopeTerm(parts ...string) string  { return lengthTerm("\x10", parts...) }
func methodTerm(name string, body ...string) string {
	return lengthTerm("\x14", name, "\x00", strings.Join(body, ""))
}
func packageTerm(elements ...string) string {
	return lengthTerm("\x12", string([]byte{byte(len(elements))}), strings.Join(elements, ""))
}
func ifTerm(parts ...string) string   { return lengthTerm("\xa0", parts...) }
func elseTerm(parts ...string) string { return lengthTerm("\xa1", parts...) }
func dword(v uint32) string {
	return "\x0c" + string(binary.LittleEndian.AppendUint32(nil, v))
}
func routeTerm(device, pin int, rest ...string) string {
	return packageTerm(slices.Concat([]string{dword(uint32(device)<<16 | 0xffff), "\x0a" + string([]byte{byte(pin)})}, rest)...)
}

const (
	hostID = "\x08_HID\x0c\x41\xd0\x0a\x08"
	picVar = "\x08PICM\x00"
	picSet = "\x14\x0c_PIC\x01\x70\x68PICM"
)

// link is a link device with an extended interrupt.
func link(name string, flags, gsi byte) string {
	return deviceTerm(name, "\x08_CRS\x11\x0e\x0a\x0b\x89\x06\x00"+string([]byte{flags, 1, gsi})+"\x00\x00\x00\x79\x00")
}

func TestRoutes(t *testing.T) {
	hard := func(gsi byte) string { return packageTerm(routeTerm(3, 1, "\x00", "\x0a"+string([]byte{gsi}))) }
	low := func(gsi uint32) PCIRoute { return PCIRoute{Device: 3, Pin: 1, GSI: gsi, Level: true, ActiveLow: true} }
	host := func(parts ...string) string {
		return picVar + picSet + scopeTerm("_SB_", deviceTerm("PCI0", hostID, strings.Join(parts, "")))
	}
	names := "\x08AR00" + hard(19) + "\x08PR00" + hard(7)
	seven := deviceTerm("LNKA", "\x08_CRS\x11\x09\x0a\x06\x23\x80\x00\x18\x79\x00") // an IRQ descriptor
	for _, c := range []struct {
		name, aml string
		want      []PCIRoute
	}{
		{"a name", host("\x08_PRT" + hard(17)), []PCIRoute{low(17)}},
		{"a package of another kind", host("\x08_PRT" + lengthTerm("\x13", "\x01", routeTerm(3, 1, "\x00", "\x0a\x11"))), []PCIRoute{low(17)}},
		{"a method that returns it", host(methodTerm("_PRT", "\xa4"+hard(18))), []PCIRoute{low(18)}},
		{"a choice as of AMI's firmware", host(names + methodTerm("_PRT", ifTerm("PICM", "\xa4AR00"), "\xa4PR00")), []PCIRoute{low(19)}},
		{"a name at the root", "\x08AR00" + hard(19) + host(methodTerm("_PRT", ifTerm("PICM", "\xa4AR00"), "\xa4PR00")), []PCIRoute{low(19)}},
		{"a choice the other way round", host(names + methodTerm("_PRT", ifTerm("\x92\\PICM", "\xa4PR00"), elseTerm("\xa4AR00"))), []PCIRoute{low(19)}},
		{"a comparison", host(names + methodTerm("_PRT", ifTerm("\x93PICM\x00", "\xa4PR00"), elseTerm("\xa4AR00"))), []PCIRoute{low(19)}},
		{"all comparisons", host(names + methodTerm("_PRT",
			ifTerm("\x91\x90\x01\x00\x95\x01PICM", "\xa4PR00"), ifTerm("\x90\x94PICM\x00\x01", "\xa4AR00"))), []PCIRoute{low(19)}},
		{"a choice by something else", host(names + "\x08ELSE\x01" + methodTerm("_PRT", ifTerm("ELSE", "\xa4AR00"), "\xa4PR00")), nil},
		{"a method that does more", host(names + methodTerm("_PRT", "\x70\x01PICM", "\xa4AR00")), nil},
		{"a method that returns nothing", host(names + methodTerm("_PRT", ifTerm("\x92PICM", "\xa4AR00"))), nil},
		{"a method of a method", host(names + methodTerm("XXXX", "\xa4AR00") + methodTerm("_PRT", "\xa4XXXX")), nil},
		{"a link, low", host(link("LNKX", 0x0d, 21) + "\x08_PRT" + packageTerm(routeTerm(3, 1, "LNKX", "\x00"))), []PCIRoute{low(21)}},
		{"a link, edge and high", link("LNKX", 0x03, 21) + host("\x08_PRT"+packageTerm(routeTerm(3, 1, "LNKX", "\x00"))),
			[]PCIRoute{{Device: 3, Pin: 1, GSI: 21}}},
		{"a link by its path", host("\x08_PRT"+packageTerm(routeTerm(3, 1, "\\\x2e_SB_LNKX", "\x00"))) + scopeTerm("\\_SB_", link("LNKX", 0x0d, 21)), []PCIRoute{low(21)}},
		{"a link to an 8259", host(seven + "\x08_PRT" + packageTerm(routeTerm(3, 1, "LNKA", "\x00"))), nil},
		{"a link that a method sets", host(deviceTerm("LNKA", methodTerm("_CRS", "\xa4\x00")) + "\x08_PRT" + packageTerm(routeTerm(3, 1, "LNKA", "\x00"))), nil},
		{"a link that is not there", host("\x08_PRT" + packageTerm(routeTerm(3, 1, "LNKA", "\x00"), routeTerm(3, 1, "\x00", "\x0a\x11"))), []PCIRoute{low(17)}},
		{"mistakes beside a route", host("\x08_PRT" + packageTerm(routeTerm(32, 0, "\x00", "\x0a\x11"), routeTerm(3, 4, "\x00", "\x0a\x11"), routeTerm(3, 1, "\x01", "\x0a\x11"),
			routeTerm(3, 1, "\x00", dword(1<<16)), routeTerm(3, 1, "\x00"), packageTerm(dword(0x30001), "\x01", "\x00", "\x0a\x11"), routeTerm(3, 1, "\x00", "\x0a\x11"))), []PCIRoute{low(17)}},
		{"a bus that is not 0", host("\x08_BBN\x0a\x80\x08_PRT" + hard(17)), nil},
		{"a bus that a method tells", host(methodTerm("_BBN", "\xa4\x00") + "\x08_PRT" + hard(17)), nil},
		{"another segment", host("\x08_SEG\x01\x08_PRT" + hard(17)), nil},
		{"the second host bridge", scopeTerm("_SB_", deviceTerm("PCI1", hostID, "\x08_BBN\x0a\x80\x08_PRT"+hard(17))) + host("\x08_PRT"+hard(18)), []PCIRoute{low(18)}},
		{"no host bridge", deviceTerm("PCI0", "\x08_PRT"+hard(17)), nil},
		{"identified by text", deviceTerm("PCI0", "\x08_HID\x0dPNP0A03\x00\x08_PRT"+hard(17)), []PCIRoute{low(17)}},
		{"compatible", deviceTerm("PCI0", "\x08_HID\x0dABCD0001\x00\x08_CID\x0c\x41\xd0\x0a\x03\x08_PRT"+hard(17)), []PCIRoute{low(17)}},
		{"added by another scope", host() + scopeTerm("\\\x2e_SB_PCI0", "\x08_PRT"+hard(17)), []PCIRoute{low(17)}},
		{"bridges", host(deviceTerm("BR1_", "\x08_ADR"+dword(0x1e0000), "\x08_PRT"+hard(17), deviceTerm("BR2_", "\x08_ADR"+dword(0x40001), "\x08_PRT"+hard(18)))),
			[]PCIRoute{
				{Behind: []uint32{0x1e0000}, Device: 3, Pin: 1, GSI: 17, Level: true, ActiveLow: true},
				{Behind: []uint32{0x1e0000, 0x40001}, Device: 3, Pin: 1, GSI: 18, Level: true, ActiveLow: true},
			}},
		{"behind all kinds of terms", "\x06ALIANAME" + "\x15EXT_\x06\x00" + "\x5b\x01MUTX\x00" + "\x5b\x02EVNT" + "\x5b\x80REGN\x01\x72\x0a\x10\x79BASE\x01\x00\x00\x0a\x08" +
			lengthTerm("\x5b\x81", "REGN\x01\x08FLD1\x08") + ifTerm("\x01", "\x08XXXX\x00") + "\x70\x01DEST" + "\x8aBUFR\x00FLD2" + "\x5b\x13BUFR\x00\x0a\x08FLD3" +
			"\x08STRN\x0dtext\x00" + "\x08QWRD\x0e12345678" + "\x08REVN\x5b\x30" + "\x08BUFR\x11\x03\x01\xff" + host("\x08_PRT"+hard(17)), []PCIRoute{low(17)}},
		{"behind a term that is not known", "\x08\xff" + host("\x08_PRT"+hard(17)), nil},
		{"in another table", host("\x08_PRT" + hard(17))[:20], nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			info := Parse(0, machine(fadtBody(116, func([]byte) {}), table("SSDT", []byte(c.aml)...)).read)
			// Those with mistakes beside what is read.
			mistakes := c.name == "a link that is not there" || c.name == "mistakes beside a route"
			if len(info.Problems) > 0 != mistakes || len(info.Routes)+len(c.want) > 0 && !reflect.DeepEqual(info.Routes, c.want) {
				t.Errorf("routes %+v, problems %q, want %+v", info.Routes, info.Problems, c.want)
			}
		})
	}
}

// TestRoutesAreBounded: more of all than is taken.
func TestRoutesAreBounded(t *testing.T) {
	deep := "\x08_PRT" + packageTerm(routeTerm(3, 1, "\x00", "\x0a\x11"))
	for range 40 {
		deep = deviceTerm("DEEP", "\x08_ADR\x00", deep)
	}
	var many, parents strings.Builder
	for i := range 40 {
		many.WriteString(deviceTerm(fmt.Sprintf("B%03d", i), "\x08_ADR"+dword(uint32(i%32)<<16), "\x08_PRT", packageTerm(slices.Repeat([]string{routeTerm(3, 1, "\x00", "\x0a\x11")}, 150)...)))
	}
	parents.WriteString(strings.Repeat("\x08"+strings.Repeat("^", 100)+"NAME\x00", 100))
	// Each of many bridges names the same package of mistakes.
	mistakes := "\x08BAD_" + lengthTermLong("\x12", "\xff", strings.Repeat(routeTerm(3, 4, "\x00", "\x0a\x11"), 200_000))
	var sharing strings.Builder
	for i := range 4096 {
		sharing.WriteString(deviceTerm(fmt.Sprintf("B%03X", i), "\x08_ADR\x00", methodTerm("_PRT", "\xa4BAD_")))
	}
	conditions := strings.Repeat("\x92", 100) + "\x01"
	for _, c := range []struct {
		name, aml string
		most      int
	}{
		{"nested", lengthTermLong("\x5b\x82", "PCI0", hostID, deep), 0},
		{"mistakes", mistakes + lengthTermLong("\x5b\x82", "PCI0", hostID, sharing.String()), 0},
		{"routes", lengthTermLong("\x5b\x82", "PCI0", hostID, many.String()), routesMax},
		{"parents", parents.String() + deviceTerm("PCI0", hostID, "\x08_PRT\x00"), 0},
		{"conditions", deviceTerm("PCI0", hostID, methodTerm("_PRT", ifTerm(conditions, "\xa4\x00"))), 0},
	} {
		info := Parse(0, machine(table("SSDT", []byte(c.aml)...)).read)
		if len(info.Routes) != c.most {
			t.Errorf("%s: %d routes, want %d", c.name, len(info.Routes), c.most)
		}
		if _, known := info.RouteOf([]uint32{31 << 16}, 3, 2); c.most > 0 && known != RouteUnreadable {
			t.Errorf("%s: a pin of a bus that is left out: %d", c.name, known)
		}
	}
}

// lengthTermLong is lengthTerm with four bytes of length.
func lengthTermLong(op string, parts ...string) string {
	body := strings.Join(parts, "")
	n := len(body) + 4
	return op + string([]byte{0xc0 | byte(n&15), byte(n >> 4), byte(n >> 12), byte(n >> 20)}) + body
}

func TestRouteOf(t *testing.T) {
	// A bridge in slot 30 has routes of its own, and one in slot 29 that are not read; those in
	// slots 1 and, behind it, 2 have none.
	info := &Info{
		Routes: []PCIRoute{
			{Device: 1, Pin: 0, GSI: 16}, {Device: 1, Pin: 1, GSI: 17}, {Device: 1, Pin: 3, GSI: 19},
			{Behind: []uint32{30 << 16}, Device: 4, Pin: 0, GSI: 21},
			{Behind: []uint32{29 << 16}, Device: 4, Pin: 0, GSI: 22},
		},
		Buses: []PCIBus{{}, {Behind: []uint32{30 << 16}}, {Behind: []uint32{29 << 16}, Unread: true}},
	}
	const unreadable = 1 << 16
	for _, c := range []struct {
		behind      []uint32
		device, pin uint8
		gsi         uint32 // 0: none
		lost        uint32 // with RoutesLost
	}{
		{nil, 1, 1, 17, 17}, {nil, 1, 2, 0, 0}, {nil, 2, 0, 0, 0},
		{[]uint32{30 << 16}, 4, 0, 21, 21}, {[]uint32{30 << 16}, 5, 0, 0, 0}, {[]uint32{30<<16 | 1}, 4, 0, 0, unreadable},
		{[]uint32{29 << 16}, 4, 0, 22, 22}, {[]uint32{29 << 16}, 4, 1, unreadable, unreadable},
		{[]uint32{29 << 16, 4 << 16}, 1, 0, unreadable, unreadable},
		{[]uint32{1 << 16}, 0, 0, 16, unreadable}, {[]uint32{1 << 16}, 5, 0, 17, unreadable}, {[]uint32{1 << 16}, 2, 3, 17, unreadable},
		{[]uint32{1 << 16, 2 << 16}, 3, 2, 19, unreadable}, // pin 5%4 in slot 2, then 3 in slot 1
		{[]uint32{30 << 16, 4 << 16}, 8, 0, 21, unreadable},
	} {
		for lost, want := range map[bool]uint32{false: c.gsi, true: c.lost} {
			info.RoutesLost = lost
			known := RouteKnown
			switch want {
			case 0:
				known = RouteAbsent
			case unreadable:
				known, want = RouteUnreadable, 0
			}
			if r, got := info.RouteOf(c.behind, c.device, c.pin); got != known || r.GSI != want {
				t.Errorf("behind %x, device %d, pin %d, lost %t: %+v, %d, want interrupt %d, %d", c.behind, c.device, c.pin, lost, r, got, want, known)
			}
		}
	}
	if _, known := (&Info{RoutesLost: true, Buses: []PCIBus{{Unread: true}}}).RouteOf(nil, 1, 1); known != RouteAbsent {
		t.Error("nothing is read, and yet a pin differs from one of no table")
	}
}

// TestRoutesUnread: whoever goes by something else than a _PRT is told of one that is there and
// of which nothing could be read.
func TestRoutesUnread(t *testing.T) {
	entry := packageTerm(routeTerm(3, 1, "\x00", "\x0a\x11"))
	for _, c := range []struct {
		name, aml string
		want      bool
	}{
		{"none", deviceTerm("PCI0", hostID), false},
		{"the word in a text", "\x08TEXT\x0d_PRT\x00" + deviceTerm("PCI0", hostID), false},
		{"read", deviceTerm("PCI0", hostID, "\x08_PRT"+entry), false},
		{"an empty one", deviceTerm("PCI0", hostID, "\x08_PRT"+packageTerm()), false},
		{"a method that does more", deviceTerm("PCI0", hostID, methodTerm("_PRT", "\x70\x01PICM", "\xa4"+entry)), true},
		{"a bridge's, read", deviceTerm("PCI0", hostID, methodTerm("_PRT", "\x70\x01PICM"), deviceTerm("RP02", "\x08_ADR\x00", "\x08_PRT"+entry)), false},
		{"no host bridge", deviceTerm("PCI0", "\x08_PRT"+entry), true},
		{"no host bridge and no _PRT", "\x08TEXT\x0d_PRT\x00" + deviceTerm("PCI0"), false},
		{"behind a term that is not known", "\x08\xff" + deviceTerm("PCI0", hostID, "\x08_PRT"+entry), true},
	} {
		info := Parse(0, machine(fadtBody(116, func([]byte) {}), table("SSDT", []byte(c.aml)...)).read)
		if info.RoutesUnread() != c.want || len(info.Routes) == 0 && len(info.Problems) > 0 {
			t.Errorf("%s: not read: %t, %+v, problems %q", c.name, info.RoutesUnread(), info.Routes, info.Problems)
		}
	}
}

// TestUnreadRoutes: a _PRT that is there is never taken for none, which would send a pin where
// the bridge's goes. The root bus sends that of 1c to 16; a root port there has its own.
func TestUnreadRoutes(t *testing.T) {
	root := "\x08_PRT" + packageTerm(routeTerm(0x1c, 0, "\x00", "\x0a\x10"), routeTerm(0x1c, 1, "\x00", "\x0a\x11"))
	own := packageTerm(routeTerm(0, 0, "\x00", "\x0a\x11"))
	port := func(parts ...string) string {
		return deviceTerm("RP02", "\x08_ADR"+dword(0x1c0001), strings.Join(parts, ""))
	}
	asking := deviceTerm("LNKA", methodTerm("_CRS", "\xa4\x00"))
	for _, c := range []struct {
		name, root, port string
		known            Routing
		gsi              uint32
		told             bool
	}{
		{"none", root, port(), RouteKnown, 16, false},
		{"read", root, port("\x08_PRT" + own), RouteKnown, 17, false},
		{"an empty one", root, port("\x08_PRT" + packageTerm()), RouteAbsent, 0, false},
		{"a method that does more", root, port(methodTerm("_PRT", "\x70\x01PICM", "\xa4"+own)), RouteUnreadable, 0, true},
		{"no package", root, port("\x08_PRT\x01"), RouteUnreadable, 0, true},
		{"a link that a method sets", root, asking + port("\x08_PRT"+packageTerm(routeTerm(0, 0, "LNKA", "\x00"))), RouteUnreadable, 0, true},
		{"a link of another device", root, asking + port("\x08_PRT"+packageTerm(routeTerm(1, 0, "LNKA", "\x00"), routeTerm(0, 0, "\x00", "\x0a\x11"))), RouteKnown, 17, true},
		{"an entry by its name", root, port("\x08_PRT" + packageTerm("NAME")), RouteUnreadable, 0, true},
		{"behind a term that is not known", root, port("\x08\xff", "\x08_PRT"+own), RouteUnreadable, 0, true},
		{"in a scope behind one", root, port() + "\x08\xff" + scopeTerm("RP02", "\x08_PRT"+own), RouteUnreadable, 0, true},
		{"nothing behind one", root, port("\x08\xff"), RouteKnown, 16, false},
		{"on a condition", root, port(ifTerm("\x01", "\x08_PRT"+own)), RouteUnreadable, 0, true},
		{"by another name", root, port("\x08AR02"+own, "\x06AR02_PRT"), RouteUnreadable, 0, true},
		{"at a place that a method tells", root, deviceTerm("RP02", methodTerm("_ADR", "\xa4"+dword(0x1c0001)), "\x08_PRT"+own), RouteUnreadable, 0, true},
		{"none is read", methodTerm("_PRT", "\x70\x01PICM"), port("\x08_PRT\x01"), RouteAbsent, 0, false},
		{"the root's is not", methodTerm("_PRT", "\x70\x01PICM"), port("\x08_PRT" + own), RouteKnown, 17, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			aml := picVar + picSet + scopeTerm("_SB_", deviceTerm("PCI0", hostID, c.root, c.port))
			info := Parse(0, machine(fadtBody(116, func([]byte) {}), table("SSDT", []byte(aml)...)).read)
			r, known := info.RouteOf([]uint32{0x1c0001}, 0, 0)
			if known != c.known || r.GSI != c.gsi {
				t.Errorf("interrupt %d, %d, want %d, %d", r.GSI, known, c.gsi, c.known)
			}
			if told := len(info.Problems) == 1 && strings.Contains(info.Problems[0], "_PRT"); told != c.told || len(info.Problems) > 1 {
				t.Errorf("problems %q", info.Problems)
			}
			// The bridge's own bus is as before.
			if r, known := info.RouteOf(nil, 0x1c, 0); c.root == root && (known != RouteKnown || r.GSI != 16) {
				t.Errorf("the root bus: %+v, %d", r, known)
			}
		})
	}
}
