package flowswitch_test

import (
	"context"
	"runtime"
	"strings"
	"testing"

	"gvisor.dev/gvisor/pkg/tcpip"
	"gvisor.dev/gvisor/pkg/tcpip/adapters/gonet"
	"gvisor.dev/gvisor/pkg/tcpip/network/ipv4"
)

// TestCapability25CookieReachesItsOwner: the answer to a question for a neighbour
// goes to the flow that asked, once, and to nobody when that is gone.
func TestCapability25CookieReachesItsOwner(t *testing.T) {
	w := newWorld(t)
	w.unresolved = &[]func(bool){}
	a, b := w.domain(nil, []string{"tcp/*:*", "udp/*:*"}), w.domain(nil, []string{"tcp/*:*"})
	flows := 0
	for _, ask := range []struct {
		d     *domain
		proto uint32
	}{{a, 6}, {b, 6}, {a, 17}} {
		r, errno := ask.d.connect(ask.proto, outside, 80)
		if errno != 0 {
			t.Fatal(errno)
		}
		flows++
		if len(*w.unresolved) != flows {
			t.Fatalf("%d questions for %d flows", len(*w.unresolved), flows)
		}
		answer := (*w.unresolved)[flows-1]
		answer(false)
		got := ask.d.received()
		if len(got) != 1 {
			t.Fatalf("the owner was told %d times", len(got))
		}
		e := got[0]
		if e[9] != 1 || e[20] != 3 || e[21] != 1 || e[28+9] != byte(ask.proto) ||
			uint32(e[48])<<8|uint32(e[49]) != r.LocalPort || e[51] != 80 {
			t.Errorf("% x", e)
		}
		if len(a.received())+len(b.received()) != 0 {
			t.Error("another domain was told too")
		}
	}
	// One that is found is told to nobody, a flow that is gone likewise.
	a.connect(6, outside, 81)
	(*w.unresolved)[3](true)
	a.connect(6, outside, 82)
	w.sw.Detach(b.channel)
	(*w.unresolved)[1](false)
	if len(a.received()) != 0 {
		t.Error("told without a reason")
	}
	w.sw.Detach(a.channel)
	(*w.unresolved)[4](false)
}

// TestUnreachablePeerFailsTheConnection has the domain's stack hear of it while it
// waits for an answer to its SYN.
func TestUnreachablePeerFailsTheConnection(t *testing.T) {
	w := newWorld(t)
	w.unresolved = &[]func(bool){}
	d := w.domain(nil, []string{"tcp/*:*"}).start()
	nobody := outside.Next()
	r, errno := d.connect(6, nobody, 80)
	if errno != 0 {
		t.Fatal(errno)
	}
	failed := make(chan error, 1)
	go func() {
		_, err := gonet.DialTCPWithBind(context.Background(), d.stack, full(machine, uint16(r.LocalPort)), full(nobody, 80), ipv4.ProtocolNumber)
		failed <- err
	}()
	for sent := 0; sent == 0; runtime.Gosched() {
		w.mu.Lock()
		sent = len(w.sent)
		w.mu.Unlock()
	}
	(*w.unresolved)[0](false)
	if err := <-failed; err == nil || !strings.Contains(err.Error(), (&tcpip.ErrHostUnreachable{}).String()) {
		t.Errorf("%v", err)
	}
}
