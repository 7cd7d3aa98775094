package shell

import (
	"bytes"
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"net/netip"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/sluice-os/sluice/kernel/host/netinfo"
)

var update = flag.Bool("update", false, "rewrite the golden files")

// fakePinger answers every second request, or none.
type fakePinger struct {
	to      netip.Addr
	hang    bool
	started chan struct{}
}

var errNoReply = errors.New("no reply")

func (p *fakePinger) Ping(ctx context.Context, seq uint16, _ time.Duration) (netinfo.Echo, error) {
	if p.hang {
		close(p.started)
		<-ctx.Done()
		return netinfo.Echo{}, ctx.Err()
	}
	if seq%2 == 0 {
		return netinfo.Echo{}, errNoReply
	}
	return netinfo.Echo{From: p.to, Sequence: seq, Bytes: 64, TTL: 64, RTT: time.Duration(seq) * 123 * time.Microsecond}, nil
}

func (p *fakePinger) Close() {}

// fakeRouting says what it was asked for.
type fakeRouting struct{}

func (fakeRouting) Show(w io.Writer, words []string, asJSON bool) error {
	_, err := fmt.Fprintln(w, words, asJSON)
	return err
}

func (fakeRouting) Configure(words []string) error { return fmt.Errorf("isis: not taken: %v", words) }

func fakeSystem() System {
	addr := netip.MustParseAddr
	return System{
		Links: func() []netinfo.Link {
			return []netinfo.Link{
				{Index: 1, Name: "lo", Loopback: true, Up: true, MTU: 65536},
				{Index: 2, Name: "eth0", Up: true, MTU: 1500, MAC: "52:54:00:12:34:56",
					Driver: "virtio-net", Location: "mmio@feb02e00", Offloads: []string{"tx-checksum", "tso4"},
					Groups: []string{"01:00:5e:00:00:01", "33:33:00:00:00:01"}},
				{Index: 3, Name: "eth1", MTU: 1500, MAC: "52:54:00:12:34:57", Driver: "virtio-net", Location: "pci 00:03.0",
					Groups: []string{"33:33:00:00:00:01"}, AllGroups: true},
			}
		},
		Addresses: func() []netinfo.Address {
			return []netinfo.Address{
				{Link: "lo", Prefix: netip.MustParsePrefix("127.0.0.1/8"), Valid: netinfo.Forever, Preferred: netinfo.Forever},
				{Link: "eth0", Prefix: netip.MustParsePrefix("192.0.2.5/24"), Broadcast: addr("192.0.2.255"),
					Dynamic: true, Valid: time.Hour, Preferred: 30 * time.Minute},
				{Link: "eth0", Prefix: netip.MustParsePrefix("fe80::1/64"), Valid: netinfo.Forever, Preferred: netinfo.Forever},
			}
		},
		Routes: func() []netinfo.Route {
			return []netinfo.Route{
				{Destination: netip.MustParsePrefix("0.0.0.0/0"), Gateway: addr("192.0.2.1"), Link: "eth0", Protocol: "dhcp", Source: addr("192.0.2.5")},
				{Destination: netip.MustParsePrefix("192.0.2.0/24"), Link: "eth0", Protocol: "kernel", Source: addr("192.0.2.5")},
				{Destination: netip.MustParsePrefix("::/0"), Gateway: addr("fe80::2"), Link: "eth0", Protocol: "ra"},
				{Destination: netip.MustParsePrefix("fe80::/64"), Link: "eth0", Protocol: "kernel"},
			}
		},
		Neighbours: func() []netinfo.Neighbour {
			return []netinfo.Neighbour{
				{Address: addr("192.0.2.1"), Link: "eth0", MAC: "52:55:0a:00:02:02", State: "REACHABLE"},
				{Address: addr("192.0.2.9"), Link: "eth0", State: "INCOMPLETE"},
			}
		},
		Statistics: func() []netinfo.Group {
			return []netinfo.Group{
				{Name: "Ip", Lines: []netinfo.Line{{Value: 12, Text: "total packets received"}}},
				{Name: "Tcp", Lines: []netinfo.Line{{Value: 3, Text: "passive connection openings"}}},
			}
		},
		Counters: func() []netinfo.Counter {
			return []netinfo.Counter{{Name: "rx_frames", Value: 7}, {Name: "host_rx_drop_short", Value: 0}}
		},
		Lookup: func(_ context.Context, name string) ([]netip.Addr, error) {
			if name == "www.example.org" {
				return []netip.Addr{addr("2001:db8::1"), addr("192.0.2.1")}, nil
			}
			a, err := netip.ParseAddr(name)
			if err != nil {
				return nil, fmt.Errorf("%s: no such host", name)
			}
			return []netip.Addr{a}, nil
		},
		NewPinger: func(to netip.Addr) (Pinger, error) {
			if to.String() == "198.51.100.1" {
				return nil, errors.New("network is unreachable")
			}
			return &fakePinger{to: to}, nil
		},
		Memory: func(_, audit bool) Memory {
			m := Memory{
				Total: 62 << 20, Used: 18 << 20, Free: 44 << 20, HeapInUse: 3 << 20, HeapReserved: 8 << 20, Collections: 4, Goroutines: 21,
				RAM:     64 << 20,
				Owners:  []Owner{{"firmware", 2 << 20}, {"go heap", 8 << 20}, {"domain memory", 10 << 20}, {"free", 44 << 20}, {"nobody", 0}},
				Regions: []string{"RINGS", "LARGE"},
				Domains: []Charge{{"web", 4 << 10, 9 << 20, 12 << 10, 40 << 10, []uint64{4 << 10, 1 << 20}, 10 << 20, 11 << 20, 16 << 20}},
				Audited: audit,
			}
			if audit {
				m.Problems = []string{`domain "web": its charges are not what it has`}
			}
			return m
		},
		Log: func() []string { return []string{"[0.001] boot", "[0.120] link up"} },
		PCI: func() []PCIDevice {
			return []PCIDevice{
				{Address: "00:00.0", Class: "Host bridge", Vendor: 0x8086, Device: 0x29c0},
				{Address: "00:02.0", Class: "Ethernet controller", Vendor: 0x1af4, Device: 0x1041, Revision: 1, Driver: "virtio-net", Interrupts: "MSI-X"},
			}
		},
		Routing:  fakeRouting{},
		Domains:  &fakeDomains{},
		Uptime:   func() time.Duration { return 26*time.Hour + 3*time.Minute + 4*time.Second },
		Idled:    func() time.Duration { return 13 * time.Hour },
		PowerOff: func() error { return errors.New("no power button") },
		Reboot:   func() error { return errors.New("no reset line") },
	}
}

// pingTime is what of ping's output depends on the clock.
var pingTime = regexp.MustCompile(`time \d+ms`)

func TestCommands(t *testing.T) {
	for name, line := range map[string]string{
		"help":          "help",
		"ip-addr":       "ip addr",
		"ip-route":      "ip r",
		"ip-neigh":      "ip neigh show",
		"ip-link":       "ip link",
		"ip-maddr":      "ip maddr",
		"netstat":       "netstat -s",
		"ping":          "ping -c 2 www.example.org",
		"ping6":         "ping -c 1 2001:db8::1",
		"mem":           "mem",
		"mem-audit":     "mem -a",
		"mem-json":      "mem -a -g -j",
		"dmesg":         "dmesg",
		"pci":           "pci",
		"uptime":        "uptime",
		"uptime-json":   "uptime -j",
		"domains":       "domains",
		"domains-json":  "domains -j",
		"usage-domains": "domains all",
		"usage-domain":  "domain",
		"domain-absent": "domain stop nobody",
		"top-times":     "top -n none",
		"counters":      "counters",
		"poweroff":      "poweroff",
		"reboot":        "reboot",
		"unknown":       "rm -rf /",
		"usage-ip":      "ip bridge",
		"usage-netstat": "netstat",
		"usage-mem":     "mem all",
		"usage-ping":    "ping",
		"ping-count":    "ping -c 0 192.0.2.1",
		"ping-option":   "ping -f",
		"ping-name":     "ping nowhere",
		"ping-route":    "ping 198.51.100.1",
		"show-isis":     "show isis database detail -j",
		"router-isis":   "router isis level 7",
		"usage-show":    "show bgp summary",
		"usage-router":  "router isis",
	} {
		t.Run(name, func(t *testing.T) {
			var out bytes.Buffer
			New(nil, &out, fakeSystem()).Execute(context.Background(), line)
			got := strings.ReplaceAll(out.String(), "\r\n", "\n")
			got = pingTime.ReplaceAllString(got, "time Nms")
			file := filepath.Join("testdata", name+".golden")
			if *update {
				if err := os.WriteFile(file, []byte(got), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			if got != string(want) {
				t.Errorf("%q printed\n%swant\n%s", line, got, want)
			}
		})
	}
}

// TestAbsent runs every command on a machine that has nothing.
func TestAbsent(t *testing.T) {
	for _, line := range []string{"ip addr", "ip route", "ip neigh", "ip link", "ip maddr", "netstat -s", "ping 192.0.2.1",
		"mem", "dmesg", "pci", "uptime", "counters", "domains", "domain stop x", "top", "poweroff", "reboot"} {
		var out bytes.Buffer
		New(nil, &out, System{}).Execute(context.Background(), line)
		if !strings.Contains(out.String(), "not available") {
			t.Errorf("%s: %q", line, out.String())
		}
	}
}

// session types keys and returns all that was printed.
func session(t *testing.T, keys string, sys System) string {
	t.Helper()
	var out bytes.Buffer
	if err := New(strings.NewReader(keys), &out, sys).Run(context.Background()); err != nil {
		t.Fatal(err)
	}
	return out.String()
}

func TestEditor(t *testing.T) {
	sys := fakeSystem()
	const answer = "up 1 day, 02:03:04, 50 % idle\r\n"
	for _, tt := range []struct {
		name, keys string
		answers    int
	}{
		{"return", "uptime\r", 1},
		{"line feed", "uptime\n", 1},
		{"CR LF is one line end", "uptime\r\nuptime\r\n", 2},
		{"backspace", "uptix\bme\r", 1},
		{"delete", "uptix\x7fme\r", 1},
		{"backspace at the start", "\b\b\x7fuptime\r", 1},
		{"kill", "garbage\x15uptime\r", 1},
		{"interrupt", "garbage\x03uptime\r", 1},
		{"control and high bytes", "\x00\x01u\xffp\xc3\xa4ti\x0eme\r", 1},
		{"history up", "uptime\r\x1b[A\r", 2},
		{"history up twice, down", "mem\ruptime\r\x1b[A\x1b[A\x1b[B\r", 2},
		{"history down to the new line", "uptime\r\x1b[A\x1b[B\r", 1},
		{"history up at the start", "\x1b[A\x1bOAuptime\r", 1},
		{"other sequences", "\x1b[3~up\x1b[1;5Ctime\r", 1},
		{"broken sequence", "\x1bxuptime\r", 1},
		{"tab is a blank", "\tuptime\t\r", 1},
		{"empty lines", "\r\r\n\n uptime \r", 1},
	} {
		if got := strings.Count(session(t, tt.keys, sys), answer); got != tt.answers {
			t.Errorf("%s: %d answers, want %d, in %q", tt.name, got, tt.answers, session(t, tt.keys, sys))
		}
	}
}

func TestOverlongLineIsRefused(t *testing.T) {
	out := session(t, strings.Repeat("x", lineMax+1)+"\ruptime\r", fakeSystem())
	if !strings.Contains(out, "line too long") || strings.Contains(out, "unknown command") || !strings.Contains(out, "up 1 day") {
		t.Errorf("printed %q", out)
	}
	out = session(t, "uptime"+strings.Repeat(" ", lineMax-6)+"\r", fakeSystem())
	if !strings.Contains(out, "up 1 day") {
		t.Errorf("the longest line printed %q", out)
	}
}

func TestHistoryIsBounded(t *testing.T) {
	var e editor
	e.echo = io.Discard
	for i := range 3 * historyMax {
		for _, b := range []byte(fmt.Sprintf("line %d\r", i)) {
			e.key(b)
		}
		e.prompt()
	}
	if len(e.history) != historyMax || e.history[historyMax-1] != fmt.Sprintf("line %d", 3*historyMax-1) {
		t.Errorf("history %q", e.history)
	}
}

func TestInterruptEndsPing(t *testing.T) {
	sys := fakeSystem()
	started := make(chan struct{})
	sys.NewPinger = func(to netip.Addr) (Pinger, error) { return &fakePinger{to: to, hang: true, started: started}, nil }
	keys, console := io.Pipe()
	var out bytes.Buffer
	done := make(chan error)
	s := New(keys, &out, sys)
	go func() { done <- s.Run(context.Background()) }()
	io.WriteString(console, "ping 192.0.2.1\r")
	<-started
	io.WriteString(console, "typed before\x03uptime\r")
	console.Close()
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	got := out.String()
	if !strings.Contains(got, "0 packets transmitted, 0 received") || !strings.Contains(got, "up 1 day") ||
		strings.Contains(got, "typed") {
		t.Errorf("printed %q", got)
	}
}

func TestRunEndsWithTheContext(t *testing.T) {
	keys, console := io.Pipe()
	defer console.Close()
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error)
	go func() { done <- New(keys, io.Discard, System{}).Run(ctx) }()
	io.WriteString(console, "upt")
	cancel()
	if err := <-done; err != context.Canceled {
		t.Error(err)
	}
}

func FuzzConsole(f *testing.F) {
	f.Add([]byte("ip addr\r\nping -c 1 192.0.2.1\r\x1b[A\x1b[B\x15\x03\b"))
	sys := fakeSystem()
	sys.NewPinger = func(netip.Addr) (Pinger, error) { return nil, errors.New("not while fuzzing") }
	f.Fuzz(func(t *testing.T, keys []byte) {
		var out bytes.Buffer
		if err := New(bytes.NewReader(keys), &out, sys).Run(context.Background()); err != nil {
			t.Fatal(err)
		}
		for _, b := range out.Bytes() {
			if b < ' ' && b != '\r' && b != '\n' && b != '\b' && b != '\t' || b >= 0x7f {
				t.Fatalf("byte %#x came back to the terminal", b)
			}
		}
	})
}
