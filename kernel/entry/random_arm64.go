package entry

import (
	_ "unsafe" // for go:linkname

	"github.com/sluice-os/sluice/kernel/cpu"
)

const sysGetrandom = 278 // Linux' number on arm64

func counter() uint64 { return cpu.Counter() }

//go:linkname initRNG runtime/goos.InitRNG
func initRNG() {}

// early64 returns a mix of counter values.
func early64() uint64 { return mixed() }
