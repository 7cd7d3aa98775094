package isis

import (
	"slices"
	"time"

	"github.com/sluice-os/sluice/kernel/route/isis/pdu"
)

// This file owns what of a database is sent on a circuit, and when: LSPs one by one, with a pause
// between two; on a p2p circuit each again until it is acknowledged.

// flood is the sending side of a circuit at a level.
type flood struct {
	c *circuit
	l *level
	// queue are the LSPs to be sent, with srm of the circuit set, and first those of them that we
	// wrote, which do not wait for others'; unacked those that have been sent on a p2p circuit, in
	// that order.
	first   []*entry
	queue   []*entry
	unacked []sent
	pace    timer
	again   timer
	last    time.Duration
	any     bool
	// snp are the LSPs that the next PSNP lists, to acknowledge or to ask for them; asked
	// those that have been asked for and have not come, with the round in which they were asked for
	// last: how often the neighbour had listed all that it has.
	snp      []pdu.LSPID
	listed   map[pdu.LSPID]bool
	psnp     timer
	csnp     timer // of a p2p circuit
	asked    map[pdu.LSPID]int
	round    int
	complete bool // the neighbour has listed all that it has
	rounds   int  // CSNPs that we have sent as a LAN's DIS
}

type sent struct {
	e        *entry
	sequence uint32
	at       time.Duration
}

func newFlood(c *circuit, l *level) *flood {
	f := &flood{c: c, l: l, listed: map[pdu.LSPID]bool{}, asked: map[pdu.LSPID]int{}}
	f.pace.call = f.sendNext
	f.again.call = f.retransmit
	f.psnp.call = f.sendPSNP
	f.csnp.call = func(now time.Duration) {
		f.sendCSNP(now)
		f.l.i.timers.set(&f.csnp, now+f.l.i.jittered(csnpInterval))
	}
	return f
}

func (f *flood) isP2P() bool { return f.c.config.Kind == P2P }

// neighbourUp begins to exchange the database with a neighbour.
func (f *flood) neighbourUp(now time.Duration) {
	f.complete = false
	if !f.isP2P() {
		if n := f.c.lans[f.l.n]; n.us {
			f.l.i.timers.sooner(&n.csnp, now+csnpSoon)
		}
		return
	}
	for _, e := range f.l.order {
		f.want(now, e)
	}
	f.l.i.timers.set(&f.csnp, now)
}

// neighbourDown ends that with the last one.
func (f *flood) neighbourDown() {
	if f.c.upAny(f.l.n) {
		return
	}
	for _, e := range f.l.order {
		e.srm.remove(f.c.index)
		e.queued.remove(f.c.index)
	}
	f.first, f.queue, f.unacked, f.snp = nil, nil, nil, nil
	clear(f.listed)
	clear(f.asked)
	f.complete, f.rounds = false, 0
	for _, t := range []*timer{&f.pace, &f.again, &f.psnp, &f.csnp} {
		f.l.i.timers.stop(t)
	}
}

// send has an entry sent on all circuits of the level but one.
func (l *level) send(now time.Duration, e *entry, except *circuit) {
	e.srm = circuitSet{}
	for _, c := range l.i.circuits {
		if c != except && c.floods[l.n] != nil {
			c.floods[l.n].want(now, e)
		}
	}
}

// want has an entry sent on the circuit.
func (f *flood) want(now time.Duration, e *entry) {
	n := f.c.index
	if !f.c.upAny(f.l.n) {
		return
	}
	e.srm.add(n)
	if e.queued.has(n) {
		return
	}
	e.queued.add(n)
	if f.l.ours(e.id) && !e.purged {
		f.first = append(f.first, e)
	} else {
		f.queue = append(f.queue, e)
	}
	if !f.pace.running() {
		at := now
		if f.any {
			at = max(now, f.last+pacing)
		}
		f.l.i.timers.set(&f.pace, at)
	}
}

// take takes the next LSP out of the queues; nil: they are empty.
func (f *flood) take() *entry {
	q := &f.first
	if len(*q) == 0 {
		q = &f.queue
	}
	if len(*q) == 0 {
		return nil
	}
	e := (*q)[0]
	*q = (*q)[1:]
	e.queued.remove(f.c.index)
	return e
}

// sendNext sends the first of the queues that is still to be sent.
func (f *flood) sendNext(now time.Duration) {
	for e := f.take(); e != nil; e = f.take() {
		if !e.srm.has(f.c.index) {
			continue
		}
		f.sendLSP(now, e)
		if len(f.first)+len(f.queue) > 0 {
			f.l.i.timers.set(&f.pace, now+pacing)
		}
		return
	}
}

func (f *flood) sendLSP(now time.Duration, e *entry) {
	if len(e.raw) <= f.c.link.MTU-llc {
		pdu.SetLifetime(e.raw, e.lifetime(now))
		f.c.send(f.c.to(f.l.n), func(b []byte) []byte { return append(b, e.raw...) })
	} else {
		f.c.tooLong++
	}
	f.last, f.any = now, true
	if !f.isP2P() {
		e.srm.remove(f.c.index)
		return
	}
	f.unacked = append(f.unacked, sent{e, e.lsp.Sequence, now})
	f.l.i.timers.sooner(&f.again, now+retransmit)
}

// retransmit queues what has not been acknowledged in time.
func (f *flood) retransmit(now time.Duration) {
	for len(f.unacked) > 0 {
		s := f.unacked[0]
		if s.at+retransmit > now {
			f.l.i.timers.set(&f.again, s.at+retransmit)
			return
		}
		f.unacked = f.unacked[1:]
		if s.e.srm.has(f.c.index) && s.e.lsp.Sequence == s.sequence {
			f.want(now, s.e)
		}
	}
}

// list has the next PSNP list an LSP; ask says that this asks for it. What a PSNP has no room for
// is listed again when the neighbour sends it or its list again.
func (f *flood) list(now time.Duration, id pdu.LSPID, ask bool) {
	most := f.l.i.config.MaxLSPs
	if !f.listed[id] && len(f.snp) >= most {
		return
	}
	// What is kept of the questions only says when the start is over: it bounds none of them.
	if _, again := f.asked[id]; ask && (again || len(f.asked) < most) {
		f.asked[id] = f.round
	}
	if f.listed[id] {
		return
	}
	f.listed[id] = true
	f.snp = append(f.snp, id)
	f.l.i.timers.sooner(&f.psnp, now+f.l.i.jittered(psnpInterval))
}

// entryOf is what an SNP says of an LSP: of one that is not held sequence number 0.
func (l *level) entryOf(now time.Duration, id pdu.LSPID) pdu.Header {
	if e := l.entries[id]; e != nil {
		return e.header(now)
	}
	return pdu.Header{ID: id}
}

func (f *flood) sendPSNP(now time.Duration) {
	t := pdu.PSNPL1
	if f.l.n == pdu.L2 {
		t = pdu.PSNPL2
	}
	for ids := range slices.Chunk(f.snp, f.entriesIn(now, t)) {
		s := &pdu.SNP{Type: t, Source: f.l.i.config.System.Node(0)}
		for _, id := range ids {
			s.Entries = append(s.Entries, f.l.entryOf(now, id))
		}
		f.sendSNP(now, s)
	}
	f.snp = f.snp[:0]
	clear(f.listed)
}

// sendCSNP lists all that is held, in as many PDUs as that takes, whose ranges join.
func (f *flood) sendCSNP(now time.Duration) {
	t := pdu.CSNPL1
	if f.l.n == pdu.L2 {
		t = pdu.CSNPL2
	}
	var first pdu.LSPID
	left := len(f.l.order)
	for list := range slices.Chunk(f.l.order, f.entriesIn(now, t)) {
		s := &pdu.SNP{Type: t, Source: f.l.i.config.System.Node(0), First: first, Last: pdu.LastLSPID}
		for _, e := range list {
			s.Entries = append(s.Entries, e.header(now))
		}
		if left -= len(list); left > 0 {
			s.Last = list[len(list)-1].id
			first = following(s.Last)
		}
		f.sendSNP(now, s)
	}
	if len(f.l.order) == 0 {
		f.sendSNP(now, &pdu.SNP{Type: t, Source: f.l.i.config.System.Node(0), Last: pdu.LastLSPID})
	}
	f.rounds++
	f.l.i.checkStarted(now)
}

func (f *flood) entriesIn(now time.Duration, t pdu.Type) int {
	key := f.l.i.config.Keys[f.l.n].sending(now)
	length := min(lspLengthMax, f.c.link.MTU-llc)
	return max(1, pdu.EntriesIn(t, length, key))
}

func (f *flood) sendSNP(now time.Duration, s *pdu.SNP) {
	f.c.send(f.c.to(f.l.n), func(b []byte) []byte { return s.Append(b, f.l.i.config.Keys[f.l.n].sending(now)) })
}

// following is the ID after one.
func following(id pdu.LSPID) pdu.LSPID {
	for i := len(id) - 1; i >= 0; i-- {
		if id[i]++; id[i] != 0 {
			break
		}
	}
	return id
}
