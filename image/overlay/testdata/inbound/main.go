// Command inbound gives packets to a stack of gVisor and says how they are taken: an error for what
// is delivered and should not be, or the other way round, and then whether their headers are looked
// at where they are ("in place") or in a copy ("copied").
package main

import (
	"bytes"
	"context"
	"fmt"
	"log"
	"time"

	"gvisor.dev/gvisor/pkg/buffer"
	"gvisor.dev/gvisor/pkg/tcpip"
	"gvisor.dev/gvisor/pkg/tcpip/checksum"
	"gvisor.dev/gvisor/pkg/tcpip/header"
	"gvisor.dev/gvisor/pkg/tcpip/link/channel"
	"gvisor.dev/gvisor/pkg/tcpip/network/ipv4"
	"gvisor.dev/gvisor/pkg/tcpip/network/ipv6"
	"gvisor.dev/gvisor/pkg/tcpip/stack"
	"gvisor.dev/gvisor/pkg/tcpip/transport/tcp"
	"gvisor.dev/gvisor/pkg/tcpip/transport/udp"
	"gvisor.dev/gvisor/pkg/waiter"
)

const (
	nic  = 1
	port = 7
)

func main() {
	log.SetFlags(0)
	s := stack.New(stack.Options{
		NetworkProtocols:   []stack.NetworkProtocolFactory{ipv4.NewProtocol, ipv6.NewProtocol},
		TransportProtocols: []stack.TransportProtocolFactory{tcp.NewProtocol, udp.NewProtocol},
	})
	link := channel.New(64, 1500, "")
	must(s.CreateNIC(nic, link))
	s.SetRouteTable([]tcpip.Route{{Destination: header.IPv4EmptySubnet, NIC: nic}, {Destination: header.IPv6EmptySubnet, NIC: nic}})
	broadcasts(s, link)
	bound(s, link)
	for _, pair := range [][2]tcpip.Address{
		{v4(192, 0, 2, 2), v4(192, 0, 2, 1)},
		{v4(192, 0, 2, 7), v4(192, 0, 2, 1)},
		{v6(2), v6(1)},
	} {
		for _, cut := range []int{0, 10, 30, 50, 70} {
			connection(s, link, pair[0], pair[1], cut)
		}
	}
	fmt.Println(place(link))
}

func must(err tcpip.Error) {
	if err != nil {
		log.Fatal(err)
	}
}

func v4(a, b, c, d byte) tcpip.Address { return tcpip.AddrFrom4([4]byte{a, b, c, d}) }

func v6(last byte) tcpip.Address {
	return tcpip.AddrFrom16([16]byte{0: 0x20, 1: 0x01, 2: 0x0d, 3: 0xb8, 15: last})
}

func add(s *stack.Stack, a tcpip.Address, prefix int) {
	protocol := ipv4.ProtocolNumber
	if a.Len() == header.IPv6AddressSize {
		protocol = ipv6.ProtocolNumber
	}
	must(s.AddProtocolAddress(nic, tcpip.ProtocolAddress{
		Protocol: protocol, AddressWithPrefix: tcpip.AddressWithPrefix{Address: a, PrefixLen: prefix},
	}, stack.AddressProperties{}))
}

// broadcasts has the stack take datagrams from all but the broadcast addresses of the subnets that
// it is in, also while addresses come and go.
func broadcasts(s *stack.Stack, link *channel.Endpoint) {
	var queue waiter.Queue
	socket, err := s.NewEndpoint(udp.ProtocolNumber, ipv4.ProtocolNumber, &queue)
	must(err)
	must(socket.Bind(tcpip.FullAddress{Port: port}))
	defer socket.Close()
	check := func(from, to tcpip.Address, want bool) {
		inject(link, datagram(from, to), 0)
		var b bytes.Buffer
		_, err := socket.Read(&b, tcpip.ReadOptions{})
		if got := err == nil; got != want {
			log.Fatalf("a datagram from %s to %s: delivered %v, want %v", from, to, got, want)
		}
	}
	first, second := v4(192, 0, 2, 1), v4(10, 1, 1, 130)
	check(v4(192, 0, 2, 2), first, false)
	add(s, first, 24)
	for _, last := range []byte{2, 3, 7, 127, 191, 254} {
		check(v4(192, 0, 2, last), first, true)
	}
	check(v4(192, 0, 2, 255), first, false)
	check(header.IPv4Broadcast, first, false)
	check(v4(224, 0, 0, 3), first, false)
	check(v4(192, 0, 2, 2), v4(192, 0, 2, 255), true)
	check(v4(10, 1, 1, 191), first, true)
	check(v4(10, 1, 1, 135), second, false)
	add(s, second, 26)
	check(v4(10, 1, 1, 135), second, true)
	check(v4(10, 1, 1, 191), first, false)
	check(v4(10, 1, 1, 191), second, false)
	check(v4(10, 1, 1, 255), second, true)
	must(s.RemoveAddress(nic, second))
	check(v4(10, 1, 1, 191), first, true)
	check(v4(10, 1, 1, 135), second, false)
	add(s, second, 31) // of two addresses, without a broadcast address (RFC 3021)
	check(v4(10, 1, 1, 131), second, true)
	must(s.RemoveAddress(nic, second))
	add(s, v6(1), 64)
}

// bound has a datagram come to the socket that is bound to the interface it comes by, as long as there
// is one, and else to one that is bound to none.
func bound(s *stack.Stack, link *channel.Endpoint) {
	open := func(device int32) tcpip.Endpoint {
		socket, err := s.NewEndpoint(udp.ProtocolNumber, ipv4.ProtocolNumber, &waiter.Queue{})
		must(err)
		socket.SocketOptions().SetReusePort(true)
		must(socket.SocketOptions().SetBindToDevice(device))
		must(socket.Bind(tcpip.FullAddress{Port: port}))
		return socket
	}
	check := func(what string, sockets ...tcpip.Endpoint) {
		inject(link, datagram(v4(192, 0, 2, 2), v4(192, 0, 2, 1)), 0)
		for i, socket := range sockets {
			if _, err := socket.Read(&bytes.Buffer{}, tcpip.ReadOptions{}); (err == nil) != (i == 0) {
				log.Fatalf("%s: socket %d reads with %v", what, i, err)
			}
		}
	}
	anywhere := open(0)
	check("one bound to no interface", anywhere)
	here := open(nic)
	check("both", here, anywhere)
	here.Close()
	check("one is left", anywhere)
	here = open(nic)
	anywhere.Close()
	check("one bound to the interface", here)
	here.Close()
}

// connection has the stack accept a connection, echo a segment on it and end it. What it gets lies
// in two pieces of memory that part after cut bytes.
func connection(s *stack.Stack, link *channel.Endpoint, from, to tcpip.Address, cut int) {
	protocol := ipv4.ProtocolNumber
	if from.Len() == header.IPv6AddressSize {
		protocol = ipv6.ProtocolNumber
	}
	var queue waiter.Queue
	listener, err := s.NewEndpoint(tcp.ProtocolNumber, protocol, &queue)
	must(err)
	must(listener.Bind(tcpip.FullAddress{Port: port}))
	must(listener.Listen(1))
	defer listener.Close()

	const ours, text = 1000, "twenty bytes of text"
	segment := func(seq, ack uint32, flags header.TCPFlags, payload string) {
		inject(link, tcpPacket(from, to, header.TCPFields{SeqNum: seq, AckNum: ack, Flags: flags}, payload), cut)
	}
	next := func(what string) header.TCP {
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		for {
			p := link.ReadContext(ctx)
			if p == nil {
				log.Fatalf("%s, cut at %d: no %s", from, cut, what)
			}
			b := p.ToView().AsSlice()
			p.DecRef()
			if b[0]>>4 == 4 {
				if ip := header.IPv4(b); ip.Protocol() == uint8(tcp.ProtocolNumber) {
					return checked(from, to, header.TCP(ip.Payload()))
				}
			} else if ip := header.IPv6(b); ip.NextHeader() == uint8(tcp.ProtocolNumber) {
				return checked(from, to, header.TCP(ip.Payload()))
			}
		}
	}

	segment(ours, 0, header.TCPFlagSyn, "")
	answer := next("answer to a SYN")
	if answer.Flags() != header.TCPFlagSyn|header.TCPFlagAck || answer.AckNumber() != ours+1 {
		log.Fatalf("%s, cut at %d: %v acknowledges %d", from, cut, answer.Flags(), answer.AckNumber())
	}
	theirs := answer.SequenceNumber() + 1
	segment(ours+1, theirs, header.TCPFlagAck, "")
	segment(ours+1, theirs, header.TCPFlagAck|header.TCPFlagPsh, text)
	var accepted tcpip.Endpoint
	eventually("connection", func() bool {
		var err tcpip.Error
		accepted, _, err = listener.Accept(nil)
		return err == nil
	})
	var got bytes.Buffer
	eventually("text", func() bool {
		accepted.Read(&got, tcpip.ReadOptions{})
		return got.Len() >= len(text)
	})
	if got.String() != text {
		log.Fatalf("%s, cut at %d: %q", from, cut, got.String())
	}
	if _, err := accepted.Write(&got, tcpip.WriteOptions{}); err != nil {
		log.Fatal(err)
	}
	for answer = next("echo"); len(answer.Payload()) == 0; answer = next("echo") {
	}
	if string(answer.Payload()) != text || answer.SequenceNumber() != theirs {
		log.Fatalf("%s, cut at %d: an echo of %q", from, cut, answer.Payload())
	}
	if cut == 0 { // the timers: without an acknowledgement it sends that again, and afterwards it probes
		if answer = next("echo that is sent again"); string(answer.Payload()) != text || answer.SequenceNumber() != theirs {
			log.Fatalf("%s: %q is sent again", from, answer.Payload())
		}
		idle := tcpip.KeepaliveIdleOption(10 * time.Millisecond)
		must(accepted.SetSockOpt(&idle))
		accepted.SocketOptions().SetKeepAlive(true)
		segment(ours+1+uint32(len(text)), theirs+uint32(len(text)), header.TCPFlagAck, "")
		for answer.SequenceNumber() != theirs+uint32(len(text))-1 {
			answer = next("probe")
		}
	}
	theirs += uint32(len(text))
	segment(ours+1+uint32(len(text)), theirs, header.TCPFlagAck|header.TCPFlagRst, "")
	eventually("end", func() bool { return tcp.EndpointState(accepted.State()) == tcp.StateError })
	accepted.Close()
}

// checked is a segment whose checksum is right.
func checked(from, to tcpip.Address, h header.TCP) header.TCP {
	if !h.IsChecksumValid(to, from, checksum.Checksum(h.Payload(), 0), uint16(len(h.Payload()))) {
		log.Fatalf("to %s: a segment with a wrong checksum", from)
	}
	return h
}

// place says where the headers of a packet that was handled are.
func place(link *channel.Endpoint) string {
	view := buffer.NewViewWithData(tcpPacket(v4(192, 0, 2, 2), v4(192, 0, 2, 1), header.TCPFields{Flags: header.TCPFlagRst}, ""))
	data := view.AsSlice()
	p := stack.NewPacketBuffer(stack.PacketBufferOptions{Payload: buffer.MakeWithView(view)})
	defer p.DecRef()
	link.InjectInbound(ipv4.ProtocolNumber, p)
	if &p.NetworkHeader().Slice()[0] != &data[0] {
		return "copied"
	}
	return "in place"
}

// inject gives a packet to the stack, in two pieces of memory that part after cut bytes.
func inject(link *channel.Endpoint, b []byte, cut int) {
	protocol := ipv4.ProtocolNumber
	if b[0]>>4 == 6 {
		protocol = ipv6.ProtocolNumber
	}
	cut = min(cut, len(b))
	data := buffer.MakeWithData(b[:cut])
	rest := buffer.MakeWithData(b[cut:])
	data.Merge(&rest)
	p := stack.NewPacketBuffer(stack.PacketBufferOptions{Payload: data})
	defer p.DecRef()
	link.InjectInbound(protocol, p)
}

// packet is one of IP.
func packet(protocol tcpip.TransportProtocolNumber, from, to tcpip.Address, transport []byte) []byte {
	if from.Len() == header.IPv6AddressSize {
		b := make([]byte, header.IPv6MinimumSize, header.IPv6MinimumSize+len(transport))
		header.IPv6(b).Encode(&header.IPv6Fields{
			PayloadLength: uint16(len(transport)), TransportProtocol: protocol, HopLimit: 64, SrcAddr: from, DstAddr: to,
		})
		return append(b, transport...)
	}
	b := make([]byte, header.IPv4MinimumSize, header.IPv4MinimumSize+len(transport))
	header.IPv4(b).Encode(&header.IPv4Fields{
		TotalLength: uint16(cap(b)), Protocol: uint8(protocol), TTL: 64, SrcAddr: from, DstAddr: to,
	})
	header.IPv4(b).SetChecksum(^header.IPv4(b).CalculateChecksum())
	return append(b, transport...)
}

// pseudo is the sum of the words of a pseudo header, one by one (RFC 1071).
func pseudo(protocol tcpip.TransportProtocolNumber, from, to tcpip.Address, length int) uint16 {
	sum := uint32(protocol) + uint32(length)
	for _, a := range []tcpip.Address{from, to} {
		for b := a.AsSlice(); len(b) > 0; b = b[2:] {
			sum += uint32(b[0])<<8 + uint32(b[1])
		}
	}
	sum = sum>>16 + sum&0xffff
	return uint16(sum + sum>>16)
}

func datagram(from, to tcpip.Address) []byte {
	b := make([]byte, header.UDPMinimumSize+1)
	h := header.UDP(b)
	h.Encode(&header.UDPFields{SrcPort: 9, DstPort: port, Length: uint16(len(b))})
	h.SetChecksum(^checksum.Checksum(b, pseudo(udp.ProtocolNumber, from, to, len(b))))
	return packet(udp.ProtocolNumber, from, to, b)
}

func tcpPacket(from, to tcpip.Address, f header.TCPFields, payload string) []byte {
	b := make([]byte, header.TCPMinimumSize, header.TCPMinimumSize+len(payload))
	f.SrcPort, f.DstPort, f.DataOffset, f.WindowSize = 9, port, header.TCPMinimumSize, 1<<14
	header.TCP(b).Encode(&f)
	b = append(b, payload...)
	header.TCP(b).SetChecksum(^checksum.Checksum(b, pseudo(tcp.ProtocolNumber, from, to, len(b))))
	return packet(tcp.ProtocolNumber, from, to, b)
}

const patience = 10 * time.Second

// eventually waits for what the stack's goroutine does.
func eventually(what string, done func() bool) {
	for begin := time.Now(); !done(); time.Sleep(time.Millisecond) {
		if time.Since(begin) > patience {
			log.Fatalf("no %s", what)
		}
	}
}
