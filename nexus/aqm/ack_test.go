package aqm_test

import (
	"encoding/binary"
	"slices"
	"testing"

	"github.com/sluice-os/sluice/nexus/aqm"
	"github.com/sluice-os/sluice/nexus/packet"
)

func ack(flow, number uint32) aqm.Packet {
	p := tcp(flow, 66)
	p.PureAck, p.Ack = true, number
	return p
}

// TestAckSuperseded: of two acknowledgements that follow each other the last one stays, in
// the place of the first.
func TestAckSuperseded(t *testing.T) {
	other := ack(1, 2000)
	other.Flow.Generation++
	paced := ack(1, 2000)
	paced.TxTime = 1
	for name, c := range map[string]struct {
		list []aqm.Packet
		left []uint32 // handles, which count from 1
	}{
		"later":                {[]aqm.Packet{ack(1, 1000), ack(1, 2000), ack(1, 2001)}, []uint32{3}},
		"around zero":          {[]aqm.Packet{ack(1, 1<<32-1000), ack(1, 2000)}, []uint32{2}},
		"the same again":       {[]aqm.Packet{ack(1, 1000), ack(1, 1000)}, []uint32{1, 2}},
		"earlier":              {[]aqm.Packet{ack(1, 1000), ack(1, 999)}, []uint32{1, 2}},
		"behind data":          {[]aqm.Packet{ack(1, 1000), tcp(1, 1000), ack(1, 2000)}, []uint32{1, 2, 3}},
		"data behind it":       {[]aqm.Packet{ack(1, 1000), tcp(1, 1000)}, []uint32{1, 2}},
		"of another flow":      {[]aqm.Packet{ack(1, 1000), ack(2, 2000)}, []uint32{1, 2}},
		"of a later flow":      {[]aqm.Packet{ack(1, 1000), other}, []uint32{1, 2}},
		"with a time to leave": {[]aqm.Packet{ack(1, 1000), paced}, []uint32{1, 2}},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, aqm.Config{})
			for _, p := range c.list {
				w.must(1, p)
				w.ok()
			}
			got := handles(w.run(w.Len(), ms), func(p *aqm.Packet) uint32 { return p.Handle })
			if !slices.Equal(got, c.left) {
				t.Errorf("left %v, want %v", got, c.left)
			}
			for _, d := range w.dropped {
				if d.why != aqm.AckSuperseded {
					t.Errorf("%v", d.why)
				}
			}
			if len(w.dropped)+len(got) != len(c.list) {
				t.Errorf("%d dropped", len(w.dropped))
			}
		})
	}
}

// TestAckKeepsItsTime: the one that stays counts as having come when the first did, so
// that a stream of them is not late for ever.
func TestAckKeepsItsTime(t *testing.T) {
	w := newWorld(t, aqm.Config{})
	for i := range uint32(50) {
		p := ack(1, i)
		p.ECN = aqm.ECT1
		w.must(1, p)
		w.now += ms
	}
	if p := w.get(); !p.Mark || w.Len() != 0 {
		t.Errorf("%+v: its delay is not that of the first, 50 ms", p)
	}
	w.ok()
}

// segment is a TCP header.
func segment(flags byte, options ...byte) []byte {
	b := make([]byte, 20, 20+len(options))
	binary.BigEndian.PutUint32(b[8:], 77)
	b[12] = byte(5+len(options)/4) << 4
	b[13] = flags
	return append(b, options...)
}

func TestIsPureAck(t *testing.T) {
	stamps := []byte{1, 1, 8, 10, 0, 0, 0, 1, 0, 0, 0, 2}
	sack := []byte{1, 1, 5, 10, 0, 0, 0, 1, 0, 0, 0, 2}
	accurate := segment(packet.ACK)
	accurate[12] |= 1
	for name, c := range map[string]struct {
		segment []byte
		proto   uint8
		payload int
		want    bool
	}{
		"plain":                {segment(packet.ACK), packet.TCP, 0, true},
		"with time stamps":     {segment(packet.ACK, stamps...), packet.TCP, 0, true},
		"selective":            {segment(packet.ACK, sack...), packet.TCP, 0, false},
		"time stamps and more": {segment(packet.ACK, append(slices.Clone(stamps), sack...)...), packet.TCP, 0, false},
		"with data":            {segment(packet.ACK), packet.TCP, 1, false},
		"none":                 {segment(0), packet.TCP, 0, false},
		"SYN":                  {segment(packet.SYN | packet.ACK), packet.TCP, 0, false},
		"FIN":                  {segment(packet.FIN | packet.ACK), packet.TCP, 0, false},
		"RST":                  {segment(packet.RST | packet.ACK), packet.TCP, 0, false},
		"PSH":                  {segment(packet.PSH | packet.ACK), packet.TCP, 0, false},
		"echo of a mark":       {segment(packet.ECE | packet.ACK), packet.TCP, 0, false},
		"window reduced":       {segment(packet.CWR | packet.ACK), packet.TCP, 0, false},
		"count of marks":       {accurate, packet.TCP, 0, false},
		"UDP":                  {segment(packet.ACK), packet.UDP, 0, false},
	} {
		b := make([]byte, 20, 100)
		b[0], b[9], b[3] = 0x45, c.proto, byte(20+len(c.segment)+c.payload)
		b = append(append(b, c.segment...), make([]byte, c.payload)...)
		if c.proto == packet.UDP {
			binary.BigEndian.PutUint16(b[24:], 20)
		}
		in, why := packet.Parse(b, len(b))
		if why != packet.OK {
			t.Fatalf("%s: %v", name, why)
		}
		if got := aqm.IsPureAck(&in, b[in.HeaderLen:]); got != c.want {
			t.Errorf("%s: %v", name, got)
		}
		if aqm.IsPureAck(&in, b[in.HeaderLen:][:min(len(c.segment), 19)]) {
			t.Errorf("%s: header cut off", name)
		}
	}
}
