package main

import (
	"fmt"
	"syscall"

	"github.com/sluice-os/sluice/nexus/abi"
	"github.com/sluice-os/sluice/qemutest/hostile/forge"
	"github.com/sluice-os/sluice/qemutest/hostile/kit"
	"github.com/sluice-os/sluice/userland/channel"
)

// This file owns what it does for ever.

// batch is how many packets it shows the kernel at a time.
const batch = 32

// flood does one thing until it is killed.
func (d *domain) flood(name string) {
	d.flows()
	send := func(b []byte, m channel.Outgoing) func() {
		return func() {
			for range batch {
				d.submit(b, m)
			}
			d.user.Flush()
		}
	}
	named := func(name string) []byte {
		for _, p := range forge.Forgeries {
			if p.Name == name {
				return p.Make(0)
			}
		}
		return nil
	}
	local := int(d.opening.LocalPort)
	floods := map[string]func(){
		"doorbell":  d.notify,
		"forged":    send(named("source"), channel.Outgoing{}),
		"garbage":   send(named("ethernet"), channel.Outgoing{}),
		"fragments": send(named("fragment-alone"), channel.Outgoing{}),
		"attempts":  send(forge.Segment(local, 9, forge.SYN, 0), channel.Outgoing{}),
		"datagrams": send(forge.Datagram(1400), channel.Outgoing{}),
		"large":     send(forge.Datagram(40000), channel.Outgoing{}),
		"segments": send(forge.Segment(local, 9, forge.ACK, 60000), channel.Outgoing{
			SegmentSize: 48, HeaderLen: 40, Checksum: true, ChecksumStart: 20, ChecksumOffset: 16,
		}),
		"requests": func() {
			r := connect(17, forge.PeerUDP+1)
			if d.ask(&r) == 0 {
				d.ask(shut(r))
			}
		},
		"refused": func() {
			r := connect(17, 0)
			d.ask(&r)
		},
		"flows": func() { // of which it may have 512
			r := connect(17, 1000)
			errno := d.ask(&r)
			kit.Check(errno == 0 || errno == syscall.ENOMEM, "a flow too many: %v", errno)
		},
		"channels": func() {
			more := open()
			kit.Check(more.close() == 0, "a channel was not closed")
		},
		"hoard": func() { // what arrives is taken and never given back
			r := d.ring(abi.RingRx)
			r.Head = r.Tail
			d.notify()
		},
		"silence": func() {}, // nothing is taken at all
	}
	f := floods[name]
	kit.Check(f != nil, "no flood %s", name)
	fmt.Println("flooding", name)
	for {
		f()
	}
}
