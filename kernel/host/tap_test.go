package host

import (
	"bytes"
	"io"
	"slices"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/sluice-os/sluice/drivers/nic"
)

// recorder is a netif.Tap that keeps what it sees.
type recorder struct {
	on atomic.Bool
	mu sync.Mutex
	// frames are those that arrived, and those that were sent.
	frames [2][][]byte
	open   bool // packets came since the last Flush
	wrong  int
}

func (r *recorder) Watched() bool { return r.on.Load() }

func (r *recorder) Packet(sent bool, length int, pieces [][]byte) {
	r.mu.Lock()
	defer r.mu.Unlock()
	b, way := bytes.Join(pieces, nil), 0
	if len(b) != length {
		r.wrong++
	}
	if r.open = true; sent {
		way = 1
	}
	r.frames[way] = append(r.frames[way], b)
}

func (r *recorder) Flush() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.open = false
}

// TestTap (filternative): who watches a card sees each of its frames once, whole and in order,
// and the ends of batches; nothing is shown while nobody watches.
func TestTap(t *testing.T) {
	tap := &recorder{}
	var mu sync.Mutex
	var left [2][][]byte // from the far end, and from the near one
	near, far := newCable(noOffloads, noOffloads)
	near.piece, far.piece = 61, 61
	for way, p := range []*port{far, near} {
		p.onTransmit = func(frame []byte, _ *nic.Packet) bool {
			mu.Lock()
			defer mu.Unlock()
			left[way] = append(left[way], bytes.Clone(frame))
			return true
		}
	}
	a, err := New(near, static("192.0.2.1/24"))
	if err != nil {
		t.Fatal(err)
	}
	a.Tap(tap)
	if err := a.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(a.Close)
	p := &pair{a: a, b: startStack(t, far, static("192.0.2.2/24")), pa: near, pb: far}
	until(t, "both links up", func() bool { return ready(p.a) && ready(p.b) })
	get := func() {
		t.Helper()
		r, err := p.client().Get("http://192.0.2.2/bytes?n=100000")
		if err != nil {
			t.Fatal(err)
		}
		defer r.Body.Close()
		if n, err := io.Copy(io.Discard, r.Body); n != 100000 || err != nil {
			t.Fatalf("%d bytes, %v", n, err)
		}
	}
	get()
	if tap.frames[0] != nil || tap.frames[1] != nil {
		t.Error("frames were shown to nobody")
	}
	tap.on.Store(true)
	get()
	until(t, "what was sent has arrived", func() bool {
		mu.Lock()
		defer mu.Unlock()
		tap.mu.Lock()
		defer tap.mu.Unlock()
		// Frames from before the tap was watched are not among those that it has.
		for way := range left {
			seen, all := tap.frames[way], left[way]
			if len(seen) < 10 || len(seen) > len(all) || !slices.EqualFunc(seen, all[len(all)-len(seen):], bytes.Equal) {
				return false
			}
		}
		return !tap.open
	})
	if tap.wrong > 0 {
		t.Errorf("%d frames have another length", tap.wrong)
	}
}
