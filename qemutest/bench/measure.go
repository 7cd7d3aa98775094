package main

// What is measured, and what is wanted of it.

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"time"
)

// measure is one row of the table.
type measure struct {
	name, title, unit string
	// wanted tells what met checks; both are left out where nothing is wanted.
	wanted string
	met    func(sluice, ratio float64) bool
	// take measures a running guest; nil for what is not measured on one.
	take func(ctx context.Context, s settings, m *machine) (float64, error)
	// linuxOnly leaves Sluice out: its kernel, which these rows are about, has no such service.
	linuxOnly bool
}

// measures are all rows but those of the path.
var measures = append(ownMeasures, moreMeasures()...)

// moreMeasures are those of cards and disks.
func moreMeasures() (list []measure) {
	for _, m := range cardMeasures {
		row := m.measure
		row.take = nil // on guests of their own: see takeCards
		list = append(list, row)
	}
	return append(list, diskMeasures...)
}

var ownMeasures = []measure{
	{name: "boot", title: "exec of QEMU to first HTTP answer", unit: "s",
		wanted: "ratio <= 0.25", met: func(_, ratio float64) bool { return ratio <= 0.25 }},
	{name: "size", title: "image (kernel and initramfs)", unit: "MB",
		wanted: "< 10 MB", met: below(10)},
	{name: "memory", title: "least memory that serves HTTP", unit: "MiB",
		wanted: "<= 64 MiB", met: func(sluice, _ float64) bool { return sluice <= 64 }},
	{name: "idle", title: "idle, of one host core", unit: "%", take: takeIdle,
		wanted: "< 5 %", met: below(5)},
	{name: "tcp-in", title: "TCP in (discard)", unit: "Mbit/s", take: takeIn,
		wanted: "ratio >= 0.5", met: atLeast(0.5)},
	{name: "tcp-out", title: "TCP out (from memory)", unit: "Mbit/s", take: takeOut,
		wanted: "ratio >= 0.5", met: atLeast(0.5)},
	{name: "file-out", title: "TCP out (Linux: nginx, sendfile)", unit: "Mbit/s", take: takeFile,
		wanted: "ratio >= 0.5", met: atLeast(0.5)},
	{name: "udp", title: "UDP echo, 64-byte payload", unit: "/s", take: takeUDP,
		wanted: "ratio >= 2", met: atLeast(2)},
	{name: "forward-64", title: "forwarding, frames of 64 bytes", unit: "/s",
		wanted: "ratio >= 2", met: atLeast(2)},
	{name: "forward-1500", title: "forwarding, packets of 1500 bytes", unit: "/s"},
	{name: "forward6-68", title: "forwarding IPv6, frames of 68 bytes", unit: "/s",
		wanted: "ratio >= 2", met: atLeast(2)},
	{name: "forward6-1500", title: "forwarding IPv6, packets of 1500 bytes", unit: "/s"},
	{name: "forward-64-insns", title: "the first, guest instructions a packet", unit: ""},
	{name: "forward-1500-insns", title: "the second, guest instructions a packet", unit: ""},
	{name: "forward6-68-insns", title: "the third, guest instructions a packet", unit: ""},
	{name: "forward6-1500-insns", title: "the fourth, guest instructions a packet", unit: ""},
	{name: "call", title: "null system call", unit: "ns"},
	{name: "call-insns", title: "null system call, guest instructions", unit: ""},
	{name: "switch", title: "another domain's turn (Linux: process's)", unit: "ns"},
	{name: "switch-insns", title: "the same, guest instructions", unit: ""},
	{name: "domain-start", title: "domain, loading to main", unit: "ms",
		wanted: "< 50 ms", met: below(50)},
	{name: "domain-memory", title: "memory of a small domain, its most", unit: "MiB",
		wanted: "< 8 MiB", met: below(8)},
	{name: "domain-idle", title: "16 idle domains, of one host core", unit: "%",
		wanted: "< 5 %", met: below(5)},
	{name: "defunct", title: "from defunct to memory free, flows ended", unit: "ms",
		wanted: "< 10 ms", met: below(10)},
	{name: "defunct-memory", title: "memory that was free then", unit: "KiB"},
	{name: "crowd-busy", title: "packet memory of a busy domain, of 32", unit: "KiB"},
	{name: "crowd-idle", title: "of an idle one", unit: "KiB",
		wanted: "< 256 KiB", met: below(256)},
	{name: "connection-memory", title: "memory of an idle connection", unit: "KiB"},
	{name: "around4", title: "a router's link goes: IPv4 is lost for", unit: "ms",
		wanted: "< 1 s", met: below(1000)},
	{name: "around6", title: "the same, IPv6", unit: "ms",
		wanted: "< 1 s", met: below(1000)},
	{name: "lookup4", title: "lookup, a million routes of IPv4", unit: "ns",
		wanted: "< 60 ns", met: below(60)},
	{name: "lookup6", title: "the same, IPv6", unit: "ns",
		wanted: "< 60 ns", met: below(60)},
	{name: "queue-1", title: "class queue, a packet in and out, 1 flow", unit: "ns",
		wanted: "< 150 ns", met: below(150)},
	{name: "queue-4096", title: "the same, 4,096 flows", unit: "ns",
		wanted: "< 150 ns", met: below(150)},
	{name: "shaped-fifo", title: "small packets on 10 Mbit/s, p99 by its clock, plain queue", unit: "ms"},
	{name: "shaped", title: "the same, class queue", unit: "ms",
		wanted: "< 20 ms", met: below(20)},
	{name: "iperf-in", title: "iperf3, in", unit: "Mbit/s", take: takeIperf(), linuxOnly: true},
	{name: "iperf-out", title: "iperf3, out", unit: "Mbit/s", take: takeIperf("-R"), linuxOnly: true},
}

// below is met by a value of Sluice's that is less, and atLeast by a ratio that is not.
func below(most float64) func(sluice, ratio float64) bool {
	return func(sluice, _ float64) bool { return sluice < most }
}

func atLeast(floor float64) func(sluice, ratio float64) bool {
	return func(_, ratio float64) bool { return ratio >= floor }
}

func measureNames() []string {
	var names []string
	for _, m := range measures {
		names = append(names, m.name)
	}
	for _, m := range pathMeasures {
		names = append(names, m.name)
	}
	for _, m := range stageMeasures {
		names = append(names, m.name)
	}
	for _, m := range traceMeasures {
		names = append(names, m.name)
	}
	for _, m := range offloadMeasures {
		names = append(names, m.name)
	}
	return names
}

func isMeasure(name string) bool { return slices.Contains(measureNames(), name) }

// wants reports whether a measure was asked for.
func (s settings) wants(name string) bool { return len(s.Only) == 0 || slices.Contains(s.Only, name) }

func takeIn(ctx context.Context, s settings, m *machine) (float64, error) {
	t, err := send(ctx, m.net.dialAddress(discardPort), s.Span)
	return t.megabits(), err
}

// takeOut asks for bytes that the sender has in memory and copies once, on both
// guests.
func takeOut(ctx context.Context, s settings, m *machine) (float64, error) {
	port := httpPort
	if m.guest.Name == "linux" || m.guest.Name == pathC {
		port = sourcePort
	}
	t, err := receive(ctx, m.net.dialAddress(port), s.Span)
	return t.megabits(), err
}

// takeFile asks Linux for a file that nginx sends from the page cache without a
// copy, the best that Linux has. Sluice has no files: its side is as before.
func takeFile(ctx context.Context, s settings, m *machine) (float64, error) {
	t, err := receive(ctx, m.net.dialAddress(httpPort), s.Span)
	return t.megabits(), err
}

func takeUDP(ctx context.Context, s settings, m *machine) (float64, error) {
	c, end, err := dial(ctx, "udp4", m.net.dialAddress(echoPort), s.Span)
	if err != nil {
		return 0, err
	}
	defer end()
	return echoRate(m, c, s.Span)
}

// echoRate keeps datagrams on their way and returns how many come back a second.
func echoRate(m *machine, c net.Conn, span time.Duration) (float64, error) {
	e, err := exchange(c, span)
	if err == nil && e.received == 0 {
		err = errors.New("no datagram came back")
	}
	// A loss costs lossMax: the rate is then that of a lossy path.
	if lost := e.sent - e.received; err == nil && lost > window {
		progress("%s: %d of %d datagrams were lost", m.guest.Name, lost, e.sent)
	}
	return e.rate(), err
}

// takeIdle returns QEMU's processor time as a part of the time that passed, in
// percent. It first lets the guest finish what a boot leaves to do.
func takeIdle(ctx context.Context, s settings, m *machine) (float64, error) {
	const settle = 3 * time.Second
	if err := pass(ctx, m, settle); err != nil {
		return 0, err
	}
	before, err := processorTime(m.cmd.Process.Pid)
	if err != nil {
		return 0, err
	}
	start := time.Now()
	if err := pass(ctx, m, s.Idle); err != nil {
		return 0, err
	}
	after, err := processorTime(m.cmd.Process.Pid)
	return 100 * (after - before).Seconds() / time.Since(start).Seconds(), err
}

// pass lets time pass for a guest that is to do nothing.
func pass(ctx context.Context, m *machine, d time.Duration) error {
	select {
	case <-time.After(d):
		return nil
	case <-m.exited:
		return fmt.Errorf("%s ended", m.guest.Name)
	case <-ctx.Done():
		return ctx.Err()
	}
}

// processorTime returns the user and system time of a process.
func processorTime(pid int) (time.Duration, error) {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return 0, err
	}
	return parseStat(string(stat))
}

// parseStat reads fields 14 and 15 of /proc/PID/stat (proc_pid_stat(5)), which
// count hundredths of a second on x86. Field 2 is the program's name in
// parentheses and may hold anything.
func parseStat(stat string) (time.Duration, error) {
	const utime, stime = 14, 15
	fields := strings.Fields(stat[strings.LastIndexByte(stat, ')')+1:]) // from field 3 on
	if len(fields) <= stime-3 {
		return 0, fmt.Errorf("/proc/PID/stat has too few fields: %q", stat)
	}
	total := time.Duration(0)
	for _, f := range []string{fields[utime-3], fields[stime-3]} {
		n, err := strconv.ParseInt(f, 10, 64)
		if err != nil {
			return 0, fmt.Errorf("/proc/PID/stat: %w", err)
		}
		total += time.Duration(n) * 10 * time.Millisecond
	}
	return total, nil
}

// takeIperf measures by iperf3's own client. The server opens its port anew
// after each test and says nothing when it has: a refusal is tried again.
func takeIperf(options ...string) func(context.Context, settings, *machine) (float64, error) {
	const attempts, between = 5, 200 * time.Millisecond
	return func(ctx context.Context, s settings, m *machine) (v float64, err error) {
		for range attempts {
			if v, err = iperf(ctx, s, m, options); err == nil {
				return v, nil
			}
			if err := pass(ctx, m, between); err != nil {
				return 0, err
			}
		}
		return 0, err
	}
}

// iperf runs the client once.
func iperf(ctx context.Context, s settings, m *machine, options []string) (float64, error) {
	ctx, cancel := context.WithTimeout(ctx, s.Span+trafficGrace)
	defer cancel()
	host, port := m.net.address(iperfPort)
	args := append([]string{"-c", host, "-p", strconv.Itoa(port), "-J", "-t",
		strconv.Itoa(max(1, int(s.Span/time.Second)))}, options...)
	out, err := exec.CommandContext(ctx, iperfPath, args...).Output()
	if err != nil && len(out) == 0 {
		return 0, fmt.Errorf("iperf3: %w", err)
	}
	return parseIperf(out) // tells an error too
}

// parseIperf returns the receiver's rate in Mbit/s.
func parseIperf(out []byte) (float64, error) {
	var r struct {
		Error string `json:"error"`
		End   struct {
			Received struct {
				Rate float64 `json:"bits_per_second"`
			} `json:"sum_received"`
		} `json:"end"`
	}
	if err := json.Unmarshal(out, &r); err != nil {
		return 0, fmt.Errorf("iperf3: %w", err)
	}
	if r.Error != "" {
		return 0, fmt.Errorf("iperf3: %s", r.Error)
	}
	if r.End.Received.Rate <= 0 {
		return 0, errors.New("iperf3: nothing was received")
	}
	return r.End.Received.Rate / 1e6, nil
}
