package entry

import (
	"math/bits"
	"unsafe"

	"github.com/sluice-os/sluice/kernel/hooks"
)

// Random fills b from the seeded source; main sets it once there is one, and
// starts no network before. Until then the early generator serves what the
// runtime and packages want at their start: seeds of hash tables.
var Random func(b []byte) (int, error)

const eagain = 11

// answer is hooks.Syscall: it serves getrandom, which is how crypto/rand asks,
// on the goroutine that asks.
func answer(num, a1, a2, a3, a4, a5, a6 uintptr) (r1, r2, errno uintptr, ok bool) {
	if num != sysGetrandom {
		return 0, 0, 0, false
	}
	// The caller keeps its slice alive and passed address and length of it.
	b := unsafe.Slice((*byte)(unsafe.Pointer(a1)), a2)
	if Random == nil {
		earlyBytes(b)
		return a2, 0, 0, true
	}
	n, err := Random(b)
	if err != nil {
		return ^uintptr(0), 0, eagain, true
	}
	return uintptr(n), 0, 0, true
}

// weyl is the state of the early generator.
var weyl uint64

//go:linkname getRandomData runtime/goos.GetRandomData
func getRandomData(b []byte) {
	if Random != nil && !hooks.Overlay {
		// TamaGo's crypto/rand comes here.
		Random(b)
		return
	}
	earlyBytes(b)
}

// earlyBytes fills b from the early generator.
func earlyBytes(b []byte) {
	for i := 0; i < len(b); i += 8 {
		v := early64()
		for j := i; j < min(i+8, len(b)); j++ {
			b[j] = byte(v)
			v >>= 8
		}
	}
}

// mixed returns a mix of counter values.
func mixed() uint64 {
	weyl += 0x9e3779b97f4a7c15
	v := counter() ^ weyl
	for range 4 {
		hi, lo := bits.Mul64(v, 0xd6e8feb86659fd93)
		v = hi ^ lo ^ counter()
	}
	return v
}
