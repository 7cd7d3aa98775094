package isis

import (
	"bytes"
	"slices"
	"time"

	"github.com/sluice-os/sluice/kernel/route/isis/pdu"
)

// This file owns the link-state database of a level: what is held, for how long, and which of two
// versions is newer (ISO 10589 7.3.16).

// entry is one LSP.
type entry struct {
	id  pdu.LSPID
	raw []byte   // as it came, but for the lifetime
	lsp *pdu.LSP // what it says; of a purged one its header alone
	// dies is when its lifetime is over, or of a purged one when it is forgotten.
	dies   time.Duration
	purged bool
	// content is what an LSP of our own was made of, body its bytes without what a refresh changes; nil:
	// it is to be written anew.
	content *pdu.Content
	body    []byte
	timer   timer
	claim   *claim // of an LSP of our own that came from elsewhere; nil: none did
	// srm says on which circuits it is to be sent, queued in which queues it stands.
	srm, queued circuitSet
}

// circuitSet is a set of circuits.
type circuitSet [CircuitsMax/64 + 1]uint64

func (s *circuitSet) add(c int)      { s[c/64] |= 1 << (c % 64) }
func (s *circuitSet) remove(c int)   { s[c/64] &^= 1 << (c % 64) }
func (s *circuitSet) has(c int) bool { return s[c/64]&(1<<(c%64)) != 0 }

// header is what an SNP says of an LSP now.
func (e *entry) header(now time.Duration) pdu.Header {
	h := e.lsp.Header
	h.Lifetime = e.lifetime(now)
	return h
}

// lifetime is how many seconds remain; 0: it is purged.
func (e *entry) lifetime(now time.Duration) uint16 {
	if e.purged {
		return 0
	}
	return uint16(max(1, (e.dies-now)/time.Second))
}

// order is how two versions compare.
type order int8

const (
	older order = iota - 1
	equal
	newer
	// clash is one sequence number with two contents.
	clash
)

// compare says what h is beside the entry.
func (e *entry) compare(h pdu.Header) order {
	switch have := &e.lsp.Header; {
	case h.Sequence > have.Sequence:
		return newer
	case h.Sequence < have.Sequence:
		return older
	case h.Lifetime == 0 && !e.purged:
		return newer
	case h.Lifetime != 0 && e.purged:
		return older
	case h.Lifetime != 0 && h.Checksum != have.Checksum:
		return clash
	}
	return equal
}

// level is one of the levels of an instance, with its database.
type level struct {
	i       *Instance
	n       pdu.Level
	entries map[pdu.LSPID]*entry
	order   []*entry // by ID
	names   map[pdu.SystemID]string
	bytes   int // of all that are held
	// lacks runs while an LSP was refused of late for want of room.
	lacks timer

	generate   timer
	generation backoff
	pack       pdu.Packer

	spf spfState
}

func newLevel(i *Instance, n pdu.Level) *level {
	l := &level{i: i, n: n, entries: map[pdu.LSPID]*entry{}, names: map[pdu.SystemID]string{}}
	l.generate.call = l.originate
	l.lacks.call = func(now time.Duration) { l.overloadChanged(now, "off: the database has room") }
	l.spf.timer.call = l.runSPF
	return l
}

func byID(e *entry, id pdu.LSPID) int { return bytes.Compare(e.id[:], id[:]) }

// from are the entries from an ID on.
func (l *level) from(id pdu.LSPID) []*entry {
	at, _ := slices.BinarySearchFunc(l.order, id, byID)
	return l.order[at:]
}

// put makes an entry hold an LSP, and has it sent on all circuits but one; nil: on all.
func (l *level) put(now time.Duration, v pdu.View, except *circuit) *entry {
	h := v.LSPHeader()
	e := l.entries[h.ID]
	if e == nil {
		e = &entry{id: h.ID}
		e.timer.call = func(now time.Duration) { l.aged(now, e) }
		l.entries[h.ID] = e
		at, _ := slices.BinarySearchFunc(l.order, h.ID, byID)
		l.order = slices.Insert(l.order, at, e)
	}
	changed := e.lsp == nil || e.purged != (h.Lifetime == 0) || !sameContent(e.raw, v)
	l.bytes += len(v.Bytes()) - len(e.raw)
	e.raw = append([]byte(nil), v.Bytes()...)
	e.purged = h.Lifetime == 0
	if e.purged {
		e.lsp = &pdu.LSP{Level: l.n, Header: h}
		e.dies = now + zeroAge
	} else {
		if changed {
			e.lsp = v.LSP()
		} else {
			e.lsp.Header = h
		}
		// A lifetime that was cut on the way would end what its origin keeps (RFC 7987).
		e.dies = now + max(time.Duration(h.Lifetime)*time.Second, maxAge)
	}
	l.arm(e)
	l.named(e)
	l.send(now, e, except)
	if changed {
		l.scheduleSPFFor(now, e)
	}
	return e
}

// full says whether there is no room for so many bytes in place of an entry; nil: besides all.
func (l *level) full(e *entry, n int) bool {
	if e != nil {
		n -= len(e.raw)
	} else if len(l.entries) >= l.i.config.MaxLSPs {
		return true
	}
	return n > 0 && l.bytes+n > l.i.config.MaxLSPs*lspLengthMax
}

// arm sets an entry's timer: to when it dies, or is to be refreshed.
func (l *level) arm(e *entry) {
	at := e.dies
	if l.ours(e.id) && !e.purged {
		at = e.dies - maxAge + l.i.jittered(refresh)
	}
	l.i.timers.set(&e.timer, at)
}

func (l *level) ours(id pdu.LSPID) bool { return id.Node().System() == l.i.config.System }

// sameContent says whether two LSPs differ in nothing but what a refresh changes.
func sameContent(old []byte, v pdu.View) bool {
	w, why := pdu.Check(old)
	return why == pdu.OK && w.SameContent(v)
}

// named takes in what name a router gives itself (RFC 5301).
func (l *level) named(e *entry) {
	if e.id.Fragment() != 0 || e.id.Node().Pseudonode() != 0 {
		return
	}
	if name := e.lsp.Hostname; name != "" && !e.purged {
		l.names[e.id.Node().System()] = name
	} else {
		delete(l.names, e.id.Node().System())
	}
}

// aged is called when an entry's time is over.
func (l *level) aged(now time.Duration, e *entry) {
	switch {
	case e.purged:
		l.forget(e)
	case l.ours(e.id):
		l.renew(now, e)
	default:
		l.purge(now, e, "aged out")
	}
}

// forget takes an entry out.
func (l *level) forget(e *entry) {
	l.i.timers.stop(&e.timer)
	l.noClaim(e)
	delete(l.entries, e.id)
	l.bytes -= len(e.raw)
	if at, ok := slices.BinarySearchFunc(l.order, e.id, byID); ok {
		l.order = slices.Delete(l.order, at, at+1)
	}
	e.srm = circuitSet{} // it may still stand in queues
}

// purge ends an LSP everywhere.
func (l *level) purge(now time.Duration, e *entry, why string) {
	l.purgeID(now, e.id, e.lsp.Sequence, why)
}

// purgeID is the same for one that need not be held.
func (l *level) purgeID(now time.Duration, id pdu.LSPID, sequence uint32, why string) {
	b := pdu.AppendPurge(nil, l.n, id, sequence, l.i.config.System, l.i.config.Hostname, l.i.config.Keys[l.n].sending(now))
	v, _ := pdu.Check(b)
	l.put(now, v, nil)
	l.i.counts.Purged++
	l.i.event(Event{At: now, Kind: Purged, Level: l.n, LSP: id, Sequence: sequence, Text: why})
}

// purgeNode purges all LSPs of a node of ours.
func (l *level) purgeNode(now time.Duration, n pdu.NodeID, why string) {
	for _, e := range slices.Clone(l.from(n.LSP(0))) {
		if e.id.Node() != n {
			return
		}
		if !e.purged {
			l.purge(now, e, why)
		}
	}
}
