package bootinfo

import "github.com/sluice-os/sluice/kernel/fdt"

// ParseTree fills info from the device tree b, which lies at physical address phys: the
// memory, and of what the loader has chosen the command line.
func ParseTree(info *Info, b []byte, phys uint64) Problem {
	*info = Info{}
	t, ok := fdt.Open(b)
	if !ok {
		return "no device tree: boot this image with a loader that gives one in X0"
	}
	m := &info.Memory
	m.add(phys, uint64(fdt.Size(b)), Reserved)
	for i := range reservedMost {
		start, size, ok := t.Reserved(i)
		if !ok {
			break
		}
		m.add(start, size, Reserved)
	}
	// What is reserved comes first, so that RAM can be laid around it.
	reserved := -1 // the depth of /reserved-memory, while in there
	for n, ok := t.Root(); ok; n, ok = n.Next() {
		switch depth := n.Depth(); {
		case depth == 1 && n.Named("reserved-memory"):
			reserved = depth
		case depth <= reserved:
			reserved = -1
		case reserved > 0:
			m.addNode(&n, Reserved)
		}
		if n.Depth() == 1 && n.Named("chosen") {
			info.takeCommand(&n)
		}
	}
	m.Base = ^uint64(0)
	for n, ok := t.Root(); ok; n, ok = n.Next() {
		if n.Depth() == 1 && n.Has("device_type", "memory") && n.Enabled() {
			m.addNode(&n, RAM)
			for i := 0; ; i++ {
				start, _, ok := n.Reg(i)
				if !ok {
					break
				}
				m.Base = min(m.Base, start)
			}
		}
	}
	if info.Memory.Total() == 0 {
		return "the device tree names no RAM"
	}
	return ""
}

// addNode adds the ranges of a node.
func (m *MemoryMap) addNode(n *fdt.Node, t Type) {
	for i := 0; ; i++ {
		start, size, ok := n.Reg(i)
		if !ok {
			return
		}
		m.add(start, size, t)
	}
}

// takeCommand copies the command line.
func (info *Info) takeCommand(chosen *fdt.Node) {
	b, _ := chosen.Property("bootargs")
	for _, c := range b {
		if c == 0 {
			return
		}
		if info.commandLen == commandMost {
			info.Truncated = true
			return
		}
		info.command[info.commandLen] = c
		info.commandLen++
	}
}
