//go:build isis

package kernel

// IS-IS on the machine's cards: images whose manifest has [router.isis] are built with this file.

import (
	"encoding/binary"
	"log/slog"
	"net/netip"

	"github.com/sluice-os/sluice/kernel/clock"
	"github.com/sluice-os/sluice/kernel/domain"
	"github.com/sluice-os/sluice/kernel/host"
	"github.com/sluice-os/sluice/kernel/route/isis/pdu"
	"github.com/sluice-os/sluice/kernel/route/isisd"
	"github.com/sluice-os/sluice/kernel/route/isisd/facts"
	"github.com/sluice-os/sluice/kernel/route/rib"
	"github.com/sluice-os/sluice/kernel/vm"
)

// databaseShare is which part of the kernel's heap may be the database.
const databaseShare = 4

// isisRouter implements routing.
type isisRouter struct{ *isisd.Router }

// newRouting returns what the image's configuration asks for; nil: nothing.
func (m *machine) newRouting() routing {
	archive := vm.Archive()
	if archive == nil {
		return nil
	}
	var seed [8]byte
	m.random.Read(seed[:]) // zeros are a seed too
	r, err := isisd.New(isisd.Environment{
		Now: clock.Since, Log: slog.Default(), Seed: binary.LittleEndian.Uint64(seed[:]), Install: m.installISIS, Held: m.heldISIS,
		Memory: m.heapLimit / databaseShare,
	}, domain.ISIS(archive))
	if err != nil {
		slog.Error("no routing", "reason", err)
		return nil
	}
	return isisRouter{r}
}

// installISIS takes changes of IS-IS's routes to the machine's table.
func (m *machine) installISIS(put []rib.Route, gone []netip.Prefix) {
	m.router.Routes.Update(rib.ISIS, put, gone) // what it refuses shows in heldISIS
}

// heldISIS is how many of them the table has.
func (m *machine) heldISIS() int {
	t := m.router.Routes
	return t.Count(rib.ISIS, rib.IPv4) + t.Count(rib.ISIS, rib.IPv6)
}

// attach implements routing.
func (r isisRouter) attach(n *network, s *host.Stack) {
	var l *isisd.Link
	port := s.OSI(func(from [6]byte, pdu []byte) { l.Receive(from, pdu) }, pdu.AllL1, pdu.AllL2, pdu.AllP2P)
	l = r.AddLink(n.name, n.index-firstIndex, port)
	s.Follow(func(f *host.Facts) { l.Tell(facts.Link(f)) })
}
