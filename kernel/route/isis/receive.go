package isis

import (
	"bytes"
	"maps"
	"time"

	"github.com/sluice-os/sluice/kernel/route/isis/pdu"
)

// This file owns what comes in of LSPs and of lists of them (ISO 10589 7.3.15).

// receiveLSP takes an LSP from a neighbour that is Up.
func (c *circuit) receiveLSP(now time.Duration, from pdu.SNPA, v pdu.View) Reason {
	n := v.Type().Level()
	l, f := c.i.levels[n], c.floods[n]
	if c.from(n, from) == nil {
		return NoAdjacency
	}
	h := v.LSPHeader()
	e := l.entries[h.ID]
	// What is held has been checked: the same bytes again need not be.
	if e == nil || !equalButLifetime(e.raw, v.Bytes()) || e.purged != (h.Lifetime == 0) {
		if !v.ChecksumOK() {
			return Reason(pdu.BadChecksum)
		}
		if why := l.i.config.Keys[n].verify(now, v); why != pdu.OK {
			return Reason(why)
		}
		switch {
		case h.Sequence == 0:
			return BadSequence
		case h.Lifetime == 0 && len(l.i.config.Keys[n]) > 0 && !v.PurgeOnly():
			return BadPurge
		}
	}
	o := newer
	if e != nil {
		o = e.compare(h)
	}
	if o != older {
		delete(f.asked, h.ID)
		defer l.i.checkStarted(now)
	}
	if l.ours(h.ID) && o != equal && o != older && (h.Lifetime != 0 || e != nil && !e.purged) {
		// One that we never wrote takes an entry, until its purge is forgotten.
		if e == nil && l.full(nil, len(v.Bytes())) {
			return TooManyLSPs
		}
		return l.claimed(now, e, h)
	}
	switch {
	case e == nil && h.Lifetime == 0:
		f.acknowledge(now, h)
	case o == newer && l.full(e, len(v.Bytes())):
		l.refuse(now)
		return TooManyLSPs
	case o == clash:
		// Two contents under one number: neither is right. It is ended, and its origin makes
		// another one.
		l.purge(now, e, "clash")
	case o == newer:
		l.put(now, v, c)
		if f.isP2P() {
			f.list(now, h.ID, false)
		}
	case o == equal:
		e.srm.remove(c.index)
		if f.isP2P() {
			f.list(now, h.ID, false)
		}
	case o == older:
		f.want(now, e)
	}
	return OK
}

// equalButLifetime says whether two LSPs have the same bytes.
func equalButLifetime(a, b []byte) bool {
	return len(a) == len(b) && bytes.Equal(a[:10], b[:10]) && bytes.Equal(a[12:], b[12:])
}

// acknowledge answers a purge of what is not held, which need not be held.
func (f *flood) acknowledge(now time.Duration, h pdu.Header) {
	if !f.isP2P() {
		return
	}
	t := pdu.PSNPL1
	if f.l.n == pdu.L2 {
		t = pdu.PSNPL2
	}
	f.sendSNP(now, &pdu.SNP{Type: t, Source: f.l.i.config.System.Node(0), TLVs: pdu.TLVs{Entries: []pdu.Header{h}}})
}

// receiveSNP takes a list from a neighbour that is Up.
func (c *circuit) receiveSNP(now time.Duration, from pdu.SNPA, v pdu.View) Reason {
	n := v.Type().Level()
	l, f := c.i.levels[n], c.floods[n]
	if c.from(n, from) == nil {
		return NoAdjacency
	}
	if v.Source() == l.i.config.System {
		return OwnSystem
	}
	if why := l.i.config.Keys[n].verify(now, v); why != pdu.OK {
		return Reason(why)
	}
	s := v.SNP()
	complete := s.Type == pdu.CSNPL1 || s.Type == pdu.CSNPL2
	if !complete && !f.isP2P() && !c.lans[n].us {
		return OK // it asks the DIS
	}
	if !complete {
		for _, h := range s.Entries {
			f.compare(now, l.entries[h.ID], h)
		}
		return OK
	}
	f.compareAll(now, s)
	if s.Last == pdu.LastLSPID {
		f.listedAll()
	}
	l.i.checkStarted(now)
	return OK
}

// listedAll ends a round of a neighbour's lists. What it was asked for before and has not listed
// again does not come.
func (f *flood) listedAll() {
	maps.DeleteFunc(f.asked, func(_ pdu.LSPID, round int) bool { return round < f.round })
	f.round++
	f.complete = true
}

// compare takes in what a neighbour has beside what we have; nil: nothing.
func (f *flood) compare(now time.Duration, e *entry, h pdu.Header) {
	if e == nil {
		if h.Lifetime != 0 && h.Sequence != 0 && h.Checksum != 0 {
			f.list(now, h.ID, true)
		}
		return
	}
	switch e.compare(h) {
	case equal:
		e.srm.remove(f.c.index)
	case older:
		f.want(now, e)
	case newer:
		e.srm.remove(f.c.index)
		f.list(now, h.ID, true)
	case clash:
		f.want(now, e)
		f.list(now, h.ID, true)
	}
}

// compareAll takes in all that a neighbour has of a range, and sends what it lacks. The entries
// ascend; one that does not is looked up by itself.
func (f *flood) compareAll(now time.Duration, s *pdu.SNP) {
	held := f.l.from(s.First)
	lacks := func(e *entry) {
		if !e.purged && bytes.Compare(e.id[:], s.Last[:]) <= 0 {
			f.want(now, e)
		}
	}
	for _, h := range s.Entries {
		for len(held) > 0 && bytes.Compare(held[0].id[:], h.ID[:]) < 0 {
			lacks(held[0])
			held = held[1:]
		}
		if len(held) > 0 && held[0].id == h.ID {
			f.compare(now, held[0], h)
			held = held[1:]
		} else {
			f.compare(now, f.l.entries[h.ID], h)
		}
	}
	for _, e := range held {
		if bytes.Compare(e.id[:], s.Last[:]) > 0 {
			break
		}
		lacks(e)
	}
}
