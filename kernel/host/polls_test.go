package host

import (
	"testing"
	"time"

	"github.com/sluice-os/sluice/drivers/nic"
	"github.com/sluice-os/sluice/nexus/aqm"
	"github.com/sluice-os/sluice/nexus/moderation"
)

// TestPollsUnderLoad: the poller looks again at once when more may be there. When it has taken all
// that there was, it waits for an interrupt, unless much arrives: then it looks again while others
// want the processor, for as long as the load's step says.
func TestPollsUnderLoad(t *testing.T) {
	_, p, _ := newBenchStack(t, noOffloads)
	now := time.Second
	look := func(taken int) bool {
		p.taken, p.bytes = taken, taken*1514
		return p.polls(now)
	}
	for _, c := range []struct {
		name         string
		taken        int
		full, paused bool
		want         bool
	}{
		{name: "nothing"},
		{name: "a question", taken: 1},
		{name: "a full batch", taken: pollBudget, full: true, want: true},
		{name: "somebody has more to send", paused: true, want: true},
	} {
		p.full, p.paused = c.full, c.paused
		if got := look(c.taken); got != c.want {
			t.Errorf("%s: it polls: %t, want %t", c.name, got, c.want)
		}
	}
	p.full, p.paused = false, false
	for p.load.Step() < 2 {
		now += 5 * time.Millisecond
		look(110)
	}
	rest := moderation.Steps[1].Rest
	if !look(1) {
		t.Error("under load it does not look again when something has arrived")
	}
	if now += rest - 1; !look(0) {
		t.Error("its interrupts do not rest for as long as they may")
	}
	if now++; look(0) {
		t.Error("it goes on when its interrupts have rested for long enough")
	}
}

// TestPollsWhileOthersRun: when nobody else wants the processor it does not look again, unless it
// knows of more to do.
func TestPollsWhileOthersRun(t *testing.T) {
	_, p, _ := newBenchStack(t, noOffloads)
	now := time.Second
	p.link.tx.now = func() time.Duration { return now }
	if p.yield(now-pollAlone+1) || !p.yield(now-pollAlone) {
		t.Error("it looks again when nobody has run, or does not when somebody has")
	}
	if p.full = true; !p.yield(now) {
		t.Error("it does not look again after a full batch")
	}
	if p.full, p.paused = false, true; !p.yield(now) {
		t.Error("it does not look again when somebody has more to send")
	}
}

// TestLoadIsCountedAsOnTheLink: what a card has put together is as many packets as it was.
func TestLoadIsCountedAsOnTheLink(t *testing.T) {
	_, p, _ := newBenchStack(t, noOffloads)
	p.taken, p.bytes = 0, 0
	p.count([]nic.Packet{{Len: 60}, {Len: 1514}, {Len: 1515}, {Len: 10 * 1514}})
	if want := 60 + 1514 + 1515 + 10*1514; p.taken != 1+1+2+10 || p.bytes != want {
		t.Errorf("%d packets of %d bytes, want 14 of %d", p.taken, p.bytes, want)
	}
}

// letGo is a card that counts how often it is told to let go of its line, and ends its link when it
// is waited for.
type letGo struct {
	*port
	l       *link
	disarms int
	seen    []int // at each look
}

func (c *letGo) Disarm() { c.disarms++; c.port.Disarm() }
func (c *letGo) Wait()   { c.l.closed.Store(true) }
func (c *letGo) Receive(batch []nic.Packet) int {
	c.seen = append(c.seen, c.disarms)
	return c.port.Receive(batch)
}

// TestPollingLetsGoOfTheLine: a card whose poller goes on without waiting lets go of its line each
// time, as it may have interrupted for frames that were sent and others would hear it.
func TestPollingLetsGoOfTheLine(t *testing.T) {
	pa, pb := newCable(noOffloads, noOffloads)
	_, p := newBenchStackOn(t, pa, "192.0.2.1/24")
	c := &letGo{port: pa, l: p.link}
	p.link.dev, p.link.onLinkChange, p.link.onRate = c, func(bool) {}, func(aqm.Rate) {}
	for range pollBudget + 1 {
		if !pb.peer.arrive(make([]byte, 60), false) {
			t.Fatal("no room on the cable")
		}
	}
	p.run()
	if len(c.seen) < 2 || c.seen[0] != 0 || c.seen[1] != 1 {
		t.Errorf("let go %v times before each look", c.seen)
	}
}
