package shell

import (
	"context"
	"fmt"
	"strconv"

	"github.com/sluice-os/sluice/nexus/view"
)

// Memory is where the machine's RAM is, in bytes.
type Memory struct {
	// Total is what the frame allocator hands out, Used and Free are what it has
	// handed out and has left.
	Total uint64
	Used  uint64
	Free  uint64
	// HeapInUse and HeapReserved are the Go heap's: live and dead objects, and
	// what is backed by frames.
	HeapInUse    uint64
	HeapReserved uint64
	// Collections is how often the garbage collector ran.
	Collections uint32
	// Goroutines is how many there are of the kernel's.
	Goroutines int
	// RAM is that of the machine, and Owners whose it is: their sum.
	RAM    uint64
	Owners []Owner
	// Domains is what of it is whose domain's, by Regions where it is a channel's.
	Regions []string
	Domains []Charge
	// Audited says that every frame was looked at, and Problems what was wrong.
	Audited  bool
	Problems []string
}

// Owner has a part of the RAM.
type Owner struct {
	Name  string
	Bytes uint64
}

// Charge is what a domain has, in bytes.
type Charge struct {
	Name                         string
	Image, Memory, State, Tables uint64
	Arenas                       []uint64
	Total, Peak, Quota           uint64
}

// mem prints the columns of free(1) and the account, in KiB, or JSON in bytes.
func (s *Shell) mem(_ context.Context, args []string) error {
	collect, audit, asJSON := false, false, false
	for _, arg := range args {
		switch arg {
		case "-g":
			collect = true
		case "-a":
			audit = true
		case "-j":
			asJSON = true
		default:
			return errUsage
		}
	}
	if s.sys.Memory == nil {
		return errAbsent
	}
	m := s.sys.Memory(collect, audit)
	if asJSON {
		fmt.Fprintf(s.out, "%s\n", m.appendJSON(nil))
		return nil
	}
	fmt.Fprintf(s.out, "%-8s%12s%12s%12s\n", "", "total", "used", "free")
	fmt.Fprintf(s.out, "%-8s%12d%12d%12d\n", "Mem:", m.Total>>10, m.Used>>10, m.Free>>10)
	heapFree := uint64(0)
	if m.HeapReserved > m.HeapInUse {
		heapFree = m.HeapReserved - m.HeapInUse
	}
	fmt.Fprintf(s.out, "%-8s%12d%12d%12d\n", "Heap:", m.HeapReserved>>10, m.HeapInUse>>10, heapFree>>10)
	fmt.Fprintf(s.out, "(KiB; %d garbage collections, %d goroutines)\n\n", m.Collections, m.Goroutines)
	m.owners("KIB#", 10, true).WriteText(s.out)
	if len(m.Domains) > 0 {
		fmt.Fprintln(s.out)
		m.domains(10).WriteText(s.out)
	}
	if m.Audited {
		fmt.Fprintf(s.out, "\n%d problems in %d KiB\n", len(m.Problems), m.RAM>>10)
		for _, p := range m.Problems {
			fmt.Fprintln(s.out, p)
		}
	}
	return nil
}

// appendJSON appends it as an object.
func (m *Memory) appendJSON(b []byte) []byte {
	b = fmt.Appendf(b, `{"total":%d,"used":%d,"free":%d,"heap_in_use":%d,"heap_reserved":%d,"collections":%d,"goroutines":%d,"ram":%d,"owners":`,
		m.Total, m.Used, m.Free, m.HeapInUse, m.HeapReserved, m.Collections, m.Goroutines, m.RAM)
	b = m.owners("BYTES#", 0, false).AppendJSON(b)
	b = append(b, `,"domains":`...)
	b = m.domains(0).AppendJSON(b)
	b = append(b, `,"audited":`...)
	b = append(strconv.AppendBool(b, m.Audited), `,"problems":[`...)
	for i, p := range m.Problems {
		if i > 0 {
			b = append(b, ',')
		}
		b = view.AppendString(b, p)
	}
	return append(b, "]}"...)
}

// owners is the account in units of 2^shift bytes.
func (m *Memory) owners(unit string, shift uint, sum bool) *view.Table {
	t := view.New("OWNER", unit)
	for _, o := range m.Owners {
		t.Add(o.Name, o.Bytes>>shift)
	}
	if sum {
		t.Add("the machine's RAM", m.RAM>>shift)
	}
	return t
}

// domains is what domains have, likewise.
func (m *Memory) domains(shift uint) *view.Table {
	names := []string{"DOMAIN", "IMAGE#", "MEMORY#", "STATE#", "TABLES#"}
	for _, r := range m.Regions {
		names = append(names, r+"#")
	}
	t := view.New(append(names, "TOTAL#", "PEAK#", "QUOTA#")...)
	for _, d := range m.Domains {
		row := []any{d.Name, d.Image >> shift, d.Memory >> shift, d.State >> shift, d.Tables >> shift}
		for _, n := range d.Arenas {
			row = append(row, n>>shift)
		}
		t.Add(append(row, d.Total>>shift, d.Peak>>shift, d.Quota>>shift)...)
	}
	return t
}
