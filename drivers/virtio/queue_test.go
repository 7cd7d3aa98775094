package virtio_test

import (
	"errors"
	"testing"

	"github.com/sluice-os/sluice/drivers/hw"
	"github.com/sluice-os/sluice/drivers/virtio"
	"github.com/sluice-os/sluice/drivers/virtio/internal/fake"
)

const (
	eventIndex = virtio.FeatureEventIndex
	indirect   = virtio.FeatureIndirect
	version1   = virtio.FeatureVersion1
)

// start returns a live device with queue 0 of size descriptors.
func start(t testing.TB, features uint64, size, segments int) (*fake.Device, *virtio.Queue) {
	t.Helper()
	d := fake.New(virtio.DeviceNet, version1|features, nil)
	return d, startAs(t, d, d, size, segments)
}

// startAs does so with a device that the driver sees as transport.
func startAs(t testing.TB, transport virtio.Transport, d *fake.Device, size, segments int) *virtio.Queue {
	t.Helper()
	d.QueueSize = size
	negotiated, err := virtio.Start(transport, 0, nil)
	if err != nil {
		t.Fatal(err)
	}
	q, err := virtio.NewQueue(transport, 0, negotiated, d.DMA, size, segments)
	if err != nil {
		t.Fatal(err)
	}
	if err := q.Enable(); err != nil {
		t.Fatal(err)
	}
	virtio.Run(transport)
	return q
}

// memory returns segments of n bytes each; those from writable on are.
func memory(t testing.TB, d *fake.Device, n, writable int, lengths ...int) []virtio.Segment {
	t.Helper()
	m, err := d.DMA.Alloc(n*len(lengths), hw.Both)
	if err != nil {
		t.Fatal(err)
	}
	var s []virtio.Segment
	for i, length := range lengths {
		s = append(s, virtio.Segment{Addr: m.Bus + uint64(i*n), Len: uint32(length), Writable: i >= writable})
	}
	return s
}

func TestStartRefusals(t *testing.T) {
	legacy := fake.New(virtio.DeviceNet, 1, nil)
	if _, err := virtio.Start(legacy, 1, nil); !errors.Is(err, virtio.ErrLegacy) {
		t.Errorf("no VERSION_1: %v", err)
	}
	if legacy.Status()&virtio.StatusFailed == 0 {
		t.Error("legacy device was not told FAILED")
	}
	moody := fake.New(virtio.DeviceNet, version1, nil)
	moody.RefuseFeatures = true
	if _, err := virtio.Start(moody, 1, nil); err == nil {
		t.Error("no error when the device clears FEATURES_OK")
	}
	dead := fake.New(virtio.DeviceNet, version1, nil)
	dead.HangReset = true
	if _, err := virtio.Start(dead, 1, nil); !errors.Is(err, virtio.ErrResetTimeout) {
		t.Errorf("reset hangs: %v", err)
	}
}

func TestStartTakesWhatBothKnow(t *testing.T) {
	d := fake.New(virtio.DeviceNet, version1|virtio.FeatureAccessPlatform|indirect|1<<40|0b1011, nil)
	f, err := virtio.Start(d, 0b0111, func(f uint64) uint64 { return f&^0b0010 | 1<<50 })
	if err != nil {
		t.Fatal(err)
	}
	want := version1 | virtio.FeatureAccessPlatform | indirect | 0b0001
	if f != want || d.Accepted() != want {
		t.Errorf("negotiated %#x, device saw %#x, want %#x", f, d.Accepted(), want)
	}
}

func TestNewQueueSizes(t *testing.T) {
	for _, c := range []struct{ device, driver, segments, want int }{
		{256, 256, 1, 256}, {256, 64, 1, 64}, {64, 256, 1, 64}, {200, 256, 1, 128},
		{1 << 30, 1 << 30, 1, 32768}, {0, 256, 1, 0}, {1, 256, 1, 0}, {2, 256, 3, 0}, {3, 256, 3, 0}, {4, 4, 3, 4},
	} {
		d := fake.New(virtio.DeviceNet, version1, nil)
		d.QueueSize = c.device
		q, err := virtio.NewQueue(d, 0, version1, d.DMA, c.driver, c.segments)
		switch {
		case c.want == 0 && err == nil:
			t.Errorf("%+v: no error", c)
		case c.want != 0 && (err != nil || q.Size() != c.want):
			t.Errorf("%+v: %v", c, err)
		case c.want == 0 && d.Memory.Used() != 0:
			t.Errorf("%+v: memory is lost", c)
		}
	}
	d := fake.New(virtio.DeviceNet, version1, nil)
	d.Memory.Limit = 8192
	if _, err := virtio.NewQueue(d, 0, version1|indirect, d.DMA, 256, 2); err == nil || d.Memory.Used() != 0 {
		t.Errorf("too little memory: %v, %d bytes lost", err, d.Memory.Used())
	}
}

// TestRoundTrips sends chains of one to three segments round the ring many times,
// finished out of order, past the wrap of the 16-bit indexes.
func TestRoundTrips(t *testing.T) {
	for name, features := range map[string]uint64{"plain": 0, "event": eventIndex, "indirect": indirect, "both": eventIndex | indirect} {
		t.Run(name, func(t *testing.T) {
			d, q := start(t, features, 8, 3)
			segments := memory(t, d, 128, 1, 16, 32, 64)
			rounds := 0
			for i := 0; i < 70_000; rounds++ {
				added := 0
				for n := 1; q.Add(uint32(i+added), segments[:n]...); n = n%3 + 1 {
					added++
				}
				if added == 0 || q.InFlight() != added {
					t.Fatalf("added %d chains, %d in flight", added, q.InFlight())
				}
				q.Submit()
				var chains []fake.Chain
				for c, ok := d.Pop(0); ok; c, ok = d.Pop(0) {
					if want := len(c.Segments) > 1 && features&indirect != 0; c.Indirect != want {
						t.Fatalf("chain of %d: indirect %v", len(c.Segments), c.Indirect)
					}
					for j, s := range c.Segments {
						if len(s.Bytes) != 16<<j || s.Writable != (j > 0) {
							t.Fatalf("segment %d: %d bytes, writable %v", j, len(s.Bytes), s.Writable)
						}
					}
					chains = append(chains, c)
				}
				if len(chains) != added {
					t.Fatalf("device got %d of %d chains", len(chains), added)
				}
				seen := map[uint32]bool{}
				for j := range chains {
					c := chains[len(chains)-1-j]
					written := uint32(0)
					if len(c.Segments) == 3 {
						written = 32 + 64
					}
					d.Push(0, uint32(c.Head), written)
				}
				d.Flush(0)
				if q.Pending() != added {
					t.Fatalf("%d of %d pending", q.Pending(), added)
				}
				for token, written, ok := q.Used(); ok; token, written, ok = q.Used() {
					if seen[token] || token < uint32(i) || token >= uint32(i+added) || written != 0 && written != 96 {
						t.Fatalf("token %d, %d written", token, written)
					}
					seen[token] = true
				}
				if q.Err() != nil || len(seen) != added || q.Room() != 8 || q.InFlight() != 0 {
					t.Fatalf("%v: %d tokens of %d, room %d", q.Err(), len(seen), added, q.Room())
				}
				i += added
			}
			if d.Notifies(0) != rounds {
				t.Errorf("%d notifications for %d batches", d.Notifies(0), rounds)
			}
		})
	}
}

func TestViolations(t *testing.T) {
	cases := []struct {
		name   string
		reason virtio.Reason
		lie    func(d *fake.Device, heads []uint32)
	}{
		{"index runs ahead", virtio.UsedIndex, func(d *fake.Device, _ []uint32) { d.SetUsedIndex(0, 5) }},
		{"index runs back", virtio.UsedIndex, func(d *fake.Device, _ []uint32) { d.SetUsedIndex(0, 0xffff) }},
		{"no such id", virtio.UsedID, func(d *fake.Device, _ []uint32) { d.Push(0, 8, 0); d.Flush(0) }},
		{"huge id", virtio.UsedID, func(d *fake.Device, _ []uint32) { d.Push(0, 0xffffffff, 0); d.Flush(0) }},
		{"never lent", virtio.UsedIdle, func(d *fake.Device, _ []uint32) { d.Push(0, 7, 0); d.Flush(0) }},
		{"returned twice", virtio.UsedIdle, func(d *fake.Device, h []uint32) { d.Push(0, h[0], 0); d.Push(0, h[0], 0); d.Flush(0) }},
		{"too long", virtio.UsedLength, func(d *fake.Device, h []uint32) { d.Push(0, h[1], 65); d.Flush(0) }},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			d, q := start(t, eventIndex, 8, 1)
			s := memory(t, d, 64, 0, 64, 64, 64, 64)
			for i := range s {
				q.Add(uint32(i), s[i])
			}
			q.Submit()
			var heads []uint32
			for c, ok := d.Pop(0); ok; c, ok = d.Pop(0) {
				heads = append(heads, uint32(c.Head))
			}
			c.lie(d, heads)
			for range 8 {
				q.Used()
			}
			var v *virtio.ViolationError
			if !errors.As(q.Err(), &v) || v.Reason != c.reason {
				t.Fatalf("got %v, want %v", q.Err(), c.reason)
			}
			if q.Add(9, s[0]) || q.Submit() || q.Pending() != 0 || q.EnableInterrupt(1) {
				t.Error("the broken queue still works")
			}
			// And after a reset it does.
			if _, err := virtio.Start(d, 0, nil); err != nil {
				t.Fatal(err)
			}
			q.Reset()
			if err := q.Enable(); err != nil {
				t.Fatal(err)
			}
			virtio.Run(d)
			if !q.Add(7, s[0]) || !q.Submit() {
				t.Fatal("queue does not work after its reset")
			}
			chain, _ := d.Pop(0)
			d.Push(0, uint32(chain.Head), 64)
			d.Flush(0)
			if token, n, ok := q.Used(); !ok || token != 7 || n != 64 {
				t.Errorf("after the reset: token %d, %d bytes, %v", token, n, ok)
			}
		})
	}
}

// TestIndexRunsBackOverShown catches a device that takes back what it has shown.
func TestIndexRunsBackOverShown(t *testing.T) {
	d, q := start(t, 0, 8, 1)
	s := memory(t, d, 64, 0, 64, 64, 64)
	for i := range s {
		q.Add(uint32(i), s[i])
	}
	q.Submit()
	for c, ok := d.Pop(0); ok; c, ok = d.Pop(0) {
		d.Push(0, uint32(c.Head), 1)
	}
	d.Flush(0)
	if q.Pending() != 3 {
		t.Fatal("nothing pending")
	}
	d.SetUsedIndex(0, 1)
	if q.Pending() != 0 || q.Err() == nil {
		t.Errorf("index 3, then 1: %v", q.Err())
	}
}

func TestInterruptSuppression(t *testing.T) {
	for name, features := range map[string]uint64{"flags": 0, "event": eventIndex} {
		t.Run(name, func(t *testing.T) {
			d, q := start(t, features, 8, 1)
			s := memory(t, d, 64, 0, 64)
			finish := func() bool {
				t.Helper()
				if !q.Add(0, s[0]) {
					t.Fatal("no room")
				}
				q.Submit()
				c, _ := d.Pop(0)
				d.Push(0, uint32(c.Head), 0)
				d.Flush(0)
				return d.Irq.Raised()
			}
			if finish() {
				t.Error("interrupts are on from the start")
			}
			if q.EnableInterrupt(1) {
				t.Error("armed though a chain is waiting")
			}
			q.Used()
			if !q.EnableInterrupt(1) {
				t.Error("not armed though nothing is waiting")
			}
			if !finish() {
				t.Error("no interrupt")
			}
			q.Used()
			q.DisableInterrupt()
			if finish() {
				t.Error("interrupt though disabled")
			}
			q.Used()
		})
	}
}

func TestInterruptAfterSeveral(t *testing.T) {
	d, q := start(t, eventIndex, 8, 1)
	s := memory(t, d, 64, 0, 64, 64, 64, 64)
	for i := range s {
		q.Add(uint32(i), s[i])
	}
	q.Submit()
	if !q.EnableInterrupt(3) {
		t.Fatal("not armed")
	}
	for i := 1; i <= 4; i++ {
		c, _ := d.Pop(0)
		d.Push(0, uint32(c.Head), 0)
		d.Flush(0)
		if got, want := d.Irq.Raised(), i == 3; got != want {
			t.Errorf("after %d chains: interrupt %v", i, got)
		}
	}
	if q.EnableInterrupt(3) {
		t.Error("armed for three though four wait")
	}
}

func TestNotifySuppression(t *testing.T) {
	d, q := start(t, 0, 8, 1)
	s := memory(t, d, 64, 0, 64)
	d.SuppressNotify(0, true)
	q.Add(0, s[0])
	if q.Submit() {
		t.Error("notified though the device said no")
	}
	d.SuppressNotify(0, false)
	q.Add(0, s[0])
	if !q.Submit() || q.Submit() {
		t.Error("want one notification")
	}

	// With the event index: none while the device has not caught up.
	d, q = start(t, eventIndex, 8, 1)
	q.Add(0, s[0])
	if !q.Submit() {
		t.Error("first chain: no notification")
	}
	q.Add(1, s[0])
	if q.Submit() {
		t.Error("second chain: the device is at the first still")
	}
	// Had the device caught up before it saw the second chain, and the driver
	// looked too early, this would find it out; once.
	if q.Settle() {
		t.Error("settled with a device that has not caught up")
	}
	q.Add(2, s[0])
	if q.Submit() {
		t.Error("third chain: the device is at the first still")
	}
	d.WriteUsed(0, 4+8*8, []byte{2, 0}) // avail_event, behind eight elements
	if !q.Settle() || q.Settle() {
		t.Error("want one notification for a device that has caught up")
	}
}

// late is a device whose stores the driver sees, and that sees the driver's, when a register
// is read and not before, as an emulator's may be.
type late struct {
	*fake.Device
	reads int
	store func() // what the device has written meanwhile
}

func (l *late) Status() uint8 {
	l.reads++
	if l.store != nil {
		l.store()
	}
	return l.Device.Status()
}

// TestWaitSettles has a driver that is about to wait find out, with one register read, what
// the device did while it looked: that it has caught up, and waits for a notification, and
// that it has finished what was lent.
func TestWaitSettles(t *testing.T) {
	for name, features := range map[string]uint64{"event index": eventIndex, "flags": 0} {
		t.Run(name, func(t *testing.T) {
			d := fake.New(virtio.DeviceNet, version1|features, nil)
			l := &late{Device: d}
			q := startAs(t, l, d, 8, 1)
			notified := 0
			d.OnNotify = func(int) { notified++ }
			s := memory(t, d, 64, 0, 64)
			var caughtUp func()
			if features == 0 {
				d.SuppressNotify(0, true)
				caughtUp = func() { d.SuppressNotify(0, false) }
			} else {
				d.WriteUsed(0, 4+8*8, []byte{5, 0}) // avail_event, behind eight elements
				caughtUp = func() { d.WriteUsed(0, 4+8*8, []byte{0, 0}) }
			}
			q.Add(0, s[0])
			if q.Submit() {
				t.Fatal("notified a device that is busy")
			}
			l.reads, l.store = 0, caughtUp
			if !q.EnableInterrupt(1) || notified != 1 {
				t.Errorf("a device that has caught up: notified %d times, want 1", notified)
			}
			if l.reads != 1 {
				t.Errorf("%d register reads before a wait, want 1", l.reads)
			}

			l.store = func() {
				if c, ok := d.Pop(0); ok {
					d.Push(0, uint32(c.Head), 0)
					d.Flush(0)
				}
			}
			if q.EnableInterrupt(1) {
				t.Error("armed though a chain was finished meanwhile")
			}
			if notified != 1 {
				t.Errorf("notified %d times for one chain", notified)
			}
		})
	}
}

func TestReadConfigIsBounded(t *testing.T) {
	d := fake.New(virtio.DeviceNet, version1, make([]byte, 8))
	reads := 0
	err := virtio.ReadConfig(d, func(r hw.Registers) { reads++; d.SetConfig16(0, uint16(reads)) })
	if err == nil {
		t.Errorf("no error after %d reads", reads)
	}
	reads = 0
	if err := virtio.ReadConfig(d, func(r hw.Registers) {
		if reads++; reads == 1 {
			d.SetConfig16(0, 7)
		}
	}); err != nil || reads != 2 {
		t.Errorf("%v after %d reads", err, reads)
	}
}

func TestQueueAllocatesNothing(t *testing.T) {
	d, q := start(t, eventIndex|indirect, 8, 2)
	s := memory(t, d, 64, 0, 64, 64)
	token := uint32(0)
	if n := testing.AllocsPerRun(200, func() {
		if !q.Add(token, s[0], s[1]) {
			t.Fatal("no room")
		}
		q.Submit()
		d.Push(0, 0, 0)
		d.Flush(0)
		if _, _, ok := q.Used(); !ok {
			t.Fatal(q.Err())
		}
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

// FuzzUsedRing writes arbitrary bytes over the used ring. No chain may come
// back that was not lent, nor one twice, nor with more than was lent.
func FuzzUsedRing(f *testing.F) {
	f.Add([]byte{0, 0, 1, 0, 0, 0, 0, 0, 64, 0, 0, 0})
	f.Add([]byte{0, 0, 2, 0, 0, 0, 0, 0, 64, 0, 0, 0, 0, 0, 0, 0, 64, 0, 0, 0})
	f.Add([]byte{0, 0, 9, 0, 7, 0, 0, 0, 65, 0, 0, 0})
	f.Fuzz(func(t *testing.T, b []byte) {
		d, q := start(t, eventIndex, 8, 2)
		s := memory(t, d, 64, 0, 64, 64)
		lent := map[uint32]bool{}
		for token := uint32(0); len(b) > 0; {
			for q.Add(token, s...) {
				lent[token] = true
				token++
			}
			q.Submit()
			n := min(len(b), 4+8*8+4)
			d.WriteUsed(0, 0, b[:n])
			b = b[n:]
			q.EnableInterrupt(1)
			for got, written, ok := q.Used(); ok; got, written, ok = q.Used() {
				if !lent[got] || written > 128 {
					t.Fatalf("token %d with %d bytes", got, written)
				}
				delete(lent, got)
			}
			if q.InFlight() != len(lent) || q.InFlight()*2+q.Room() != 8 {
				t.Fatalf("%d in flight, %d lent, room %d", q.InFlight(), len(lent), q.Room())
			}
		}
	})
}
