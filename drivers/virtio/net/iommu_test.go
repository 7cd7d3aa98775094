//go:build linux

package net_test

import (
	"strings"
	"testing"
	"time"

	"github.com/sluice-os/sluice/drivers/hw"
	"github.com/sluice-os/sluice/drivers/internal/cardtest"
	"github.com/sluice-os/sluice/drivers/internal/qtest"
	"github.com/sluice-os/sluice/drivers/nic"
	virtionet "github.com/sluice-os/sluice/drivers/virtio/net"
	"github.com/sluice-os/sluice/drivers/vtd"
)

// QEMU's own unit: where it is, and its fault status register.
const (
	unitBase    = 0xfed90000
	faultStatus = 0x34
)

// event is the unit's interrupt, which QEMU sends to a CPU that is halted: the
// register says the same.
type event struct{ hw.Interrupt }

func (event) MSI() (uint64, uint32, bool) { return 0xfee00000, 0x41, true }

// behindIOMMU opens the card of a machine with an IOMMU that is turned on.
func behindIOMMU(t *testing.T, iommu string) (d *virtionet.Device, w *qtest.Wire, dma *hw.DMA, faults chan vtd.Fault) {
	t.Helper()
	w, netdev := qtest.NewWire(t)
	m := qtest.Start(t, "q35", "-device", iommu, "-netdev", netdev, "-device", cardPCI+",disable-legacy=on,iommu_platform=on")
	status, _ := m.Map(unitBase, hw.PageSize)
	faults = make(chan vtd.Fault, 16)
	unit, err := vtd.Open(unitBase, vtd.Config{
		Map: m.Map, Tables: m,
		Flush:     func([]byte) {}, // QEMU sees all of memory at once
		Interrupt: event{m.LineInterrupt(func() bool { return status.Read32(faultStatus)&3 != 0 })},
		Blocked:   func(f vtd.Fault) { faults <- f },
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("%+v", unit.Capability())
	go unit.Serve()
	const card = 1 // the first slot behind the host bridge
	bus, err := unit.Domain(vtd.SourceOf(0, card, 0))
	if err != nil {
		t.Fatal(err)
	}
	dma = hw.NewDMA(m, bus)
	tr, err := findPCI(t, m, dma)
	if err != nil {
		t.Fatal(err)
	}
	if d, err = virtionet.Open(tr, dma, virtionet.Config{ControlTimeout: time.Minute, TxTimeout: time.Minute}); err != nil {
		t.Fatal(err)
	}
	if !dma.Translated() {
		t.Fatal("the card goes past the IOMMU")
	}
	return d, w, dma, faults
}

// TestQEMUIOMMU moves frames through QEMU's card behind QEMU's IOMMU, whose tables
// say no more than what each segment is for. Nothing is blocked, so that is enough.
func TestQEMUIOMMU(t *testing.T) {
	for name, options := range map[string]string{"plain": "", "caching mode": ",caching-mode=on", "48 bits": ",aw-bits=48", "snoop control": ",snoop-control=on"} {
		t.Run(name, func(t *testing.T) {
			d, w, _, faults := behindIOMMU(t, "intel-iommu"+options)
			w.Exercise(d, rounds, []int{60, 1514, 9014, 64, 14 + 20, 4000, 1024, 333})
			if len(faults) > 0 {
				t.Errorf("blocked: %v", <-faults)
			}
		})
	}
}

// TestQEMUIOMMUBlocks leads the card to a page and sends it a frame, twice: while
// the page is the card's, and after it was taken away, when the unit has its
// translation in a cache. The second time the card is blocked, the page stays as it
// is, and after a reset the card works again.
func TestQEMUIOMMUBlocks(t *testing.T) {
	d, w, dma, faults := behindIOMMU(t, "intel-iommu")
	page, err := dma.Alloc(hw.PageSize, hw.FromDevice)
	if err != nil {
		t.Fatal(err)
	}
	// stray has the card write one frame into the page, and returns how many bytes
	// were written there, once the driver has reset the card.
	stray := func() (written int) {
		for i := range page.Bytes {
			page.Bytes[i] = 0xa5
		}
		resets := func() (n uint64) {
			d.Counters(func(name string, v uint64) {
				if strings.HasPrefix(name, "reset_") {
					n += v
				}
			})
			return n
		}
		before := resets()
		d.Misdirect(page.Bus)
		w.Send(cardtest.Frame(1000, 1))
		batch := nic.NewBatch(1)
		for resets() == before {
			if d.Receive(batch) != 0 {
				t.Fatal("the frame has come")
			}
			if d.Arm() {
				d.Wait()
				d.Disarm()
			}
		}
		for _, b := range page.Bytes {
			if b != 0xa5 {
				written++
			}
		}
		w.Exercise(d, rounds, []int{60, 1514, 9014})
		return written
	}
	if n := stray(); n < 900 || len(faults) > 0 {
		t.Fatalf("the control: %d bytes written, %d accesses blocked", n, len(faults))
	}
	if _, err := dma.Revoke(page); err != nil {
		t.Fatal(err)
	}
	if n := stray(); n != 0 {
		t.Errorf("%d bytes were written into a page that was taken away", n)
	}
	select {
	case f := <-faults:
		want := vtd.Fault{Source: vtd.SourceOf(0, 1, 0), Addr: page.Bus, Write: true, Reason: vtd.WriteDenied, Code: 5}
		if f != want || f.Source.String() != d.Info().Location {
			t.Errorf("blocked: %+v, want %+v", f, want)
		}
	case <-time.After(5 * time.Minute):
		t.Error("nothing was blocked")
	}
	if len(faults) > 0 {
		t.Errorf("blocked once more: %v", <-faults)
	}
}
