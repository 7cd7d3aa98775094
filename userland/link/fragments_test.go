package link

import (
	"bytes"
	"math/rand"
	"slices"
	"testing"

	"gvisor.dev/gvisor/pkg/buffer"
	"gvisor.dev/gvisor/pkg/tcpip/header"
	"gvisor.dev/gvisor/pkg/tcpip/stack"

	"github.com/sluice-os/sluice/nexus/arena"
	"github.com/sluice-os/sluice/nexus/packet"
)

// cut makes the fragments of a packet with n bytes of payload, of a version, as gVisor
// hands them over.
func cut(version byte, id uint32, n int) (whole []byte, parts []*stack.PacketBuffer) {
	head := make([]byte, header.IPv4MinimumSize)
	head[0], head[1], head[8], head[9] = 0x45, 0x10, 9, 17 // a type of service and a TTL
	copy(head[12:], []byte{192, 0, 2, 1, 192, 0, 2, 2})
	if version == 6 {
		head = make([]byte, header.IPv6MinimumSize)
		head[0], head[1], head[6], head[7] = 0x61, 0, 17, 9
		head[8], head[24] = 0x20, 0x20
	}
	data := make([]byte, n)
	rand.New(rand.NewSource(int64(id))).Read(data)
	step := packet.FragmentPayload(version, 1500)
	for offset := 0; offset < n; offset += step {
		m := min(step, n-offset)
		var room [packet.FragmentHeaderMax]byte
		h := packet.Fragment(room[:], head, id, offset, m, offset+m < n)
		p := stack.NewPacketBuffer(stack.PacketBufferOptions{ReserveHeaderBytes: len(h), Payload: buffer.MakeWithData(data[offset : offset+m])})
		copy(p.NetworkHeader().Push(len(h)), h)
		p.TransportProtocolNumber = header.UDPProtocolNumber
		parts = append(parts, p)
	}
	if version == 4 {
		header.IPv4(head).SetTotalLength(uint16(len(head) + n))
		header.IPv4(head).SetID(uint16(id))
		header.IPv4(head).SetChecksum(^header.IPv4(head).CalculateChecksum())
	} else {
		header.IPv6(head).SetPayloadLength(uint16(n))
	}
	return append(head, data...), parts
}

func flat(p *stack.PacketBuffer) []byte {
	b := p.ToBuffer()
	defer b.Release()
	return b.Flatten()
}

// TestFragmentsAreJoined: the fragments of several datagrams, mixed, become the datagrams
// that they were; what is not a fragment is not touched.
func TestFragmentsAreJoined(t *testing.T) {
	e := &Endpoint{}
	var want [][]byte
	var trains [][]*stack.PacketBuffer
	for i := range 6 {
		whole, parts := cut([]byte{4, 6}[i%2], uint32(100+i), []int{1600, 65000, 4000, 3000, 8008, 1501}[i])
		want, trains = append(want, whole), append(trains, parts)
	}
	got := map[int]bool{}
	rng := rand.New(rand.NewSource(1))
	for left := len(trains); left > 0; {
		i := rng.Intn(len(trains))
		if len(trains[i]) == 0 {
			continue
		}
		whole, fragment := e.join(trains[i][0])
		if !fragment {
			t.Fatal("a fragment is none")
		}
		if trains[i] = trains[i][1:]; (whole != nil) != (len(trains[i]) == 0) {
			t.Fatalf("datagram %d: whole %v, %d are missing", i, whole != nil, len(trains[i]))
		}
		if whole != nil {
			if !bytes.Equal(flat(whole), want[i]) || whole.TransportProtocolNumber != header.UDPProtocolNumber {
				t.Errorf("datagram %d is another", i)
			}
			whole.DecRef()
			got[i] = true
			left--
		}
	}
	if len(got) != len(want) || len(e.parts) != 0 || e.counts.Refused != [RefusalCount]uint64{} {
		t.Errorf("%d datagrams, %d are left, %d refused", len(got), len(e.parts), e.counts.Refused)
	}
	for _, version := range []byte{4, 6} {
		_, parts := cut(version, 7, 100)
		if _, fragment := e.join(parts[0]); version == 4 && fragment {
			t.Error("a packet is a fragment")
		}
	}
}

// TestFragmentsThatDoNotFit: what is missing or comes out of order is given up, and no
// more are kept than may be.
func TestFragmentsThatDoNotFit(t *testing.T) {
	e := &Endpoint{}
	join := func(parts ...*stack.PacketBuffer) (n int) {
		for _, p := range parts {
			if whole, _ := e.join(p); whole != nil {
				whole.DecRef()
				n++
			}
		}
		return n
	}
	_, p := cut(4, 1, 6000)
	if join(p...) != 1 {
		t.Fatal("the control did not become whole")
	}
	for name, list := range map[string][]*stack.PacketBuffer{
		"without the first": p[1:], "without the second": slices.Delete(slices.Clone(p), 1, 2),
		"turned": {p[0], p[2], p[1], p[3], p[4]}, "twice": {p[0], p[1], p[1], p[2], p[3], p[4]},
	} {
		before := e.counts.Refused[RefusedPart]
		if join(list...) != 0 || len(e.parts) != 0 || e.counts.Refused[RefusedPart] == before {
			t.Errorf("%s: %d are kept, %d refused", name, len(e.parts), e.counts.Refused[RefusedPart]-before)
		}
	}
	if join(p[0], p[1], p[0], p[1], p[2], p[3], p[4]) != 1 {
		t.Error("one that begins again did not become whole")
	}
	for i := range uint32(100) {
		_, p := cut(6, i, 3000)
		join(p[0])
	}
	if len(e.parts) != partsMax {
		t.Errorf("%d are kept", len(e.parts))
	}
	_, last := cut(6, 99, 3000)
	if join(last[1:]...) != 1 {
		t.Error("the last one was forgotten")
	}
}

// TestEveryRefusal: what is not taken counts by why, each under a name of its own.
func TestEveryRefusal(t *testing.T) {
	a, _ := newEnds(t, arena.Params{Large: 64})
	counts := func() map[string]uint64 {
		all := map[string]uint64{}
		c := a.link.Counts()
		c.Each(func(name string, n uint64) {
			if _, twice := all[name]; name == "" || twice {
				t.Errorf("two counters are called %q", name)
			}
			all[name] = n
		})
		return all
	}
	write := func(parts ...*stack.PacketBuffer) {
		for _, p := range parts {
			var list stack.PacketBufferList
			list.PushBack(p)
			a.link.WritePackets(list)
			p.DecRef()
		}
	}
	segments := func(n int) {
		for range n {
			p := stack.NewPacketBuffer(stack.PacketBufferOptions{ReserveHeaderBytes: header.IPv4MinimumSize + header.TCPMinimumSize})
			p.TransportHeader().Push(header.TCPMinimumSize)
			p.TransportProtocolNumber = header.TCPProtocolNumber
			p.NetworkHeader().Push(header.IPv4MinimumSize)
			write(p)
		}
	}
	datagrams := func(n int) {
		for i := range n {
			_, p := cut(4, uint32(i), 100)
			write(p...)
		}
	}
	a.mu.Lock()
	a.full = true
	a.mu.Unlock()
	for _, tt := range []struct {
		name string
		do   func()
	}{
		{"refused_long", func() { _, p := cut(6, 1, 65520); write(p...) }},
		{"refused_part", func() { _, p := cut(4, 1, 3000); write(p[1]) }},
		{"refused_bare", func() { segments(2 * waitingMax) }},
		{"refused_full", func() { datagrams(2 * waitingMax) }},
	} {
		before := counts()
		for tries := 0; tries < 10 && counts()[tt.name] == before[tt.name]; tries++ {
			tt.do()
		}
		for name, n := range counts() {
			if refused := len(name) > 8 && name[:8] == "refused_"; refused && (n != before[name]) != (name == tt.name) {
				t.Errorf("%s: %s is %d, was %d", tt.name, name, n, before[name])
			}
		}
	}
}
