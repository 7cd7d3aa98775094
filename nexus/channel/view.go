package channel

import tables "github.com/sluice-os/sluice/nexus/view"

// Listed is a channel with what it belongs to, for people, and how many flows it has.
type Listed struct {
	*Channel
	Nexus string
	Flows int
	Rate  uint64 // that its domain may send, in bits a second; 0: any
	// TooLong and Lost are how many packets a pipe has dropped that its domain has sent: the
	// peer can never hold them, or the pipe was over.
	TooLong, Lost uint64
}

// Table describes channels.
func Table(list []Listed) *tables.Table {
	t := tables.New("ID#", "DOMAIN", "NEXUS", "SCHEMA", "STATE", "BYTES#", "MEMORY#", "FLOWS#", "TX PACKETS#", "TX BYTES#", "RX PACKETS#", "RX BYTES#",
		"SYNCS#", "EVENTS#", "STALLED#", "REFUSED#", "DROPPED#", "PAUSED#", "PAUSES#", "RATE#", "TOO LONG#", "LOST#")
	for _, a := range list {
		c := a.Counts()
		packets, rest := a.Memory()
		flows := a.Advisories()
		t.Add(a.ID, a.Name, a.Nexus, a.Schema, a.state(), a.Arena().Size, packets+rest, a.Flows, c.TxPackets, c.TxBytes, c.RxPackets, c.RxBytes,
			c.TxSyncs, c.RxEvents, c.TxStalled, c.TxRefused, c.RxRingFull+c.RxNoPacket+c.RxNoBuffer+c.RxTooLong, flows.Paused, flows.Pauses, a.Rate, a.TooLong, a.Lost)
	}
	return t
}

// state is the channel's, for people.
func (c *Channel) state() string {
	switch {
	case c.Err() == ErrDefunct:
		return "defunct"
	case c.Pinned:
		return "pinned"
	}
	return "open"
}

// RingTable describes their rings.
func RingTable(list []Listed) *tables.Table {
	t := tables.New("CHANNEL#", "DOMAIN", "KIND", "SLOTS#", "USED#", "HEAD#", "TAIL#")
	for _, a := range list {
		for kind, r := range a.Rings() {
			t.Add(a.ID, a.Name, RingName(kind), r.Slots, r.Used, r.Head, r.Tail)
		}
	}
	return t
}

// PoolTable describes their memory: all that a channel has, its rows together.
func PoolTable(list []Listed) *tables.Table {
	t := tables.New("CHANNEL#", "DOMAIN", "OF", "LIMIT#", "BACKED#", "FREE#", "LENT#", "WORKING SET#", "ASKED BACK#", "SEGMENTS#", "BYTES#")
	names := [...]string{"packets", "buffers", "large buffers"}
	for _, a := range list {
		for i, p := range a.Pools() {
			t.Add(a.ID, a.Name, names[i], p.Count, p.Backed, p.Free, p.Lent, p.Hold, p.Asked, p.Segments, p.Bytes)
		}
		// The other regions do not come and go.
		_, rest := a.Memory()
		t.Add(a.ID, a.Name, "rings, metadata", 0, 0, 0, 0, 0, 0, 0, rest)
	}
	return t
}
