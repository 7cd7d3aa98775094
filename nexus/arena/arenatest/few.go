package arenatest

import (
	"runtime/debug"
	"sync"
)

// Few returns n, and a twenty-fifth of it under the race detector: that takes two hundred
// times as long for packets in memory that is not Go's.
func Few(n int) int {
	if raced() {
		return max(n/25, 1)
	}
	return n
}

// raced says whether the program was built with -race.
var raced = sync.OnceValue(func() bool {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return false
	}
	for _, s := range info.Settings {
		if s.Key == "-race" {
			return s.Value == "true"
		}
	}
	return false
})
