package entropy

import (
	"bytes"
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
	for name, word := range map[string]Word{
		"zeros":    constant(0),
		"ones":     constant(^uint64(0)),
		"repeated": constant(0x1234),
		"dry":      func() (uint64, bool) { return 0, false },
	} {
		s := New()
		if s.FromRDRAND(word) == nil || s.FromRDSEED(word) == nil || s.Seeded() {
			t.Errorf("%s: a stuck generator was credited", name)
		}
	}
	s := New()
	for name, read := range map[string]func([]byte) (int, error){
		"same byte": func(p []byte) (int, error) { clear(p); return len(p), nil },
		"nothing":   func(p []byte) (int, error) { return 0, nil },
		"too much":  func(p []byte) (int, error) { return len(p) + 1, nil },
		"error":     func(p []byte) (int, error) { return 0, io.EOF },
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
