package overlay

// edit changes one place of a file of GOROOT/src. Old must occur exactly once.
type edit struct {
	file     string
	old, new string
}

// edits are the changes to files that are otherwise kept. The comment on each
// says why a machine without an operating system needs it.
var edits = []edit{
	// QEMU's translator (TCG) says that REP STOS is fast (ERMS), and does one word at a time, each a
	// translated block of its own: memory is cleared by vectors there.
	{"internal/cpu/cpu_x86.go",
		"\tX86.HasERMS = isSet(ebx7, cpuid_ERMS)\n",
		"\tX86.HasERMS = isSet(ebx7, cpuid_ERMS)\n" +
			"\tif _, b, c, d := cpuid(0x40000000, 0); b == 0x54474354 && c == 0x43544743 && d == 0x47435447 { // \"TCGTCGTCGTCG\"\n" +
			"\t\tX86.HasERMS = false\n\t}\n"},

	// Heap addresses as runtime/goos lays them out: no sign extension, 4 MiB
	// arenas, and an arena map of two levels so that the first stays small.
	{"runtime/malloc.go",
		"heapAddrBits = (_64bit*(1-goarch.IsWasm)*(1-goos.IsIos*goarch.IsArm64))*48 + (1-_64bit+goarch.IsWasm)*(32-(goarch.IsMips+goarch.IsMipsle)) + 40*goos.IsIos*goarch.IsArm64",
		"heapAddrBits = sluiceHeapAddrBits"},
	{"runtime/malloc.go",
		"logHeapArenaBytes = (6+20)*(_64bit*(1-goos.IsWindows)*(1-goarch.IsWasm)*(1-goos.IsIos*goarch.IsArm64)) + (2+20)*(_64bit*goos.IsWindows) + (2+20)*(1-_64bit) + (9+10)*goarch.IsWasm + (2+20)*goos.IsIos*goarch.IsArm64",
		"logHeapArenaBytes = sluiceLogArenaBytes"},
	{"runtime/malloc.go",
		"arenaL1Bits = 6 * (_64bit * goos.IsWindows)",
		"arenaL1Bits = 6"},
	{"runtime/malloc.go",
		"arenaBaseOffset = 0xffff800000000000*goarch.IsAmd64 + 0x0a00000000000000*goos.IsAix",
		"arenaBaseOffset = sluiceArenaBaseOffset"},

	// The system monitor would be a thread; its duties are in sluicePoll.
	{"runtime/proc.go",
		"const haveSysmon = GOARCH != \"wasm\"",
		"const haveSysmon = false"},
	// No thread can be started, so none can be locked.
	{"runtime/proc.go",
		"func startTemplateThread() {\n\tif GOARCH == \"wasm\" {",
		"func startTemplateThread() {\n\tif true {"},
	{"runtime/proc.go",
		"func dolockOSThread() {\n\tif GOARCH == \"wasm\" {",
		"func dolockOSThread() {\n\tif true {"},
	{"runtime/debug.go",
		"if GOARCH == \"wasm\" && n > 1 {",
		"if n > 1 {"},
	// Before a goroutine is picked, those whose events are pending get ready.
	{"runtime/proc.go",
		"top:\n\tpp := mp.p.ptr()\n\tpp.preempt = false\n",
		"top:\n\tsluicePoll()\n\tpp := mp.p.ptr()\n\tpp.preempt = false\n"},
	// A goroutine that yields for another's event is not one that has used up its
	// slice.
	{"runtime/proc.go",
		"\t\trunqput(pp, gp, true)\n\t} else {\n\t\tlock(&sched.lock)\n\t\tglobrunqput(gp)\n",
		"\t\trunqput(pp, gp, true)\n\t} else if !preempted || !sluiceKeep(pp, gp) {\n\t\tlock(&sched.lock)\n\t\tglobrunqput(gp)\n"},
	// There is one processor, and who asks for another one to be woken, or looks for work in
	// the queues of the others, has it. One that has nothing to do keeps its P (beforeIdle), so
	// that there is no snapshot of the Ps either.
	{"runtime/proc.go",
		"func wakep() {\n",
		"func wakep() {\n\tif true {\n\t\treturn\n\t}\n"},
	{"runtime/proc.go",
		"\tif mp.spinning || 2*sched.nmspinning.Load() < gomaxprocs-sched.npidle.Load() {\n",
		"\tif false {\n"},
	{"runtime/proc.go",
		"func (mp *m) clearAllpSnapshot() {\n\tmp.allpSnapshot = nil\n",
		"func (mp *m) clearAllpSnapshot() {\n"},
	// Nobody else holds a lock of the runtime's, or waits for one: there is one thread, it is not
	// preempted while it has one, and what interrupts it takes none.
	{"runtime/lock_spinbit.go",
		"\tgp.m.locks++\n\n\tk8 := key8(&l.key)\n",
		"\tgp.m.locks++\n\tif true {\n\t\tif l.key != 0 {\n\t\t\tthrow(\"a lock that is held: there is one thread\")\n\t\t}\n" +
			"\t\tl.key = mutexLocked\n\t\treturn\n\t}\n\n\tk8 := key8(&l.key)\n"},
	{"runtime/lock_spinbit.go",
		"func unlock2(l *mutex) {\n\tgp := getg()\n",
		"func unlock2(l *mutex) {\n\tgp := getg()\n\tif true {\n\t\tif l.key != mutexLocked {\n\t\t\tthrow(\"unlock of unlocked lock\")\n\t\t}\n" +
			"\t\tl.key = 0\n\t\tgp.m.locks--\n\t\tif gp.m.locks < 0 {\n\t\t\tthrow(\"runtime·unlock: lock count\")\n\t\t}\n" +
			"\t\tif gp.m.locks == 0 && gp.preempt {\n\t\t\tgp.stackguard0 = stackPreempt\n\t\t}\n\t\treturn\n\t}\n"},
	// The largest stack follows from the memory there is.
	{"runtime/proc.go",
		"\t// An upper limit for max stack size. Used to avoid random crashes\n",
		"\tif m := sluiceStackMax(); m != 0 {\n\t\tmaxstacksize = m\n\t}\n\n\t// An upper limit for max stack size. Used to avoid random crashes\n"},
	// When nothing is runnable the processor waits and the scheduler looks
	// again: see beforeIdle in sluice.go.
	{"runtime/lock_futex.go",
		"func beforeIdle(int64, int64) (*g, bool) {\n\treturn nil, false\n}\n",
		""},

	// A goroutine that waits for a note sleeps between two looks: there is no
	// thread that could wait. Only the reader of a CPU profile does.
	{"runtime/lock_futex.go",
		"\tentersyscallblock()\n\tok := notetsleep_internal(n, ns)\n\texitsyscall()\n\treturn ok\n",
		"\treturn sluiceNoteWait(n, ns)\n"},

	// Hwinit1 runs when the heap is there and before the first goroutine.
	{"runtime/asm_amd64.s",
		"\tCALL\truntime·schedinit(SB)\n",
		"\tCALL\truntime·schedinit(SB)\n\tCALL\truntime·sluiceInit1(SB)\n"},
	{"runtime/asm_arm64.s",
		"\tBL\truntime·schedinit(SB)\n",
		"\tBL\truntime·schedinit(SB)\n\tBL\truntime·sluiceInit1(SB)\n"},

	// The machine instead of Linux: Hwinit0, one processor, random numbers.
	{"runtime/os_linux.go",
		"func osinit() {\n\tnumCPUStartup = getCPUCount()\n\tphysHugePageSize = getHugePageSize()\n\tvgetrandomInit()\n",
		"func osinit() {\n\tnumCPUStartup = 1\n\tphysPageSize = 4096\n\tsluiceInit0()\n"},
	{"runtime/os_linux.go",
		"\tfd := open(&urandom_dev[0], 0 /* O_RDONLY */, 0)\n\tn := read(fd, unsafe.Pointer(&r[0]), int32(len(r)))\n\tclosefd(fd)\n\treturn int(n)\n",
		"\treturn sluiceRandom(r)\n"},
	{"runtime/os_linux.go",
		"//go:nosplit\nfunc futexsleep(addr *uint32, val uint32, ns int64) {\n",
		"//go:nosplit\nfunc linuxFutexsleep(addr *uint32, val uint32, ns int64) {\n"},
	{"runtime/os_linux.go",
		"//go:nosplit\nfunc futexwakeup(addr *uint32, cnt uint32) {\n",
		"//go:nosplit\nfunc linuxFutexwakeup(addr *uint32, cnt uint32) {\n"},
	{"runtime/os_linux.go",
		"//go:nowritebarrier\nfunc newosproc(mp *m) {\n",
		"//go:nowritebarrier\nfunc linuxNewosproc(mp *m) {\n"},

	// Signals come by sluiceRaise, and one goroutine waits for them.
	{"runtime/sigqueue.go",
		"func signal_recv() uint32 {\n",
		"func signal_recv() uint32 {\n\tif true {\n\t\treturn sluiceSignalRecv()\n\t}\n"},

	// A system call is a call of Go code, which may block its goroutine and may
	// move its stack: memory that is passed must be on the heap, and the
	// goroutine must not look like one that a thread has taken into the kernel.
	{"syscall/syscall_linux.go",
		"//go:uintptrkeepalive\n//go:nosplit\n//go:norace\n//go:linkname RawSyscall\nfunc RawSyscall(trap, a1, a2, a3 uintptr) (r1, r2 uintptr, err Errno) {\n\treturn RawSyscall6(trap, a1, a2, a3, 0, 0, 0)\n",
		"//go:uintptrescapes\n//go:linkname RawSyscall\nfunc RawSyscall(trap, a1, a2, a3 uintptr) (r1, r2 uintptr, err Errno) {\n\treturn RawSyscall6(trap, a1, a2, a3, 0, 0, 0)\n"},
	{"syscall/syscall_linux.go",
		"//go:uintptrkeepalive\n//go:nosplit\n//go:norace\n//go:linkname RawSyscall6\n",
		"//go:uintptrescapes\n//go:linkname RawSyscall6\n"},
	{"syscall/syscall_linux.go",
		"\tr1, r2, errno = linux.Syscall6(trap, a1, a2, a3, a4, a5, a6)\n",
		"\tr1, r2, errno = sluiceSyscall(trap, a1, a2, a3, a4, a5, a6)\n"},
	{"syscall/syscall_linux.go",
		"//go:uintptrkeepalive\n//go:nosplit\n//go:linkname Syscall\n",
		"//go:uintptrescapes\n//go:linkname Syscall\n"},
	{"syscall/syscall_linux.go",
		"\truntime_entersyscall()\n\t// N.B. Calling RawSyscall here is unsafe with atomic coverage\n",
		"\tif true {\n\t\treturn RawSyscall6(trap, a1, a2, a3, 0, 0, 0)\n\t}\n\truntime_entersyscall()\n\t// N.B. Calling RawSyscall here is unsafe with atomic coverage\n"},
	{"syscall/syscall_linux.go",
		"//go:uintptrkeepalive\n//go:nosplit\n//go:linkname Syscall6\n",
		"//go:uintptrescapes\n//go:linkname Syscall6\n"},
	{"syscall/syscall_linux.go",
		"\truntime_entersyscall()\n\tr1, r2, err = RawSyscall6(trap, a1, a2, a3, a4, a5, a6)\n\truntime_exitsyscall()\n\treturn\n",
		"\treturn RawSyscall6(trap, a1, a2, a3, a4, a5, a6)\n"},
	{"syscall/syscall_linux.go",
		"func rawSyscallNoError(trap, a1, a2, a3 uintptr) (r1, r2 uintptr)\n",
		"//go:uintptrescapes\nfunc rawSyscallNoError(trap, a1, a2, a3 uintptr) (r1, r2 uintptr) {\n\tr1, r2, e := sluiceSyscall(trap, a1, a2, a3, 0, 0, 0)\n\tif e != 0 {\n\t\treturn 0, 0\n\t}\n\treturn r1, r2\n}\n\n//go:linkname sluiceSyscall runtime.sluiceSyscall\nfunc sluiceSyscall(num, a1, a2, a3, a4, a5, a6 uintptr) (r1, r2, errno uintptr)\n"},
	{"syscall/syscall_linux.go",
		"\t\"internal/runtime/syscall/linux\"\n",
		""},
	// Syscall6 has a body now.
	{"internal/runtime/syscall/linux/syscall_linux.go",
		"func Syscall6(num, a1, a2, a3, a4, a5, a6 uintptr) (r1, r2, errno uintptr)\n",
		""},

	// FIPS mode is not offered. Its entropy source would put 32 MiB of BSS
	// into every program that reaches crypto/rand.
	{"crypto/internal/fips140/drbg/entropy_fips140.go",
		"var memory entropy.ScratchBuffer\n",
		"var memory *entropy.ScratchBuffer\n"},
	{"crypto/internal/fips140/drbg/entropy_fips140.go",
		"\tseed, err := entropy.Seed(&memory)\n",
		"\tif memory == nil {\n\t\tpanic(\"fips140/drbg: FIPS 140-3 mode is not offered here\")\n\t}\n\tseed, err := entropy.Seed(memory)\n"},
	{"crypto/internal/fips140/drbg/entropy_fips140.go",
		"\t\tseed, err = entropy.Seed(&memory)\n",
		"\t\tseed, err = entropy.Seed(memory)\n"},
}

// kernelWithout are packages that a program has another one of when it is built with a tag, which
// is the kernel. Each has a file for that tag among kernelFiles.
var kernelWithout = map[string]string{
	"crypto/tls": "sluice_notls",
}

// domainEdits are the further changes for programs that run in a domain.
var domainEdits = []edit{
	// Every program with files has the answers to its system calls.
	{"os/proc.go",
		"import (\n",
		"import (\n\t_ \"internal/sluice/rt\"\n"},
	// Package net doubles descriptors by a call of the runtime, which has none here.
	{"internal/syscall/unix/fcntl_unix.go",
		"\tval, errno := fcntl(int32(fd), int32(cmd), int32(arg))\n\tif val == -1 {\n\t\treturn int(val), syscall.Errno(errno)\n\t}\n\treturn int(val), nil\n",
		"\tval, _, errno := syscall.Syscall(syscall.SYS_FCNTL, uintptr(fd), uintptr(cmd), uintptr(arg))\n\tif errno != 0 {\n\t\treturn -1, errno\n\t}\n\treturn int(val), nil\n"},
	// The least heap that is collected follows from the quota: a program that
	// keeps little and makes much garbage need not collect at every 4 MiB.
	{"runtime/mgcpacer.go",
		"\tc.heapMinimum = defaultHeapMinimum * uint64(in) / 100\n",
		"\tc.heapMinimum = sluiceHeapMinimum() * uint64(in) / 100\n"},
	// An assertion to an interface has a cache of the types that it has met, to which one miss in
	// 1024 is added: a server has made thousands of connections before that is of use. With one in 16
	// it soon is, and a large cache is copied seldom all the same.
	{"runtime/iface.go",
		"\tif cheaprand()&1023 != 0 {\n\t\t// Only bother updating the cache ~1 in 1000 times.\n\t\treturn tab\n",
		"\tif cheaprand()&15 != 0 {\n\t\treturn tab\n"},
	{"runtime/iface.go",
		"\tif cheaprand()&1023 != 0 {\n\t\t// Only bother updating the cache ~1 in 1000 times.\n\t\t// This ensures we don't waste memory on switches, or\n\t\t// switch arguments, that only happen a few times.\n\t\treturn case_, tab\n",
		"\tif cheaprand()&15 != 0 {\n\t\treturn case_, tab\n"},
	// What goroutines start with depends on what the program does: see
	// sluiceDeepStacks.
	{"runtime/stack.go",
		"\tif scannedStacks == 0 {\n\t\tstartingStackSize = fixedStack\n",
		"\tif scannedStacks == 0 {\n\t\tstartingStackSize = uint32(sluiceStackLeast)\n"},
	{"runtime/stack.go",
		"\tif avg < fixedStack {\n\t\tavg = fixedStack\n",
		"\tif avg < sluiceStackLeast {\n\t\tavg = sluiceStackLeast\n"},
	// A domain has one processor: what it puts away and takes again, as a network stack
	// does for each packet, needs no queue that others may steal from, and no protection from
	// preemption where the runtime does it: see sluicePoolTake.
	{"sync/pool.go",
		"\tprivate any       // Can be used only by the respective P.\n",
		"\tkept    poolKept  // So can this, and only by runtime_poolTake and runtime_poolPut.\n" +
			"\tprivate any       // Can be used only by the respective P.\n"},
	{"sync/pool.go",
		"// Local per-P Pool appendix.\n",
		"// poolKept is runtime.sluicePoolKept.\ntype poolKept struct {\n\tfirst any\n\tn     int\n\tlist  [7]any\n}\n\n" +
			"//go:linkname runtime_poolTake runtime.sluicePoolTake\nfunc runtime_poolTake(local unsafe.Pointer) any\n\n" +
			"//go:linkname runtime_poolPut runtime.sluicePoolPut\nfunc runtime_poolPut(local unsafe.Pointer, x any) bool\n\n" +
			"// Local per-P Pool appendix.\n"},
	{"sync/pool.go",
		"\tif x == nil {\n\t\treturn\n\t}\n\tif race.Enabled {\n\t\tif runtime_randn(4) == 0 {\n",
		"\tif x == nil || runtime_poolPut(p.local, x) {\n\t\treturn\n\t}\n\tif race.Enabled {\n\t\tif runtime_randn(4) == 0 {\n"},
	{"sync/pool.go",
		"func (p *Pool) Get() any {\n",
		"func (p *Pool) Get() any {\n\tif x := runtime_poolTake(p.local); x != nil {\n\t\treturn x\n\t}\n"},
	{"sync/pool.go",
		"\tl := indexLocal(locals, pid)\n\tif x := l.private; x != nil {\n",
		"\tl := indexLocal(locals, pid)\n\tif x := runtime_poolTake(unsafe.Pointer(l)); x != nil {\n\t\treturn x\n\t}\n\tif x := l.private; x != nil {\n"},
	// Every program with a network has a stack for it.
	{"net/net.go",
		"import (\n",
		"import (\n\t_ \"internal/sluice/inet\"\n"},
}

// replaced maps files of GOROOT/src to the files that take their place, by their
// path in this package (goroot/...) or in the module; the value "" deletes the file. Keys that GOROOT does not have are
// added.
var replaced = map[string]string{
	"runtime/sluice.go":                                "goroot/runtime/sluice.go.in",
	"runtime/sluice_amd64.go":                          "goroot/runtime/sluice_amd64.go.in",
	"runtime/sluice_arm64.go":                          "goroot/runtime/sluice_arm64.go.in",
	"runtime/sys_linux_amd64.s":                        "goroot/runtime/sys_linux_amd64.s.in",
	"runtime/sys_linux_arm64.s":                        "goroot/runtime/sys_linux_arm64.s.in",
	"runtime/mem_linux.go":                             "goroot/runtime/mem_linux.go.in",
	"runtime/mem_nonsbrk.go":                           "",
	"runtime/netpoll_epoll.go":                         "goroot/runtime/netpoll_epoll.go.in",
	"runtime/timestub.go":                              "goroot/runtime/timestub.go.in",
	"runtime/timestub2.go":                             "",
	"runtime/timeasm.go":                               "",
	"runtime/time_linux_amd64.s":                       "",
	"syscall/asm_linux_amd64.s":                        "goroot/syscall/asm_linux_amd64.s.in",
	"syscall/asm_linux_arm64.s":                        "goroot/syscall/asm_linux_arm64.s.in",
	"internal/runtime/syscall/linux/asm_linux_amd64.s": "goroot/linux/asm_linux_amd64.s.in",
	"internal/runtime/syscall/linux/asm_linux_arm64.s": "goroot/linux/asm_linux_amd64.s.in",
	"internal/runtime/syscall/linux/syscall6.go":       "goroot/linux/syscall6.go.in",
}

// kernelFiles and domainFiles are the further files of either kind of program.
var (
	kernelFiles = map[string]string{
		"runtime/rt0_linux_amd64.s": "goroot/runtime/rt0_linux_amd64.s.in",
		"runtime/rt0_linux_arm64.s": "goroot/runtime/rt0_linux_arm64.s.in",
		"runtime/sluice_kernel.go":  "goroot/runtime/sluice_kernel.go.in",
		"runtime/first_amd64.s":     "kernel/entry/first_amd64.s", // early in the image

		"crypto/tls/notls.go": "goroot/tls/notls.go.in",

		// Names that are not ASCII would take their tables into the image.
		"vendor/golang.org/x/net/idna/idna10.0.0.go":   "goroot/idna/idna.go.in",
		"vendor/golang.org/x/net/idna/go118.go":        "",
		"vendor/golang.org/x/net/idna/punycode.go":     "",
		"vendor/golang.org/x/net/idna/tables15.0.0.go": "",
		"vendor/golang.org/x/net/idna/trie.go":         "",
		"vendor/golang.org/x/net/idna/trie13.0.0.go":   "",
		"vendor/golang.org/x/net/idna/trieval.go":      "",
	}
	domainFiles = map[string]string{
		"runtime/rt0_linux_amd64.s":     "userland/runtime/rt0_linux_amd64.s.in",
		"runtime/sluice_domain.go":      "userland/runtime/sluice_domain.go.in",
		"runtime/sluice_domain_amd64.s": "userland/runtime/sluice_domain_amd64.s.in",
	}
)

// packages maps packages of the module to their place in the standard library
// of a domain. The kernel has only runtime/goos.
var (
	kernelPackages = map[string]string{"kernel/goos": "runtime/goos"}
	domainPackages = map[string]string{
		"kernel/goos":    "runtime/goos",
		"nexus/abi":      "internal/sluice/abi",
		"nexus/newc":     "internal/sluice/newc",
		"userland/memfs": "internal/sluice/memfs",
		"userland/posix": "internal/sluice/posix",

		"userland/rt": "internal/sluice/rt",

		"userland/channel": "internal/sluice/channel",
		"userland/inet":    "internal/sluice/inet",
		"userland/link":    "internal/sluice/link",
		"userland/siphash": "internal/sluice/siphash",
		"userland/names":   "internal/sluice/names",
		"userland/socket":  "internal/sluice/socket",
		"userland/wheel":   "internal/sluice/wheel",
	}
)
