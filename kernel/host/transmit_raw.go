package host

// Frames that were put together elsewhere, one now and then, and go before what waits in the queue.
//
// No place of the ring is kept for them: the places are reclaimed in order, so that one that is not
// used would hold up the others. Instead such a frame has the next place that comes free.

import "slices"

// rawMax is how many frames of routing protocols may wait for a place in the ring: the hello that
// keeps a neighbour, and some of what is told to one.
const rawMax = 64

// writeRaw sends a frame. A full ring drops it: what is sent this way is repeated by a timer.
func (t *transmitter) writeRaw(frame []byte) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if !t.sendRaw() || !t.putRaw(frame) {
		t.counters.inc(txDropNoBuffer)
		return
	}
	if !t.turn {
		t.finish(nil, nil)
	}
}

// writeFirst sends a frame, whose bytes are the transmitter's from then on. When the ring is full
// it waits for the first place that comes free, however much is in transit: without hellos a link
// under load would be taken for dead. It is dropped when rawMax wait.
func (t *transmitter) writeFirst(frame []byte) {
	t.mu.Lock()
	defer t.mu.Unlock()
	switch {
	case t.sendRaw() && t.putRaw(frame):
	case len(t.raw) < rawMax:
		t.raw = append(t.raw, frame)
		t.counters.inc(txQueued)
	default:
		t.counters.inc(txDropNoBuffer)
	}
	if !t.turn {
		t.finish(nil, nil)
	}
}

// sendRaw puts frames that wait into the ring. It reports false when that is full before the end:
// the card will interrupt then, unless it is given more. t.mu is held.
func (t *transmitter) sendRaw() bool {
	for len(t.raw) > 0 {
		if !t.putRaw(t.raw[0]) {
			return false
		}
		t.raw = slices.Delete(t.raw, 0, 1)
	}
	return true
}

// putRaw copies a frame into the ring, and reports false when that is full. t.mu is held.
func (t *transmitter) putRaw(frame []byte) bool {
	p := t.reserve(len(frame))
	if p == nil {
		return false
	}
	w := cursor{buffers: p.Buffers}
	w.write(frame)
	t.commit(p, len(frame))
	return true
}

// discardRaw drops what waits. t.mu is held.
func (t *transmitter) discardRaw() {
	t.counters.add(txDropLinkDown, uint64(len(t.raw)))
	t.raw = nil
}
