package host

import (
	"encoding/binary"
	"slices"
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

// reportBench is a bench with a domain that sends frames.
type reportBench struct {
	*queueBench
	end     *direct.End
	channel *channel.Channel
	user    *user.Channel
	wakes   int
}

const reportType = 0x88b5

func newReportBench(t *testing.T, limit int) *reportBench {
	b := &reportBench{queueBench: newQueueBench(t, limit)}
	b.now = time.Second
	var card *direct.Card
	b.s.Frames(func(p netif.FramePort) netif.FrameReceiver {
		card = direct.NewCard(p, func() time.Duration { return b.now })
		return card
	})
	l, err := arena.NewLayout(arena.Params{})
	if err != nil {
		t.Fatal(err)
	}
	memory := arenatest.New(t, l.Size)
	a, err := arena.New(l, memory, 5)
	if err != nil {
		t.Fatal(err)
	}
	b.channel = channel.New(a, 5)
	b.channel.Notify = func() { b.wakes++ }
	if b.end, err = card.Open(b.channel, reportType); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(b.end.Close)
	if b.user, err = user.New(unsafe.Pointer(memory.Domain()), func() { _ = b.end.Sync() }); err != nil {
		t.Fatal(err)
	}
	return b
}

// queue has the domain send a frame with a number in it, which the kernel sees at its next sync.
func (b *reportBench) queue(etherType uint16, m user.Outgoing) {
	b.t.Helper()
	frame := append(make([]byte, 12), byte(etherType>>8), byte(etherType))
	frame = append(frame, make([]byte, 28)...)
	frame = binary.BigEndian.AppendUint32(binary.BigEndian.AppendUint32(frame, 0), m.Cookie)
	frame = append(frame, make([]byte, 900)...)
	copy(frame, theirMAC[:])
	m.Length = len(frame)
	if !b.user.Send(&m, func(piece []byte) { frame = frame[copy(piece, frame):] }) {
		b.t.Fatal("no room")
	}
}

// told takes the reports that the domain has, and how often it was woken for them.
func (b *reportBench) told() (list [][2]uint32, wakes int) {
	b.user.Events(func(e abi.Slot) {
		if cookie, status, ok := user.Reported(e); ok {
			list = append(list, [2]uint32{cookie, uint32(status)})
		}
	})
	wakes, b.wakes = b.wakes, 0
	return list, wakes
}

// want checks what the domain is told, with one wakeup for all of it.
func (b *reportBench) want(when string, list ...[2]uint32) {
	b.t.Helper()
	got, wakes := b.told()
	if !slices.Equal(got, list) || wakes != min(len(list), 1) {
		b.t.Errorf("%s: told %v with %d wakeups, want %v", when, got, wakes, list)
	}
}

// step has the link send so many frames, each of which must be that with the next cookie.
func (b *reportBench) step(cookies ...uint32) {
	b.t.Helper()
	b.now += 3 * time.Millisecond
	for _, want := range cookies {
		if got := b.arrived(1); len(got) != 1 || got[0][1] != want {
			b.t.Errorf("%v has arrived, want %d", got, want)
		}
	}
	b.p.turn()
}

// settled checks that no report is owed any more.
func (b *queueBench) settled() {
	b.t.Helper()
	r := &b.l.tx.queue.reports
	n := 0
	for i := r.free; int(i) < len(r.all); i = r.all[i].next {
		n++
	}
	if n != len(r.all) || len(r.unseen) != 0 {
		b.t.Errorf("%d of %d reports are free, %d channels wait for theirs", n, len(r.all), len(r.unseen))
	}
	b.empty()
}

func sent(cookie uint32) [2]uint32 { return [2]uint32{cookie, abi.StatusSent} }

// TestNetifDirectChannelEvents (netifdirectchanevents): a domain is told of each frame that asks
// when the card has it: at once, or when there is room, or that it never will; with one wakeup a
// batch. Frames that do not ask have no events.
func TestNetifDirectChannelEvents(t *testing.T) {
	b := newReportBench(t, 2000) // two frames and a bit: three
	ask := func(cookies ...uint32) {
		for _, c := range cookies {
			b.queue(reportType, user.Outgoing{Cookie: c, Report: abi.PacketStatus})
		}
		b.user.Flush()
	}
	ask(1, 2, 3, 4)
	b.queue(reportType, user.Outgoing{Cookie: 5})
	b.queue(reportType, user.Outgoing{Cookie: 6, Report: abi.PacketExpiry})
	ask(7, 8)
	if n := b.l.tx.queue.length(); n != 5 {
		t.Fatalf("%d frames wait, want 5", n)
	}
	list, wakes := b.told()
	if !slices.Equal(list, [][2]uint32{sent(1), sent(2), sent(3)}) || wakes != 1 {
		t.Errorf("told %v with %d wakeups", list, wakes)
	}
	b.step(1)
	b.want("room for one", sent(4))
	b.step(2, 3)
	b.want("room for those that do not ask")
	b.step(4, 5)
	b.want("room for two", sent(7), sent(8))
	b.step(6, 7, 8)
	b.want("nothing more")
	b.settled()

	b.queue(reportType+1, user.Outgoing{Cookie: 9, Report: abi.PacketStatus})
	b.user.Flush()
	b.want("refused", [2]uint32{9, abi.StatusRefused})
	ask(11, 12, 13, 14, 15)
	b.told()
	b.l.tx.discard()
	b.want("without a link", [2]uint32{14, abi.StatusLinkDown}, [2]uint32{15, abi.StatusLinkDown})
	b.step(11, 12, 13)
	b.settled()
}

// TestNetifDirectExpiryEvents (netifdirectexpiryevents): a frame whose lifetime is over when it comes to
// its turn is not sent, and its domain is told if it asks; one whose lifetime is not over is, and
// its domain is told if it asks for all.
func TestNetifDirectExpiryEvents(t *testing.T) {
	b := newReportBench(t, 2000)
	for c := range uint32(3) {
		b.queue(reportType, user.Outgoing{Cookie: c, Lifetime: 1, Report: abi.PacketExpiry}) // leave at once
	}
	for _, m := range []user.Outgoing{
		{Cookie: 3, Lifetime: 3000, Report: abi.PacketExpiry},
		{Cookie: 4, Lifetime: 3001, Report: abi.PacketExpiry},
		{Cookie: 5, Lifetime: 5000},
		{Cookie: 6, Lifetime: 6000, Report: abi.PacketStatus},
		{Cookie: 7, Lifetime: 6001, Report: abi.PacketStatus},
		{Cookie: 8},
	} {
		b.queue(reportType, m)
	}
	b.user.Flush()
	b.want("nothing has expired")
	b.step(0)
	b.want("after 3 ms", [2]uint32{3, abi.StatusExpired})
	b.step(1)
	b.want("after 6 ms", [2]uint32{6, abi.StatusExpired}, sent(7))
	b.step(2, 4, 7)
	b.step(8)
	b.want("nothing more")
	if n, q := b.s.counters.get(txDropExpired), b.s.counters.get(txDropDelay); n != 3 || q != 0 {
		t.Errorf("%d have expired, %d have waited for too long", n, q)
	}
	b.settled()
}

// TestReportsOutliveTheDomain: frames of a domain that has closed its channel, or whose channel is
// defunct, leave, and nobody is told: nothing of it is touched or kept.
func TestReportsOutliveTheDomain(t *testing.T) {
	for name, end := range map[string]func(*reportBench){
		"close": func(b *reportBench) { b.end.Close(); b.channel.Arena().Free() },
		"defunct": func(b *reportBench) {
			if _, err := b.channel.Defunct(); err != nil {
				t.Error(err)
			}
		},
	} {
		b := newReportBench(t, 2000)
		for c := range uint32(6) {
			b.queue(reportType, user.Outgoing{Cookie: c, Report: abi.PacketStatus})
		}
		b.user.Flush()
		end(b)
		b.wakes = 0
		b.step(0, 1, 2)
		b.step(3, 4, 5)
		if c := b.channel.Counts(); b.wakes != 0 || c.Reports != 3 {
			t.Errorf("%s: %d wakeups, %d reports", name, b.wakes, c.Reports)
		}
		b.settled()
	}
}

// hears is a netif.Reporter.
type hears struct {
	list  [][2]uint32
	shown int
}

func (h *hears) Report(cookie uint32, status uint16) {
	h.list = append(h.list, [2]uint32{cookie, uint32(status)})
}
func (h *hears) ShowReports() { h.shown++ }

// TestReportOfParts: of a packet that waits in parts there is one report, when all of them are gone:
// that it was sent, or why the first that was not has been dropped.
func TestReportOfParts(t *testing.T) {
	for name, c := range map[string]struct {
		end  func(*queueBench) // when some of it has left
		life time.Duration
		want uint32
	}{
		"sent":    {want: abi.StatusSent},
		"link":    {end: func(b *queueBench) { b.l.tx.discard() }, want: abi.StatusLinkDown},
		"expired": {end: func(b *queueBench) { b.now += time.Second }, life: time.Second, want: abi.StatusExpired},
	} {
		b := newQueueBench(t, 3000)
		b.slowCard()
		h := &hears{}
		backlog := netif.Backlog{Reporter: h}
		o := b.segmentOf(&backlog, 20000, 1448)
		o.Asks, o.Cookie, o.Life = abi.PacketStatus, 42, c.life
		if r := b.card.Output(o, &b.hop); r != netif.Sent || b.l.tx.queue.length() < 4 {
			t.Fatalf("%s: result %d, %d parts wait", name, r, b.l.tx.queue.length())
		}
		for i := 0; backlog.Held > 0; i++ {
			if len(h.list) != 0 || i > 1000 {
				t.Fatalf("%s: told %v while %d pieces wait", name, h.list, backlog.Held)
			}
			if i == 3 && c.end != nil {
				c.end(b)
			}
			b.leave()
		}
		b.l.tx.endTurn(nil)
		if !slices.Equal(h.list, [][2]uint32{{42, c.want}}) || h.shown != 1 {
			t.Errorf("%s: told %v, shown %d times, want %d", name, h.list, h.shown, c.want)
		}
		b.settled()
	}
}

// TestReportOfTheFirstLoss: of a packet of which not all has left the reason of the first loss is told.
func TestReportOfTheFirstLoss(t *testing.T) {
	b := newQueueBench(t, 3000)
	h := &hears{}
	q := b.l.tx.queue
	o := &netif.Outgoing{Asks: abi.PacketStatus, Cookie: 5, Backlog: &netif.Backlog{Reporter: h}}
	k := q.follow(o, 4)
	for _, status := range []uint16{abi.StatusSent, abi.StatusDelay, abi.StatusLimit, abi.StatusSent} {
		if len(h.list) != 0 {
			t.Errorf("told %v too early", h.list)
		}
		q.ended(k-1, status)
	}
	q.showReports()
	if !slices.Equal(h.list, [][2]uint32{{5, abi.StatusDelay}}) {
		t.Errorf("told %v", h.list)
	}
	b.settled()
}

// TestReportsOfMany: more channels than wait at a time are told, each of its own packets.
func TestReportsOfMany(t *testing.T) {
	b := newQueueBench(t, 1<<20)
	var h [2*reportsMax + 3]hears
	b.l.tx.beginTurn()
	for round := range uint32(2) {
		for i := range h {
			backlog := &netif.Backlog{Reporter: &h[i]}
			b.l.tx.mu.Lock()
			b.l.tx.queue.report(backlog, abi.PacketStatus, round, abi.StatusSent)
			b.l.tx.queue.report(backlog, abi.PacketExpiry, round, abi.StatusSent)
			b.l.tx.queue.report(backlog, 0, round, abi.StatusExpired)
			b.l.tx.mu.Unlock()
		}
	}
	b.l.tx.endTurn(nil)
	for i := range h {
		if !slices.Equal(h[i].list, [][2]uint32{sent(0), sent(1)}) || h[i].shown != 2 {
			t.Errorf("channel %d: %v, shown %d times", i, h[i].list, h[i].shown)
		}
	}
	b.settled()
}

// TestReportsAllocateNothing, beyond what the first one does.
func TestReportsAllocateNothing(t *testing.T) {
	b := newReportBench(t, 2000)
	b.user.Events(func(abi.Slot) {})
	m := user.Outgoing{Length: 950, Report: abi.PacketStatus}
	frame := make([]byte, 950)
	copy(frame, theirMAC[:])
	binary.BigEndian.PutUint16(frame[12:], reportType)
	var left []byte
	fill := func(piece []byte) { left = left[copy(piece, left):] }
	n := 0
	count := func(abi.Slot) { n++ }
	round := func() {
		for range 5 {
			left = frame
			b.user.Send(&m, fill)
		}
		b.user.Flush()
		for range 5 {
			b.leave()
		}
		b.user.Events(count)
	}
	round()
	n = 0
	with := testing.AllocsPerRun(100, round)
	if n != 101*5 {
		t.Errorf("%d reports of 505", n)
	}
	m.Report = 0
	if without := testing.AllocsPerRun(100, round); with > without {
		t.Errorf("%v allocations with reports, %v without", with, without)
	}
	b.settled()
}
