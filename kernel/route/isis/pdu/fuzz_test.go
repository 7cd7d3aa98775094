package pdu

import (
	"bytes"
	"net/netip"
	"reflect"
	"slices"
	"testing"

	"github.com/sluice-os/sluice/kernel/route/isis/pdu/pdutest"
)

// fuzz seeds a fuzzer with PDUs from FRR, and checks of all bytes what is true of every view.
func fuzz(f *testing.F, types []Type, more func(t *testing.T, v View)) {
	for _, text := range []string{frrLSP, frrNode, frrCSNP, frrPSNP} {
		f.Add(bytesOf(f, text))
	}
	for _, parts := range [][]string{{frrP2P, frrDown, frrCommon}, {frrP2P, frrUp, frrCommon}, {frrLAN, frrCommon}} {
		f.Add(frrHello(f, parts...))
	}
	for _, p := range pdutest.FRR(f) {
		f.Add(p.Bytes)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		b = mend(b, types)
		before := bytes.Clone(b)
		v, why := Check(b)
		if why != OK {
			return
		}
		v.Source()
		v.Authentic([]Key{{Algorithm: Clear, Secret: []byte("x")}, {Algorithm: MD5, Secret: []byte("x")}, {Algorithm: SHA256, Secret: []byte("x")}})
		if n := v.header + len(v.Parse().Others); n > len(b) {
			t.Fatalf("%d bytes of %d", n, len(b))
		}
		if slices.Contains(types, v.Type()) {
			more(t, v)
		}
		if !bytes.Equal(b, before) {
			t.Fatal("reading has changed the bytes")
		}
	})
}

// mend makes most inputs, all whose reserved octet is even, PDUs of a wanted type with right
// boundaries, as few others would get any further.
func mend(b []byte, types []Type) []byte {
	if len(b) <= commonLength || b[6]&1 != 0 {
		return b
	}
	t := types[int(b[4])%len(types)]
	header := headerLengths[t]
	b = append(bytes.Clone(b), make([]byte, max(0, header-len(b)))...)
	b = b[:min(len(b), LengthMax)]
	copy(b, []byte{0x83, byte(header), 1, 0, byte(t), 1, 0, 0})
	at := header
	for len(b)-at >= 2 && len(b)-at-2 >= int(b[at+1]) {
		at += 2 + int(b[at+1])
	}
	return end(b[:at], 0)
}

func FuzzHello(f *testing.F) {
	fuzz(f, []Type{HelloL1, HelloL2, HelloP2P}, func(t *testing.T, v View) {
		h := v.Hello()
		// What is written of it says the same, but for TLVs that no hello has.
		h.Entries, h.Hostname, h.Neighbours, h.Prefixes, h.Others, h.Bad = nil, "", nil, nil, nil, 0
		h.PaddedTo, h.Router4, h.Router6, h.Capability = 0, netip.Addr{}, netip.Addr{}, nil
		again, why := Check(h.Append(nil, 0, nil))
		if why != OK {
			t.Fatal(why)
		}
		if got := again.Hello(); !reflect.DeepEqual(got, h) {
			t.Fatalf("%+v\nwant %+v", got, h)
		}
	})
}

func FuzzLSP(f *testing.F) {
	fuzz(f, []Type{LSPL1, LSPL2}, func(t *testing.T, v View) {
		l := v.LSP()
		v.ChecksumOK()
		v.PurgeOnly()
		var items []Item
		for _, n := range l.Neighbours {
			items = append(items, n.Item())
		}
		for _, p := range l.Prefixes {
			if !p.Prefix.IsValid() || p.Prefix != p.Prefix.Masked() {
				t.Fatalf("%+v", p)
			}
			items = append(items, p.Item())
		}
		var p Packer
		fragments, left := p.Pack(items, LengthMax/2, LengthMax/2)
		if left > 0 {
			t.Fatalf("%d are left", left)
		}
		n := 0
		for _, list := range fragments {
			again, why := Check((&Content{Level: l.Level, Lifetime: 1, Items: list}).Append(nil, nil))
			if why != OK || !again.ChecksumOK() {
				t.Fatalf("%v", why)
			}
			x := again.LSP()
			n += len(x.Neighbours) + len(x.Prefixes)
		}
		if n != len(items) {
			t.Fatalf("%d of %d items are read again", n, len(items))
		}
	})
}

func FuzzSNP(f *testing.F) {
	fuzz(f, []Type{CSNPL1, CSNPL2, PSNPL1, PSNPL2}, func(t *testing.T, v View) {
		s := v.SNP()
		only := &SNP{Type: s.Type, Source: s.Source, First: s.First, Last: s.Last, TLVs: TLVs{Entries: s.Entries}}
		again, why := Check(only.Append(nil, nil))
		if why != OK {
			t.Fatal(why)
		}
		if got := again.SNP(); !reflect.DeepEqual(got, only) {
			t.Fatalf("%+v\nwant %+v", got, only)
		}
	})
}
