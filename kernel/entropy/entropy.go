// Package entropy is the kernel's source of random bytes: a pool that is fed by
// the processor's generator and by virtio-rng, and a generator that is keyed
// from it. Nothing random leaves it before it is seeded.
//
// The generator is HMAC_DRBG with SHA-256 (NIST SP 800-90A, 10.1.2); input is
// conditioned by hashing it into the state with everything that came before.
package entropy

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
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
	drbg   drbg
	bits   int
	output int

	// seen holds the hash of what each kind of source gave last: a source that
	// gives the same again is stuck.
	seen map[string][sha256.Size]byte
}

// New returns a source without any entropy.
func New() *Source {
	return &Source{drbg: newDRBG(), seen: map[string][sha256.Size]byte{}}
}

// Add mixes data in and credits it with bits of entropy, 8*len(data) at most.
func (s *Source) Add(data []byte, bits int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.drbg.update(data)
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
		s.drbg.generate(request)
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
	var got [words]uint64
	var buf [8 * words]byte
	defer func() { clear(got[:]); clear(buf[:]) }()
	for i := range got {
		v, ok := next()
		for n := 1; !ok && n < tries; n++ {
			v, ok = next()
		}
		if !ok {
			return fmt.Errorf("%s gave nothing in %d tries", name, tries)
		}
		// Of good words, two in a batch are the same once in 2^57 batches.
		if v == 0 || v == ^uint64(0) || slices.Contains(got[:i], v) {
			return fmt.Errorf("%s is stuck at %#x", name, v)
		}
		got[i] = v
		binary.LittleEndian.PutUint64(buf[8*i:], v)
	}
	return s.credit(name, buf[:], 8*len(buf)/divide)
}

// deviceBytes is how much is taken from a device at a time.
const deviceBytes = 64

// FromDevice takes bytes from a random device, which are credited in full
// unless they, or a quarter of them, repeat.
func (s *Source) FromDevice(read func(p []byte) (int, error)) error {
	var buf [deviceBytes]byte
	defer clear(buf[:])
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
	// A period of a power of two up to a quarter repeats the first quarter.
	const quarter = deviceBytes / 4
	if bytes.Contains(buf[quarter:], buf[:quarter]) {
		return fmt.Errorf("the random device is stuck: its first %d bytes come again", quarter)
	}
	return s.credit("the random device", buf[:], 8*len(buf))
}

// credit adds data of a source unless it is what that source gave last time.
func (s *Source) credit(name string, data []byte, bits int) error {
	sum := sha256.Sum256(data)
	s.mu.Lock()
	stuck := s.seen[name] == sum
	s.seen[name] = sum
	s.mu.Unlock()
	if stuck {
		return fmt.Errorf("%s is stuck: it gives the same bytes as last time", name)
	}
	s.Add(data, bits)
	return nil
}

// jitterSamples is how many times FromCounter looks at the counter.
const jitterSamples = 64

// FromCounter mixes in how a fast counter advances between two looks at it,
// which caches, interrupts and emulators make irregular. It is not credited:
// nobody can say how irregular.
func (s *Source) FromCounter(counter func() uint64) {
	var buf [8 * jitterSamples]byte
	for i := range jitterSamples {
		binary.LittleEndian.PutUint64(buf[8*i:], counter())
	}
	s.Add(buf[:], 0)
}
