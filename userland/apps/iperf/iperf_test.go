package main

import (
	"bytes"
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"flag"
	"io"
	"math"
	"net"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/sluice-os/sluice/userland/apps/internal/cli"
)

func TestParse(t *testing.T) {
	for _, c := range []struct {
		args []string
		want config
		err  error
	}{
		{nil, config{":5201", 128, time.Hour}, nil},
		{[]string{"-listen", "[::1]:1", "-streams", "4", "-longest", "9s"}, config{"[::1]:1", 4, 9 * time.Second}, nil},
		{[]string{"-h"}, config{}, flag.ErrHelp},
		{[]string{"-s"}, config{}, cli.ErrUsage},
		{[]string{"word"}, config{}, cli.ErrUsage},
		{[]string{"-streams", "129"}, config{}, cli.ErrUsage},
		{[]string{"-longest", "-1s"}, config{}, cli.ErrUsage},
	} {
		got, err := parse(c.args, io.Discard)
		if !errors.Is(err, c.err) || err == nil && got != c.want {
			t.Errorf("%q: %+v, %v, want %+v, %v", c.args, got, err, c.want, c.err)
		}
	}
	var out, errs bytes.Buffer
	if n := run(t.Context(), []string{"-p"}, &out, &errs); n != 2 || strings.Count(errs.String(), "\n") != 1 {
		t.Errorf("bad flag: status %d, errors %q, want 2 and one line", n, &errs)
	}
}

func TestParseCookie(t *testing.T) {
	good := strings.Repeat("a7", 18) + "\x00"
	for text, want := range map[string]error{
		good:                        nil,
		good[:36]:                   errCookie,
		good + "\x00":               errCookie,
		strings.Repeat("a", 37):     errCookie,
		"\x00" + good[1:]:           errCookie,
		"\n" + good[1:]:             errCookie,
		"\xff" + good[1:]:           errCookie,
		"":                          errCookie,
		strings.Repeat("\x00", 37):  errCookie,
		"GET / HTTP/1.1\r\nHost: x": errCookie,
	} {
		if c, err := parseCookie([]byte(text)); !errors.Is(err, want) || err == nil && string(c[:]) != text {
			t.Errorf("%q: %q, %v, want %v", text, c, err, want)
		}
	}
}

// framed is a text as it is on the connection.
func framed(text string) []byte {
	return append(binary.BigEndian.AppendUint32(nil, uint32(len(text))), text...)
}

func TestReadJSON(t *testing.T) {
	for _, c := range []struct {
		in   []byte
		want error
	}{
		{framed(`{"tcp":true,"bandwidth":1e+15}`), nil},
		{framed(`{`), errJSON},
		{framed(``), errJSON},
		{framed(`{"parallel":"1"}`), errJSON},
		{framed(strings.Repeat(" ", longestParameter+1)), errLength},
		{[]byte{0xff, 0xff, 0xff, 0xff}, errLength},
		{framed(`{"tcp":true}`)[:9], io.ErrUnexpectedEOF},
		{[]byte{0}, io.ErrUnexpectedEOF},
		{nil, io.EOF},
	} {
		var p parameters
		if err := readJSON(bytes.NewReader(c.in), longestParameter, &p); !errors.Is(err, c.want) {
			t.Errorf("%.40q: %v, want %v", c.in, err, c.want)
		}
	}
	var b bytes.Buffer
	writeJSON(&b, results{Retransmits: -1, Streams: []streamResult{{ID: 1, Bytes: 5}}})
	var back results
	if err := readJSON(&b, longestResult, &back); err != nil || back.Retransmits != -1 || back.Streams[0].Bytes != 5 {
		t.Errorf("written and read: %+v, %v", back, err)
	}
}

func TestCheck(t *testing.T) {
	ok := parameters{TCP: true, Parallel: 4, Len: 131072, Time: 10}
	with := func(f func(*parameters)) parameters { p := ok; f(&p); return p }
	for name, c := range map[string]struct {
		p    parameters
		code uint32
	}{
		"tcp":           {ok, 0},
		"udp":           {with(func(p *parameters) { p.TCP, p.UDP, p.Len = false, true, 1460 }), 0},
		"nothing":       {parameters{}, codeParameters},
		"both":          {with(func(p *parameters) { p.UDP, p.Len = true, 1000 }), codeParameters},
		"sctp":          {with(func(p *parameters) { p.SCTP = true }), codeNotThere},
		"both ways":     {with(func(p *parameters) { p.Both, p.Reverse = true, true }), codeParameters},
		"no streams":    {with(func(p *parameters) { p.Parallel = 0 }), codeStreams},
		"half a stream": {with(func(p *parameters) { p.Parallel = 1.5 }), codeStreams},
		"many streams":  {with(func(p *parameters) { p.Parallel = 5 }), codeStreams},
		"endless":       {with(func(p *parameters) { p.Parallel = math.MaxFloat64 }), codeStreams},
		"empty block":   {with(func(p *parameters) { p.Len = 0 }), codeBlock},
		"large block":   {with(func(p *parameters) { p.Len = largestBlock + 1 }), codeBlock},
		"short udp":     {with(func(p *parameters) { p.TCP, p.UDP, p.Len = false, true, 15 }), codeBlock},
		"long udp":      {with(func(p *parameters) { p.TCP, p.UDP, p.Len = false, true, 65508 }), codeBlock},
		"omit":          {with(func(p *parameters) { p.Omit = -1 }), codeParameters},
		"time":          {with(func(p *parameters) { p.Time = 1e9 }), codeParameters},
		"bandwidth":     {with(func(p *parameters) { p.Bandwidth = -1 }), codeParameters},
	} {
		err := c.p.check(4)
		r := new(refusal)
		errors.As(err, &r)
		if r.code != c.code || (err == nil) != (c.code == 0) {
			t.Errorf("%s: %v (code %d), want code %d", name, err, r.code, c.code)
		}
	}
}

func FuzzControl(f *testing.F) {
	f.Add(framed(`{"tcp":true,"omit":0,"time":10,"num":0,"parallel":2,"len":131072,"bandwidth":1e15,"client_version":"3.12"}`))
	f.Add(framed(`{"udp":true,"parallel":1,"len":1460,"bidirectional":true,"udp_counters_64bit":1}`))
	f.Add([]byte(strings.Repeat("c", 36) + "\x00"))
	f.Fuzz(func(t *testing.T, b []byte) {
		if c, err := parseCookie(b); err == nil && !bytes.Equal(c[:], b) {
			t.Errorf("cookie %q of %q", c, b)
		}
		var r clientResults
		readJSON(bytes.NewReader(b), longestResult, &r)
		var p parameters
		if readJSON(bytes.NewReader(b), longestParameter, &p) != nil || p.check(mostStreams) != nil {
			return
		}
		in, out := p.directions()
		if n := in + out; n < 1 || n > 2*mostStreams || int(p.Len) < 1 || int(p.Len) > largestBlock {
			t.Errorf("accepted %+v", p)
		}
		if d := due(1<<40, p.Bandwidth); d < 0 {
			t.Errorf("due %v at %v", d, p.Bandwidth)
		}
	})
}

func TestStreamID(t *testing.T) {
	for n, want := range []int{1, 3, 4, 5} {
		if got := streamID(n); got != want {
			t.Errorf("stream %d: %d, want %d", n, got, want)
		}
	}
}

func TestDue(t *testing.T) {
	for _, c := range []struct {
		sent int64
		rate float64
		want time.Duration
	}{
		{0, 1e6, 0},
		{125_000, 1e6, time.Second},
		{1 << 50, 0, 0},
		{1 << 62, 1, longestTime * time.Second},
	} {
		if got := due(c.sent, c.rate); got != c.want {
			t.Errorf("%d bytes at %v bit/s: %v, want %v", c.sent, c.rate, got, c.want)
		}
	}
}

func TestDatagramCount(t *testing.T) {
	const ms = time.Millisecond
	for name, c := range map[string]struct {
		numbers []int64
		want    datagramCount
	}{
		"in order":   {[]int64{1, 2, 3}, datagramCount{packets: 3}},
		"loss":       {[]int64{1, 4}, datagramCount{packets: 4, lost: 2}},
		"first lost": {[]int64{3}, datagramCount{packets: 3, lost: 2}},
		"reordered":  {[]int64{1, 3, 2, 4}, datagramCount{packets: 4}},
		"twice":      {[]int64{1, 1, 1}, datagramCount{packets: 1}},
		"far":        {[]int64{math.MaxInt64}, datagramCount{packets: math.MaxInt64, lost: math.MaxInt64 - 1}},
	} {
		var got datagramCount
		for i, n := range c.numbers {
			at := time.Duration(i) * 10 * ms
			got.add(header{at, n}, at+time.Hour) // clocks differ
		}
		if got.packets != c.want.packets || got.lost != c.want.lost || got.jitter != 0 {
			t.Errorf("%s: %+v, want %+v", name, got, c.want)
		}
	}
	var late datagramCount
	late.add(header{0, 1}, 0)
	late.add(header{10 * ms, 2}, 26*ms)
	if late.jitter != ms {
		t.Errorf("16 ms later than the first: jitter %v, want 1 ms", late.jitter)
	}
}

func TestHeader(t *testing.T) {
	b := make([]byte, smallestDatagram)
	for _, wide := range []bool{false, true} {
		want := header{1_800_000_000*time.Second + 123456*time.Microsecond, 77}
		want.put(b, wide)
		if got, ok := parseHeader(b, wide); !ok || got != want {
			t.Errorf("wide %v: %+v, %v, want %+v", wide, got, ok, want)
		}
		if _, ok := parseHeader(b[:15], wide); ok {
			t.Error("15 bytes accepted")
		}
	}
	binary.BigEndian.PutUint64(b[8:], 1<<63)
	if _, ok := parseHeader(b, true); ok {
		t.Error("negative number accepted")
	}
}

func TestDatagramsOpen(t *testing.T) {
	peer := netip.MustParseAddr("192.0.2.1")
	d := newDatagrams(peer, &parameters{UDP: true, Parallel: 1, Both: true, Wide: 1})
	mapped := netip.MustParseAddr("::ffff:192.0.2.1")
	first, second := netip.AddrPortFrom(mapped, 1000), netip.AddrPortFrom(peer, 1001)
	if _, ok := d.take(hello[:], netip.MustParseAddrPort("192.0.2.2:1000"), 0); ok {
		t.Error("another host may open a stream")
	}
	if _, ok := d.take([]byte("98765"), first, 0); ok {
		t.Error("5 bytes open a stream")
	}
	for range 2 { // the answer may be lost
		if a, ok := d.take(hello[:], first, 0); !ok || a != answer {
			t.Errorf("first: %q, %v", a, ok)
		}
	}
	if a, ok := d.take(oldHello[:], second, 0); !ok || a != oldAnswer {
		t.Errorf("second, old: %q, %v", a, ok)
	}
	select {
	case <-d.full:
	default:
		t.Error("both are there, but not all")
	}
	if _, ok := d.take(hello[:], netip.AddrPortFrom(peer, 1002), 0); ok {
		t.Error("a third of two streams")
	}
	s := d.streams()
	if s[0].sends || !s[1].sends || s[0].id != 1 || s[1].id != 3 {
		t.Errorf("streams %+v %+v", s[0], s[1])
	}
	b := make([]byte, 100)
	header{0, 1}.put(b, true)
	d.take(b, first, 0)
	d.take(b, second, 0)
	d.take(b[:8], first, 0)
	if got := s[0].bytes.Load(); got != 100 || s[0].datagram.packets != 1 || s[1].bytes.Load() != 0 {
		t.Errorf("received %d bytes, %d datagrams; on the sender %d", got, s[0].datagram.packets, s[1].bytes.Load())
	}
	if n := testing.AllocsPerRun(100, func() { d.take(b, first, 0) }); n != 0 {
		t.Errorf("a datagram allocates %v times", n)
	}
}

func TestOmit(t *testing.T) {
	s := &stream{id: 1}
	s.bytes.Add(1000)
	s.datagram = datagramCount{packets: 10, lost: 3, jitter: time.Second}
	s.omit()
	s.bytes.Add(50)
	s.datagram.packets, s.datagram.lost = 12, 4
	got := s.result(2 * time.Second)
	want := streamResult{ID: 1, Bytes: 50, Retransmits: -1, Errors: 4, OmittedErrors: 3, Packets: 12, OmittedPackets: 10, EndTime: 2}
	if got != want {
		t.Errorf("%+v, want %+v", got, want)
	}
}

// patience is how long a test waits for what must come, by the clock, which goes on while the
// host stands still.
const patience = 5 * time.Minute

// start runs a server at a port that the system picks.
func start(t *testing.T, c config) (address string, log *bytes.Buffer, end func() error) {
	t.Helper()
	if c.streams == 0 {
		c.streams = mostStreams
	}
	if c.longest == 0 {
		c.longest = time.Minute
	}
	if c.listen == "" {
		c.listen = "127.0.0.1:0"
	}
	log = new(bytes.Buffer)
	s, err := listen(c, log)
	if err != nil {
		t.Skipf("no server at %s: %v", c.listen, err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- s.serve(ctx) }()
	end = func() error {
		cancel()
		select {
		case err := <-done:
			done <- nil
			return err
		case <-time.After(patience):
			return errors.New("did not end")
		}
	}
	t.Cleanup(func() { end() })
	return s.tcp.Addr().String(), log, end
}

// client is a client in the hands of a test.
type client struct {
	*testing.T
	net.Conn
	name cookie
}

func dial(t *testing.T, address string, mark byte) *client {
	t.Helper()
	conn, err := net.Dial("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	conn.SetDeadline(time.Now().Add(patience))
	c := &client{T: t, Conn: conn}
	copy(c.name[:], bytes.Repeat([]byte{mark}, cookieSize-1))
	conn.Write(c.name[:])
	return c
}

func (c *client) expect(want state) {
	c.Helper()
	if got, err := readState(c.Conn); err != nil || got != want {
		c.Fatalf("state %d, %v, want %d", got, err, want)
	}
}

func TestStates(t *testing.T) {
	// However long the host stops the server: what the streams carry ends with them.
	late, hand := lateTime, handover
	lateTime, handover = time.Hour, time.Hour
	t.Cleanup(func() { lateTime, handover = late, hand })
	address, _, end := start(t, config{})
	c := dial(t, address, 'a')
	c.expect(paramExchange)
	dial(t, address, 'b').expect(accessDenied)
	c.Write(framed(`{"tcp":true,"parallel":2,"len":1000,"time":1,"omit":0}`))
	c.expect(createStreams)
	dial(t, address, 'b').expect(accessDenied)
	streams := []*client{dial(t, address, 'a'), dial(t, address, 'a')}
	c.expect(testStart)
	c.expect(testRunning)
	dial(t, address, 'a').expect(accessDenied) // one too many
	streams[0].Write(make([]byte, 5000))
	streams[1].Write(make([]byte, 70))
	for _, s := range streams {
		s.Conn.(*net.TCPConn).CloseWrite()
	}
	c.Write([]byte{byte(testEnd)})
	c.expect(exchangeResults)
	writeJSON(c, results{})
	var got results
	if err := readJSON(c, longestResult, &got); err != nil {
		t.Fatal(err)
	}
	if s := got.Streams; len(s) != 2 || s[0].ID != 1 || s[0].Bytes != 5000 || s[1].ID != 3 || s[1].Bytes != 70 || got.Retransmits != -1 {
		t.Errorf("results %+v", got)
	}
	c.expect(displayResults)
	c.Write([]byte{byte(iperfDone)})

	next := dial(t, address, 'c') // at once
	next.expect(paramExchange)
	if err := end(); err != nil {
		t.Error(err)
	}
	next.expect(serverTerminate)
}

func TestRefusals(t *testing.T) {
	address, _, _ := start(t, config{streams: 4})
	for text, code := range map[string]uint32{
		`{"tcp":true,"parallel":5,"len":1000}`:    codeStreams,
		`{"sctp":true,"parallel":1,"len":1000}`:   codeNotThere,
		`{"tcp":true,"parallel":1,"len":1048577}`: codeBlock,
		`no JSON`: codeParameters,
	} {
		c := dial(t, address, 'a')
		c.expect(paramExchange)
		c.Write(framed(text))
		c.expect(serverError)
		var b [8]byte
		if _, err := io.ReadFull(c, b[:]); err != nil || binary.BigEndian.Uint32(b[:]) != code {
			t.Errorf("%s: % x, %v, want code %d", text, b, err, code)
		}
		io.Copy(io.Discard, c) // until the server is free
	}
	c := dial(t, address, 'a')
	c.expect(paramExchange)
	c.Write(framed(`{"tcp":true,"parallel":1,"len":1000}`))
	c.expect(createStreams)
	c.Write([]byte{byte(testEnd)})                // too early
	c.SetDeadline(time.Now().Add(streamTime / 2)) // the server does not go on to wait for streams
	if n, err := c.Read(make([]byte, 1)); n != 0 || !errors.Is(err, io.EOF) {
		t.Errorf("end before the start: %d bytes, %v, want the connection's end", n, err)
	}
	conn, err := net.Dial("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	conn.SetDeadline(time.Now().Add(patience))
	conn.Write(bytes.Repeat([]byte("\n"), cookieSize))
	if n, err := conn.Read(make([]byte, 1)); n != 0 || !errors.Is(err, io.EOF) {
		t.Errorf("bad cookie: %d bytes, %v, want the connection's end", n, err)
	}
}

func TestLongest(t *testing.T) {
	address, _, _ := start(t, config{longest: 100 * time.Millisecond})
	c := dial(t, address, 'a')
	c.expect(paramExchange)
	c.Write(framed(`{"tcp":true,"parallel":1,"len":1000,"time":0}`))
	c.expect(createStreams)
	dial(t, address, 'a')
	c.expect(testStart)
	c.expect(testRunning)
	c.expect(serverTerminate)
}

func TestResultsHaveWhatClientsWant(t *testing.T) {
	b, err := json.Marshal(results{Streams: []streamResult{{}}})
	if err != nil {
		t.Fatal(err)
	}
	for _, key := range []string{"cpu_util_total", "cpu_util_user", "cpu_util_system", "sender_has_retransmits", "streams", "id", "bytes", "retransmits", "jitter", "errors", "packets", "start_time", "end_time"} {
		if !strings.Contains(string(b), `"`+key+`":`) {
			t.Errorf("%s is missing", key)
		}
	}
}
