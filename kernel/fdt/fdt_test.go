package fdt

import (
	"bytes"
	"encoding/binary"
	"os"
	"slices"
	"testing"
)

func virt(t testing.TB) []byte {
	b, err := os.ReadFile("testdata/virt.dtb")
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// TestVirt finds in QEMU's tree what its manual says is there.
func TestVirt(t *testing.T) {
	tree, ok := Open(virt(t))
	if !ok {
		t.Fatal("it is no tree")
	}
	var windows []uint64
	seen := map[string]bool{}
	for n, ok := tree.Root(); ok; n, ok = n.Next() {
		switch {
		case n.Depth() == 0:
			seen["root"] = n.Has("compatible", "linux,dummy-virt") && !n.Has("compatible", "linux")
		case n.Has("compatible", "virtio,mmio"):
			start, size, _ := n.Reg(0)
			if in, ok := n.Interrupt(0); !ok || !in.Edge || in.Number != 32+16+int(start-0x0a000000)/0x200 || size != 0x200 {
				t.Errorf("virtio at %#x has %+v, %#x bytes", start, in, size)
			}
			windows = append(windows, start)
		case n.Named("memory"):
			start, size, ok := n.Reg(0)
			_, _, more := n.Reg(1)
			seen["memory"] = n.Has("device_type", "memory") && ok && !more && start == 1<<30 && size == 256<<20
		case n.Named("chosen"):
			args, _ := n.Property("bootargs")
			seen["chosen"] = string(args) == "ip=dhcp log=debug\x00"
		case n.Has("compatible", "arm,cortex-a15-gic"):
			a, _, ok := n.Reg(0)
			b, _, ok2 := n.Reg(1)
			seen["gic"] = ok && ok2 && a == 0x08000000 && b == 0x08010000
		case n.Has("compatible", "arm,psci-1.0"):
			seen["psci"] = n.Has("method", "hvc")
		case n.Has("compatible", "arm,pl011"):
			in, ok := n.Interrupt(0)
			seen["uart"] = ok && in == Interrupt{Number: 33} && n.Enabled()
		case n.Has("compatible", "arm,armv8-timer"):
			in, ok := n.Interrupt(2)
			seen["timer"] = ok && in.Number == 27
		}
	}
	for _, what := range []string{"root", "memory", "chosen", "gic", "psci", "uart", "timer"} {
		if !seen[what] {
			t.Errorf("%s: not there, or not as it is", what)
		}
	}
	if len(windows) != 32 || slices.Min(windows) != 0x0a000000 {
		t.Errorf("%d virtio devices: %#x", len(windows), windows)
	}
}

// TestBadTrees: what makes no sense ends the tree, or is none.
func TestBadTrees(t *testing.T) {
	good := virt(t)
	for name, spoil := range map[string]func(b []byte) []byte{
		"nothing":    func([]byte) []byte { return nil },
		"header":     func(b []byte) []byte { return b[:HeaderSize-1] },
		"magic":      func(b []byte) []byte { b[0]++; return b },
		"cut":        func(b []byte) []byte { return b[:len(b)-1] },
		"too long":   func(b []byte) []byte { binary.BigEndian.PutUint32(b[4:], SizeMax+1); return b },
		"structure":  func(b []byte) []byte { binary.BigEndian.PutUint32(b[8:], uint32(len(b))-8); return b },
		"strings":    func(b []byte) []byte { binary.BigEndian.PutUint32(b[12:], 0xfffffff0); return b },
		"size field": func(b []byte) []byte { binary.BigEndian.PutUint32(b[4:], HeaderSize-1); return b },
	} {
		if _, ok := Open(spoil(bytes.Clone(good))); ok {
			t.Errorf("%s: taken for a tree", name)
		}
	}
	// Nodes that never end, one in the other, and a name without an end.
	deep := bytes.Repeat([]byte{0, 0, 0, beginNode, 0, 0, 0, 0}, 1000)
	tree := Tree{structure: deep}
	count := 0
	for n, ok := tree.Root(); ok; n, ok = n.Next() {
		count++
	}
	if count != depthMax {
		t.Errorf("%d nodes one in the other, want %d", count, depthMax)
	}
	tree = Tree{structure: []byte{0, 0, 0, beginNode, 'x', 'x', 'x', 'x'}}
	if _, ok := tree.Root(); ok {
		t.Error("a name that does not end is taken")
	}
}

// TestNothingIsAllocated: there is no heap when the tree is read.
func TestNothingIsAllocated(t *testing.T) {
	b := virt(t)
	if n := testing.AllocsPerRun(10, func() { all(b) }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

// TestWhole asks for all of QEMU's trees, which the fuzzer does not begin with.
func TestWhole(t *testing.T) {
	for name, b := range map[string][]byte{"GICv2": virt(t), "GICv3": virt3(t)} {
		if n := all(b); n != 56 {
			t.Errorf("%s: %d nodes, want 56", name, n)
		}
	}
}

// all asks for everything.
func all(b []byte) (nodes int) {
	tree, ok := Open(b)
	if !ok {
		return 0
	}
	for i := 0; ; i++ {
		if _, _, ok := tree.Reserved(i); !ok {
			break
		}
	}
	maps := 0
	for n, ok := tree.Root(); ok; n, ok = n.Next() {
		nodes++
		n.Reg(0)
		n.Interrupt(1)
		n.Named("chosen")
		n.Has("compatible", "arm,pl011")
		n.Enabled()
		n.Uint32("phandle")
		n.Range(1)
		if _, has := n.Property("interrupt-map"); has && maps < 4 {
			maps++ // each looks through the tree
			n.Pin(0x800, 1)
		}
	}
	return nodes
}

// treeOf makes a tree of a structure, with the names that QEMU's has.
func treeOf(structure, names []byte) []byte {
	n, end := uint32(HeaderSize+len(structure)), uint32(HeaderSize+len(structure)+len(names))
	head := make([]byte, HeaderSize)
	for at, v := range []uint32{magic, end, HeaderSize, n, HeaderSize, 17, 16, 0, end - n, n - HeaderSize} {
		binary.BigEndian.PutUint32(head[4*at:], v)
	}
	return slices.Concat(head, structure, names)
}

// FuzzTree: any bytes end, and are read within. They are a tree, or the structure of one. They
// are few, as the time in which a find is made smaller grows with the square of them, and
// nothing else is tried meanwhile.
func FuzzTree(f *testing.F) {
	const most = 640
	whole := virt(f)
	structure := whole[binary.BigEndian.Uint32(whole[8:]):]
	names := whole[binary.BigEndian.Uint32(whole[12:]):]
	f.Add(newPCI().tree())
	// The root and psci, memory, fw-cfg, virtio, and the interrupt controller.
	for _, part := range [][2]int{{0, 264}, {264, 336}, {484, 580}, {580, 696}, {6008, 6304}} {
		f.Add(bytes.Clone(structure[part[0]:part[1]]))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		if len(b) > most {
			return
		}
		if Size(b) == 0 {
			b = treeOf(b, names)
		}
		if n := all(b); n > len(b) {
			t.Errorf("%d nodes in %d bytes", n, len(b))
		}
	})
}
