package host

import (
	"io"
	"net/http"
	"testing"
	"time"

	"gvisor.dev/gvisor/pkg/tcpip/header"
)

// TestSmallWritesWait writes single bytes to a peer that acknowledges none, and
// then all.
func TestSmallWritesWait(t *testing.T) {
	x := newStranger(t, MemoryBudgetMin, nil)
	l, err := x.s.listen(4000, 1)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	peer := x.connect(4000, nil)
	c, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	const count = 5 * smallWrites
	wrote := make(chan int, count)
	go func() {
		defer close(wrote)
		for range count {
			n, err := c.Write([]byte{1})
			if err != nil {
				t.Error(err)
				return
			}
			wrote <- n
		}
	}()
	for range smallWrites {
		<-wrote
	}
	select {
	case <-wrote:
		t.Fatal("one more small write did not wait")
	case <-time.After(50 * time.Millisecond):
	}
	for first := peer.acked; peer.acked-first < count; peer.acknowledge(0) {
		if !x.wait(patience, func() bool { return peer.next != peer.acked }) {
			t.Fatalf("the writer stopped after %d bytes of %d", peer.acked-first, count)
		}
	}
	for range wrote {
	}
	c.Close()
}

func TestFewConnectionsHaveLargeSendBuffers(t *testing.T) {
	x := newStranger(t, MemoryBudgetMin, nil)
	var open []*strange
	for range x.s.lim.httpConnections {
		open = append(open, x.connect(httpPort, nil))
	}
	wide := func() int { return int(x.s.wide.Load()) }
	until(t, "all large buffers given", func() bool { return wide() == wideConnections })
	for _, c := range open {
		c.send([]byte("GET /healthz HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"))
	}
	if wide() > wideConnections {
		t.Errorf("%d connections have large buffers", wide())
	}
	for _, c := range open {
		x.wait(patience, func() bool { return c.over })
		c.acknowledge(0)
		x.give(c.segment(header.TCPFlagAck|header.TCPFlagFin, nil, nil))
	}
	until(t, "all large buffers back", func() bool { return wide() == 0 })
}

// TestManyHeadersEndTheConnection: such a request is not answered.
func TestManyHeadersEndTheConnection(t *testing.T) {
	p := newPair(t, noOffloads, noOffloads)
	for _, n := range []int{httpFieldsMax - 4, httpFieldsMax + 1} { // the client adds some
		r, err := http.NewRequest("GET", "http://192.0.2.2/healthz", nil)
		if err != nil {
			t.Fatal(err)
		}
		for range n {
			r.Header.Add("X", "y")
		}
		answer, err := p.client().Do(r)
		if (err == nil) != (n < httpFieldsMax) {
			t.Errorf("%d fields: %v", n, err)
		}
		if err == nil {
			answer.Body.Close()
		}
	}
}

// TestConnectionsComeAndGo opens one after the other, more than there may be
// open or in TIME-WAIT, without a pause in which the closed ones would be looked
// at. Every answer is whole.
func TestConnectionsComeAndGo(t *testing.T) {
	p := newPair(t, noOffloads, noOffloads)
	c := p.client()
	for range p.b.lim.closedMax + 2*p.b.lim.httpConnections {
		r, err := c.Get("http://192.0.2.2/bytes?n=20000")
		if err != nil {
			t.Fatal(err)
		}
		n, err := io.Copy(io.Discard, r.Body)
		r.Body.Close()
		if n != 20000 || err != nil {
			t.Fatalf("%d bytes, %v", n, err)
		}
	}
	if n := p.b.counters.get(connRefusedLimit); n != 0 {
		t.Errorf("%d connections were refused", n)
	}
}
