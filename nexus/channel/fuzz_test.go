package channel_test

import (
	"errors"
	"math/rand/v2"
	"runtime/debug"
	"testing"
	"time"

	"github.com/sluice-os/sluice/nexus/abi"
	"github.com/sluice-os/sluice/nexus/advisory"
	"github.com/sluice-os/sluice/nexus/arena"
	"github.com/sluice-os/sluice/nexus/channel"
)

// This file owns a domain that writes anything anywhere, while the kernel does all that it does
// with a channel.

// played is a channel of such a domain.
type played struct {
	*pair
	raw
	t   *testing.T
	rng *rand.Rand
	now time.Duration
	// entries are those of the advisory table as they must be, by number.
	entries map[uint32]entry
	// defunct says that the channel's memory was taken back, and broken is how often the domain
	// was ended while it asked for nothing.
	defunct bool
	broken  int
}

type entry struct {
	id, generation uint32
	paused         bool
}

// steps are what a script is made of, with two numbers. false ends it: so does the domain.
var steps = [...]func(p *played, a int, v uint32) bool{
	func(p *played, a int, v uint32) bool { p.ring(a % abi.RingKinds).Head = v % 8; return true },
	func(p *played, a int, v uint32) bool { p.ring(a % abi.RingKinds).Tail = v % 8; return true },
	func(p *played, a int, v uint32) bool {
		*p.slot(a%abi.RingKinds, a/8%4) = abi.Slot{Index: v % 24, Kind: uint16(v>>8) % 7}
		return true
	},
	func(p *played, a int, v uint32) bool {
		q := p.packet(a % 16)
		q.First, q.Buflets, q.Length = v%24, v>>5%4, v
		return true
	},
	func(p *played, a int, v uint32) bool { p.packet(a % 16).Redzone = p.rng.Uint64(); return true },
	func(p *played, a int, v uint32) bool {
		b := p.buflet(a % 20)
		b.Next, b.Offset, b.Length = v%24, v>>3, v
		return true
	},
	func(p *played, a int, v uint32) bool {
		p.submitting = true
		p.submit(content(1 + int(v)%6000))
		p.submitting = false
		return true
	},
	func(p *played, a int, v uint32) bool {
		p.deliver(content(1 + int(v)%6000))
		p.Flush()
		return true
	},
	func(p *played, a int, v uint32) bool { p.full = a&1 == 0; return true },
	func(p *played, a int, v uint32) bool { p.ring(a % abi.RingKinds).Low = v; return true },
	func(p *played, a int, v uint32) bool { return p.ends(p.Channel.Sync(p.send)) },
	func(p *played, a int, v uint32) bool {
		// It goes on with the old ring now and then.
		if kind := a % abi.RingKinds; v&1 == 0 {
			p.resize(kind, 2<<(v>>1&3))
		} else {
			p.Resize(kind, int(v))
		}
		return true
	},
	func(p *played, a int, v uint32) bool {
		p.ring(abi.RingAlloc).Need, p.ring(abi.RingAlloc).Hold[a%abi.HoldKinds] = v, v
		return true
	},
	func(p *played, a int, v uint32) bool {
		p.now += time.Duration(a) * 20 * time.Millisecond
		if u := p.Look(p.now); u.Held < u.Floor || u.Need > u.Held {
			p.t.Fatalf("%+v", u)
		}
		return true
	},
	func(p *played, a int, v uint32) bool { p.Limit(int(v) << 8); return true },
	func(p *played, a int, v uint32) bool { p.Retry(); return true },
	func(p *played, a int, v uint32) bool {
		p.Channel.Pause(a&1 == 0) // the domain is suspended, or goes on
		return true
	},
	func(p *played, a int, v uint32) bool {
		over := func() bool { return a%3 == 0 }
		if v&1 == 0 {
			over = nil
		}
		return p.ends(p.ResumeUntil(p.send, over))
	},
	func(p *played, a int, v uint32) bool {
		p.Channel.Post(abi.Slot{Index: v % 8, Kind: abi.SlotLink + uint16(a)%3, Length: uint16(v >> 8)})
		return true
	},
	(*played).advise,
	(*played).tell,
	func(p *played, a int, v uint32) bool {
		_, e := p.named(a, v)
		p.Untell(e.id, e.generation, uint64(v), uint64(a))
		if at, ok := p.number(e); ok {
			e.paused = false
			p.entries[at] = e
		}
		return true
	},
	func(p *played, a int, v uint32) bool { p.change(a, v, true, p.PauseFlow); return true },
	func(p *played, a int, v uint32) bool { p.change(a, v, false, p.ReleaseFlow); return true },
	func(p *played, a int, v uint32) bool {
		number, e := p.named(a, v)
		p.Unadvise(number, e.id, e.generation)
		if own, ok := p.entries[number]; ok && own.id == e.id && own.generation == e.generation {
			delete(p.entries, number)
		}
		return true
	},
	func(p *played, a int, v uint32) bool {
		number, e := p.named(a, v)
		p.Passed(number, e.id, e.generation, uint64(v), uint64(a))
		return true
	},
	func(p *played, a int, v uint32) bool {
		if a%8 != 0 {
			return true // now and then: little follows it
		}
		live := p.memory.Live()
		if _, err := p.Channel.Defunct(); err != nil {
			return p.ends(err)
		}
		p.defunct, p.entries = true, map[uint32]entry{}
		if p.memory.Live() >= live || p.memory.Live() != 1 { // of which the schema stays
			p.t.Fatalf("%d segments are left of %d", p.memory.Live(), live)
		}
		return true
	},
	func(p *played, a int, v uint32) bool {
		p.memory.Most = p.memory.Used() + int(v%32)<<12 // of the machine, in which others live
		return true
	},
	func(p *played, a int, v uint32) bool {
		p.Rings()
		p.Use()
		p.Memory()
		p.Regions()
		p.Counts()
		p.Wake()
		return true
	},
}

// ends looks at what a sync says: nothing is wrong, the domain has to end, or there is no channel
// any more.
func (p *played) ends(err error) bool {
	var bad *channel.Violation
	switch {
	case errors.As(err, &bad):
		if bad.Code()&0xff == 0 || p.defunct {
			p.t.Fatalf("not a violation: %v, defunct is %v", err, p.defunct)
		}
		return false // the domain has ended
	case p.defunct != (err == channel.ErrDefunct), err != nil && err != channel.ErrDefunct && err != channel.ErrMore:
		p.t.Fatalf("%v, defunct is %v", err, p.defunct)
	}
	return true
}

func (p *played) advise(a int, v uint32) bool {
	e := entry{id: v % 32, generation: 1 + v>>5%4}
	if _, ok := p.number(e); ok {
		return true // a flow has one
	}
	number, err := p.Channel.Advise(e.id, e.generation, abi.AdvisoryKey{})
	if err != nil {
		return p.none(err) || p.ends(err)
	}
	if old, ok := p.entries[number]; ok {
		p.t.Fatalf("entry %d is given to %+v, and is that of %+v", number, e, old)
	}
	p.entries[number] = e
	return true
}

// number is that of a flow's entry.
func (p *played) number(e entry) (uint32, bool) {
	for number, own := range p.entries {
		if own.id == e.id && own.generation == e.generation {
			return number, true
		}
	}
	return 0, false
}

// none says whether there is no entry, or no memory for the next chunk of them.
func (p *played) none(err error) bool {
	n := len(p.entries)
	return err == advisory.ErrFull && n == p.Arena().Params.Advisory || errors.Is(err, arena.ErrShort) && n%abi.AdvisoryChunk == 0
}

// tell has a flow pause that has an entry, or gets one by that.
func (p *played) tell(a int, v uint32) bool {
	e := entry{id: v % 32, generation: 1 + v>>5%4, paused: true}
	if err := p.Tell(e.id, e.generation, abi.AdvisoryKey{}); err != nil {
		return p.none(err) || p.ends(err)
	}
	number, ok := p.number(e)
	for n := uint32(0); !ok && n < p.user.Advisories(); n++ {
		at, there := p.user.AdvisoryAt(n)
		number, ok = n, there && at.Flow == abi.AdvisoryFlow(e.id, e.generation)
	}
	if !ok {
		p.t.Fatalf("%+v has no entry", e)
	}
	p.entries[number] = e
	return true
}

// named is an entry of the advisory table and a flow: most often one whose it is.
func (p *played) named(a int, v uint32) (uint32, entry) {
	number := uint32(a) % 70
	e, ok := p.entries[number]
	if !ok || v%8 == 0 {
		e = entry{id: v >> 3 % 32, generation: 1 + v>>8%4}
	}
	return number, e
}

// change pauses a flow, or lets it go on.
func (p *played) change(a int, v uint32, paused bool, f func(number, id, generation uint32)) {
	number, e := p.named(a, v)
	f(number, e.id, e.generation)
	if own, ok := p.entries[number]; ok && own.id == e.id && own.generation == e.generation {
		own.paused = paused
		p.entries[number] = own
	}
}

// check compares the account of objects and the advisory table with what they must be.
func (p *played) check() {
	if err := p.Err(); err != nil && err != channel.ErrDefunct {
		return // the domain is about to end, with what it named last in nobody's hands
	}
	for i, q := range p.Pools() {
		if q.Free+q.Lent != q.Backed || p.defunct && q.Backed != 0 {
			p.t.Fatalf("pool %d: %+v", i, q)
		}
	}
	if p.defunct {
		return // there is no table
	}
	paused := 0
	for number, e := range p.entries {
		a, ok := p.user.Advisory(number, e.id, e.generation)
		if !ok || a.State&1 == 1 != e.paused {
			p.t.Fatalf("entry %d is %+v, want that of %+v", number, a, e)
		}
		if e.paused {
			paused++
		}
	}
	if c := p.Advisories(); c.Entries != len(p.entries) || c.Paused != paused {
		p.t.Fatalf("%+v of %d entries, %d paused", c, len(p.entries), paused)
	}
}

// FuzzDomain plays a domain that writes anything anywhere it can, and then asks
// the kernel to look, or does not. The kernel may end it for that and must not panic, and the
// account of its objects stays whole; what it is told of its flows hangs on nothing that it
// writes; and its memory can be taken back at any time.
func FuzzDomain(f *testing.F) {
	f.Add([]byte{1, 2, 3, 4, 5, 6, 7, 8, 9, 10})
	f.Add(make([]byte, 64))
	r := rand.New(rand.NewPCG(5, 1))
	for n := range 300 {
		script := make([]byte, 1200+n%2)
		for i := range script {
			script[i] = byte(r.Uint32())
		}
		// What breaks the rings ends it soon: in two of three it is rare, and few entries of
		// the advisory table are changed often.
		for i := 0; i+4 <= len(script) && n%3 != 0; i += 4 {
			if step := int(script[i]) % len(steps); step < 6 || step == 9 || step == 12 {
				script[i] = byte(6 + r.IntN(len(steps)-6))
			}
			script[i+1] %= 16
		}
		f.Add(script)
	}
	f.Fuzz(func(t *testing.T, script []byte) {
		params := arena.Params{Packets: 16, Buffers: 16, Large: 4, Advisory: 128}
		if len(script)%2 == 0 { // with segments that come and go
			params = arena.Params{Packets: 192, Buffers: 48, Large: 12, Advisory: 128}
		}
		for kind := range params.Slots {
			params.Slots[kind] = 4
		}
		x := resizable(t, params)
		p := &played{
			pair: x, raw: raw{x}, t: t, now: time.Hour, entries: map[uint32]entry{},
			rng: rand.New(rand.NewPCG(1, uint64(len(script)))),
		}
		x.SetBroken(func(v *channel.Violation) {
			if p.broken++; p.broken > 1 || v.Code()&0xff == 0 {
				t.Errorf("it ends for the %dth time: %v", p.broken, v)
			}
		})
		// A domain that goes on with slots that it does not have faults, and ends for
		// that. The kernel must not.
		defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
		defer func() {
			p := recover()
			if _, ok := p.(interface{ Addr() uintptr }); p != nil && (!ok || !x.submitting || x.syncing) {
				panic(p)
			}
		}()
		for len(script) >= 4 {
			a, v := int(script[1]), uint32(int16(uint16(script[2])|uint16(script[3])<<8))
			if !steps[int(script[0])%len(steps)](p, a, v) {
				return
			}
			p.check()
			script = script[4:]
		}
	})
}
