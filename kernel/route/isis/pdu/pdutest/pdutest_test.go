package pdutest_test

import (
	"fmt"
	"net/netip"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/sluice-os/sluice/kernel/route/isis/pdu"
	"github.com/sluice-os/sluice/kernel/route/isis/pdu/pdutest"
)

// keys are those of the PDUs that have one.
var keys = map[string]pdu.Key{
	"hellopw": {Algorithm: pdu.MD5, Secret: []byte("hellopw")},
	"areapw":  {Algorithm: pdu.MD5, Secret: []byte("areapw")},
	"dompw":   {Algorithm: pdu.Clear, Secret: []byte("dompw")},
}

// TestFRR: each PDU is right to its last octet, and what its line says.
func TestFRR(t *testing.T) {
	kinds, types := map[pdu.Type]bool{}, map[uint8]bool{}
	for _, p := range pdutest.FRR(t) {
		v, why := pdu.Check(p.Bytes)
		if why != pdu.OK || len(v.Bytes()) != len(p.Bytes) {
			t.Errorf("%s: %v", p.What, why)
			continue
		}
		kinds[v.Type()] = true
		var tlvs []string
		for n := range v.TLVs() {
			types[n] = true
			if s := fmt.Sprint(n); !slices.Contains(tlvs, s) {
				tlvs = append(tlvs, s)
			}
		}
		if !strings.HasPrefix(p.What, v.Type().String()+": ") || !strings.HasSuffix(p.What, "("+strings.Join(tlvs, ", ")+")") {
			t.Errorf("%s: it is a %v with the TLVs %v", p.What, v.Type(), tlvs)
		}
		if x := v.Parse(); x.Bad > 0 || slices.ContainsFunc(x.Others, func(n uint8) bool { return n != 233 }) {
			t.Errorf("%s: %d TLVs are bad, and others are %v", p.What, x.Bad, x.Others)
		}
		if l := v.Type(); (l == pdu.LSPL1 || l == pdu.LSPL2) && !v.ChecksumOK() {
			t.Errorf("%s: the checksum is refused", p.What)
		}
		var key []pdu.Key
		for name, k := range keys {
			if strings.Contains(p.What, "the key "+name+" ") {
				key = []pdu.Key{k}
			}
		}
		if why := v.Authentic(key); why != pdu.OK {
			t.Errorf("%s: with the key of its line: %v", p.What, why)
		}
	}
	for _, k := range []pdu.Type{pdu.HelloL1, pdu.HelloL2, pdu.HelloP2P, pdu.LSPL1, pdu.LSPL2, pdu.CSNPL1, pdu.CSNPL2, pdu.PSNPL1, pdu.PSNPL2} {
		if !kinds[k] {
			t.Errorf("there is no %v", k)
		}
	}
	for _, n := range []uint8{1, 6, 9, 10, 22, 129, 132, 134, 135, 137, 222, 229, 232, 233, 236, 237, 240, 242} {
		if !types[n] {
			t.Errorf("there is no TLV %d", n)
		}
	}
}

// TestFRRSays: what is behind sub-TLVs is found, and what is of a topology is in that.
func TestFRRSays(t *testing.T) {
	three := pdu.SystemID{5: 3}
	loopback6, link6 := netip.MustParsePrefix("2001:db8:ff::2/128"), netip.MustParsePrefix("2001:db8:1::/64")
	prefixes := func(mt uint16) []pdu.Prefix {
		return []pdu.Prefix{
			{Prefix: netip.MustParsePrefix("10.255.0.2/32"), Metric: 10}, {Prefix: netip.MustParsePrefix("10.1.0.0/24"), Metric: 10},
			{MT: mt, Prefix: loopback6, Metric: 10}, {MT: mt, Prefix: link6, Metric: 10},
		}
	}
	lan := pdu.Neighbour{Node: three.Node(2), Metric: 10}
	in := func(mt uint16) pdu.Neighbour { n := lan; n.MT = mt; return n }
	for what, want := range map[string]pdu.TLVs{
		"L2 LSP: traffic engineering": {Hostname: "r2p2p", Neighbours: []pdu.Neighbour{{Node: three.Node(0), Metric: 10}}, Prefixes: prefixes(pdu.MT0)},
		"L2 LSP: topologies":          {Hostname: "r2mt", Neighbours: []pdu.Neighbour{lan, in(1), in(2), in(3)}, Prefixes: prefixes(pdu.MTIPv6)},
	} {
		n := slices.IndexFunc(pdutest.FRR(t), func(p pdutest.PDU) bool { return strings.HasPrefix(p.What, what) })
		if n < 0 {
			t.Fatalf("there is no %s", what)
		}
		v, _ := pdu.Check(pdutest.FRR(t)[n].Bytes)
		l := v.LSP()
		if l.Hostname != want.Hostname || l.Router4 != netip.MustParseAddr("10.255.0.2") || l.Capability == nil || l.Capability.Router != [4]byte{10, 255, 0, 2} ||
			!reflect.DeepEqual(l.Neighbours, want.Neighbours) || !reflect.DeepEqual(l.Prefixes, want.Prefixes) {
			t.Errorf("%s: %+v\nwant %+v", what, l.TLVs, want)
		}
	}
}
