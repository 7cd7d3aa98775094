// Command wire is hostile to the network: it sends what it must not, breaks its rings and
// asks for too much, as its standard input says, a line each. TestHostileWire drives it.
package main

import (
	"bufio"
	"fmt"
	"os"
	"strconv"
	"strings"
	"syscall"
	"unsafe"

	"github.com/sluice-os/sluice/nexus/abi"
	"github.com/sluice-os/sluice/qemutest/hostile/forge"
	"github.com/sluice-os/sluice/qemutest/hostile/kit"
	"github.com/sluice-os/sluice/userland/channel"
)

// domain is this program's end of the network.
type domain struct {
	number uint64
	base   unsafe.Pointer
	user   *channel.Channel
	// own is the flow of its port, other that of a connection, closed one that is gone,
	// listener and opening those of TCP.
	own, other, closed, listener, opening abi.FlowRequest
}

func main() {
	if len(os.Args) > 1 && os.Args[1] == "die" {
		d := open()
		d.die()
	}
	fmt.Println("start")
	lines := bufio.NewScanner(os.Stdin)
	var d *domain
	for lines.Scan() {
		words := strings.Fields(lines.Text())
		if d == nil {
			d = open()
		}
		switch words[0] {
		case "send": // NAME PORT: a packet of package forge
			d.flows()
			port, _ := strconv.Atoi(words[2])
			d.sendNamed(words[1], port)
			fmt.Println("sent", words[1])
		case "flood": // NAME: for ever
			d.flood(words[1])
		case "break": // NAME WAY: what ends it
			d.damage(words[1])
			d.shown(words[1], words[2])
			kit.Survived(words[1])
		case "keep": // NAME: what does not
			d.keep(words[1])
			fmt.Println("kept", words[1])
		}
	}
}

// open opens a channel to the network.
func open() *domain {
	r := &abi.OpenRequest{Offloads: abi.OffloadsAll}
	copy(r.Schema[:], "small")
	n := kit.Call(abi.SysControl, abi.ControlOpen, uintptr(unsafe.Pointer(r)), unsafe.Sizeof(*r), 0)
	kit.Check(n >= 0, "open: %d", n)
	d := &domain{number: r.Channel, base: unsafe.Pointer(uintptr(r.Base))}
	var err error
	d.user, err = channel.New(d.base, d.notify)
	kit.Check(err == nil, "channel: %v", err)
	return d
}

// close closes the channel and returns the kernel's answer.
func (d *domain) close() int64 {
	r := &abi.OpenRequest{Channel: d.number}
	return kit.Call(abi.SysControl, abi.ControlClose, uintptr(unsafe.Pointer(r)), unsafe.Sizeof(*r), 0)
}

func (d *domain) notify() { kit.Call(abi.SysNotify, uintptr(d.number), 0, 0, 0) }

// ask makes a request about a flow.
func (d *domain) ask(r *abi.FlowRequest) syscall.Errno {
	r.Channel = uint32(d.number)
	if e := kit.Call(abi.SysControl, abi.ControlFlow, uintptr(unsafe.Pointer(r)), unsafe.Sizeof(*r), 0); e < 0 {
		return syscall.Errno(-abi.FlowErrno - e)
	}
	return 0
}

// want makes a request that must be granted.
func (d *domain) want(r abi.FlowRequest) abi.FlowRequest {
	made := &r
	errno := d.ask(made)
	kit.Check(errno == 0, "flow %+v: %v", r, errno)
	return *made
}

// connect asks for a flow to a port of the peer's.
func connect(protocol uint32, port int) abi.FlowRequest {
	return abi.FlowRequest{Op: abi.FlowConnect, Protocol: protocol, Remote: forge.Peer.As16(), RemotePort: uint32(port)}
}

func shut(f abi.FlowRequest) *abi.FlowRequest {
	return &abi.FlowRequest{Op: abi.FlowClose, Flow: f.Flow, Generation: f.Generation}
}

// flows makes those that it may have.
func (d *domain) flows() {
	if d.own.Flow != 0 {
		return
	}
	var any4 [16]byte
	any4[10], any4[11] = 0xff, 0xff
	d.own = d.want(abi.FlowRequest{Op: abi.FlowBind, Protocol: 17, Local: any4, LocalPort: forge.OwnUDP})
	d.other = d.want(connect(17, forge.PeerUDP+1))
	d.closed = d.want(connect(17, forge.PeerUDP+2))
	kit.Check(d.ask(shut(d.closed)) == 0, "a flow was not closed")
	d.listener = d.want(abi.FlowRequest{Op: abi.FlowBind, Protocol: 6, Local: any4, LocalPort: forge.OwnTCP})
	d.want(abi.FlowRequest{Op: abi.FlowListen, Flow: d.listener.Flow, Generation: d.listener.Generation})
	d.opening = d.want(connect(6, 9))
}

// submit puts a packet into the tx ring, or waits until there is room.
func (d *domain) submit(b []byte, m channel.Outgoing) {
	m.Length = len(b)
	for rest := b; !d.user.Send(&m, func(piece []byte) { rest = rest[copy(piece, rest):] }); rest = b {
		d.user.Receive(64, func(*channel.Received) {})
	}
}

// sendNamed sends a packet of package forge.
func (d *domain) sendNamed(name string, port int) {
	for _, list := range [][]forge.Packet{forge.Twins, forge.Forgeries} {
		for _, p := range list {
			if p.Name != name {
				continue
			}
			m := channel.Outgoing{SegmentSize: p.Segment, HeaderLen: p.Header}
			if p.Segment != 0 { // which without is refused for that alone
				m.Checksum, m.ChecksumStart, m.ChecksumOffset = true, 20, 16
			}
			switch p.Claim {
			case forge.Own:
				m.Flow, m.Generation = d.own.Flow, d.own.Generation
			case forge.Other:
				m.Flow, m.Generation = d.other.Flow, d.other.Generation
			case forge.Neighbours:
				m.Flow, m.Generation = 1, 1
			case forge.Stale:
				m.Flow, m.Generation = d.own.Flow, d.own.Generation-1
			case forge.Closed:
				m.Flow, m.Generation = d.closed.Flow, d.closed.Generation
			}
			if p.First != nil {
				d.submit(p.First(), channel.Outgoing{})
			}
			d.submit(p.Make(port), m)
			d.user.Flush()
			return
		}
	}
	kit.Check(false, "no packet %s", name)
}
