package acpi

// Where the pins of PCI functions go (6.2.13): the packages _PRT of host bridges, and of
// bridges on their buses. The method that most firmware has instead is read when all that it
// does is to choose between packages by what \_PIC was told.

import (
	"encoding/binary"
	"slices"
	"strings"
)

// PCIRoute says where an interrupt pin of a device on a bus of PCI goes.
type PCIRoute struct {
	// Behind are the bridges that lead to the bus of segment 0, from the host bridge of bus
	// 0 on, each as device << 16 | function; none for bus 0 itself.
	Behind    []uint32
	Device    uint8 // 0 to 31
	Pin       uint8 // 0 to 3: INTA to INTD
	GSI       uint32
	Level     bool // level triggered, else edge
	ActiveLow bool
}

// PCIBus is a bus of segment 0 whose bridge has a _PRT.
type PCIBus struct {
	Behind []uint32 // as of a PCIRoute
	// Unread says that not all of the _PRT could be read: a pin that it may have an entry
	// for is not in Routes.
	Unread bool
}

// Routing is what is known of where a pin goes.
type Routing uint8

const (
	RouteAbsent     Routing = iota // no table says, or there is none that could be read
	RouteKnown                     // a table says
	RouteUnreadable                // a table may say, which could not be read
)

// RouteOf returns where a pin goes of a device on the bus behind those bridges: r counts with
// RouteKnown. A bus without a _PRT of its own has the pins of the bridge that it is behind
// (PCI-to-PCI Bridge Architecture 1.2, 9.1).
func (i *Info) RouteOf(behind []uint32, device, pin uint8) (r PCIRoute, known Routing) {
	if len(i.Routes) == 0 {
		return r, RouteAbsent
	}
	for {
		for _, r := range i.Routes {
			if slices.Equal(r.Behind, behind) && r.Device == device && r.Pin == pin {
				return r, RouteKnown
			}
		}
		bus := slices.IndexFunc(i.Buses, func(b PCIBus) bool { return slices.Equal(b.Behind, behind) })
		switch {
		case bus >= 0 && i.Buses[bus].Unread, bus < 0 && i.RoutesLost:
			return r, RouteUnreadable
		case bus >= 0 || len(behind) == 0:
			return r, RouteAbsent
		}
		last := len(behind) - 1
		pin = (pin + device) % pinsMax
		device, behind = uint8(behind[last]>>16), behind[:last]
	}
}

// RoutesUnread says that there is a _PRT, and nothing of any could be read.
func (i *Info) RoutesUnread() bool {
	return len(i.Routes) == 0 && (i.RoutesLost || slices.ContainsFunc(i.Buses, func(b PCIBus) bool { return b.Unread }))
}

const (
	idHostBridge        = 0x030ad041 // PNP0A03
	idHostBridgeExpress = 0x080ad041 // PNP0A08

	routesMax    = 4096 // that are looked at, good or bad
	busesMax     = 256
	settingsMax  = 16 // descriptors of a link device
	bridgesMax   = 8  // one behind the other
	deviceMax    = 31
	functionMax  = 7
	functionAny  = 0xffff
	pinsMax      = 4
	routeLength  = 4       // elements of a route
	gsiMax       = 1 << 16 // beyond those of all I/O APICs
	extendedEdge = 1 << 1  // flags of an extended interrupt
	extendedLow  = 1 << 2
)

// parseRoutes reads all routes of segment 0 from the DSDT and the SSDTs.
func (p *parser) parseRoutes(tables [][]byte) {
	n := &namespace{objects: map[string]object{}}
	for _, t := range tables {
		n.walk(t[headerSize:], "", 0)
	}
	modes := n.modes()
	host := slices.IndexFunc(n.devices, func(d string) bool {
		return n.is(d, idHostBridge, idHostBridgeExpress) && n.zero(d+"_BBN") && n.zero(d+"_SEG")
	})
	p.RoutesLost = n.lost
	if host < 0 {
		for path := range n.objects {
			p.RoutesLost = p.RoutesLost || strings.HasSuffix(path, "_PRT")
		}
		return
	}
	first := "" // that is not read wholly
	for _, bridge := range n.devices {
		o, there := n.objects[bridge+"_PRT"]
		if !there || !strings.HasPrefix(bridge, n.devices[host]) {
			continue
		}
		behind, ok := n.between(n.devices[host], bridge)
		if !ok || len(p.Buses) == busesMax {
			p.RoutesLost = true
			continue
		}
		read := p.routesOf(n, o, behind, modes)
		p.Buses = append(p.Buses, PCIBus{behind, !read})
		if !read && first == "" {
			first = bridge
		}
	}
	switch {
	case len(p.Routes) == 0: // who goes by something else says so: RoutesUnread
	case first != "":
		p.problem("_PRT of %s cannot be read, or not all of it: no line is known where it is needed", first)
	case p.RoutesLost:
		p.problem("there is a _PRT that cannot be read: no line is known on buses for which none is")
	}
}

// zero reports whether a name is 0, as one is that is not there.
func (n *namespace) zero(path string) bool {
	if _, there := n.objects[path]; !there {
		return true
	}
	v, ok := n.constant(path)
	return ok && v == 0
}

// between returns the places of the bridges that lead from a host bridge to a device in it.
func (n *namespace) between(host, bridge string) (behind []uint32, ok bool) {
	if len(bridge) < len(host) || bridge[:len(host)] != host || len(bridge) > len(host)+segment*bridgesMax {
		return nil, false
	}
	for at := len(host) + segment; at <= len(bridge); at += segment {
		place, ok := n.constant(bridge[:at] + "_ADR")
		if !ok || place>>16 > deviceMax || place&functionAny > functionMax {
			return nil, false
		}
		behind = append(behind, uint32(place))
	}
	return behind, true
}

// routesOf reads the _PRT of a bus, and reports whether that is all of it.
func (p *parser) routesOf(n *namespace, list object, behind []uint32, modes []string) (all bool) {
	if list.op == opMethod {
		list, _ = n.choose(list, modes, 0)
	}
	if len(list.body) == 0 || list.body[0] != opPackage && list.body[0] != opVarPackage {
		return false
	}
	body, _, ok := packaged(list.body[1:])
	if !ok {
		return false
	}
	// The count of a Package is a byte, of the other an integer.
	if list.body[0] == opPackage {
		body = body[1:]
	} else if _, body, ok = integer(body); !ok {
		return false
	}
	all = true
	for ; len(body) > 0; p.routes++ {
		if body[0] != opPackage || p.routes >= routesMax {
			return false
		}
		entry, end, ok := packaged(body[1:])
		if !ok {
			return false
		}
		body = body[1+end:]
		if r, ok := n.route(entry, list.scope); ok {
			r.Behind = behind
			p.Routes = append(p.Routes, r)
		} else {
			all = false
		}
	}
	return all
}

// route reads a route: address, pin, link device or 0, index or GSI.
func (n *namespace) route(b []byte, scope string) (r PCIRoute, ok bool) {
	if b[0] != routeLength {
		return r, false
	}
	address, b, ok := integer(b[1:])
	if !ok || address&functionAny != functionAny || address>>16 > deviceMax {
		return r, false
	}
	pin, b, ok := integer(b)
	if !ok || pin >= pinsMax {
		return r, false
	}
	r.Device, r.Pin = uint8(address>>16), uint8(pin)
	if link, rest, ok := nameString(b); ok {
		if index, _, ok := integer(rest); !ok || index != 0 {
			return r, false
		}
		path, o, ok := n.lookup(link, scope)
		if !ok || o.op != opDevice {
			return r, false
		}
		set, ok := n.objects[path+"_CRS"]
		if !ok || set.op != opName {
			return r, false
		}
		ok = r.setting(buffer(set.body))
		return r, ok
	}
	source, b, ok := integer(b)
	if !ok || source != 0 {
		return r, false
	}
	gsi, _, ok := integer(b)
	if !ok || gsi >= gsiMax {
		return r, false
	}
	r.GSI, r.Level, r.ActiveLow = uint32(gsi), true, true // what PCI has (6.2.13)
	return r, true
}

// setting reads what a link device is set to: the one extended interrupt of its resources.
// The other kind of descriptor names a line of the 8259s.
func (r *PCIRoute) setting(b []byte) (ok bool) {
	for range settingsMax {
		if len(b) == 0 {
			break
		}
		tag, d, rest, ok := descriptor(b)
		if !ok || tag == tagEnd {
			return false
		}
		if tag == tagInterrupt && len(d) >= 6 && d[1] == 1 {
			r.GSI = binary.LittleEndian.Uint32(d[2:])
			r.Level, r.ActiveLow = d[0]&extendedEdge == 0, d[0]&extendedLow != 0
			return r.GSI < gsiMax
		}
		b = rest
	}
	return false
}
