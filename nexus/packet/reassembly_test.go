package packet

import (
	"bytes"
	"errors"
	"testing"
	"time"
)

// cut makes fragments of n bytes each of a packet's payload.
func cut(version int, id uint16, payload []byte, n int) (list [][]byte) {
	for at := 0; at < len(payload); at += n {
		end := min(at+n, len(payload))
		list = append(list, one(version, id, payload[at:end], at, end < len(payload)))
	}
	return list
}

func one(version int, id uint16, data []byte, at int, more bool) []byte {
	if version == 6 {
		return v6Packet(fragmentHeader, v6Fragment(UDP, at, more, uint32(id)), data)
	}
	field := uint16(at / 8)
	if more {
		field |= 0x2000
	}
	return v4Packet(UDP, id, field, nil, data)
}

func whole(version int, payload []byte, id uint16) []byte {
	if version == 6 {
		return v6Packet(UDP, nil, payload)
	}
	return v4Packet(UDP, id, 0, nil, payload)
}

func reassembler(t testing.TB, l Limits) *Reassembler {
	t.Helper()
	r, err := NewReassembler(l)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// TestReassemblyOrders is reass_default: every order of four fragments.
func TestReassemblyOrders(t *testing.T) {
	payload := append(udpDatagram(100, ""), noise(92)...)
	for _, version := range []int{4, 6} {
		parts := cut(version, 77, payload, 32)
		want := whole(version, payload, 77)
		r := reassembler(t, Limits{})
		var permute func(k int)
		permute = func(k int) {
			if k < len(parts) {
				for i := k; i < len(parts); i++ {
					parts[k], parts[i] = parts[i], parts[k]
					permute(k + 1)
					parts[k], parts[i] = parts[i], parts[k]
				}
				return
			}
			for i, p := range parts {
				got, why := r.Add(0, p)
				if last := i == len(parts)-1; last != (got != nil) || last != (why == OK) || !last && why != FragmentHeld {
					t.Fatalf("version %d, fragment %d: %v", version, i, why)
				}
				if got != nil && !bytes.Equal(got, want) {
					t.Fatalf("version %d:\n% x, want\n% x", version, got, want)
				}
			}
		}
		permute(0)
		if n, b := r.Waiting(); n != 0 || b != 0 {
			t.Errorf("%d packets and %d bytes left", n, b)
		}
		if r.Count(OK) != 24 || r.Count(FragmentHeld) != 72 {
			t.Errorf("counted %d and %d", r.Count(OK), r.Count(FragmentHeld))
		}
	}
}

func TestReassemblyWhole(t *testing.T) {
	r := reassembler(t, Limits{})
	p := v4Packet(UDP, 7, 0, nil, udpDatagram(8, ""))
	if got, why := r.Add(0, append(bytes.Clone(p), 0, 0)); why != OK || !bytes.Equal(got, p) {
		t.Errorf("a whole packet: %v % x", why, got)
	}
	if got, why := r.Add(0, p[:10]); got != nil || why != Short {
		t.Errorf("a bad packet: %v", why)
	}
}

// TestReassemblyAtomic is reass_atomic (RFC 6946): it is whole at once, and
// has nothing to do with fragments of the same identification.
func TestReassemblyAtomic(t *testing.T) {
	r := reassembler(t, Limits{})
	payload := udpDatagram(16, "8 bytes.")
	if _, why := r.Add(0, one(6, 5, append(bytes.Clone(payload), payload...), 0, true)); why != FragmentHeld {
		t.Fatal(why)
	}
	got, why := r.Add(0, one(6, 5, payload, 0, false))
	if want := v6Packet(UDP, nil, payload); why != OK || !bytes.Equal(got, want) {
		t.Errorf("%v % x, want % x", why, got, want)
	}
	if n, _ := r.Waiting(); n != 1 {
		t.Errorf("%d wait", n)
	}
	// With a header before and one behind it.
	ext := join([]byte{fragmentHeader, 0, 0, 0, 0, 0, 0, 0}, v6Fragment(destination, 0, false, 5), []byte{UDP, 0, 1, 4, 0, 0, 0, 0})
	got, why = r.Add(0, v6Packet(destination, ext, payload))
	_ = why
	if want := v6Packet(destination, join([]byte{destination, 0, 0, 0, 0, 0, 0, 0}, []byte{UDP, 0, 1, 4, 0, 0, 0, 0}), payload); !bytes.Equal(got, want) {
		t.Errorf("% x, want % x", got, want)
	}
}

// TestReassemblyRefusals: after each the rest of the packet is refused too.
func TestReassemblyRefusals(t *testing.T) {
	type part struct {
		at, n int
		more  bool
		ecn   byte
	}
	big := make([]part, 65)
	for i := range big {
		big[i] = part{at: i * 16, n: 16, more: true}
	}
	tests := []struct {
		name  string
		parts []part
		want  Reason
	}{
		{"overlap from before", []part{{0, 32, true, 0}, {24, 16, true, 0}}, FragmentOverlap},
		{"overlap from behind", []part{{24, 16, true, 0}, {0, 32, true, 0}}, FragmentOverlap},
		{"overlap inside", []part{{0, 64, true, 0}, {24, 8, true, 0}}, FragmentOverlap},
		{"overlap around", []part{{24, 8, true, 0}, {16, 64, true, 0}}, FragmentOverlap},
		{"same place, longer", []part{{24, 8, true, 0}, {24, 16, true, 0}}, FragmentOverlap},
		{"two ends", []part{{64, 8, false, 0}, {96, 8, false, 0}}, FragmentInconsistent},
		{"end before others", []part{{64, 8, true, 0}, {32, 8, false, 0}}, FragmentInconsistent},
		{"beyond the end", []part{{32, 8, false, 0}, {64, 8, true, 0}}, FragmentInconsistent},
		{"too many", big, FragmentTooMany},
		{"too long", []part{{65528, 7, false, 0}, {0, 16, true, 0}}, FragmentTooLong},
		{"too long, other order", []part{{0, 16, true, 0}, {65528, 7, false, 0}}, FragmentTooLong},
		{"marks", []part{{0, 16, true, 0}, {16, 8, false, 3}}, FragmentECN},
	}
	for _, tt := range tests {
		r := reassembler(t, Limits{})
		for i, p := range tt.parts {
			b := one(4, 9, noise(p.n), p.at, p.more)
			b[1] = p.ecn
			got, why := r.Add(0, summed(b))
			want := FragmentHeld
			if i == len(tt.parts)-1 {
				want = tt.want
			}
			if got != nil || why != want {
				t.Errorf("%s: fragment %d: %v, want %v", tt.name, i, why, want)
			}
		}
		if tt.want == FragmentECN {
			continue
		}
		if _, b := r.Waiting(); b != 0 {
			t.Errorf("%s: %d bytes are kept", tt.name, b)
		}
		if _, why := r.Add(1, one(4, 9, noise(8), 8000, true)); why != tt.want {
			t.Errorf("%s: then %v", tt.name, why)
		}
		if r.Expire(30*time.Second) != 1 || r.Count(FragmentTimeout) != 0 {
			t.Errorf("%s: not forgotten, or counted twice", tt.name)
		}
	}
}

// TestReassemblyHeaderSum: a fragment whose header was changed on its way is none, and
// spoils nothing. The header of IPv6 has no sum.
func TestReassemblyHeaderSum(t *testing.T) {
	parts := cut(4, 3, append(udpDatagram(64, ""), noise(56)...), 32)
	for i, part := range parts {
		r := reassembler(t, Limits{})
		r.Add(0, parts[1-i])
		for at := range 20 {
			if at == 0 || at == 2 || at == 3 {
				continue // it is no IPv4 packet of this length then
			}
			b := bytes.Clone(part)
			b[at] ^= 0x10
			if got, why := r.Add(0, b); got != nil || why != HeaderSum && why != FragmentLength && why != BadTransport {
				t.Errorf("byte %d of fragment %d changed: %v", at, i, why)
			}
		}
		if got, why := r.Add(0, part); got == nil || r.Count(HeaderSum) == 0 {
			t.Errorf("the fragment as it was: %v, %d refused", why, r.Count(HeaderSum))
		}
	}
}

func TestReassemblyDuplicate(t *testing.T) {
	r := reassembler(t, Limits{})
	payload := append(udpDatagram(64, ""), noise(56)...)
	parts := cut(4, 3, payload, 32)
	for i, want := range []Reason{FragmentHeld, FragmentDuplicate, OK} {
		if _, why := r.Add(0, parts[i/2]); why != want {
			t.Errorf("%d: %v, want %v", i, why, want)
		}
	}
	other := bytes.Clone(parts[0])
	other[30]++
	r.Add(0, parts[0])
	if _, why := r.Add(0, other); why != FragmentOverlap {
		t.Errorf("other bytes at the same place: %v", why)
	}
}

// TestReassemblyTimeout is reass_timeout.
func TestReassemblyTimeout(t *testing.T) {
	r := reassembler(t, Limits{Lifetime: 10 * time.Second})
	parts := cut(6, 3, append(udpDatagram(64, ""), noise(56)...), 32)
	r.Add(time.Second, parts[0])
	if n := r.Expire(11*time.Second - 1); n != 0 {
		t.Errorf("%d expired early", n)
	}
	if _, why := r.Add(11*time.Second, parts[1]); why != FragmentHeld || r.Count(FragmentTimeout) != 1 {
		t.Errorf("%v, %d timeouts", why, r.Count(FragmentTimeout))
	}
	if n, _ := r.Waiting(); n != 1 {
		t.Errorf("%d wait", n)
	}
}

// TestReassemblyLimits (reass_fuzz_queue_limit): what waits is bounded, in all and for each
// source.
func TestReassemblyLimits(t *testing.T) {
	r := reassembler(t, Limits{Packets: 4, PerSource: 2})
	from := func(b []byte, last byte) []byte { b[15] = last; return summed(b) }
	for id := range uint16(3) {
		r.Add(0, from(one(4, id, noise(16), 0, true), 1))
	}
	if n, _ := r.Waiting(); n != 2 || r.Count(FragmentSource) != 1 {
		t.Errorf("%d of one source wait, %d evicted", n, r.Count(FragmentSource))
	}
	// The oldest, number 0, made room.
	if got, _ := r.Add(0, from(one(4, 1, noise(8), 16, false), 1)); got == nil {
		t.Error("number 1 is not there any more")
	}
	for s := range byte(4) {
		r.Add(0, from(one(4, 9, noise(16), 0, true), 10+s))
	}
	if n, _ := r.Waiting(); n != 4 || r.Count(FragmentEvicted) != 1 {
		t.Errorf("%d wait, %d evicted", n, r.Count(FragmentEvicted))
	}
	// Prefixes of 64 bits are one source.
	r = reassembler(t, Limits{PerSource: 2})
	for id := range uint16(3) {
		b := one(6, id, noise(16), 0, true)
		b[23] = byte(id)
		r.Add(0, b)
	}
	if n, _ := r.Waiting(); n != 2 {
		t.Errorf("%d of one prefix wait", n)
	}
	// Bytes: old ones go.
	r = reassembler(t, Limits{Packets: 4096, PerSource: 4096, Bytes: BytesMin})
	for id := range uint16(2000) {
		r.Add(0, one(4, id, noise(1200), 8, true))
		if _, b := r.Waiting(); b > BytesMin {
			t.Fatalf("%d bytes", b)
		}
	}
	if r.Count(FragmentEvicted) == 0 {
		t.Error("nothing was evicted")
	}
	for _, l := range []Limits{{Packets: -1}, {Fragments: 1}, {Bytes: 100}, {PerSource: -1}, {Lifetime: -1}, {Packets: 1 << 17}} {
		if _, err := NewReassembler(l); !errors.Is(err, ErrLimits) {
			t.Errorf("%+v: %v", l, err)
		}
	}
}

func TestReassemblyLongest(t *testing.T) {
	payload := append(udpDatagram(65515, ""), noise(65507)...)
	r := reassembler(t, Limits{})
	var got []byte
	for _, p := range cut(4, 1, payload, 1480) {
		got, _ = r.Add(0, p)
	}
	if !bytes.Equal(got, whole(4, payload, 1)) {
		t.Error("65535 bytes are not put together")
	}
	if w := r.Worst(); w < 1<<20 || w > 3<<20 {
		t.Errorf("worst case %d bytes", w)
	}
}

func TestReassemblyECN(t *testing.T) {
	for set, want := range map[uint8]int{0b0001: 0, 0b0010: 1, 0b0100: 2, 0b1000: 3, 0b1100: 3, 0b1010: 3, 0b0101: 0, 0b1001: -1, 0b0110: 2} {
		got, ok := mergeECN(set)
		if ok != (want >= 0) || ok && int(got) != want {
			t.Errorf("%04b: %d %v", set, got, ok)
		}
	}
	r := reassembler(t, Limits{})
	for _, version := range []int{4, 6} {
		parts := cut(version, 3, append(udpDatagram(64, ""), noise(56)...), 32)
		for i, p := range parts {
			ecn := byte(2 + i)
			if version == 4 {
				p[1] = 0xa0 | ecn
				summed(p)
			} else {
				p[0], p[1] = 0x6a, ecn<<4
			}
		}
		r.Add(0, parts[0])
		got, _ := r.Add(0, parts[1])
		if in, why := Parse(got, len(got)); why != OK || in.TOS != 0xa3 {
			t.Errorf("version %d: %v %#x", version, why, in.TOS)
		}
	}
}

// FuzzReassembly is reass_*_fuzz: fragments of a few packets, as the input says,
// among tight limits. What comes out is a whole packet, or was one; nothing is kept
// beyond the limits, and nothing at all when time is over.
func FuzzReassembly(f *testing.F) {
	f.Add([]byte{0, 0, 4, 1, 0, 4, 4, 0})
	f.Add([]byte{0x10, 0, 4, 1, 0x11, 4, 4, 0, 0x10, 4, 4, 0, 0x10, 0, 8, 1})
	f.Fuzz(func(t *testing.T, script []byte) {
		r := reassembler(t, Limits{Packets: 3, PerSource: 2, Fragments: 4, Bytes: BytesMin})
		now := time.Duration(0)
		for ; len(script) >= 4; script = script[4:] {
			s := script[:4]
			version, id := 4, uint16(s[0]&3)
			if s[0]&0x10 != 0 {
				version = 6
			}
			n := int(s[2]) * 8
			if s[3]&4 != 0 {
				n++
			}
			b := one(version, id, make([]byte, n), int(s[1])*8, s[3]&1 != 0)
			if version == 4 {
				b[15] = s[0] >> 6
			}
			b[1] = s[3] >> 4
			now += time.Duration(s[0]>>2&3) * time.Second
			got, why := r.Add(now, b)
			if (got != nil) != (why == OK) {
				t.Fatalf("%v with %d bytes", why, len(got))
			}
			if got != nil {
				if in, why := Parse(got, len(got)); why == OK && (in.Fragment() || in.Atomic || in.Length != len(got)) {
					t.Fatalf("%+v", in)
				}
			}
			check(t, r)
		}
		r.Expire(now + time.Minute)
		if n, b := r.Waiting(); n != 0 || b != 0 || len(r.sources) != 0 {
			t.Fatalf("%d packets, %d bytes, %d sources left", n, b, len(r.sources))
		}
	})
}

func check(t *testing.T, r *Reassembler) {
	n, bytes, sources := 0, 0, 0
	for p := r.root.next; p != &r.root; p = p.next {
		n++
		bytes += p.cost
		if r.waiting[p.key] != p || len(p.pieces) > r.limits.Fragments {
			t.Fatal("list and map differ, or there are too many fragments")
		}
	}
	for _, c := range r.sources {
		sources += c
		if c > r.limits.PerSource {
			t.Fatalf("%d of one source", c)
		}
	}
	if n != len(r.waiting) || n > r.limits.Packets || bytes != r.bytes || bytes > r.limits.Bytes || sources != n {
		t.Fatalf("%d packets (%d), %d bytes (%d), %d of sources", n, len(r.waiting), bytes, r.bytes, sources)
	}
}
