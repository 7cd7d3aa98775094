// Package hooks holds the hooks that Sluice's overlay adds to runtime/goos, for
// the kernel's use. They have the names and types of the variables there (see
// kernel/goos) and are the same memory. The TamaGo distribution's runtime knows
// none of them; there they are variables like any other, Overlay is false, and
// nobody calls them.
package hooks

import _ "unsafe" // for go:linkname

//go:linkname Overlay runtime/goos.Overlay
var Overlay bool

//go:linkname HeapStart runtime/goos.HeapStart
var HeapStart uintptr

//go:linkname HeapEnd runtime/goos.HeapEnd
var HeapEnd uintptr

//go:linkname Commit runtime/goos.Commit
var Commit func(addr, n uintptr) bool

//go:linkname Decommit runtime/goos.Decommit
var Decommit func(addr, n uintptr)

//go:linkname WallClock runtime/goos.WallClock
var WallClock func() int64

//go:linkname Syscall runtime/goos.Syscall
var Syscall func(num, a1, a2, a3, a4, a5, a6 uintptr) (r1, r2, errno uintptr, ok bool)

//go:linkname StackMax runtime/goos.StackMax
var StackMax uintptr

//go:linkname Pending runtime/goos.Pending
var Pending uint64

//go:linkname Waiting runtime/goos.Waiting
var Waiting uint64

//go:linkname Yield runtime/goos.Yield
var Yield uintptr

//go:linkname Tick runtime/goos.Tick
var Tick uintptr

//go:linkname Panic runtime/goos.Panic
var Panic uintptr

//go:linkname Wait runtime/goos.Wait
var Wait func(event uint)
