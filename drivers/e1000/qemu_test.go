//go:build linux

package e1000

import (
	"bytes"
	"slices"
	"testing"
	"time"

	"github.com/sluice-os/sluice/drivers/hw"
	"github.com/sluice-os/sluice/drivers/internal/qtest"
	"github.com/sluice-os/sluice/drivers/nic"
	bus "github.com/sluice-os/sluice/drivers/pci"
)

// openQEMU plays the firmware too: it gives the card's registers a place.
func openQEMU(t *testing.T, device string) (*Device, *qtest.Wire) {
	w, netdev := qtest.NewWire(t)
	m := qtest.Start(t, "q35", "-netdev", netdev, "-device", device+",netdev=n0,romfile=,mac=52:54:00:12:34:56")
	functions, err := bus.Enumerate(bus.NewPorts(m))
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range functions {
		if !IsDevice(f) {
			continue
		}
		const bar0, base = 0x10, 0xe0000000
		f.Write32(bar0, base)
		dma := m.DMA()
		var irq hw.Interrupt
		if _, ok := f.Capability(bus.CapMSI); ok {
			irq = m.MSInterrupt(dma)
		} else {
			regs, _ := m.Map(base, windowBytes)
			irq = m.LineInterrupt(func() bool { return regs.Read32(regICS)&regs.Read32(regIMS) != 0 })
		}
		d, err := Open(f, m.Map, irq, dma, Config{TxTimeout: time.Minute})
		if err != nil {
			t.Fatal(err)
		}
		return d, w
	}
	t.Fatal("no card on the bus")
	return nil, nil
}

// TestQEMU moves frames through QEMU's own cards.
func TestQEMU(t *testing.T) {
	for _, device := range []string{"e1000", "e1000-82545em", "e1000e"} {
		t.Run(device, func(t *testing.T) {
			d, w := openQEMU(t, device)
			if d.Info().MAC != testMAC || !d.Link().Up {
				t.Errorf("MAC %x, link %v", d.Info().MAC, d.Link())
			}
			t.Logf("%+v", d.Info())
			lengths := []int{60, 1514, 64, 1024, 333}
			const rounds = 80
			w.Exercise(d, rounds, lengths)
			qtest.CheckCounters(t, d, rounds*len(lengths), "card_rx_frames", "card_tx_frames")
		})
	}
}

// TestQEMUOffload has QEMU's cards sum and cut frames.
func TestQEMUOffload(t *testing.T) {
	for _, device := range []string{"e1000", "e1000-82545em", "e1000e"} {
		t.Run(device, func(t *testing.T) {
			d, w := openQEMU(t, device)
			for _, c := range []struct {
				flow
				mss int
			}{
				{flow{payload: 10}, 0},
				{flow{}, 0}, {flow{payload: 5}, 0}, {flow{udp: true}, 0}, {flow{udp: true, payload: 1}, 0}, {flow{udp: true, payload: 17}, 0},
				{flow{udp: true, payload: 1000}, 0},
				{flow{v6: true, payload: 77, options: 12}, 0},
				{flow{v6: true, udp: true, payload: 1}, 0},
				{flow{udp: true, options: 8, payload: 40}, 0},
				{flow{payload: 3000, flags: 9}, 1460}, {flow{payload: 1461, flags: 9}, 1460},
				{flow{payload: 64000, options: 12, flags: 8}, 1448},
				{flow{v6: true, payload: 4000, flags: 1}, 1440},
			} {
				if c.v6 && c.mss > 0 && !d.Info().Offloads.TSO6 || c.mss > 0 && !d.Info().Offloads.TSO4 {
					continue
				}
				batch := nic.NewBatch(1)
				c.queue(t, d, &batch[0], c.mss)
				d.Transmit(batch)
				list := c.wanted(c.mss)
				for i, want := range list {
					if c.mss == 0 { // what is cut the card pads
						want = padded(want)
					}
					got := w.Receive()
					if i == 0 && device == "e1000e" && isFragment(got) {
						// QEMU before 8.0; see Open.
						if got = reassemble(t, w, got); bytes.Equal(got, c.wanted(0)[0]) {
							break
						}
					}
					if !bytes.Equal(got, want) {
						t.Fatalf("%v mss %d: frame %d of %d bytes\n%x\nwant\n%x", c.flow, c.mss, i, len(got), got[:min(len(got), 80)], want[:min(len(want), 80)])
					}
				}
			}
		})
	}
}

const (
	moreFragments  = 0x2000
	fragmentOffset = 0x1fff
)

// isFragment reports whether a frame is a part of an IPv4 packet.
func isFragment(b []byte) bool {
	return get16(b, 12) == typeIPv4 && get16(b, 20)&(moreFragments|fragmentOffset) != 0
}

// reassemble waits for the parts that follow the first one, in order, and returns the
// frame that they are parts of.
func reassemble(t *testing.T, w *qtest.Wire, first []byte) []byte {
	t.Helper()
	const at = nic.HeaderLen + ip4Min
	whole, last := bytes.Clone(first), first
	for get16(last, 20)&moreFragments != 0 {
		last = w.Receive()
		if off := int(get16(last, 20)&fragmentOffset) * 8; at+off != len(whole) || get16(last, 18) != get16(first, 18) {
			t.Fatalf("fragment at %d of packet %#x, have %d bytes", off, get16(last, 18), len(whole)-at)
		}
		whole = append(whole, last[at:]...)
	}
	put16(whole, 16, uint16(len(whole)-nic.HeaderLen))
	put16(whole, 20, get16(whole, 20)&^moreFragments)
	put16(whole, ip4Sum, 0)
	put16(whole, ip4Sum, ^sum(whole[nic.HeaderLen:at]))
	return whole
}

// TestQEMUFilter: QEMU's cards know groups as the driver says them. A frame to the card ends each
// round, as what is left out leaves no trace.
func TestQEMUFilter(t *testing.T) {
	for _, device := range []string{"e1000", "e1000-82545em", "e1000e"} {
		t.Run(device, func(t *testing.T) {
			d, w := openQEMU(t, device)
			for _, s := range filterSteps {
				d.SetGroups(s.groups, s.all)
				for _, to := range append(slices.Clone(everyAddress[1:]), testMAC) {
					w.Send(frameTo(to))
				}
				taken := map[[6]byte]bool{}
				for !taken[testMAC] {
					taken[[6]byte(qtest.Arrivals(d, 1)[0])] = true
				}
				for _, to := range everyAddress {
					if s.all && to == nextStation {
						continue // QEMU looks for stations in the table too
					}
					if wanted := to == testMAC || to == toAll || slices.Contains(s.want, to); taken[to] != wanted {
						t.Errorf("%s: a frame to %x is received: %t", s.name, to, !wanted)
					}
				}
			}
		})
	}
}
