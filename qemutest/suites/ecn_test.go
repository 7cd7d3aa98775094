package suites

import (
	"bytes"
	"fmt"
	"io"
	"net"
	"os"
	"slices"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/sluice-os/sluice/image/qemu"
	"github.com/sluice-os/sluice/qemutest"
	"github.com/sluice-os/sluice/qemutest/frr"
)

// Two Linux hosts with the machine between them. What goes to the far one leaves by a slow cable.
const (
	ecnRate = 4_000_000 // bits a second
	ecnSize = 3 << 20   // bytes of a transfer
	ecnPort = 9001
)

// Marks in the second byte of an IPv4 header (RFC 3168, section 5).
const (
	notECT = 0
	ect1   = 1
	ce     = 3
)

// linuxPair are the two hosts: near is the namespace that the test is in.
type linuxPair struct {
	vm  *qemutest.VM
	far func(func() error) // does something in the far namespace
	// sent is how many packets of IPv4 of senders that know marks the near host has sent, came how
	// many of them, marked or not, the slow cable has carried, and marked those with a mark.
	sent, came, marked atomic.Int64
}

// mark is the mark of a frame of IPv4, 0 of others.
func mark(frame []byte) byte {
	if len(frame) < 34 || frame[12] != 8 || frame[13] != 0 {
		return notECT
	}
	return frame[15] & 3
}

// near is the cable of the near host.
type near struct {
	*qemutest.Wire
	x *linuxPair
}

func (n near) Send(frame []byte) error {
	if mark(frame) != notECT {
		n.x.sent.Add(1)
	}
	return n.Wire.Send(frame)
}

// carried is called with each frame that the slow cable has carried.
func (x *linuxPair) carried(frame []byte) {
	if m := mark(frame); m == ce {
		x.came.Add(1)
		x.marked.Add(1)
	} else if m != notECT {
		x.came.Add(1)
	}
}

// plug gives the thread's namespace a tap at the end of one of the machine's cables, and the address
// there and the way to the other network.
func (x *linuxPair) plug(t *testing.T, w frr.Wire, own, to, via string) error {
	file, err := frr.OpenTap("tap0")
	if err != nil {
		return fmt.Errorf("no tap, which needs /dev/net/tun: %w", err)
	}
	frr.PlugTap(t, file, w)
	return joinLink("tap0", own, to, via)
}

// setECN sets whether TCP of both namespaces agrees upon marks with its peers, as it does if mode is 1.
func (x *linuxPair) setECN(t *testing.T, mode string) {
	t.Helper()
	set := func() error { return os.WriteFile("/proc/sys/net/ipv4/tcp_ecn", []byte(mode), 0) }
	if err := set(); err != nil {
		t.Fatal(err)
	}
	x.far(set)
}

// heard is how many packets with a mark Linux has counted in the far namespace.
func (x *linuxPair) heard(t *testing.T) (n int64) {
	t.Helper()
	x.far(func() error {
		text, err := os.ReadFile("/proc/thread-self/net/netstat")
		if err != nil {
			return err
		}
		var names []string
		for line := range strings.Lines(string(text)) {
			values := strings.Fields(line)
			if i := slices.Index(names, "InCEPkts"); i > 0 && values[0] == "IpExt:" {
				_, err := fmt.Sscan(values[i], &n)
				return err
			}
			if values[0] == "IpExt:" {
				names = values
			}
		}
		return fmt.Errorf("no InCEPkts in %s", text)
	})
	return n
}

// limited says how long sockets may wait for the machine.
func (x *linuxPair) limited(c interface{ SetDeadline(time.Time) error }) {
	if end, ok := x.vm.Context().Deadline(); ok {
		c.SetDeadline(end)
	}
}

// transfer sends bytes to the far host by TCP, and returns what Linux knows of the connection.
func (x *linuxPair) transfer(t *testing.T) *unix.TCPInfo {
	t.Helper()
	body := make([]byte, ecnSize)
	for i := range body {
		body[i] = byte(i>>9 ^ i)
	}
	var l net.Listener
	x.far(func() (err error) {
		l, err = net.Listen("tcp4", fmt.Sprintf("%s:%d", farHost, ecnPort))
		return err
	})
	defer l.Close()
	x.limited(l.(*net.TCPListener))
	came := make(chan error, 1)
	go func() {
		c, err := l.Accept()
		if err != nil {
			came <- err
			return
		}
		defer c.Close()
		x.limited(c)
		got, err := io.ReadAll(c)
		if err == nil && !bytes.Equal(got, body) {
			err = fmt.Errorf("%d bytes came, or others", len(got))
		}
		came <- err
	}()
	// Reno slows down when it is told of a mark or a loss, and not before.
	dialer := net.Dialer{Control: func(_, _ string, raw syscall.RawConn) (err error) {
		if e := raw.Control(func(fd uintptr) {
			err = unix.SetsockoptString(int(fd), unix.IPPROTO_TCP, unix.TCP_CONGESTION, "reno")
		}); e != nil {
			return e
		}
		return err
	}}
	c, err := dialer.DialContext(x.vm.Context(), "tcp4", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	x.limited(c)
	if _, err := c.Write(body); err != nil {
		t.Fatal(err)
	}
	c.(*net.TCPConn).CloseWrite()
	if _, err := io.Copy(io.Discard, c); err != nil { // until the other end has read all of it
		t.Fatal(err)
	}
	if err := <-came; err != nil {
		t.Fatal(err)
	}
	raw, err := c.(*net.TCPConn).SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	var info *unix.TCPInfo
	if e := raw.Control(func(fd uintptr) {
		info, err = unix.GetsockoptTCPInfo(int(fd), unix.IPPROTO_TCP, unix.TCP_INFO)
	}); e != nil || err != nil {
		t.Fatal(e, err)
	}
	return info
}

// ecnLoad is what became of a load on the slow cable.
type ecnLoad struct {
	// queue is how many packets the machine's queue has marked, cable how many marked ones have
	// been on the cable, and linux how many the far host has counted.
	queue, cable, linux int64
	// known is how many packets of senders that know marks the near host has sent, and lost how many
	// of these have not come. dropped are all that the queue has dropped as they waited too long.
	known, lost int64
	dropped     uint64
}

// load looks at what becomes of a load. It is made again if the cable took nothing for so long, as it
// does on a host that has stopped, that the card was given up with the frames that it had.
func (x *linuxPair) load(t *testing.T, f func()) (l ecnLoad) {
	t.Helper()
	for {
		before, linux := counters(t, x.vm), x.heard(t)
		cable, sent, came := x.marked.Load(), x.sent.Load(), x.came.Load()
		f()
		for end := time.Now().Add(20 * time.Second); ; {
			after := counters(t, x.vm)
			if after["reset_tx_timeout"] != before["reset_tx_timeout"] {
				t.Log("the card was reset: measured again")
				break
			}
			rose := func(name string) uint64 { return after[name] - before[name] }
			l = ecnLoad{queue: int64(rose("aqm_mark_ecn")), cable: x.marked.Load() - cable, linux: x.heard(t) - linux,
				known: x.sent.Load() - sent, dropped: rose("aqm_drop_delay_high")}
			l.lost = l.known - (x.came.Load() - came)
			// What was sent twice may still wait in the machine.
			if l.queue == l.cable && l.queue == l.linux && l.lost == 0 || time.Now().After(end) {
				return l
			}
		}
	}
}

// datagrams has the near host send datagrams of L4S and such as know no marks, in turns, until one of
// the first has come with a mark and one of the others has come. It returns how many came with each
// second byte of the header.
func (x *linuxPair) datagrams(t *testing.T) (l4s, plain map[byte]int) {
	t.Helper()
	var in net.PacketConn
	x.far(func() (err error) {
		in, err = net.ListenPacket("udp4", fmt.Sprintf("%s:%d", farHost, ecnPort))
		return err
	})
	defer in.Close()
	x.limited(in)
	set(t, in.(syscall.Conn), unix.IP_RECVTOS, 1)
	var out [2]net.Conn
	for i, tos := range []int{ect1, notECT} {
		c, err := net.Dial("udp4", in.LocalAddr().String())
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		set(t, c.(syscall.Conn), unix.IP_TOS, tos)
		out[i] = c
	}
	came, over := make(chan struct{}, 1), make(chan error, 1)
	seen := map[string]map[byte]int{out[0].LocalAddr().String(): {}, out[1].LocalAddr().String(): {}}
	l4s, plain = seen[out[0].LocalAddr().String()], seen[out[1].LocalAddr().String()]
	go func() {
		over <- func() error {
			for data, control := make([]byte, 2048), make([]byte, 64); l4s[ce] == 0 || len(plain) == 0; {
				_, n, _, from, err := in.(*net.UDPConn).ReadMsgUDPAddrPort(data, control)
				if err != nil {
					return err
				}
				messages, err := unix.ParseSocketControlMessage(control[:n])
				if err != nil || len(messages) != 1 || messages[0].Header.Type != unix.IP_TOS {
					return fmt.Errorf("a datagram came with %v, want its TOS: %w", messages, err)
				}
				seen[from.String()][messages[0].Data[0]]++
				select {
				case came <- struct{}{}:
				default:
				}
			}
			return nil
		}()
	}()
	for payload := make([]byte, 1400); ; {
		for range 32 {
			for _, c := range out {
				if _, err := c.Write(payload); err != nil {
					t.Fatal(err)
				}
			}
		}
		select {
		case <-came: // some of them wait in the machine
		case err := <-over:
			if err != nil {
				t.Fatal(err)
			}
			return l4s, plain
		}
	}
}

// set sets an option of IPv4 of a socket.
func set(t *testing.T, c syscall.Conn, option, value int) {
	t.Helper()
	raw, err := c.SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	if e := raw.Control(func(fd uintptr) { err = unix.SetsockoptInt(int(fd), unix.IPPROTO_IP, option, value) }); e != nil || err != nil {
		t.Fatal(e, err)
	}
}

// TestLinuxSeesMarks has the machine forward between two Linux hosts, to one of which the cable is
// slow. TCP that knows marks is marked and slows down, and loses nothing; the far host counts each
// mark that the queue has made. Without marks TCP loses packets instead. Datagrams of L4S are marked
// and have the mark in the socket that they arrive at; those that do not know marks have none.
func TestLinuxSeesMarks(t *testing.T) {
	if !namespace(t) {
		return
	}
	vm := qemutest.Start(t, qemutest.Config{
		Machine: "q35", Memory: 384, Net: qemutest.RawWire, Rate: ecnRate, More: []qemu.Card{{}},
		Append: "forward=on ip6=off ip6.eth1=off ip=10.88.1.2/24 ip.eth1=10.88.0.2/24",
	})
	vm.Seen(t, qemutest.Prompt)
	_, far := otherNamespace(t)
	x := &linuxPair{vm: vm, far: far}
	t.Cleanup(vm.Wire(t).Tap(x.carried))
	if err := x.plug(t, near{vm.WireOf(t, 1), x}, nearHost, "10.88.1.0", "10.88.0.2"); err != nil {
		t.Fatal(err)
	}
	far(func() error { return x.plug(t, vm.Wire(t), farHost, "10.88.0.0", "10.88.1.2") })

	for _, c := range []struct {
		name, mode string
	}{
		{"marked", "1"},
		{"not marked", "0"},
	} {
		t.Run(c.name, func(t *testing.T) {
			x.setECN(t, c.mode)
			var info *unix.TCPInfo
			l := x.load(t, func() { info = x.transfer(t) })
			t.Logf("of %d packets that may be marked %d were lost; %d were marked by the queue, %d on the cable, %d counted by Linux, %d told to the sender; %d were dropped, %d sent again",
				l.known, l.lost, l.queue, l.cable, l.linux, info.Delivered_ce, l.dropped, info.Total_retrans)
			if l.queue != l.cable || l.queue != l.linux {
				t.Errorf("%d marks were made, %d were on the cable, and Linux has counted %d", l.queue, l.cable, l.linux)
			}
			if c.mode == "0" {
				if l.known > 0 || l.dropped == 0 {
					t.Errorf("%d packets say that they know marks, and %d were dropped", l.known, l.dropped)
				}
				return
			}
			if l.known < ecnSize/1460 || l.queue == 0 || info.Delivered_ce == 0 {
				t.Errorf("of %d packets that know marks %d were marked, and the sender told of %d", l.known, l.queue, info.Delivered_ce)
			}
			// What Linux sends again, when the host has stopped, cannot be marked.
			if l.lost > 0 {
				t.Errorf("%d packets of %d that can be marked were lost", l.lost, l.known)
			}
		})
	}
	t.Run("L4S", func(t *testing.T) {
		before := counters(t, vm)["aqm_mark_l4s"]
		l4s, plain := x.datagrams(t)
		t.Logf("by the second byte of the header: L4S %v, others %v", l4s, plain)
		if n := counters(t, vm)["aqm_mark_l4s"] - before; n == 0 {
			t.Error("Linux has seen a mark that the queue has not made")
		}
		if len(plain) != 1 || plain[notECT] == 0 || l4s[ect1]+l4s[ce] == 0 || l4s[notECT] > 0 {
			t.Errorf("datagrams came with other marks: of L4S %v, of others %v", l4s, plain)
		}
	})
	vm.Kill()
}
