package main

// Guest instructions by the place they are at: QEMU writes down each one that the guest
// executes during a few closed loops, and the tables of the kernel's and the program's
// functions say whose it is.

import (
	"bufio"
	"bytes"
	"context"
	"debug/elf"
	"debug/gosym"
	"encoding/hex"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"time"
)

// place is where instructions are: a column of the table.
type place int

const (
	placeCard place = iota
	placePoller
	placeNexus
	placeHostStack
	placeKernel
	placeKernelRuntime
	placeChannel
	placeStack
	placeSockets
	placeProgram
	placeRuntime
	places
)

// placeNames are as in the table and in bench.json: first the kernel's, then the domain's.
var placeNames = [places]string{"card", "poller", "nexus", "stack", "kernel", "runtime", "channel", "stack", "sockets", "program", "runtime"}

const (
	module = "github.com/sluice-os/sluice/"
	// Below it a domain's standard library has userland's packages, and below mod those of others.
	inLibrary = "internal/sluice/"
)

// placeOf is where a function of a package is counted.
func placeOf(pkg string, domain bool) place {
	if other, ok := strings.CutPrefix(pkg, inLibrary+"mod/"); ok {
		pkg = other
	} else if of, ok := strings.CutPrefix(pkg, inLibrary); ok {
		pkg = module + "userland/" + of
	}
	own, ours := strings.CutPrefix(pkg, module)
	first, _, _ := strings.Cut(pkg, "/")
	in := func(prefixes ...string) bool {
		for _, p := range prefixes {
			if own == p || strings.HasPrefix(own, p+"/") {
				return ours
			}
		}
		return false
	}
	of := func(kernel, inDomain place) place {
		if domain {
			return inDomain
		}
		return kernel
	}
	switch {
	case in("drivers"):
		return placeCard
	case in("kernel/host", "nexus/aqm", "nexus/moderation", "nexus/burst"):
		return placePoller
	case in("nexus", "userland/channel", "userland/link"):
		return of(placeNexus, placeChannel)
	case in("userland/rt"):
		return placeRuntime
	case ours:
		return of(placeKernel, placeSockets)
	case strings.Contains(first, "."): // gVisor, and what it imports
		return of(placeHostStack, placeStack)
	case pkg == "" || pkg == "runtime" || pkg == "sync" || pkg == "time" || strings.HasPrefix(pkg, "internal/") || strings.HasPrefix(pkg, "runtime/") || strings.HasPrefix(pkg, "sync/"):
		return of(placeKernelRuntime, placeRuntime)
	}
	return of(placeKernel, placeProgram)
}

// functions finds the place of an address in a program.
type functions struct {
	table  *gosym.Table
	domain bool
	known  map[uint64]place
}

// readFunctions reads a Go program's table of functions.
func readFunctions(path string, domain bool) (*functions, error) {
	f, err := elf.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	text, lines := f.Section(".text"), f.Section(".gopclntab")
	if text == nil || lines == nil {
		return nil, fmt.Errorf("%s: no .text or no .gopclntab: it is not a Go program", path)
	}
	b, err := lines.Data()
	if err != nil {
		return nil, err
	}
	table, err := gosym.NewTable(nil, gosym.NewLineTable(b, text.Addr))
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return &functions{table, domain, map[uint64]place{}}, nil
}

func (f *functions) place(pc uint64) place {
	p, ok := f.known[pc]
	if !ok {
		pkg := ""
		if fn := f.table.PCToFunc(pc); fn != nil {
			pkg = fn.PackageName()
		}
		p = placeOf(pkg, f.domain)
		f.known[pc] = p
	}
	return p
}

// instructions counts the lines of a log of QEMU's with one block of one instruction each:
//
//	Trace 0: 0x7f1e34000100 [0000000000000000/0000000000243fe0/00c0b2f3/ff000201] name
//
// The words in brackets are the base of code, the address, the processor's flags, of which the
// last two bits are its privilege, and what QEMU has asked of the block.
func instructions(log io.Reader, kernel, domain *functions) (n [places]uint64, err error) {
	in := bufio.NewReaderSize(log, 1<<20)
	for {
		line, err := in.ReadSlice('\n')
		if err == io.EOF {
			return n, nil
		}
		if err != nil {
			return n, err
		}
		_, words, found := bytes.Cut(line, []byte("["))
		if !found || !bytes.HasPrefix(line, []byte("Trace ")) {
			continue
		}
		pc, flags, err := traced(words)
		if err != nil {
			return n, fmt.Errorf("the trace has a line %q: %w", line, err)
		}
		if flags&3 == 3 {
			n[domain.place(pc)]++
		} else {
			n[kernel.place(pc)]++
		}
	}
}

// traced reads the words in the brackets of a line.
func traced(words []byte) (pc uint64, flags uint32, err error) {
	const base, address, flag = 16, 16, 8
	if len(words) < base+1+address+1+flag+1 || words[base] != '/' || words[base+1+address] != '/' || words[base+1+address+1+flag] != '/' {
		return 0, 0, fmt.Errorf("want BASE/ADDRESS/FLAGS in digits of base 16")
	}
	var b [(address + flag) / 2]byte
	words = words[base+1:]
	if _, err = hex.Decode(b[:8], words[:address]); err == nil {
		_, err = hex.Decode(b[8:], words[address+1:][:flag])
	}
	for _, x := range b[:8] {
		pc = pc<<8 | uint64(x)
	}
	for _, x := range b[8:] {
		flags = flags<<8 | uint32(x)
	}
	return pc, flags, err
}

// monitor is QEMU's, for people: a line is a command, and its answer ends with a prompt.
type monitor struct {
	c  net.Conn
	in *bufio.Reader
}

// monitorPrompt ends each answer, and stands in front of the first command.
const monitorPrompt = "(qemu) "

// openMonitor connects to the monitor.
func openMonitor(ctx context.Context, path string) (*monitor, error) {
	c, err := new(net.Dialer).DialContext(ctx, "unix", path)
	if err != nil {
		return nil, err
	}
	m := &monitor{c, bufio.NewReader(c)}
	_, err = m.answer()
	return m, err
}

func (m *monitor) answer() (string, error) {
	var all []byte
	m.c.SetDeadline(time.Now().Add(callsMax))
	for !bytes.HasSuffix(all, []byte(monitorPrompt)) {
		b, err := m.in.ReadByte()
		if err != nil {
			return "", fmt.Errorf("QEMU's monitor: %w after %q", err, all)
		}
		all = append(all, b)
	}
	return string(all[:len(all)-len(monitorPrompt)]), nil
}

// do runs commands, of which none may say anything but its echo.
func (m *monitor) do(commands ...string) error {
	for _, command := range commands {
		if _, err := io.WriteString(m.c, command+"\n"); err != nil {
			return err
		}
		text, err := m.answer()
		if err != nil {
			return err
		}
		// The echo is drawn letter by letter; what the command says are whole lines after it.
		if _, said, _ := strings.Cut(text, "\n"); strings.TrimSpace(said) != "" {
			return fmt.Errorf("QEMU's monitor: %s: %s", command, strings.TrimSpace(said))
		}
	}
	return nil
}

// traceRow is what one of a measure's units takes at each place.
type traceRow struct {
	Name  string             `json:"name"`
	Title string             `json:"title"`
	Each  map[string]float64 `json:"instructions"`
	at    [places]float64
}

// traceNames are the places with whose they are.
func traceNames() (names [places]string) {
	for i, name := range placeNames {
		if place(i) < placeChannel {
			names[i] = "kernel " + name
		} else {
			names[i] = "domain " + name
		}
	}
	return names
}

// takeTraces counts instructions by place.
func (p *plan) takeTraces(ctx context.Context, n network, r *results) error {
	wanted := false
	for _, m := range traceMeasures {
		wanted = wanted || p.wants(m.name)
	}
	if !wanted || len(p.Path) == 0 {
		return nil
	}
	g := p.Path[0]
	kernel, err := readFunctions(g.Image, false)
	if err != nil {
		return r.failed(ctx, "trace", g.Name, err)
	}
	domain, err := readFunctions(filepath.Join(p.work(), serveProgram), true)
	if err != nil {
		return r.failed(ctx, "trace", g.Name, err)
	}
	socket, log := filepath.Join(p.work(), "monitor"), filepath.Join(p.work(), "trace.log")
	os.Remove(socket)
	g.Extra = append(append([]string{}, counting...), "-monitor", "unix:"+socket+",server=on,wait=off", "-D", log)
	vm, err := p.boot(ctx, n, g, p.Memory, serveAll, bootMax)
	if err != nil {
		return r.failed(ctx, "boot", g.Name, err)
	}
	defer vm.stop()
	if err := vm.ready(ctx); err != nil {
		return r.failed(ctx, "services", g.Name, err)
	}
	control, err := openMonitor(ctx, socket)
	if err != nil {
		return r.failed(ctx, "trace", g.Name, err)
	}
	defer control.c.Close()
	for _, m := range traceMeasures {
		if !p.wants(m.name) {
			continue
		}
		row, err := takeTrace(ctx, m, vm, control, log, kernel, domain)
		if err != nil {
			if err := r.failed(ctx, m.name, g.Name, err); err != nil {
				return err
			}
			continue
		}
		r.Traces = append(r.Traces, row)
		progress("%s: %s: instructions by place are counted", g.Name, m.title)
	}
	return nil
}

// takeTrace has one measure's loop run once to warm up and once traced.
func takeTrace(ctx context.Context, m traceMeasure, vm *machine, control *monitor, path string, kernel, domain *functions) (*traceRow, error) {
	loop, end, err := m.open(ctx, vm)
	if err != nil {
		return nil, err
	}
	defer end()
	if err := loop(); err != nil {
		return nil, err
	}
	log, err := os.Create(path)
	if err != nil {
		return nil, err
	}
	defer os.Remove(path)
	defer log.Close()
	// Of one instruction each, and none that goes on to another past the log.
	step := "one-insn-per-tb"
	if control.do(step+" on") != nil {
		step = "singlestep" // before QEMU 8.1
		if err := control.do(step + " on"); err != nil {
			return nil, err
		}
	}
	if err := control.do("logfile "+path, "log exec,nochain"); err != nil {
		return nil, err
	}
	err = loop()
	if problem := control.do("log none", step+" off"); err == nil {
		err = problem
	}
	if err != nil {
		return nil, err
	}
	all, err := instructions(log, kernel, domain)
	if err != nil {
		return nil, err
	}
	row := &traceRow{Name: m.name, Title: m.title, Each: map[string]float64{}}
	for i, name := range traceNames() {
		row.at[i] = float64(all[i]) / float64(m.units)
		row.Each[name] = row.at[i]
	}
	return row, nil
}

// printTraces writes the table.
func (r *results) printTraces(out io.Writer) {
	if len(r.Traces) == 0 {
		return
	}
	fmt.Fprintf(out, "\nGuest instructions by the place they are at (closed loops, each one counted):\n\n%-30s%-48s|%s\n%-30s", "", "  the kernel's", "  the domain's", "")
	for i, name := range placeNames {
		fmt.Fprintf(out, "%s%8s", map[bool]string{true: "|"}[place(i) == placeChannel], name)
	}
	fmt.Fprintln(out)
	for _, w := range r.Traces {
		fmt.Fprintf(out, "%-30s", w.Title)
		for i, n := range w.at {
			fmt.Fprintf(out, "%s%8.0f", map[bool]string{true: "|"}[place(i) == placeChannel], n)
		}
		fmt.Fprintln(out)
	}
}
