package aqm_test

import (
	"math/rand/v2"
	"testing"
	"time"

	"github.com/sluice-os/sluice/nexus/aqm"
)

// model is what a user of the queue sees, and checks that it makes sense.
type model struct {
	*world
	// sent are the packets of each flow that are held, the oldest first: their
	// handles and times.
	sent   map[key][]stamped
	paused map[aqm.Flow]bool
	seen   int // of dropped
	told   int // of released
}

type key struct {
	aqm.Flow
	aqm.Class
}

type stamped struct {
	handle uint32
	due    time.Duration
}

func newModel(tb testing.TB, c aqm.Config) *model {
	c.Floors = floors
	return &model{world: newWorld(tb, c), sent: map[key][]stamped{}, paused: map[aqm.Flow]bool{}}
}

// news takes in what the queue told since the last time. A packet that was dropped must
// have been held, and a flow that is released paused.
func (m *model) news() {
	m.Helper()
	for ; m.seen < len(m.dropped); m.seen++ {
		d := &m.dropped[m.seen]
		if d.why == aqm.Expired && (d.Expires == 0 || d.Expires > m.now) {
			m.Fatalf("at %v: %+v has expired", m.now, d)
		}
		if !m.take(&d.Packet, false) {
			m.Fatalf("dropped %+v, which was not held", d)
		}
	}
	for ; m.told < len(m.released); m.told++ {
		f := m.released[m.told]
		if !m.paused[f] {
			m.Fatalf("released %v, which was not paused", f)
		}
		delete(m.paused, f)
	}
	m.dropped, m.released, m.seen, m.told = m.dropped[:0], m.released[:0], 0, 0
}

// take takes a packet out of those that are held; first: it must be the oldest.
func (m *model) take(p *aqm.Packet, first bool) bool {
	k := key{p.Flow, p.Class}
	list := m.sent[k]
	for i, s := range list {
		if s.handle != p.Handle {
			continue
		}
		if first && (i > 0 || s.due > m.now && m.Counts().StampsLost == 0) {
			m.Fatalf("at %v: %+v is number %d of its flow, due at %v", m.now, p, i, s.due)
		}
		m.sent[k] = append(list[:i:i], list[i+1:]...)
		return true
	}
	return false
}

func (m *model) enqueue(p aqm.Packet) {
	m.Helper()
	v := m.put(p)
	m.news()
	if v.Outcome != aqm.Refused {
		due := m.now
		if p.TxTime > m.now && p.TxTime <= m.now+aqm.StampMax {
			due = p.TxTime
		}
		k := key{p.Flow, p.Class}
		m.sent[k] = append(m.sent[k], stamped{m.last, due})
	}
	if v.Pause() {
		if !p.Advised {
			m.Fatalf("%v for one that cannot be told", v)
		}
		m.paused[p.Flow] = true
	}
}

// yield asks for room for a packet in its pool: what has the most there pays, from the front, or the
// packet's own flow, and nobody else.
func (m *model) yield(p aqm.Packet) {
	m.Helper()
	if p.Pool == 0 {
		p.Pool = 1
	}
	oldest := map[key]uint32{}
	for k, list := range m.sent {
		if len(list) > 0 {
			oldest[k] = list[0].handle
		}
	}
	own, most := m.PoolWeights(&p)
	packets := m.Len()
	ok := m.Yield(m.now, &p, aqm.LimitBytes)
	switch d := m.dropped; {
	case !ok:
		if len(d) > 0 || m.Len() != packets || 4*most > 5*(own+max(p.Length, floors[p.Pool-1])+fatUnit) && own > 0 {
			m.Fatalf("%+v of a flow with %d of %d: nothing yields, %d dropped", p, own, most, len(d))
		}
	case len(d) != 1 || m.Len() != packets-1 || d[0].Pool != p.Pool || d[0].Handle != oldest[key{d[0].Flow, d[0].Class}]:
		m.Fatalf("%+v: dropped %+v", p, d)
	case d[0].why == aqm.LimitBytes && most <= own+max(p.Length, floors[p.Pool-1]) && own > 0,
		d[0].why == aqm.DelayHigh && (own == 0 || p.ECN != aqm.NotECT),
		d[0].why != aqm.LimitBytes && d[0].why != aqm.DelayHigh:
		m.Fatalf("%+v of a flow with %d of %d: dropped %+v", p, own, most, d[0])
	}
	m.news()
}

// fatUnit is what the lists of the fattest round to.
const fatUnit = 256

// floors are those of the pools of a model with 64 packets or more.
var floors = [aqm.Pools]int{1000, 300}

func (m *model) dequeue() bool {
	m.Helper()
	var p aqm.Packet
	ok := m.Dequeue(m.now, &p)
	expired := len(m.dropped)
	m.news()
	switch {
	case expired > 1 || ok && expired > 0:
		m.Fatalf("%d packets were dropped at a time, and left: %v", expired, ok)
	case ok && p.Expires != 0 && p.Expires <= m.now:
		m.Fatalf("at %v: %+v left", m.now, p)
	case ok && !m.take(&p, true):
		m.Fatalf("%+v left, which was not held", p)
	case ok && p.Mark && p.ECN != aqm.ECT0 && p.ECN != aqm.ECT1:
		m.Fatalf("%+v is marked", p)
	case !ok && expired == 0 && m.Len() > 0:
		if next, more := m.Next(m.now); !more || next <= m.now {
			m.Fatalf("nothing leaves, %d packets held, the next one at %v, %v", m.Len(), next, more)
		}
	}
	return ok
}

// end lets everything leave: nobody is left waiting.
func (m *model) end() {
	m.Helper()
	for m.Len() > 0 {
		if !m.dequeue() {
			m.now, _ = m.Next(m.now)
		}
		m.now += time.Microsecond
	}
	m.dequeue()
	m.ok()
	if len(m.paused) > 0 {
		m.Fatalf("nothing is held, and %v are paused", m.paused)
	}
	for k, list := range m.sent {
		if len(list) > 0 {
			m.Fatalf("%v has %v left", k, list)
		}
	}
}

// packetOf makes any packet out of three bytes.
func (m *model) packetOf(flow, kind, size byte) aqm.Packet {
	p := aqm.Packet{
		Length: 1 + int(size)*int(size), ECN: aqm.ECN(kind & 3),
		Responsive: kind&4 != 0, Advised: kind&8 != 0,
		Class: aqm.Class(flow) % aqm.Classes,
		Flow:  aqm.Flow{Channel: uint32(flow) & 3, ID: uint32(flow), Generation: uint32(flow) + 1, Entry: uint32(flow)},
	}
	if !p.Advised {
		p.Pool = size % (aqm.Pools + 1)
	}
	switch kind >> 4 {
	case 0, 1, 2, 3:
		p.TxTime = m.now + time.Duration(size)*ms*time.Duration(kind>>4) // up to 765 ms
	case 4:
		p.TxTime = m.now + time.Duration(size)*20*ms
	case 5, 6, 7:
		p.PureAck, p.Ack, p.Length = true, uint32(size), 66
	case 9:
		p.PureAck, p.Ack, p.Length = true, uint32(size), 66
		fallthrough
	case 10, 11, 12:
		p.Expires = m.now + time.Duration(1+int(size))*100*time.Microsecond
		if kind>>4 == 12 {
			p.TxTime = m.now + time.Duration(size)*50*time.Microsecond
		}
	}
	return p
}

// play does what bytes say.
func (m *model) play(b []byte, check int) {
	for n := 0; len(b) >= 4; n++ {
		do, x, y, z := b[0], b[1], b[2], b[3]
		b = b[4:]
		switch do % 8 {
		case 0, 1, 2, 3:
			for range 1 + do>>3 {
				m.enqueue(m.packetOf(x, y, z))
			}
		case 4, 5:
			for range 1 + do>>3 {
				m.dequeue()
				m.now += time.Duration(z) * 10 * time.Microsecond
			}
		case 6:
			m.now += time.Duration(x) * ms
		case 7:
			switch {
			case x == 0:
				m.Purge(m.now)
				m.news()
			case x > 64:
				for range 1 + do>>3 {
					m.yield(m.packetOf(x&15, y, z))
				}
			}
			m.now += time.Duration(y) * time.Microsecond
		}
		if n%check == 0 {
			m.ok()
		}
	}
	m.ok()
	m.end()
}

func FuzzQueue(f *testing.F) {
	r := newRand(3)
	for _, n := range []int{40, 400, 4000} {
		b := make([]byte, n)
		for i := range b {
			b[i] = byte(r.Uint32())
		}
		f.Add(b)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		if len(b) > 4000 {
			return
		}
		newModel(t, aqm.Config{Packets: 64, Grace: 4, Controlled: 3}).play(b, 20)
	})
}

// TestRandom plays long random traffic, with queues of several sizes and flows few and
// many.
func TestRandom(t *testing.T) {
	for seed := range uint64(8) {
		r := newRand(seed)
		m := newModel(t, aqm.Config{
			Packets: []int{64, 300, 2048}[seed%3], Controlled: []int{1, 1000}[seed%2], Seed: r.Uint64(),
		})
		b := make([]byte, 4*4000)
		for i := range b {
			b[i] = byte(r.Uint32())
			if seed%4 < 2 && i%4 == 1 {
				b[i] &= 7 // a few flows
			}
		}
		m.play(b, 50)
	}
}

// TestSharedQueuesKeepOrder has so many flows come and go that they share queues all the
// time, one that was a guest finds one of its own, and another one takes that.
func TestSharedQueuesKeepOrder(t *testing.T) {
	for seed := range uint64(3) {
		r := newRand(200 + seed)
		m := newModel(t, aqm.Config{Packets: 1024, Seed: seed})
		for i := range 20_000 {
			if n := m.Len(); n < 200 || n < 900 && r.IntN(2) == 0 {
				m.enqueue(udp(uint32(r.IntN(600)), 100))
			} else {
				m.dequeue()
			}
			m.now += time.Microsecond
			if i%1000 == 0 {
				m.ok()
			}
		}
		m.end()
		if n := m.Counts().Shared; n < 500 {
			t.Errorf("%d packets shared queues", n)
		}
	}
}

// TestRandomAboutEven has as much come as leave, which is where most edges are.
func TestRandomAboutEven(t *testing.T) {
	for seed := range uint64(6) {
		r := newRand(100 + seed)
		m := newModel(t, aqm.Config{Seed: r.Uint64()})
		for i := range 30_000 {
			if r.IntN(100) < 54 || m.Len() == 0 {
				m.enqueue(m.someone(r))
			} else {
				m.dequeue()
			}
			m.now += time.Duration(r.IntN(400)) * time.Microsecond
			if i%500 == 0 {
				m.ok()
			}
		}
		m.end()
		if c := m.Counts(); c.Controlled == 0 || c.Released != c.Controlled {
			t.Errorf("seed %d: %d pauses, %d ends of them", seed, c.Controlled, c.Released)
		}
	}
}

// someone is a packet of one of 16 flows, of which the first send the most.
func (m *model) someone(r *rand.Rand) aqm.Packet {
	flow := byte(r.IntN(1 + r.IntN(16)))
	p := m.packetOf(flow, 0x80|flow&7, byte(20+r.IntN(20)))
	if p.Advised = flow%4 != 3; p.Advised {
		p.Pool = 0
	}
	return p
}
