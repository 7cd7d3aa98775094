// Package hostile lists programs that do what no program should. Each is a small
// app in a folder of its own; TestHostile runs them in a machine.
package hostile

import "fmt"

// Neighbour is the folder and domain of the program that must not notice.
const Neighbour = "neighbour"

// Case is one program, and what must come of it.
type Case struct {
	Name    string // of the domain
	Package string // folder; "" means Name
	Memory  int    // quota in MiB; 0 means 8
	// Inputs are lines: the program is started once for each and given it. None
	// means that it is started once.
	Inputs []string
	// Want is a regular expression for the reason of its end.
	Want string
	// Output is one for what it prints, if not "".
	Output string
	// Stop says that it never ends: it is killed once it has printed "spinning".
	Stop bool
	// Restarts is how often it is started again by itself.
	Restarts int
}

const (
	survives  = `exited with status 0`
	badMemory = `bad memory access: `
	killed    = `killed: by the operator`
)

// Cases are all hostile programs.
var Cases = []Case{
	{Name: "null", Package: "peek", Inputs: []string{"0", "8", "4095"}, Want: `exited with status 2`, Output: `nil pointer dereference`},
	{Name: "read-kernel", Package: "peek", Inputs: []string{"0x1000", "0x201000", "0x800000", "0x3ffff000"}, Want: badMemory + `read at 0x`},
	{Name: "read-device", Package: "peek", Inputs: []string{"0x1ff000", "0x1f0000", "0xffff808000000000"}, Want: badMemory + `read at 0x`},
	{Name: "read-directmap", Package: "peek", Inputs: []string{"0xffff800000000000", "0xffff800000201000", "0xffffffffffffffff"}, Want: badMemory + `read at 0xffff`},
	{Name: "read-noncanonical", Package: "peek", Inputs: []string{"0x800000000000", "0x8000000000000000"}, Want: `forbidden instruction: general protection fault`},
	{Name: "read-shared", Package: "peek", Inputs: []string{"0x1000000000", "0x1000011000", "0x1040000000", "0x17ffffffff"}, Want: badMemory + `read at 0x1`},
	{Name: "write-kernel", Package: "poke", Inputs: []string{"0x201000", "0x800000", "0x1ff0b0", "0xffff800000201000"}, Want: badMemory + `write at 0x`, Output: `at0=main\.main\(main\.go:\d+\)|at0="main\.main\(main\.go:\d+\)`},
	{Name: "write-clock", Package: "poke", Inputs: []string{"0x1000020000", "0x1000020fff"}, Want: badMemory + `write at 0x100002.*the memory does not allow it`},
	{Name: "write-net", Package: "poke", Inputs: []string{"0x1000040000"}, Want: badMemory + `write at 0x1000040000: the memory does not allow it`},
	{Name: "rings", Memory: 16, Inputs: []string{"head", "head-beyond", "tail", "index", "kind", "free", "garbage", "old-head"}, Want: `ring corruption: channel 0: .* ring: `},
	{Name: "rings-kept", Package: "rings", Memory: 16, Inputs: []string{"control"}, Want: survives},
	{Name: "write-schema", Package: "rings", Memory: 16, Inputs: []string{"schema"}, Want: badMemory + `write at 0x1080000\w*: the memory does not allow it`},
	{Name: "write-advisory", Package: "rings", Memory: 16, Inputs: []string{"advisory", "advisory-more"}, Want: badMemory + `write at 0x108\w*: the memory does not allow it`},
	{Name: "write-old-ring", Package: "rings", Memory: 16, Inputs: []string{"old-slot"}, Want: survives},
	{Name: "write-beyond", Package: "rings", Memory: 16, Inputs: []string{"beyond"}, Want: badMemory + `write at 0x108`},
	{Name: "keep", Memory: 16, Inputs: []string{"keep"}, Want: `withheld memory: channel 0: free ring: channel: memory was not given back \(code 0x408\)`},
	{Name: "keep-returned", Package: "keep", Memory: 16, Inputs: []string{"return", "stale"}, Want: survives, Output: `keep-returned: gave it back(?s:.*)keep-returned: all zero`},
	{Name: "write-boot", Package: "poke", Inputs: []string{"0x1000010000"}, Want: badMemory + `write at 0x1000010000: the memory does not allow it`},
	{Name: "write-text", Package: "poke", Inputs: []string{"0x40011000", "0x40010000"}, Want: badMemory + `write at 0x4001.*the memory does not allow it`},
	{Name: "execute", Package: "jump", Inputs: []string{"data", "heap", "stack", "boot"}, Want: badMemory + `execution at 0x.*the memory does not allow it`},
	{Name: "jump-kernel", Package: "jump", Inputs: []string{"0x201000", "0xffff800000201000"}, Want: badMemory + `execution at 0x`},
	{Name: "jump-noncanonical", Package: "jump", Inputs: []string{"0x8000000000000000"}, Want: `forbidden instruction: general protection fault`},
	{Name: "jump-null", Package: "jump", Inputs: []string{"0"}, Want: `exited with status 2`},
	{Name: "instruction", Inputs: []string{"hlt", "cli", "sti", "in", "out", "lgdt", "lidt", "sgdt", "sidt", "sldt", "str", "smsw", "lldt", "ltr", "lmsw",
		"clts", "invd", "wbinvd", "invlpg", "readcr0", "readcr3", "writecr3", "writecr4", "readdr7", "writedr7", "rdmsr", "wrmsr", "rdpmc",
		"swapgs", "sysret", "sysexit", "xsetbv", "farcall", "ss0"}, Want: `forbidden instruction: general protection fault|invalid instruction`},
	// QEMU before 8.2 reads the frame as ring 0 would, which SMAP stops.
	{Name: "iret", Package: "instruction", Inputs: []string{"iret"}, Want: `forbidden instruction: general protection fault|` + badMemory + `read`},
	{Name: "no-instruction", Package: "instruction", Inputs: []string{"sysenter", "monitor", "mwait", "clac", "stac", "ud2"}, Want: `forbidden instruction|invalid instruction`},
	{Name: "debug", Package: "instruction", Inputs: []string{"tf"}, Want: `debug exception`},
	{Name: "icebp", Package: "instruction", Inputs: []string{"icebp"}, Want: `debug exception|invalid instruction`}, // the second in QEMU
	{Name: "int3", Package: "instruction", Inputs: []string{"int3"}, Want: `forbidden instruction: general protection fault`},
	{Name: "interrupt", Inputs: numbers(256), Want: `forbidden instruction: general protection fault`},
	{Name: "calls", Want: survives, Output: `calls: all refused`},
	{Name: "release", Want: survives, Output: `release: all zero`},
	{Name: "search", Memory: 16, Inputs: []string{"first", "second"}, Want: survives, Output: `search: all zero`},
	{Name: "registers", Want: survives, Output: `registers: all kept`},
	{Name: "vectors", Want: survives, Output: `vectors: all kept`},
	// QEMU's emulation raises no SIMD exception; a processor does.
	{Name: "float-sse", Package: "float", Inputs: []string{"sse"}, Want: `arithmetic exception: SIMD|` + survives},
	{Name: "float-x87", Package: "float", Inputs: []string{"x87"}, Want: `arithmetic exception: x87`},
	{Name: "stackpointer", Inputs: []string{"call 0x8000000000000000", "call 0xffff800000000000", "spin 0x8000000000000000", "spin 0xffffffffffffffff"}, Want: `ABI misuse: stack pointer`},
	{Name: "guard", Want: `stack overflow: write at 0x`},
	{Name: "recurse", Want: `exited with status 2`, Output: `stack overflow`},
	{Name: "allocate", Want: `quota: 8\d* KiB are used up|exited with status 2`},
	{Name: "sparse", Want: `quota: `},
	{Name: "fork", Want: `quota: |exited with status 2`},
	{Name: "flood", Want: survives, Output: `\?\[2J\?flooded for true`},
	{Name: "spin", Want: killed, Stop: true},
	{Name: "spinners", Want: killed, Stop: true},
	{Name: "upcall", Inputs: []string{"fault", "nowhere", "exit"}, Want: badMemory + `write at 0x0|ABI misuse: it ended an upcall|` + survives},
	{Name: "upcall-spin", Package: "upcall", Inputs: []string{"spin"}, Want: killed, Stop: true},
	{Name: "returns", Inputs: []string{"kernel", "noncanonical", "upper"}, Want: badMemory + `execution at 0x`},
	{Name: "returns-stack", Package: "returns", Inputs: []string{"stack"}, Want: `ABI misuse: stack pointer`},
	{Name: "returns-flags", Package: "returns", Inputs: []string{"flags"}, Want: survives},
	{Name: "events", Want: survives, Output: `events: spoilt`},
	{Name: "die", Want: `exited with status 1`, Restarts: 1000},
}

func numbers(n int) (list []string) {
	for i := range n {
		list = append(list, fmt.Sprint(i))
	}
	return list
}

// Folder returns the folder of a case's program.
func (c Case) Folder() string {
	if c.Package != "" {
		return c.Package
	}
	return c.Name
}

// Quota returns the memory of a case's domain in bytes.
func (c Case) Quota() uint64 {
	if c.Memory != 0 {
		return uint64(c.Memory) << 20
	}
	return 8 << 20
}
