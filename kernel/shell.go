package kernel

import (
	"context"
	"log/slog"
	"net/netip"
	"runtime"
	"strings"

	"github.com/sluice-os/sluice/kernel/clock"
	"github.com/sluice-os/sluice/kernel/console"
	"github.com/sluice-os/sluice/kernel/host"
	"github.com/sluice-os/sluice/kernel/host/netinfo"
	"github.com/sluice-os/sluice/kernel/shell"
	"github.com/sluice-os/sluice/kernel/vm"
	"github.com/sluice-os/sluice/nexus/arena"
	"github.com/sluice-os/sluice/nexus/channel"
	"github.com/sluice-os/sluice/nexus/view"
)

// runShell serves the console for ever.
func (m *machine) runShell() {
	line, err := consoleInterrupt()
	if err != nil {
		slog.Error("no console input", "reason", err)
		select {}
	}
	if m.options.Run != "" {
		m.runOne(console.Reader{Wait: line.Wait})
	}
	sys := shell.System{
		Memory: memory,
		Log:    func() []string { return strings.Split(strings.TrimSuffix(string(m.log.Dmesg()), "\n"), "\n") },
		Uptime: clock.Since, Idled: clock.Idled,
		PowerOff: m.power.off,
		Reboot:   m.power.reboot,
		Fault:    m.fault,
		Counters: m.devices.counters,
	}
	if len(m.devices.pci) > 0 {
		sys.PCI = m.pciList
	}
	nets := m.networks.working()
	if len(nets) > 0 {
		sys.Links, sys.Addresses = nets.links, nets.addresses
		sys.Routes, sys.Neighbours = collect(nets, (*host.Stack).Routes), collect(nets, (*host.Stack).Neighbours)
		sys.Counters = func() []netinfo.Counter {
			return append(append(nets.counters(), m.router.Counters()...), m.devices.counters()...)
		}
		sys.Statistics = func() []netinfo.Group { return append(nets.statistics(), m.router.Statistics()...) }
		sys.Router = m.router
		sys.Lookup = nets.lookup
		sys.NewPinger = func(to netip.Addr) (shell.Pinger, error) { return nets.to(to).stack.NewPinger(to) }
	}
	sys.Tables = map[string]func() *view.Table{}
	if len(nets) > 0 {
		sys.Tables["qdisc"], sys.SetQdisc = nets.qdisc, nets.setQdisc
	}
	if m.domains != nil && len(nets) > 0 {
		sys.Rules = nets.rules
	}
	if m.domains != nil {
		sys.Tables["channels"] = func() *view.Table { return channel.Table(m.channels()) }
		sys.Tables["rings"] = func() *view.Table { return channel.RingTable(m.channels()) }
		sys.Tables["pools"] = func() *view.Table { return channel.PoolTable(m.channels()) }
	}
	if len(nets) > 0 && nets[0].nexus != nil {
		sys.Tables["flows"], sys.Tables["ss"] = nets.flows, nets.sockets
		sys.SetRate, sys.SetMarks = nets.setRate, nets.setMarks
	}
	if m.domains != nil {
		sys.Domains = m.domains
		if sys.Tables == nil {
			sys.Tables = map[string]func() *view.Table{}
		}
		sys.Tables["arenas"] = m.domains.Arenas
	}
	if m.routing != nil {
		sys.Routing = m.routing
	}
	slog.Info("ready")
	for {
		err := shell.New(console.Reader{Wait: line.Wait}, console.Raw{}, sys).Run(context.Background())
		slog.Error("the shell ended and is started again", "reason", err)
	}
}

// memory is what the command mem shows.
func memory(collect, audit bool) shell.Memory {
	if collect {
		runtime.GC()
		runtime.GC() // sweeps what the first one has found
	}
	var stats runtime.MemStats
	runtime.ReadMemStats(&stats)
	u, a := vm.Usage(), vm.TakeAccount()
	m := shell.Memory{
		Total: u.Total, Used: u.Total - u.Free, Free: u.Free,
		HeapInUse: stats.HeapAlloc, HeapReserved: u.Heap, Collections: stats.NumGC, Goroutines: runtime.NumGoroutine(),
		RAM: a.RAM, Audited: audit,
	}
	for _, l := range a.Lines {
		m.Owners = append(m.Owners, shell.Owner{Name: l.Owner, Bytes: l.Bytes})
	}
	for id := range arena.Regions {
		m.Regions = append(m.Regions, strings.ToUpper(id.String()))
	}
	for _, d := range a.Domains {
		m.Domains = append(m.Domains, shell.Charge{
			Name: d.Name, Image: d.Image, Memory: d.Memory, State: d.State, Tables: d.Tables,
			Arenas: d.Arenas[:], Total: d.Total, Peak: d.Peak, Quota: d.Quota,
		})
	}
	if audit {
		m.Problems = vm.Audit()
	}
	return m
}

// pciList is what the command pci shows.
func (m *machine) pciList() []shell.PCIDevice {
	drivers := map[string]string{}
	for _, card := range m.devices.cards {
		drivers[card.Info().Location] = card.Info().Driver
	}
	var list []shell.PCIDevice
	for _, f := range m.devices.pci {
		list = append(list, shell.PCIDevice{
			Address: f.Address.String(), Class: f.ClassName(),
			Vendor: f.Vendor, Device: f.Device, Revision: f.Revision,
			Driver: drivers["pci "+f.Address.String()], Interrupts: f.Interrupts(),
		})
	}
	return list
}
