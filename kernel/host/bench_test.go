package host

// What the path costs. Two stacks share one process, so the numbers compare
// variants; they are not those of a machine with a card.

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net/netip"
	"testing"

	"gvisor.dev/gvisor/pkg/tcpip/header"

	"github.com/sluice-os/sluice/drivers/nic"
)

func BenchmarkTCP(b *testing.B) {
	for _, budget := range []int{MemoryBudgetMin, 64 << 20, MemoryBudgetMax} {
		for _, v := range []struct {
			name string
			a, b nic.Offloads
		}{
			{"none", noOffloads, noOffloads},
			{"checksum", sumOffloads, sumOffloads},
			{"tso+lro", allOffloads, allOffloads},
		} {
			b.Run(fmt.Sprintf("%s/%dMiB", v.name, budget>>20), func(b *testing.B) {
				pa, pb := newCable(v.a, v.b)
				ca, cb := static("192.0.2.1/24"), static("192.0.2.2/24")
				ca.MemoryBudget, cb.MemoryBudget = budget, budget
				p := &pair{a: startStack(b, pa, ca), b: startStack(b, pb, cb), pa: pa, pb: pb}
				until(b, "links up", func() bool { return ready(p.a) && ready(p.b) })
				c, err := p.a.dial(context.Background(), "tcp", netip.MustParseAddrPort("192.0.2.2:9"))
				if err != nil {
					b.Fatal(err)
				}
				defer c.Close()
				const block = 64 << 10
				buf := make([]byte, block)
				before := p.b.net.Stats().TCP.ValidSegmentsReceived.Value()
				frames := p.b.counters.get(rxFrames)
				notifies := p.a.counters.get(txNotifies)
				b.SetBytes(block)
				b.ReportAllocs()
				b.ResetTimer()
				for range b.N {
					if _, err := c.Write(buf); err != nil {
						b.Fatal(err)
					}
				}
				b.StopTimer()
				b.ReportMetric(float64(p.b.net.Stats().TCP.ValidSegmentsReceived.Value()-before)/float64(b.N), "segments/op")
				b.ReportMetric(float64(p.b.counters.get(rxFrames)-frames)/float64(b.N), "frames/op")
				b.ReportMetric(float64(p.a.counters.get(txNotifies)-notifies)/float64(b.N), "notifies/op")
			})
		}
	}
}

// BenchmarkHTTPDownload is /bytes: the sender is the server.
func BenchmarkHTTPDownload(b *testing.B) {
	p := newPair(b, allOffloads, allOffloads)
	const size = 16 << 20
	b.SetBytes(size)
	b.ReportAllocs()
	for range b.N {
		r, err := p.client().Get(fmt.Sprintf("http://192.0.2.2/bytes?n=%d", size))
		if err != nil {
			b.Fatal(err)
		}
		if n, err := io.Copy(io.Discard, r.Body); n != size || err != nil {
			b.Fatal(n, err)
		}
		r.Body.Close()
	}
}

// BenchmarkUDPEcho is the whole way of a 64-byte datagram through the poller.
func BenchmarkUDPEcho(b *testing.B) {
	for name, o := range map[string]nic.Offloads{"none": noOffloads, "checksum": sumOffloads} {
		b.Run(name, func(b *testing.B) {
			p, l, far := newBench(b, o)
			dev := l.dev.(*port)
			frame := udpFrame(echoPort, make([]byte, 64))
			batch := nic.NewBatch(pollBudget)
			b.ReportAllocs()
			for i := 0; i < b.N; i += 32 {
				for range 32 {
					dev.arrive(frame, o.RxChecksum)
				}
				p.turn()
				drainPort(far, batch)
			}
		})
	}
}

// BenchmarkInject measures a frame on its way to gVisor up to the point where
// it is dropped for having no connection, alone and merged by the dozen.
func BenchmarkInject(b *testing.B) {
	payload := make([]byte, 1448)
	for _, count := range []int{1, 32} {
		b.Run(fmt.Sprintf("run of %d", count), func(b *testing.B) {
			p, l, far := newBench(b, sumOffloads)
			dev := l.dev.(*port)
			var frames [][]byte
			for i := range count {
				f := tcpFrame(1000+uint32(i*len(payload)), payload, header.TCPFlagAck)
				// Not our address: gVisor drops it in the IP layer.
				f[ethHeader+19] = 99
				fixIPSum(f)
				frames = append(frames, bytes.Clone(f))
			}
			batch := nic.NewBatch(pollBudget)
			b.SetBytes(int64(len(payload)))
			b.ReportAllocs()
			for i := 0; i < b.N; i += count {
				for _, f := range frames {
					dev.arrive(f, true)
				}
				p.turn()
				drainPort(far, batch)
			}
		})
	}
}
