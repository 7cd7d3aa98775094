package pdu

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
	"reflect"
	"slices"
	"testing"
)

func somePrefix(r *rand.Rand) Prefix {
	p := Prefix{MT: []uint16{MT0, MTIPv6, 7}[r.IntN(3)], Metric: r.Uint32(), Down: r.IntN(2) == 0}
	if r.IntN(2) == 0 {
		a := netip.AddrFrom4([4]byte{byte(r.Uint32()), byte(r.Uint32()), byte(r.Uint32()), byte(r.Uint32())})
		p.Prefix = netip.PrefixFrom(a, r.IntN(33)).Masked()
		return p
	}
	var a [16]byte
	for i := range a {
		a[i] = byte(r.Uint32())
	}
	p.Prefix, p.External = netip.PrefixFrom(netip.AddrFrom16(a), r.IntN(129)).Masked(), r.IntN(2) == 0
	return p
}

func someNeighbour(r *rand.Rand) Neighbour {
	n := Neighbour{MT: []uint16{MT0, MTIPv6}[r.IntN(2)], Metric: r.Uint32N(MetricMax + 1)}
	for i := range n.Node {
		n.Node[i] = byte(r.Uint32())
	}
	return n
}

// TestPacked: what is packed into fragments and written is read again, each fragment fits, and
// one more item changes one fragment.
func TestPacked(t *testing.T) {
	for seed := range uint64(20) {
		r := rand.New(rand.NewPCG(seed, 1))
		var items []Item
		want, have := map[string]int{}, map[itemKey]bool{}
		for range 100 + r.IntN(3000) {
			var it Item
			var what any
			if r.IntN(2) == 0 {
				p := somePrefix(r)
				it, what = p.Item(), p
			} else {
				n := someNeighbour(r)
				it, what = n.Item(), n
			}
			if !have[it.key()] {
				have[it.key()] = true
				want[fmt.Sprint(what)]++
				items = append(items, it)
			}
		}
		var packer Packer
		const length = 1492
		first, rest := length-27-100, length-27
		fragments, left := packer.Pack(items, first, rest)
		if left > 0 {
			t.Fatalf("%d items are left", left)
		}
		for i, list := range fragments {
			b := (&Content{Level: L2, ID: LSPID{7: byte(i)}, Items: list}).Append(nil, nil)
			if room := []int{first, rest}[min(i, 1)] + 27; len(b) > room || i+1 < len(fragments) && len(b) < room*8/10 {
				t.Errorf("fragment %d has %d bytes of %d", i, len(b), room)
			}
			l := view(t, b).LSP()
			if l.Bad > 0 {
				t.Errorf("fragment %d has %d malformed TLVs", i, l.Bad)
			}
			for _, p := range l.Prefixes {
				want[fmt.Sprint(p)]--
			}
			for _, n := range l.Neighbours {
				want[fmt.Sprint(n)]--
			}
		}
		for text, n := range want {
			if n != 0 {
				t.Errorf("%s: %d are missing", text, n)
			}
		}
		// One goes, another comes.
		gone := r.IntN(len(items))
		items[gone] = someNeighbour(r).Item()
		r.Shuffle(len(items), func(i, j int) { items[i], items[j] = items[j], items[i] })
		again, _ := packer.Pack(items, first, rest)
		changed := 0
		for i := range max(len(again), len(fragments)) {
			if i >= len(again) || i >= len(fragments) || !slices.Equal(again[i], fragments[i]) {
				changed++
			}
		}
		if changed > 2 {
			t.Errorf("%d of %d fragments have changed", changed, len(again))
		}
	}
}

// TestTooMuch: what 256 fragments cannot hold is said.
func TestTooMuch(t *testing.T) {
	var items []Item
	for i := range 1000 {
		items = append(items, Neighbour{Node: NodeID{byte(i >> 8), byte(i)}}.Item())
	}
	var p Packer
	fragments, left := p.Pack(items, 17, 40)
	if len(fragments) != Fragments || left != 1000-1-255*3 {
		t.Errorf("%d fragments, %d are left", len(fragments), left)
	}
}

func TestParallelLinks(t *testing.T) {
	var p Packer
	n := Neighbour{Node: NodeID{1}, Metric: 10}
	items := []Item{n.Item(), n.Item(), Neighbour{Node: NodeID{1}, Metric: 11}.Item()}
	for range 2 {
		f, left := p.Pack(items, 100, 100)
		if len(f) != 1 || len(f[0]) != 3 || left != 0 {
			t.Errorf("%v", f)
		}
	}
}

func TestHelloRoundTrip(t *testing.T) {
	h := &Hello{Type: HelloL1, Levels: 3, Source: SystemID{1, 2, 3, 4, 5, 6}, Hold: 30, Priority: 127, LAN: NodeID{6: 9}}
	h.Areas = []Area{"\x49", "\x49\x00\x01", Area(make([]byte, AreaMax))}
	h.NLPIDs = []byte{NLPIDv4, NLPIDv6}
	h.Topologies = []Topology{{ID: MT0}, {MTIPv6, true, false}, {ID: 4095, Attached: true}}
	for i := range 100 {
		h.IPv4 = append(h.IPv4, netip.AddrFrom4([4]byte{192, 0, 2, byte(i)}))
		h.IPv6 = append(h.IPv6, netip.AddrFrom16([16]byte{0: 0xfe, 1: 0x80 >> (i & 1), 15: byte(i)}))
		h.SNPAs = append(h.SNPAs, SNPA{5: byte(i)})
	}
	least := len(h.Append(nil, 0, nil))
	for _, padTo := range []int{0, 3000, 4999, 5000} {
		b := h.Append([]byte{1, 2, 3}, padTo, nil)[3:]
		h.PaddedTo = padTo
		if got := view(t, b).Hello(); !reflect.DeepEqual(got, h) {
			t.Errorf("%+v\nwant %+v", got, h)
		}
		if len(b) != max(padTo, least) {
			t.Errorf("%d bytes, want %d", len(b), max(padTo, least))
		}
	}
	if n := len(h.LinkLocals()); n != 50 {
		t.Errorf("%d are link-local", n)
	}
	if !h.InTopology(MT0) || !h.InTopology(MTIPv6) || h.InTopology(3) || (&TLVs{}).InTopology(MTIPv6) || !(&TLVs{}).InTopology(MT0) {
		t.Error("topologies")
	}
}

// TestPadding fills up to any length but one byte.
func TestPadding(t *testing.T) {
	for n := range 1500 {
		if got := len(pad(make([]byte, 20), n)); got != max(n, 20) && n != 21 {
			t.Errorf("%d bytes, want %d", got, n)
		}
	}
}

func TestEntriesIn(t *testing.T) {
	key := &Key{Algorithm: MD5, Secret: []byte("x")}
	for _, k := range []*Key{nil, key} {
		for length := 33; length < 1500; length++ {
			n := EntriesIn(CSNPL1, length, k)
			size := func(n int) int {
				return len((&SNP{Type: CSNPL1, TLVs: TLVs{Entries: make([]Header, n)}}).Append(nil, k))
			}
			if n > 0 && size(n) > length || size(n+1) <= length {
				t.Fatalf("%d entries in %d bytes", n, length)
			}
		}
	}
}
