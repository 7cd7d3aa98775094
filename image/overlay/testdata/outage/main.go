// Command outage has one stack of gVisor send to another by a link that loses everything for
// half a second in the middle, several times. It prints how often the sender's timer ran out at
// most when the link was back, until all had come or that was often enough.
package main

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"log"
	"os"
	"strconv"
	"sync/atomic"
	"time"

	"gvisor.dev/gvisor/pkg/buffer"
	"gvisor.dev/gvisor/pkg/tcpip"
	"gvisor.dev/gvisor/pkg/tcpip/header"
	"gvisor.dev/gvisor/pkg/tcpip/link/channel"
	"gvisor.dev/gvisor/pkg/tcpip/network/ipv4"
	"gvisor.dev/gvisor/pkg/tcpip/stack"
	"gvisor.dev/gvisor/pkg/tcpip/transport/tcp"
	"gvisor.dev/gvisor/pkg/waiter"
)

const (
	size   = 20 << 20
	buffed = 4 << 20 // what each side may hold: the largest window
	port   = 80
	nic    = 1
	delay  = 3 * time.Millisecond // each way
	outage = time.Second / 2      // in which the sender's timer runs out at least once
	enough = 10
)

func main() {
	// Some get by without sending much again.
	rounds, err := strconv.Atoi(os.Args[1])
	if err != nil {
		log.Fatal(err)
	}
	most := uint64(0)
	for range rounds {
		n, err := timeouts()
		if err != nil {
			log.Fatal(err)
		}
		if most = max(most, n); most >= enough {
			break
		}
	}
	fmt.Println(most)
}

// timeouts is how often the timer ran out after one outage.
func timeouts() (n uint64, err error) {
	var cut atomic.Bool
	addresses := [2]tcpip.Address{tcpip.AddrFrom4([4]byte{10, 0, 0, 1}), tcpip.AddrFrom4([4]byte{10, 0, 0, 2})}
	var stacks [2]*stack.Stack
	var links [2]*channel.Endpoint
	for i := range stacks {
		stacks[i] = stack.New(stack.Options{
			NetworkProtocols:   []stack.NetworkProtocolFactory{ipv4.NewProtocol},
			TransportProtocols: []stack.TransportProtocolFactory{tcp.NewProtocol},
		})
		sack := tcpip.TCPSACKEnabled(true)
		send := tcpip.TCPSendBufferSizeRangeOption{Min: 4096, Default: buffed, Max: buffed}
		receive := tcpip.TCPReceiveBufferSizeRangeOption{Min: 4096, Default: buffed, Max: buffed}
		moderate := tcpip.TCPModerateReceiveBufferOption(true)
		for _, option := range []tcpip.SettableTransportProtocolOption{&sack, &send, &receive, &moderate} {
			if err := stacks[i].SetTransportProtocolOption(tcp.ProtocolNumber, option); err != nil {
				return 0, fmt.Errorf("%T: %v", option, err)
			}
		}
		links[i] = channel.New(1<<16, 1500, "")
		if err := stacks[i].CreateNIC(nic, links[i]); err != nil {
			return 0, fmt.Errorf("interface: %v", err)
		}
		at := tcpip.ProtocolAddress{Protocol: ipv4.ProtocolNumber, AddressWithPrefix: addresses[i].WithPrefix()}
		if err := stacks[i].AddProtocolAddress(nic, at, stack.AddressProperties{}); err != nil {
			return 0, fmt.Errorf("address: %v", err)
		}
		stacks[i].SetRouteTable([]tcpip.Route{{Destination: header.IPv4EmptySubnet, NIC: nic}})
	}
	for i := range links {
		type late struct {
			due    time.Time
			packet []byte
		}
		way := make(chan late, 1<<16)
		go func() {
			for {
				p := links[i].ReadContext(context.Background())
				way <- late{time.Now().Add(delay), p.ToView().AsSlice()}
				p.DecRef()
			}
		}()
		go func() {
			for l := range way {
				time.Sleep(time.Until(l.due))
				if cut.Load() {
					continue
				}
				in := stack.NewPacketBuffer(stack.PacketBufferOptions{Payload: buffer.MakeWithData(l.packet)})
				links[1-i].InjectInbound(ipv4.ProtocolNumber, in)
				in.DecRef()
			}
		}()
	}

	var queue waiter.Queue
	listener, failed := stacks[1].NewEndpoint(tcp.ProtocolNumber, ipv4.ProtocolNumber, &queue)
	if failed != nil {
		return 0, fmt.Errorf("endpoint: %v", failed)
	}
	if err := listener.Bind(tcpip.FullAddress{Port: port}); err != nil {
		return 0, fmt.Errorf("bind: %v", err)
	}
	if err := listener.Listen(16); err != nil {
		return 0, fmt.Errorf("listen: %v", err)
	}
	var sends waiter.Queue
	entry, connected := waiter.NewChannelEntry(waiter.WritableEvents)
	sends.EventRegister(&entry)
	sender, failed := stacks[0].NewEndpoint(tcp.ProtocolNumber, ipv4.ProtocolNumber, &sends)
	if failed != nil {
		return 0, fmt.Errorf("endpoint: %v", failed)
	}
	if err := sender.Connect(tcpip.FullAddress{Addr: addresses[1], Port: port}); err != nil {
		if _, started := err.(*tcpip.ErrConnectStarted); !started {
			return 0, fmt.Errorf("connect: %v", err)
		}
	}
	<-connected
	go func() {
		data := bytes.NewReader(make([]byte, size))
		for data.Len() > 0 {
			if _, err := sender.Write(data, tcpip.WriteOptions{}); err != nil {
				if _, full := err.(*tcpip.ErrWouldBlock); !full {
					log.Fatal("write: ", err)
				}
				<-connected
			}
		}
	}()

	var receiver tcpip.Endpoint
	var receives *waiter.Queue
	for receiver == nil {
		receiver, receives, _ = listener.Accept(nil)
	}
	more, readable := waiter.NewChannelEntry(waiter.ReadableEvents)
	receives.EventRegister(&more)
	ran := stacks[0].Stats().TCP.Timeouts
	var before atomic.Uint64 // 0: the outage is not over
	stop := time.NewTicker(10 * time.Millisecond)
	for got := 0; got < size; {
		result, err := receiver.Read(io.Discard, tcpip.ReadOptions{})
		if err != nil {
			if _, empty := err.(*tcpip.ErrWouldBlock); !empty {
				return 0, fmt.Errorf("read: %v", err)
			}
			select {
			case <-readable:
			case <-stop.C:
				if b := before.Load(); b != 0 && ran.Value()-b >= enough {
					got = size
				}
			}
			continue
		}
		receiver.ModerateRecvBuf(result.Count)
		if got < size/2 && got+result.Count >= size/2 {
			cut.Store(true)
			time.AfterFunc(outage, func() {
				before.Store(ran.Value())
				cut.Store(false)
			})
		}
		got += result.Count
	}
	return ran.Value() - before.Load(), nil
}
