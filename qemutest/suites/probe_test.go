package suites

import (
	"testing"

	"gvisor.dev/gvisor/pkg/tcpip"
	"gvisor.dev/gvisor/pkg/tcpip/checksum"
	"gvisor.dev/gvisor/pkg/tcpip/header"

	"github.com/sluice-os/sluice/image/qemu"
	"github.com/sluice-os/sluice/qemutest"
)

// handmade is a connection of the stranger's, which acknowledges what the test says.
type handmade struct {
	t          *testing.T
	wire       *qemutest.Wire
	from       *qemutest.Capture
	seq        uint32
	ack, acked uint32 // behind what came last, and as it was told last
	echo       uint32 // the time stamp that came last
}

const handmadePort = 40000

// answer is the number of the next segment with data that was not acknowledged, and its
// time stamp in milliseconds. It is acknowledged by what is sent next.
func (c *handmade) answer() (at, stamp uint32) {
	c.t.Helper()
	for {
		segment, stamp := c.next()
		at, end := segment.SequenceNumber(), segment.SequenceNumber()+uint32(len(segment.Payload()))
		if len(segment.Payload()) == 0 || int32(at-c.acked) < 0 {
			continue
		}
		if c.echo = stamp; int32(end-c.ack) > 0 {
			c.ack = end
		}
		return at, stamp
	}
}

// next is the next segment for the connection, with its time stamp.
func (c *handmade) next() (segment header.TCP, stamp uint32) {
	c.t.Helper()
	ip := header.IPv4(c.from.Next(c.t)[header.EthernetMinimumSize:])
	segment = header.TCP(ip.Payload())
	return segment, header.ParseTCPOptions(segment.Options()).TSVal
}

// send sends a segment, and acknowledges up to c.ack.
func (c *handmade) send(flags header.TCPFlags, data string) {
	c.t.Helper()
	options := make([]byte, 12)
	options[0], options[1] = header.TCPOptionNOP, header.TCPOptionNOP
	if flags&header.TCPFlagSyn != 0 {
		// Without SACK there are no probes.
		options[0], options[1] = header.TCPOptionSACKPermitted, 2
		options = append(options, header.TCPOptionMSS, 4, 0x05, 0xb4)
	}
	header.EncodeTSOption(1, c.echo, options[2:])
	b := append(make([]byte, header.TCPMinimumSize), options...)
	h := header.TCP(b)
	h.Encode(&header.TCPFields{
		SrcPort: handmadePort, DstPort: 80, SeqNum: c.seq, AckNum: c.ack, DataOffset: uint8(len(b)), Flags: flags, WindowSize: 65535,
	})
	b = append(b, data...)
	header.TCP(b).SetChecksum(^checksum.Checksum(b, pseudo(header.TCPProtocolNumber, false, len(b))))
	c.seq += uint32(len(data))
	c.acked = c.ack
	if flags&header.TCPFlagSyn != 0 {
		c.seq++
	}
	if err := c.wire.Send(ipv4Frame(header.TCPProtocolNumber, b)); err != nil {
		c.t.Fatal(err)
	}
}

// TestProbesWait: a domain that has sent all it may on a near network does not send the
// last segment again before 10 ms have passed, by its own clock, however near the peer
// was until then.
func TestProbesWait(t *testing.T) {
	d := serverDomain(t, "server", []string{"tcp/80"}, nil, "http/80")
	vm, _ := startWithPeer(t, qemutest.Config{Memory: 160, Image: imageWith(t, qemu.Machines["microvm"], d)})
	vm.Seen(t, "server: serving")
	wire := vm.Wire(t)
	t.Cleanup(wire.Tap(func(frame []byte) {
		a := header.ARP(frame[header.EthernetMinimumSize:])
		if header.Ethernet(frame).Type() != header.ARPProtocolNumber || !a.IsValid() || a.Op() != header.ARPRequest ||
			tcpip.AddrFromSlice(a.ProtocolAddressTarget()) != stranger4 {
			return
		}
		answer := header.ARP(make([]byte, header.ARPSize))
		answer.SetIPv4OverEthernet()
		answer.SetOp(header.ARPReply)
		copy(answer.HardwareAddressSender(), strangerMAC)
		copy(answer.ProtocolAddressSender(), stranger4.AsSlice())
		copy(answer.HardwareAddressTarget(), a.HardwareAddressSender())
		copy(answer.ProtocolAddressTarget(), a.ProtocolAddressSender())
		go wire.Send(ethernetFrame(machineMAC, header.ARPProtocolNumber, answer))
	}))
	c := &handmade{t: t, wire: wire, seq: 1, from: vm.Capture(t, func(frame []byte) bool {
		ip := header.IPv4(frame[header.EthernetMinimumSize:])
		return header.Ethernet(frame).Type() == header.IPv4ProtocolNumber && ip.DestinationAddress() == stranger4 &&
			ip.TransportProtocol() == header.TCPProtocolNumber && header.TCP(ip.Payload()).DestinationPort() == handmadePort
	})}
	c.send(header.TCPFlagSyn, "")
	segment, stamp := c.next()
	c.ack, c.echo = segment.SequenceNumber()+1, stamp
	c.send(header.TCPFlagAck, "")
	for round := range 10 {
		// Short answers, acknowledged at once: the domain learns how near the peer is.
		for range 5 {
			c.send(header.TCPFlagAck|header.TCPFlagPsh, "GET /hello HTTP/1.1\r\nHost: a\r\n\r\n")
			c.answer()
			c.send(header.TCPFlagAck, "")
		}
		// And one of several segments, of which nothing is acknowledged.
		c.send(header.TCPFlagAck|header.TCPFlagPsh, "GET /bytes/8000 HTTP/1.1\r\nHost: a\r\n\r\n")
		first := c.ack
		sent := map[uint32]uint32{} // when, by number
		for {
			at, stamp := c.answer()
			if before, again := sent[at]; again {
				if len(sent) < 2 || stamp-before < 10 {
					t.Errorf("round %d: byte %d of %d segments was sent again after %d ms", round, at-first, len(sent), stamp-before)
				}
				break
			}
			sent[at] = stamp
		}
		c.send(header.TCPFlagAck, "")
	}
	powerOff(t, vm)
}
