package host

// The tests of transfers; names in comments are those of skywalk 7.2.

import (
	"encoding/binary"
	"hash/crc32"
	"maps"
	"testing"

	"gvisor.dev/gvisor/pkg/tcpip/header"

	"github.com/sluice-os/sluice/drivers/nic"
	"github.com/sluice-os/sluice/nexus/abi"
	"github.com/sluice-os/sluice/nexus/arena"
	"github.com/sluice-os/sluice/nexus/arena/arenatest"
	user "github.com/sluice-os/sluice/userland/channel"
)

// small is an arena in which what arrives and what is sent must share little.
func small() arena.Params {
	p := arena.Params{Packets: 64, Buffers: 64, Advisory: 64}
	p.Slots = [abi.RingKinds]int{abi.RingRx: 32, abi.RingTx: 16, abi.RingAlloc: 16, abi.RingFree: 16}
	return p
}

// fcs is a frame's check sequence (IEEE 802.3, 3.2.9).
func fcs(frame []byte) []byte {
	return binary.LittleEndian.AppendUint32(nil, crc32.ChecksumIEEE(frame))
}

// TestXferUDP: 250,000 datagrams in batches of 8, half of them each way, each once, in order
// and as it was sent (xferudp; xferudpn on a card that sums; xferudpnsp with little memory, of
// which what arrives and what is sent have a part each). What a link has behind the packet is
// not the domain's (xferudpfcs, xferudpnfcs, xferudptrailer, xferudpntrailer). Longer ones
// than the link takes go in fragments (xferudplong, xferudplongn).
func TestXferUDP(t *testing.T) {
	long := func(i int) int { return 1473 + i*7919%4000 }
	garbage := func([]byte) []byte { return xferPattern[:13] }
	for _, c := range []struct {
		name    string
		card    nic.Offloads
		params  arena.Params
		trailer func([]byte) []byte
		length  func(int) int
		count   int
	}{
		{name: "xferudp"},
		{name: "xferudpn", card: sumOffloads},
		{name: "xferudpnsp", card: sumOffloads, params: small()},
		{name: "xferudpfcs", trailer: fcs},
		{name: "xferudpnfcs", card: sumOffloads, trailer: fcs},
		{name: "xferudptrailer", trailer: garbage},
		{name: "xferudpntrailer", card: sumOffloads, trailer: garbage},
		{name: "xferudplong", params: arena.Params{Large: 16}, length: long, count: 80_000},
		{name: "xferudplongn", card: sumOffloads, params: arena.Params{Large: 16}, length: long, count: 80_000},
	} {
		t.Run(c.name, func(t *testing.T) {
			a, b := newXfer(t, c.card, c.params)
			if c.count == 0 {
				c.count = 250_000
			}
			for _, e := range []*xferEnd{a, b} {
				e.card.trailer = c.trailer
				if c.length != nil {
					e.length = c.length
				}
			}
			xfer(a, b, arenatest.Few(c.count/2), 8)
			a.whole()
			b.whole()
		})
	}
}

// TestXferUDPOverwhelm (xferudpoverwhelm and its like): 2048 datagrams come for a ring of 1024
// before anybody reads. As many of each burst as the ring, its packets and its buffers hold
// come, whole and in order (929 with the usual buffers, 1023 where there are enough of them to
// fill the ring), the others are counted, each; then all is as before.
func TestXferUDPOverwhelm(t *testing.T) {
	const burst = 2048
	for _, c := range []struct {
		name   string
		card   nic.Offloads
		params arena.Params
		length func(int) int
	}{
		{name: "xferudpoverwhelm"},
		{name: "xferudpoverwhelmn", card: sumOffloads},
		{name: "xferudpoverwhelm, and buffers for the ring", params: arena.Params{Buffers: burst}},
		{name: "xferudpoverwhelmnsp", card: sumOffloads, params: small()},
		{name: "xferudpoverwhelmlong", length: func(i int) int { return 4000 + i%100 }},
		{name: "xferudpoverwhelmlongn", card: sumOffloads, length: func(i int) int { return 4000 + i%100 }},
	} {
		t.Run(c.name, func(t *testing.T) {
			a, b := newXfer(t, c.card, c.params)
			b.lossy = true
			if c.length != nil {
				a.length, b.length = c.length, c.length
			}
			for a.sent < arenatest.Few(50_000) {
				holds := b.holds(a.sent)
				for end := a.sent + burst; a.sent < end; {
					before := a.sent
					a.sends(end - a.sent)
					b.turn()
					a.turn()
					if a.sent == before {
						t.Fatalf("stuck at %d: %v", a.sent, a.drops())
					}
				}
				for turns := 0; a.waits(); turns++ {
					if b.turn(); turns == 1000 {
						t.Fatalf("the rest does not leave: %v", a.drops())
					}
					a.turn()
				}
				b.turn()
				got := b.received
				if b.receives(nil); b.received-got < holds {
					t.Fatalf("%d of a burst of %d have come, and there is room for %d: %v", b.received-got, burst, holds, b.drops())
				}
			}
			lost := b.drops()["flowswitch_drop_rx_no_room"]
			if lost == 0 || b.received+int(lost) != a.sent {
				t.Errorf("%d sent, %d received, %d lost: %v", a.sent, b.received, lost, b.drops())
			}
			for i := range 100 { // one after the other none is lost
				got := b.received
				a.sends(1)
				b.turn()
				if b.receives(nil); b.received != got+1 {
					t.Fatalf("datagram %d did not come: %v", i, b.drops())
				}
			}
			a.whole()
			b.whole()
		})
	}
}

// TestXferUDPPing: 125,000 datagrams go and come back, 128 at a time (xferudpping, and
// xferudppingn on a card that sums), one alone (xferudpping1, xferudpping1n), and in fragments
// (xferudppinglong, xferudppinglongn).
func TestXferUDPPing(t *testing.T) {
	long := func(i int) int { return 1473 + i*7919%4000 }
	for _, c := range []struct {
		name   string
		card   nic.Offloads
		length func(int) int
		count  int
	}{
		{"xferudpping", noOffloads, nil, 125_000},
		{"xferudppingn", sumOffloads, nil, 125_000},
		{"xferudpping1", noOffloads, nil, 1},
		{"xferudpping1n", sumOffloads, nil, 1},
		{"xferudppinglong", noOffloads, long, 40_000},
		{"xferudppinglongn", sumOffloads, long, 40_000},
	} {
		t.Run(c.name, func(t *testing.T) {
			a, b := newXfer(t, c.card, arena.Params{Large: 16})
			if c.length != nil {
				a.length, b.length = c.length, c.length
			}
			ping(a, b, arenatest.Few(c.count), 128)
			a.whole()
			b.whole()
		})
	}
}

// TestXferUDPPing1Wrong (xferudpping1wrong): a datagram that names another flow than that of
// its addresses does not leave, whatever the name is; its twin with the right one does, and
// comes back.
func TestXferUDPPing1Wrong(t *testing.T) {
	a, b := newXfer(t, noOffloads, arena.Params{})
	wrong := []struct{ id, generation uint32 }{
		{a.flow.Flow + 1, a.flow.Generation + 1}, // of the domain's, and of IPv6
		{a.flow.Flow, a.flow.Generation + 1},
		{a.flow.Flow, a.flow.Generation - 1},
		{1 << 31, a.flow.Generation},
		{^uint32(0), ^uint32(0)},
	}
	for i, w := range wrong {
		a.flowID, a.flowGeneration = w.id, w.generation
		if !a.put(0) {
			t.Fatal("no room")
		}
		a.user.Flush()
		b.turn()
		if b.receives(nil); b.received != 0 || a.drops()["flowswitch_drop_tx_bad_flow"] != uint64(i+1) {
			t.Errorf("%+v: %d received, %v", w, b.received, a.drops())
		}
	}
	a.flowID, a.flowGeneration = a.flow.Flow, a.flow.Generation
	if frames := b.s.counters.get(rxFrames); frames != 0 {
		t.Errorf("%d frames have left", frames)
	}
	a.sends(1)
	b.turn()
	b.receives(nil)
	b.sends(1)
	a.turn()
	if a.receives(nil); a.received != 1 {
		t.Errorf("the control: %d are back: %v", a.received, b.drops())
	}
}

// TestXferUDPPingMultiBuflet (xferudppingn_mb): the same in packets of four buflets.
func TestXferUDPPingMultiBuflet(t *testing.T) {
	a, b := newXfer(t, sumOffloads, arena.Params{})
	a.scattered, b.scattered = true, true
	ping(a, b, arenatest.Few(125_000), 128)
	a.whole()
	b.whole()
}

// TestXferRedirectedUDPPing (xferrdudpping, where skywalk has an interface that leads to
// another): what two domains of one machine send each other does not come to the card.
func TestXferRedirectedUDPPing(t *testing.T) {
	a, _ := newXfer(t, noOffloads, arena.Params{})
	b := &xferEnd{t: t, s: a.s, p: a.p, card: a.card, own: a.own, peer: a.own, length: a.length, head: a.head}
	b.neighbourDomain = joinDomain(t, a.sw, arena.Params{}, 2, 6000)
	a.peer = a.own
	for i, e := range []*xferEnd{a, b} {
		header.IPv4(e.head[:20]).SetDestinationAddress(toAddress(e.own))
		binary.BigEndian.PutUint16(e.head[20+2*i:], 5000)
		binary.BigEndian.PutUint16(e.head[22-2*i:], 6000)
	}
	before := a.s.counters.get(txFrames)
	ping(a, b, arenatest.Few(125_000), 128)
	if n := a.s.counters.get(txFrames) - before; n != 0 {
		t.Errorf("%d frames have left", n)
	}
	a.whole()
	b.whole()
}

// TestXferUDPWithErrors (xferudpwitherrors): between the batches of a transfer both ways a
// malformed frame comes from the wire, of each kind in turn, and a forged packet from each
// domain. Each is counted under its reason, as often as there were, and the transfer loses
// nothing.
func TestXferUDPWithErrors(t *testing.T) {
	a, b := newXfer(t, noOffloads, arena.Params{})
	frames := malformedFrames()
	forged := []struct {
		want  string
		forge func(e *xferEnd, b []byte, o *user.Outgoing)
	}{
		{"tx_bad_version", func(_ *xferEnd, b []byte, _ *user.Outgoing) { b[0] = 0x55 }},
		{"tx_bad_header_length", func(_ *xferEnd, b []byte, _ *user.Outgoing) { b[0] = 0x44 }},
		{"tx_length", func(_ *xferEnd, b []byte, o *user.Outgoing) { o.Length-- }},
		{"tx_bad_total_length", func(_ *xferEnd, b []byte, _ *user.Outgoing) { b[3]++ }},
		{"tx_fragment", func(_ *xferEnd, b []byte, _ *user.Outgoing) { b[7] = 1 }},
		{"tx_protocol", func(_ *xferEnd, b []byte, _ *user.Outgoing) { b[9] = 2 }},
		{"tx_source", func(_ *xferEnd, b []byte, _ *user.Outgoing) { b[15] += 9 }},
		{"tx_destination", func(_ *xferEnd, b []byte, _ *user.Outgoing) { b[16] = 127 }},
		{"tx_not_found", func(_ *xferEnd, b []byte, _ *user.Outgoing) { b[21]++ }},
		{"tx_bad_flow", func(e *xferEnd, b []byte, o *user.Outgoing) { o.Flow, o.Generation = e.flow.Flow, e.flow.Generation+1 }},
		{"tx_segmentation", func(_ *xferEnd, b []byte, o *user.Outgoing) { o.SegmentSize, o.HeaderLen = 100, 28 }},
	}
	want := [2]map[string]uint64{{}, {}}
	count := arenatest.Few(125_000)
	for round := 0; a.received < count || b.received < count; round++ {
		a.sends(min(8, count-a.sent))
		b.sends(min(8, count-b.sent))
		bad := frames[round%len(frames)]
		if !a.card.arrive(bad.frame, false) {
			t.Fatal("no room at the card")
		}
		want[0][counterNames[bad.want]]++
		for i, e := range []*xferEnd{a, b} {
			f := forged[round%len(forged)]
			packet := append(e.head[:28:28], make([]byte, 20)...)
			binary.BigEndian.PutUint16(packet[2:], 48)
			binary.BigEndian.PutUint16(packet[24:], 28)
			o := &user.Outgoing{Length: 48}
			f.forge(e, packet, o)
			if f.want == "tx_length" {
				o.Length, packet[3], packet[25] = 48, 47, 27
			}
			if !e.user.Send(o, func(to []byte) { copy(to, packet) }) {
				t.Fatal("no room to send")
			}
			e.user.Flush()
			want[i]["flowswitch_drop_"+f.want]++
		}
		b.turn()
		a.turn()
		a.receives(nil)
		b.receives(nil)
	}
	for i, e := range []*xferEnd{a, b} {
		if got := e.drops(); !maps.Equal(got, want[i]) {
			t.Errorf("%v counts %v, want %v", e.own, got, want[i])
		}
		if e.received != count || e.channel.Counts().TxPackets < uint64(count) {
			t.Errorf("%v: %d received of %d", e.own, e.received, count)
		}
		e.whole()
	}
}

// TestXferSetUpOnly (xfersetuponly, xfersetuponlyn): two machines, their cards, switches and
// domains come and go, and nothing is sent or dropped.
func TestXferSetUpOnly(t *testing.T) {
	for range 10 {
		for _, o := range []nic.Offloads{noOffloads, sumOffloads} {
			a, b := newXfer(t, o, arena.Params{})
			for _, e := range []*xferEnd{a, b} {
				if c := e.channel.Counts(); c.TxPackets+c.RxPackets != 0 || len(e.drops()) != 0 {
					t.Errorf("%+v, %v", c, e.drops())
				}
				e.sw.Detach(e.channel)
				e.channel.Arena().Free()
				if len(e.sw.Flows().Rows) != 0 || len(e.sw.All()) != 0 {
					t.Error("something is left")
				}
			}
		}
	}
}
