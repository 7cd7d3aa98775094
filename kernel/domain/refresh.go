package domain

import "github.com/sluice-os/sluice/kernel/cpu"

// refreshEvery is how often the processor drops the translations of addresses that it
// keeps, in nanoseconds. A processor has no need of it. QEMU's emulation gives its table
// of them another size only then: a domain that is alone in the machine would stay with
// the first 256 for ever.
const refreshEvery = 100_000_000

// refresh drops translations when it is time to. Only who holds the token calls it.
func (e *Environment) refresh(now int64) {
	if now-e.refreshed >= refreshEvery {
		e.refreshed = now
		cpu.FlushTLB()
	}
}
