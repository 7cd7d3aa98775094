package direct_test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"slices"
	"sync"
	"testing"
	"time"
	"unsafe"

	"github.com/sluice-os/sluice/nexus/abi"
	"github.com/sluice-os/sluice/nexus/arena"
	"github.com/sluice-os/sluice/nexus/arena/arenatest"
	"github.com/sluice-os/sluice/nexus/channel"
	"github.com/sluice-os/sluice/nexus/direct"
	"github.com/sluice-os/sluice/nexus/netif"
	user "github.com/sluice-os/sluice/userland/channel"
)

const lldp = 0x88cc

var (
	own   = [6]byte{2, 0, 0, 0, 0, 1}
	other = [6]byte{2, 0, 0, 0, 0, 2}
	all   = [6]byte{0x01, 0x80, 0xc2, 0, 0, 0x0e}
)

// stopped is a clock that stands still.
func stopped() time.Duration { return 0 }

// wire is a card. It implements netif.FramePort.
type wire struct {
	mu      sync.Mutex
	sent    [][]byte
	full    bool
	flushes int
	groups  int // by how many all groups are asked for
	// each, if it is not nil, is called with each frame that is sent.
	each func()
	// once, if it is not nil, is called once when the card was full and has room again,
	// before the sender knows.
	once func()
}

func (w *wire) AllGroups(on bool) {
	if on {
		w.groups++
	} else {
		w.groups--
	}
}

func (w *wire) Send(o *netif.Outgoing, to [6]byte) netif.Result {
	w.mu.Lock()
	if w.full {
		f := w.once
		w.mu.Unlock()
		if w.once = nil; f != nil {
			f()
		}
		return netif.Full
	}
	defer w.mu.Unlock()
	frame := binary.BigEndian.AppendUint16(slices.Concat(to[:], own[:]), o.EtherType)
	frame = append(frame, bytes.Join(o.Body, nil)...)
	if len(frame) != direct.HeaderLen+o.PayloadLen {
		panic("the pieces are not as long as they say")
	}
	w.sent = append(w.sent, frame)
	if w.each != nil {
		w.each()
	}
	return netif.Sent
}

func (w *wire) Hasten(uint32) {}

func (w *wire) Worked(b *netif.Backlog, work time.Duration) { b.Owe(work) }

func (w *wire) Address() [6]byte     { return own }
func (w *wire) MTU() int             { return 1500 }
func (w *wire) Flush(*netif.Backlog) { w.flushes++ }

// end is a domain's.
type end struct {
	*direct.End
	channel *channel.Channel
	user    *user.Channel
	events  int
	err     error
}

func open(t testing.TB, c *direct.Card, etherType uint16) *end {
	t.Helper()
	return openWith(t, c, etherType, arena.Params{})
}

func openWith(t testing.TB, c *direct.Card, etherType uint16, p arena.Params) *end {
	t.Helper()
	l, err := arena.NewLayout(p)
	if err != nil {
		t.Fatal(err)
	}
	memory := arenatest.New(t, l.Size)
	a, err := arena.New(l, memory, 3)
	if err != nil {
		t.Fatal(err)
	}
	e := &end{channel: channel.New(a, 3)}
	e.channel.Notify = func() { e.events++ }
	if e.End, err = c.Open(e.channel, etherType); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(e.Close)
	if e.user, err = user.New(unsafe.Pointer(memory.Domain()), func() { e.err = e.Sync() }); err != nil {
		t.Fatal(err)
	}
	return e
}

func frame(to, from [6]byte, etherType uint16, n int) []byte {
	b := binary.BigEndian.AppendUint16(slices.Concat(to[:], from[:]), etherType)
	for i := range n {
		b = append(b, byte(i))
	}
	return b
}

func (e *end) send(t testing.TB, b []byte) {
	t.Helper()
	rest := b
	if !e.user.Send(&user.Outgoing{Length: len(b)}, func(piece []byte) { rest = rest[copy(piece, rest):] }) {
		t.Fatal("no room")
	}
	e.user.Flush()
}

func (e *end) received() (list [][]byte) {
	e.user.Receive(100, func(in *user.Received) { list = append(list, bytes.Join(in.Pieces, nil)) })
	return list
}

func drops(c *direct.Card) map[string]uint64 {
	m := map[string]uint64{}
	c.Drops(func(name string, n uint64) {
		if n > 0 {
			m[name] = n
		}
	})
	return m
}

// TestNetifDirect (netifdirecttxrx; netifdirecttxrxsp with little memory, of which what arrives
// and what is sent have a part each): a channel sends and receives the frames of its
// EtherType, whole, from the card's own address, and no others.
func TestNetifDirect(t *testing.T) {
	small := arena.Params{Packets: 16, Buffers: 16, Advisory: 64}
	for kind := range small.Slots {
		small.Slots[kind] = 16
	}
	for name, p := range map[string]arena.Params{"netifdirecttxrx": {}, "netifdirecttxrxsp": small} {
		t.Run(name, func(t *testing.T) { netifDirect(t, p) })
	}
}

func netifDirect(t *testing.T, p arena.Params) {
	w := &wire{}
	c := direct.NewCard(w, stopped)
	if c.Wants(lldp) {
		t.Error("frames are wanted that nobody has asked for")
	}
	a, b := openWith(t, c, lldp, p), openWith(t, c, 0x88b5, p)
	for n := range 1501 {
		if n > 100 && n < 1490 {
			continue
		}
		f := frame(all, other, lldp, n)
		if !c.Wants(lldp) {
			t.Fatal("not wanted")
		}
		c.Frame(lldp, len(f), [][]byte{f[:min(7, len(f))], f[min(7, len(f)):]})
		c.Flush()
		if got := a.received(); len(got) != 1 || !bytes.Equal(got[0], f) {
			t.Fatalf("%d bytes: %d frames", n, len(got))
		}
		w.sent = nil
		a.send(t, frame(all, [6]byte{}, lldp, n))
		if len(w.sent) != 1 || !bytes.Equal(w.sent[0], frame(all, own, lldp, n)) {
			t.Fatalf("%d bytes: %d frames sent", n, len(w.sent))
		}
	}
	if len(b.received()) != 0 {
		t.Error("another channel has received some")
	}
	before := a.events
	for range 10 {
		f := frame(own, other, lldp, 10)
		c.Frame(lldp, len(f), [][]byte{f})
	}
	c.Flush()
	if a.events != before+1 || len(a.received()) != 10 {
		t.Errorf("%d events for a batch", a.events-before)
	}
	if m := drops(c); len(m) != 0 {
		t.Errorf("%v", m)
	}
	w.sent = nil
	if w.groups != 2 {
		t.Errorf("%d of two channels have the card take all groups", w.groups)
	}
	a.Close()
	if a.Close(); w.groups != 1 {
		t.Errorf("%d channels have the card take all groups, and one is open", w.groups)
	}
	if c.Wants(lldp) {
		t.Error("frames are wanted by a channel that is closed")
	}
	open(t, c, lldp)
}

// TestForgedFrames has a domain send what it may not. Each has its counter and nothing
// leaves; the control leaves.
func TestForgedFrames(t *testing.T) {
	for _, tt := range []struct {
		name  string
		frame []byte
		want  string
	}{
		{"control", frame(all, [6]byte{}, lldp, 20), ""},
		{"control in its own name", frame(other, own, lldp, 1500), ""},
		{"another's name", frame(all, other, lldp, 20), "tx_source"},
		{"IPv4", frame(all, own, 0x0800, 20), "tx_type"},
		{"ARP", frame(all, own, 0x0806, 28), "tx_type"},
		{"a tag", frame(all, own, 0x8100, 20), "tx_type"},
		{"another EtherType", frame(all, own, lldp+1, 20), "tx_type"},
		{"too long", frame(all, own, lldp, 1501), "tx_long"},
		{"far too long", frame(all, own, lldp, 9000), "tx_long"},
		{"no payload", frame(all, own, lldp, 0), ""},
		{"no header", frame(all, own, lldp, 0)[:13], "tx_short"},
		{"a byte", []byte{1}, "tx_short"},
	} {
		w := &wire{}
		c := direct.NewCard(w, stopped)
		e := open(t, c, lldp)
		e.send(t, tt.frame)
		m := drops(c)
		if tt.want == "" && (len(w.sent) != 1 || len(m) != 0) || tt.want != "" && (len(w.sent) != 0 || m["direct_drop_"+tt.want] != 1) || e.err != nil {
			t.Errorf("%s: %d sent, %v, %v", tt.name, len(w.sent), m, e.err)
		}
		if n := e.channel.Counts().TxRefused; (n == 1) != (tt.want != "") {
			t.Errorf("%s: the channel counts %d", tt.name, n)
		}
		e.send(t, frame(all, own, lldp, 5))
		if len(w.sent) == 0 {
			t.Errorf("%s: nothing leaves afterwards", tt.name)
		}
	}
}

// TestEtherTypes (bindnetifkey, netiffsw): an EtherType is one channel's, and those of the
// host stack and of tags are nobody's.
func TestEtherTypes(t *testing.T) {
	c := direct.NewCard(&wire{}, stopped)
	e := open(t, c, lldp)
	for etherType, want := range map[uint16]error{
		lldp: direct.ErrBusy, 0x0800: direct.ErrReserved, 0x0806: direct.ErrReserved, 0x86dd: direct.ErrReserved,
		0x8100: direct.ErrReserved, 0x88a8: direct.ErrReserved, 0x05ff: direct.ErrReserved, 0: direct.ErrReserved, 0xffff: nil, 0x600: nil,
	} {
		if _, err := c.Open(e.channel, etherType); !errors.Is(err, want) || (err == nil) != (want == nil) {
			t.Errorf("%#04x: %v, want %v", etherType, err, want)
		}
	}
}

func TestParse(t *testing.T) {
	for word, want := range map[string]uint16{"88cc": lldp, "0600": 0x600, "0800": 0, "86dd": 0, "88CC": 0, "0x88cc": 0, "88c": 0, "+8cc": 0, "088cc": 0, "05ff": 0, "": 0} {
		if got, ok := direct.Parse(word); ok != (want != 0) || ok && got != want {
			t.Errorf("%q: %#04x, %v", word, got, ok)
		}
	}
}

// TestFullCard: frames wait for a card that is full, in order, also when it has room again
// before anybody knows of that.
func TestFullCard(t *testing.T) {
	for _, late := range []bool{false, true} {
		w := &wire{full: true}
		c := direct.NewCard(w, stopped)
		e := open(t, c, lldp)
		if late {
			w.once = func() { w.full = false; c.Room() }
		}
		for i := range 5 {
			e.send(t, frame(all, own, lldp, 10+i))
		}
		if !late {
			if len(w.sent) != 0 {
				t.Errorf("%d frames are sent by a card that is full", len(w.sent))
			}
			w.full = false
			c.Room()
		}
		if len(w.sent) != 5 {
			t.Errorf("late %v: %d frames", late, len(w.sent))
		}
		for i, f := range w.sent {
			if len(f) != direct.HeaderLen+10+i {
				t.Errorf("late %v: frame %d has %d bytes", late, i, len(f))
			}
		}
	}
}

// TestWorkIsOwed: what the receiver does for a domain is on its account, if what arrives finds
// room or not, and what waits for the card is sent for a while at a time.
func TestWorkIsOwed(t *testing.T) {
	const each, frames = 100 * time.Microsecond, 80
	var now, step time.Duration // step is how long it takes from one look at the clock to the next
	w := &wire{}
	c := direct.NewCard(w, func() time.Duration { now += step; return now })
	ends := []*end{open(t, c, lldp), open(t, c, lldp+1)}
	owed := func() [2]time.Duration { return [2]time.Duration{ends[0].channel.Owed(), ends[1].channel.Owed()} }
	step = each
	for _, etherType := range []uint16{lldp, lldp + 1, lldp, lldp} {
		f := frame(own, other, etherType, 100)
		c.Frame(etherType, len(f), [][]byte{f})
	}
	c.Flush()
	if got := owed(); got != [2]time.Duration{3 * each, each} {
		t.Errorf("for three frames and one %v are owed", got)
	}
	for f := frame(own, other, lldp, 100); drops(c)["direct_drop_rx_no_room"] == 0; c.Flush() {
		owed()
		c.Frame(lldp, len(f), [][]byte{f})
	}
	if got := owed(); got != [2]time.Duration{each, 0} {
		t.Errorf("for a frame that finds no room %v are owed", got)
	}
	step = 0
	w.full = true
	for i, e := range ends {
		for range frames {
			e.send(t, frame(all, own, lldp+uint16(i), 60))
		}
	}
	w.full, w.each = false, func() { now += each }
	calls := 0
	for more := true; more; calls++ {
		began := now
		more = c.Room()
		if took := now - began; took > time.Millisecond+64*each {
			t.Errorf("call %d takes %v", calls, took)
		}
		if calls > 100 {
			t.Fatal("there is no end to it")
		}
	}
	if got := owed(); got != [2]time.Duration{frames * each, frames * each} || len(w.sent) != 2*frames || calls < 4 {
		t.Errorf("%d frames are sent in %d calls, %v are owed", len(w.sent), calls, got)
	}
}

// TestNoRoomIsCounted: frames that a domain does not read are dropped, and the next ones
// arrive when it does.
func TestNoRoomIsCounted(t *testing.T) {
	c := direct.NewCard(&wire{}, stopped)
	e := open(t, c, lldp)
	f := frame(own, other, lldp, 1000)
	const many = 20_000
	for range many {
		c.Frame(lldp, len(f), [][]byte{f})
	}
	c.Flush()
	n := uint64(0)
	for got := e.received(); len(got) > 0; got = e.received() {
		n += uint64(len(got))
	}
	if dropped := drops(c)["direct_drop_rx_no_room"]; dropped == 0 || n+dropped != many {
		t.Errorf("%d received, %d dropped of %d", n, dropped, many)
	}
	_ = e.Sync()
	c.Frame(lldp, len(f), [][]byte{f})
	c.Flush()
	if len(e.received()) != 1 {
		t.Error("nothing arrives afterwards")
	}
}

// TestClosedWhileItRuns (utun27646755) closes channels while frames arrive and leave.
func TestClosedWhileItRuns(t *testing.T) {
	w := &wire{}
	c := direct.NewCard(w, stopped)
	stop := make(chan struct{})
	var wg sync.WaitGroup
	wg.Go(func() {
		f := frame(own, other, lldp, 100)
		for {
			select {
			case <-stop:
				return
			default:
				if c.Wants(lldp) {
					c.Frame(lldp, len(f), [][]byte{f})
				}
				c.Flush()
				c.Room()
			}
		}
	})
	for range 50 {
		e := open(t, c, lldp)
		for range 5 {
			e.send(t, frame(all, own, lldp, 60))
			e.received()
		}
		e.Close()
	}
	close(stop)
	wg.Wait()
}

// TestExpiry: the lifetime of a frame goes on while it waits for the card, and what is left of it goes
// with it; when it is over it is dropped, counted, and told to whom asks.
func TestExpiry(t *testing.T) {
	for after, left := range map[time.Duration]time.Duration{
		0: time.Millisecond, 999 * time.Microsecond: time.Microsecond, time.Millisecond: 0, 1900 * time.Microsecond: 0,
	} {
		w, now := &lasting{}, time.Hour
		c := direct.NewCard(w, func() time.Duration { return now })
		e := open(t, c, lldp)
		send := func(m user.Outgoing) {
			f := frame(all, own, lldp, 10)
			m.Length = len(f)
			if !e.user.Send(&m, func(piece []byte) { f = f[copy(piece, f):] }) {
				t.Fatal("no room")
			}
			e.user.Flush()
		}
		w.full = true
		for cookie := range uint32(2) {
			send(user.Outgoing{Lifetime: 1000, Cookie: cookie, Report: abi.PacketExpiry})
		}
		send(user.Outgoing{})
		now += after / 2
		e.user.Flush()
		w.full, now = false, time.Hour+after
		c.Room()
		want, told := []time.Duration{left, time.Millisecond, 0}, []abi.Slot(nil)
		if left == 0 {
			want, told = want[1:], []abi.Slot{{Index: 0, Kind: abi.SlotReport, Length: abi.StatusExpired}}
		}
		var got []abi.Slot
		e.user.Events(func(s abi.Slot) { got = append(got, s) })
		if !slices.Equal(w.lives, want) || !slices.Equal(got, told) {
			t.Errorf("after %v: %v left to live, told %v; want %v and %v", after, w.lives, got, want, told)
		}
		if n := drops(c)["direct_drop_tx_expired"]; n != uint64(len(told)) {
			t.Errorf("after %v: %d drops are counted", after, n)
		}
	}
}

// lasting is a card that keeps how long frames are worth sending.
type lasting struct {
	wire
	lives []time.Duration
}

func (w *lasting) Send(o *netif.Outgoing, to [6]byte) netif.Result {
	r := w.wire.Send(o, to)
	if r == netif.Sent {
		w.lives = append(w.lives, o.Life)
	}
	return r
}

func TestNoAllocations(t *testing.T) {
	w := &quiet{}
	c := direct.NewCard(w, stopped)
	e := open(t, c, lldp)
	f := frame(all, own, lldp, 500)
	pieces := [][]byte{f[:100], f[100:]}
	left := f
	fill := func(piece []byte) { left = left[copy(piece, left):] }
	out := user.Outgoing{Length: len(f)}
	took := func(*user.Received) {}
	if n := testing.AllocsPerRun(200, func() {
		left = f
		if !e.user.Send(&out, fill) {
			t.Fatal("no room")
		}
		e.user.Flush()
		c.Frame(lldp, len(f), pieces)
		c.Flush()
		e.user.Receive(10, took)
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

// quiet is a card that keeps nothing.
type quiet struct{ wire }

func (*quiet) Send(*netif.Outgoing, [6]byte) netif.Result { return netif.Sent }
