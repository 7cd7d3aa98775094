package entry

import (
	"math/bits"
	_ "unsafe" // for go:linkname

	"github.com/sluice-os/sluice/kernel/cpu"
)

// Random returns random bytes once it is set: main sets it to the seeded
// source. Until then GetRandomData serves the runtime's own needs (hash seeds,
// scheduling order), never a key.
var Random func(b []byte)

var hasRDRAND bool

//go:linkname initRNG runtime/goos.InitRNG
func initRNG() {
	_, _, c, _ := cpu.CPUID(1, 0)
	hasRDRAND = c&(1<<30) != 0
}

// weyl is the state of the early generator.
var weyl uint64

//go:linkname getRandomData runtime/goos.GetRandomData
func getRandomData(b []byte) {
	if Random != nil {
		Random(b)
		return
	}
	for i := 0; i < len(b); i += 8 {
		v := early64()
		for j := i; j < min(i+8, len(b)); j++ {
			b[j] = byte(v)
			v >>= 8
		}
	}
}

// early64 returns a word from RDRAND or, without it, a mix of counter values.
func early64() uint64 {
	if hasRDRAND {
		for range 10 {
			if v, ok := cpu.RDRAND(); ok {
				return v
			}
		}
	}
	weyl += 0x9e3779b97f4a7c15
	v := cpu.RDTSC() ^ weyl
	for range 4 {
		hi, lo := bits.Mul64(v, 0xd6e8feb86659fd93)
		v = hi ^ lo ^ cpu.RDTSC()
	}
	return v
}
