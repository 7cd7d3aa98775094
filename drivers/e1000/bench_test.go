package e1000

import (
	"testing"

	"github.com/sluice-os/sluice/drivers/internal/cardtest"
	"github.com/sluice-os/sluice/drivers/nic"
)

func BenchmarkReceive(b *testing.B) {
	c := newCard(&models[2])
	d := mustOpen(b, c, Config{})
	frame := cardtest.Frame(1514, 1)
	cardtest.BenchmarkReceive(b, d, func() { c.deliver(frame) })
}

func BenchmarkTransmit(b *testing.B) {
	cardtest.BenchmarkTransmit(b, []int{64, 1514, 60000}, func(b *testing.B) (nic.Device, func()) {
		c := newCard(&models[2])
		return mustOpen(b, c, Config{}), c.transmitQuietly
	})
}
