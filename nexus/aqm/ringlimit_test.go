package aqm_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/sluice-os/sluice/nexus/aqm"
)

// card is a ring that is emptied at a rate, and looked at every so often.
type card struct {
	aqm.RingLimit
	now        time.Duration
	rate       aqm.Rate
	ring, done int // bytes that wait, and that are finished and not looked at
	idle       time.Duration
	most       int // that the ring held
}

// pass has the card work until the next look, and the caller fill the ring then, if
// there is enough of it up to want bytes.
func (c *card) pass(look time.Duration, packet, want int) {
	can := c.rate.Bytes(look)
	sent := min(can, c.ring)
	c.idle += c.rate.Time(can - sent)
	c.ring -= sent
	c.done += sent
	c.now += look
	c.Completed(c.now, c.done)
	c.done = 0
	for want >= packet && c.Room() {
		c.Sent(packet)
		c.ring += packet
		want -= packet
	}
	c.Told(c.now)
	c.most = max(c.most, c.ring)
}

// busy is the part of the time since the last one in which the card had work.
func (c *card) busy(since time.Duration) float64 {
	b := 1 - float64(c.idle)/float64(c.now-since)
	c.idle, c.most = 0, 0
	return b
}

const plenty = 1 << 40

// TestRingLimitFollows: the limit becomes what keeps the card busy from one look to the
// next, and little more, whatever the rate.
func TestRingLimitFollows(t *testing.T) {
	for _, rate := range []aqm.Rate{10 * aqm.Megabit, 100 * aqm.Megabit, aqm.Gigabit, 10 * aqm.Gigabit} {
		for _, look := range []time.Duration{50 * time.Microsecond, 500 * time.Microsecond, 5 * ms} {
			// The longest are what senders are allowed: see aqm.Largest.
			for _, packet := range []int{1514, 14 + aqm.Largest(rate, 1500)} {
				t.Run(fmt.Sprintf("%d Mbit/s, %v, %d bytes", rate/aqm.Megabit, look, packet), func(t *testing.T) {
					c := &card{RingLimit: aqm.NewRingLimit(0, 1<<30), rate: rate}
					for c.now < 3*time.Second {
						c.pass(look, packet, plenty)
					}
					c.busy(0)
					start := c.now
					low, high := c.Limit(), 0
					for c.now < start+6*time.Second {
						c.pass(look, packet, plenty)
						low, high = min(low, c.Limit()), max(high, c.Limit())
					}
					if high > low+low/4+packet {
						t.Errorf("the limit goes up and down between %d and %d", low, high)
					}
					most := c.most
					if b := c.busy(start); b < 0.9999 {
						t.Errorf("the card had work %.5f of the time, with a limit of %d", b, c.Limit())
					}
					// Two looks' worth, and the packet that was begun below the limit.
					if bound := max(4*rate.Bytes(look), 2*aqm.RingLimitMin) + 2*packet; most > bound {
						t.Errorf("the ring held %d bytes, want %d at most", most, bound)
					}
				})
			}
		}
	}
}

// TestRingLimitShrinks: when somebody looks more often, less is kept in the ring; within
// its bounds.
func TestRingLimitShrinks(t *testing.T) {
	c := &card{RingLimit: aqm.NewRingLimit(0, 0), rate: aqm.Gigabit}
	for c.now < 2*time.Second {
		c.pass(5*ms, 1514, plenty)
	}
	before := c.Limit()
	if before < aqm.Gigabit.Bytes(5*ms) {
		t.Fatalf("the limit is %d", before)
	}
	for c.now < 6*time.Second {
		c.pass(50*time.Microsecond, 1514, plenty)
	}
	if c.Limit() > before/10 || c.Limit() < aqm.RingLimitMin {
		t.Errorf("the limit is %d, and was %d", c.Limit(), before)
	}
	for c.now < 8*time.Second {
		c.pass(time.Second, 1514, plenty)
	}
	if c.Limit() > aqm.RingLimitMax {
		t.Errorf("the limit is %d", c.Limit())
	}
}

// TestRingLimitIdle: as long as the caller has no more than the ring takes, nothing
// is learnt, and idle time is no reason to change anything.
func TestRingLimitIdle(t *testing.T) {
	c := &card{RingLimit: aqm.NewRingLimit(0, 0), rate: aqm.Gigabit}
	for c.now < 2*time.Second {
		c.pass(ms, 1514, plenty)
	}
	before := c.Limit()
	for c.now < 10*time.Second {
		c.pass(ms, 1514, 5000)
	}
	if c.Limit() != before {
		t.Errorf("the limit is %d, and was %d", c.Limit(), before)
	}
	// The first look after that decides nothing alone.
	r := aqm.NewRingLimit(0, 0)
	for range 10 {
		for r.Room() {
			r.Sent(10_000)
		}
		r.Completed(0, r.InFlight()) // it ran dry
	}
	before = r.Limit()
	for s := range time.Duration(10) {
		r.Sent(1514)
		r.Completed(s*time.Second, 1514)
	}
	for r.Room() {
		r.Sent(10_000)
	}
	r.Completed(9*time.Second+ms, 10_000)
	if before < 100_000 || r.Limit() != before {
		t.Errorf("the limit is %d after one look, and was %d", r.Limit(), before)
	}
	for r.Room() {
		r.Sent(10_000)
	}
	r.Completed(11*time.Second, 10_000)
	if r.Limit() >= before {
		t.Errorf("the limit is %d after a second with too much, and was %d", r.Limit(), before)
	}
}

// TestRingLimitOfAStarvedCard: a card that is slow to take its work up, so that it has finished
// all of it at each look, seems as slow as what it was given was little. It is given more until
// it is kept busy, whatever it seemed at first; and it has less again when that has passed.
func TestRingLimitOfAStarvedCard(t *testing.T) {
	const rate = aqm.Gigabit
	for _, late := range []time.Duration{ms, 4 * ms, 10 * ms, 20 * ms} {
		c := &card{RingLimit: aqm.NewRingLimit(0, 0), rate: rate}
		for c.now < 200*ms { // it seemed to be a slow one
			c.rate = 10 * aqm.Megabit
			c.pass(c.rate.Time(1514), 1514, plenty)
		}
		c.rate = rate
		for c.now < 2*time.Second {
			c.pass(late, 1514, plenty)
		}
		c.busy(0)
		start := c.now
		for c.now < start+time.Second {
			c.pass(late, 1514, plenty)
		}
		if b := c.busy(start); b < 0.99 {
			t.Errorf("looked at each %v: the card had work %.3f of the time, with a limit of %d", late, b, c.Limit())
		}
		for start := c.now; c.now < start+4*time.Second; {
			c.pass(rate.Time(1514), 1514, plenty)
		}
		if most := rate.Bytes(3 * ms); c.Limit() > most {
			t.Errorf("looked at for each packet after %v: the limit is %d, want %d at most", late, c.Limit(), most)
		}
	}
}

// TestRingLimitComesBack: who looked late all the time for a while, and looks late now and then
// afterwards, has what is good for that again within seconds.
func TestRingLimitComesBack(t *testing.T) {
	const rate = 10 * aqm.Megabit
	c := &card{RingLimit: aqm.NewRingLimit(0, 0), rate: rate}
	for c.now < time.Second {
		c.pass(rate.Time(1514), 1514, plenty)
	}
	for c.now < 2*time.Second {
		c.pass(20*ms, 1514, plenty)
	}
	if least := rate.Bytes(20 * ms); c.Limit() < least {
		t.Fatalf("the limit is %d, want %d at least", c.Limit(), least)
	}
	for i := 0; c.now < 10*time.Second; i++ {
		look := rate.Time(1514)
		if i%50 == 49 {
			look = 40 * ms
		}
		c.pass(look, 1514, plenty)
	}
	if most := rate.Bytes(3 * ms); c.Limit() > most {
		t.Errorf("the limit is %d, want %d at most", c.Limit(), most)
	}
}

// TestRingLimitOfACardThatCatchesUp: a card that was held up now and then and makes up for it
// at ten times its rate is not thought to be that fast.
func TestRingLimitOfACardThatCatchesUp(t *testing.T) {
	const rate = 10 * aqm.Megabit
	c := &card{RingLimit: aqm.NewRingLimit(0, 0), rate: rate}
	high := aqm.Rate(0)
	for i := 0; c.now < 10*time.Second; i++ {
		if c.rate = rate; i%20 >= 15 {
			c.rate = 1 // nothing
			if i%20 == 19 {
				c.rate = 10 * rate
			}
		}
		c.pass(rate.Time(1514), 1514, plenty)
		if c.now > time.Second {
			high = max(high, c.Rate())
		}
	}
	if high > rate*6/5 {
		t.Errorf("the rate is %d bit/s, want %d", high, rate)
	}
	if most := rate.Bytes(4 * ms); c.Limit() > most {
		t.Errorf("the limit is %d, want %d at most", c.Limit(), most)
	}
}

// TestRingLimitAccount: what is in flight is what was sent and not completed, even when a
// card says that it has finished more.
func TestRingLimitAccount(t *testing.T) {
	r := aqm.NewRingLimit(1000, 2000)
	for range 2 {
		if !r.Room() {
			t.Fatal("no room in an empty ring")
		}
		r.Sent(2500)
		if r.Room() || r.InFlight() != 2500 {
			t.Fatalf("room with %d of %d", r.InFlight(), r.Limit())
		}
		r.Completed(0, 0)
		r.Completed(0, -5)
		if r.InFlight() != 2500 {
			t.Fatalf("%d in flight", r.InFlight())
		}
		r.Reset()
		if r.InFlight() != 0 || r.Limit() != 2000 {
			t.Fatalf("%d of %d after a reset", r.InFlight(), r.Limit())
		}
	}
	for range 10 {
		r.Sent(3000)
		r.Room()
		r.Completed(0, 1<<40)
	}
	if r.InFlight() != 0 || r.Limit() != 2000 {
		t.Errorf("%d in flight, limit %d", r.InFlight(), r.Limit())
	}
	for _, c := range [][3]int{{-5, -5, 1}, {10, 5, 10}, {0, 0, aqm.RingLimitFirst}, {1 << 20, 0, 1 << 20}} {
		if r := aqm.NewRingLimit(c[0], c[1]); r.Limit() != c[2] {
			t.Errorf("NewRingLimit(%d, %d) has %d", c[0], c[1], r.Limit())
		}
	}
}

// TestRingLimitBegins: a fast card is never kept waiting at first, and a slow one has little
// in its ring after a quarter of a second, looked at for each frame.
func TestRingLimitBegins(t *testing.T) {
	r := aqm.NewRingLimit(0, 0)
	for n := 0; n < 4; n++ {
		if !r.Room() {
			t.Errorf("no room for packet %d of the longest ones", n)
		}
		r.Sent(64 << 10)
	}
	c := &card{RingLimit: aqm.NewRingLimit(0, 0), rate: 10 * aqm.Megabit}
	for c.now < 250*ms {
		c.pass(c.rate.Time(1514), 1514, plenty)
	}
	if c.Limit() > 4*1514 {
		t.Errorf("the limit is %d", c.Limit())
	}
}

// TestRingLimitForgets: a limit that begins anew is the first one, as soon as that is too much.
func TestRingLimitForgets(t *testing.T) {
	c := &card{RingLimit: aqm.NewRingLimit(0, 0), rate: 10 * aqm.Megabit}
	for range 2 {
		for end := c.now + time.Second; c.now < end; {
			c.pass(c.rate.Time(1514), 1514, plenty)
		}
		in := c.InFlight()
		if c.Limit() > 4*1514 {
			t.Errorf("the limit is %d", c.Limit())
		}
		rate := c.Rate()
		if c.Forget(); c.Limit() != aqm.RingLimitFirst || c.InFlight() != in || c.Rate() != rate {
			t.Errorf("the limit is %d, the rate %d, the ring has %d, want %d and %d", c.Limit(), c.Rate(), c.InFlight(), rate, in)
		}
		if c.NewLink(); c.Limit() != aqm.RingLimitFirst || c.InFlight() != in || c.Rate() != 0 {
			t.Errorf("a new link: the limit is %d, the rate %d, the ring has %d, want 0 and %d", c.Limit(), c.Rate(), c.InFlight(), in)
		}
	}
}

// TestRingLimitRate: the rate is that of the link, whatever is asked of it, and follows it.
func TestRingLimitRate(t *testing.T) {
	c := &card{RingLimit: aqm.NewRingLimit(0, 0), rate: 100 * aqm.Megabit}
	if c.Rate() != 0 {
		t.Errorf("%d bit/s before anything", c.Rate())
	}
	near := func(want aqm.Rate) {
		t.Helper()
		if r := c.Rate(); r < want*9/10 || r > want*11/10 {
			t.Errorf("%d bit/s, want %d", r, want)
		}
	}
	run := func(span time.Duration, want int) {
		for end := c.now + span; c.now < end; {
			c.pass(ms, 1514, want)
		}
	}
	run(time.Second, plenty)
	near(100 * aqm.Megabit)
	run(time.Second, 2000) // a sixth of what it can do
	near(100 * aqm.Megabit)
	c.rate = 10 * aqm.Megabit
	run(time.Second, plenty)
	near(10 * aqm.Megabit)
	c.rate = aqm.Gigabit
	run(3*time.Second, plenty)
	near(aqm.Gigabit)
}

// TestRingLimitOfASparseLoad: packets that are given to the ring before somebody looks at what it
// has finished, as a batch is, say nothing of a card that was done with those before: not when the
// rate is not known, and not when it is.
func TestRingLimitOfASparseLoad(t *testing.T) {
	c := &card{RingLimit: aqm.NewRingLimit(0, 0), rate: 100 * aqm.Megabit}
	send := func(every time.Duration, n int) {
		for end := c.now + 2*time.Second; c.now < end; {
			c.now += every
			c.done += c.ring // it has had time enough
			c.ring = n
			c.Sent(n)
			c.Completed(c.now, c.done)
			c.Told(c.now)
			c.done = 0
		}
	}
	for _, every := range []time.Duration{time.Second, 50 * ms, ms} {
		if send(every, 98); c.Rate() != 0 || c.Limit() != aqm.RingLimitFirst {
			t.Errorf("a packet each %v: the rate is %d bit/s, the limit %d bytes", every, c.Rate(), c.Limit())
		}
	}
	for end := c.now + time.Second; c.now < end; {
		c.pass(ms, 1514, plenty)
	}
	rate := c.Rate()
	if rate < 90*aqm.Megabit || rate > 110*aqm.Megabit {
		t.Fatalf("%d bit/s", rate)
	}
	for _, every := range []time.Duration{time.Second, 50 * ms, ms} {
		if send(every, 2000); c.Rate() < rate*9/10 {
			t.Errorf("a packet each %v: the rate is %d bit/s, was %d", every, c.Rate(), rate)
		}
	}
}

// TestRingLimitOfFullRing: when the ring has no place for more packets, long before its limit,
// what it holds is too much all the same.
func TestRingLimitOfFullRing(t *testing.T) {
	const places, packet = 256, 1514
	c := &card{RingLimit: aqm.NewRingLimit(0, 0), rate: 10 * aqm.Megabit}
	for c.Limit() < 600_000 { // it ran dry with much in it
		for c.Room() {
			c.Sent(packet)
		}
		c.Completed(c.now, c.InFlight())
	}
	for end := c.now + 5*time.Second; c.now < end; {
		c.pass(c.rate.Time(packet), packet, 0)
		for c.Room() {
			if c.InFlight() >= places*packet {
				c.Full()
				break
			}
			c.Sent(packet)
			c.ring += packet
		}
	}
	if c.Limit() > 4*packet {
		t.Errorf("the limit is %d, the ring has %d", c.Limit(), c.InFlight())
	}
}

// TestRingLimitOfLateLooks: who looks late now and then, so that the card runs dry, does not get
// a ring in which packets wait for longer than is good.
func TestRingLimitOfLateLooks(t *testing.T) {
	for _, rate := range []aqm.Rate{10 * aqm.Megabit, 100 * aqm.Megabit} {
		c := &card{RingLimit: aqm.NewRingLimit(0, 0), rate: rate}
		for i := 0; c.now < 10*time.Second; i++ {
			look := rate.Time(1514)
			if i%50 == 49 {
				look = 40 * ms
			}
			c.pass(look, 1514, plenty)
		}
		if most := rate.Bytes(3 * ms); c.Limit() > most {
			t.Errorf("%d Mbit/s: the limit is %d, want %d at most", rate/aqm.Megabit, c.Limit(), most)
		}
	}
}

// TestRingLimitOfBursts: a slow card that has work now and then has a limit that is as good for it
// as with work all the time; even if what is behind it takes the first of each burst at once.
func TestRingLimitOfBursts(t *testing.T) {
	for _, c := range []struct {
		rate             aqm.Rate
		burst, swallowed int
	}{
		{10 * aqm.Megabit, 62_000, 0},
		{10 * aqm.Megabit, 300_000, 0},
		{aqm.Megabit, 20_000, 0},
		{aqm.Megabit, 50_000, 0},
		{10 * aqm.Megabit, 250_000, 208_000},
		{10 * aqm.Megabit, 400_000, 208_000},
	} {
		k := &card{RingLimit: aqm.NewRingLimit(0, 0), rate: c.rate}
		for next := 500 * ms; k.now < 20*time.Second; next += 500 * ms {
			want, behind := c.burst, c.swallowed
			for want > 0 || k.InFlight() > 0 {
				for want > 0 && k.Room() {
					k.Sent(1514)
					k.ring += 1514
					want -= 1514
				}
				k.Told(k.now)
				look := c.rate.Time(1514)
				if n := min(k.ring, behind); n > 0 {
					behind -= n
					k.ring -= n
					k.done += n
					look = 20 * time.Microsecond
				}
				k.pass(look, 1514, 0)
			}
			k.now = max(k.now, next)
		}
		most := max(c.rate.Bytes(3*ms), aqm.RingLimitMin)
		if k.Limit() > most {
			t.Errorf("%+v: the limit is %d, want %d at most; the rate seems to be %d", c, k.Limit(), most, k.Rate())
		}
	}
}
