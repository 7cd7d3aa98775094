package pdu

import (
	"bytes"
	"encoding/hex"
	"reflect"
	"strings"
	"testing"
)

// The bytes in this file were captured from FRR 8.4.4, padding left out, but for the lists of SNPs:
// frrEntries and the entry in frrPSNP are made up, of the lengths that FRR's headers say. Hellos are
// put together of headers and TLVs.

// bytesOf are hexadecimal digits, in parts.
func bytesOf(tb testing.TB, parts ...string) []byte {
	tb.Helper()
	b, err := hex.DecodeString(strings.Join(parts, ""))
	if err != nil {
		tb.Fatal(err)
	}
	return b
}

// view checks bytes that must be right.
func view(tb testing.TB, b []byte) View {
	tb.Helper()
	v, why := Check(b)
	if why != OK {
		tb.Fatalf("%x: %v", b, why)
	}
	return v
}

const (
	frrP2P     = "831401001101000002000000000002000305d900"
	frrLAN     = "831b01001001000002000000000002000305d94000000000000000"
	frrDown    = "f0050200000001"
	frrInit    = "f00f010000000100000000000200000001"
	frrUp      = "f00f000000000100000000000200000001"
	frrCommon  = "8102cc8e" + "010403490001"
	frrLSP     = "831b010014010000003804a0000000000002000000000002335a03" + frrAuth + "010403490001" + "89027232"
	frrAuth    = "0a1136ebfa1a5d691a54912c8b5cab3ae334bd"
	frrNode    = "831b0100140100000033047e0000000000010200000000018a3f03" + "1616" + "00000000000100000000000000000000020000000000"
	frrCSNP    = "83210100190100000043000000000001000000000000000000ffffffffffffffff" + "0920" + frrEntries
	frrEntries = "04a0" + "0000000000010000" + "00000002" + "1234" + "04b0" + "0000000000020000" + "00000003" + "5678"
	frrPSNP    = "831101001b010000002300000000000201" + "0910" + "04a0" + "0000000000010000" + "00000002" + "1234"
)

// frrHello is a hello of 1497 bytes.
func frrHello(tb testing.TB, parts ...string) []byte { return pad(bytesOf(tb, parts...), 1497) }

func TestFixtureP2PHello(t *testing.T) {
	two := SystemID{5: 2}
	for text, want := range map[string]ThreeWay{
		frrDown: {State: SaysDown, Local: 1, HasLocal: true},
		frrInit: {State: SaysInit, Local: 1, HasLocal: true, Neighbour: two, NeighbourCircuit: 1, HasNeighbour: true},
		frrUp:   {State: SaysUp, Local: 1, HasLocal: true, Neighbour: two, NeighbourCircuit: 1, HasNeighbour: true},
	} {
		b := frrHello(t, frrP2P, text, frrCommon)
		h := view(t, b).Hello()
		if h.Type != HelloP2P || h.Levels != 2 || h.Source != two || h.Hold != 3 || h.Circuit != 0 {
			t.Errorf("header %+v", h)
		}
		if h.ThreeWay == nil || *h.ThreeWay != want {
			t.Errorf("three-way %+v, want %+v", h.ThreeWay, want)
		}
		if !h.HasNLPID(NLPIDv4) || !h.HasNLPID(NLPIDv6) || len(h.Areas) != 1 || h.Areas[0].String() != "49.0001" || h.Bad != 0 {
			t.Errorf("TLVs %+v", h.TLVs)
		}
		if again := h.Append(nil, 1497, nil); !bytes.Equal(again, b) {
			t.Errorf("written anew:\n%x\nwant\n%x", again[:60], b[:60])
		}
	}
}

func TestFixtureLANHello(t *testing.T) {
	for lan, want := range map[string]NodeID{"00000000000000": {}, "00000000000102": {5: 1, 6: 2}} {
		b := frrHello(t, frrLAN[:len(frrLAN)-14], lan, frrCommon)
		h := view(t, b).Hello()
		if h.Type != HelloL2 || h.Levels != 2 || h.Source != (SystemID{5: 2}) || h.Hold != 3 || h.Priority != 64 || h.LAN != want {
			t.Errorf("%+v", h)
		}
		if again := h.Append(nil, 1497, nil); !bytes.Equal(again, b) {
			t.Errorf("written anew:\n%x\nwant\n%x", again[:60], b[:60])
		}
	}
}

// TestFixtureMD5LSP: the digest leaves out lifetime and checksum, and the checksum is made after it.
func TestFixtureMD5LSP(t *testing.T) {
	b := bytesOf(t, frrLSP)
	v := view(t, b)
	if !v.ChecksumOK() {
		t.Error("the checksum is refused")
	}
	key := Key{Algorithm: MD5, Secret: []byte("dompw")}
	if why := v.Authentic([]Key{key}); why != OK {
		t.Error(why)
	}
	if why := v.Authentic([]Key{{Algorithm: MD5, Secret: []byte("dompx")}}); why != BadAuth {
		t.Errorf("with another key: %v", why)
	}
	l := v.LSP()
	if l.Level != L2 || l.ID != (LSPID{5: 2}) || l.Sequence != 2 || l.Lifetime != 0x4a0 || l.Checksum != 0x335a ||
		l.Flags.Levels() != 3 || l.Hostname != "r2" || len(l.Areas) != 1 {
		t.Errorf("%+v", l)
	}
	c := Content{Level: L2, ID: l.ID, Sequence: 2, Lifetime: l.Lifetime, Flags: l.Flags, Areas: l.Areas, Hostname: l.Hostname}
	if again := c.Append(nil, &key); !bytes.Equal(again, b) {
		t.Errorf("written anew:\n%x\nwant\n%x", again, b)
	}
	SetLifetime(b, 7)
	if !v.ChecksumOK() || v.Authentic([]Key{key}) != OK || v.LSPHeader().Lifetime != 7 {
		t.Error("another lifetime makes it another LSP")
	}
	for i := checksumFrom; i < len(b); i++ {
		b[i] ^= 0x10
		if w, why := Check(b); why == OK && w.ChecksumOK() {
			t.Errorf("with octet %d changed the checksum is taken", i)
		}
		b[i] ^= 0x10
	}
}

func TestFixturePseudonodeLSP(t *testing.T) {
	b := bytesOf(t, frrNode)
	v := view(t, b)
	l := v.LSP()
	want := []Neighbour{{Node: NodeID{5: 1}}, {Node: NodeID{5: 2}}}
	if !v.ChecksumOK() || l.ID != (NodeID{5: 1, 6: 2}).LSP(0) || !reflect.DeepEqual(l.Neighbours, want) {
		t.Errorf("%+v", l)
	}
	c := Content{Level: L2, ID: l.ID, Sequence: l.Sequence, Lifetime: l.Lifetime, Flags: l.Flags,
		Items: []Item{want[0].Item(), want[1].Item()}}
	if again := c.Append(nil, nil); !bytes.Equal(again, b) {
		t.Errorf("written anew:\n%x\nwant\n%x", again, b)
	}
}

func TestFixtureSNP(t *testing.T) {
	entries := []Header{{LSPID{5: 1}, 2, 0x1234, 0x4a0}, {LSPID{5: 2}, 3, 0x5678, 0x4b0}}
	for text, want := range map[string]*SNP{
		frrCSNP: {Type: CSNPL2, Source: NodeID{5: 1}, Last: LastLSPID, TLVs: TLVs{Entries: entries}},
		frrPSNP: {Type: PSNPL2, Source: NodeID{5: 2, 6: 1}, TLVs: TLVs{Entries: entries[:1]}},
	} {
		b := bytesOf(t, text)
		s := view(t, b).SNP()
		if !reflect.DeepEqual(s, want) {
			t.Errorf("%+v\nwant %+v", s, want)
		}
		if again := s.Append(nil, nil); !bytes.Equal(again, b) {
			t.Errorf("written anew:\n%x\nwant\n%x", again, b)
		}
	}
}
