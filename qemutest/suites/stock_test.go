package suites

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/sluice-os/sluice/image/build"
	"github.com/sluice-os/sluice/image/manifest"
	"github.com/sluice-os/sluice/qemutest"
	"github.com/vishvananda/netlink"
	dm "golang.org/x/net/dns/dnsmessage"
	"golang.org/x/sys/unix"
)

// stockPrograms are the programs that TestStockClients runs. Without one its part
// is skipped.
var stockPrograms = []string{"curl", "wrk", "ab", "iperf3", "dig", "ping", "dumpcap", "tshark"}

// stockTime bounds a run of a program that hangs.
const stockTime = 10 * time.Minute

// stock is a command that ends with the test, or after stockTime.
func stock(t *testing.T, name string, args ...string) *exec.Cmd {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), stockTime)
	t.Cleanup(cancel)
	return program(t, ctx, name, args...)
}

// program is a command that lasts as long as the context; one that is not there skips the test.
func program(t *testing.T, ctx context.Context, name string, args ...string) *exec.Cmd {
	t.Helper()
	path, err := exec.LookPath(name)
	if err != nil {
		t.Skipf("%s is not installed", name)
	}
	cmd := exec.CommandContext(ctx, path, args...)
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	return cmd
}

// say runs a program and returns what it printed.
func say(t *testing.T, program string, args ...string) string {
	t.Helper()
	cmd := stock(t, program, args...)
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%s: %v\n%s", strings.Join(cmd.Args, " "), err, out)
	}
	return string(out)
}

// absent skips a subtest for each of the programs that is not there.
func absent(t *testing.T, programs []string) {
	for _, name := range programs {
		if _, err := exec.LookPath(name); err != nil {
			t.Run(name, func(t *testing.T) { t.Skipf("%s is not installed", name) })
		}
	}
}

// The addresses of the other family on the tap.
const (
	tapHost6  = "fd00:88::1/64"
	tapGuest6 = "fd00:88::2"
	// tapGuestLink is what the machine makes of stockMAC (RFC 4291, appendix A).
	tapGuestLink = "fe80::5054:ff:fe00:8802%" + tapName
)

// appsMemory is that of a machine with apps, in MiB.
const appsMemory = 256

// appsImage is an image with some of the apps of sluice.toml, and others.
func appsImage(t *testing.T, names []string, others ...manifest.Domain) string {
	t.Helper()
	root := filepath.Join("..", "..")
	m, err := manifest.Load(filepath.Join(root, manifest.FileName))
	if err != nil {
		t.Fatal(err)
	}
	m.Memory = appsMemory << 20
	m.Domains = slices.DeleteFunc(m.Domains, func(d manifest.Domain) bool { return !slices.Contains(names, d.Name) })
	m.Domains = append(m.Domains, others...)
	var o build.Options
	if err := o.Use(m, root); err != nil {
		t.Fatal(err)
	}
	return qemutest.BuildOptions(t, o)
}

// TestStockClients has the programs that people use talk to the apps of
// sluice.toml and dns, over a tap in a network namespace. Meanwhile all frames are
// captured, and afterwards tshark looks at each: no checksum of the image may be
// wrong, no frame malformed. The tap has no offload headers, so the image makes
// all sums itself.
func TestStockClients(t *testing.T) {
	if os.Getenv(inNamespace) == "" {
		absent(t, stockPrograms)
	}
	if !namespace(t) {
		return
	}
	openTap(t)
	openTap6(t)
	serveZone(t, net.JoinHostPort("10.88.0.1", "53"))
	dns := manifest.Domain{Domain: domainOf("dns", nil).Domain, Package: "./userland/apps/dns"}
	dns.Args = []string{"-upstream", "10.88.0.1"}
	dns.Listen, dns.Connect = []string{"tcp/53", "udp/53"}, []string{"tcp/10.88.0.1:53", "udp/10.88.0.1:53"}
	image := appsImage(t, []string{"web", "echo", "iperf"}, dns)

	var captured *capturing
	if installed("dumpcap") && installed("tshark") {
		captured = capture(t)
	}
	vm := qemutest.Start(t, qemutest.Config{
		Image: image, Memory: appsMemory, Append: "ip=" + tapGuest + "/24 ip6=" + tapGuest6 + "/64",
		Extra: []string{"-netdev", "tap,id=n0,ifname=" + tapName + ",script=no,downscript=no,vnet_hdr=off", "-device", "virtio-net-device,netdev=n0,mac=" + stockMAC},
	})
	for _, mark := range []string{"web: web: https", "echo: echo: udp", "iperf: iperf: tcp and udp", "dns: dns: tcp and udp"} {
		vm.Seen(t, mark)
	}
	for _, c := range []struct {
		name string
		test func(t *testing.T)
	}{
		{"ping", pingBoth}, {"echo", echoBoth}, {"curl", curls}, {"dig", digs}, {"wrk", wrkLoad}, {"ab", abLoad}, {"iperf3", iperfs},
	} {
		t.Run(c.name, func(t *testing.T) {
			start := time.Now()
			c.test(t)
			t.Logf("%v", time.Since(start))
		})
	}
	if strings.Contains(vm.Output(), "domain ended") {
		t.Error("an app has ended")
	}
	powerOff(t, vm)
	t.Run("frames", func(t *testing.T) {
		if captured == nil {
			t.Skip("tshark is not installed")
		}
		judge(t, captured.end(t))
	})
}

const stockMAC = "52:54:00:00:88:02"

func installed(program string) bool {
	_, err := exec.LookPath(program)
	return err == nil
}

// openTap6 gives the tap an address of IPv6.
func openTap6(t *testing.T) {
	t.Helper()
	tap, err := netlink.LinkByName(tapName)
	if err != nil {
		t.Fatal(err)
	}
	address, err := netlink.ParseAddr(tapHost6)
	if err != nil {
		t.Fatal(err)
	}
	address.Flags = unix.IFA_F_NODAD
	if err := netlink.AddrAdd(tap, address); err != nil {
		t.Fatal(err)
	}
}

// judge looks at what was captured.
func judge(t *testing.T, path string) {
	start := time.Now()
	v := examine(t, path, stockMAC)
	for _, p := range summed {
		if v.good[p] == 0 {
			t.Errorf("no good %s checksum of the image is in the capture", p)
		}
	}
	_, records := frames(t, path)
	t.Logf("%d frames, good checksums %v, in %v", len(records), v.good, time.Since(start))
	for i, n := range slices.Sorted(maps.Keys(v.bad)) {
		if i == 10 {
			break
		}
		t.Errorf("frame %d: %s: %x", n, v.bad[n], records[n-1][pcapRecord:])
	}
	if len(v.bad) > 0 {
		t.Fatalf("%d of %d frames are broken", len(v.bad), len(records))
	}
	catches(t, path, stockMAC)
}

// pingBoth wants all answers in one of three runs: ping waits for the last one as long as it does
// between two questions, for which the host may let the machine stand still.
func pingBoth(t *testing.T) {
	const tries = 3
	var running sync.WaitGroup
	for _, address := range []string{tapGuest, tapGuest6} {
		for _, size := range []string{"64", "1400"} {
			var runs []*exec.Cmd
			for range tries {
				runs = append(runs, stock(t, "ping", "-n", "-c", "5", "-i", "1", "-s", size, address))
			}
			running.Go(func() {
				for n, cmd := range runs {
					out, err := cmd.CombinedOutput()
					switch twice := strings.Contains(string(out), "DUP!"); {
					case err == nil && !twice && strings.Contains(string(out), "5 packets transmitted, 5 received, 0% packet loss"):
						return
					case twice, n == tries-1:
						t.Errorf("%s bytes to %s: %v\n%s", size, address, err, out)
						return
					}
				}
			})
		}
	}
	running.Wait()
}

func echoBoth(t *testing.T) {
	for _, host := range []string{tapGuest, tapGuest6, tapGuestLink} {
		echoes(t, "tcp", net.JoinHostPort(host, "7"))
		echoes(t, "udp", net.JoinHostPort(host, "7"))
	}
}

func curls(t *testing.T) {
	const seed = 7
	file := filepath.Join(t.TempDir(), "body")
	hashOf := func(n int64) string {
		var key [32]byte
		key[0] = seed
		sum := sha256.New()
		io.CopyN(sum, rand.NewChaCha8(key), n)
		return fmt.Sprintf("%x", sum.Sum(nil))
	}
	bodyHash := func() string {
		b, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		return fmt.Sprintf("%x", sha256.Sum256(b))
	}
	get := func(want string, args ...string) {
		t.Helper()
		out := say(t, "curl", append([]string{"-sS", "-o", file, "-w", "HTTP/%{http_version} %{http_code} %{size_download}"}, args...)...)
		if out != want {
			t.Errorf("curl %v: %q, want %q", args, out, want)
		}
	}
	for _, host := range []string{tapGuest, "[" + tapGuest6 + "]", "[" + strings.Replace(tapGuestLink, "%", "%25", 1) + "]"} {
		get("HTTP/1.1 200 14", "http://"+host+"/hello")
		if b, _ := os.ReadFile(file); string(b) != "Hello, world.\n" {
			t.Errorf("/hello is %q", b)
		}
	}
	for _, c := range []struct {
		proto, host string
		bytes       int64
		args        []string
	}{
		{"HTTP/1.1", "http://" + tapGuest, 16 << 20, nil},
		{"HTTP/1.1", "http://[" + tapGuest6 + "]", 4 << 20, nil},
		{"HTTP/2", "https://" + tapGuest, 4 << 20, []string{"--http2", "-k"}},
	} {
		get(fmt.Sprintf("%s 200 %d", c.proto, c.bytes), append(c.args, fmt.Sprintf("%s/hash?n=%d&seed=%d", c.host, c.bytes, seed))...)
		want := hashOf(c.bytes)
		if got := bodyHash(); got != want {
			t.Errorf("%d bytes over %s from %s have SHA-256 %s, want %s", c.bytes, c.proto, c.host, got, want)
		}
		// The body is sent back; the machine says what came.
		if got := say(t, "curl", append(c.args, "-sS", "--data-binary", "@"+file, c.host+"/upload")...); got != want+"\n" {
			t.Errorf("%d bytes over %s to %s have SHA-256 %q, want %s", c.bytes, c.proto, c.host, got, want)
		}
	}
	// Streams of one connection at a time.
	args := []string{"-sS", "--http2", "-k", "--parallel", "-w", "HTTP/%{http_version} %{http_code} %{num_connects}\n"}
	for i := range 8 {
		args = append(args, "-o", filepath.Join(t.TempDir(), strconv.Itoa(i)), "https://"+tapGuest+"/hash?n=100000")
	}
	if out := say(t, "curl", args...); strings.Count(out, "HTTP/2 200 ") != 8 {
		t.Errorf("8 streams of HTTP/2: %s", out)
	}
}

var requestRate = regexp.MustCompile(`Requests/sec:\s+([0-9.]+)`)

func wrkLoad(t *testing.T) {
	out := say(t, "wrk", "-t", "2", "-c", "16", "-d", "12s", "--timeout", "60s", "http://"+tapGuest+"/hello")
	m := requestRate.FindStringSubmatch(out)
	if m == nil || strings.HasPrefix(m[1], "0.") || strings.Contains(out, "Socket errors") || strings.Contains(out, "Non-2xx") {
		t.Fatalf("wrk:\n%s", out)
	}
	t.Logf("%s requests a second on 16 connections", m[1])
}

func abLoad(t *testing.T) {
	out := say(t, "ab", "-q", "-n", "400", "-c", "8", "http://"+tapGuest+"/hello")
	for _, want := range []string{`Complete requests:\s+400\n`, `Failed requests:\s+0\n`, `HTML transferred:\s+5600 bytes\n`} {
		if !regexp.MustCompile(want).MatchString(out) {
			t.Fatalf("ab, want %s:\n%s", want, out)
		}
	}
	if strings.Contains(out, "Non-2xx") || strings.Contains(out, "Keep-Alive requests") {
		t.Fatalf("ab:\n%s", out)
	}
	t.Log(regexp.MustCompile(`Requests per second:.*`).FindString(out))
}

func iperfs(t *testing.T) {
	type sum struct {
		Bytes, Packets float64
		Lost           float64 `json:"lost_packets"`
		Bits           float64 `json:"bits_per_second"`
	}
	type results struct {
		Sent     sum `json:"sum_sent"`
		Received sum `json:"sum_received"`
		Sum      sum // of UDP
	}
	// What is on its way when a client has sent its part counts as sent only.
	moved := func(r results) bool { return r.Sent.Bytes >= 16<<20 && r.Received.Bytes >= 8<<20 }
	// A second at 8 Mbit/s is 1000 datagrams. A busy host loses some, in its own queues, when it has
	// let the machine or the client wait; it counts them. Of the others 50 of 1000 may be lost, in
	// the middle one of five runs: a client that was stopped for a third of a second sends what it
	// has missed at once, which is more than a socket has room for.
	var byHost float64
	arrived := func(r results) bool { return r.Sum.Packets > 900 && r.Sum.Lost-byHost < r.Sum.Packets/20 }
	for _, c := range []struct {
		name, host, args string
		enough           func(results) bool
	}{
		{"tcp", tapGuest, "-n 16M", moved},
		{"tcp reverse", tapGuest, "-n 16M -R", moved},
		{"tcp6 parallel", tapGuest6, "-n 16M -P 4", moved},
		{"tcp, 8 flows", tapGuest, "-n 16M -P 8", moved},
		{"tcp reverse, 8 flows", tapGuest, "-n 16M -P 8 -R", moved},
		{"tcp, 64 flows", tapGuest, "-n 24M -P 64 -w 32K", moved},
		{"tcp reverse, 64 flows", tapGuest, "-n 16M -P 64 -R", moved},
		{"udp", tapGuest, "-u -n 1000000 -b 8M -l 1000", arrived},
		{"udp reverse", tapGuest, "-u -n 1000000 -b 8M -l 1000 -R", arrived},
		{"udp6", tapGuest6, "-u -n 1000000 -b 8M -l 1000", arrived},
		{"udp, 8 flows", tapGuest, "-u -n 1000000 -b 1M -l 1000 -P 8", arrived},
		{"udp reverse, 8 flows", tapGuest, "-u -n 1000000 -b 1M -l 1000 -P 8 -R", arrived},
		{"udp, 64 flows", tapGuest, "-u -n 1000000 -b 128K -l 1000 -P 64", arrived},
		{"udp reverse, 64 flows", tapGuest, "-u -n 1000000 -b 128K -l 1000 -P 64 -R", arrived},
	} {
		half, good, failed := 0, 0, 0 // of the runs, as long as neither good nor failed are more
		if strings.Contains(c.args, "-u") {
			half = 2
		}
		for good <= half {
			before := lostByHost(t)
			out := say(t, "iperf3", append([]string{"-J", "-c", c.host}, strings.Fields(c.args)...)...)
			var r struct {
				Error string
				End   results
			}
			err := json.Unmarshal([]byte(out), &r)
			if err != nil || r.Error != "" {
				t.Fatalf("%s: %v\n%s", c.name, err, out)
			}
			byHost = lostByHost(t) - before
			t.Logf("%s: %.1f Mbit/s, lost %g of %g, %g by the host", c.name, max(r.End.Received.Bits, r.End.Sum.Bits)/1e6, r.End.Sum.Lost, r.End.Sum.Packets, byHost)
			if c.enough(r.End) {
				good++
				continue
			}
			if failed++; failed > half {
				t.Errorf("%s:\n%s", c.name, out)
				break
			}
		}
	}
}

// hostDrops are datagrams for which a socket of this network namespace had no room.
var hostDrops = regexp.MustCompile(`(?m)^Udp6?RcvbufErrors\s+(\d+)$`)

// lostByHost is how many packets this network namespace has lost so far: on their way to the
// machine in the queue of its tap, and on their way from there in front of a program.
func lostByHost(t *testing.T) (n float64) {
	t.Helper()
	tap, err := netlink.LinkByName(tapName)
	if err != nil {
		t.Fatal(err)
	}
	n = float64(tap.Attrs().Statistics.TxDropped)
	// Of IPv4 there is a table: a line of names and one of numbers.
	b, err := os.ReadFile("/proc/thread-self/net/snmp")
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for line := range strings.Lines(string(b)) {
		f := strings.Fields(line)
		if len(f) == 0 || f[0] != "Udp:" {
			continue
		}
		if names == nil {
			names = f
			continue
		}
		if i := slices.Index(names, "RcvbufErrors"); i > 0 && i < len(f) {
			n += float64(number(t, f[i]))
		}
	}
	if b, err = os.ReadFile("/proc/thread-self/net/snmp6"); err != nil {
		t.Fatal(err)
	}
	for _, m := range hostDrops.FindAllStringSubmatch(string(b), -1) {
		n += float64(number(t, m[1]))
	}
	return n
}

// digs asks the forwarder, which asks the name server of the test.
func digs(t *testing.T) {
	for _, c := range []struct {
		args string
		want []string
	}{
		{"@" + tapGuest + " +notcp host.example. A", []string{"status: NOERROR", "192.0.2.1", "#53(" + tapGuest + ") (UDP)"}},
		{"@" + tapGuest + " +tcp host.example. A", []string{"status: NOERROR", "192.0.2.1", "(TCP)"}},
		{"@" + tapGuest6 + " +notcp host.example. A", []string{"status: NOERROR", "192.0.2.1", "(UDP)"}},
		{"@" + tapGuest6 + " +tcp other.example. A", []string{"status: NOERROR", "192.0.2.1", "(TCP)"}},
		{"@" + tapGuest + " +notcp +noedns bare.example. A", []string{"status: NOERROR", "192.0.2.1", "(UDP)"}},
		{"@" + tapGuest + " absent.example. A", []string{"status: NXDOMAIN"}},
		// Longer than a datagram: the forwarder asks again over TCP, and so does dig.
		{"@" + tapGuest + " long.example. TXT", []string{"Truncated, retrying in TCP mode", "status: NOERROR", longText, "(TCP)"}},
	} {
		var out string
		// What the name server did not answer in time, as the host stood still, fails for some seconds.
		for end := time.Now().Add(time.Minute); ; time.Sleep(time.Second) {
			out = say(t, "dig", append([]string{"+tries=1", "+time=60"}, strings.Fields(c.args)...)...)
			if !strings.Contains(out, "status: SERVFAIL") || time.Now().After(end) {
				break
			}
		}
		for _, want := range c.want {
			if !strings.Contains(out, want) {
				t.Errorf("dig %s, want %q:\n%s", c.args, want, out)
			}
		}
	}
}

// longText is a string of the answer that is longer than a datagram.
var longText = strings.Repeat("0123456789", 20)

// serveZone is a name server at an address.
func serveZone(t *testing.T, at string) {
	t.Helper()
	udp, err := net.ListenPacket("udp", at)
	if err != nil {
		t.Fatal(err)
	}
	tcp, err := net.Listen("tcp", at)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { udp.Close(); tcp.Close() })
	go func() {
		b := make([]byte, 4096)
		for {
			n, from, err := udp.ReadFrom(b)
			if err != nil {
				return
			}
			if out := zone(b[:n], 1232); out != nil {
				udp.WriteTo(out, from)
			}
		}
	}()
	go func() {
		for {
			c, err := tcp.Accept()
			if err != nil {
				return
			}
			go func() {
				defer c.Close()
				var size [2]byte
				if _, err := io.ReadFull(c, size[:]); err != nil {
					return
				}
				b := make([]byte, int(size[0])<<8|int(size[1]))
				if _, err := io.ReadFull(c, b); err != nil {
					return
				}
				out := zone(b, 65535)
				c.Write(append([]byte{byte(len(out) >> 8), byte(len(out))}, out...))
			}()
		}
	}()
}

// zone answers a query with at most limit bytes; nil is for what is none.
func zone(query []byte, limit int) []byte {
	var m dm.Message
	if m.Unpack(query) != nil || len(m.Questions) != 1 {
		return nil
	}
	q := m.Questions[0]
	m.Response, m.RecursionAvailable, m.Additionals = true, true, nil
	header := dm.ResourceHeader{Name: q.Name, Class: q.Class, TTL: 60}
	switch name := q.Name.String(); {
	case name == "absent.example.":
		m.RCode = dm.RCodeNameError
	case name == "long.example." && q.Type == dm.TypeTXT:
		for i := range 20 {
			m.Answers = append(m.Answers, dm.Resource{Header: header, Body: &dm.TXTResource{TXT: []string{strconv.Itoa(i), longText}}})
		}
	case q.Type == dm.TypeA:
		m.Answers = []dm.Resource{{Header: header, Body: &dm.AResource{A: [4]byte{192, 0, 2, 1}}}}
	}
	out, err := m.Pack()
	if err == nil && len(out) > limit {
		m.Truncated, m.Answers = true, nil
		out, err = m.Pack()
	}
	if err != nil {
		return nil
	}
	return out
}
