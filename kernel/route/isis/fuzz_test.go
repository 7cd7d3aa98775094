package isis

import (
	"bytes"
	"encoding/binary"
	"testing"
	"time"

	"github.com/sluice-os/sluice/kernel/route/gate"
	"github.com/sluice-os/sluice/kernel/route/isis/pdu"
	"github.com/sluice-os/sluice/kernel/route/isis/pdu/pdutest"
)

// FuzzInstance plays what bytes say against an instance that has neighbours Up on a p2p circuit and
// a LAN: PDUs that are nearly right, changes of the links, and time. Nothing may panic, and what
// is held must stay what it is: in order, within its bounds, and each with a checksum that is right.
func FuzzInstance(f *testing.F) {
	hello := func(t pdu.Type) []byte {
		h := pdu.Hello{Type: t, Levels: 3, Source: systemOf(2), Hold: 9}
		h.NLPIDs, h.Areas = []byte{pdu.NLPIDv4, pdu.NLPIDv6}, []pdu.Area{"\x49\x00\x01"}
		h.ThreeWay = &pdu.ThreeWay{State: pdu.SaysInit}
		return h.Append(nil, 0, nil)
	}
	own, node, other := stranger(1, 7), stranger(1, 9), stranger(2, 3)
	node.ID = systemOf(1).Node(2).LSP(0)
	other.Flags |= pdu.FlagAttached
	for _, mt := range []uint16{pdu.MT0, pdu.MTIPv6} {
		other.Items = append(other.Items, pdu.Neighbour{MT: mt, Node: systemOf(1).Node(0)}.Item(), pdu.Neighbour{MT: mt, Node: systemOf(1).Node(2)}.Item(),
			pdu.Prefix{MT: mt, Prefix: prefix6(7)}.Item(), pdu.Prefix{MT: mt, Prefix: prefix6(8), Down: true}.Item())
	}
	other.Items = append(other.Items, pdu.Prefix{Prefix: prefix4(7)}.Item())
	list := &pdu.SNP{Type: pdu.CSNPL2, Source: systemOf(2).Node(0), Last: pdu.LastLSPID, TLVs: pdu.TLVs{Entries: []pdu.Header{{ID: own.ID, Sequence: 5, Lifetime: 1, Checksum: 1}}}}
	ask := *list
	ask.Type = pdu.PSNPL1
	var all []byte
	one, last := other, own
	one.Level, last.Sequence = 1, sequenceMax
	for _, b := range [][]byte{one.Append(nil, nil), last.Append(nil, nil), hello(pdu.HelloP2P), hello(pdu.HelloL1), hello(pdu.HelloL2), own.Append(nil, nil), node.Append(nil, nil),
		other.Append(nil, nil), list.Append(nil, nil), ask.Append(nil, nil)} {
		for op := range byte(4) {
			one := append([]byte{op, byte(len(b) >> 8), byte(len(b))}, b...)
			f.Add(one)
			all = append(append(all, one...), 4+op, 0, 1, 77)
		}
	}
	f.Add(all)
	for n := range byte(8) {
		all = append(append(all, 247, 0, n), 5, 0, 40)
	}
	f.Add(append(all, all...))
	// What FRR sends, one by one and all in a row on each circuit, with two seconds after each.
	for circuit := range byte(2) {
		var row []byte
		for _, p := range pdutest.FRR(f) {
			one := append([]byte{circuit, byte(len(p.Bytes) >> 8), byte(len(p.Bytes))}, p.Bytes...)
			one = append(one, 4, 0, 20)
			if len(row)+len(one) >= playMax {
				addBoth(f, row)
				row = nil
			}
			addBoth(f, one)
			row = append(row, one...)
		}
		addBoth(f, row)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		if len(b) > playMax {
			return
		}
		play(t, b)
	})
}

// playMax is the longest input that is played, in bytes.
const playMax = 2000

// addBoth adds an input for an instance with a topology for each family and for one without, which the
// length says: a byte at the end is nothing else.
func addBoth(f *testing.F, b []byte) {
	f.Add(bytes.Clone(b))
	f.Add(append(bytes.Clone(b), 0))
}

// play does what bytes say.
func play(t *testing.T, b []byte) {
	w := newWorld(t)
	r := w.add(1, func(c *Config) {
		c.Levels, c.MaxLSPs, c.Leak, c.StartOverload = 3, 20, true, 0
		c.Topologies = len(b)%2 == 1
	})
	p2p, lan := w.wired(), w.wired()
	r.on(p2p, P2P, nil).set(nil)
	r.on(lan, LAN, nil).set(nil)
	for _, x := range []struct {
		w *wire
		t pdu.Type
	}{{p2p, pdu.HelloP2P}, {lan, pdu.HelloL2}, {lan, pdu.HelloL1}} {
		n := w.neighbour(x.w, x.t, 2)
		n.hello.Levels = 3
		n.hello.Topologies = []pdu.Topology{{ID: 0}, {ID: 2}}
		n.start()
		defer n.stop()
		x := &timer{call: func(time.Duration) { n.stop() }}
		w.timers.set(x, 8*sec)
	}
	w.run(8 * sec)
	// An hour is enough to see all ends of lifetimes.
	left := time.Hour
	pass := func(d time.Duration) {
		d = min(d, left)
		left -= d
		w.run(d)
	}
	for len(b) >= 3 {
		op, n := b[0], int(binary.BigEndian.Uint16(b[1:]))
		b = b[3:]
		n = min(n, len(b))
		data := b[:n]
		b = b[n:]
		switch op % 8 {
		case 0, 1, 2, 3:
			from := pdu.SNPA{4, 0, 0, 0, 0, 2}
			if op&16 != 0 {
				from[5] = op >> 5
			}
			before := bytes.Clone(data)
			r.Receive(w.now, int(op)%2, from, mended(data, op&2 != 0))
			if !bytes.Equal(data, before) {
				t.Fatal("the frame was changed")
			}
			w.touch(r)
		case 4, 5:
			pass(time.Duration(n) * 100 * ms)
		case 6:
			pass(time.Duration(n) * 10 * sec)
		case 7:
			if op == 255 {
				r.SetOverload(w.now, n%2 == 0)
				w.touch(r)
				break
			}
			if op == 247 {
				reconfigure(t, r, n)
				break
			}
			r.ends[op>>4&1].set(func(l *Link) {
				switch op >> 5 {
				case 0:
					l.Carrier = !l.Carrier
				case 1:
					l.MTU = 100 + n
				case 2:
					l.LinkLocals = []gate.LinkLocal{{Addr: linkLocal(1), DAD: gate.DAD(n % 3)}}
				default:
					l.IPv4 = nil
				}
			})
		}
		sound(t, r)
	}
}

// reconfigure changes a circuit of the router, or takes it away and adds it again.
func reconfigure(t *testing.T, r *router, n int) {
	t.Helper()
	e := r.ends[n&1]
	cc := r.circuits[e.circuit].config
	cc.Gate.Topologies = false // the instance sets it
	switch n >> 1 & 3 {
	case 0:
		cc.Metric = uint32(1 + n)
	case 1:
		cc.Kind ^= 1
	case 2:
		cc.Priority = n >> 3 & 127
	case 3:
		r.RemoveCircuit(r.w.now, e.circuit)
		if got, err := r.AddCircuit(r.w.now, cc); err != nil || got != e.circuit {
			t.Fatalf("circuit %d: %v", got, err)
		}
		e.set(nil)
		return
	}
	if err := r.SetCircuit(r.w.now, e.circuit, cc); err != nil {
		t.Fatal(err)
	}
	r.w.touch(r)
}

// mended makes the checksum of an LSP right, and the length.
func mended(b []byte, mend bool) []byte {
	if !mend || len(b) < 33 {
		return b
	}
	b = bytes.Clone(b)
	switch t := pdu.Type(b[4] & 0x1f); t {
	case pdu.LSPL1, pdu.LSPL2:
		binary.BigEndian.PutUint16(b[8:], uint16(len(b)))
		return pdu.Checksummed(b)
	case pdu.HelloL1, pdu.HelloL2, pdu.HelloP2P:
		binary.BigEndian.PutUint16(b[17:], uint16(len(b)))
	default:
		binary.BigEndian.PutUint16(b[8:], uint16(len(b)))
	}
	return b
}

// sound checks what is held.
func sound(t *testing.T, r *router) {
	t.Helper()
	for _, l := range r.each(3) {
		// Besides MaxLSPs strangers there are our own, and what of ours was purged.
		if len(l.order) != len(l.entries) || len(l.order) > 20+2*pdu.Fragments {
			t.Fatalf("%d LSPs in order, %d held", len(l.order), len(l.entries))
		}
		n := 0
		for i, e := range l.order {
			n += len(e.raw)
			v, why := pdu.Check(e.raw)
			if why != pdu.OK || !v.ChecksumOK() || v.LSPHeader().ID != e.id || v.LSPHeader().Sequence != e.lsp.Sequence {
				t.Fatalf("%v is held as %x", e.id, e.raw)
			}
			if i > 0 && bytes.Compare(l.order[i-1].id[:], e.id[:]) >= 0 {
				t.Fatalf("%v is behind %v", e.id, l.order[i-1].id)
			}
			if !e.timer.running() {
				t.Fatalf("%v lives for ever", e.id)
			}
			if l.ours(e.id) && !e.purged && e.content == nil {
				t.Fatalf("%v is not ours", e.id)
			}
		}
		if n != l.bytes {
			t.Fatalf("%d bytes are held, counted %d", n, l.bytes)
		}
		for _, c := range r.circuits {
			if f := c.floods[l.n]; f != nil && (len(f.asked) > 20 || len(f.snp) > 20) {
				t.Fatalf("%d are asked for, %d listed", len(f.asked), len(f.snp))
			}
		}
	}
	for _, x := range r.Routes() {
		if len(x.NextHops) == 0 {
			t.Fatalf("%v goes nowhere", x.Prefix)
		}
		for _, h := range x.NextHops {
			if h.Addr.Is4() != x.Prefix.Addr().Is4() || !h.Addr.IsValid() {
				t.Fatalf("%v goes to %v", x.Prefix, h.Addr)
			}
		}
	}
}
