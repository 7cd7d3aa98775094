package packet

import (
	"errors"
	"time"
)

// This file owns the fragments that wait for the rest of their packet.

// ErrLimits says that Limits make no sense.
var ErrLimits = errors.New("packet: bad limits for reassembly")

// Limits are those of a Reassembler. 0 stands for the default.
type Limits struct {
	// Packets is how many incomplete packets wait: 1 to 65536, default 128.
	Packets int
	// PerSource is how many of them may be of one source, which is an IPv4
	// address or an IPv6 prefix of 64 bits: default 16.
	PerSource int
	// Fragments is how many fragments a packet may have: 2 to 1024, default 64.
	Fragments int
	// Bytes is what all fragments may occupy, with what it takes to keep them: at
	// least BytesMin, default 1 MiB.
	Bytes int
	// Lifetime is how long a packet waits from its first fragment: default 30 s.
	// RFC 8200, section 4.5 allows 60 s.
	Lifetime time.Duration
}

// BytesMin is the least value of Limits.Bytes: one packet of the greatest length
// in the most fragments.
const BytesMin = lengthMax + 1 + 1024*(fragmentCost+roundTo)

const (
	// fragmentCost is what a fragment is counted for beside its bytes, and
	// packetCost what Worst takes for an incomplete packet: with its part of the
	// two maps, which may be half empty.
	fragmentCost = 64
	packetCost   = 768
	roundTo      = 64
)

type packetID struct {
	src, dst       [16]byte
	id             uint32
	version, proto uint8
}

type piece struct {
	offset int
	data   []byte
}

// partial is an incomplete packet.
type partial struct {
	key        packetID
	born       time.Duration
	prev, next *partial
	// pieces are in the order of their offsets and do not overlap.
	pieces []piece
	// have is how many bytes there are, end where the last one ends; -1: unknown.
	have, end, cost int
	// head is the header of the first fragment, nil until it came.
	head   []byte
	first  Info
	ecn    uint8 // the set of marks seen, a bit each
	poison Reason
}

// Reassembler puts fragments together. It is for one user at a time. Time is since
// any fixed moment and must not go back.
type Reassembler struct {
	limits  Limits
	waiting map[packetID]*partial
	sources map[[16]byte]int
	// root.next is the oldest.
	root   partial
	bytes  int
	counts [ReasonCount]uint64
}

// NewReassembler makes an empty one.
func NewReassembler(l Limits) (*Reassembler, error) {
	set := func(v *int, to int) {
		if *v == 0 {
			*v = to
		}
	}
	set(&l.Packets, 128)
	set(&l.PerSource, min(16, l.Packets))
	set(&l.Fragments, 64)
	set(&l.Bytes, 1<<20)
	if l.Lifetime == 0 {
		l.Lifetime = 30 * time.Second
	}
	if l.Packets < 1 || l.Packets > 1<<16 || l.PerSource < 1 || l.Fragments < 2 || l.Fragments > 1024 ||
		l.Bytes < BytesMin || l.Lifetime < 0 {
		return nil, ErrLimits
	}
	r := &Reassembler{limits: l, waiting: make(map[packetID]*partial), sources: make(map[[16]byte]int)}
	r.root.next, r.root.prev = &r.root, &r.root
	return r, nil
}

// Worst is the most memory that waiting fragments take, in bytes, with an eighth
// for what the allocator rounds up and one complete packet on its way out.
func (r *Reassembler) Worst() int {
	n := r.limits.Packets*packetCost + r.limits.Bytes
	return n + n/8 + lengthMax + v6Len
}

// Waiting is how many packets are incomplete, and what their fragments are counted
// for, in bytes.
func (r *Reassembler) Waiting() (packets, bytes int) { return len(r.waiting), r.bytes }

// Count is how often a reason was met. FragmentHeld and FragmentDuplicate are
// counted for each fragment, so are refusals; timeouts and evictions for each
// incomplete packet; OK for each packet that became whole.
func (r *Reassembler) Count(why Reason) uint64 {
	if why >= ReasonCount {
		return 0
	}
	return r.counts[why]
}

// Add takes a packet at the time now. What is whole already is returned as it is,
// but for an IPv6 fragment header that has no use (RFC 6946): then it is a copy. Of
// a fragment, the whole is returned when it is the last one missing; else nil, and
// the reason. b may be used again afterwards, unless it was returned.
func (r *Reassembler) Add(now time.Duration, b []byte) ([]byte, Reason) {
	in, why := Parse(b, len(b))
	if why != OK {
		return nil, r.count(why)
	}
	b = b[:in.Length]
	if !in.Fragment() {
		if in.Atomic {
			return finish(&in, b[:in.HeaderLen], []piece{{0, b[in.HeaderLen:]}}, in.Length-in.HeaderLen, in.ECN()), r.count(OK)
		}
		return b, OK
	}
	if in.Version == 4 && SumOf(b[:in.HeaderLen]) != 0xffff {
		return nil, r.count(HeaderSum) // the whole gets a sum of its own
	}
	r.Expire(now)
	key := packetID{src: in.Src, dst: in.Dst, id: in.FragmentID, version: in.Version}
	if in.Version == 4 {
		key.proto = in.Proto
	}
	p := r.waiting[key]
	if p == nil {
		p = r.insert(now, key)
	}
	if p.poison != OK {
		return nil, r.count(p.poison)
	}
	if why := r.place(p, &in, b); why != OK {
		if why != FragmentHeld && why != FragmentDuplicate {
			r.refuse(p, why)
		}
		return nil, r.count(why)
	}
	r.remove(p)
	ecn, ok := mergeECN(p.ecn)
	if !ok {
		return nil, r.count(FragmentECN)
	}
	return finish(&p.first, p.head, p.pieces, p.end, ecn), r.count(OK)
}

// Expire drops what has waited too long and returns how many packets that were.
func (r *Reassembler) Expire(now time.Duration) (n int) {
	for r.root.next != &r.root && now-r.root.next.born >= r.limits.Lifetime {
		r.lose(r.root.next, FragmentTimeout)
		n++
	}
	return n
}

func (r *Reassembler) count(why Reason) Reason {
	r.counts[why]++
	return why
}

// insert makes an incomplete packet, and room for it.
func (r *Reassembler) insert(now time.Duration, key packetID) *partial {
	s := source(&key)
	if r.sources[s] >= r.limits.PerSource {
		p := r.root.next
		for source(&p.key) != s {
			p = p.next
		}
		r.lose(p, FragmentSource)
	}
	if len(r.waiting) >= r.limits.Packets {
		r.lose(r.root.next, FragmentEvicted)
	}
	p := &partial{key: key, born: now, end: -1, next: &r.root, prev: r.root.prev}
	p.prev.next, p.next.prev = p, p
	r.waiting[key] = p
	r.sources[s]++
	return p
}

// source is whom a packet is counted for.
func source(k *packetID) (s [16]byte) {
	s = k.src
	if k.version == 6 {
		clear(s[8:])
	}
	return s
}

// lose counts a packet that never became whole. One that was refused has been.
func (r *Reassembler) lose(p *partial, why Reason) {
	if p.poison == OK {
		r.count(why)
	}
	r.remove(p)
}

func (r *Reassembler) remove(p *partial) {
	p.prev.next, p.next.prev = p.next, p.prev
	delete(r.waiting, p.key)
	s := source(&p.key)
	if r.sources[s]--; r.sources[s] == 0 {
		delete(r.sources, s)
	}
	r.bytes -= p.cost
}

// refuse drops what there is of a packet, and remembers to drop the rest (RFC 5722).
func (r *Reassembler) refuse(p *partial, why Reason) {
	r.bytes -= p.cost
	p.pieces, p.head, p.cost, p.poison = nil, nil, 0, why
}
