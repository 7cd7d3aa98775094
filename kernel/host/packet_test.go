package host

import (
	"bytes"
	"testing"
	"time"

	"gvisor.dev/gvisor/pkg/buffer"
	"gvisor.dev/gvisor/pkg/tcpip/stack"

	"github.com/sluice-os/sluice/drivers/nic"
)

func TestPacketsOfAllLengths(t *testing.T) {
	all := make([]byte, 0x10000)
	Pattern(all, 0)
	for n := 1; n <= 0xffff; n += 1 + n/100 {
		var in nic.Packet
		for off := 0; off < n; off += 1999 {
			in.Buffers = append(in.Buffers, nic.Buffer{Bytes: all[off:min(off+1999, n)]})
		}
		p := newPacket(n)
		half := n / 2
		p.append(&in, 0, half)
		p.append(&in, half, n)
		p.finish()
		if got := p.data.Flatten(); !bytes.Equal(got, all[:n]) {
			t.Fatalf("%d bytes became %d others", n, len(got))
		}
		if len(p.head()) < min(n, viewMin) {
			t.Fatalf("of %d bytes the first piece has %d", n, len(p.head()))
		}
		memory, views := 0, p.data.AsViewList()
		for v := views.Front(); v != nil; v = v.Next() {
			memory += v.Capacity()
		}
		if n > viewMin && memory > n+n/8+viewMin/2 {
			t.Fatalf("%d bytes take %d", n, memory)
		}
		p.data.Release()
	}
}

// TestQueuedPacketsAreCounted queues a short packet out of a long piece of
// memory, and one that fills it.
func TestQueuedPacketsAreCounted(t *testing.T) {
	const headers = ipv4Header + tcpHeader
	for _, size := range []int{1000, chunkMax - 2*headers} {
		near, _ := newCable(noOffloads, noOffloads)
		near.free = nil // the ring is full
		tx := newTransmitter(near, noOffloads, limitsFor(0), &counters{}, func() time.Duration { return 0 })
		long := buffer.NewView(chunkMax)
		data := make([]byte, size)
		Pattern(data, 0)
		long.Write(data)
		pkt := stack.NewPacketBuffer(stack.PacketBufferOptions{ReserveHeaderBytes: headers, Payload: buffer.MakeWithView(long)})
		copy(pkt.TransportHeader().Push(tcpHeader), "transport")
		copy(pkt.NetworkHeader().Push(ipv4Header), "network")
		pkt.GSOOptions = stack.GSO{Type: stack.GSOTCPv4, MSS: 99}
		want := bytes.Join(pkt.AsSlices(), nil)
		if err := tx.send(pkt); err != nil {
			t.Fatal(err)
		}
		pkt.DecRef()

		q := &tx.queue.slots[0].host
		memory := 0
		views, _ := q.pkt.AsViewList()
		for v := views.Front(); v != nil; v = v.Next() {
			memory += v.Capacity()
		}
		if counted := tx.queue.bytes; memory > counted || counted > 2*(size+headers)+packetBytes {
			t.Errorf("a packet of %d bytes takes %d, counted are %d", size+headers, memory, counted)
		}
		if got := bytes.Join(q.pkt.AsSlices(), nil); !bytes.Equal(got, want) || q.pkt.GSOOptions.MSS != 99 ||
			!bytes.HasPrefix(q.pkt.NetworkHeader().Slice(), []byte("network")) ||
			!bytes.HasPrefix(q.pkt.TransportHeader().Slice(), []byte("transport")) {
			t.Errorf("a packet of %d bytes is not what was sent", size+headers)
		}
		tx.discard()
		if tx.queue.bytes != 0 || tx.queue.length() != 0 {
			t.Errorf("an empty queue of %d bytes", tx.queue.bytes)
		}
	}
}
