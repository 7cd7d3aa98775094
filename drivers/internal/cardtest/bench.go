// This file owns the benchmarks.

package cardtest

import (
	"strconv"
	"testing"

	"github.com/sluice-os/sluice/drivers/nic"
)

// batchLen is how many frames the benchmarks move with a call.
const batchLen = 16

// BenchmarkReceive measures how long d takes to receive and release a frame; arrive, which
// is not measured, has the card deliver one.
func BenchmarkReceive(b *testing.B, d nic.Device, arrive func()) {
	batch := nic.NewBatch(batchLen)
	b.ReportAllocs()
	b.ResetTimer()
	for i := 0; i < b.N; i += len(batch) {
		b.StopTimer()
		for range batch {
			arrive()
		}
		b.StartTimer()
		n := d.Receive(batch)
		d.Release(batch[:n])
		if n != len(batch) {
			b.Fatal("frames are missing")
		}
	}
}

// BenchmarkTransmit measures, for each length in bytes, how long the device that open
// returns takes to reserve and transmit a frame; finish, which is not measured, has the
// card send all that is queued.
func BenchmarkTransmit(b *testing.B, lengths []int, open func(b *testing.B) (d nic.Device, finish func())) {
	for _, n := range lengths {
		b.Run(strconv.Itoa(n), func(b *testing.B) {
			d, finish := open(b)
			batch := nic.NewBatch(batchLen)
			b.ReportAllocs()
			b.ResetTimer()
			for i := 0; i < b.N; i += len(batch) {
				for j := range batch {
					if !d.Reserve(&batch[j], n) {
						b.Fatal("no room")
					}
				}
				d.Transmit(batch)
				b.StopTimer()
				finish()
				b.StartTimer()
			}
		})
	}
}
