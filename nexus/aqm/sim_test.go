package aqm_test

import (
	"container/heap"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/sluice-os/sluice/nexus/aqm"
)

// This file owns the simulation: a link behind a queue, on a virtual clock. Senders are in
// sim_senders_test.go, what is simulated in sim_tables_test.go.

// event is something that happens at a time.
type event struct {
	at  time.Duration
	n   int // of those at the same time the first one comes first
	run func()
}

type events []event

func (e events) Len() int { return len(e) }
func (e events) Less(i, j int) bool {
	return e[i].at < e[j].at || e[i].at == e[j].at && e[i].n < e[j].n
}
func (e events) Swap(i, j int) { e[i], e[j] = e[j], e[i] }
func (e *events) Push(x any)   { *e = append(*e, x.(event)) }
func (e *events) Pop() any {
	last := len(*e) - 1
	x := (*e)[last]
	*e = (*e)[:last]
	return x
}

// queue is what stands in front of the link.
type queue interface {
	Enqueue(now time.Duration, p *aqm.Packet) aqm.Verdict
	Dequeue(now time.Duration, p *aqm.Packet) bool
	Next(now time.Duration) (time.Duration, bool)
}

// fifo is what there is without active management: one list, from whose end is dropped.
type fifo struct {
	list []aqm.Packet
	lost int
}

func (q *fifo) Enqueue(_ time.Duration, p *aqm.Packet) aqm.Verdict {
	if len(q.list) == 2048 {
		q.lost++
		return aqm.Verdict{Outcome: aqm.Refused, Reason: aqm.LimitPackets}
	}
	q.list = append(q.list, *p)
	return aqm.Verdict{}
}

func (q *fifo) Dequeue(_ time.Duration, p *aqm.Packet) bool {
	if len(q.list) == 0 {
		return false
	}
	*p, q.list = q.list[0], q.list[1:]
	return true
}

func (q *fifo) Next(now time.Duration) (time.Duration, bool) { return now, len(q.list) > 0 }

// sim is one run.
type sim struct {
	now     time.Duration
	events  events
	n       int
	queue   queue
	managed *aqm.Queue // queue, if it is one
	rate    aqm.Rate
	busy    bool
	wakes   time.Duration // when the link looks at the queue again
	senders []sender
	groups  []*group
	// from is when it begins to count.
	from  time.Duration
	sent  []time.Duration // when each packet came, by its handle
	of    []sender        // and whose it is
	spare []uint32        // handles that can be used again
}

// sender sends packets of one flow.
type sender interface {
	// start is called at the beginning.
	start()
	// arrived is called when a packet has left the link.
	arrived(p *aqm.Packet)
	// released is called when the flow, which was told to pause, may go on.
	released()
	common() *flow
}

// group is senders that are alike, and what became of their packets.
type group struct {
	name                        string
	flows                       []*flow
	delays                      []time.Duration
	marks, drops, pauses, ended int
	refused                     int // of those dropped: at the door
}

// flow is what all senders have.
type flow struct {
	*sim
	*group
	id     aqm.Flow
	class  aqm.Class
	length int // of its packets
	bytes  int // that left the link
	paused bool
}

func (f *flow) common() *flow { return f }

// resumption is how long a sender takes to notice that it may go on.
const resumption = 200 * time.Microsecond

// newSim makes a run on a link, with a managed queue or a plain one.
func newSim(tb testing.TB, rate aqm.Rate, managed bool) *sim {
	s := &sim{rate: rate, from: 2 * time.Second, wakes: -1}
	if !managed {
		s.queue = &fifo{}
		return s
	}
	q, err := aqm.New(aqm.Config{
		Seed: 1,
		Dropped: func(p *aqm.Packet, why aqm.Reason) {
			f := s.of[p.Handle].common()
			s.spare = append(s.spare, p.Handle)
			if s.now >= s.from {
				f.drops++
			}
		},
		Released: func(id aqm.Flow, _, _ uint64) {
			x := s.senders[id.ID]
			f := x.common()
			if s.now >= s.from {
				f.ended++
			}
			f.paused = false
			s.after(resumption, func() {
				if !f.paused {
					x.released()
				}
			})
		},
	})
	if err != nil {
		tb.Fatal(err)
	}
	s.queue, s.managed = q, q
	return s
}

// after has something happen.
func (s *sim) after(d time.Duration, run func()) {
	s.n++
	heap.Push(&s.events, event{s.now + d, s.n, run})
}

// add puts a sender into a group.
func (s *sim) add(name string, class aqm.Class, length int, x sender) {
	f := x.common()
	i := slices.IndexFunc(s.groups, func(g *group) bool { return g.name == name })
	if i < 0 {
		i = len(s.groups)
		s.groups = append(s.groups, &group{name: name})
	}
	id := uint32(len(s.senders))
	*f = flow{sim: s, group: s.groups[i], class: class, length: length,
		id: aqm.Flow{Channel: 1, ID: id, Generation: 1, Entry: id}}
	s.groups[i].flows = append(s.groups[i].flows, f)
	s.senders = append(s.senders, x)
}

// run has the senders send for a time, and counts after the first two seconds.
func (s *sim) run(tb testing.TB, d time.Duration) {
	for i, x := range s.senders {
		s.after(time.Duration(i)*1700*time.Microsecond, x.start)
	}
	for len(s.events) > 0 && s.events[0].at <= s.from+d {
		e := heap.Pop(&s.events).(event)
		s.now = e.at
		e.run()
	}
	if s.managed != nil {
		if err := s.managed.Check(); err != nil {
			tb.Fatal(err)
		}
	}
}

// send gives the queue a packet of a flow and reports whether it was taken.
func (s *sim) send(x sender, p aqm.Packet) bool {
	f := x.common()
	if n := len(s.spare); n > 0 {
		p.Handle, s.spare = s.spare[n-1], s.spare[:n-1]
		s.sent[p.Handle], s.of[p.Handle] = s.now, x
	} else {
		p.Handle = uint32(len(s.sent))
		s.sent, s.of = append(s.sent, s.now), append(s.of, x)
	}
	p.Flow, p.Class, p.Length = f.id, f.class, f.length
	v := s.queue.Enqueue(s.now, &p)
	if v.Pause() && !f.paused {
		f.paused = true
		if s.now >= s.from {
			f.pauses++
		}
	}
	if v.Outcome == aqm.Refused {
		s.spare = append(s.spare, p.Handle)
		if s.now >= s.from {
			f.drops++
			f.refused++
		}
		return false
	}
	s.pump()
	return true
}

// pump has the link send the next packet, if it sends none.
func (s *sim) pump() {
	if s.busy {
		return
	}
	var p aqm.Packet
	if !s.queue.Dequeue(s.now, &p) {
		if at, ok := s.queue.Next(s.now); ok && at != s.wakes {
			s.wakes = at
			s.after(at-s.now, s.pump)
		}
		return
	}
	s.busy = true
	x := s.of[p.Handle]
	f := x.common()
	if s.now >= s.from {
		f.delays = append(f.delays, s.now-max(s.sent[p.Handle], p.TxTime))
		if p.Mark {
			f.marks++
		}
	}
	s.after(s.rate.Time(p.Length), func() {
		s.busy = false
		s.spare = append(s.spare, p.Handle)
		if s.now >= s.from {
			f.bytes += p.Length
		}
		x.arrived(&p)
		s.pump()
	})
}

// percentile returns the delay below which so many of a hundred are.
func (g *group) percentile(n int) time.Duration {
	if len(g.delays) == 0 {
		return 0
	}
	slices.Sort(g.delays)
	return g.delays[min(len(g.delays)*n/100, len(g.delays)-1)]
}

// total is how many bytes of the group passed.
func (g *group) total() (n int) {
	for _, f := range g.flows {
		n += f.bytes
	}
	return n
}

// jain is R. Jain's index of fairness, in thousandths: 1000 if all have the same, 1000/n
// if one of n has all.
func (g *group) jain() int {
	sum, squares := uint64(0), uint64(0)
	for _, f := range g.flows {
		k := uint64(f.bytes) >> 10
		sum += k
		squares += k * k
	}
	if squares == 0 {
		return 0
	}
	return int(sum * sum * 1000 / (squares * uint64(len(g.flows))))
}

// group returns one by its name.
func (s *sim) group(name string) *group {
	for _, g := range s.groups {
		if g.name == name {
			return g
		}
	}
	panic(name)
}

// share is what part of the link's rate a group had, in thousandths.
func (s *sim) share(g *group) int {
	return int(uint64(g.total()) * 1000 / uint64(max(s.rate.Bytes(s.now-s.from), 1)))
}

// thousandths prints them as a number below or about 1.
func thousandths(n int) string { return fmt.Sprintf("%d.%03d", n/1000, n%1000) }

// milliseconds prints a delay with one place.
func milliseconds(d time.Duration) string {
	n := (d + 50*time.Microsecond) / (100 * time.Microsecond)
	return fmt.Sprintf("%d.%d", n/10, n%10)
}

// heading and row are what all tables show of a group.
const heading = "share\tJain\tp50 ms\tp99 ms\tmarks\tdropped\trefused\tpauses"

func (s *sim) row(g *group) string {
	return strings.Join([]string{
		thousandths(s.share(g)), thousandths(g.jain()), milliseconds(g.percentile(50)), milliseconds(g.percentile(99)),
		fmt.Sprint(g.marks), fmt.Sprint(g.drops - g.refused), fmt.Sprint(g.refused), fmt.Sprint(g.pauses),
	}, "\t")
}
