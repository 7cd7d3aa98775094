package main

// Forwarding: packets that go into one tap and come out of another, through the guest. So many are
// kept on their way, and those that come out are counted.

import (
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/sluice-os/sluice/image/qemu"
)

const (
	farTap      = "sluice1"
	farHostIP   = "10.88.1.1"
	farGuestIP  = "10.88.1.2"
	farGuestMAC = "52:54:00:88:01:02"
	// farNet is behind farHostIP, and farIP in it.
	farNet = "10.99.0.0/16"
	farIP  = "10.99.0.1"
	// The same of IPv6. The near side needs no address of it: nothing is sent there.
	farHostIP6  = "2001:db8:88:1::1"
	farGuestIP6 = "2001:db8:88:1::2"
	farNet6     = "2001:db8:99::/48"
	farIP6      = "2001:db8:99::1"
	hostIP6     = "2001:db8:88::1"
	bits6       = "/64"
	// usagePort is where a Linux guest tells for how long it has worked.
	usagePort = 8081
	// passing is how many packets are on their way.
	passing = 256
	// passingMax is when those that did not come are lost.
	passingMax = 200 * time.Millisecond
)

// forwardSize are the frames, in bytes without the four of their check sum. The least of IPv6 has
// two bytes in a datagram of UDP; less than 60 is no frame of Ethernet's.
type forwardSize struct {
	name string
	size int
	ipv6 bool
}

var forwardSizes = []forwardSize{{"forward-64", 60, false}, {"forward-1500", 1514, false}, {"forward6-68", 64, true}, {"forward6-1500", 1514, true}}

// wantsForwarding says whether any of it is to be measured.
func (p *plan) wantsForwarding() bool {
	for _, s := range forwardSizes {
		if p.wants(s.name) || p.wants(s.name+"-insns") {
			return true
		}
	}
	return false
}

// takeForwarding measures the guests in turns: how many packets pass a second, and once how many
// instructions each takes.
func (p *plan) takeForwarding(ctx context.Context, n network, r *results) error {
	if !p.wantsForwarding() {
		return nil
	}
	switch {
	case !n.tap:
		r.note("forwarding is not measured: " + n.note)
		return nil
	case p.Machine == "microvm":
		r.note("forwarding is measured on q35 and pc")
		return nil
	}
	if err := addTap(farTap, farHostIP, farGuestIP, farGuestMAC); err != nil {
		return err
	}
	if err := addAddress6(farTap, farHostIP6+bits6); err != nil {
		return err
	}
	// This host hears what comes out, too: without a route it would answer each packet of IPv6 with
	// an error, which takes the guests' processor.
	_, nowhere, err := net.ParseCIDR(farNet6)
	if err != nil {
		return err
	}
	if err := netlink.RouteAdd(&netlink.Route{Dst: nowhere, Type: unix.RTN_BLACKHOLE}); err != nil {
		return fmt.Errorf("route to nowhere: %w", err)
	}
	for run := range p.Runs {
		for _, g := range p.Guests {
			if err := p.oneForwarding(ctx, n, forwarder(g), r, "", fmt.Sprintf("run %d of %d, ", run+1, p.Runs)); err != nil {
				return err
			}
		}
	}
	for _, g := range p.Guests {
		g = forwarder(g)
		g.Extra = counting
		if err := p.oneForwarding(ctx, n, g, r, "-insns", ""); err != nil {
			return err
		}
	}
	return nil
}

// forwarder is a guest with another card, which forwards.
func forwarder(g guest) guest {
	g.More = []qemu.Card{{Netdev: "tap,ifname=" + farTap + ",script=no,downscript=no,vnet_hdr=on", MAC: farGuestMAC}}
	if g.Name == "linux" {
		g.Serve = "forward"
		g.Append += " second=" + farGuestIP + bits + " route=" + farNet + " via=" + farHostIP +
			" second6=" + farGuestIP6 + bits6 + " route6=" + farNet6 + " via6=" + farHostIP6
	} else {
		g.Append += " forward=on ip.eth1=" + farGuestIP + bits + " route=" + farNet + ",via=" + farHostIP +
			" ip6.eth1=" + farGuestIP6 + bits6 + " route=" + farNet6 + ",via=" + farHostIP6
	}
	return g
}

// oneForwarding boots a guest and measures all sizes: packets a second, or with a suffix the
// instructions of one.
func (p *plan) oneForwarding(ctx context.Context, n network, g guest, r *results, suffix, when string) error {
	wanted := false
	for _, s := range forwardSizes {
		wanted = wanted || p.wants(s.name+suffix)
	}
	if !wanted {
		return nil
	}
	vm, err := p.boot(ctx, n, g, p.Memory, serveHTTP, bootMax)
	if err != nil {
		return r.failed(ctx, "boot", g.Name, err)
	}
	defer vm.stop()
	for _, s := range forwardSizes {
		name := s.name + suffix
		if !p.wants(name) {
			continue
		}
		v, err := vm.forwarded(ctx, s, p.Span, suffix != "")
		if err != nil {
			if err := r.failed(ctx, name, g.Name, err); err != nil {
				return err
			}
			continue
		}
		r.add(name, g.Name, v)
		progress("%s%s: %s %.4g", when, g.Name, name, v)
	}
	return nil
}

// forwarded returns how many frames of a size pass a second, or how many instructions each takes.
func (m *machine) forwarded(ctx context.Context, size forwardSize, span time.Duration, instructions bool) (float64, error) {
	w, err := openPassage(size)
	if err != nil {
		return 0, err
	}
	defer w.close()
	// The first ones wait for neighbours.
	end := time.Now().Add(bootMax)
	for count := 0; count == 0; {
		if time.Now().After(end) || ctx.Err() != nil {
			return 0, errors.New("nothing comes through")
		}
		if count, err = w.pass(ctx, passingMax); err != nil {
			return 0, err
		}
	}
	var before float64
	if instructions {
		if before, err = m.worked(ctx); err != nil {
			return 0, err
		}
	}
	start := time.Now()
	count, err := w.pass(ctx, span)
	took := time.Since(start).Seconds()
	if err != nil || count == 0 {
		return 0, errors.Join(err, ctx.Err())
	}
	if w.lost > count/100 {
		progress("%s: %d of %d packets were lost", m.guest.Name, w.lost, w.lost+count)
	}
	if !instructions {
		return float64(count) / took, nil
	}
	after, err := m.worked(ctx)
	return (after - before) / float64(count), err
}

// worked is for how long the guest has worked, which is how many instructions it has executed when
// its clock counts them.
func (m *machine) worked(ctx context.Context) (float64, error) {
	if m.guest.Name != "linux" {
		var up struct {
			Up   float64 `json:"up_ns"`
			Idle float64 `json:"idle_ns"`
		}
		line, err := m.ask(ctx, "uptime -j", `{"up_ns"`)
		if err == nil {
			err = json.Unmarshal(line, &up)
		}
		return up.Up - up.Idle, err
	}
	c, err := new(net.Dialer).DialContext(ctx, "tcp", m.net.dialAddress(usagePort))
	if err != nil {
		return 0, err
	}
	defer c.Close()
	c.SetDeadline(time.Now().Add(callsMax))
	text, err := io.ReadAll(c)
	if err != nil {
		return 0, err
	}
	var up, idle float64
	if _, err := fmt.Sscan(string(text), &up, &idle); err != nil {
		return 0, fmt.Errorf("%q: %w", text, err)
	}
	return up - idle, nil
}

// passage is both ends of the way through a guest.
type passage struct {
	in, out int // sockets on the taps
	frame   []byte
	hops    int // where the frame has how many hops are left
	to, end int // and the address that it is for
	buf     []byte
	lost    int
}

func openPassage(s forwardSize) (*passage, error) {
	w := &passage{in: -1, out: -1, frame: make([]byte, s.size), buf: make([]byte, 2048)}
	kind := uint16(unix.ETH_P_IP)
	if s.ipv6 {
		kind = unix.ETH_P_IPV6
	}
	var err error
	if w.in, err = packetSocket(tapName, 0); err == nil {
		w.out, err = packetSocket(farTap, kind)
	}
	if err != nil {
		w.close()
		return nil, err
	}
	near, err := net.InterfaceByName(tapName)
	if err != nil {
		w.close()
		return nil, err
	}
	mac, _ := net.ParseMAC(guestMAC)
	copy(w.frame, mac)
	copy(w.frame[6:], near.HardwareAddr)
	binary.BigEndian.PutUint16(w.frame[12:], kind)
	if s.ipv6 {
		w.hops, w.to, w.end = 21, 38, 54
		fillIPv6(w.frame[14:])
	} else {
		w.hops, w.to, w.end = 22, 30, 34
		fillIPv4(w.frame[14:])
	}
	return w, nil
}

// fillIPv4 makes a datagram of UDP without a check sum.
func fillIPv4(ip []byte) {
	ip[0], ip[8], ip[9] = 0x45, 64, unix.IPPROTO_UDP
	binary.BigEndian.PutUint16(ip[2:], uint16(len(ip)))
	copy(ip[12:], net.ParseIP(hostIP).To4())
	copy(ip[16:], net.ParseIP(farIP).To4())
	binary.BigEndian.PutUint16(ip[10:], ^fold(ip[:20], 0))
	fillUDP(ip[20:])
}

// fillIPv6 makes one with the check sum that IPv6 wants.
func fillIPv6(ip []byte) {
	ip[0], ip[6], ip[7] = 0x60, unix.IPPROTO_UDP, 64
	udp := ip[40:]
	binary.BigEndian.PutUint16(ip[4:], uint16(len(udp)))
	copy(ip[8:], net.ParseIP(hostIP6))
	copy(ip[24:], net.ParseIP(farIP6))
	fillUDP(udp)
	binary.BigEndian.PutUint16(udp[6:], ^fold(ip[8:], uint32(len(udp)+unix.IPPROTO_UDP)))
}

func fillUDP(udp []byte) {
	binary.BigEndian.PutUint16(udp, 40000)
	binary.BigEndian.PutUint16(udp[2:], 40001)
	binary.BigEndian.PutUint16(udp[4:], uint16(len(udp)))
}

// fold is the sum of an even number of bytes, and of another, as check sums have it.
func fold(b []byte, sum uint32) uint16 {
	for ; len(b) > 0; b = b[2:] {
		sum += uint32(binary.BigEndian.Uint16(b))
	}
	for sum > 0xffff {
		sum = sum>>16 + sum&0xffff
	}
	return uint16(sum)
}

// packetSocket opens a socket on a tap; without a protocol it receives nothing.
func packetSocket(name string, protocol uint16) (int, error) {
	link, err := net.InterfaceByName(name)
	if err != nil {
		return -1, err
	}
	network := protocol<<8 | protocol>>8
	fd, err := unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return -1, err
	}
	if err := unix.Bind(fd, &unix.SockaddrLinklayer{Protocol: network, Ifindex: link.Index}); err != nil {
		unix.Close(fd)
		return -1, err
	}
	return fd, nil
}

func (w *passage) close() {
	for _, fd := range []int{w.in, w.out} {
		if fd >= 0 {
			unix.Close(fd)
		}
	}
}

// pass keeps packets on their way for a time and returns how many came out.
func (w *passage) pass(ctx context.Context, span time.Duration) (count int, err error) {
	inside := 0
	last := time.Now()
	for end := last.Add(span); ; {
		now := time.Now()
		if now.After(end) || ctx.Err() != nil {
			return count, w.drain(inside)
		}
		for ; inside < passing; inside++ {
			if _, err := unix.Write(w.in, w.frame); err != nil {
				if errors.Is(err, unix.ENOBUFS) || errors.Is(err, unix.EAGAIN) {
					break // the tap is full
				}
				return count, err
			}
		}
		n, err := w.receive()
		if err != nil {
			return count, err
		}
		switch {
		case n > 0:
			count += n
			inside = max(0, inside-n)
			last = now
		case now.Sub(last) > passingMax:
			w.lost += inside
			inside, last = 0, now
		default:
			fds := []unix.PollFd{{Fd: int32(w.out), Events: unix.POLLIN}}
			if _, err := unix.Poll(fds, 1); err != nil && !errors.Is(err, unix.EINTR) {
				return count, err
			}
		}
	}
}

// receive takes what has come out, of ours.
func (w *passage) receive() (count int, err error) {
	for {
		n, _, err := unix.Recvfrom(w.out, w.buf, unix.MSG_DONTWAIT)
		switch {
		case errors.Is(err, unix.EAGAIN):
			return count, nil
		case errors.Is(err, unix.EINTR):
		case err != nil:
			return count, err
		case n == len(w.frame) && string(w.buf[w.to:w.end]) == string(w.frame[w.to:w.end]) && w.buf[w.hops] == w.frame[w.hops]-1:
			count++
		}
	}
}

// drain waits for those that are still on their way, so that they are not counted later.
func (w *passage) drain(inside int) error {
	for end := time.Now().Add(passingMax); inside > 0 && time.Now().Before(end); {
		n, err := w.receive()
		if err != nil {
			return err
		}
		if inside -= n; n == 0 {
			time.Sleep(time.Millisecond)
		}
	}
	return nil
}
