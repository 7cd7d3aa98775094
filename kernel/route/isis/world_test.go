package isis

import (
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/sluice-os/sluice/kernel/route/gate"
	"github.com/sluice-os/sluice/kernel/route/isis/pdu"
)

// This file owns a network of routers in virtual time: wires with a delay between instances, and
// scripted neighbours that see what is sent and say what a test wants.

const (
	sec = time.Second
	ms  = time.Millisecond
)

type world struct {
	testing.TB
	timers  timers
	now     time.Duration
	routers []*router
	wires   []*wire
}

func newWorld(tb testing.TB) *world { return &world{TB: tb} }

// router is an instance with what it told.
type router struct {
	*Instance
	w      *world
	name   string
	number int
	ends   []*end // by circuit
	events []Event
	tick   timer
	// changes are the changes of routes, in their order.
	changes []Change
}

// end is one end of a wire.
type end struct {
	r       *router // nil: a scripted one
	circuit int
	snpa    pdu.SNPA
	wire    *wire
	link    Link
	hear    func(now time.Duration, from pdu.SNPA, b []byte)
}

// wire joins ends.
type wire struct {
	ends  []*end
	delay time.Duration
	cut   bool
	// lose says whether a frame is lost; nil: none is.
	lose  func(b []byte) bool
	count int
}

func systemOf(n int) pdu.SystemID { return pdu.SystemID{4: byte(n >> 8), 5: byte(n)} }

// add makes a router with number n.
func (w *world) add(n int, change func(*Config)) *router {
	w.Helper()
	r := &router{w: w, number: n, name: fmt.Sprintf("r%d", n)}
	c := Config{System: systemOf(n), Areas: []pdu.Area{"\x49\x00\x01"}, Levels: 2, Hostname: r.name, StartOverload: -1, Seed: 1}
	c.Send = func(circuit int, to pdu.SNPA, b []byte) { w.carry(r.ends[circuit], b) }
	c.Event = func(e Event) { r.events = append(r.events, e) }
	c.Routes = func(_ time.Duration, changes []Change) { r.changes = append(r.changes, changes...) }
	if change != nil {
		change(&c)
	}
	i, err := New(w.now, c)
	if err != nil {
		w.Fatal(err)
	}
	r.Instance = i
	r.tick.call = func(now time.Duration) {
		r.Tick(now)
		w.touch(r)
	}
	w.routers = append(w.routers, r)
	w.touch(r)
	return r
}

// touch looks when a router wants its next tick.
func (w *world) touch(r *router) {
	at, ok := r.Next()
	switch {
	case !ok:
		w.timers.stop(&r.tick)
	case !r.tick.running() || at != r.tick.at:
		w.timers.set(&r.tick, max(at, w.now))
	}
}

// carry takes what is sent at an end to the others of its wire.
func (w *world) carry(from *end, b []byte) {
	wire := from.wire
	wire.count++
	if wire.cut || wire.lose != nil && wire.lose(b) {
		return
	}
	b = append([]byte(nil), b...)
	for _, e := range wire.ends {
		if e == from {
			continue
		}
		t := &timer{}
		t.call = func(now time.Duration) {
			switch {
			case wire.cut:
			case e.r != nil:
				e.r.Receive(now, e.circuit, from.snpa, b)
				w.touch(e.r)
			case e.hear != nil:
				e.hear(now, from.snpa, b)
			}
		}
		w.timers.set(t, w.now+wire.delay)
	}
}

// run lets time pass.
func (w *world) run(d time.Duration) { w.until(w.now + d) }

func (w *world) until(end time.Duration) {
	w.Helper()
	for {
		at, ok := w.timers.next()
		if !ok || at > end {
			break
		}
		w.step()
	}
	w.now = end
}

// step does one thing: a router's tick, or a frame that arrives.
func (w *world) step() {
	t := w.timers.heap[0]
	if t.at < w.now {
		w.Fatalf("time goes back from %v to %v", w.now, t.at)
	}
	w.now = t.at
	w.timers.stop(t)
	t.call(w.now)
}

// wired makes a wire.
func (w *world) wired() *wire {
	x := &wire{delay: ms}
	w.wires = append(w.wires, x)
	return x
}

// on puts a router on a wire: its circuit has an address of each family, which works, in
// 10.n.0.0/16 for the n-th wire.
func (r *router) on(x *wire, kind Kind, change func(*CircuitConfig)) *end {
	r.w.Helper()
	n := len(r.w.wires)
	for i, o := range r.w.wires {
		if o == x {
			n = i
		}
	}
	e := &end{r: r, wire: x, circuit: len(r.ends), snpa: pdu.SNPA{2, byte(n >> 8), byte(n), 0, byte(r.number >> 8), byte(r.number)}}
	e.link = goodLink(n, r.number)
	cc := CircuitConfig{Name: fmt.Sprintf("e%d", e.circuit), Kind: kind, IPv4: true, IPv6: true, SNPA: e.snpa}
	if change != nil {
		change(&cc)
	}
	r.ends = append(r.ends, e)
	x.ends = append(x.ends, e)
	if _, err := r.AddCircuit(r.w.now, cc); err != nil {
		r.w.Fatal(err)
	}
	r.w.touch(r)
	return e
}

// goodLink is one that works for both families.
func goodLink(wire, host int) Link {
	var l Link
	l.Carrier, l.MTU = true, 1500
	l.IPv4 = []netip.Prefix{netip.PrefixFrom(netip.AddrFrom4([4]byte{10, byte(wire), byte(host >> 8), byte(host)}), 16)}
	l.LinkLocals = []gate.LinkLocal{{Addr: linkLocal(host), DAD: gate.Done}}
	return l
}

func linkLocal(host int) netip.Addr {
	return netip.AddrFrom16([16]byte{0: 0xfe, 1: 0x80, 14: byte(host >> 8), 15: byte(host)})
}

// set changes what the machine says of the link.
func (e *end) set(change func(*Link)) {
	if change != nil {
		change(&e.link)
	}
	l := e.link
	l.LinkLocals = append([]gate.LinkLocal(nil), l.LinkLocals...)
	e.r.SetLink(e.r.w.now, e.circuit, l)
	e.r.w.touch(e.r)
}

// state is the state of the only adjacency of an end.
func (e *end) state() State {
	list := e.r.circuits[e.circuit].adjacencies()
	if len(list) != 1 {
		return Down
	}
	return list[0].state
}

// why is the gate's reason there.
func (e *end) why() gate.Reason {
	list := e.r.circuits[e.circuit].adjacencies()
	if len(list) != 1 {
		return gate.NotHeard
	}
	why, _ := list[0].gate.Why()
	return why
}

// log are the events of some kinds, a line each.
func (r *router) log(kinds ...EventKind) string {
	var b strings.Builder
	for _, e := range r.events {
		for _, k := range kinds {
			if e.Kind == k {
				fmt.Fprintf(&b, "%10.3f %s %v\n", e.At.Seconds(), r.name, e)
			}
		}
	}
	return b.String()
}

// count is how many events there are of a kind.
func (r *router) count(k EventKind) (n int) {
	for _, e := range r.events {
		if e.Kind == k {
			n++
		}
	}
	return n
}

// own is our first fragment in a level.
func (r *router) own(n pdu.Level) *pdu.LSP {
	if e := r.levels[n].entries[r.config.System.Node(0).LSP(0)]; e != nil {
		return e.lsp
	}
	return &pdu.LSP{}
}

// route is the installed route to a prefix.
func (r *router) route(p string) (Route, bool) {
	x, ok := r.routes.installed[netip.MustParsePrefix(p)]
	return x, ok
}

// neighbour is a scripted one on a wire.
type neighbour struct {
	w      *world
	e      *end
	system pdu.SystemID
	hello  pdu.Hello
	key    *pdu.Key
	pad    int
	timer  timer
	// heard is the last hello that came, hellos all of them with their times.
	heard  *pdu.Hello
	hellos []heardHello
	lsps   []*pdu.LSP
	snps   []*pdu.SNP
	follow bool // the three-way state follows what it hears
}

type heardHello struct {
	at     time.Duration
	hello  *pdu.Hello
	length int
}

// neighbour puts a scripted neighbour on a wire, that speaks both families and has an address of each.
func (w *world) neighbour(x *wire, t pdu.Type, n int) *neighbour {
	p := &neighbour{w: w, system: systemOf(n), e: &end{wire: x, snpa: pdu.SNPA{4, 0, 0, 0, 0, byte(n)}}}
	wire := 0
	for i, o := range w.wires {
		if o == x {
			wire = i
		}
	}
	p.hello = pdu.Hello{Type: t, Levels: 2, Source: p.system, Hold: 30, Priority: 10}
	p.hello.Areas = []pdu.Area{"\x49\x00\x01"}
	p.hello.NLPIDs = []byte{pdu.NLPIDv4, pdu.NLPIDv6}
	l := goodLink(wire, n)
	p.hello.IPv4, p.hello.IPv6 = []netip.Addr{l.IPv4[0].Addr()}, []netip.Addr{linkLocal(n)}
	p.follow = true
	p.e.hear = p.hear
	x.ends = append(x.ends, p.e)
	p.timer.call = func(now time.Duration) {
		p.say()
		w.timers.set(&p.timer, now+sec)
	}
	return p
}

// hear takes what comes on the wire.
func (p *neighbour) hear(now time.Duration, from pdu.SNPA, b []byte) {
	v, why := pdu.Check(b)
	if why != pdu.OK {
		p.w.Fatalf("sent %x: %v", b, why)
	}
	switch v.Type() {
	case pdu.HelloP2P, pdu.HelloL1, pdu.HelloL2:
		p.heard = v.Hello()
		p.hellos = append(p.hellos, heardHello{now, p.heard, len(b)})
		if p.follow && (v.Type() == pdu.HelloP2P) == (p.hello.Type == pdu.HelloP2P) {
			p.answer(from)
		}
	case pdu.LSPL1, pdu.LSPL2:
		if !v.ChecksumOK() {
			p.w.Fatalf("sent an LSP with a wrong checksum: %x", b)
		}
		p.lsps = append(p.lsps, v.LSP())
	default:
		p.snps = append(p.snps, v.SNP())
	}
}

// answer makes the next hello say what a router without a gate says.
func (p *neighbour) answer(from pdu.SNPA) {
	if p.hello.Type != pdu.HelloP2P {
		p.hello.SNPAs = []pdu.SNPA{from}
		return
	}
	before := p.hello.ThreeWay
	w := &pdu.ThreeWay{State: pdu.SaysInit, Local: 1, HasLocal: true, Neighbour: p.heard.Source, NeighbourCircuit: p.heard.ThreeWay.Local, HasNeighbour: true}
	if p.heard.ThreeWay.State != pdu.SaysDown {
		w.State = pdu.SaysUp
	}
	p.hello.ThreeWay = w
	if before == nil || before.State != w.State {
		p.say()
	}
}

// say sends the hello.
func (p *neighbour) say() {
	if p.hello.Type == pdu.HelloP2P && p.hello.ThreeWay == nil {
		p.hello.ThreeWay = &pdu.ThreeWay{State: pdu.SaysDown, Local: 1, HasLocal: true}
	}
	p.w.carry(p.e, p.hello.Append(nil, p.pad, p.key))
}

// start says hello every second from now on.
func (p *neighbour) start() { p.w.timers.set(&p.timer, p.w.now) }
func (p *neighbour) stop()  { p.w.timers.stop(&p.timer) }

// send sends an LSP of its own.
func (p *neighbour) send(c pdu.Content) {
	p.w.carry(p.e, c.Append(nil, p.key))
}

// strict has a circuit's gate wait for both families.
func strict(c *CircuitConfig) { c.Gate = gate.Config{Strict: true} }
func trust(c *CircuitConfig)  { c.Gate = gate.Config{Strict: true, TrustHello: true} }
