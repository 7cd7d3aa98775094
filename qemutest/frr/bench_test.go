package frr

import (
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/sluice-os/sluice/kernel/route/isis/pdu"
)

// speaker is a neighbour of FRR's on a p2p wire that says what it is told to. It implements Wire.
type speaker struct {
	mu  sync.Mutex
	to  func(frame []byte)
	say pdu.Hello
}

var speakerMAC = [6]byte{2, 0, 0, 0, 0, 2}

func systemOf(n int) pdu.SystemID { return pdu.SystemID{0, 0, 0, 1, byte(n >> 8), byte(n)} }

func newSpeaker() *speaker {
	s := &speaker{}
	s.say = pdu.Hello{Type: pdu.HelloP2P, Levels: 2, Source: systemOf(0), Hold: 60, Circuit: 1}
	s.say.Areas, s.say.NLPIDs = []pdu.Area{"\x49\x00\x01"}, []byte{pdu.NLPIDv4, pdu.NLPIDv6}
	s.say.IPv4, s.say.IPv6 = []netip.Addr{netip.MustParseAddr("10.1.0.2")}, []netip.Addr{netip.MustParseAddr("fe80::2")}
	s.say.ThreeWay = &pdu.ThreeWay{State: pdu.SaysDown, Local: 1, HasLocal: true}
	return s
}

func (s *speaker) Tap(f func([]byte)) (remove func()) {
	s.mu.Lock()
	s.to = f
	s.mu.Unlock()
	return func() {}
}

// Send takes a frame of FRR's: a hello is answered.
func (s *speaker) Send(frame []byte) error {
	if len(frame) < 17 || frame[14] != 0xfe {
		return nil
	}
	n := min(int(binary.BigEndian.Uint16(frame[12:]))+14, len(frame))
	v, why := pdu.Check(frame[17:max(n, 17)])
	if why != pdu.OK || v.Type() != pdu.HelloP2P {
		return nil
	}
	h := v.Hello()
	s.mu.Lock()
	w := &pdu.ThreeWay{State: pdu.SaysInit, Local: 1, HasLocal: true, Neighbour: h.Source, HasNeighbour: true}
	if h.ThreeWay != nil {
		w.NeighbourCircuit = h.ThreeWay.Local
		if h.ThreeWay.State != pdu.SaysDown {
			w.State = pdu.SaysUp
		}
	}
	s.say.ThreeWay = w
	b := s.say.Append(nil, 0, nil)
	s.mu.Unlock()
	s.send(b)
	return nil
}

func (s *speaker) send(b []byte) {
	f := append(append([]byte(nil), pdu.AllP2P[:]...), speakerMAC[:]...)
	f = binary.BigEndian.AppendUint16(f, uint16(len(b)+3))
	f = append(append(f, 0xfe, 0xfe, 0x03), b...)
	s.mu.Lock()
	to := s.to
	s.mu.Unlock()
	to(f)
}

var runTook = regexp.MustCompile(`last run duration +: (\d+) usec`)

// BenchmarkSPF is what FRR says that its last search took, both families together, in the networks
// of BenchmarkSPF of package isis: so many routers with five links and two prefixes each behind one
// neighbour. It is no loop: FRR says it once for each network.
func BenchmarkSPF(b *testing.B) {
	Need(b)
	for _, n := range []int{200, 1000, 5000} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			took := frrSPF(b, n)
			b.ReportMetric(0, "ns/op")
			b.ReportMetric(took.Seconds()*1000, "ms/run")
		})
	}
}

func frrSPF(b *testing.B, n int) time.Duration {
	frr := systemOf(0xffff)
	r := Start(b, Config{Name: fmt.Sprintf("spf%d", n), Lines: []string{fmt.Sprintf("net 49.0001.%v.00", frr), "is-type level-2-only", "lsp-gen-interval 1"},
		Interfaces: []Interface{{Name: "tap0", Addresses: []string{"10.1.0.1/24"}, Lines: []string{"isis network point-to-point"}}}})
	s := newSpeaker()
	r.Plug(b, "tap0", s)
	wait := func(what, command string, f func(string) bool) string {
		end := time.Now().Add(2 * time.Minute)
		for {
			text, err := r.Show(command)
			if err == nil && f(text) {
				return text
			}
			if time.Now().After(end) {
				b.Fatalf("never: %s: %v\n%.3000s", what, err, text)
			}
			time.Sleep(200 * time.Millisecond)
		}
	}
	wait("a neighbour that is up", "show isis neighbor", func(text string) bool { return strings.Contains(text, "  Up  ") })
	wait("FRR's own LSP that lists it", "show isis database detail", func(text string) bool {
		return strings.Contains(text, fmt.Sprintf("Extended Reachability: %v.00", systemOf(0)))
	})

	rng := rand.New(rand.NewPCG(1, uint64(n)))
	links := make([][]pdu.Item, n+1)
	join := func(i, j int) {
		metric := 1 + rng.Uint32N(100)
		links[i] = append(links[i], pdu.Neighbour{Node: systemOf(j).Node(0), Metric: metric}.Item())
		links[j] = append(links[j], pdu.Neighbour{Node: systemOf(i).Node(0), Metric: metric}.Item())
	}
	links[0] = append(links[0], pdu.Neighbour{Node: frr.Node(0), Metric: 10}.Item())
	join(0, 1)
	for i := 2; i <= n; i++ {
		join(i, 1+rng.IntN(i-1))
	}
	for range 3 * n / 2 {
		join(1+rng.IntN(n), 1+rng.IntN(n))
	}
	var lsps [][]byte
	for i, items := range links {
		v4 := netip.PrefixFrom(netip.AddrFrom4([4]byte{172, byte(16 + i>>8), byte(i), 0}), 24)
		v6 := netip.PrefixFrom(netip.AddrFrom16([16]byte{0x20, 1, 0xd, 0xb8, byte(i >> 8), byte(i)}), 48)
		c := pdu.Content{Level: pdu.L2, ID: systemOf(i).Node(0).LSP(0), Sequence: 1, Lifetime: 1200, Flags: 3,
			Areas: []pdu.Area{"\x49\x00\x01"}, NLPIDs: []byte{pdu.NLPIDv4, pdu.NLPIDv6}}
		c.Items = append(items, pdu.Prefix{Prefix: v4}.Item(), pdu.Prefix{Prefix: v6}.Item())
		lsps = append(lsps, c.Append(nil, nil))
	}
	// A tap holds 500 frames and loses more: what has not come is sent again.
	wait("all LSPs", "show isis database", func(text string) bool {
		for i, lsp := range lsps {
			if !strings.Contains(text, systemOf(i).String()+".00-00") {
				s.send(lsp)
				time.Sleep(500 * time.Microsecond)
			}
		}
		return strings.Contains(text, fmt.Sprintf(" %d LSPs", n+2))
	})
	wait("routes to all", "show isis route", func(text string) bool { return strings.Count(text, "172.") >= n })
	text := wait("a run for each family", "show isis summary", func(text string) bool { return len(runTook.FindAllString(text, -1)) == 2 })
	var took time.Duration
	for _, m := range runTook.FindAllStringSubmatch(text, -1) {
		us, _ := strconv.Atoi(m[1])
		took += time.Duration(us) * time.Microsecond
	}
	return took
}
