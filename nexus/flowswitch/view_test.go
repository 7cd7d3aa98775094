package flowswitch_test

import (
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/sluice-os/sluice/nexus/abi"
	"github.com/sluice-os/sluice/userland/channel"
)

// TestSockets: the connections of listeners are told, half made and made, and no others.
func TestSockets(t *testing.T) {
	w := newWorld(t)
	d := w.domain([]string{"tcp/80"}, []string{"tcp/*:*"})
	d.listen(80)
	if _, errno := d.connect(6, outside, 9); errno != 0 {
		t.Fatal(errno)
	}
	list := func() (got []string) {
		for _, r := range w.sw.Sockets().Rows {
			if r[0] == "tcp" && r[1] != "listener" && r[1] != "connected" {
				got = append(got, strings.Join(r[1:4], " "))
			}
		}
		return got
	}
	in := packet{src: outside, dst: machine, proto: 6, sport: 5000, dport: 80, flags: syn}
	if got := list(); got != nil {
		t.Errorf("before a connection: %q", got)
	}
	w.arrive(sequence(in.bytes(), 100, 0))
	out := packet{src: machine, dst: outside, proto: 6, sport: 80, dport: 5000, flags: syn | ack}
	d.send(sequence(out.bytes(), 900, 101), channel.Outgoing{})
	if got, want := list(), []string{"syn-received 192.0.2.1:80 192.0.2.2:5000"}; !slices.Equal(got, want) {
		t.Errorf("%q, want %q", got, want)
	}
	in.flags = ack
	w.arrive(sequence(in.bytes(), 101, 901))
	if got, want := list(), []string{"established 192.0.2.1:80 192.0.2.2:5000"}; !slices.Equal(got, want) {
		t.Errorf("%q, want %q", got, want)
	}
}

// TestTimeWait: the port of a connection that is over stays taken for late packets, as long as
// its flow: for the same peer, and for who does not say that it is to be used again. ss tells.
func TestTimeWait(t *testing.T) {
	const fin, port = 1, 5000
	for _, tt := range []struct {
		name  string
		end   func(x *scene)
		lasts time.Duration
	}{
		{"this side first", func(x *scene) {
			x.send(segment(true, port, 80, fin|ack, 101, 501, 0))
			x.arrive(segment(false, port, 80, fin|ack, 501, 102, 0).bytes())
			x.send(segment(true, port, 80, ack, 102, 502, 0))
		}, 2 * time.Second},
		{"the peer first", func(x *scene) {
			x.arrive(segment(false, port, 80, fin|ack, 501, 101, 0).bytes())
			x.send(segment(true, port, 80, fin|ack, 101, 502, 0))
			x.arrive(segment(false, port, 80, ack, 502, 102, 0).bytes())
		}, time.Second},
		{"a reset of this side's", func(x *scene) { x.send(segment(true, port, 80, rst|ack, 101, 501, 0)) }, 0},
	} {
		t.Run(tt.name, func(t *testing.T) {
			w := newWorld(t)
			x := &scene{w, w.domain([]string{"tcp/*"}, []string{"tcp/*:*"})}
			bind := func(flags uint32) (abi.FlowRequest, syscall.Errno) {
				return x.d.request(abi.FlowRequest{Op: abi.FlowBind, Protocol: 6, Local: machine.As16(), LocalPort: port, Flags: flags})
			}
			connect := func(r abi.FlowRequest, remote uint16) (abi.FlowRequest, syscall.Errno) {
				return x.d.request(abi.FlowRequest{
					Op: abi.FlowConnect, Flow: r.Flow, Generation: r.Generation, Remote: outside.As16(), RemotePort: uint32(remote),
				})
			}
			closes := func(r abi.FlowRequest) {
				if _, errno := x.d.request(abi.FlowRequest{Op: abi.FlowClose, Flow: r.Flow, Generation: r.Generation}); errno != 0 {
					t.Fatal(errno)
				}
			}
			states := func() (list []string) {
				for _, r := range w.sw.Sockets().Rows {
					list = append(list, strings.Join(r[:4], " "))
				}
				return list
			}
			r, errno := bind(0)
			if errno != 0 {
				t.Fatal(errno)
			}
			if r, errno = connect(r, 80); errno != 0 {
				t.Fatal(errno)
			}
			x.send(segment(true, port, 80, syn, 100, 0, 0))
			x.arrive(segment(false, port, 80, syn|ack, 500, 101, 0).bytes())
			x.send(segment(true, port, 80, ack, 101, 501, 0))
			if got, want := states(), []string{"tcp connected 192.0.2.1:5000 192.0.2.2:80"}; !slices.Equal(got, want) {
				t.Fatalf("%q, want %q", got, want)
			}
			tt.end(x)
			closes(r)
			if _, errno := bind(0); (errno == 0) != (tt.lasts == 0) {
				t.Fatalf("the port without reuse: %v", errno)
			}
			if tt.lasts == 0 {
				return
			}
			want := []string{"tcp time-wait 192.0.2.1:5000 192.0.2.2:80"}
			if got := states(); !slices.Equal(got, want) {
				t.Errorf("%q, want %q", got, want)
			}
			if !x.arrive(segment(false, port, 80, fin|ack, 501, 102, 0).bytes()) {
				t.Error("a late packet is the host stack's")
			}
			if r, errno = bind(abi.FlowReuse); errno != 0 {
				t.Fatalf("the port with reuse: %v", errno)
			}
			if _, errno := connect(r, 80); errno != syscall.EADDRINUSE {
				t.Errorf("the same peer again: %v", errno)
			}
			if r, errno = connect(r, 81); errno != 0 {
				t.Errorf("another peer: %v", errno)
			}
			closes(r)
			w.wait(tt.lasts - 1)
			if got := states(); !slices.Equal(got, want) {
				t.Errorf("before the time is over %q, want %q", got, want)
			}
			w.wait(1)
			if got := states(); got != nil || len(w.sw.Table().All()) != 0 {
				t.Errorf("when the time is over there are %q and %d flows", got, len(w.sw.Table().All()))
			}
			if _, errno := bind(0); errno != 0 {
				t.Errorf("the port without reuse, when the time is over: %v", errno)
			}
		})
	}
}
