package pdu

import (
	"bytes"
	"errors"
	"fmt"
	"os/exec"
	"strings"
	"testing"
)

// TestAuthentication: each algorithm takes what it made itself and nothing else.
func TestAuthentication(t *testing.T) {
	for a := range algorithms {
		k := Key{ID: 258, Algorithm: a, Secret: []byte("secret")}
		other := k
		other.Secret = []byte("Secret")
		for name, b := range map[string][]byte{
			"hello": (&Hello{Type: HelloP2P, TLVs: TLVs{NLPIDs: []byte{NLPIDv4}}}).Append([]byte{9}, 200, &k)[1:],
			"LSP":   (&Content{Level: L1, ID: LSPID{5: 1}, Sequence: 1, Lifetime: 1200, Hostname: "a"}).Append([]byte{9}, &k)[1:],
			"SNP":   (&SNP{Type: CSNPL1, TLVs: TLVs{Entries: make([]Header, 3)}}).Append([]byte{9}, &k)[1:],
			"purge": AppendPurge([]byte{9}, L1, LSPID{5: 1}, 7, SystemID{5: 2}, "r2", &k)[1:],
		} {
			v := view(t, b)
			for want, keys := range map[Reason][][]Key{
				OK:      {nil, {k}, {other, k}},
				BadAuth: {{other}, {{ID: 258, Algorithm: (a + 1) % algorithms, Secret: k.Secret}}},
			} {
				for _, list := range keys {
					if why := v.Authentic(list); why != want {
						t.Errorf("%v %s: %v, want %v", a, name, why, want)
					}
				}
			}
			if wrong := (Key{ID: 259, Algorithm: a, Secret: k.Secret}); a > MD5 && v.Authentic([]Key{wrong}) != BadAuth {
				t.Errorf("%v %s: taken under another key's number", a, name)
			}
			if a != Clear {
				b[len(b)-1] ^= 1
				if why := v.Authentic([]Key{k}); why != BadAuth {
					t.Errorf("%v %s changed: %v", a, name, why)
				}
				b[len(b)-1] ^= 1
			}
			twice := append(bytes.Clone(b), b[v.header:v.header+k.Length()]...)
			if why := view(t, end(twice, 0)).Authentic([]Key{k}); why != BadAuth {
				t.Errorf("%v %s twice: %v", a, name, why)
			}
		}
		without := (&SNP{Type: PSNPL1}).Append(nil, nil)
		if why := view(t, without).Authentic([]Key{k}); why != NoAuth {
			t.Errorf("%v without: %v", a, why)
		}
	}
}

// TestDigestsElsewhere compares digests with those of the openssl command, over bytes that this
// test lays out by itself from RFC 5304 and RFC 5310.
func TestDigestsElsewhere(t *testing.T) {
	openssl, err := exec.LookPath("openssl")
	if err != nil {
		t.Skipf("%v: install openssl", err)
	}
	for _, tt := range []struct {
		algorithm Algorithm
		length    int
	}{{MD5, 16}, {SHA1, 20}, {SHA224, 28}, {SHA256, 32}, {SHA384, 48}, {SHA512, 64}} {
		k := Key{ID: 0x0102, Algorithm: tt.algorithm, Secret: []byte("0123456789abcdef")}
		got := (&Content{Level: L2, ID: LSPID{5: 1}, Sequence: 1, Lifetime: 1200, Flags: 3, Hostname: "r1"}).Append(nil, &k)
		head, filler := "0a"+fmt.Sprintf("%02x", tt.length+3)+"030102", "878fe1f3"
		if tt.algorithm == MD5 {
			head, filler = "0a1136", "00000000"
		}
		text := bytesOf(t, "831b010014010000", fmt.Sprintf("%04x", len(got)), "0000", "0000000000010000", "00000001", "0000", "03",
			head, strings.Repeat(filler, tt.length/4), "89027231")
		cmd := exec.Command(openssl, "dgst", "-"+tt.algorithm.String(), "-mac", "HMAC", "-macopt", "key:0123456789abcdef", "-binary")
		cmd.Stdin = bytes.NewReader(text)
		want, err := cmd.Output()
		if err != nil {
			t.Fatal(err)
		}
		if at := 27 + len(head)/2; !bytes.Equal(got[at:at+tt.length], want) {
			t.Errorf("%v: %x, openssl says %x", tt.algorithm, got[at:at+tt.length], want)
		}
		if !view(t, got).ChecksumOK() {
			t.Errorf("%v: the checksum is wrong", tt.algorithm)
		}
	}
}

func TestKeysRefused(t *testing.T) {
	for _, k := range []Key{{Algorithm: algorithms, Secret: []byte("x")}, {}, {Secret: make([]byte, 255)}, {Algorithm: SHA1, Secret: make([]byte, 21)}} {
		if err := k.Check(); !errors.Is(err, ErrKey) {
			t.Errorf("%+v: %v", k, err)
		}
	}
	for _, k := range []Key{{Secret: make([]byte, 254)}, {Algorithm: MD5, Secret: make([]byte, 100)}, {Algorithm: SHA1, Secret: make([]byte, 20)}} {
		if err := k.Check(); err != nil {
			t.Error(err)
		}
	}
	if (*Key)(nil).Length() != 0 {
		t.Error("no key takes room")
	}
}

func TestPurge(t *testing.T) {
	plain := AppendPurge(nil, L2, LSPID{5: 1}, 7, SystemID{5: 2}, "r2", nil)
	if len(plain) != 27 {
		t.Errorf("%d bytes, want the header alone", len(plain))
	}
	sealed := AppendPurge(nil, L2, LSPID{5: 1}, 7, SystemID{5: 2}, "r2", &Key{Algorithm: MD5, Secret: []byte("x")})
	for _, b := range [][]byte{plain, sealed} {
		v := view(t, b)
		if h := v.LSPHeader(); h.Lifetime != 0 || h.Sequence != 7 || h.Checksum != 0 || !v.ChecksumOK() || !v.PurgeOnly() {
			t.Errorf("%+v", h)
		}
	}
	if l := view(t, sealed).LSP(); l.Hostname != "r2" {
		t.Errorf("%+v", l)
	}
	more := append(bytes.Clone(sealed), 22, 0)
	if view(t, end(more, 0)).PurgeOnly() {
		t.Error("one with neighbours is a purge")
	}
}
