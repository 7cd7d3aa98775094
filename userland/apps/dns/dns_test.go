package main

import (
	"bytes"
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	dm "golang.org/x/net/dns/dnsmessage"

	"github.com/sluice-os/sluice/userland/apps/internal/cli"
)

func TestParse(t *testing.T) {
	for _, c := range []struct {
		args []string
		err  error
	}{
		{nil, nil},
		{[]string{"-upstream", "192.0.2.1, [2001:db8::1]:54,2001:db8::2", "-cache", "0", "-rate", "1"}, nil},
		{[]string{"-h"}, flag.ErrHelp},
		{[]string{"-nosuch"}, cli.ErrUsage},
		{[]string{"word"}, cli.ErrUsage},
		{[]string{"-upstream", "name.example"}, cli.ErrUsage},
		{[]string{"-upstream", "192.0.2.1:0"}, cli.ErrUsage},
		{[]string{"-upstream", "192.0.2.1,192.0.2.1,192.0.2.1,192.0.2.1,192.0.2.1"}, cli.ErrUsage},
		{[]string{"-cache", "-1"}, cli.ErrUsage},
		{[]string{"-rate", "0"}, cli.ErrUsage},
	} {
		got, err := parse(c.args, io.Discard)
		if !errors.Is(err, c.err) {
			t.Errorf("%q: %v, want %v", c.args, err, c.err)
		}
		if len(c.args) == 6 && fmt.Sprint(got.upstream) != "[192.0.2.1:53 [2001:db8::1]:54 [2001:db8::2]:53]" {
			t.Errorf("upstream %v", got.upstream)
		}
	}
	var out, errs bytes.Buffer
	if n := run(t.Context(), []string{"-rate", "x"}, &out, &errs); n != 2 || strings.Count(errs.String(), "\n") != 1 {
		t.Errorf("bad flag: status %d, errors %q, want 2 and one line", n, &errs)
	}
}

func TestParseResolv(t *testing.T) {
	got := parseResolv([]byte("# nameserver 192.0.2.9\nsearch example\nnameserver 192.0.2.1\n nameserver\t2001:db8::1 x\nnameserver name\nnameserver fe80::1%eth0\nnameserver 192.0.2.4\nnameserver 192.0.2.5\n"))
	if fmt.Sprint(got) != "[192.0.2.1:53 [2001:db8::1]:53 [fe80::1%eth0]:53 192.0.2.4:53]" {
		t.Errorf("got %v", got)
	}
}

func TestServersFollowTheFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "resolv.conf")
	u := &upstream{path: path}
	now := time.Unix(1000, 0)
	step := func(text string, after time.Duration, want string) {
		t.Helper()
		os.WriteFile(path, []byte(text), 0o600)
		now = now.Add(after)
		if got := fmt.Sprint(u.servers(now)); got != want {
			t.Errorf("%q: %v, want %v", text, got, want)
		}
	}
	step("", 0, "[]")
	step("nameserver 192.0.2.1", 0, "[192.0.2.1:53]") // none was known
	step("nameserver 192.0.2.2", rereadTime-1, "[192.0.2.1:53]")
	step("nameserver 192.0.2.2", 1, "[192.0.2.2:53]")
}

// pack makes a query with changes.
func pack(t testing.TB, change func(*dm.Message)) []byte {
	t.Helper()
	m := dm.Message{
		Header:    dm.Header{ID: 77, RecursionDesired: true},
		Questions: []dm.Question{{Name: dm.MustNewName("Name.Example."), Type: dm.TypeA, Class: dm.ClassINET}},
	}
	if change != nil {
		change(&m)
	}
	b, err := m.Pack()
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func edns(size int, dnssec bool) dm.Resource {
	r := option(0, dnssec)
	r.Header.Class = dm.Class(size)
	return r
}

func TestParseQuery(t *testing.T) {
	first := func(m *dm.Message) *dm.Question { return &m.Questions[0] }
	for name, c := range map[string]struct {
		b      []byte
		code   dm.RCode
		answer bool
		size   int
	}{
		"plain":           {pack(t, nil), 0, true, 512},
		"edns":            {pack(t, func(m *dm.Message) { m.Additionals = []dm.Resource{edns(900, false)} }), 0, true, 900},
		"edns large":      {pack(t, func(m *dm.Message) { m.Additionals = []dm.Resource{edns(65535, true)} }), 0, true, 1232},
		"edns small":      {pack(t, func(m *dm.Message) { m.Additionals = []dm.Resource{edns(0, false)} }), 0, true, 512},
		"two edns":        {pack(t, func(m *dm.Message) { m.Additionals = []dm.Resource{edns(900, false), edns(900, false)} }), dm.RCodeFormatError, true, 900},
		"edns version 1":  {pack(t, func(m *dm.Message) { r := edns(900, false); r.Header.TTL |= 1 << 16; m.Additionals = []dm.Resource{r} }), badVersion, true, 900},
		"a response":      {pack(t, func(m *dm.Message) { m.Response = true }), 0, false, 0},
		"short":           {pack(t, nil)[:11], 0, false, 0},
		"empty":           {nil, 0, false, 0},
		"cut":             {pack(t, nil)[:20], dm.RCodeFormatError, true, 512},
		"no question":     {pack(t, func(m *dm.Message) { m.Questions = nil }), dm.RCodeFormatError, true, 512},
		"two questions":   {pack(t, func(m *dm.Message) { m.Questions = append(m.Questions, *first(m)) }), dm.RCodeFormatError, true, 512},
		"notify":          {pack(t, func(m *dm.Message) { m.OpCode = 4 }), dm.RCodeNotImplemented, true, 512},
		"any":             {pack(t, func(m *dm.Message) { first(m).Type = dm.TypeALL }), dm.RCodeRefused, true, 512},
		"transfer":        {pack(t, func(m *dm.Message) { first(m).Type = dm.TypeAXFR }), dm.RCodeRefused, true, 512},
		"chaos":           {pack(t, func(m *dm.Message) { first(m).Class = dm.ClassCHAOS }), dm.RCodeRefused, true, 512},
		"no recursion":    {pack(t, func(m *dm.Message) { m.RecursionDesired = false }), dm.RCodeRefused, true, 512},
		"more than there": {append(pack(t, nil)[:11:11], append([]byte{9}, pack(t, nil)[12:]...)...), dm.RCodeFormatError, true, 512},
	} {
		q, code, answer := parseQuery(c.b)
		if code != c.code || answer != c.answer || q.size != c.size {
			t.Errorf("%s: %v, answer %v, size %d, want %v, %v, %d", name, code, answer, q.size, c.code, c.answer, c.size)
		}
	}
	q, _, _ := parseQuery(pack(t, func(m *dm.Message) {
		m.CheckingDisabled = true
		m.Additionals = []dm.Resource{edns(900, true)}
	}))
	if want := (key{"name.example.", dm.TypeA, true, true}); q.key != want || q.id != 77 {
		t.Errorf("key %+v, id %d, want %+v", q.key, q.id, want)
	}
}

func a(name string, ttl uint32, last byte) dm.Resource {
	return dm.Resource{
		Header: dm.ResourceHeader{Name: dm.MustNewName(name), Type: dm.TypeA, Class: dm.ClassINET, TTL: ttl},
		Body:   &dm.AResource{A: [4]byte{192, 0, 2, last}},
	}
}

func cname(name, to string, ttl uint32) dm.Resource {
	return dm.Resource{
		Header: dm.ResourceHeader{Name: dm.MustNewName(name), Type: dm.TypeCNAME, Class: dm.ClassINET, TTL: ttl},
		Body:   &dm.CNAMEResource{CNAME: dm.MustNewName(to)},
	}
}

func soa(ttl, minimum uint32) dm.Resource {
	return dm.Resource{
		Header: dm.ResourceHeader{Name: dm.MustNewName("example."), Type: dm.TypeSOA, Class: dm.ClassINET, TTL: ttl},
		Body:   &dm.SOAResource{NS: dm.MustNewName("ns.example."), MBox: dm.MustNewName("m.example."), MinTTL: minimum},
	}
}

// response makes a name server's answer.
func response(code dm.RCode, answers, authorities []dm.Resource) *dm.Message {
	return &dm.Message{Header: dm.Header{Response: true, RCode: code}, Answers: answers, Authorities: authorities}
}

func TestAnswer(t *testing.T) {
	var many []dm.Resource
	for i := range 70 {
		many = append(many, a("name.example.", 60, byte(i)))
	}
	from := response(0, many, nil)
	for _, c := range []struct {
		name    string
		edns    int
		limit   int // 0: that of the query
		records int
		cut     bool
	}{
		{"plain UDP", 0, 0, 0, true},
		{"EDNS", 4096, 0, 70, false}, // 70 x 16 bytes
		{"EDNS too small", 600, 0, 0, true},
		{"TCP", 0, 65535, 70, false},
	} {
		q, _, _ := parseQuery(pack(t, func(m *dm.Message) {
			if c.edns != 0 {
				m.Additionals = []dm.Resource{edns(c.edns, true)}
			}
		}))
		limit := c.limit
		if limit == 0 {
			limit = q.size
		}
		b, err := q.answer(dm.RCodeSuccess, from, limit)
		var m dm.Message
		if err != nil || m.Unpack(b) != nil || len(b) > limit {
			t.Fatalf("%s: %d bytes, %v", c.name, len(b), err)
		}
		if len(m.Answers) != c.records || m.Truncated != c.cut || m.ID != 77 || !m.Response || !m.RecursionAvailable || m.AuthenticData ||
			m.Questions[0].Name.String() != "Name.Example." || len(m.Additionals) != min(c.edns, 1) {
			t.Errorf("%s: %+v, %d records", c.name, m.Header, len(m.Answers))
		}
	}
	q, code, _ := parseQuery(pack(t, func(m *dm.Message) { r := edns(900, false); r.Header.TTL |= 1 << 16; m.Additionals = []dm.Resource{r} }))
	b, _ := q.answer(code, nil, q.size)
	var m dm.Message
	if m.Unpack(b) != nil || m.Additionals[0].Header.ExtendedRCode(m.RCode) != badVersion {
		t.Errorf("bad version: %+v", m)
	}
}

func TestParseAnswer(t *testing.T) {
	k := key{name: "name.example.", kind: dm.TypeA}
	right := func(m *dm.Message) {
		m.Response = true
		m.Answers = []dm.Resource{a("name.example.", 60, 1)}
	}
	with := func(f func(*dm.Message)) []byte { return pack(t, func(m *dm.Message) { right(m); f(m) }) }
	for name, c := range map[string]struct {
		b   []byte
		err error
	}{
		"right":          {with(func(*dm.Message) {}), nil},
		"other id":       {with(func(m *dm.Message) { m.ID++ }), errNotOurs},
		"a query":        {with(func(m *dm.Message) { m.Response = false }), errNotOurs},
		"other name":     {with(func(m *dm.Message) { m.Questions[0].Name = dm.MustNewName("other.example.") }), errNotOurs},
		"other type":     {with(func(m *dm.Message) { m.Questions[0].Type = dm.TypeAAAA }), errNotOurs},
		"other class":    {with(func(m *dm.Message) { m.Questions[0].Class = dm.ClassCHAOS }), errNotOurs},
		"no question":    {with(func(m *dm.Message) { m.Questions = nil }), errNotOurs},
		"other opcode":   {with(func(m *dm.Message) { m.OpCode = 4 }), errNotOurs},
		"too short":      {[]byte{0, 77}, errNotOurs},
		"cut in records": {with(func(*dm.Message) {})[:40], errMalformed},
		"old type": {with(func(m *dm.Message) {
			m.Answers[0].Header.Type = 9
			m.Answers[0].Body = &dm.UnknownResource{Type: 9, Data: []byte{0xc0, 12}}
		}), errMalformed},
	} {
		m, err := k.parseAnswer(c.b, 77)
		if !errors.Is(err, c.err) || (m == nil) != (c.err != nil) {
			t.Errorf("%s: %v, %v, want %v", name, m, err, c.err)
		}
	}
	m, _ := k.parseAnswer(with(func(m *dm.Message) {
		m.Answers[0].Header.TTL = 1 << 31
		m.Additionals = []dm.Resource{edns(1232, true)}
	}), 77)
	if m.Answers[0].Header.TTL != 0 || len(m.Additionals) != 0 {
		t.Errorf("TTL of 2^31 became %d; %d additional records", m.Answers[0].Header.TTL, len(m.Additionals))
	}
	if m, err := k.parseAnswer(with(func(m *dm.Message) { m.Truncated = true })[:40], 77); err != nil || !m.Truncated {
		t.Errorf("cut off, and says so: %v, %v", m, err)
	}
}

func TestLifetime(t *testing.T) {
	k := key{name: "name.example.", kind: dm.TypeA}
	alias := cname("name.example.", "other.example.", 20)
	for name, c := range map[string]struct {
		m    *dm.Message
		want time.Duration
	}{
		"least of the answers":     {response(0, []dm.Resource{a("name.example.", 60, 1), a("name.example.", 30, 2)}, nil), 30 * time.Second},
		"alias":                    {response(0, []dm.Resource{alias, a("other.example.", 60, 1)}, nil), 20 * time.Second},
		"authority":                {response(0, []dm.Resource{a("name.example.", 60, 1)}, []dm.Resource{soa(10, 5)}), 10 * time.Second},
		"zero":                     {response(0, []dm.Resource{a("name.example.", 0, 1)}, nil), 0},
		"very long":                {response(0, []dm.Resource{a("name.example.", 1<<31-1, 1)}, nil), longestTTL},
		"no name":                  {response(dm.RCodeNameError, nil, []dm.Resource{soa(600, 300)}), 300 * time.Second},
		"no name, TTL":             {response(dm.RCodeNameError, nil, []dm.Resource{soa(200, 300)}), 200 * time.Second},
		"no name, long":            {response(dm.RCodeNameError, nil, []dm.Resource{soa(1e6, 1e6)}), longestNo},
		"no name, no SOA":          {response(dm.RCodeNameError, nil, nil), 0},
		"alias to no name":         {response(dm.RCodeNameError, []dm.Resource{alias}, []dm.Resource{soa(600, 300)}), 20 * time.Second},
		"no data":                  {response(0, nil, []dm.Resource{soa(600, 300)}), 300 * time.Second},
		"no data, no SOA":          {response(0, nil, nil), 0},
		"alias to no data, no SOA": {response(0, []dm.Resource{alias}, nil), 0},
		"failure":                  {response(dm.RCodeServerFailure, nil, nil), failureTime},
		"cut off":                  {&dm.Message{Header: dm.Header{Truncated: true}, Answers: []dm.Resource{a("name.example.", 60, 1)}}, 0},
	} {
		if got := lifetime(k, c.m); got != c.want {
			t.Errorf("%s: %v, want %v", name, got, c.want)
		}
	}
}

func TestCacheTime(t *testing.T) {
	c := newCache(1 << 20)
	k := key{name: "name.example.", kind: dm.TypeA}
	const at = time.Hour
	m := response(0, []dm.Resource{a("name.example.", 30, 1)}, nil)
	m.Additionals = []dm.Resource{a("ns.example.", 5, 1)}
	c.put(k, m, at)
	for _, s := range []struct {
		after time.Duration
		ttl   uint32
	}{{0, 30}, {999 * time.Millisecond, 30}, {time.Second, 29}, {29*time.Second + 999*time.Millisecond, 1}} {
		got := c.get(k, at+s.after)
		if got == nil || got.Answers[0].Header.TTL != s.ttl {
			t.Fatalf("after %v: %+v, want TTL %d", s.after, got, s.ttl)
		}
		if s.ttl == 1 && got.Additionals[0].Header.TTL != 0 {
			t.Errorf("shorter TTL: %d, want 0", got.Additionals[0].Header.TTL)
		}
	}
	if got := c.get(key{name: "name.example.", kind: dm.TypeA, dnssec: true}, at); got != nil {
		t.Error("the answer of another key")
	}
	if got := c.get(k, at+30*time.Second); got != nil || c.used != 0 {
		t.Errorf("after its TTL: %+v, %d bytes used", got, c.used)
	}
	c.put(k, response(dm.RCodeNameError, nil, []dm.Resource{soa(600, 300)}), at)
	if got := c.get(k, at+100*time.Second); got == nil || got.RCode != dm.RCodeNameError || got.Authorities[0].Header.TTL != 500 {
		t.Errorf("negative: %+v", got)
	}
	if got := c.get(k, at+300*time.Second); got != nil {
		t.Error("negative answer outlived the SOA's minimum")
	}
}

func TestCacheSize(t *testing.T) {
	const most = 8000
	c := newCache(most)
	name := func(i int) key { return key{name: fmt.Sprintf("n%d.example.", i), kind: dm.TypeA} }
	for i := range 50 {
		c.put(name(i), response(0, []dm.Resource{a("name.example.", 60, 1)}, nil), 0)
		c.get(name(0), 0) // stays
		if c.used > most || len(c.of) != c.order.Len() {
			t.Fatalf("%d bytes of %d, %d and %d entries", c.used, most, len(c.of), c.order.Len())
		}
	}
	if c.get(name(0), 0) == nil || c.get(name(49), 0) == nil || c.get(name(1), 0) != nil {
		t.Error("not the one that was asked for least lately has gone")
	}
	for range 9 {
		c.put(name(0), response(0, []dm.Resource{a("name.example.", 60, 1)}, nil), 0)
	}
	for k := range c.of {
		c.drop(c.of[k])
	}
	if c.used != 0 {
		t.Errorf("empty, with %d bytes", c.used)
	}
	var many []dm.Resource
	for range 300 {
		many = append(many, a("name.example.", 60, 1))
	}
	if c.put(name(0), response(0, many, nil), 0); c.get(name(0), 0) != nil {
		t.Error("an answer that is too long")
	}
	none := newCache(0)
	if none.put(name(0), response(0, many[:1], nil), 0); none.get(name(0), 0) != nil {
		t.Error("a cache of no bytes remembers")
	}
}

func TestLimits(t *testing.T) {
	l := newLimits(10)
	at := time.Hour
	ask := func(from string, n int) (got int) {
		for range n {
			if l.take(netip.MustParseAddr(from), at) {
				got++
			}
		}
		return got
	}
	if got := ask("192.0.2.1", 100); got != 20 {
		t.Errorf("burst %d, want 20", got)
	}
	if got := ask("::ffff:192.0.2.1", 1); got != 0 {
		t.Error("mapped address counts apart")
	}
	if got := ask("192.0.2.2", 1); got != 1 {
		t.Error("another client is not answered")
	}
	if ask("2001:db8::1", 100); ask("2001:db8::2", 1) != 0 || ask("2001:db8:0:1::2", 1) != 1 {
		t.Error("a /64 is not one client")
	}
	at += 500 * time.Millisecond
	if got := ask("192.0.2.1", 100); got != 5 {
		t.Errorf("after half a second %d, want 5", got)
	}
	at += time.Hour
	if got := ask("192.0.2.1", 100); got != 20 {
		t.Errorf("after an hour %d, want 20", got)
	}
	for i := range 3 * mostClients {
		l.take(netip.AddrFrom4([4]byte{10, byte(i >> 16), byte(i >> 8), byte(i)}), at)
	}
	if len(l.of) != mostClients || l.order.Len() != mostClients {
		t.Errorf("%d clients are known, %d at most", len(l.of), mostClients)
	}
}

func FuzzQuery(f *testing.F) {
	f.Add(pack(f, nil))
	f.Add(pack(f, func(m *dm.Message) { m.Additionals = []dm.Resource{edns(4096, true)} }))
	f.Add([]byte{0, 1, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0xc0, 12, 0, 1, 0, 1})
	from := response(0, []dm.Resource{a("name.example.", 60, 1)}, nil)
	f.Fuzz(func(t *testing.T, b []byte) {
		q, code, ok := parseQuery(b)
		if !ok {
			return
		}
		out, err := q.answer(code, from, q.size)
		if err != nil || len(out) > q.size || q.size > ednsUDP {
			t.Fatalf("%d bytes, %d at most, %v", len(out), q.size, err)
		}
		if code == dm.RCodeSuccess {
			if again, err := q.key.ask(1, true); err != nil {
				t.Fatalf("cannot ask: %v", err)
			} else if _, code, ok := parseQuery(again); !ok || code != dm.RCodeSuccess {
				t.Fatalf("would not answer what it asks itself: %v", code)
			}
		}
	})
}

func FuzzAnswer(f *testing.F) {
	f.Add(pack(f, func(m *dm.Message) { m.Response = true; m.Answers = []dm.Resource{a("name.example.", 60, 1)} }))
	f.Add(pack(f, func(m *dm.Message) {
		m.Response = true
		m.Authorities = []dm.Resource{soa(1, 2), cname("a.", "b.", 3)}
		m.Additionals = []dm.Resource{edns(4096, true)}
	}))
	f.Fuzz(func(t *testing.T, b []byte) {
		k := key{name: "name.example.", kind: dm.TypeA}
		m, err := k.parseAnswer(b, 77)
		if err != nil {
			return
		}
		c := newCache(1 << 16)
		c.put(k, m, 0)
		got := c.get(k, 0)
		if got != nil && len(got.Answers) != len(m.Answers) {
			t.Fatalf("%d records remembered, %d were there", len(got.Answers), len(m.Answers))
		}
		q := query{size: plainUDP, key: k}
		if out, err := q.answer(m.RCode, m, q.size); err == nil && len(out) > q.size {
			t.Fatalf("%d bytes", len(out))
		}
	})
}

func TestLookupAsksOnce(t *testing.T) {
	var times atomic.Int32
	hold := make(chan struct{})
	s := newServer(config{cache: 1 << 20, rate: 1}, func(ctx context.Context, k key) (*dm.Message, error) {
		times.Add(1)
		<-hold
		return response(0, []dm.Resource{a(k.name, 60, 1)}, nil), nil
	}, func() time.Duration { return 0 })
	var all sync.WaitGroup
	for range 10 {
		all.Go(func() {
			var m dm.Message
			if m.Unpack(s.reply(t.Context(), pack(t, nil), 0)) != nil || len(m.Answers) != 1 {
				t.Errorf("answer %+v", m)
			}
		})
	}
	close(hold)
	all.Wait()
	if times.Load() != 1 {
		t.Errorf("asked %d times", times.Load())
	}
}

func TestFailureIsRemembered(t *testing.T) {
	times, now := 0, time.Duration(0)
	s := newServer(config{cache: 1 << 20, rate: 1}, func(context.Context, key) (*dm.Message, error) {
		times++
		return nil, errNoServers
	}, func() time.Duration { return now })
	for range 2 {
		var m dm.Message
		if m.Unpack(s.reply(t.Context(), pack(t, nil), 0)) != nil || m.RCode != dm.RCodeServerFailure || m.ID != 77 {
			t.Errorf("answer %+v", m)
		}
	}
	if now = failureTime; times != 1 {
		t.Errorf("asked %d times in a moment", times)
	}
	if s.reply(t.Context(), pack(t, nil), 0); times != 2 {
		t.Error("never asked again")
	}
}

// authority is a name server for tests at a port of its own: UDP and TCP.
func authority(t *testing.T, answer func(m *dm.Message, tcp bool) [][]byte) netip.AddrPort {
	t.Helper()
	l, u, err := cli.Listen("127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	at := l.Addr().(*net.TCPAddr).AddrPort()
	var all sync.WaitGroup
	t.Cleanup(func() { l.Close(); u.Close(); all.Wait() })
	all.Go(func() {
		for b := make([]byte, 4096); ; {
			n, from, err := u.ReadFromUDPAddrPort(b)
			if err != nil {
				return
			}
			var m dm.Message
			if m.Unpack(b[:n]) == nil {
				for _, out := range answer(&m, false) {
					u.WriteToUDPAddrPort(out, from)
				}
			}
		}
	})
	all.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			c.SetDeadline(time.Now().Add(patience))
			if b, err := readFrame(c, 4096); err == nil {
				var m dm.Message
				if m.Unpack(b) == nil {
					for _, out := range answer(&m, true) {
						writeFrame(c, out)
					}
				}
			}
			c.Close()
		}
	})
	return at
}

// patience is how long a test waits for what must come, by the clock, which goes on while the
// host stands still.
const patience = 5 * time.Minute

// start runs a server that asks an upstream.
func start(t *testing.T, upstream ...netip.AddrPort) (address string, end func() error) {
	t.Helper()
	s, err := listen(config{listen: "127.0.0.1:0", upstream: upstream, cache: 1 << 20, rate: 1000}, io.Discard)
	if err != nil {
		t.Fatal(err)
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
	return s.tcp.Addr().String(), end
}

// zone answers as a name server of example. would.
func zone(asked *atomic.Int32) func(m *dm.Message, tcp bool) [][]byte {
	return func(m *dm.Message, tcp bool) [][]byte {
		asked.Add(1)
		m.Response, m.Additionals = true, nil
		name := strings.ToLower(m.Questions[0].Name.String())
		switch {
		case name == "one.example." && m.Questions[0].Type == dm.TypeA:
			m.Answers = []dm.Resource{a(name, 60, 1)}
		case name == "one.example.":
			m.Authorities = []dm.Resource{soa(60, 60)}
		case name == "many.example." && !tcp:
			m.Truncated = true
		case name == "many.example.":
			for i := range 200 {
				m.Answers = append(m.Answers, a(name, 60, byte(i)))
			}
		default:
			m.RCode, m.Authorities = dm.RCodeNameError, []dm.Resource{soa(60, 60)}
		}
		b, _ := m.Pack()
		// In front of it: one with another id, one to another question.
		m.ID++
		wrong, _ := m.Pack()
		m.ID--
		m.Questions[0].Name = dm.MustNewName("evil.example.")
		evil, _ := m.Pack()
		if tcp {
			return [][]byte{b}
		}
		return [][]byte{wrong, evil, b}
	}
}

func TestServe(t *testing.T) {
	// The upstream is asked once, however long the host stops it.
	before := tryTime
	tryTime = askTime
	t.Cleanup(func() { tryTime = before })
	var asked atomic.Int32
	address, end := start(t, authority(t, zone(&asked)))
	r := &net.Resolver{PreferGo: true, Dial: func(ctx context.Context, network, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, network, address)
	}}
	for range 3 {
		if got, err := r.LookupNetIP(t.Context(), "ip4", "one.example."); err != nil || len(got) != 1 || got[0] != netip.MustParseAddr("192.0.2.1") {
			t.Fatalf("one.example: %v, %v", got, err)
		}
	}
	if n := asked.Load(); n != 1 {
		t.Errorf("asked %d times for what it could remember", n)
	}
	if got, err := r.LookupNetIP(t.Context(), "ip4", "many.example."); err != nil || len(got) != 200 {
		t.Errorf("many.example: %d addresses, %v", len(got), err)
	}
	var e *net.DNSError
	if _, err := r.LookupNetIP(t.Context(), "ip4", "none.example."); !errors.As(err, &e) || !e.IsNotFound {
		t.Errorf("none.example: %v", err)
	}
	if err := end(); err != nil {
		t.Error(err)
	}
}

func TestNextServerIsAsked(t *testing.T) {
	var asked atomic.Int32
	refuses := authority(t, func(m *dm.Message, tcp bool) [][]byte {
		m.Response, m.RCode = true, dm.RCodeRefused
		b, _ := m.Pack()
		return [][]byte{b}
	})
	old := authority(t, func(m *dm.Message, tcp bool) [][]byte {
		if len(m.Additionals) > 0 { // EDNS
			m.Response, m.RCode, m.Additionals = true, dm.RCodeFormatError, nil
			b, _ := m.Pack()
			return [][]byte{b}
		}
		return zone(&asked)(m, tcp)
	})
	u := &upstream{fixed: []netip.AddrPort{refuses, old}}
	m, err := u.ask(t.Context(), key{name: "one.example.", kind: dm.TypeA})
	if err != nil || len(m.Answers) != 1 {
		t.Errorf("%+v, %v", m, err)
	}
	if _, err := (&upstream{path: "/nosuch"}).ask(t.Context(), key{name: "one.example.", kind: dm.TypeA}); !errors.Is(err, errNoServers) {
		t.Errorf("no servers: %v", err)
	}
}

// TestStockClient asks with dig.
func TestStockClient(t *testing.T) {
	dig, err := exec.LookPath("dig")
	if err != nil {
		t.Skip("dig is not installed")
	}
	var asked atomic.Int32
	address, _ := start(t, authority(t, zone(&asked)))
	host, port, _ := net.SplitHostPort(address)
	for _, c := range []struct{ args, want string }{
		{"one.example A +short", "192.0.2.1\n"},
		{"one.example A +tcp +noedns +short", "192.0.2.1\n"},
		{"one.example AAAA", "status: NOERROR"},
		{"none.example A", "status: NXDOMAIN"},
		{"one.example ANY +notcp", "status: REFUSED"},
		{"one.example AXFR", "Transfer failed"},
		{"version.bind TXT -c CH", "status: REFUSED"},
		{"one.example A +norecurse", "status: REFUSED"},
		{"one.example A +edns=1 +noednsnegotiation", "status: BADVERS"},
		{"many.example A +ignore", "flags: qr tc rd ra"},
		{"many.example A", "ANSWER: 200"},
		{"one.example A +noedns +opcode=notify", "status: NOTIMP"},
	} {
		args := append([]string{"@" + host, "-p", port, "+tries=1", fmt.Sprintf("+timeout=%d", int(patience.Seconds()))}, strings.Fields(c.args)...)
		out, _ := exec.CommandContext(t.Context(), dig, args...).CombinedOutput()
		if !strings.Contains(string(out), c.want) || strings.Contains(string(out), "WARNING") {
			t.Errorf("dig %s: want %q in\n%s", c.args, c.want, out)
		}
	}
}
