package cardtest

import (
	"bytes"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/sluice-os/sluice/drivers/nic"
)

// TestFrames: what is filled in pieces is read as a whole, and tells by its seed.
func TestFrames(t *testing.T) {
	frame := Frame(1000, 3)
	p := nic.Packet{Buffers: []nic.Buffer{{Bytes: make([]byte, 300)}, {Bytes: make([]byte, 600)}, {Bytes: make([]byte, 100)}}}
	Fill(&p, frame)
	if !bytes.Equal(Contents(&p), frame) || !bytes.Equal(frame[:6], MAC[:]) {
		t.Error("a frame in three pieces is another")
	}
	if bytes.Equal(Frame(1000, 4), frame) || len(Frame(3, 0)) != 3 {
		t.Error("frames do not differ by seed, or short ones have no length")
	}
}

func TestClock(t *testing.T) {
	var c Clock
	start := c.Now()
	c.Sleep(time.Second)
	if got := c.Now().Sub(start); got != time.Second+time.Millisecond || start.IsZero() {
		t.Errorf("%v went by from %v", got, start)
	}
}

func TestScript(t *testing.T) {
	s := Script{1, 2, 3, 4}
	if s.Next() != 1 || !bytes.Equal(s.Take(2), []byte{2, 3}) || !bytes.Equal(s.Take(2), []byte{4}) || len(s) != 0 || s.Next() != 0 || len(s.Take(9)) != 0 {
		t.Errorf("read wrongly, %v is left", s)
	}
}

// record notes failures instead of failing, and ends what has failed.
type record struct {
	testing.TB
	said string
}

func (r *record) Helper() {}

func (r *record) Fatalf(format string, args ...any) {
	r.said = fmt.Sprintf(format, args...)
	panic(r)
}

func (r *record) Errorf(format string, args ...any) { r.said = fmt.Sprintf(format, args...) }

// try returns what f has failed with.
func try(f func(t *record)) (said string) {
	r := &record{}
	defer func() {
		if v := recover(); v != nil && v != any(r) {
			panic(v)
		}
		said = r.said
	}()
	f(r)
	return
}

// liar receives what it is told.
type liar struct {
	nic.Device
	next     []nic.Packet
	released int
}

func (l *liar) Receive(batch []nic.Packet) int {
	n := copy(batch, l.next)
	l.next = nil
	return n
}

func (l *liar) Release(batch []nic.Packet) { l.released += len(batch) }

func (l *liar) Counters(f func(string, uint64)) { f("good", 0); f("bad", 7) }

// TestPollerNotices: lengths that cannot be and buffers that are lent twice fail a fuzz
// test, and good frames do not.
func TestPollerNotices(t *testing.T) {
	packet := func(id uint32, n, length int) nic.Packet {
		return nic.Packet{Buffers: []nic.Buffer{{Bytes: make([]byte, n), ID: id}}, Len: length}
	}
	for _, c := range []struct {
		name, want string
		packets    []nic.Packet
	}{
		{"good", "", []nic.Packet{packet(1, 60, 60), packet(2, 100, 100)}},
		{"short", "frame of 13", []nic.Packet{packet(1, 13, 13)}},
		{"long", "frame of 101", []nic.Packet{packet(1, 101, 101)}},
		{"not what it says", "frame of 60", []nic.Packet{packet(1, 61, 60)}},
		{"twice", "buffer 1 was lent twice", []nic.Packet{packet(1, 60, 60), packet(2, 60, 60), packet(1, 60, 60)}},
	} {
		l := &liar{next: c.packets}
		if said := try(func(r *record) { NewPoller(r, l, 100).Receive() }); said == "" != (c.want == "") || !strings.Contains(said, c.want) {
			t.Errorf("%s: %q, want %q", c.name, said, c.want)
		}
	}
	l := &liar{next: []nic.Packet{packet(1, 60, 60), packet(2, 60, 60), packet(3, 60, 60)}}
	p := NewPoller(t, l, 100)
	p.Receive()
	p.Release(2 + 4)
	if p.Held() != 1 || l.released != 2 {
		t.Errorf("%d buffers are held, %d packets released", p.Held(), l.released)
	}
	// What was released may come again.
	l.next = []nic.Packet{packet(1, 60, 60)}
	p.Receive()
	if p.Held() != 2 {
		t.Errorf("%d buffers are held", p.Held())
	}
}

func TestUncounted(t *testing.T) {
	if said := try(func(r *record) { Uncounted(r, &liar{}, "good", "bad") }); said != "bad is 7" {
		t.Errorf("got %q", said)
	}
	if said := try(func(r *record) { Uncounted(r, &liar{}, "good") }); said != "" {
		t.Errorf("got %q", said)
	}
	defer func() {
		if recover() == nil {
			t.Error("a counter that is not there was read")
		}
	}()
	Count(&liar{}, "none")
}
