// A test, from its parameters to its results.

package main

import (
	"cmp"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

const (
	stepTime  = 10 * time.Second // for the client's next word
	lookEvery = 5 * time.Second  // how often to see whether it still moves
	stillTime = 30 * time.Second // a test in which nothing moves is given up
)

// lateTime is for what is under way at the end. A variable for tests.
var lateTime = 50 * time.Millisecond

var (
	errTerminated = errors.New("the client has ended the test")
	errStill      = errors.New("nothing has moved for 30 s")
	errLongest    = errors.New("the test took too long")
	errStreams    = errors.New("not all streams have come")
)

// trial is a test.
type trial struct {
	name    cookie
	control net.Conn
	server  *server
	leaving atomic.Bool // nothing but a good-bye is missing
	over    chan struct{}

	parameters parameters
	streams    []*stream
	took       time.Duration
	cpu        [2]time.Duration // user, system
	full       chan struct{}    // closed when all TCP streams have come

	mu    sync.Mutex
	want  int // TCP streams that have not come
	came  []arrival
	began time.Time // after the omitted part
	ended bool
}

// arrival is a TCP stream that has come.
type arrival struct {
	number int // of the connection, in the order of their coming
	conn   net.Conn
}

func newTrial(name cookie, control net.Conn, s *server) *trial {
	return &trial{name: name, control: control, server: s, over: make(chan struct{}), full: make(chan struct{})}
}

// offer takes a TCP stream in, if it is one of the test's.
func (t *trial) offer(name cookie, c net.Conn, number int) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.want == 0 || name != t.name {
		return false
	}
	c.SetDeadline(time.Time{})
	t.came = append(t.came, arrival{number, c})
	if t.want--; t.want == 0 {
		close(t.full)
	}
	return true
}

// say tells the client the state.
func (t *trial) say(s state) error {
	t.control.SetWriteDeadline(time.Now().Add(stepTime))
	_, err := t.control.Write([]byte{byte(s)})
	return err
}

// hear waits for a state of the client until a time.
func (t *trial) hear(until time.Time) (state, error) {
	t.control.SetReadDeadline(until)
	return readState(t.control)
}

func readState(r io.Reader) (state, error) {
	var b [1]byte
	_, err := io.ReadFull(r, b[:])
	return state(b[0]), err
}

// run runs the test to its end, whatever it is.
func (t *trial) run(ctx context.Context) {
	defer t.control.Close()
	stop := context.AfterFunc(ctx, func() {
		t.say(serverTerminate)
		t.control.Close()
	})
	defer stop()
	err := t.steps(ctx)
	t.leaving.Store(true)
	t.mu.Lock()
	t.want = 0
	for _, a := range t.came {
		a.conn.Close()
	}
	t.mu.Unlock()
	t.server.udp.test.Store(nil)
	from := t.control.RemoteAddr()
	if refused := new(refusal); errors.As(err, &refused) {
		t.control.SetWriteDeadline(time.Now().Add(stepTime))
		code := serverError
		t.control.Write(binary.BigEndian.AppendUint64([]byte{byte(code)}, uint64(refused.code)<<32))
	}
	if errors.Is(err, errStill) || errors.Is(err, errLongest) || errors.Is(err, errStreams) {
		t.say(serverTerminate)
	}
	if err != nil && ctx.Err() == nil {
		fmt.Fprintf(t.server.log, "iperf: %v: %v\n", from, err)
	}
}

// steps does what the protocol asks for, in its order.
func (t *trial) steps(ctx context.Context) error {
	if err := t.say(paramExchange); err != nil {
		return err
	}
	t.control.SetReadDeadline(time.Now().Add(stepTime))
	p := &t.parameters
	if err := readJSON(t.control, longestParameter, p); err != nil {
		if errors.Is(err, errJSON) || errors.Is(err, errLength) {
			return &refusal{codeParameters, err.Error()}
		}
		return err
	}
	if err := p.check(t.server.config.streams); err != nil {
		return err
	}
	fmt.Fprintf(t.server.log, "iperf: %v: %v\n", t.control.RemoteAddr(), p)
	if err := t.gather(ctx); err != nil {
		return err
	}
	if err := t.say(testStart); err != nil {
		return err
	}
	if err := t.move(ctx); err != nil {
		return err
	}

	if err := t.say(exchangeResults); err != nil {
		return err
	}
	t.control.SetReadDeadline(time.Now().Add(stepTime))
	var theirs clientResults
	if err := readJSON(t.control, longestResult, &theirs); err != nil {
		return err
	}
	ours := t.results()
	t.control.SetWriteDeadline(time.Now().Add(stepTime))
	if err := writeJSON(t.control, ours); err != nil {
		return err
	}
	fmt.Fprint(t.server.log, t.summary(ours))
	t.leaving.Store(true) // before the client knows: the next one may come at once
	if err := t.say(displayResults); err != nil {
		return err
	}
	s, err := t.hear(time.Now().Add(stepTime))
	if err == nil && s != iperfDone && s != clientTerminate {
		err = fmt.Errorf("%w: %d, %d expected", errState, s, iperfDone)
	}
	return err
}

// gather waits for the streams.
func (t *trial) gather(ctx context.Context) error {
	in, out := t.parameters.directions()
	full := t.full
	var d *datagrams
	if t.parameters.UDP {
		peer, err := netip.ParseAddrPort(t.control.RemoteAddr().String())
		if err != nil {
			return err
		}
		d = newDatagrams(peer.Addr(), &t.parameters)
		full = d.full
		t.server.udp.test.Store(d)
	} else {
		t.mu.Lock()
		t.want = in + out
		t.mu.Unlock()
	}
	if err := t.say(createStreams); err != nil {
		return err
	}
	// A client that leaves is seen at once; one that speaks now is at fault.
	// The deadline is set here, or it could undo the one that is set below.
	left := make(chan error, 1)
	t.control.SetReadDeadline(time.Now().Add(streamTime))
	go func() {
		s, err := readState(t.control)
		switch {
		case errors.Is(err, os.ErrDeadlineExceeded):
			err = errStreams
		case err == nil && s == clientTerminate:
			err = errTerminated
		case err == nil:
			err = fmt.Errorf("%w: %d before the start", errState, s)
		}
		left <- err
	}()
	select {
	case <-full:
		t.control.SetReadDeadline(time.Unix(1, 0))
		if err := <-left; !errors.Is(err, errStreams) || ctx.Err() != nil {
			return err
		}
	case err := <-left:
		return err
	}
	if d != nil {
		t.streams = d.streams()
		return nil
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	slices.SortFunc(t.came, func(a, b arrival) int { return cmp.Compare(a.number, b.number) })
	for i, a := range t.came {
		bound(a.conn, len(t.came))
		t.streams = append(t.streams, &stream{id: streamID(i), sends: i >= in, conn: a.conn})
	}
	return nil
}

// fewStreams may have the buffers that connections have by themselves; more of them share
// streamBuffers bytes each way, so that they do not use up a domain's memory.
const (
	fewStreams    = 4
	streamBuffers = 2 << 20
)

// bound gives the connection of one of n streams its part of the memory for buffers.
func bound(c net.Conn, n int) {
	tcp, ok := c.(*net.TCPConn)
	if !ok || n <= fewStreams {
		return
	}
	// A connection that is over says so when it is used.
	_ = tcp.SetWriteBuffer(streamBuffers / n)
	_ = tcp.SetReadBuffer(streamBuffers / n)
}

// move starts the streams and stops them when the client says so.
func (t *trial) move(ctx context.Context) error {
	p := &t.parameters
	stop := make(chan struct{})
	var all sync.WaitGroup
	user, system := processTime()
	t.mu.Lock()
	t.began = time.Now()
	t.mu.Unlock()
	if p.Omit > 0 {
		omit := time.AfterFunc(time.Duration(p.Omit*float64(time.Second)), t.omit)
		defer omit.Stop()
	}
	if err := t.say(testRunning); err != nil {
		return err
	}
	d := t.server.udp.test.Load()
	for i, s := range t.streams {
		switch {
		case p.UDP && s.sends:
			all.Go(func() { d.send(t.server.udp.conn, i, int(p.Len), p.Bandwidth, stop) })
		case s.sends:
			all.Go(func() { s.send(int(p.Len), p.Bandwidth, stop) })
		case !p.UDP:
			all.Go(func() { s.receive(int(p.Len)) })
		}
	}
	err := t.watch(ctx)
	t.mu.Lock()
	t.took, t.ended = time.Since(t.began), true
	t.mu.Unlock()
	close(stop)
	late := time.Now().Add(lateTime)
	for _, s := range t.streams {
		if s.conn != nil {
			s.conn.SetReadDeadline(late)
			s.conn.SetWriteDeadline(time.Unix(1, 0))
		}
	}
	if p.UDP && err == nil {
		time.Sleep(lateTime)
	}
	all.Wait()
	for _, s := range t.streams {
		if s.conn != nil {
			s.conn.Close()
		}
	}
	nowUser, nowSystem := processTime()
	t.cpu = [2]time.Duration{nowUser - user, nowSystem - system}
	return err
}

// omit sets aside what the streams have carried so far.
func (t *trial) omit() {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.ended {
		return
	}
	for _, s := range t.streams {
		s.omit()
	}
	t.began = time.Now()
}

// watch waits until the client ends the test. It gives up a test in which nothing moves.
func (t *trial) watch(ctx context.Context) error {
	last, moved := int64(-1), time.Now()
	end := time.Now().Add(t.server.longest)
	for {
		s, err := t.hear(time.Now().Add(min(lookEvery, time.Until(end))))
		switch {
		case ctx.Err() != nil:
			return ctx.Err()
		case err == nil && s == testEnd:
			return nil
		case err == nil && s == clientTerminate:
			return errTerminated
		case err == nil:
			return fmt.Errorf("%w: %d while it runs", errState, s)
		case !errors.Is(err, os.ErrDeadlineExceeded):
			return err
		case !time.Now().Before(end):
			return errLongest
		}
		var now int64
		for _, s := range t.streams {
			now += s.bytes.Load()
		}
		if now != last {
			last, moved = now, time.Now()
		} else if time.Since(moved) >= stillTime {
			return errStill
		}
	}
}
