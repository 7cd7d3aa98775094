package host

import (
	"encoding/binary"
	"math/rand/v2"
	"net/netip"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"time"
	"unsafe"

	"gvisor.dev/gvisor/pkg/tcpip/header"

	"github.com/sluice-os/sluice/drivers/nic"
	"github.com/sluice-os/sluice/kernel/options"
	"github.com/sluice-os/sluice/nexus/arena"
	"github.com/sluice-os/sluice/nexus/arena/arenatest"
	"github.com/sluice-os/sluice/nexus/netif"
	fronts "github.com/sluice-os/sluice/nexus/packet"
)

// summed looks at the frames of a domain's packets: each must have the right sum.
type summed struct {
	t            *testing.T
	parts        *fronts.Reassembler
	right, wrong atomic.Int64
}

// see takes a frame that leaves and reports whether it is nothing to look at.
func (s *summed) see(frame []byte, _ *nic.Packet) bool {
	if len(frame) < ethHeader || binary.BigEndian.Uint16(frame[12:]) != 0x0800 {
		return true
	}
	b := append([]byte(nil), frame[ethHeader:]...)
	in, why := fronts.Parse(b[:min(len(b), fronts.FrontMax)], len(b))
	if why != fronts.OK {
		s.t.Errorf("a packet leaves that is %v", why)
		return false
	}
	if in.Fragment() {
		if b, _ = s.parts.Add(0, b); b == nil {
			return false
		}
		in, _ = fronts.Parse(b[:min(len(b), fronts.FrontMax)], len(b))
	}
	var sum fronts.Sum
	sum.AddPseudo(&in.Src, &in.Dst, 4, in.Proto, in.Length-in.HeaderLen)
	sum.Add(b[in.HeaderLen:in.Length])
	if sum.Fold() == 0xffff {
		s.right.Add(1)
	} else {
		s.wrong.Add(1)
	}
	return false
}

// huntPayload sends packets of a domain whose payload another processor writes to. With naive,
// their sums were made before by who sends them. It returns how many left with a right sum, and
// with a wrong one.
func huntPayload(t *testing.T, proto byte, size, segment int, naive bool) (right, wrong int64) {
	if runtime.GOMAXPROCS(0) < 2 {
		defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(2))
	}
	local, remote := netip.MustParseAddr("192.0.2.1"), netip.MustParseAddr("192.0.2.2")
	near, far := newCable(noOffloads, noOffloads)
	s := startStack(t, near, Config{IPv4: options.IPv4{Address: netip.PrefixFrom(local, 24)}})
	startStack(t, far, Config{IPv4: options.IPv4{Address: netip.PrefixFrom(remote, 24)}})
	card := s.Port()
	until(t, "the neighbour is known", func() bool {
		known := make(chan bool, 1)
		card.Resolve(remote, func(ok bool) { known <- ok })
		return <-known
	})
	m := arenatest.New(t, 32<<10)
	payload, err := m.Alloc(arena.Buffers, 32<<10)
	if err == nil {
		err = m.Show(0, payload, arena.ReadWrite)
	}
	if err != nil {
		t.Fatal(err)
	}
	payload = payload[:size]
	domain := unsafe.Slice((*byte)(m.Domain()), size)
	var over atomic.Bool
	var done sync.WaitGroup
	done.Go(func() {
		r := rand.New(rand.NewPCG(1, 2))
		for !over.Load() {
			domain[r.IntN(size)]++
		}
	})
	defer func() { over.Store(true); done.Wait() }()

	transport := 8
	if proto == fronts.TCP {
		transport = 20
	}
	look := &summed{t: t}
	if look.parts, err = fronts.NewReassembler(fronts.Limits{}); err != nil {
		t.Fatal(err)
	}
	s.link.tx.mu.Lock()
	near.onTransmit = look.see
	s.link.tx.mu.Unlock()
	head := make([]byte, 20+transport)
	met := 0 // packets whose payload has changed while they were sent
	for end := time.Now().Add(patience); time.Now().Before(end); {
		if naive && look.wrong.Load() > 0 || !naive && look.right.Load()+look.wrong.Load() >= 500 && met >= 50 {
			break
		}
		header.IPv4(head).Encode(&header.IPv4Fields{TotalLength: uint16(len(head) + size), TTL: 64, Protocol: proto, SrcAddr: toAddress(local), DstAddr: toAddress(remote)})
		clear(head[20:])
		binary.BigEndian.PutUint16(head[20:], 5000)
		binary.BigEndian.PutUint16(head[22:], 9000)
		at := 6
		if proto == fronts.TCP {
			at = 16
			head[32], head[33] = 5<<4, fronts.ACK
		} else {
			binary.BigEndian.PutUint16(head[24:], uint16(8+size))
		}
		var sum fronts.Sum
		src, dst := fronts.Bytes(local), fronts.Bytes(remote)
		sum.AddPseudo(&src, &dst, 4, proto, transport+size)
		if naive {
			sum.Add(head[20:])
			sum.Add(payload)
			binary.BigEndian.PutUint16(head[20+at:], sum.ChecksumUDP())
		} else {
			binary.BigEndian.PutUint16(head[20+at:], sum.Fold())
		}
		o := &netif.Outgoing{
			Head: head, IP: 20, Transport: transport, Body: [][]byte{payload[:size/3], payload[size/3:]}, PayloadLen: size,
			Remote: remote, Sum: !naive, SumOffset: at, SegmentSize: segment,
		}
		before := fronts.SumOf(payload)
		if card.Output(o, &netif.Hop{}) == netif.Sent {
			card.Flush(nil)
		}
		if fronts.SumOf(payload) != before {
			met++
		}
	}
	if !naive && met < 50 {
		t.Errorf("the hunter has shot at %d packets", met)
	}
	return look.right.Load(), look.wrong.Load()
}

// TestCapability53PayloadThatChanges: what leaves has the sum of what leaves, whole, in
// segments and in fragments, whatever its sender writes meanwhile.
func TestCapability53PayloadThatChanges(t *testing.T) {
	for _, c := range []struct {
		name          string
		proto         byte
		size, segment int
	}{{"a datagram", fronts.UDP, 1400, 0}, {"in fragments", fronts.UDP, 5000, 0}, {"a segment", fronts.TCP, 1401, 0}, {"in segments", fronts.TCP, 20001, 1400}} {
		if right, wrong := huntPayload(t, c.proto, c.size, c.segment, false); wrong != 0 || right < 500 {
			t.Errorf("%s: %d sums are right, %d wrong", c.name, right, wrong)
		}
	}
}

// TestCapability53HunterCatches is the control: a sum that the sender made before is wrong for
// what leaves.
func TestCapability53HunterCatches(t *testing.T) {
	if right, wrong := huntPayload(t, fronts.UDP, 1400, 0, true); wrong == 0 {
		t.Errorf("%d sums are right, none wrong", right)
	}
}
