//go:build linux

package rng_test

import (
	"bytes"
	"testing"
	"time"

	"github.com/sluice-os/sluice/drivers/internal/qtest"
	bus "github.com/sluice-os/sluice/drivers/pci"
	virtiopci "github.com/sluice-os/sluice/drivers/virtio/pci"
	"github.com/sluice-os/sluice/drivers/virtio/rng"
)

// TestQEMU reads from QEMU's own entropy device.
func TestQEMU(t *testing.T) {
	m := qtest.Start(t, "q35", "-device", "virtio-rng-pci,disable-legacy=on")
	functions, err := bus.Enumerate(bus.NewPorts(m))
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range functions {
		if !virtiopci.IsDevice(f) {
			continue
		}
		f.Write32(0x20, 0xe0100000) // the firmware's part
		tr, err := virtiopci.New(f, m.Map, virtiopci.Interrupts{})
		if err != nil {
			t.Fatal(err)
		}
		deadline := time.Now().Add(5 * time.Minute)
		d, err := rng.Open(tr, m.DMA(), func() bool { return time.Now().Before(deadline) })
		if err != nil {
			t.Fatal(err)
		}
		p, q := make([]byte, 1000), make([]byte, 1000)
		for _, b := range [][]byte{p, q} {
			if n, err := d.Read(b); n != len(b) || err != nil {
				t.Fatalf("read %d: %v", n, err)
			}
		}
		if bytes.Equal(p, q) || bytes.Equal(p[:500], p[500:]) {
			t.Error("the device repeats itself")
		}
		return
	}
	t.Fatal("no entropy device on the bus")
}
