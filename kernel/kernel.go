// Package kernel is the kernel's main program: it brings the machine up, finds
// its devices, starts the host stack on the network card and runs the shell.
package kernel

import (
	"log/slog"

	"github.com/sluice-os/sluice/drivers/hw"
	"github.com/sluice-os/sluice/drivers/nic"
	"github.com/sluice-os/sluice/drivers/virtio/mmio"
	virtionet "github.com/sluice-os/sluice/drivers/virtio/net"
	"github.com/sluice-os/sluice/kernel/entry"
	"github.com/sluice-os/sluice/kernel/host"
	"github.com/sluice-os/sluice/kernel/irq"
	"github.com/sluice-os/sluice/kernel/options"
	"github.com/sluice-os/sluice/kernel/vm"
)

var _ hw.Registers
var _ nic.Device

func Main() {
	opts, problems := options.Parse(entry.Info.CommandLine())
	for _, p := range problems {
		slog.Warn(p)
	}
	irq.Init([]irq.Controller{{0xfec00000, 0}, {0xfec10000, 24}}, nil)
	for i := range 24 {
		base := uint64(0xfeb00000 + i*512)
		r, err := vm.MapRegisters(base, 512)
		if err != nil {
			panic(err)
		}
		if r.Read32(0) != 0x74726976 || r.Read32(8) != 1 {
			continue
		}
		e, err := irq.Line(24+i, "virtio-net")
		if err != nil {
			panic(err)
		}
		t, err := mmio.New(r, base, e)
		if err != nil {
			slog.Error("virtio", "err", err)
			continue
		}
		d, err := virtionet.Open(t, vm.DMA{}, virtionet.Config{Log: slog.Default()})
		if err != nil {
			slog.Error("virtio", "err", err)
			continue
		}
		s, err := host.New(d, host.Config{IPv4: opts.IPv4, IPv6: opts.IPv6})
		if err != nil {
			slog.Error("host", "err", err)
			continue
		}
		slog.Info("starting host")
		if err := s.Start(); err != nil {
			slog.Error("host", "err", err)
		}
	}
	select {}
}
