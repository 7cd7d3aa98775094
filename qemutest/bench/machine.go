package main

// One boot of one guest: QEMU's process, its console in a file, and the time to
// the first HTTP answer.

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"syscall"
	"time"

	"github.com/sluice-os/sluice/image/qemu"
)

const (
	// attemptEvery is how often a booting guest is asked: the resolution of the
	// time to the first answer.
	attemptEvery = 10 * time.Millisecond
	// attemptMax is when an unanswered attempt is given up. It is shorter than
	// TCP's first retransmission, which would only find what a later attempt
	// finds sooner.
	attemptMax = 500 * time.Millisecond
	// bootMax is when a boot has failed.
	bootMax = time.Minute
)

// guest is what boots.
type guest struct {
	Name   string // "sluice" or "linux"
	Image  string
	Initrd string // "" for none
	Append string
	// Serve overrides what a Linux guest is asked to start.
	Serve string
	Extra []string // arguments of QEMU
	// Card is the network card, as qemu.Config has it, and Firmware what starts Image, a
	// disk.
	Card, Firmware string
	More           []qemu.Card
}

// What a Linux guest starts; Sluice always serves everything.
const (
	serveHTTP = "http"
	serveAll  = "all"
)

// args returns QEMU's arguments: for both guests the ones that `image run`
// uses, with the memory, the cable, the initramfs and the kernel options put in.
func (g guest) args(machine string, n network, memory int, serve string) ([]string, error) {
	c := qemu.Config{
		Machine: machine, Memory: memory, Image: g.Image, Append: g.Append,
		Accel: os.Getenv("ACCEL"), Netdev: n.netdev(), MAC: guestMAC, More: g.More, Extra: g.Extra,
		Card: g.Card, Firmware: g.Firmware,
	}
	if g.Initrd != "" {
		c.Extra = append(slices.Clone(c.Extra), "-initrd", g.Initrd)
		if g.Serve != "" {
			serve = g.Serve
		}
		c.Append += " serve=" + serve
	}
	return c.Args()
}

// machine is a running guest.
type machine struct {
	guest  guest
	net    network
	cmd    *exec.Cmd
	keys   io.WriteCloser // the console's input, kept open
	log    string         // the file with its output
	exited chan struct{}  // closed when QEMU has ended
	first  time.Duration  // from the start of QEMU to the first HTTP answer
}

// boot starts a guest and waits for its first HTTP answer, at most limit.
func (p *plan) boot(ctx context.Context, n network, g guest, memory int, serve string, limit time.Duration) (*machine, error) {
	args, err := g.args(p.Machine, n, memory, serve)
	if err != nil {
		return nil, err
	}
	path := filepath.Join(p.work(), g.Name+".log")
	log, err := os.Create(path)
	if err != nil {
		return nil, err
	}
	defer log.Close()
	cmd := exec.CommandContext(ctx, p.QEMU, args...)
	cmd.Stdout, cmd.Stderr = log, log
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	keys, err := cmd.StdinPipe()
	if err != nil {
		return nil, err
	}
	m := &machine{guest: g, net: n, cmd: cmd, keys: keys, log: path, exited: make(chan struct{})}
	start := time.Now()
	if err := cmd.Start(); err != nil {
		return nil, fmt.Errorf("%s: %w", cmd.Path, err)
	}
	waiting, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	go func() {
		cmd.Wait() // why it ended is on the console
		close(m.exited)
		cancel()
	}()
	if err := firstAnswer(waiting, n.dialAddress(httpPort)); err != nil {
		m.stop()
		switch {
		case ctx.Err() != nil:
			return nil, ctx.Err()
		case errors.Is(waiting.Err(), context.DeadlineExceeded):
			return nil, fmt.Errorf("%s with %d MiB gave no HTTP answer in %v: its console is in %s", g.Name, memory, limit, path)
		}
		return nil, fmt.Errorf("%s with %d MiB ended before it gave an HTTP answer: its console is in %s", g.Name, memory, path)
	}
	m.first = time.Since(start)
	return m, nil
}

// stop ends QEMU and waits for that.
func (m *machine) stop() {
	m.cmd.Process.Kill()
	m.keys.Close()
	<-m.exited
}

// firstAnswer asks for the front page until it comes. New attempts do not wait
// for old ones: a SYN that was lost would be sent again after a second only.
func firstAnswer(ctx context.Context, address string) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	answered := make(chan struct{}, 1)
	tick := time.NewTicker(attemptEvery)
	defer tick.Stop()
	for {
		go func() {
			if fetch(ctx, address) == nil {
				select {
				case answered <- struct{}{}:
				default:
				}
			}
		}()
		select {
		case <-answered:
			return nil
		case <-ctx.Done():
			return ctx.Err()
		case <-tick.C:
		}
	}
}

// fetch gets the front page over a connection of its own.
func fetch(ctx context.Context, address string) error {
	ctx, cancel := context.WithTimeout(ctx, attemptMax)
	defer cancel()
	c, err := new(net.Dialer).DialContext(ctx, "tcp", address)
	if err != nil {
		return err
	}
	defer c.Close()
	defer context.AfterFunc(ctx, func() { c.SetDeadline(time.Unix(1, 0)) })()
	if _, err := io.WriteString(c, "GET / HTTP/1.1\r\nHost: guest\r\nConnection: close\r\n\r\n"); err != nil {
		return err
	}
	response, err := http.ReadResponse(bufio.NewReader(c), nil)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	if response.StatusCode != http.StatusOK {
		return errors.New(response.Status)
	}
	n, err := io.Copy(io.Discard, response.Body)
	if err == nil && n == 0 {
		err = errors.New("an empty page")
	}
	return err
}

// ready waits until all services of the guest take connections.
func (m *machine) ready(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, bootMax)
	defer cancel()
	tick := time.NewTicker(attemptEvery)
	defer tick.Stop()
	for {
		err := m.drained(ctx)
		if err == nil {
			return nil
		}
		select {
		case <-tick.C:
		case <-m.exited:
			return fmt.Errorf("%s ended", m.guest.Name)
		case <-ctx.Done():
			return fmt.Errorf("%s: port %d: %w", m.guest.Name, discardPort, err)
		}
	}
}

// drained connects to the discard service, ends the sending and waits for the
// service to do the same, which proves that it runs: on the user network QEMU
// takes connections to ports that are closed.
func (m *machine) drained(ctx context.Context) error {
	n, err := send(ctx, m.net.dialAddress(discardPort), 0)
	if err == nil && n.bytes == 0 {
		err = errors.New("nothing was taken")
	}
	return err
}
