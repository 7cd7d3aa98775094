package pdu

import (
	"bytes"
	"net/netip"
	"testing"
)

// TestRefused: each way to be malformed has its reason, and the twin that is not is read.
func TestRefused(t *testing.T) {
	good := bytesOf(t, frrP2P, frrCommon)
	end(good, 0)
	view(t, append(bytes.Clone(good), 0, 0, 0)) // a short frame's rest
	patch := func(at int, v ...byte) []byte {
		b := bytes.Clone(good)
		copy(b[at:], v)
		return b
	}
	for _, tt := range []struct {
		name string
		b    []byte
		want Reason
	}{
		{"nothing", nil, Short},
		{"7 bytes", good[:7], Short},
		{"19 bytes", good[:19], Short},
		{"CLNP", patch(0, 0x81), NotISIS},
		{"version 2", patch(2, 2), BadVersion},
		{"version 2 of the PDU", patch(5, 2), BadVersion},
		{"IDs of 6", patch(3, 6), OK},
		{"IDs of 5", patch(3, 5), BadIDLength},
		{"3 areas", patch(7, 3), OK},
		{"4 areas", patch(7, 4), BadMaxAreas},
		{"type 14", patch(4, 14), BadType},
		{"reserved bits of the type", patch(4, 0xe0|17), OK},
		{"another header", patch(1, 27), BadHeaderLength},
		{"within the header", patch(17, 0, 19), BadLength},
		{"beyond the bytes", patch(17, 0, byte(len(good)+1)), BadLength},
		{"ends in a TLV", patch(17, 0, byte(len(good)-1)), TLVOverrun},
		{"ends after a type", patch(17, 0, 21), TLVOverrun},
		{"TLV beyond", patch(len(good)-5, 5), TLVOverrun},
		{"header alone", patch(17, 0, 20), OK},
	} {
		if _, why := Check(tt.b); why != tt.want {
			t.Errorf("%s: %v, want %v", tt.name, why, tt.want)
		}
	}
	long := pad(bytes.Clone(good), LengthMax+1)
	if _, why := Check(end(long, 0)); why != TooLong {
		t.Errorf("%d bytes: %v", len(long), why)
	}
}

// TestMalformedTLVs are left out, with what else is in the PDU read.
func TestMalformedTLVs(t *testing.T) {
	for name, text := range map[string]string{
		"area beyond":               "01040449" + "0001",
		"area of 0":                 "010100",
		"half an SNPA":              "0603010203",
		"half an entry":             "090404a00000",
		"half an address":           "8402c000",
		"half an IPv6 address":      "e802fe80",
		"no name":                   "8900",
		"half a router's address":   "86020a09",
		"half an IPv6 router's":     "8c020a09",
		"capabilities of nobody":    "f2040a090909",
		"half a topology":           "e50100",
		"state 3":                   "f00103",
		"three-way of 6":            "f006000000000100",
		"half a neighbour":          "160400000000",
		"sub-TLVs beyond":           "160b" + "00000000000100" + "00000a" + "01",
		"prefix of 33":              "870a" + "0000000a" + "21" + "0a00000000",
		"half a prefix":             "8706" + "0000000a" + "20" + "0a",
		"sub-TLVs of a prefix":      "8706" + "0000000a" + "48" + "0a",
		"prefix of 129":             "ec06" + "0000000a" + "00" + "81",
		"sub-TLVs of IPv6":          "ec07" + "0000000a" + "20" + "00" + "05",
		"topology without a number": "de0100",
	} {
		b := end(bytesOf(t, frrP2P, text, frrCommon), 0)
		if h := view(t, b).Hello(); h.Bad != 1 || len(h.NLPIDs) != 2 || len(h.Areas) == 0 || len(h.Neighbours)+len(h.Prefixes)+len(h.Entries) > 0 {
			t.Errorf("%s: %+v", name, h.TLVs)
		}
	}
}

// TestUnknownTLVs are stepped over, and are in the bytes.
func TestUnknownTLVs(t *testing.T) {
	c := Content{Level: L1, ID: LSPID{5: 1}, Sequence: 1, Lifetime: 1200, Hostname: "a"}
	b := append(c.Append(nil, nil), bytesOf(t, "fa050000000000", "830401020304", "fe00", "fa0400000000")...)
	end(b, 0)
	putChecksum(b)
	v := view(t, b)
	if l := v.LSP(); !v.ChecksumOK() || !bytes.Equal(l.Others, []byte{131, 250, 254}) || l.Bad != 0 || l.Hostname != "a" {
		t.Errorf("%+v", l)
	}
	if !bytes.Equal(v.Bytes(), b) {
		t.Error("the bytes have changed")
	}
}

// TestForLists: what is only shown. A second router's address is a mistake, further capabilities
// are none.
func TestForLists(t *testing.T) {
	c := Content{Level: L1, ID: LSPID{5: 1}, Sequence: 1, Lifetime: 1200}
	const address6 = "20010db8000000000000000000000009"
	b := append(c.Append(nil, nil), bytesOf(t, "86040a090909", "8c10"+address6, "f2070a090909020100", "860401020304", "f2050102030401")...)
	l := view(t, end(b, 0)).LSP()
	if l.Router4 != netip.MustParseAddr("10.9.9.9") || l.Router6 != netip.MustParseAddr("2001:db8::9") || l.Bad != 1 || len(l.Others) != 0 ||
		l.Capability == nil || *l.Capability != (Capability{Router: [4]byte{10, 9, 9, 9}, Down: true}) {
		t.Errorf("%+v", l)
	}
}

func TestNames(t *testing.T) {
	id := LSPID{0x19, 0x21, 0x68, 0, 0x10, 2, 3, 4}
	for got, want := range map[string]string{
		id.String(): "1921.6800.1002.03-04", id.Node().System().String(): "1921.6800.1002",
		Area("\x49\x00\x01\x02").String(): "49.0001.02", SNPA{1, 2, 0xff}.String(): "01:02:ff:00:00:00",
		Levels(3).String(): "L1L2", HelloP2P.String(): "p2p hello", Type(9).String(): "type 9",
		BadChecksum.String(): "bad_checksum", ReasonCount.String(): "unknown", SHA256.String(): "sha256",
	} {
		if got != want {
			t.Errorf("%s, want %s", got, want)
		}
	}
	if printable([]byte("a\x1b[2Jb\xff")) != "a.[2Jb." {
		t.Error("control characters are shown")
	}
	for r := range ReasonCount {
		if r.String() == "" {
			t.Errorf("reason %d has no name", r)
		}
	}
}
