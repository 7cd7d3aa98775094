package shell

// The table of commands, and those that concern the machine.

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// errAbsent is the answer for what this machine does not have.
var errAbsent = errors.New("not available on this machine")

type command struct {
	name, usage, help string
	run               func(s *Shell, ctx context.Context, args []string) error
}

// commands is filled in init, because help prints it.
var commands []command

func init() {
	commands = []command{
		{"help", "help", "this list", (*Shell).help},
		{"ip", "ip addr | ip neigh | ip link | ip maddr | ip route [add|del PREFIX via ADDRESS [dev NAME]]", "addresses, neighbours, interfaces, groups, routes of their own and static ones", (*Shell).ip},
		{"netstat", "netstat -s | netstat --channels [-j]", "protocol statistics; channels of domains", (*Shell).netstat},
		{"ss", "ss [-j]", "ports and connections, and whose they are", tableCommand("ss")},
		{"flows", "flows [-j]", "flows of domains", tableCommand("flows")},
		{"rings", "rings [-j]", "rings of channels", tableCommand("rings")},
		{"pools", "pools [-j]", "packet pools of channels", tableCommand("pools")},
		{"qdisc", "qdisc [-j] | qdisc aqm|fifo | qdisc rate DOMAIN RATE|off | qdisc mark on|off", "the queue in front of the card; another one; how much a domain may send; whether classes are marked", (*Shell).qdisc},
		{"rules", "rules [-j] | rules add|del [dev NAME] RULE", "in which class domains' flows leave", (*Shell).rules},
		{"ping", "ping [-c COUNT] ADDRESS", "ICMP echo; ^C ends it", (*Shell).ping},
		{"counters", "counters", "counters of the cards and all drops by reason", (*Shell).counters},
		{"domains", "domains [-j]", "apps: state, processor, memory, last exit", (*Shell).domains},
		{"domain", "domain start|stop|kill|restart|suspend|resume|attach NAME | domain send NAME TEXT", "one app", (*Shell).domain},
		{"channel", "channel defunct DOMAIN [CHANNEL]", "take back the memory of a channel, or of all to the network", (*Shell).channel},
		{"top", "top [-n TIMES]", "processor share every 2 s; ^C ends it", (*Shell).top},
		{"mem", "mem [-g] [-a] [-j]", "whose the memory is; -g collects garbage first, -a looks at every frame", (*Shell).mem},
		{"arenas", "arenas [-j]", "memory of channels and pipes by region", tableCommand("arenas")},
		{"show", "show ip route [-j] | show ipv6 route [-j] | show isis LIST [-j]", "all routes; IS-IS: neighbor, interface, database [detail], topology, route, spf-log, adjacency-log", (*Shell).show},
		{"router", "router isis COMMAND", "change the configuration of IS-IS while it runs", (*Shell).router},
		{"dmesg", "dmesg", "the kernel's log", (*Shell).dmesg},
		{"pci", "pci", "devices on the PCI bus", (*Shell).pci},
		{"uptime", "uptime [-j]", "time since boot, and how much of it was idle", (*Shell).uptime},
		{"poweroff", "poweroff", "turn the machine off", (*Shell).powerOff},
		{"reboot", "reboot", "start the machine again", (*Shell).reboot},
		// For tests of the fatal path; help does not list it.
		{"fault", "fault WAY", "", (*Shell).fault},
	}
}

func noArguments(args []string) error {
	if len(args) > 0 {
		return errUsage
	}
	return nil
}

func (s *Shell) help(_ context.Context, args []string) error {
	if err := noArguments(args); err != nil {
		return err
	}
	for _, c := range commands {
		if c.help != "" {
			fmt.Fprintf(s.out, "%-94s %s\n", c.usage, c.help)
		}
	}
	return nil
}

func (s *Shell) fault(_ context.Context, args []string) error {
	if len(args) != 1 {
		return errUsage
	}
	if s.sys.Fault == nil {
		return errAbsent
	}
	return s.sys.Fault(args[0])
}

func (s *Shell) dmesg(ctx context.Context, args []string) error {
	if err := noArguments(args); err != nil {
		return err
	}
	if s.sys.Log == nil {
		return errAbsent
	}
	for _, line := range s.sys.Log() {
		if ctx.Err() != nil {
			break
		}
		fmt.Fprintln(s.out, line)
	}
	return nil
}

// pci prints lines like those of "lspci -nnk".
func (s *Shell) pci(_ context.Context, args []string) error {
	if err := noArguments(args); err != nil {
		return err
	}
	if s.sys.PCI == nil {
		return errAbsent
	}
	for _, d := range s.sys.PCI() {
		fmt.Fprintf(s.out, "%s %s: [%04x:%04x] (rev %02x)\n", d.Address, d.Class, d.Vendor, d.Device, d.Revision)
		if d.Driver != "" {
			fmt.Fprintf(s.out, "\tKernel driver in use: %s\n\tInterrupts: %s\n", d.Driver, d.Interrupts)
		}
	}
	return nil
}

func (s *Shell) counters(ctx context.Context, args []string) error {
	if err := noArguments(args); err != nil {
		return err
	}
	if s.sys.Counters == nil {
		return errAbsent
	}
	for _, c := range s.sys.Counters() {
		if ctx.Err() != nil {
			break
		}
		fmt.Fprintf(s.out, "%-32s %d\n", c.Name, c.Value)
	}
	return nil
}

func (s *Shell) uptime(_ context.Context, args []string) error {
	asJSON := len(args) == 1 && args[0] == "-j"
	if len(args) > 0 && !asJSON {
		return errUsage
	}
	if s.sys.Uptime == nil {
		return errAbsent
	}
	idle, up := time.Duration(0), s.sys.Uptime()
	if s.sys.Idled != nil {
		idle = s.sys.Idled()
	}
	if asJSON {
		fmt.Fprintf(s.out, `{"up_ns":%d,"idle_ns":%d}`+"\n", up, idle)
		return nil
	}
	share := fmt.Sprintf(", %.0f %% idle", 100*float64(idle)/float64(max(up, 1)))
	up = up.Truncate(time.Second)
	days := up / (24 * time.Hour)
	up -= days * 24 * time.Hour
	clock := fmt.Sprintf("%02d:%02d:%02d", up/time.Hour, up/time.Minute%60, up/time.Second%60)
	switch days {
	case 0:
		fmt.Fprintf(s.out, "up %s%s\n", clock, share)
	case 1:
		fmt.Fprintf(s.out, "up 1 day, %s%s\n", clock, share)
	default:
		fmt.Fprintf(s.out, "up %d days, %s%s\n", days, clock, share)
	}
	return nil
}

func (s *Shell) powerOff(_ context.Context, args []string) error {
	return leave(args, s.sys.PowerOff)
}

func (s *Shell) reboot(_ context.Context, args []string) error {
	return leave(args, s.sys.Reboot)
}

func leave(args []string, f func() error) error {
	if err := noArguments(args); err != nil {
		return err
	}
	if f == nil {
		return errAbsent
	}
	return f()
}
