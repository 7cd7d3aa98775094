package flowswitch

import "sync"

// tracker follows a TCP connection by what passes; it changes nothing.
type tracker struct {
	mu sync.Mutex
	// next is the sequence number behind what the domain has sent, and ack the
	// one behind what it has acknowledged: those of a reset in its name.
	next, ack   uint32
	sent        bool // next is known
	synIn       bool
	synAckOut   bool
	established bool
	finIn       bool
	finOut      bool
	// ended is when the connection was over for both sides; 0: it is not.
	ended int64
	// syns and since count connection attempts: see synRate.
	syns  int
	since int64
}

const (
	second = int64(1e9)
	// synRate is how many SYNs a flow may send in a second.
	synRate = 20
)

// out takes a segment of the domain's into account, of n bytes of payload.
func (t *tracker) out(p *parsed, n int, now int64) {
	t.mu.Lock()
	defer t.mu.Unlock()
	end := p.seq + uint32(n)
	if p.flags&flagSYN != 0 {
		end++
		if p.flags&flagACK != 0 {
			t.synAckOut = true
		}
		t.finIn, t.finOut, t.ended = false, false, 0
	}
	if p.flags&flagFIN != 0 {
		end++
		t.finOut = true
	}
	if !t.sent || int32(end-t.next) > 0 || p.flags&flagSYN != 0 {
		t.next, t.sent = end, true
	}
	if p.flags&flagACK != 0 {
		t.ack = p.ack
	}
	t.finish(p, now)
}

// in takes a segment of the peer's into account. It reports whether the connection
// was made by it.
func (t *tracker) in(p *parsed, now int64) (made bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if p.flags&flagSYN != 0 {
		t.synIn = true
		if p.flags&flagACK == 0 {
			// A new connection in the place of an old one.
			t.established, t.synAckOut, t.finIn, t.finOut, t.ended = false, false, false, false, 0
		}
	}
	if !t.established && p.flags&flagACK != 0 && p.flags&flagRST == 0 && t.sent {
		t.established = true
		made = true
	}
	if p.flags&flagFIN != 0 {
		t.finIn = true
	}
	t.finish(p, now)
	return made
}

// finish notes when both sides are done. t.mu is held.
func (t *tracker) finish(p *parsed, now int64) {
	if t.ended == 0 && (p.flags&flagRST != 0 || t.finIn && t.finOut) {
		t.ended = now
	}
}

// attempt says whether the domain may send a SYN now.
func (t *tracker) attempt(now int64) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	if now-t.since >= second {
		t.since, t.syns = now, 0
	}
	t.syns++
	return t.syns <= synRate
}

// over is when the connection ended; 0: it has not.
func (t *tracker) over() int64 {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.ended
}
