package flowswitch_test

import (
	"encoding/binary"
	"testing"
	"time"

	"github.com/sluice-os/sluice/nexus/flowswitch"
	"github.com/sluice-os/sluice/nexus/netif"
	"github.com/sluice-os/sluice/userland/channel"
)

// sink is a card that counts what leaves and keeps nothing.
type sink struct {
	*world
	left int
}

func (s *sink) Output(*netif.Outgoing, *netif.Hop) netif.Result {
	s.left++
	return netif.Sent
}

// TestNoAllocations: on its whole way between card and domain no packet allocates, neither a
// datagram nor a segment of an accepted connection, nor one that may not leave.
func TestNoAllocations(t *testing.T) {
	const payload = 1400
	for _, c := range []struct {
		name   string
		proto  byte
		forged bool
	}{{"UDP", 17, false}, {"TCP", 6, false}, {"forged", 17, true}} {
		t.Run(c.name, func(t *testing.T) {
			w := newWorld(t)
			card := &sink{world: w}
			w.sw = flowswitch.New(card, w.names, func() time.Duration { return w.now }, 1, 0)
			d := w.domain([]string{"tcp/80"}, []string{"udp/*:53"})
			take := func(*channel.Received) {}
			in := packet{src: outside, dst: machine, proto: c.proto, sport: 53, dport: 80, payload: payload}
			out := packet{src: machine, dst: outside, proto: c.proto, sport: 80, dport: 53, payload: payload}
			if c.proto == 17 {
				r, errno := d.connect(17, outside, 53)
				if errno != 0 {
					t.Fatal(errno)
				}
				in.dport, out.sport = uint16(r.LocalPort), uint16(r.LocalPort)
			} else {
				d.listen(80)
				for _, step := range []struct {
					p        packet
					flags    byte
					seq, ack uint32
				}{{in, syn, 100, 0}, {out, syn | ack, 900, 101}, {in, ack, 101, 901}} {
					step.p.flags, step.p.payload = step.flags, 0
					b := sequence(step.p.bytes(), step.seq, step.ack)
					if step.p.src == outside {
						w.arrive(b)
					} else {
						d.send(b, channel.Outgoing{})
					}
				}
				d.user.Receive(9, take)
				in.flags, out.flags = ack, ack
			}
			if c.forged {
				out.dport++
			}
			arriving, leaving := in.bytes(), out.bytes()
			if c.proto == 6 {
				sequence(arriving, 101, 901)
				sequence(leaving, 901, 101)
			}
			var rest []byte
			fill := func(piece []byte) { rest = rest[copy(piece, rest):] }
			m := &channel.Outgoing{Length: len(leaving)}
			a := &netif.Arrived{Head: arriving, Length: len(arriving), Verified: true, Fill: fill}
			matched, received, sent := 0, 0, 0
			card.left = 0
			if n := testing.AllocsPerRun(100, func() {
				for range 32 {
					if to := w.sw.Match(arriving[:128], len(arriving)); to != nil {
						rest = arriving
						w.sw.Deliver(to, a)
						matched++
					}
				}
				w.sw.Flush()
				received += d.user.Receive(32, take)
				for range 32 {
					rest = leaving
					if d.user.Send(m, fill) {
						sent++
					}
				}
				d.user.Flush()
			}); n != 0 {
				t.Errorf("%v allocations for 64 packets", n)
			}
			want := sent
			if c.forged {
				want = 0
			}
			if matched < 3200 || received != matched || sent != matched || card.left != want {
				t.Errorf("%d came, of which the domain has %d; it sent %d, of which %d left: %v", matched, received, sent, card.left, w.drops())
			}
		})
	}
}

// sequence fills in the numbers of a segment of IPv4, and a window.
func sequence(b []byte, seq, ack uint32) []byte {
	binary.BigEndian.PutUint32(b[24:], seq)
	binary.BigEndian.PutUint32(b[28:], ack)
	binary.BigEndian.PutUint16(b[34:], 1<<15)
	return b
}
