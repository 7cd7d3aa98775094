package entropy

import (
	"bytes"
	"encoding/hex"
	"errors"
	"io"
	"sync"
	"testing"
)

// counter gives words that differ.
func counter(start uint64) Word {
	return func() (uint64, bool) {
		start += 0x9e3779b97f4a7c15
		return start, true
	}
}

func TestReadBeforeSeedingFails(t *testing.T) {
	s := New()
	s.Add([]byte("a few bytes without credit"), 0)
	if _, err := s.Read(make([]byte, 8)); !errors.Is(err, ErrUnseeded) || s.Seeded() {
		t.Errorf("an unseeded source gave out bytes: %v", err)
	}
	s.Add(make([]byte, 31), 1<<20)
	if s.Seeded() {
		t.Error("31 bytes were credited with more than 248 bits")
	}
	s.Add([]byte{1}, 8)
	if !s.Seeded() {
		t.Error("256 credited bits do not seed")
	}
}

func TestSameInputSameOutputAndOtherInputOther(t *testing.T) {
	read := func(start uint64) []byte {
		s := New()
		if err := s.FromRDSEED(counter(start)); err != nil {
			t.Fatal(err)
		}
		out := make([]byte, 100)
		if _, err := io.ReadFull(s, out); err != nil {
			t.Fatal(err)
		}
		return out
	}
	if !bytes.Equal(read(1), read(1)) {
		t.Error("the generator is not a function of its input")
	}
	if bytes.Equal(read(1), read(2)) {
		t.Error("other input, same output")
	}
}

func TestOutputNeverRepeats(t *testing.T) {
	s := New()
	s.FromRDRAND(counter(7))
	seen := map[[32]byte]bool{}
	for range 1000 {
		var out [32]byte
		if _, err := s.Read(out[:]); err != nil {
			t.Fatal(err)
		}
		if seen[out] {
			t.Fatal("32 bytes came twice")
		}
		seen[out] = true
	}
}

func TestStuckSourcesAreRefused(t *testing.T) {
	constant := func(v uint64) Word { return func() (uint64, bool) { return v, true } }
	flip := uint64(7)
	for name, word := range map[string]Word{
		"zeros":       constant(0),
		"ones":        constant(^uint64(0)),
		"repeated":    constant(0x1234),
		"alternating": func() (uint64, bool) { flip ^= 1; return flip, true },
		"dry":         func() (uint64, bool) { return 0, false },
	} {
		s := New()
		if s.FromRDRAND(word) == nil || s.FromRDSEED(word) == nil || s.Seeded() {
			t.Errorf("%s: a stuck generator was credited", name)
		}
	}
	s := New()
	for name, read := range map[string]func([]byte) (int, error){
		"same byte": func(p []byte) (int, error) { clear(p); return len(p), nil },
		"a short period": func(p []byte) (int, error) {
			for i := range p {
				p[i] = byte(i % 16)
			}
			return len(p), nil
		},
		"nothing":  func(p []byte) (int, error) { return 0, nil },
		"too much": func(p []byte) (int, error) { return len(p) + 1, nil },
		"error":    func(p []byte) (int, error) { return 0, io.EOF },
	} {
		if s.FromDevice(read) == nil || s.Seeded() {
			t.Errorf("%s: a broken device was credited", name)
		}
	}
}

func TestDryGeneratorIsAskedAgain(t *testing.T) {
	next, n := counter(3), 0
	s := New()
	if err := s.FromRDRAND(func() (uint64, bool) {
		if n++; n%5 != 0 {
			return 0, false
		}
		return next()
	}); err != nil || !s.Seeded() {
		t.Errorf("a generator that is dry four times in five: %v, seeded %v", err, s.Seeded())
	}
}

func TestRefillComesAfterEnoughOutput(t *testing.T) {
	s := New()
	s.FromRDSEED(counter(5))
	refills := 0
	s.Refill = func() { refills++; s.FromRDSEED(counter(uint64(refills))) }
	buf := make([]byte, ReseedBytes/4)
	for range 8 {
		s.Read(buf)
	}
	if refills != 2 {
		t.Errorf("%d refills after %d bytes", refills, 8*len(buf))
	}
}

func TestConcurrentUse(t *testing.T) {
	s := New()
	s.FromRDSEED(counter(5))
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			for range 100 {
				s.Read(make([]byte, 100))
				s.Add([]byte("x"), 0)
			}
		})
	}
	wg.Wait()
}

// TestKnownAnswer is the first case without reseeding of HMAC_DRBG with SHA-256
// in NIST's CAVP vectors: the second output counts.
func TestKnownAnswer(t *testing.T) {
	unhex := func(s string) []byte {
		b, err := hex.DecodeString(s)
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	input := unhex("ca851911349384bffe89de1cbdc46e6831e44d34a4fb935ee285dd14b71a7488" + "659ba96c601dc69fc902940805ec0ca8")
	want := unhex("e528e9abf2dece54d47c7e75e5fe302149f817ea9fb4bee6f4199697d04d5b89" +
		"d54fbb978a15b5c443c9ec21036d2460b6f73ebad0dc2aba6e624abf07745bc1" +
		"07694bb7547bb0995f70de25d6b29e2d3011bb19d27676c07162c8b5ccde0668" +
		"961df86803482cb37ed6d5c0bb8d50cf1f50d476aa0458bdaba806f48be9dcb8")
	s := New()
	s.Add(input, 256)
	out := make([]byte, len(want))
	for range 2 {
		if _, err := s.Read(out); err != nil {
			t.Fatal(err)
		}
	}
	if !bytes.Equal(out, want) {
		t.Errorf("got %x", out)
	}
}

func TestSourceThatRepeatsItselfIsRefused(t *testing.T) {
	s := New()
	if err := s.FromRDSEED(counter(1)); err != nil {
		t.Fatal(err)
	}
	if s.FromRDSEED(counter(1)) == nil {
		t.Error("the same words as last time were taken")
	}
	device := func(p []byte) (int, error) {
		for i := range p {
			p[i] = byte(i * i)
		}
		return len(p), nil
	}
	s = New()
	first, second := s.FromDevice(device), s.FromDevice(device)
	if first != nil || second == nil {
		t.Errorf("a device that repeats itself: %v, %v", first, second)
	}
}

func TestCounterIsNotCredited(t *testing.T) {
	read := func(start uint64) []byte {
		s := New()
		for range 100 {
			s.FromCounter(func() uint64 { start++; return start })
		}
		if s.Seeded() {
			t.Fatal("a counter has seeded the source")
		}
		s.FromRDSEED(counter(1))
		out := make([]byte, 32)
		s.Read(out)
		return out
	}
	if bytes.Equal(read(1), read(1000)) {
		t.Error("the counter was not mixed in")
	}
}

func TestReadAllocatesNothing(t *testing.T) {
	s := New()
	s.FromRDSEED(counter(1))
	buf := make([]byte, 100)
	if n := testing.AllocsPerRun(100, func() { s.Read(buf) }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}
