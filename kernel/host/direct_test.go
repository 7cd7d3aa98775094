package host

import (
	"bytes"
	"encoding/binary"
	"testing"

	"github.com/sluice-os/sluice/drivers/nic"
	"github.com/sluice-os/sluice/nexus/netif"
)

// frames is a netif.FrameReceiver for one EtherType.
type frames struct {
	etherType      uint16
	got            [][]byte
	flushed, rooms int
	pauses         int // how often there is more to send
}

func (f *frames) Wants(etherType uint16) bool { return etherType == f.etherType }
func (f *frames) Frame(_ uint16, length int, pieces [][]byte) {
	f.got = append(f.got, bytes.Join(pieces, nil)[:length])
}
func (f *frames) Flush() { f.flushed++ }
func (f *frames) Room() (more bool) {
	f.rooms++
	f.pauses--
	return f.pauses >= 0
}

// TestNetifDirect (netifdirect): frames of an EtherType that somebody wants are his, as they
// arrived, if they are for this card; the rest is dropped as it is without him. What he sends
// comes from the card.
func TestNetifDirect(t *testing.T) {
	const lldp = 0x88cc
	s, p, far := newBenchStack(t, noOffloads)
	r := &frames{etherType: lldp}
	var card netif.FramePort
	s.Frames(func(c netif.FramePort) netif.FrameReceiver { card = c; return r })
	make := func(to macAddr, etherType uint16, n int) []byte {
		f := append(append([]byte(nil), to[:]...), theirMAC[:]...)
		return append(binary.BigEndian.AppendUint16(f, etherType), bytes.Repeat([]byte{7}, n)...)
	}
	group, others := macAddr{0x01, 0x80, 0xc2, 0, 0, 0x0e}, macAddr{2, 9, 9, 9, 9, 9}
	for _, tt := range []struct {
		name  string
		frame []byte
		taken bool
		drop  counter
	}{
		{"to a group", make(group, lldp, 100), true, 0},
		{"to the card", make(ourMAC, lldp, 1500), true, 0},
		{"short", make(ourMAC, lldp, 0), true, 0},
		{"to another card", make(others, lldp, 100), false, rxDropOtherHost},
		{"another EtherType", make(ourMAC, lldp+1, 100), false, rxDropEthertype},
		{"a length", make(ourMAC, 100, 100), false, rxDropLLC},
		{"a datagram", udpFrame(4000, nil), false, 0},
	} {
		r.got = nil
		before := s.counters.get(tt.drop)
		s.link.dev.(*port).arrive(tt.frame, false)
		p.turn()
		if taken := len(r.got) == 1 && bytes.Equal(r.got[0], tt.frame); taken != tt.taken {
			t.Errorf("%s: taken is %v", tt.name, taken)
		}
		if n := s.counters.get(tt.drop) - before; tt.drop != 0 && n != 1 {
			t.Errorf("%s: %d drops are counted", tt.name, n)
		}
	}
	if r.flushed == 0 {
		t.Error("nothing is flushed")
	}
	// Who has more to send is asked again when others have run.
	p.paused, r.pauses = true, 2
	if turns := [3]bool{p.turn(), p.turn(), p.turn()}; turns != [3]bool{true, true, false} {
		t.Errorf("the poller goes on: %v", turns)
	}

	if card.Address() != [6]byte(ourMAC) || card.MTU() != 1500 {
		t.Errorf("the card has %x, %d", card.Address(), card.MTU())
	}
	batch := nic.NewBatch(pollBudget)
	// received returns the frames of the EtherType that have arrived.
	received := func() (list [][]byte) {
		for n := far.Receive(batch); n > 0; n = far.Receive(batch) {
			for _, pkt := range batch[:n] {
				if f := pkt.Buffers[0].Bytes[:pkt.Len]; binary.BigEndian.Uint16(f[12:]) == lldp {
					list = append(list, bytes.Clone(f))
				}
			}
			far.Release(batch[:n])
		}
		return list
	}
	body := bytes.Repeat([]byte("0123456789"), 150)
	for _, n := range []int{0, 1, 46, 1499, 1500} {
		if res := card.Send(&netif.Outgoing{EtherType: lldp, PayloadLen: n, Body: [][]byte{body[:n/3], body[n/3 : n]}}, group); res != netif.Sent {
			t.Fatalf("%d bytes: %d", n, res)
		}
		card.Flush(nil)
		list := received()
		if len(list) != 1 {
			t.Fatalf("%d frames", len(list))
		}
		if f := list[0]; len(f) < 14+n || macAddr(f) != group || macAddr(f[6:]) != ourMAC || !bytes.Equal(f[14:14+n], body[:n]) {
			t.Errorf("%d bytes: % x", n, f[:20])
		}
	}
	// Without room it is full, and nothing is lost or sent twice.
	sent, arrived, backlog := 0, 0, netif.Backlog{}
	for {
		o := &netif.Outgoing{EtherType: lldp, PayloadLen: 10, Body: [][]byte{body[:10]}, Channel: 9, Backlog: &backlog}
		if card.Send(o, group) != netif.Sent {
			break
		}
		if sent++; sent > 10000 {
			t.Fatal("the card is never full")
		}
	}
	r.rooms = 0
	card.Flush(nil)
	for list := received(); len(list) > 0; list = received() {
		arrived += len(list)
		p.turn()
	}
	if r.rooms == 0 || backlog.Held != 0 {
		t.Errorf("room is told %d times, %d pieces are held", r.rooms, backlog.Held)
	}
	if arrived != sent || sent == 0 {
		t.Errorf("%d frames were sent, %d arrived", sent, arrived)
	}
}
