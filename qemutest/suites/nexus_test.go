package suites

import (
	"bytes"
	"context"
	"crypto/sha256"
	"crypto/tls"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/sluice-os/sluice/image/build"
	"github.com/sluice-os/sluice/image/qemu"
	"github.com/sluice-os/sluice/kernel/domain/restart"
	"github.com/sluice-os/sluice/qemutest"
)

// serverDomain is a domain with the test's server, which may do what it says.
func serverDomain(t *testing.T, name string, listen, connect []string, args ...string) build.Program {
	t.Helper()
	d := domainOf(name, programFor(t, "server"))
	d.Quota = 48 << 20
	d.Args, d.Listen, d.Connect = args, listen, connect
	return d
}

// does has a domain's server do what a command says, and wants an answer that matches as a whole.
func does(t *testing.T, vm *qemutest.VM, name, command, want string) {
	t.Helper()
	at := len(vm.Output())
	vm.Command(t, "domain send "+name+" "+command)
	if said := said(t, vm, at, name, command); !regexp.MustCompile("^(?:" + want + ")$").MatchString(said) {
		t.Fatalf("%s: %s: %s, want %s", name, command, said, want)
	}
}

// said waits until a domain's server has answered a command, behind an offset of the console, and
// returns what it says of it.
func said(t *testing.T, vm *qemutest.VM, at int, name, command string) string {
	t.Helper()
	if w := strings.Fields(command); len(w) > 2 && slices.Contains([]string{"bind", "dial", "hold", "listen"}, w[0]) {
		command = w[0] + " " + w[2] // of these it repeats the address only
	}
	return strings.TrimSpace(vm.Times(t, at, regexp.QuoteMeta(name+": "+command)+":? (.*)", 1)[1])
}

// clientTime is how long a request may take: as long as a machine may run.
const clientTime = 10 * time.Minute

// client gives up on a machine that does not answer.
var client = &http.Client{
	Timeout: clientTime,
	Transport: &http.Transport{
		TLSClientConfig:   &tls.Config{InsecureSkipVerify: true}, // the machine makes its certificate itself
		ForceAttemptHTTP2: true,
	},
}

func fetch(t *testing.T, url string) []byte {
	t.Helper()
	r, err := client.Get(url)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Body.Close()
	body, err := io.ReadAll(r.Body)
	if err != nil {
		t.Fatal(err)
	}
	return body
}

// TestDomainNetwork runs an ordinary network program in a domain on each board:
// HTTP, TCP and UDP from outside, and what its manifest does and does not permit.
func TestDomainNetwork(t *testing.T) {
	for _, machine := range machines {
		t.Run(machine, func(t *testing.T) {
			d := serverDomain(t, "server", []string{"tcp/80", "tcp/7", "udp/7", "udp/8"}, []string{"udp/10.0.2.3:53"}, "http/80", "tcp/7", "udp/7", "ttl/8")
			vm := start(t, qemutest.Config{
				Machine: machine, Memory: 160, Image: imageWith(t, qemu.Machines[machine], d),
				Net: qemutest.UserNet, Forward: []string{"tcp/80", "tcp/7", "udp/7", "udp/8"},
			})
			vm.Seen(t, "server: serving")
			vm.Seen(t, "address acquired")
			url := "http://" + vm.Forwarded(t, "tcp/80")
			for range 20 {
				if got := fetch(t, url+"/hello"); string(got) != "hello\n" {
					t.Fatalf("/hello is %q", got)
				}
			}
			const n = 5_000_000
			got := fetch(t, url+fmt.Sprintf("/bytes/%d", n))
			for i := range got {
				if got[i] != byte(i%(64<<10)*7) {
					t.Fatalf("byte %d of the download is wrong", i)
				}
			}
			if len(got) != n {
				t.Errorf("%d of %d bytes came", len(got), n)
			}
			up := bytes.Repeat([]byte("0123456789abcdef"), 200_000)
			r, err := client.Post(url+"/sum", "", bytes.NewReader(up))
			if err != nil {
				t.Fatal(err)
			}
			sum, _ := io.ReadAll(r.Body)
			r.Body.Close()
			if want := fmt.Sprintf("%x", sha256.Sum256(up)); string(sum) != want {
				t.Errorf("the upload arrived as %s, want %s", sum, want)
			}
			echoes(t, "tcp", vm.Forwarded(t, "tcp/7"))
			echoes(t, "udp", vm.Forwarded(t, "udp/7"))
			echoes(t, "udp", vm.Forwarded(t, "udp/8")) // with a TTL and a type of service of its own

			for _, c := range []struct{ line, want string }{
				{"listen tcp :81", "listen tcp :81: bind: permission denied"},
				{"listen tcp :80", "listen tcp :80: bind: address already in use"},
				{"listen tcp 127.0.0.1:81", "ok"},
				{"dial tcp 10.0.2.2:9", "dial tcp 10.0.2.2:9: connect: permission denied"},
				{"ping 10.0.2.2", "ok"},
				{"dial tcp 127.0.0.1:1", "dial tcp 127.0.0.1:1: connect: connection refused"},
				{"addresses", `\[127\.0\.0\.1/8 ::1/128 .*10\.0\.2\.15/24.*`},
			} {
				does(t, vm, "server", c.line, c.want)
			}
			for _, c := range []struct{ line, want string }{
				{"netstat --channels", "server"}, {"flows", "listen"}, {"rings", "alloc"}, {"pools", "large buffers"},
				{"ss", "established"},
			} {
				if text := vm.Command(t, c.line); !strings.Contains(text, c.want) {
					t.Errorf("%s printed %q, want %q in it", c.line, text, c.want)
				}
				var rows []struct{ Domain, Owner string }
				text := vm.Command(t, c.line+" -j")
				if err := json.Unmarshal([]byte(jsonLine(text)), &rows); err != nil {
					t.Errorf("%s -j printed %q: %v", c.line, text, err)
				}
				if !slices.ContainsFunc(rows, func(r struct{ Domain, Owner string }) bool { return r.Domain == "server" || r.Owner == "server" }) {
					t.Errorf("%s -j has no row of the domain: %q", c.line, text)
				}
			}
			powerOff(t, vm)
		})
	}
}

// echoes sends a few messages and wants them back.
func echoes(t *testing.T, network, address string) {
	t.Helper()
	c, err := net.Dial(network, address)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	ctx, cancel := context.WithTimeout(t.Context(), clientTime)
	defer cancel()
	c.SetDeadline(time.Now().Add(clientTime))
	for i := range 50 {
		out := []byte(fmt.Sprintf("message %d", i))
		if i%10 == 9 {
			out = bytes.Repeat(out, 300) // in fragments, over UDP
		}
		if network == "udp" {
			exchange(t, ctx, c, len(out)+i) // each of another size
			continue
		}
		if _, err := c.Write(out); err != nil {
			t.Fatal(err)
		}
		in := make([]byte, len(out))
		if _, err := io.ReadFull(c, in); err != nil || !bytes.Equal(in, out) {
			t.Fatalf("%s echo %d: %q, %v", network, i, in, err)
		}
	}
}

// TestCrashingNeighbour has one domain crash in a loop while another serves: none
// of its requests may fail.
func TestCrashingNeighbour(t *testing.T) {
	const requests = 10_000
	good := serverDomain(t, "good", []string{"tcp/80"}, nil, "http/80")
	bad := serverDomain(t, "bad", []string{"tcp/81"}, nil, "http/81")
	bad.Policy = restart.Always
	vm := start(t, qemutest.Config{
		Memory: 256, Image: imageWith(t, "microvm", good, bad), Append: "log=warn",
		Net: qemutest.UserNet, Forward: []string{"tcp/80"},
	})
	vm.Seen(t, "good: serving")
	url := "http://" + vm.Forwarded(t, "tcp/80") + "/hello"
	stop := make(chan struct{})
	var wg sync.WaitGroup
	crashes, seen := 0, 0
	wg.Go(func() {
		for {
			select {
			case <-stop:
				return
			default:
				vm.Times(t, seen, "bad: serving", 1)
				seen = len(vm.Output()) // it does not serve again before it is told to crash
				vm.Type(t, "domain send bad crash\n")
				crashes++
			}
		}
	})
	var clients sync.WaitGroup
	for range 4 {
		clients.Go(func() {
			for range requests / 4 {
				r, err := client.Get(url)
				if err != nil {
					t.Error(err)
					return
				}
				body, err := io.ReadAll(r.Body)
				r.Body.Close()
				if err != nil || string(body) != "hello\n" {
					t.Errorf("%q, %v", body, err)
					return
				}
			}
		})
	}
	clients.Wait()
	close(stop)
	wg.Wait()
	if crashes < 3 {
		t.Errorf("the neighbour crashed %d times", crashes)
	}
	t.Logf("%d requests beside %d crashes", requests, crashes)
}

// TestDomainPings has a domain send echo requests of both families from sockets of its own.
func TestDomainPings(t *testing.T) {
	d := serverDomain(t, "a", nil, nil)
	vm := start(t, qemutest.Config{Memory: 160, Image: imageWith(t, "microvm", d), Net: qemutest.RawWire, Append: "ip6=2001:db8:2::99/64"})
	peer := vm.Peer(t, qemutest.PeerConfig{})
	vm.Seen(t, "a: serving")
	vm.Seen(t, "dhcp: address acquired")
	peer.Ping(t, netip.MustParseAddr("2001:db8:2::99"))
	for _, to := range []string{"10.0.2.2", "2001:db8:2::2"} {
		does(t, vm, "a", "ping "+to, "ok")
	}
	powerOff(t, vm)
}

// TestTwoDomainsTalk has one domain dial another by the machine's own address.
func TestTwoDomainsTalk(t *testing.T) {
	a := serverDomain(t, "a", []string{"tcp/7", "udp/7", "tcp/8"}, nil, "tcp/7", "udp/7", "mutual/8")
	b := serverDomain(t, "b", nil, []string{"tcp/10.0.2.15:7", "tcp/10.0.2.15:8", "udp/10.0.2.15:7", "udp/10.0.2.3:53", "tcp/[fe80::/10]:7", "udp/[fe80::/10]:7"})
	vm := start(t, qemutest.Config{Memory: 256, Image: imageWith(t, "microvm", a, b), Net: qemutest.UserNet})
	vm.Seen(t, "a: serving")
	vm.Seen(t, "b: serving")
	vm.Seen(t, "address acquired")
	for _, line := range []string{"tcp 10.0.2.15:7", "udp 10.0.2.15:7"} {
		does(t, vm, "b", "dial "+line, "ok")
	}
	does(t, vm, "b", "flood 10.0.2.15:7", "ok")
	// Each writes until nothing goes any more, both ways at once, before it reads: both are full.
	at := len(vm.Output())
	does(t, vm, "b", "mutual 10.0.2.15:8", "ok")
	vm.Times(t, at, "a: mutual: ok", 1)
	const link = "[fe80::5054:ff:fe12:3456%eth0]:7"
	for _, name := range []string{"a", "b"} {
		askUntil(t, vm, name, "addresses", "fe80::5054:ff:fe12:3456/64")
	}
	for _, network := range []string{"tcp", "udp"} {
		does(t, vm, "b", "dial "+network+" "+link, "ok")
	}
	powerOff(t, vm)
}

// TestDomainAndItsMachine has a domain use the kernel's services by the machine's own
// address, and the kernel those of a domain: its name server.
func TestDomainAndItsMachine(t *testing.T) {
	a := serverDomain(t, "a", []string{"udp/53", "tcp/81"}, []string{"tcp/10.0.2.15:*", "udp/10.0.2.15:*"}, "dns/53", "http/81")
	b := serverDomain(t, "b", nil, nil)
	vm := start(t, qemutest.Config{
		Memory: 256, Image: imageWith(t, "microvm", a, b), Net: qemutest.UserNet,
		Append: "ip=10.0.2.15/24,gw=10.0.2.2,dns=10.0.2.15",
	})
	vm.Seen(t, "a: serving")
	vm.Seen(t, "b: serving")
	for _, c := range []struct{ name, line, want string }{
		{"a", "dial tcp 10.0.2.15:7", "ok"},
		{"a", "flood 10.0.2.15:7", "ok"},
		{"a", "dial udp 10.0.2.15:7", "ok"},
		{"a", "get http://10.0.2.15/healthz", `"ok\\n": ok`},
		{"a", "dial tcp 10.0.2.15:99", "dial tcp 10.0.2.15:99: connect: connection refused"},
		{"a", "refused 10.0.2.15:99", ".*connection refused"},
		{"a", "ping 10.0.2.15", "ok"},
		{"b", "dial tcp 10.0.2.15:7", "dial tcp 10.0.2.15:7: connect: permission denied"},
	} {
		does(t, vm, c.name, c.line, c.want)
	}
	if text := pings(t, vm, "anything.example"); !strings.Contains(text, "PING anything.example (10.0.2.15)") {
		t.Errorf("ping printed %q", text)
	}
	powerOff(t, vm)
}

// TestRingSizes has a domain ask for sizes of rings, at the opening and afterwards, while
// its packets pass.
func TestRingSizes(t *testing.T) {
	a := serverDomain(t, "a", []string{"tcp/7"}, nil, "tcp/7")
	a.Env = []string{"SLUICE_RINGS=rx=256 tx=32"}
	b := serverDomain(t, "b", nil, []string{"tcp/10.0.2.15:7"})
	c := serverDomain(t, "c", nil, nil, "udp/9")
	c.Env = []string{"SLUICE_RINGS=rx=100"}
	vm := start(t, qemutest.Config{Memory: 256, Image: imageWith(t, "microvm", a, b, c), Net: qemutest.UserNet})
	vm.Seen(t, "a: serving")
	vm.Seen(t, "b: serving")
	vm.Seen(t, `c: sluice: SLUICE_RINGS: the kernel refuses rings of these sizes: want powers of two`)
	vm.Seen(t, "address acquired")
	does(t, vm, "a", "channel", `{"rings":{"rx":{"slots":256,.*"tx":{"slots":32,.*"alloc":{"slots":256,.*`)
	does(t, vm, "b", "channel", `{"rings":{"rx":{"slots":1024,.*`)
	flooding := len(vm.Output())
	vm.Command(t, "domain send b flood 10.0.2.15:7")
	for i := 0; i < 40; i++ {
		words := fmt.Sprintf("resize rx=%d tx=%d alloc=%d free=%d", 64<<(i%5), 32<<(i%4), 128<<(i%3), 64<<(i%6))
		for _, name := range []string{"a", "b"} {
			vm.Command(t, "domain send "+name+" "+words)
		}
	}
	if how := said(t, vm, flooding, "b", "flood 10.0.2.15:7"); how != "ok" {
		t.Fatalf("the flood: %s", how)
	}
	// More may wait than would fit: that is no mistake.
	for _, name := range []string{"a", "b"} {
		vm.Times(t, 0, name+`: resize .*: (ok|write /proc/sluice/channel: device or resource busy)`, 40)
	}
	does(t, vm, "a", "resize tx=512 rx=2048", "ok")
	does(t, vm, "a", "resize tx=100", "write /proc/sluice/channel: invalid argument")
	does(t, vm, "a", "resize slots", "write /proc/sluice/channel: invalid argument")
	does(t, vm, "a", "channel", `{"rings":{"rx":{"slots":2048,.*"tx":{"slots":512,.*"link":{"waited":\d+,"refused_full":\d+,.*"channels":1},"drops":{.*}}.*`)
	if text := vm.Command(t, "rings"); !regexp.MustCompile(`a +rx +2048`).MatchString(text) || !regexp.MustCompile(`a +tx +512`).MatchString(text) {
		t.Errorf("rings printed %q", text)
	}
	does(t, vm, "b", "dial tcp 10.0.2.15:7", "ok")
	powerOff(t, vm)
}

// TestFactsChange has the link go and come, over which a domain's connection lives, and
// the machine's address become another, which ends it.
func TestFactsChange(t *testing.T) {
	a := serverDomain(t, "a", []string{"tcp/7", "udp/7"}, nil, "tcp/7", "udp/7")
	vm := start(t, qemutest.Config{Memory: 160, Image: imageWith(t, "microvm", a), Net: qemutest.RawWire})
	peer := vm.Peer(t, qemutest.PeerConfig{DHCP: qemutest.Lease{Time: time.Minute, Renew: time.Second}})
	vm.Seen(t, "a: serving")
	vm.Seen(t, "dhcp: address acquired address=10.0.2.15/24")
	c := dial(t, vm, peer.Dial, "tcp", "10.0.2.15:7")
	echo(t, c, 1000)
	// The link came up before the domain had its channel, or was an event for it. One that waits
	// would stand for the next too.
	askUntil(t, vm, "a", "addresses", `10\.0\.2\.15/24`)
	const events = `"event":{"slots":\d+,"left":0}.*"events":%s,"events_lost":0`
	before := number(t, askUntil(t, vm, "a", "channel", fmt.Sprintf(events, `(\d+)`))[1])
	heard := func(n int) string { return fmt.Sprintf(events, strconv.Itoa(before+n)) }
	vm.SetLink(t, false)
	vm.Expect(t, "link down name=eth0")
	askUntil(t, vm, "a", "channel", heard(1))
	vm.SetLink(t, true)
	vm.Expect(t, "link up name=eth0")
	peer.Ping(t, peer.Address4())
	echo(t, c, 1000)
	askUntil(t, vm, "a", "channel", heard(2))

	next := netip.MustParseAddr("10.0.2.77")
	peer.DHCP.SetLease(qemutest.Lease{Address: next})
	vm.Times(t, 0, `a: echo: .*10\.0\.2\.15:7->10\.0\.2\.2:\d+: read: software caused connection abort`, 1)
	vm.Seen(t, "dhcp: address acquired address=10.0.2.77/24")
	peer.Ping(t, next)
	echo(t, dial(t, vm, peer.Dial, "tcp", "10.0.2.77:7"), 1000)
	if text := vm.Command(t, "flows"); strings.Contains(text, "10.0.2.15") {
		t.Errorf("flows of the old address are left:\n%s", text)
	}
	powerOff(t, vm)
}

// TestMonitor has a domain watch the network interface and the channels of its
// neighbours: it sees what they receive and send. Another one may not.
func TestMonitor(t *testing.T) {
	a := serverDomain(t, "a", []string{"udp/7"}, nil, "udp/7")
	b := serverDomain(t, "b", nil, nil)
	watcher := serverDomain(t, "watcher", nil, nil)
	watcher.Observe = true
	a.Pipes, b.Pipes = []string{"log"}, []string{"log"}
	vm := start(t, qemutest.Config{
		Memory: 320, Image: imageWith(t, "microvm", a, b, watcher),
		Net: qemutest.UserNet, Forward: []string{"udp/7"},
	})
	for _, name := range []string{"a", "b", "watcher"} {
		vm.Seen(t, name+": serving")
	}
	vm.Seen(t, "address acquired")
	ask := func(name, command, answer string) {
		t.Helper()
		does(t, vm, name, command, answer)
	}
	ask("a", "pipe open log", "ok")
	ask("b", "pipe open log", "ok")
	// channel returns the number of a domain's channel.
	channel := func(domain, nexus string) string {
		t.Helper()
		var list []struct {
			ID            int
			Domain, Nexus string
		}
		if err := json.Unmarshal([]byte(vm.Command(t, "netstat --channels -j")), &list); err != nil {
			t.Fatal(err)
		}
		for _, c := range list {
			if c.Domain == domain && c.Nexus == nexus {
				return fmt.Sprint(c.ID)
			}
		}
		t.Fatalf("%s has no channel of %s: %v", domain, nexus, list)
		return ""
	}
	network, log := channel("a", "network"), channel("b", "pipe log")
	ask("watcher", "monitor needle eth0", "ok")
	ask("watcher", "monitor needle "+network+" both 60", "ok")
	ask("watcher", "monitor needle "+log+" rx", "ok")
	ask("watcher", "monitor needle 9999", "write /dev/monitor: no such device or address")
	ask("watcher", "monitor needle "+channel("watcher", "monitor eth0"), "write /dev/monitor: no such device or address")
	ask("watcher", "monitor needle eth0 sideways", "write /dev/monitor: invalid argument")
	ask("b", "monitor needle eth0", "open /dev/monitor: no such file or directory")

	c := dial(t, vm, (&net.Dialer{}).DialContext, "udp", vm.Forwarded(t, "udp/7"))
	message := "hay hay needle hay"
	exchangeOf(t, vm.Context(), c, []byte(message))
	ask("a", "pipe write log a needle there", "ok")
	ip := 20 + 8 + len(message)
	for _, want := range []string{
		fmt.Sprintf(`kind 2 source 2 rx: "needle" at %d, (\d+) of \d+ bytes, lost 0`, 14+28+8),
		fmt.Sprintf(`kind 2 source 2 tx: "needle" at %d, %d of %d bytes, lost 0`, 14+28+8, 14+ip, 14+ip),
		fmt.Sprintf(`kind 1 source %s rx: "needle" at %d, %d of %d bytes, lost 0`, network, 28+8, ip, ip),
		fmt.Sprintf(`kind 1 source %s tx: "needle" at %d, %d of %d bytes, lost 0`, network, 28+8, ip, ip),
		fmt.Sprintf(`kind 1 source %s rx: "needle" at 2, 14 of 14 bytes, lost 0`, log),
	} {
		vm.Times(t, 0, "watcher: monitor: "+want, 1)
	}
	// What is watched may end, and who watches.
	vm.Command(t, "domain kill a")
	vm.Command(t, "domain kill watcher")
	vm.Times(t, 0, "domain ended domain=watcher", 1)
	if text := vm.Command(t, "netstat --channels"); strings.Contains(text, "monitor") || !strings.Contains(text, "pipe log") {
		t.Errorf("netstat printed %q", text)
	}
	powerOff(t, vm)
}

// TestPipe (bindupipekey) has two domains open both ends of a pipe, and lose one another.
func TestPipe(t *testing.T) {
	a, b, c := serverDomain(t, "a", nil, nil), serverDomain(t, "b", nil, nil), serverDomain(t, "c", nil, nil)
	a.Pipes, b.Pipes = []string{"other", "log"}, []string{"log"}
	c.Pipes = []string{"other"}
	for _, machine := range []string{"microvm", "pc"} {
		t.Run(machine, func(t *testing.T) {
			vm := start(t, qemutest.Config{Machine: machine, Memory: 256, Image: imageWith(t, machine, a, b, c)})
			for _, name := range []string{"a", "b", "c"} {
				vm.Seen(t, name+": serving")
			}
			counts := map[string]int{}
			seen := func(line string) {
				t.Helper()
				counts[line]++
				vm.Times(t, 0, regexp.QuoteMeta(line), counts[line])
			}
			ask := func(name, command, answer string) {
				t.Helper()
				does(t, vm, name, command, answer)
			}
			ask("a", "pipe open log", "ok")
			ask("a", "pipe write log early", "ok") // stays until there is somebody
			ask("a", "pipe open log", "open /dev/pipe/log: device or resource busy")
			ask("c", "pipe open log", "open /dev/pipe/log: no such file or directory")
			ask("b", "pipe open log", "ok")
			seen(`b: pipe log: 0 numbered, got "early"`)
			ask("b", "pipe write log answer", "ok")
			seen(`a: pipe log: 0 numbered, got "answer"`)
			ask("a", "pipe flood log 3000", "ok")
			ask("a", "pipe write log done", "ok")
			seen(`b: pipe log: 3000 numbered, got "done"`)
			if text := vm.Command(t, "netstat --channels -j"); strings.Count(text, `"too_long":0,"lost":0}`) < 2 {
				t.Errorf("netstat printed %q", text)
			}

			ask("b", "pipe close log", "ok")
			seen("a: pipe log: EOF")
			ask("a", "pipe write log x", "write /dev/pipe/log: broken pipe")
			ask("b", "pipe open log", "open /dev/pipe/log: device or resource busy") // a has the old one
			ask("a", "pipe close log", "ok")
			ask("b", "pipe open log", "ok")
			ask("a", "pipe open log", "ok")
			ask("b", "pipe write log again", "ok")
			seen(`a: pipe log: 0 numbered, got "again"`)
			vm.Command(t, "domain kill b")
			seen("a: pipe log: EOF")
			powerOff(t, vm)
		})
	}
}

// TestRoots has a program verify certificates with the authorities of the image.
func TestRoots(t *testing.T) {
	vm := start(t, qemutest.Config{Memory: 192, Image: imageWith(t, "microvm", serverDomain(t, "a", nil, nil))})
	vm.Seen(t, "a: serving")
	does(t, vm, "a", "roots", "ok")
	powerOff(t, vm)
}
