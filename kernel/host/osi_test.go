package host

import (
	"bytes"
	"encoding/binary"
	"testing"
	"time"

	"github.com/sluice-os/sluice/drivers/nic"
)

// osiFrame is a frame with a PDU; length is what its length field says.
func osiFrame(to macAddr, length int, pdu []byte) []byte {
	f := append(append([]byte(nil), to[:]...), theirMAC[:]...)
	f = binary.BigEndian.AppendUint16(f, uint16(length))
	return append(append(f, 0xfe, 0xfe, 0x03), pdu...)
}

// TestOSI: PDUs to a group or to the card are whose they are, without the padding of short frames;
// others are dropped and counted as before. What is sent is a frame of IEEE 802.3, and not longer
// than the link takes.
func TestOSI(t *testing.T) {
	s, p, far := newBenchStack(t, noOffloads)
	group, others := macAddr{0x01, 0x80, 0xc2, 0, 0, 0x14}, macAddr{0x01, 0x80, 0xc2, 0, 0, 0x15}
	var got [][]byte
	o := s.OSI(func(from [6]byte, pdu []byte) {
		if from != theirMAC {
			t.Errorf("from %x", from)
		}
		got = append(got, bytes.Clone(pdu))
	}, group)
	pdu := bytes.Repeat([]byte{0x83, 7, 9}, 499) // 1497 bytes
	long := append(bytes.Clone(pdu), make([]byte, 36)...)
	for _, tt := range []struct {
		name  string
		frame []byte
		want  []byte
		drop  counter
	}{
		{"a group's", osiFrame(group, 1500, pdu), pdu, 0},
		{"the card's", osiFrame(ourMAC, 103, pdu[:100]), pdu[:100], 0},
		{"padded", append(osiFrame(group, 10, pdu[:7]), make([]byte, 36)...), pdu[:7], 0},
		{"by its EtherType", osiFrame(group, 0x8870, pdu), pdu, 0},
		{"longer than the standard has it", osiFrame(group, 1501, long[:1498]), long[:1498], 0},
		{"the longest", osiFrame(group, 0x5ff, long[:1532]), long[:1532], 0},
		{"an EtherType", osiFrame(group, 0x600, long), nil, rxDropEthertype},
		{"nothing in it", osiFrame(group, 3, nil), []byte{}, 0},
		{"another group's", osiFrame(others, 103, pdu[:100]), nil, rxDropLLC},
		{"longer than it is", osiFrame(group, 104, pdu[:100]), nil, rxDropLLC},
		{"too short", osiFrame(group, 2, pdu[:100]), nil, rxDropLLC},
		{"another LLC", append(append(osiFrame(group, 103, nil)[:14], 0x42, 0x42, 3), pdu[:100]...), nil, rxDropLLC},
		{"cut", osiFrame(group, 3, nil)[:16], nil, rxDropLLC},
	} {
		got = nil
		before := s.counters.get(tt.drop)
		s.link.dev.(*port).arrive(tt.frame, false)
		p.turn()
		if tt.want == nil && len(got) != 0 || tt.want != nil && (len(got) != 1 || !bytes.Equal(got[0], tt.want)) {
			t.Errorf("%s: %d taken", tt.name, len(got))
		}
		if n := s.counters.get(tt.drop) - before; tt.drop != 0 && n != 1 {
			t.Errorf("%s: %d drops are counted", tt.name, n)
		}
	}
	batch := nic.NewBatch(pollBudget)
	for _, n := range []int{1, 100, 1497} {
		o.Send(group, pdu[:n])
		var frame []byte
		for k := far.Receive(batch); k > 0; k = far.Receive(batch) {
			frame = bytes.Clone(batch[k-1].Buffers[0].Bytes[:batch[k-1].Len])
			far.Release(batch[:k])
		}
		want := osiFrame(group, n+3, pdu[:n])
		copy(want[6:], ourMAC[:])
		if len(frame) < len(want) || !bytes.Equal(frame[:len(want)], want) {
			t.Errorf("%d bytes: % x", n, frame[:min(len(frame), 24)])
		}
	}
	o.Send(group, append(pdu, 0))
	if s.counters.get(txDropOSI) != 1 || far.Receive(batch) != 0 {
		t.Error("a PDU that is too long is sent")
	}
}

// TestOSIUnderLoad: while packets in transit keep the ring full, a PDU has the next place that comes
// free; too many are dropped and counted, and those that wait go with the link.
func TestOSIUnderLoad(t *testing.T) {
	s, _, far := newBenchStack(t, noOffloads)
	group := macAddr{0x01, 0x80, 0xc2, 0, 0, 0x14}
	o := s.OSI(func([6]byte, []byte) {}, group)
	card := s.Port().(*cardPort)
	s.link.tx.queue.memory.open()                     // as a forwarder does
	s.link.tx.now = func() time.Duration { return 0 } // nothing is dropped for having waited
	load := func() {
		for range cableSlots + 50 {
			p := outgoingOf(udpFrame(9, make([]byte, 1000))[ethHeader:], ipv4Header)
			card.offerTransit(&p, theirMAC)
		}
	}
	batch := nic.NewBatch(1)
	next := func() (frame []byte) {
		t.Helper()
		if far.Receive(batch) == 0 {
			t.Fatal("nothing comes")
		}
		frame = bytes.Clone(batch[0].Buffers[0].Bytes)
		far.Release(batch)
		return frame
	}
	load()
	if len(s.link.dev.(*port).free) != 0 || s.link.tx.queue.length() == 0 {
		t.Fatal("the ring has room, or nothing waits")
	}
	for n := range rawMax + 3 {
		o.Send(group, []byte{0x83, byte(n)})
	}
	if n := s.counters.get(txDropNoBuffer); n != 3 {
		t.Errorf("%d are dropped, want 3", n)
	}
	// Each frame that leaves makes one place, for which the load asks too.
	for range cableSlots {
		if f := next(); macAddr(f[:6]) == group {
			t.Fatal("a PDU was in the ring")
		}
		load()
	}
	for n := range rawMax {
		if f := next(); macAddr(f[:6]) != group || f[osiHeader+1] != byte(n) {
			t.Fatalf("frame %d is % x, want a PDU", n, f[:24])
		}
	}
	if f := next(); macAddr(f[:6]) == group {
		t.Error("more than was sent")
	}
	load()
	o.Send(group, []byte{0x83})
	before := s.counters.get(txDropLinkDown)
	waiting := s.link.tx.queue.length()
	s.link.tx.discard()
	if n := s.counters.get(txDropLinkDown) - before; n != uint64(waiting)+1 || len(s.link.tx.raw) != 0 {
		t.Errorf("%d go with the link, want %d", n, waiting+1)
	}
}
