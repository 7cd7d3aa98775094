package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"net"
	"os"
	"os/exec"
	"strings"
	"time"

	"github.com/sluice-os/sluice/image/build"
	"github.com/sluice-os/sluice/image/qemu"
)

// statusInterrupted is what a shell makes of ^C.
const statusInterrupted = 130

// exitStatus is QEMU's own status, handed on.
type exitStatus int

func (s exitStatus) Error() string { return fmt.Sprintf("QEMU ended with status %d", int(s)) }

func runRun(ctx context.Context, args []string) error {
	fs := newFlags("run", "", "Builds an image and boots it in QEMU with its console on this terminal. Ports of\nthis machine lead to the image: HTTP by -http, echo by -echo.")
	o := buildFlags(fs)
	path := manifestFlag(fs)
	memory := fs.Int("m", 128, "memory in `MiB`; a manifest's comes before the default")
	machine := fs.String("machine", "", "machine: microvm, q35, pc, firecracker, cloudhypervisor or virt (default: the board's)")
	cmdline := fs.String("append", "", "kernel options, for example \"log=debug ip6=off\"")
	http := fs.Int("http", 8080, "`port` on 127.0.0.1 that leads to the image's TCP port 80; 0 for none")
	echo := fs.Int("echo", 0, "`port` on 127.0.0.1 that leads to the image's TCP port 7; 0 for none")
	card := fs.String("card", qemu.CardVirtIO, "network card: "+strings.Join(qemu.Cards, ", ")+"; all but the first on q35, pc or virt")
	iommu := fs.Bool("iommu", false, "put the devices behind an IOMMU, so that they reach their own memory only; machine q35")
	firmware := fs.String("firmware", qemu.Firmwares[0], "what starts a disk (-format raw, iso or qcow2): "+strings.Join(qemu.Firmwares, ", "))
	gdb := fs.Bool("gdb", false, "have the machine wait for gdb on port 1234, and print the line to type")
	dry := fs.Bool("n", false, "print the QEMU line and do not run it")
	if err := parse(fs, args, 0); err != nil {
		return err
	}
	m, err := useManifest(*path, o)
	if err != nil {
		return err
	}
	if err := finish(o, m); err != nil {
		return err
	}
	given := false
	fs.Visit(func(f *flag.Flag) { given = given || f.Name == "m" })
	if !given && m != nil {
		*memory = int(m.Memory >> 20)
	}
	if *memory < qemu.MemoryMin {
		return usageError{fmt.Errorf("%d MiB of memory: give at least %d", *memory, qemu.MemoryMin)}
	}
	if *machine == "" {
		*machine = qemu.MachineFor(o.Board)
	}
	if board, ok := qemu.Machines[*machine]; ok && board != o.Board {
		return usageError{fmt.Errorf("machine %s boots board %s, not %s", *machine, board, o.Board)}
	}
	netdev := "user"
	for _, f := range []struct {
		flag        string
		host, guest int
	}{{"-http", *http, 80}, {"-echo", *echo, 7}} {
		if f.host == 0 {
			continue
		}
		if f.host < 0 || f.host > 65535 {
			return usageError{fmt.Errorf("%s %d: ports are 1 to 65535", f.flag, f.host)}
		}
		if err := portFree(f.host); err != nil {
			return fmt.Errorf("%w: choose another one with %s", err, f.flag)
		}
		netdev += fmt.Sprintf(",hostfwd=tcp:127.0.0.1:%d-:%d", f.host, f.guest)
	}
	c := qemu.Config{
		Machine: *machine, Memory: *memory, Image: o.Output, Append: *cmdline,
		Accel: os.Getenv("ACCEL"), Netdev: netdev, Card: *card, IOMMU: *iommu, GDB: *gdb,
	}
	if o.Format != build.Formats[0] && o.Format != build.LinuxFormat {
		c.Firmware = *firmware
	}
	if o.Format == "iso" {
		c.Bus = "cd"
	}
	line, err := c.Args()
	if err != nil {
		return usageError{err}
	}
	program, err := qemu.Find(*machine)
	if err != nil {
		return err
	}
	o.Symbols = *gdb
	if _, err := build.Build(ctx, *o); err != nil {
		return err
	}
	fmt.Println(qemu.Shell(*machine, line))
	if *gdb {
		symbols := o.Output
		if o.Format != build.Formats[0] {
			symbols = "" // a disk: gdb reads no symbols from it
		}
		fmt.Printf("in another terminal: %s\n", qemu.GDBLine(*machine, symbols))
	}
	if *dry {
		return nil
	}
	if *http != 0 {
		fmt.Printf("when it is up: http://127.0.0.1:%d   (type help at the prompt, poweroff to leave)\n", *http)
	}
	cmd := exec.CommandContext(ctx, program, line...)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
	cmd.Cancel = func() error { return cmd.Process.Signal(os.Interrupt) }
	cmd.WaitDelay = 5 * time.Second
	err = cmd.Run()
	if ctx.Err() != nil {
		return exitStatus(statusInterrupted)
	}
	var exit *exec.ExitError
	if errors.As(err, &exit) && exit.ExitCode() > 0 {
		return exitStatus(exit.ExitCode())
	}
	return err
}

// portFree tells a person early what QEMU would tell late.
func portFree(port int) error {
	l, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", port))
	if err != nil {
		return fmt.Errorf("port %d on 127.0.0.1 is in use", port)
	}
	return l.Close()
}
