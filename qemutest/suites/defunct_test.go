package suites

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/sluice-os/sluice/image/build"
	"github.com/sluice-os/sluice/image/qemu"
	"github.com/sluice-os/sluice/kernel/domain/config"
	"github.com/sluice-os/sluice/qemutest"
)

// leastTaken is what a channel has at least, in bytes.
const leastTaken = 150 << 10

// taken waits for the next line that says that a channel's memory was taken back, after
// an offset of the console.
func taken(t *testing.T, vm *qemutest.VM, from int, name, cause string) (freed, us int) {
	t.Helper()
	m := vm.Times(t, from, `channel defunct domain=`+name+` channel=\d+ cause=`+cause+` freed=(\d+) us=(\d+)`, 1)
	freed, _ = strconv.Atoi(m[1])
	us, _ = strconv.Atoi(m[2])
	return freed, us
}

// page asks for a page as a new client.
func page(vm *qemutest.VM, peer *qemutest.Peer, url string) (string, error) {
	request, err := http.NewRequestWithContext(vm.Context(), http.MethodGet, url, nil)
	if err != nil {
		return "", err
	}
	r, err := peer.HTTP().Do(request)
	if err != nil {
		return "", err
	}
	defer r.Body.Close()
	body, err := io.ReadAll(r.Body)
	return string(body), err
}

// hello asks for the server's page, again as long as the machine refuses: until a domain
// has opened its channel anew its ports are nobody's.
func hello(t *testing.T, vm *qemutest.VM, peer *qemutest.Peer, port int) {
	t.Helper()
	helloAfter(t, vm, peer, port, "refused")
}

// helloAfter is hello for a machine that may answer with one of several errors before.
func helloAfter(t *testing.T, vm *qemutest.VM, peer *qemutest.Peer, port int, may ...string) {
	t.Helper()
	for {
		body, err := page(vm, peer, "http://"+qemutest.HostPort(peer.Address4(), port)+"/hello")
		switch {
		case err == nil && body == "hello\n":
			return
		case err == nil || vm.Context().Err() != nil ||
			!slices.ContainsFunc(may, func(s string) bool { return strings.Contains(err.Error(), s) }):
			t.Fatalf("port %d: %q, %v", port, body, err)
		}
	}
}

// refused wants a new connection to be refused.
func refused(t *testing.T, vm *qemutest.VM, peer *qemutest.Peer, port int) {
	t.Helper()
	if _, err := page(vm, peer, "http://"+qemutest.HostPort(peer.Address4(), port)+"/hello"); err == nil || !strings.Contains(err.Error(), "refused") {
		t.Errorf("port %d of a domain without a channel: %v", port, err)
	}
}

// anew dials again as long as the machine refuses, as hello asks.
func anew(d dialer) dialer {
	return func(ctx context.Context, network, address string) (net.Conn, error) {
		for {
			c, err := d(ctx, network, address)
			if err == nil || ctx.Err() != nil || !strings.Contains(err.Error(), "refused") {
				return c, err
			}
		}
	}
}

// answers has an echo answer once.
func answers(c net.Conn, word string) error {
	if _, err := io.WriteString(c, word); err != nil {
		return err
	}
	b := make([]byte, 64)
	n, err := io.ReadAtLeast(c, b, len(word))
	if err == nil && string(b[:n]) != word {
		err = fmt.Errorf("the echo of %q is %q", word, b[:n])
	}
	return err
}

// TestDefunct takes the memory of a server's channel in the middle of a download: the
// peers of its connections are told, its own end with an error, its listeners and its
// sockets of datagrams go on in a channel that it opens by itself, and every frame is
// accounted for.
func TestDefunct(t *testing.T) {
	for _, machine := range []string{"microvm", "pc"} {
		t.Run(machine, func(t *testing.T) {
			web := serverDomain(t, "web", []string{"tcp/80", "tcp/7", "udp/7"}, []string{"tcp/10.0.2.2:9"}, "http/80", "tcp/7", "udp/7")
			kept := serverDomain(t, "kept", []string{"tcp/81"}, nil, "http/81")
			kept.Pinned = true
			vm, peer := startWithPeer(t, qemutest.Config{Machine: machine, Memory: 256, Image: imageWith(t, qemu.Machines[machine], web, kept)})
			vm.Seen(t, "web: serving")
			vm.Seen(t, "kept: serving")
			l := peer.Listen(t, 9)
			at := func(port int) string { return qemutest.HostPort(peer.Address4(), port) }
			stream, datagrams := dial(t, vm, peer.Dial, "tcp", at(7)), dial(t, vm, peer.Dial, "udp", at(7))
			if err := answers(stream, "before"); err != nil {
				t.Fatal(err)
			}
			exchange(t, vm.Context(), datagrams, 100)
			does(t, vm, "web", "hold tcp 10.0.2.2:9", "ok")
			held, err := l.Accept()
			if err != nil {
				t.Fatal(err)
			}

			const rounds = 3
			var first *qemutest.Memory
			for round := range rounds {
				r, err := peer.HTTP().Get("http://" + at(80) + "/bytes/50000000")
				if err != nil {
					t.Fatal(err)
				}
				if _, err := io.ReadFull(r.Body, make([]byte, 500_000)); err != nil {
					t.Fatal(err)
				}
				from := len(vm.Output())
				vm.Command(t, "channel defunct web")
				freed, us := taken(t, vm, from, "web", "operator")
				t.Logf("%d KiB were free after %d us", freed>>10, us)
				if freed < leastTaken {
					t.Errorf("%d bytes were freed", freed)
				}
				if n, err := io.Copy(io.Discard, r.Body); err == nil || !strings.Contains(err.Error(), "reset by peer") {
					t.Errorf("the download goes on for %d bytes, %v", n, err)
				}
				r.Body.Close()
				hello(t, vm, peer, 80)
				exchange(t, vm.Context(), datagrams, 101+round, "refused") // its port may be bound later than that of HTTP
				if round == 0 {
					for _, c := range []net.Conn{stream, held} {
						if _, err := c.Read(make([]byte, 1)); err == nil || errors.Is(err, io.EOF) || !strings.Contains(err.Error(), "reset") {
							t.Errorf("a connection ends with %v", err)
						}
					}
					vm.Times(t, 0, `web: held 10.0.2.2:9: read tcp .*: connection reset by peer; write tcp .*: broken pipe\r?\n`, 1)
				}
				again := dial(t, vm, anew(peer.Dial), "tcp", at(7))
				if err := answers(again, "again"); err != nil {
					t.Fatal(err)
				}
				again.Close()
				// What the domain has is what it says it has, and the rest of the machine is as it was.
				m := vm.Memory(t, true)
				for _, e := range m.Errors(256 << 20) {
					t.Errorf("memory: %s", e)
				}
				if round == 0 {
					first = m
				} else if others(m) != others(first) {
					t.Errorf("%d KiB are used by neither heap, tables nor domains, %d before", others(m)>>10, others(first)>>10)
				}
			}
			if text := vm.Command(t, "netstat --channels"); strings.Contains(text, "defunct") || !strings.Contains(text, "pinned") {
				t.Errorf("the channels are\n%s", text)
			}

			for line, want := range map[string]string{
				"channel defunct kept":   "channel 0 of domain kept is pinned",
				"channel defunct kept 0": "channel 0 of domain kept is pinned",
				"channel defunct web 5":  "domain web has no channel 5: it has [0]",
				"channel defunct nobody": `no domain "nobody"`,
				"channel defunct web x":  `bad number "x"`,
				"channel defunct":        "want: channel defunct DOMAIN [CHANNEL]",
			} {
				if text := vm.Command(t, line); !strings.Contains(text, want) {
					t.Errorf("%s printed %q, want %q", line, text, want)
				}
			}
			hello(t, vm, peer, 81)
			powerOff(t, vm)
		})
	}
}

// spent is how long a domain has had the processor, in nanoseconds, and its state.
func spent(t *testing.T, vm *qemutest.VM, name string) (ns int, state string) {
	t.Helper()
	text := vm.Command(t, "domains -j")
	m := regexp.MustCompile(`"name":"` + name + `","state":"([a-z]+)".*?"cpu_ns":(\d+)`).FindStringSubmatch(text)
	if m == nil {
		t.Fatalf("domains -j printed %q", text)
	}
	ns, _ = strconv.Atoi(m[2])
	return ns, m[1]
}

// TestSuspend: a suspended domain does not run and has no memory for the network; when it
// is resumed it goes on, and serves without having noticed.
func TestSuspend(t *testing.T) {
	web := serverDomain(t, "web", []string{"tcp/80"}, nil, "http/80")
	spins := domainOf("spin", programFor(t, "spin"))
	vm, peer := startWithPeer(t, qemutest.Config{Memory: 192, Image: imageWith(t, "microvm", web, spins)})
	vm.Seen(t, "web: serving")
	vm.Seen(t, "spin: spinning")
	hello(t, vm, peer, 80)
	vm.Command(t, "domain suspend spin")
	before, state := spent(t, vm, "spin")
	if state != "suspended" {
		t.Errorf("it is %s", state)
	}
	from := len(vm.Output())
	vm.Command(t, "domain suspend web")
	if freed, us := taken(t, vm, from, "web", "suspended"); freed < leastTaken {
		t.Errorf("%d bytes were freed in %d us", freed, us)
	}
	refused(t, vm, peer, 80)
	vm.Command(t, "domain send web lookup localhost")
	for line, want := range map[string]string{
		"domain suspend web":    "domain web is suspended already",
		"domain suspend nobody": `no domain "nobody"`,
	} {
		if text := vm.Command(t, line); !strings.Contains(text, want) {
			t.Errorf("%s printed %q, want %q", line, text, want)
		}
	}
	if text := vm.Command(t, "netstat --channels"); !regexp.MustCompile(`web +network +default +defunct +\d+ +4096 `).MatchString(text) {
		t.Errorf("the channels are\n%s", text)
	}
	if strings.Contains(vm.Output()[from:], "web: lookup") {
		t.Error("a suspended domain has run")
	}
	if after, _ := spent(t, vm, "spin"); after != before {
		t.Errorf("it has run for %d ns while it was suspended", after-before)
	}
	vm.Command(t, "domain resume web")
	vm.Times(t, from, "web: lookup localhost", 1)
	hello(t, vm, peer, 80)
	if text := vm.Command(t, "domain resume web"); !strings.Contains(text, "domain web is not suspended") {
		t.Errorf("resumed twice: %q", text)
	}
	// One that is suspended can be stopped, as it goes on for that, and killed.
	vm.Command(t, "domain suspend web")
	vm.Command(t, "domain stop web")
	vm.Seen(t, `domain ended domain=web reason="stopped with status 143"`)
	vm.Command(t, "domain kill spin")
	vm.Seen(t, `domain ended domain=spin reason="killed`)
	powerOff(t, vm)
}

// roomLeft is how much memory is left for domains, about, in KiB: what is free but for
// what the kernel keeps for its heap, which is 36 MiB and an eighth in a small machine.
func roomLeft(t *testing.T, vm *qemutest.VM) int {
	t.Helper()
	var m struct {
		Free     int
		Reserved int `json:"heap_reserved"`
	}
	text := vm.Command(t, "mem -j")
	if err := json.Unmarshal([]byte(jsonLine(text)), &m); err != nil {
		t.Fatalf("mem -j printed %q: %v", text, err)
	}
	return (m.Free + m.Reserved - (36<<20)*9/8) >> 10
}

// TestPressure: when the machine has no memory left for its domains, one that allocates
// gets that of an idle channel, and not that of a pinned or a busy one. When it has
// ended, the idle domain serves again.
func TestPressure(t *testing.T) {
	idle := serverDomain(t, "idle", []string{"tcp/80"}, nil, "http/80")
	kept := serverDomain(t, "kept", []string{"tcp/81"}, nil, "http/81")
	kept.Pinned = true
	greedy := build.Program{Domain: config.Domain{Name: "greedy", Quota: 512 << 20, Weight: 100, Start: true}, Binary: programFor(t, "server")}
	vm, peer := startWithPeer(t, qemutest.Config{Memory: 144, Image: imageWith(t, "microvm", idle, kept, greedy)})
	for _, name := range []string{"idle", "kept", "greedy"} {
		vm.Seen(t, name+": serving")
	}
	hello(t, vm, peer, 80)
	hello(t, vm, peer, 81)
	took := 0
	// take has the greedy domain take memory, so many KiB at a time, until a line of the
	// console.
	take := func(kib int, mark string) (from int) {
		t.Helper()
		for from = len(vm.Output()); ; took++ {
			if took == 500 {
				t.Fatalf("there is no %q:\n%s", mark, vm.Command(t, "mem"))
			}
			vm.Command(t, fmt.Sprintf("domain send greedy take %d", kib))
			vm.Times(t, 0, `greedy: take \d+: ok|domain ended domain=greedy`, took+1)
			if strings.Contains(vm.Output()[from:], mark) {
				took++
				return from
			}
		}
	}
	take(roomLeft(t, vm)-4<<10, "greedy: take")
	// Nothing that was used in the last second is taken.
	vm.Command(t, "domain send greedy rest 1100ms")
	vm.Times(t, 0, "greedy: rest 1100ms: ok", 1)
	if freed, us := taken(t, vm, take(64, "channel defunct"), "idle", "memory"); freed < leastTaken {
		t.Errorf("%d bytes were freed in %d us", freed, us)
	}
	if strings.Contains(vm.Output(), "domain ended") {
		t.Fatal("the domain that allocates has ended")
	}
	refused(t, vm, peer, 80)
	hello(t, vm, peer, 81)
	// With nothing idle left it ends, and only it.
	take(64, `domain ended domain=greedy reason="no memory`)
	hello(t, vm, peer, 80)
	powerOff(t, vm)
}

// TestDefunctIsIgnored: a domain that uses its channel on and on, whatever has become of
// it, changes nothing and is not ended. Beside it another has the memory.
func TestDefunctIsIgnored(t *testing.T) {
	for _, machine := range boards {
		t.Run(machine, func(t *testing.T) {
			uses := build.Program{Domain: config.Domain{Name: "uses", Quota: 16 << 20, Weight: 100, Connect: []string{"udp/10.0.2.2:53"}}, Binary: programFor(t, "defunct")}
			web := serverDomain(t, "web", []string{"tcp/80"}, nil, "http/80")
			web.Start = false
			vm, peer := startWithPeer(t, qemutest.Config{Machine: machine, Memory: 160, Image: imageWith(t, qemu.Machines[machine], uses, web)})
			before := vm.Memory(t, true)
			vm.Command(t, "domain start uses")
			vm.Seen(t, "uses: open")
			vm.Command(t, "channel defunct uses 0")
			vm.Seen(t, "uses: defunct")
			vm.Command(t, "domain start web")
			vm.Seen(t, "web: serving")
			const n = 3_000_000
			bytes := func() {
				t.Helper()
				body, err := page(vm, peer, fmt.Sprintf("http://%s/bytes/%d", qemutest.HostPort(peer.Address4(), 80), n))
				if err != nil || len(body) != n {
					t.Fatalf("%d of %d bytes, %v", len(body), n, err)
				}
				for i := range body {
					if body[i] != byte(i%(64<<10)*7) {
						t.Fatalf("byte %d is wrong", i)
					}
				}
			}
			bytes()
			vm.Command(t, "domain send uses go")
			bytes()
			vm.Seen(t, "uses: all as it should be")
			vm.Seen(t, `domain ended domain=uses reason="exited with status 0"`)
			bytes()
			vm.Command(t, "domain kill web")
			vm.Seen(t, "domain ended domain=web")
			if m := vm.Memory(t, true); m.Owned("domain ")+m.Owned("arena ") != 0 || others(m) != others(before) {
				t.Errorf("%d bytes of domains and %d of others are in use, %d of others before", m.Owned("domain ")+m.Owned("arena "), others(m), others(before))
			}
			powerOff(t, vm)
		})
	}
}
