// Command guest is the first program of the Linux guest that `make bench`
// measures beside Sluice, and its test services. It does the least that a
// server needs, so that Linux starts as fast as Linux can: mount, load the
// network driver, set a fixed address, start nginx.
//
// The kernel command line sets what to do, as environment variables:
//
//	address=10.88.0.2/24  of the network card
//	serve=http            nginx and nothing else, or
//	serve=go              the program /serve instead of all others, or
//	serve=forward         forward packets to second=10.88.1.2/24, another card, and by the route
//	                      route=10.99.0.0/16 via=10.88.1.1, IPv6 by second6=, route6= and
//	                      via6=, and tell at port 8081 for how long the machine has run and idled, or
//	serve=calls           what a system call and a change of process cost, or
//	serve=all             also discard, echo, source and iperf3, once nginx answers
//
// Run as "guest discard", "guest echo", "guest source" or "guest usage" it is that service.
package main

import (
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime/debug"
	"slices"
	"syscall"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

const (
	card = "eth0"
	// bytesSize is the length of what GET /bytes answers with.
	bytesSize = 32 << 20
	// pause is how often something that must appear is looked for.
	pause = 2 * time.Millisecond
	// patience bounds every such wait.
	patience = 30 * time.Second
)

func main() {
	services := map[string]func() error{"discard": discard, "echo": echo, "source": source, "usage": usage}
	var err error
	switch {
	case len(os.Args) == 2 && services[os.Args[1]] != nil:
		err = services[os.Args[1]]()
	case os.Getpid() == 1:
		if err = start(); err == nil {
			reap()
		}
	default:
		err = fmt.Errorf("arguments %q: want discard, echo, source or usage, or to be process 1", os.Args[1:])
	}
	// As process 1 this ends the machine: the kernel panics, panic=-1 resets.
	fmt.Fprintln(os.Stderr, "guest:", err)
	os.Exit(1)
}

// start brings the machine up.
func start() error {
	for _, m := range []struct{ kind, at string }{{"proc", "/proc"}, {"sysfs", "/sys"}, {"devtmpfs", "/dev"}} {
		if err := unix.Mount(m.kind, m.at, m.kind, 0, ""); err != nil {
			return fmt.Errorf("mount %s: %w", m.at, err)
		}
	}
	if os.Getenv("serve") == "calls" {
		return measureCalls()
	}
	if err := loadModules(); err != nil {
		return err
	}
	if err := configure(card, os.Getenv("address")); err != nil {
		return err
	}
	if os.Getenv("serve") == "go" {
		return run("/serve")
	}
	if err := run("/usr/sbin/nginx"); err != nil {
		return err
	}
	if os.Getenv("serve") == "forward" {
		return forward()
	}
	if os.Getenv("serve") != "all" {
		return nil
	}
	if err := wait("nginx", func() error {
		c, err := net.Dial("tcp", "127.0.0.1:80")
		if err == nil {
			c.Close()
		}
		return err
	}); err != nil {
		return err
	}
	if err := os.WriteFile("/www/healthz", []byte("ok\n"), 0o644); err != nil {
		return err
	}
	if err := writeBytes("/www/bytes"); err != nil {
		return err
	}
	for _, service := range []string{"source", "echo", "discard"} {
		if err := run("/init", service); err != nil {
			return err
		}
	}
	const iperf = "/usr/bin/iperf3"
	if _, err := os.Stat(iperf); err != nil {
		return nil // the builder did not find it either
	}
	return run(iperf, "-s")
}

// measureCalls runs the program calls with the system calls of Linux: getppid,
// and sched_yield in two processes at a time.
func measureCalls() error {
	if err := run("/calls", "null", fmt.Sprint(unix.SYS_GETPPID), "200000"); err != nil {
		return err
	}
	time.Sleep(2 * time.Second)
	for range 2 {
		if err := run("/calls", "switch", fmt.Sprint(unix.SYS_SCHED_YIELD), "50000"); err != nil {
			return err
		}
	}
	return nil
}

// loadModules loads the drivers in the order of their names, which the builder
// gave them. The kernel unpacks those that are compressed.
func loadModules() error {
	files, err := filepath.Glob("/modules/*")
	if err != nil {
		return err
	}
	slices.Sort(files)
	for _, path := range files {
		f, err := os.Open(path)
		if err != nil {
			return err
		}
		flags := 0
		if filepath.Ext(path) != ".ko" {
			flags = unix.MODULE_INIT_COMPRESSED_FILE
		}
		err = unix.FinitModule(int(f.Fd()), "", flags)
		f.Close()
		if err != nil {
			return fmt.Errorf("%s: %w", path, err)
		}
	}
	return nil
}

// configure gives the card its address and turns the links on.
func configure(card, address string) error {
	prefix, err := netlink.ParseAddr(address)
	if err != nil {
		return fmt.Errorf("address=%s: %w", address, err)
	}
	var link netlink.Link
	if err := wait(card, func() (err error) {
		link, err = netlink.LinkByName(card)
		return err
	}); err != nil {
		return err
	}
	lo, err := netlink.LinkByName("lo")
	if err != nil {
		return err
	}
	if err := netlink.LinkSetUp(lo); err != nil {
		return err
	}
	if err := netlink.AddrAdd(link, prefix); err != nil {
		return err
	}
	return netlink.LinkSetUp(link)
}

// wait asks until there is no error.
func wait(what string, ask func() error) error {
	for end := time.Now().Add(patience); ; time.Sleep(pause) {
		err := ask()
		if err == nil {
			return nil
		}
		if time.Now().After(end) {
			return fmt.Errorf("%s: %w", what, err)
		}
	}
}

// run starts a program that stays. Its end is seen by reap.
func run(argv ...string) error {
	cmd := exec.Command(argv[0], argv[1:]...)
	cmd.Stdout, cmd.Stderr = os.Stderr, os.Stderr
	return cmd.Start()
}

// reap waits for children for ever, which process 1 has to.
func reap() {
	for {
		var status syscall.WaitStatus
		pid, err := syscall.Wait4(-1, &status, 0, nil)
		switch {
		case err == syscall.ECHILD:
			select {} // none is left
		case err == nil:
			fmt.Fprintf(os.Stderr, "guest: process %d ended with status %#x\n", pid, uint32(status))
		}
	}
}

// writeBytes makes the file that nginx sends for /bytes.
func writeBytes(path string) error {
	if err := os.WriteFile(path, patternBytes(bytesSize), 0o644); err != nil {
		return err
	}
	debug.FreeOSMemory()
	return nil
}

// patternBytes returns the start of the stream that Sluice's /bytes computes.
func patternBytes(n int) []byte {
	const period = 65521
	b := make([]byte, n)
	for i := range b {
		j := i % period
		b[i] = byte(7*j + j>>8)
	}
	return b
}
