package socket

import (
	"bytes"
	"math/rand"
	"net/netip"
	"testing"
)

// TestMailboxModel compares the mailbox with a list, over random calls.
func TestMailboxModel(t *testing.T) {
	type entry struct {
		from netip.AddrPort
		data []byte
	}
	random := rand.New(rand.NewSource(1))
	var (
		m    mailbox
		list []entry
		used int
		long int
	)
	const limit = 40 << 10
	m.setLimit(limit)
	for i := range 50_000 {
		if random.Intn(5) < 3-i/1000%2*2 { // fills and empties in turn
			data := make([]byte, random.Intn(2000))
			if random.Intn(20) == 0 {
				data = make([]byte, limit-1000+random.Intn(2000)) // some are longer than the limit
			}
			random.Read(data)
			from := netip.AddrPortFrom(netip.AddrFrom4([4]byte{192, 0, 2, byte(random.Int())}), uint16(random.Int()))
			if random.Intn(2) == 0 {
				from = netip.AddrPortFrom(netip.AddrFrom16([16]byte{0x20, 1, 15: byte(random.Int())}), uint16(random.Int()))
			}
			cut := random.Intn(len(data) + 1)
			empty, why := m.put(&Datagram{From: from, Pieces: [][]byte{data[:cut], data[cut:]}, Length: len(data)})
			ok := why == kept
			if !ok && why != lostNoRoom {
				t.Fatalf("lost for reason %d", why)
			}
			if empty != (len(list) == 0) || ok != (used == 0 || used+recordSize+len(data) <= limit) {
				t.Fatalf("put of %d bytes beside %d: %v, %v", len(data), used, empty, ok)
			}
			if ok && recordSize+len(data) > limit {
				long++
			}
			if ok {
				list = append(list, entry{from, data})
				used += recordSize + len(data)
			}
			continue
		}
		peek := random.Intn(3) == 0
		b := make([]byte, random.Intn(2000))
		length, some := m.next()
		n, r, ok := m.take(b, peek)
		if ok != (len(list) > 0) || some != ok {
			t.Fatalf("take of %d entries: %v", len(list), ok)
		}
		if !ok {
			continue
		}
		want := list[0]
		if length != len(want.data) || r.length != length || r.from != want.from || !bytes.Equal(b[:n], want.data[:min(len(b), length)]) {
			t.Fatalf("take: %d of %d bytes from %v, want %d from %v", n, r.length, r.from, len(want.data), want.from)
		}
		if !peek {
			used -= recordSize + length
			list = list[1:]
		}
	}
	if long == 0 {
		t.Error("no datagram was longer than the limit")
	}
	if len(m.bytes) > 4*limit {
		t.Errorf("the ring grew to %d bytes", len(m.bytes))
	}
}

// TestMailboxAllocatesNothing once it has its size.
func TestMailboxAllocatesNothing(t *testing.T) {
	var m mailbox
	m.setLimit(1 << 16)
	in := &Datagram{From: netip.MustParseAddrPort("192.0.2.1:7"), Pieces: [][]byte{make([]byte, 64)}, Length: 64}
	b := make([]byte, 64)
	if n := testing.AllocsPerRun(1000, func() {
		for range 16 {
			m.put(in)
		}
		for range 16 {
			m.take(b, false)
		}
	}); n > 0.1 {
		t.Errorf("%v allocations", n)
	}
}

// TestMailboxGivesItsMemoryBack: an empty one holds next to nothing, and one that fills
// again and again has it from where the last one left it.
func TestMailboxGivesItsMemoryBack(t *testing.T) {
	var m mailbox
	m.setLimit(1 << 20)
	in := &Datagram{From: netip.MustParseAddrPort("192.0.2.1:7"), Pieces: [][]byte{make([]byte, 1000)}, Length: 1000}
	b := make([]byte, 1000)
	burst := func() {
		for range 500 {
			m.put(in)
		}
		if len(m.bytes) < 500*1000 {
			t.Errorf("%d bytes hold the burst", len(m.bytes))
		}
		for range 500 {
			if n, _, ok := m.take(b, false); n != 1000 || !ok {
				t.Errorf("%d bytes, %v", n, ok)
			}
		}
	}
	burst()
	if len(m.bytes) > mailboxLeast {
		t.Errorf("%d bytes are held by an empty mailbox", len(m.bytes))
	}
	// Without a store it would be 16: eight sizes, two each. The race detector loses a
	// quarter of what is stored.
	if n := testing.AllocsPerRun(100, burst); n > 8 {
		t.Errorf("%v allocations a burst", n)
	}
}

// TestMailboxTakesBackWhatIsNoDatagram: what proves not to be one, after the copy, leaves
// nothing behind.
func TestMailboxTakesBackWhatIsNoDatagram(t *testing.T) {
	var m mailbox
	m.setLimit(1 << 16)
	valid := true
	in := &Datagram{
		From: netip.MustParseAddrPort("192.0.2.1:7"), Pieces: [][]byte{[]byte("good")}, Length: 4,
		Valid: func() bool { return valid },
	}
	if _, why := m.put(in); why != kept {
		t.Fatal("a good one was not taken")
	}
	valid = false
	if empty, why := m.put(in); why != lostDefunct || empty {
		t.Error("a bad one was taken")
	}
	b := make([]byte, 8)
	if n, _, ok := m.take(b, false); !ok || string(b[:n]) != "good" {
		t.Errorf("%q, %v", b[:n], ok)
	}
	if _, some := m.next(); some {
		t.Error("something is left of the bad one")
	}
}
