package kernel

// The machine as a router: the table of all routes, and packets from card to card.

import (
	"encoding/binary"
	"log/slog"

	"github.com/sluice-os/sluice/kernel/clock"
	"github.com/sluice-os/sluice/kernel/host"
	"github.com/sluice-os/sluice/kernel/route/forward"
	"github.com/sluice-os/sluice/kernel/router"
)

// routeShare is which part of the kernel's heap may be routes.
const routeShare = 16

// newRouter makes the router, before there are networks.
func (m *machine) newRouter() {
	var seed [8]byte
	m.random.Read(seed[:]) // zeros are a seed too
	check := map[string]forward.Check{"off": forward.Off, "loose": forward.Loose, "strict": forward.Strict}[m.options.ReversePath]
	m.router = router.New(router.Config{
		Forward: m.options.Forward, Check: check, Memory: m.heapLimit / routeShare,
		Seed: binary.LittleEndian.Uint64(seed[:]), Now: clock.Since,
	})
}

// forwardMemory is what forwarding between so many cards takes, in bytes.
func (m *machine) forwardMemory(cards int) int {
	if !m.router.Forwards() {
		return 0
	}
	return cards * host.ForwardCardMemory
}

// startRouter takes the static routes of the command line in, when there are networks.
func (m *machine) startRouter() {
	for _, r := range m.options.Routes {
		if err := m.router.Add(r); err != nil {
			slog.Warn("route ignored", "route", r.String(), "reason", err)
		}
	}
	if m.router.Forwards() {
		slog.Info("forwarding", "interfaces", len(m.networks.working()), "urpf", m.options.ReversePath)
	}
}
