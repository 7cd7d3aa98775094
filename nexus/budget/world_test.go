package budget_test

import (
	"bytes"
	"errors"
	"math/rand/v2"
	"testing"
	"time"
	"unsafe"

	"github.com/sluice-os/sluice/nexus/abi"
	"github.com/sluice-os/sluice/nexus/arena"
	"github.com/sluice-os/sluice/nexus/arena/arenatest"
	"github.com/sluice-os/sluice/nexus/budget"
	"github.com/sluice-os/sluice/nexus/channel"
	user "github.com/sluice-os/sluice/userland/channel"
)

// world is a machine: its memory, the budget, a clock and domains.
type world struct {
	t       testing.TB
	memory  *arenatest.Memory // its range is nobody's
	budget  *budget.Budget
	now     time.Duration
	domains []*domain
}

// domain is a channel with both its ends.
type domain struct {
	*channel.Channel
	w      *world
	name   string
	weight int
	params arena.Params
	memory *arenatest.Memory
	behind func(arena.Memory) arena.Memory // what its arena uses instead
	user   *user.Channel
	event  bool // something was posted
	rude   bool // it gives nothing back that it is asked for
	broken *channel.Violation
	stalls int  // how often it was told that nobody takes what it sends
	full   bool // the card has no room
	last   channel.Packet
	sent   int
	opened int
	err    error
}

// newWorld makes a machine with so many bytes of memory and budget.
func newWorld(t testing.TB, memory, limit int) *world {
	return &world{t: t, memory: arenatest.New(t, memory), budget: budget.New(limit), now: time.Hour}
}

// open adds a domain with an open channel.
func (w *world) open(name string, weight int, p arena.Params) *domain {
	w.t.Helper()
	return w.openIn(name, weight, p, func(m arena.Memory) arena.Memory { return m })
}

func (w *world) openIn(name string, weight int, p arena.Params, behind func(arena.Memory) arena.Memory) *domain {
	w.t.Helper()
	l, err := arena.NewLayout(p)
	if err != nil {
		w.t.Fatal(err)
	}
	d := &domain{w: w, name: name, weight: weight, params: p, memory: w.memory.Range(w.t, l.Size), behind: behind}
	w.domains = append(w.domains, d)
	d.start()
	return d
}

// start opens the domain's channel, for the first time or again.
func (d *domain) start() {
	d.w.t.Helper()
	l, err := arena.NewLayout(d.params)
	if err != nil {
		d.w.t.Fatal(err)
	}
	a, err := arena.New(l, d.behind(d.memory), 9)
	if err != nil {
		d.w.t.Fatal(err)
	}
	d.Channel = channel.New(a, 9)
	d.opened++
	d.event, d.full, d.broken, d.err = false, false, nil, nil
	d.Notify = func() { d.event = true }
	d.SetBroken(func(v *channel.Violation) { d.broken = v })
	d.SetStalled(func() { d.stalls++ })
	d.w.budget.Join(d.Channel, d.weight)
	if d.user, err = user.New(d.memory.Domain(), d.sync); err != nil {
		d.w.t.Fatal(err)
	}
}

func (d *domain) sync() {
	if err := d.Sync(d.send); err != nil {
		d.err = err
	}
}

func (d *domain) send(p *channel.Packet) bool {
	if d.full {
		return false
	}
	d.last = *p
	d.sent++
	return true
}

// end closes the channel and frees its memory.
func (d *domain) end() {
	d.Close()
	d.Arena().Free()
}

// submit sends a packet, and deliver has one arrive. They report whether there was room.
func (d *domain) submit(data []byte) bool {
	rest := data
	return d.user.Send(&user.Outgoing{Length: len(data)}, func(piece []byte) { rest = rest[copy(piece, rest):] })
}

func (d *domain) deliver(data []byte) bool {
	rest := data
	return d.Deliver(&channel.Delivery{Length: len(data)}, func(piece []byte) { rest = rest[copy(piece, rest):] })
}

// receive reads what has arrived.
func (d *domain) receive(limit int) (got [][]byte) {
	d.Channel.Flush()
	d.user.Receive(limit, func(p *user.Received) { got = append(got, bytes.Join(p.Pieces, nil)) })
	return got
}

// turn has the domain do what its event asks for.
func (d *domain) turn() {
	if d.broken != nil {
		return
	}
	if d.event && !d.rude {
		d.event = false
		d.user.Trim()
	}
	if d.err != nil {
		d.w.t.Fatalf("%s: %v", d.name, d.err)
	}
}

// run lets some time pass: the kernel looks, the domains answer.
func (w *world) run(span time.Duration) {
	w.t.Helper()
	for end := w.now + span; w.now < end; {
		w.now += time.Second
		w.budget.Run(w.now, true)
		w.turn()
	}
}

// turn has the domains answer, and the kernel what comes of that, until nothing does.
func (w *world) turn() {
	w.t.Helper()
	for kicked := true; kicked; {
		for _, d := range w.domains {
			d.turn()
		}
		select {
		case <-w.budget.Kick():
			w.budget.Run(w.now, false)
		default:
			kicked = false
		}
	}
	w.check()
}

// check compares all accounts: each page of the machine has one owner at most, the
// budget is what the channels have, and each object is somewhere.
func (w *world) check() {
	w.t.Helper()
	owner, sum, all := map[int]string{}, 0, 0
	for _, d := range w.domains {
		a := d.Arena()
		for id := range arena.Regions {
			for i := range a.Segments(id) {
				s := a.Segment(id, i)
				for off := 0; off < len(s); off += arena.PageSize {
					page := w.memory.Offset(s) + off
					if owner[page] != "" {
						w.t.Fatalf("%s and %s both have the page at %#x", owner[page], d.name, page)
					}
					owner[page] = d.name
				}
				all += len(s)
			}
		}
		packets, rest := d.Memory()
		sum += packets
		bytes := 0
		for i, p := range d.Pools() {
			bytes += p.Bytes
			if p.Free+p.Lent != p.Backed || p.Asked < 0 {
				w.t.Fatalf("%s, pool %d: %+v", d.name, i, p)
			}
		}
		if bytes != packets || packets < d.Floor() || rest <= 0 {
			w.t.Fatalf("%s: the pools have %d bytes, the channel %d", d.name, bytes, packets)
		}
	}
	if sum != w.budget.Used() {
		w.t.Fatalf("the channels have %d bytes, the budget has given %d", sum, w.budget.Used())
	}
	if used := w.memory.Used(); used != all {
		w.t.Fatalf("the arenas have %d bytes of the machine's, %d are taken", all, used)
	}
}

// has is the memory for packets that a domain has, in bytes.
func (d *domain) has() int {
	packets, _ := d.Memory()
	return packets
}

// burst sends and receives as much as finds room, and leaves nothing in the rings. It
// returns how many bytes passed.
func (d *domain) burst(n, length int) (passed int) {
	data := content(length)
	for range n {
		if d.deliver(data) {
			passed += length
		}
	}
	d.receive(n)
	d.full = true
	for range n {
		if d.submit(data) {
			passed += length
		}
	}
	d.full = false
	d.user.Flush()
	return passed
}

func content(n int) []byte {
	b := make([]byte, n)
	r := rand.New(rand.NewPCG(uint64(n), 1))
	for i := range b {
		b[i] = byte(1 + r.IntN(255)) // no zero, which is what nothing looks like
	}
	return b
}

// view is all that the domain sees.
func (d *domain) view() []byte {
	return unsafe.Slice((*byte)(d.memory.Domain()), d.Arena().Size)
}

// region is what it sees of one.
func (d *domain) region(id arena.ID) []byte {
	s := d.Arena().Spans[id]
	return d.view()[s.Offset:][:s.Size]
}

func named(t testing.TB, name string) arena.Params {
	p, err := arena.Named(name)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// pktPacket is what a channel sends.
type pktPacket = channel.Packet

// offset is where in the machine's memory a piece of a packet lies.
func (w *world) offset(piece []byte) int { return w.memory.Offset(piece) }

// keep reads what has arrived as a domain does that gives nothing back.
func (d *domain) keep() {
	schema := (*abi.Schema)(d.memory.Domain())
	ring := (*abi.Ring)(unsafe.Add(d.memory.Domain(), schema.Rings[abi.RingRx].Header))
	ring.Head = ring.Tail
}

func isWithheld(v *channel.Violation) bool { return v != nil && errors.Is(v, channel.ErrWithheld) }
