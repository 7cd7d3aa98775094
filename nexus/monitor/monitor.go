// Package monitor copies the packets that pass channels and network interfaces to a
// channel of its own, with a record in front of each (see abi.Record). What is watched
// never waits: a monitor that is slow loses packets, which are counted.
package monitor

import (
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"
	"unsafe"

	"github.com/sluice-os/sluice/nexus/abi"
	"github.com/sluice-os/sluice/nexus/channel"
)

var (
	// ErrReceiveOnly says that a monitor's domain wanted to send (EIO).
	ErrReceiveOnly = errors.New("monitor: its channel only receives")
	// ErrMonitor says that a monitor cannot be watched.
	ErrMonitor = errors.New("monitor: a monitor cannot be watched")
	// ErrDirection says that a direction is none.
	ErrDirection = errors.New("monitor: no such direction")
)

// Direction says which packets are meant.
type Direction uint8

const (
	// Rx are packets that a channel's domain receives, or that a network interface
	// has received.
	Rx Direction = abi.RecordRx
	// Tx are those that they send.
	Tx Direction = abi.RecordTx
	// Both are all.
	Both = Rx | Tx
)

// Config is how a monitor records.
type Config struct {
	// Snap is how many bytes of each packet are recorded at most; 0: SnapMax.
	Snap int
	// Now gives the time of a record, since the machine's boot.
	Now func() time.Duration
}

// SnapMax is the most bytes of a packet that fit behind a record.
const SnapMax = abi.PacketMax - abi.RecordSize

// PiecesMax is the most pieces of a packet, for which nothing is allocated.
const PiecesMax = abi.BufletsMax + 2

// Counts are a monitor's statistics.
type Counts struct {
	Seen    uint64 // packets that passed where it watches
	Dropped uint64 // of them, those without a record
}

// Monitor is a nexus that only gives. Its methods may be called concurrently.
type Monitor struct {
	channel *channel.Channel
	snap    int
	now     func() time.Duration
	points  map[*Point]bool // where it watches; guarded by watching
	closed  bool            // likewise
	refuse  func(*channel.Packet) bool
	refused atomic.Bool // the domain has sent since the last Sync

	// mu guards what follows. It comes after the lock of the channel that is
	// watched and before that of the monitor's own.
	mu     sync.Mutex
	counts Counts
	record abi.Record
	pieces [1 + PiecesMax][]byte
	body   channel.Filler
	fill   func([]byte)
	d      channel.Delivery
}

// New makes a monitor that gives its records to a channel, which must be nobody else's.
func New(c *channel.Channel, cfg Config) (*Monitor, error) {
	if cfg.Snap < 0 || cfg.Snap > SnapMax {
		return nil, fmt.Errorf("monitor: snap length of %d bytes, want 1 to %d, or 0 for all of them", cfg.Snap, SnapMax)
	}
	if cfg.Snap == 0 {
		cfg.Snap = SnapMax
	}
	m := &Monitor{channel: c, snap: cfg.Snap, now: cfg.Now, points: map[*Point]bool{}}
	m.fill = m.body.Fill
	m.refuse = func(*channel.Packet) bool {
		m.refused.Store(true)
		return true
	}
	// The record is read as bytes: it has no pointers, and no gaps but for its last
	// word.
	m.pieces[0] = unsafe.Slice((*byte)(unsafe.Pointer(&m.record)), abi.RecordSize)
	watching.Lock()
	monitors[c] = true
	watching.Unlock()
	return m, nil
}

// Counts returns the statistics.
func (m *Monitor) Counts() Counts {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.counts
}

// Sync does what the monitor's domain asks for with a notification. It is ErrReceiveOnly
// if it wanted to send, which went nowhere, channel.ErrClosed, channel.ErrMore, or a
// *channel.Violation.
func (m *Monitor) Sync() error {
	err := m.channel.Sync(m.refuse)
	if m.refused.Swap(false) && err == nil {
		return ErrReceiveOnly
	}
	return err
}

// Close ends all watching and the channel.
func (m *Monitor) Close() {
	watching.Lock()
	for p := range m.points {
		p.remove(m)
	}
	m.closed = true
	delete(monitors, m.channel)
	watching.Unlock()
	m.channel.Close()
}

// capture records a packet.
func (m *Monitor) capture(p *Point, direction Direction, length int, pieces [][]byte) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.counts.Seen++
	r := &m.record
	r.Time, r.Source, r.Kind, r.Direction = uint64(m.now()), p.id, p.kind, uint16(direction)
	body, there := append(m.pieces[:1], pieces...), 0
	for _, piece := range pieces {
		there += len(piece)
	}
	r.Length, r.Captured = uint32(length), uint32(min(length, m.snap, there))
	m.d.Length = abi.RecordSize + int(r.Captured)
	m.body.Reset(body)
	if m.channel.Deliver(&m.d, m.fill) {
		r.Lost = 0
	} else {
		r.Lost++
		m.counts.Dropped++
	}
	clear(body[1:]) // memory of others
}
