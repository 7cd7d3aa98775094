// Package qemutest boots Sluice images in QEMU from go test. It gives the test
// both ends of the wire, the console and the machine's control socket, and
// waits for events, never for time to pass.
//
//	vm := qemutest.Start(t, qemutest.Config{Machine: "microvm", Net: qemutest.RawWire})
//	peer := vm.Peer(t, qemutest.PeerConfig{})
//	vm.Expect(t, "dhcp: address acquired")
//	peer.Ping(t, peer.Address4())
//
// Nothing here needs privileges. What a failed test leaves (console, frames,
// the QEMU line) is kept in files that its log names.
package qemutest

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	vmtest "github.com/hugelgupf/vmtest/qemu"

	"github.com/sluice-os/sluice/image/qemu"
)

// Net says what the machine's network card is plugged into.
type Net int

const (
	// NoCard leaves the card out.
	NoCard Net = iota
	// RawWire carries Ethernet frames to and from the test: see VM.Wire and
	// VM.Peer.
	RawWire
	// UserNet is QEMU's user network with a DHCP server; Config.Forward makes
	// ports of the machine reachable: see VM.Forwarded.
	UserNet
)

const (
	memoryDefault = 64 // MiB
	limitDefault  = 10 * time.Minute
	// grace is what is left of the test's own time to report in, when it
	// ends before the machine does.
	grace = 5 * time.Second
	// cardFile is the number of the socket that QEMU is given for a shaped wire.
	cardFile = 3
	// netdev is the id that qemu.Config gives the card's other end.
	netdev = "n0"
)

// Config describes the machine to start. Its zero value is a microvm of 64 MiB
// without a network card.
type Config struct {
	// Machine is a QEMU machine: "microvm", "q35" or "pc"; "" means microvm.
	Machine string
	// Image is the path of the ELF to boot; "" means the one of Image.
	Image string
	// Memory is in MiB; 0 means 64.
	Memory int
	// Append holds kernel options.
	Append string
	// Net is what the network card is plugged into.
	Net Net
	// Rate is how many bits a second of what the machine sends its cable carries; 0: as many
	// as come. RawWire only. What is too much waits in the card.
	Rate int
	// Forward lists ports of the machine as "tcp/80" or "udp/7"; UserNet only.
	Forward []string
	// Card is the network card, one of qemu.Cards; "" is virtio's.
	Card string
	// CardOptions are further ones of its device, for example "addr=0x6", a place on PCI.
	CardOptions string
	// More are further network cards, each on a raw wire of its own: see VM.WireOf and
	// VM.PeerOf. Their Netdev is set by Start.
	More []qemu.Card
	// MAC is the card's address; "" lets QEMU choose, which gives every
	// machine the same one.
	MAC string
	// NoRNG leaves the virtio-rng device out.
	NoRNG bool
	// IOMMU puts the devices behind an IOMMU; q35 only.
	IOMMU bool
	// PCI plugs virtio's devices into PCI; virt only.
	PCI bool
	// Firmware starts Image, a disk, by "bios" or "uefi"; Bus is what the disk is plugged
	// into. See qemu.Config.
	Firmware, Bus string
	// NoExit leaves the device out by which a kernel that fails ends QEMU: the screen stays.
	NoExit bool
	// Bridges are devices that come before the network cards, which CardOptions may plug into
	// them.
	Bridges []string
	// Extra holds further QEMU arguments.
	Extra []string
	// Unchecked leaves out the look at the machine's memory when its test is over: the
	// console is not the shell's then, or memory was lost on purpose.
	Unchecked bool
	// Limit is how long the machine may run; 0 means ten minutes. The test's
	// own deadline ends it earlier.
	Limit time.Duration
}

// VM is a running machine. It ends with the test that started it.
type VM struct {
	line    string
	again   string // the same machine for a person, without our sockets
	log     console
	machine *vmtest.VM
	control *qmp
	wire    *Wire
	more    []*Wire // of Config.More
	forward map[string]string
	ram     uint64 // bytes
	// unchecked is Config.Unchecked.
	unchecked bool

	ctx    context.Context // ends with QEMU or at the deadline
	cancel context.CancelFunc
	exited chan struct{} // closed when QEMU has ended and all its output is in log
	status int           // of QEMU, once exited is closed
	raw    sync.Once     // the terminal's signal keys are off
}

// Start boots a machine and returns as soon as QEMU answers; what the kernel
// does then is for Expect. A failure to start fails the test. When the test is over
// and the machine runs, its account of its memory must be right, see CheckMemory.
func Start(t testing.TB, c Config) *VM {
	t.Helper()
	if c.Machine == "" {
		c.Machine = "microvm"
	}
	program, err := qemu.Find(c.Machine)
	if err != nil {
		t.Fatal(err)
	}
	if c.Memory == 0 {
		c.Memory = memoryDefault
	}
	if c.Image == "" {
		c.Image = Image(t, qemu.Machines[c.Machine])
	}
	// Short: the path of a unix socket has at most 107 bytes.
	dir, err := os.MkdirTemp("", "sluice")
	if err != nil {
		t.Fatal(err)
	}
	v := &VM{exited: make(chan struct{}), ram: uint64(c.Memory) << 20, unchecked: c.Unchecked}
	v.log.init()
	t.Cleanup(func() { v.end(t, dir) })
	t.Cleanup(func() { v.checkAtEnd(t) })
	v.ctx, v.cancel = context.WithDeadline(context.Background(), deadline(t, c.Limit))
	if err := v.start(program, c, dir); err != nil {
		t.Fatalf("qemutest: %v", err)
	}
	t.Logf("QEMU: %s", v.line)
	return v
}

// deadline is when a machine has to have ended.
func deadline(t testing.TB, limit time.Duration) time.Time {
	if limit <= 0 {
		limit = limitDefault
	}
	end := time.Now().Add(limit)
	if d, ok := t.(interface{ Deadline() (time.Time, bool) }); ok {
		if own, set := d.Deadline(); set && own.Add(-grace).Before(end) {
			return own.Add(-grace)
		}
	}
	return end
}

// start runs QEMU and connects the control socket and the network.
func (v *VM) start(program string, c Config, dir string) (err error) {
	q := qemu.Config{
		Machine: c.Machine, Memory: c.Memory, Image: c.Image, Append: c.Append,
		Accel: os.Getenv("ACCEL"), Card: c.Card, CardOptions: c.CardOptions, MAC: c.MAC, NoRNG: c.NoRNG, IOMMU: c.IOMMU, PCI: c.PCI, Extra: c.Extra,
		Firmware: c.Firmware, Bus: c.Bus, NoExit: c.NoExit, Bridges: c.Bridges,
	}
	if len(c.Forward) > 0 && c.Net != UserNet {
		return errors.New("ports are forwarded by the user network only: set Net to UserNet")
	}
	switch c.Net {
	case RawWire:
		if v.wire, err = newWire(dir, c.Rate); err != nil {
			return err
		}
		q.Netdev = v.wire.netdev()
	case UserNet:
		if q.Netdev, err = userNetdev(c.Forward); err != nil {
			return err
		}
	}
	if len(c.More) > 0 && c.Net == NoCard {
		return errors.New("further cards without a first one: set Net")
	}
	for n, card := range c.More {
		w, err := newWire(filepath.Join(dir, fmt.Sprint(n)), 0)
		if err != nil {
			return err
		}
		v.more = append(v.more, w)
		card.Netdev = w.netdev()
		q.More = append(q.More, card)
	}
	if v.control, err = newQMP(filepath.Join(dir, "qmp")); err != nil {
		return err
	}
	if v.again, err = byHand(q); err != nil {
		return err
	}
	// The machine starts stopped: it may end as soon as it runs, and QEMU with it.
	q.Extra = append(slices.Clone(q.Extra), "-S", "-qmp", v.control.argument())
	args, err := q.Args()
	if err != nil {
		return err
	}
	v.line = qemu.Shell(c.Machine, args)
	if err := v.run(append([]string{program}, args...)); err != nil {
		return err
	}
	// QEMU handles the first command when all its devices are there.
	if err := v.control.connect(v.ctx); err != nil {
		return v.instead(err)
	}
	switch c.Net {
	case RawWire:
		err = v.wire.connect()
	case UserNet:
		v.forward, err = v.readForwards(c.Forward)
	}
	for _, w := range v.more {
		err = errors.Join(err, w.connect())
	}
	if err != nil {
		return err
	}
	if err := v.control.execute(v.ctx, "cont", nil, nil); !errors.Is(err, errEnded) {
		return err
	}
	return nil // it ran, and has ended before the answer to cont came
}

// byHand returns a line that starts the machine without the test: a raw wire
// becomes QEMU's user network.
func byHand(q qemu.Config) (string, error) {
	if strings.HasPrefix(q.Netdev, "dgram,") {
		q.Netdev = "user"
	}
	q.More = slices.Clone(q.More)
	for i := range q.More {
		q.More[i].Netdev = "user"
	}
	args, err := q.Args()
	return qemu.Shell(q.Machine, args), err
}

// run starts the process. vmtest owns it, its terminal and its output.
func (v *VM) run(argv []string) (err error) {
	v.machine, err = vmtest.StartContext(v.ctx, vmtest.ArchAMD64,
		func(_ *vmtest.IDAllocator, o *vmtest.Options) error {
			// The whole line is ours, whatever VMTEST_* variables say.
			o.QEMUCommand, o.QEMUArgs = "", argv
			o.Kernel, o.KernelArgs, o.Initramfs, o.VMTimeout = "", "", "", 0
			if v.wire != nil && v.wire.card != nil {
				if n := o.AddFile(v.wire.card); n != cardFile {
					return fmt.Errorf("QEMU has the card's socket as file %d, want %d", n, cardFile)
				}
			}
			return nil
		},
		vmtest.WithSerialOutput(&v.log))
	if err != nil {
		return err
	}
	go func() {
		// Wait also drains the terminal, which would block QEMU when full.
		err := v.machine.Wait()
		var exit *exec.ExitError
		switch {
		case errors.As(err, &exit):
			v.status = exit.ExitCode()
		case err != nil:
			v.status = -1
		}
		v.log.close()
		close(v.exited)
		v.cancel()
	}()
	return nil
}

// instead explains an error by what made QEMU end, when that came first.
func (v *VM) instead(err error) error {
	if errors.Is(err, errEnded) {
		<-v.exited // which follows at once
	}
	select {
	case <-v.exited:
		return fmt.Errorf("QEMU ended with status %d:\n%s", v.status, v.log.tail(tailLines))
	default:
		return err
	}
}

// Wait waits until QEMU has ended and returns its exit status, -1 when a
// signal ended it. A machine that runs on until the deadline fails the test.
func (v *VM) Wait(t testing.TB) int {
	t.Helper()
	<-v.exited // the deadline kills QEMU
	if v.status < 0 && errors.Is(v.ctx.Err(), context.DeadlineExceeded) {
		t.Fatalf("qemutest: the machine was still running at the deadline")
	}
	return v.status
}

// Context ends when QEMU does, or at the machine's deadline.
func (v *VM) Context() context.Context { return v.ctx }

// Line returns the command line that started QEMU, ready for a shell.
func (v *VM) Line() string { return v.line }

// Kill ends QEMU at once.
func (v *VM) Kill() {
	v.cancel()
	<-v.exited
}

// end stops everything and keeps what a failed test leaves.
func (v *VM) end(t testing.TB, dir string) {
	v.cancel()
	if v.machine != nil {
		<-v.exited
	}
	if v.control != nil {
		v.control.close()
	}
	for _, w := range v.wires() {
		w.close()
	}
	if t.Failed() {
		v.keep(t)
	}
	if err := os.RemoveAll(dir); err != nil {
		t.Errorf("qemutest: %v", err)
	}
}
