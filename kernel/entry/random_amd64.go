package entry

import (
	_ "unsafe" // for go:linkname

	"github.com/sluice-os/sluice/kernel/cpu"
)

const sysGetrandom = 318 // Linux' number on amd64

func counter() uint64 { return cpu.RDTSC() }

var hasRDRAND bool

//go:linkname initRNG runtime/goos.InitRNG
func initRNG() {
	_, _, c, _ := cpu.CPUID(1, 0)
	hasRDRAND = c&(1<<30) != 0
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
	return mixed()
}
