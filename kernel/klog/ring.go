package klog

import "sync/atomic"

// RingSize is how much of the log is kept, in bytes.
const RingSize = 64 << 10

// Ring keeps the last lines of the log. Its Log's lock guards it, except for
// Last.
type Ring struct {
	buf [RingSize]byte
	// end counts all bytes ever written; the ring holds the last RingSize.
	end atomic.Uint64
}

// write appends one line. Lines are shorter than the ring.
func (r *Ring) write(line []byte) {
	at := r.end.Load()
	for _, c := range line {
		r.buf[at%RingSize] = c
		at++
	}
	r.end.Store(at)
}

// start returns where the oldest whole line begins.
func (r *Ring) start(end uint64) uint64 {
	if end <= RingSize {
		return 0
	}
	at := end - RingSize
	for at < end && r.buf[at%RingSize] != '\n' {
		at++
	}
	return min(at+1, end)
}

// bytes returns the kept lines, oldest first.
func (r *Ring) bytes() []byte {
	end := r.end.Load()
	at := r.start(end)
	out := make([]byte, 0, end-at)
	for ; at < end; at++ {
		out = append(out, r.buf[at%RingSize])
	}
	return out
}

// Last calls f with pieces of the last n lines, in order. It takes no lock and
// allocates nothing: the fatal path uses it. A line that is being written may
// come out torn.
func (r *Ring) Last(n int, f func(piece []byte)) {
	end := r.end.Load()
	oldest := r.start(end)
	at := end
	for lines := 0; at > oldest; at-- {
		if r.buf[(at-1)%RingSize] == '\n' {
			if lines++; lines > n {
				break
			}
		}
	}
	for at < end {
		from := at % RingSize
		to := min(from+(end-at), RingSize)
		f(r.buf[from:to])
		at += to - from
	}
}
