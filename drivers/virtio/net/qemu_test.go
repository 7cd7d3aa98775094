//go:build linux

package net_test

import (
	"strings"
	"testing"
	"time"

	"github.com/sluice-os/sluice/drivers/hw"
	"github.com/sluice-os/sluice/drivers/internal/cardtest"
	"github.com/sluice-os/sluice/drivers/internal/qtest"
	bus "github.com/sluice-os/sluice/drivers/pci"
	"github.com/sluice-os/sluice/drivers/virtio"
	"github.com/sluice-os/sluice/drivers/virtio/mmio"
	virtionet "github.com/sluice-os/sluice/drivers/virtio/net"
	virtiopci "github.com/sluice-os/sluice/drivers/virtio/pci"
)

// openMMIO finds the card among microvm's slots.
func openMMIO(t *testing.T, netdev, global string) (virtio.Transport, *qtest.Machine, error) {
	args := []string{"-netdev", netdev, "-device", "virtio-net-device,netdev=n0,mac=52:54:00:12:34:56"}
	if global != "" {
		args = append(args, "-global", global)
	}
	m := qtest.Start(t, "microvm", args...)
	const slots, base, stride = 24, 0xfeb00000, 0x200 // with two IOAPICs
	var last error
	for slot := range uint64(slots) {
		regs, _ := m.Map(base+slot*stride, stride)
		const interruptStatus = 0x60
		irq := m.LineInterrupt(func() bool { return regs.Read32(interruptStatus) != 0 })
		tr, err := mmio.New(regs, base+slot*stride, irq)
		if err == nil {
			return tr, m, nil
		}
		last = err
		if !strings.Contains(err.Error(), virtio.ErrNoDevice.Error()) {
			break
		}
	}
	return nil, nil, last
}

// openPCI plays the firmware too: it gives the card's windows a place.
func openPCI(t *testing.T, netdev, options string) (virtio.Transport, *qtest.Machine, error) {
	m := qtest.Start(t, "q35", "-netdev", netdev, "-device", cardPCI+options)
	tr, err := findPCI(t, m, m.DMA())
	return tr, m, err
}

const cardPCI = "virtio-net-pci,netdev=n0,romfile=,mac=52:54:00:12:34:56"

// findPCI returns the first virtio device on the bus, whose memory dma is.
func findPCI(t *testing.T, m *qtest.Machine, dma *hw.DMA) (virtio.Transport, error) {
	functions, err := bus.Enumerate(bus.NewPorts(m))
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range functions {
		if !virtiopci.IsDevice(f) {
			continue
		}
		const bar1, bar4 = 0x14, 0x20
		f.Write32(bar1, 0xe0000000)
		f.Write32(bar4, 0xe0100000)
		tr, err := virtiopci.New(f, m.Map, virtiopci.Interrupts{Queues: m.MSInterrupt(dma), Config: m.MSInterrupt(dma)})
		return tr, err
	}
	t.Fatal("no virtio device on the bus")
	return nil, nil
}

// TestQEMU moves frames through QEMU's own card, over each transport.
func TestQEMU(t *testing.T) {
	for name, c := range map[string]struct {
		open    func(*testing.T, string, string) (virtio.Transport, *qtest.Machine, error)
		options string
	}{
		"mmio":                {openMMIO, "virtio-mmio.force-legacy=false"},
		"pci transitional":    {openPCI, ""},
		"pci modern":          {openPCI, ",disable-legacy=on"},
		"pci no event index":  {openPCI, ",disable-legacy=on,event_idx=off"},
		"pci no indirect":     {openPCI, ",disable-legacy=on,indirect_desc=off"},
		"pci not mergeable":   {openPCI, ",disable-legacy=on,mrg_rxbuf=off"},
		"pci no control":      {openPCI, ",disable-legacy=on,ctrl_vq=off"},
		"pci MTU 9000":        {openPCI, ",disable-legacy=on,host_mtu=9000"},
		"pci access platform": {openPCI, ",disable-legacy=on,iommu_platform=on"},
	} {
		t.Run(name, func(t *testing.T) {
			w, netdev := qtest.NewWire(t)
			tr, m, err := c.open(t, netdev, c.options)
			if err != nil {
				t.Fatal(err)
			}
			d, err := virtionet.Open(tr, m.DMA(), virtionet.Config{ControlTimeout: time.Minute, TxTimeout: time.Minute})
			if err != nil {
				t.Fatal(err)
			}
			if mac := d.Info().MAC; mac != cardtest.MAC || !d.Link().Up {
				t.Errorf("MAC %x, link %v", mac, d.Link())
			}
			if strings.HasSuffix(c.options, "9000") && d.Info().MTU != 9000 {
				t.Errorf("MTU %d", d.Info().MTU)
			}
			t.Logf("%+v", d.Info())
			lengths := []int{60, 1514, 9014, 64, 14 + 20, 4000, 1024, 333}
			if strings.Contains(name, "mergeable") {
				lengths[2] = 3000
			}
			w.Exercise(d, rounds, lengths)
			qtest.CheckCounters(t, d, rounds*len(lengths))
		})
	}
}

// rounds is how often frames are sent and received: more than a ring holds.
const rounds = 40

// TestQEMULegacy names the option that is missing.
func TestQEMULegacy(t *testing.T) {
	_, netdev := qtest.NewWire(t)
	if _, _, err := openMMIO(t, netdev, ""); err == nil || !strings.Contains(err.Error(), "force-legacy=false") {
		t.Errorf("mmio: %v", err)
	}
	_, netdev = qtest.NewWire(t)
	if _, _, err := openPCI(t, netdev, ",disable-modern=on,disable-legacy=off"); err == nil || !strings.Contains(err.Error(), "disable-legacy=on") {
		t.Errorf("pci: %v", err)
	}
}
