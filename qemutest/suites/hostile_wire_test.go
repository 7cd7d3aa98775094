package suites

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/sluice-os/sluice/kernel/domain/restart"
	"github.com/sluice-os/sluice/qemutest"
	"github.com/sluice-os/sluice/qemutest/hostile/forge"
)

// hostileWire is a machine with a hostile domain and its neighbour, a server.
type hostileWire struct {
	vm   *qemutest.VM
	peer *qemutest.Peer
	mac  net.HardwareAddr
	port int // the peer's end of a connection to the neighbour's echo

	mu       sync.Mutex
	changed  sync.Cond // on mu: one of these has
	forged   []string  // what is wrong with frames that the machine has sent
	twins    int
	requests int // to the neighbour

	// asking is held for a request to the neighbour; who holds it has them stop.
	asking sync.Mutex
	failed []string

	spins []time.Duration // what beside has measured beside "spin"
}

// see looks at a frame that the machine has sent.
func (x *hostileWire) see(frame []byte) {
	x.mu.Lock()
	defer x.mu.Unlock()
	if why := forge.Forged(x.mac, frame); why != "" {
		x.forged = append(x.forged, fmt.Sprintf("%s: % x", why, frame[:min(len(frame), 80)]))
	}
	if forge.Twin(frame) {
		x.twins++
	}
	x.changed.Broadcast()
}

// await waits until done, which is asked with mu held each time when something has changed.
func (x *hostileWire) await(t *testing.T, missing string, done func() bool) {
	t.Helper()
	defer context.AfterFunc(x.vm.Context(), func() {
		x.mu.Lock()
		defer x.mu.Unlock()
		x.changed.Broadcast()
	})()
	x.mu.Lock()
	defer x.mu.Unlock()
	for !done() {
		if x.vm.Context().Err() != nil {
			t.Fatal(missing)
		}
		x.changed.Wait()
	}
}

// seen returns how many forged frames and twins were seen.
func (x *hostileWire) seen() (forged, twins int) {
	x.mu.Lock()
	defer x.mu.Unlock()
	return len(x.forged), x.twins
}

// ask has the neighbour answer HTTP requests until stop is closed.
func (x *hostileWire) ask(stop <-chan struct{}) {
	client := x.peer.HTTP()
	client.Timeout = 5 * time.Minute
	for {
		select {
		case <-stop:
			return
		default:
		}
		x.asking.Lock()
		x.mu.Lock()
		x.requests++
		n := x.requests
		x.changed.Broadcast()
		x.mu.Unlock()
		if err := fetchHello(client, url(x.peer.Address4(), "/hello")); err != nil {
			x.failed = append(x.failed, fmt.Sprintf("request %d: %v", n, err))
		}
		x.asking.Unlock()
	}
}

func fetchHello(client *http.Client, url string) error {
	r, err := client.Get(url)
	if err != nil {
		return err
	}
	defer r.Body.Close()
	if body, err := io.ReadAll(r.Body); err != nil || string(body) != "hello\n" {
		return fmt.Errorf("%q, %w", body, err)
	}
	return nil
}

// TestHostileWire has a domain misbehave on the network in every way there is, beside a
// neighbour that serves. What comes of each is exactly what is specified, with the reason
// shown; no forged frame is on the wire; none of the neighbour's requests fails, and beside
// the sustained attacks it answers as much as beside a domain that only spins. The machine's
// clock counts instructions, so that the ratios do not hang on the host.
func TestHostileWire(t *testing.T) {
	vm, peer := startWithPeer(t, qemutest.Config{
		Memory: 320, Limit: 30 * time.Minute, Extra: []string{"-icount", "shift=0,sleep=on"}, Image: hostileWireImage(t),
	})
	x := &hostileWire{vm: vm, peer: peer, mac: net.HardwareAddr(machineMAC)}
	x.changed.L = &x.mu
	wire := vm.Wire(t)
	t.Cleanup(wire.Tap(x.see))
	vm.Seen(t, "good: serving")
	c := dial(t, vm, peer.Dial, "tcp", "10.0.2.15:7")
	x.port = c.LocalAddr().(*net.TCPAddr).Port
	stop := make(chan struct{})
	var asking sync.WaitGroup
	asking.Go(func() { x.ask(stop) })
	end := sync.OnceFunc(func() { close(stop); asking.Wait() })
	t.Cleanup(end)

	t.Run("forged", x.forgeries)
	t.Run("connection", func(t *testing.T) { stillEchoes(t, c) })
	t.Run("rings", x.rings)
	t.Run("kept", x.kept)
	t.Run("floods", x.floods)
	t.Run("wire", x.fromTheWire)
	t.Run("connection-still", func(t *testing.T) { stillEchoes(t, c) })
	end()

	for _, f := range x.failed {
		t.Errorf("a neighbour's request failed: %s", f)
	}
	if x.requests < 50 {
		t.Errorf("the neighbour was asked %d times", x.requests)
	}
	x.mu.Lock()
	for _, f := range x.forged {
		t.Errorf("on the wire: %s", f)
	}
	x.mu.Unlock()
	// The control: each forged packet would have been seen.
	for _, p := range forge.Forgeries {
		before, _ := x.seen()
		if err := wire.Loop(forge.Frame(x.mac, p.Make(x.port))); err != nil {
			t.Fatal(err)
		}
		x.await(t, p.Name+" was not seen", func() bool { return len(x.forged) > before })
	}
	t.Logf("%d requests of the neighbour's", x.requests)
	powerOff(t, vm)
}

// hostileWireImage has the neighbour, the hostile domain, and one that only spins.
func hostileWireImage(t *testing.T) string {
	t.Helper()
	good := serverDomain(t, "good", []string{"tcp/80", "tcp/7", "udp/7"}, nil, "tcp/7", "udp/7", "http/80")
	bad := domainOf("wire", programFor(t, "wire"))
	bad.Listen = []string{fmt.Sprintf("udp/%d", forge.OwnUDP), fmt.Sprintf("tcp/%d", forge.OwnTCP)}
	bad.Connect = []string{"udp/10.0.2.2:*", "tcp/10.0.2.2:*"}
	bad.Start = false
	mortal := bad
	mortal.Name, mortal.Args = "mortal", []string{"die"}
	mortal.Policy, mortal.Backoff, mortal.BackoffMax = restart.Always, 10*time.Millisecond, 10*time.Millisecond
	spin := domainOf("spin", programFor(t, "spin"))
	spin.Start = false
	heavy := spin
	heavy.Name, heavy.Weight = "heavy", 1000
	client := serverDomain(t, "client", nil, []string{"udp/10.0.2.15:7"})
	return imageWith(t, "microvm", good, client, bad, mortal, spin, heavy)
}

// stillEchoes: a connection works.
func stillEchoes(t *testing.T, c net.Conn) {
	out := []byte("are you there")
	if _, err := c.Write(out); err != nil {
		t.Fatal(err)
	}
	in := make([]byte, len(out))
	if _, err := io.ReadFull(c, in); err != nil || string(in) != string(out) {
		t.Errorf("%q, %v", in, err)
	}
}

// run starts the hostile domain; kill ends it.
func (x *hostileWire) run(t *testing.T) {
	t.Helper()
	at := len(x.vm.Output())
	x.vm.Command(t, "domain start wire")
	x.vm.Times(t, at, "wire: start", 1)
}

func (x *hostileWire) kill(t *testing.T) {
	t.Helper()
	x.vm.Command(t, "domain kill wire")
}

// tell gives the hostile domain a line and waits for its answer.
func (x *hostileWire) tell(t *testing.T, line, answer string) {
	t.Helper()
	at := len(x.vm.Output())
	x.vm.Command(t, "domain send wire "+line)
	x.vm.Times(t, at, "wire: "+answer, 1)
}

// dropped counts packets of domains that were dropped, by reason.
func (x *hostileWire) dropped(t *testing.T) map[string]uint64 {
	t.Helper()
	m := map[string]uint64{}
	for name, n := range drops(t, x.vm) {
		if reason, ok := strings.CutPrefix(name, "flowswitch_drop_"); ok {
			m[reason] = n
		}
	}
	return m
}

// rose is by how much counters have risen.
func rose(before, after map[string]uint64) map[string]uint64 {
	m := map[string]uint64{}
	for name, n := range after {
		if n != before[name] {
			m[name] = n - before[name]
		}
	}
	return m
}

// forgeries sends each forged packet between two of its twins: the twins leave, the forged one
// is dropped for its reason and for no other, and its sender goes on.
func (x *hostileWire) forgeries(t *testing.T) {
	x.asking.Lock()
	defer x.asking.Unlock()
	x.run(t)
	send := func(name string) { x.tell(t, fmt.Sprintf("send %s %d", name, x.port), "sent "+name) }
	for _, p := range forge.Twins {
		_, before := x.seen()
		send(p.Name)
		x.await(t, p.Name+" has not left", func() bool { return x.twins > before })
	}
	before := x.dropped(t)
	for _, p := range forge.Forgeries {
		t.Run(p.Name, func(t *testing.T) {
			send(p.Name)
			after := x.dropped(t)
			if got, want := rose(before, after), map[string]uint64{"tx_" + p.Want: 1}; !maps.Equal(got, want) {
				t.Errorf("it counts %v, want %v", got, want)
			}
			before = after
		})
	}
	_, twins := x.seen()
	send(forge.Twins[0].Name)
	x.await(t, "what it may send does not leave any more", func() bool { return x.twins > twins })
	x.kill(t)
}

const (
	headOut  = "ring: head out of bounds"
	tailOut  = "ring: tail was changed"
	notLent  = "pool: not lent"
	badSizes = "channel: packet length is not that of its buflets"
	overRed  = "channel: packet metadata was overwritten"
)

// damage is a way to break the rings, with the ring that is named for it, and why. way is how the
// kernel comes to look: "" is a notification.
type damage struct{ name, ring, why, way string }

var damages = []damage{
	{"packet-twice", "tx", notLent, ""}, {"buffer-twice", "tx", notLent, ""}, {"buffer-in-two-packets", "tx", notLent, ""},
	{"foreign-index", "tx", notLent, ""}, {"not-lent", "tx", notLent, ""}, {"stale-index", "tx", notLent, ""},
	{"freed-twice", "free", notLent, ""}, {"sent-and-freed", "tx", notLent, ""},
	{"offset-wraps", "tx", badSizes, ""}, {"length-beyond-the-buffer", "tx", badSizes, ""},
	{"longer-than-its-buffers", "tx", badSizes, ""}, {"shorter-than-its-buffers", "tx", badSizes, ""}, {"no-buffer", "tx", badSizes, ""},
	{"a-chain-without-end", "tx", "channel: bad buflet chain", ""},
	{"index-in-the-metadata", "tx", overRed, ""}, {"redzone", "tx", overRed, ""},
	{"no-such-kind", "tx", "channel: slot of no known kind", ""},
}

// rings breaks the contract of the rings: the domain ends, for the ring and the cause.
func (x *hostileWire) rings(t *testing.T) {
	all := slices.Clone(damages)
	for _, kind := range []string{"rx", "tx", "alloc", "free", "event"} {
		for _, d := range []damage{{"head-out-of-" + kind, kind, headOut, ""}, {"tail-of-" + kind, kind, tailOut, ""}} {
			all = append(all, d)
			d.way = "resize" // and nothing more is asked for
			all = append(all, d)
			if kind == "rx" || kind == "free" { // which the kernel looks at by itself
				d.way = "silent"
				all = append(all, d)
			}
		}
		if kind != "tx" && kind != "free" { // all of whose slots are the domain's to fill
			all = append(all, damage{"head-beyond-of-" + kind, kind, headOut, ""})
		}
	}
	for _, d := range all {
		name := d.name
		if d.way != "" {
			name += "-" + d.way
		}
		t.Run(name, func(t *testing.T) {
			if d.way != "" { // the kernel looks each second, which is no longer than that when nobody works
				x.asking.Lock()
				defer x.asking.Unlock()
			}
			at := len(x.vm.Output())
			x.run(t)
			x.vm.Command(t, "domain send wire break "+d.name+" "+cmp.Or(d.way, "notify"))
			if d.name == "stale-index" {
				x.vm.Times(t, at, "wire: ready", 1)
				x.deliver(t, 1)
			}
			reason := x.vm.Times(t, at, `domain ended domain=wire reason=("(?:[^"\\]|\\.)*"|\S+)`, 1)[1]
			if want := fmt.Sprintf("ring corruption: channel 0: %s ring: %s (code ", d.ring, d.why); !strings.Contains(reason, want) {
				t.Errorf("it ended for %s, want %s", reason, want)
			}
		})
	}
}

// kept does what breaks nothing: the domain goes on, and what it has sent leaves as it was.
func (x *hostileWire) kept(t *testing.T) {
	for _, c := range []struct {
		name string
		sent int
	}{{"changed-after-submit", 1}, {"length-of-the-slot", 1}, {"sum-beyond-the-packet", 1}, {"closed-twice", 0}, {"broken-and-closed", 0}, {"watermarks", 0}, {"broken-and-ended", 0}} {
		t.Run(c.name, func(t *testing.T) {
			at := len(x.vm.Output())
			x.run(t)
			_, before := x.seen()
			x.tell(t, "keep "+c.name, "kept "+c.name)
			x.await(t, "it has not left", func() bool { return x.twins >= before+c.sent })
			if c.name == "broken-and-ended" {
				x.vm.Times(t, at, `domain ended domain=wire reason="exited with status 0"`, 1)
				return
			}
			x.tell(t, "keep watermarks", "kept watermarks") // it runs
			x.kill(t)
		})
	}
}
