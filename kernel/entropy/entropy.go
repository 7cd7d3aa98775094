// Package entropy is the kernel's source of random bytes: a pool that is fed by
// the processor's generator and by virtio-rng, and a generator that is keyed
// from it. Nothing random leaves it before it is seeded.
//
// The generator is HMAC_DRBG with SHA-256 (NIST SP 800-90A, 10.1.2); input is
// conditioned by hashing it into the state with everything that came before.
package entropy

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"hash"
	"sync"
)

const (
	// seedBits is the credited entropy from which on the source is seeded.
	seedBits = 256
	// requestMax is the most that one Generate of the DRBG gives out, in bytes;
	// longer reads are cut (SP 800-90A, table 2: 2^19 bits).
	requestMax = 1 << 16
	// ReseedBytes is after how many bytes of output Read asks for new input.
	ReseedBytes = 1 << 20
)

// ErrUnseeded is returned by Read until enough entropy has been credited.
var ErrUnseeded = errors.New("entropy: not seeded yet")

// Source is a seeded random generator. It is safe for concurrent use.
type Source struct {
	// Refill, if not nil, is called by Read after every ReseedBytes of output,
	// without any lock held; it calls Add.
	Refill func()

	mu     sync.Mutex
	mac    hash.Hash
	k, v   [sha256.Size]byte
	bits   int
	output int
}

// New returns a source without any entropy.
func New() *Source {
	s := &Source{}
	for i := range s.v {
		s.v[i] = 1
	}
	return s
}

// Add mixes data in and credits it with bits of entropy, 8*len(data) at most.
func (s *Source) Add(data []byte, bits int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.update(data)
	s.bits = min(s.bits+max(min(bits, 8*len(data)), 0), seedBits)
}

// Seeded reports whether Read gives out bytes.
func (s *Source) Seeded() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.bits >= seedBits
}

// Read implements io.Reader. It fills p or fails with ErrUnseeded.
func (s *Source) Read(p []byte) (int, error) {
	if s.generate(p) {
		return len(p), nil
	}
	return 0, ErrUnseeded
}

func (s *Source) generate(p []byte) bool {
	s.mu.Lock()
	if s.bits < seedBits {
		s.mu.Unlock()
		return false
	}
	for rest := p; len(rest) > 0; {
		request := rest[:min(len(rest), requestMax)]
		rest = rest[len(request):]
		for len(request) > 0 {
			s.step()
			request = request[copy(request, s.v[:]):]
		}
		s.update(nil)
	}
	s.output += len(p)
	refill := s.output >= ReseedBytes && s.Refill != nil
	if refill {
		s.output = 0
	}
	s.mu.Unlock()
	if refill {
		s.Refill()
	}
	return true
}

// step is V = HMAC(K, V).
func (s *Source) step() {
	if s.mac == nil {
		s.mac = hmac.New(sha256.New, s.k[:])
	}
	s.mac.Reset()
	s.mac.Write(s.v[:])
	s.mac.Sum(s.v[:0])
}

// update is HMAC_DRBG_Update (10.1.2.2).
func (s *Source) update(data []byte) {
	for round := byte(0); round < 2; round++ {
		mac := hmac.New(sha256.New, s.k[:])
		mac.Write(s.v[:])
		mac.Write([]byte{round})
		mac.Write(data)
		mac.Sum(s.k[:0])
		s.mac = nil
		s.step()
		if len(data) == 0 {
			return
		}
	}
}

const (
	// rdrandTries is how often RDRAND may have no value (Intel DRNG guide,
	// 5.2.1); rdseedTries is more, because RDSEED runs dry under load.
	rdrandTries = 10
	rdseedTries = 100
	// words is how much is taken from the processor at a time.
	words = 16
)

// Word is an instruction that gives a random word, or none at the moment.
type Word func() (v uint64, ok bool)

// FromRDRAND takes words from RDRAND and credits a quarter of their bits: the
// instruction gives the output of a generator, not its noise.
func (s *Source) FromRDRAND(next Word) error {
	return s.fromWords("RDRAND", next, rdrandTries, 4)
}

// FromRDSEED takes words from RDSEED and credits all of their bits.
func (s *Source) FromRDSEED(next Word) error {
	return s.fromWords("RDSEED", next, rdseedTries, 1)
}

// fromWords refuses a generator that is stuck: one that repeats a word, or
// gives only zeros or ones (as processors have done after a resume).
func (s *Source) fromWords(name string, next Word, tries, divide int) error {
	var buf [8 * words]byte
	var last uint64
	for i := range words {
		v, ok := next()
		for n := 1; !ok && n < tries; n++ {
			v, ok = next()
		}
		if !ok {
			return fmt.Errorf("%s gave nothing in %d tries", name, tries)
		}
		if v == 0 || v == ^uint64(0) || i > 0 && v == last {
			return fmt.Errorf("%s is stuck at %#x", name, v)
		}
		last = v
		binary.LittleEndian.PutUint64(buf[8*i:], v)
	}
	s.Add(buf[:], 8*len(buf)/divide)
	return nil
}

// deviceBytes is how much is taken from a device at a time.
const deviceBytes = 64

// FromDevice takes bytes from a random device, which are credited in full
// unless they are all the same.
func (s *Source) FromDevice(read func(p []byte) (int, error)) error {
	var buf [deviceBytes]byte
	for n := 0; n < len(buf); {
		m, err := read(buf[n:])
		if err != nil {
			return err
		}
		if m <= 0 || m > len(buf)-n {
			return fmt.Errorf("the random device returned %d of %d bytes", m, len(buf)-n)
		}
		n += m
	}
	for _, b := range buf {
		if b != buf[0] {
			s.Add(buf[:], 8*len(buf))
			return nil
		}
	}
	return fmt.Errorf("the random device is stuck at %#02x", buf[0])
}
