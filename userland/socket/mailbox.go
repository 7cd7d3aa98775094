package socket

import (
	"encoding/binary"
	"math/bits"
	"net/netip"
	"sync"
)

// mailbox holds datagrams in order until they are read: a ring of bytes, in which
// each has a record before it. It grows up to its limit, and gives a large ring back
// when it is empty: one that fills again takes what was given back. The zero value is
// empty and takes one datagram at a time.
type mailbox struct {
	mu    sync.Mutex
	ring  *ring  // nil: none
	bytes []byte // those of ring, a power of two
	first uint32 // where the oldest record begins, modulo the length
	used  int
	limit int // of used, in bytes; see put
	// most is the greatest value of used since the mailbox was empty, and before that
	// of the time before: as much is likely to come again.
	most, before int
	// closed says that nothing is taken any more.
	closed bool
}

// record is what stands before a datagram.
type record struct {
	from   netip.AddrPort
	length int
}

// ring is the memory of a mailbox.
type ring struct{ bytes []byte }

// rings are those that no mailbox uses, by the logarithm of their size. What is not
// used for a while is the collector's.
var rings [32]sync.Pool

const (
	// recordSize is that of a record in bytes: address, port, family, length.
	recordSize = 24
	// mailboxLeast is the first size of a ring in bytes.
	mailboxLeast = 4 << 10
)

// put adds a datagram, or says why it is lost: to be alone it may be longer than the limit.
// empty says that nothing was there before.
func (m *mailbox) put(in *Datagram) (empty bool, why loss) {
	m.mu.Lock()
	defer m.mu.Unlock()
	before := m.used
	switch {
	case m.closed:
		return before == 0, lostClosed
	case before > 0 && before+recordSize+in.Length > m.limit:
		return before == 0, lostNoRoom
	}
	m.grow(before + recordSize + in.Length)
	var head [recordSize]byte
	address := in.From.Addr().As16()
	copy(head[:16], address[:])
	binary.NativeEndian.PutUint16(head[16:], in.From.Port())
	if in.From.Addr().Is4() {
		head[18] = 4
	}
	binary.NativeEndian.PutUint32(head[20:], uint32(in.Length))
	m.append(head[:])
	for _, piece := range in.Pieces {
		m.append(piece)
	}
	if in.Valid != nil && !in.Valid() {
		m.used = before
		return before == 0, lostDefunct
	}
	m.most = max(m.most, m.used)
	return before == 0, kept
}

// grow makes the ring hold n bytes.
func (m *mailbox) grow(n int) {
	if n <= len(m.bytes) {
		return
	}
	size := max(len(m.bytes), mailboxLeast)
	for size < max(n, m.before) {
		size *= 2
	}
	r, ok := rings[bits.Len(uint(size))].Get().(*ring)
	if !ok {
		r = &ring{make([]byte, size)}
	}
	m.copyOut(r.bytes[:m.used], 0)
	m.giveBack()
	m.ring, m.bytes, m.first = r, r.bytes, 0
}

// giveBack leaves the ring to others.
func (m *mailbox) giveBack() {
	if m.ring != nil {
		rings[bits.Len(uint(len(m.bytes)))].Put(m.ring)
	}
	m.ring, m.bytes = nil, nil
}

// append writes behind the end. There is room.
func (m *mailbox) append(b []byte) {
	at := int(m.first+uint32(m.used)) & (len(m.bytes) - 1)
	n := copy(m.bytes[at:], b)
	copy(m.bytes, b[n:])
	m.used += len(b)
}

// copyOut fills b with what lies offset bytes behind the oldest record's start.
func (m *mailbox) copyOut(b []byte, offset int) {
	if len(b) == 0 {
		return
	}
	at := int(m.first+uint32(offset)) & (len(m.bytes) - 1)
	n := copy(b, m.bytes[at:])
	copy(b[n:], m.bytes)
}

// oldest reads the record of the oldest datagram. m.mu is held.
func (m *mailbox) oldest() (r record, ok bool) {
	if m.used == 0 {
		return record{}, false
	}
	var head [recordSize]byte
	m.copyOut(head[:], 0)
	address := netip.AddrFrom16([16]byte(head[:16]))
	if head[18] == 4 {
		address = address.Unmap()
	}
	return record{
		from:   netip.AddrPortFrom(address, binary.NativeEndian.Uint16(head[16:])),
		length: int(binary.NativeEndian.Uint32(head[20:])),
	}, true
}

// take reads the oldest datagram into b, as far as it fits, and removes it unless
// peek is set. ok is false when there is none.
func (m *mailbox) take(b []byte, peek bool) (n int, r record, ok bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if r, ok = m.oldest(); !ok {
		return 0, r, false
	}
	n = min(len(b), r.length)
	m.copyOut(b[:n], recordSize)
	if !peek {
		m.first += uint32(recordSize + r.length)
		m.used -= recordSize + r.length
		if m.used == 0 {
			m.before, m.most = m.most, 0
			if len(m.bytes) > mailboxLeast {
				m.giveBack()
			}
		}
	}
	return n, r, true
}

// next returns the length of the oldest datagram.
func (m *mailbox) next() (length int, ok bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	r, ok := m.oldest()
	return r.length, ok
}

// close has nothing taken any more. It removes nothing.
func (m *mailbox) close() {
	m.mu.Lock()
	m.closed = true
	m.mu.Unlock()
}

// setLimit sets how many bytes may wait. It removes nothing.
func (m *mailbox) setLimit(n int) {
	m.mu.Lock()
	m.limit = n
	m.mu.Unlock()
}
