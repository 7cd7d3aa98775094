package suites

// The echo of TestShapedLink: frames that are put on the cable and seen there, so that neither
// end of the test's own has a part in how long they take.

import (
	"encoding/binary"
	"io"
	"net"
	"slices"
	"testing"
	"time"

	"gvisor.dev/gvisor/pkg/tcpip/checksum"
	"gvisor.dev/gvisor/pkg/tcpip/header"
)

// asking is what is known of echoes that were asked for: when, by the clock of the cable (what it
// has carried) and the host's, and how long each answer took.
type asking struct {
	carried     [probes]int64
	at          [probes]time.Time
	cable, real []time.Duration
}

// answered notes an echo as it comes off the cable: whoever reads it may have to wait for the host.
// x.mu is held.
func (x *shaped) answered(frame, payload []byte) {
	x.answer = slices.Clone(frame)
	q := x.asking
	n := binary.BigEndian.Uint64(payload)
	if q == nil || n >= probes { // or it is that of a first question
		return
	}
	q.real = append(q.real, time.Since(q.at[n]))
	q.cable = append(q.cable, time.Duration(x.wire.Carried()-q.carried[n])*8*time.Second/shapedRate)
}

// question is the frame to which another one is the answer, with 64 bytes that begin with a number.
func question(answer []byte, n uint64) []byte {
	f := slices.Clone(answer[:header.EthernetMinimumSize+header.IPv4MinimumSize+header.UDPMinimumSize+64])
	for i := range 6 {
		f[i], f[6+i] = f[6+i], f[i]
	}
	ip := header.IPv4(f[header.EthernetMinimumSize:])
	from, to := ip.SourceAddress(), ip.DestinationAddress()
	ip.SetSourceAddress(to)
	ip.SetDestinationAddress(from)
	udp := header.UDP(ip.Payload())
	port := udp.SourcePort()
	udp.SetSourcePort(udp.DestinationPort())
	udp.SetDestinationPort(port)
	binary.BigEndian.PutUint64(udp.Payload(), n)
	udp.SetChecksum(0)
	pseudo := header.PseudoHeaderChecksum(header.UDPProtocolNumber, to, from, udp.Length())
	udp.SetChecksum(^checksum.Checksum(udp, pseudo))
	return f
}

// firstEcho asks the third domain until an answer has come, each second anew: what is sent into a full
// queue may be lost.
func (x *shaped) firstEcho(t *testing.T, c net.Conn) {
	t.Helper()
	question := slices.Repeat([]byte{0xff}, 64) // its number is none of probes
	answered := make(chan error, 1)
	go func() {
		_, err := io.ReadFull(c, make([]byte, len(question)))
		answered <- err
	}()
	again := time.NewTicker(time.Second)
	defer again.Stop()
	for {
		if _, err := c.Write(question); err != nil {
			t.Fatal(err)
		}
		select {
		case err := <-answered:
			if err != nil {
				t.Fatal(err)
			}
			return
		case <-again.C:
		}
	}
}

// echoes asks the third domain, one datagram after the other, and returns how long each answer
// took: by the clock of the cable, and by the host's.
func (x *shaped) echoes(t *testing.T) (cable, real []time.Duration) {
	t.Helper()
	c := dial(t, x.vm, x.peer.Dial, "udp", "10.0.2.15:7")
	x.firstEcho(t, c)
	go io.Copy(io.Discard, c)
	q := &asking{}
	x.mu.Lock()
	like := x.answer
	x.asking = q
	x.mu.Unlock()
	tick := time.NewTicker(probeEvery)
	defer tick.Stop()
	for n := range uint64(probes) {
		<-tick.C
		f := question(like, n)
		x.mu.Lock()
		q.at[n], q.carried[n] = time.Now(), x.wire.Carried()
		x.mu.Unlock()
		if err := x.wire.Send(f); err != nil {
			t.Fatal(err)
		}
	}
	untilNoMore(func() (uint64, bool) {
		x.mu.Lock()
		defer x.mu.Unlock()
		return uint64(len(q.real)), len(q.real) >= probes
	})
	x.mu.Lock()
	defer x.mu.Unlock()
	x.asking = nil
	return q.cable, q.real
}
