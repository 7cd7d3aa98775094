// Package options reads the kernel command line: words separated by white
// space, most of them key=value. What it cannot use it reports in one line and
// leaves at the default, so a typing error never keeps the machine from booting. A word
// that begins with "#" and what follows it on its line is a comment: on a disk the words
// stand in a text file.
//
//	ip=dhcp | ip=ADDR/PREFIX[,gw=ADDR][,dns=ADDR]...   IPv4 of the first network card
//	ip6=auto | ip6=off | ip6=ADDR/PREFIX               IPv6 of the first network card
//	ip.NAME=... ip6.NAME=...                           the same of the card with a name
//	nic=NAME@PATH                                      the name of the card at a place
//	forward=on | forward=off                           packets for others go from card to card
//	urpf=off | urpf=loose | urpf=strict                what their source must have a route by
//	route=PREFIX,via=ADDR[,dev=NAME]                   a static route
//	log=debug | log=info | log=warn | log=error        least level that is logged
//	iommu=on | iommu=off                               devices reach their own memory only
//	intx=on | intx=off                                 lines of PCI interrupt
//	qdisc=aqm | qdisc=fifo                             the queue in front of the network card
//	panic=reboot | panic=exit | panic=halt             what follows a fatal fault
//	run=NAME                                           one domain has the console; its end is the machine's
//	virtio_mmio.device=SIZE@ADDR:IRQ[:ID]              a device, as QEMU's microvm appends it
package options

import (
	"fmt"
	"log/slog"
	"net/netip"
	"strings"
)

const (
	// LineMax is the longest command line that is read, in bytes; the rest is
	// reported and ignored. Linux has 2048 on x86.
	LineMax = 4096
	// DevicesMax is the most virtio_mmio.device words kept. QEMU's microvm has
	// 24 transports at most.
	DevicesMax = 32
	// NICsMax is the most network cards with options of their own.
	NICsMax = 8
	// DNSMax is the most dns= addresses kept.
	DNSMax = 3
	// problemsMax bounds the report about a line of garbage.
	problemsMax = 16
	// quoteMax bounds how much of a bad word is repeated in a problem, in bytes.
	quoteMax = 64
)

// IPv4 is the value of ip=.
type IPv4 struct {
	// DHCP says that a server gives the address. The other fields are then zero.
	DHCP bool
	// Address is the card's own address with the length of its network's prefix.
	Address netip.Prefix
	// Gateway is the default router; invalid when there is none.
	Gateway netip.Addr
	// DNS lists up to DNSMax name servers.
	DNS []netip.Addr
}

// IPv6 is the value of ip6=. The zero value is off.
type IPv6 struct {
	// Auto says that routers on the link are asked (SLAAC, RFC 4862).
	Auto bool
	// Address is the fixed address, invalid unless one was given. Routers on
	// the link still announce the default route.
	Address netip.Prefix
}

// Enabled reports whether the card speaks IPv6 at all.
func (o IPv6) Enabled() bool { return o.Auto || o.Address.IsValid() }

// PanicAction says what follows a fatal fault, once it has been printed.
type PanicAction uint8

const (
	// PanicExit leaves the machine with a failure status, where it can.
	PanicExit PanicAction = iota
	// PanicReboot resets the machine.
	PanicReboot
	// PanicHalt stops the CPU and keeps the console as it is.
	PanicHalt
)

// String returns the word of the command line.
func (a PanicAction) String() string {
	switch a {
	case PanicExit:
		return "exit"
	case PanicReboot:
		return "reboot"
	case PanicHalt:
		return "halt"
	}
	return fmt.Sprintf("PanicAction(%d)", uint8(a))
}

// Options is what a command line asks for.
type Options struct {
	IPv4 IPv4
	IPv6 IPv6
	// NICs are the cards that were named, in the order in which they were.
	NICs []NIC
	Log  slog.Level
	// Forward has packets forwarded between the cards, ReversePath says how their sources are
	// checked ("off", "loose" or "strict"), and Routes are the static routes.
	Forward     bool
	ReversePath string
	Routes      []Route
	// NoIOMMU leaves the machine's IOMMUs as firmware has left them.
	NoIOMMU bool
	// NoLines has a timer look after network cards that interrupt by lines of PCI. Those of
	// virtio on arm64 have their lines all the same.
	NoLines bool
	// FIFO has packets wait for the network card in one line, instead of by class and flow.
	FIFO    bool
	Panic   PanicAction
	Devices []MMIODevice
	// Run names the domain that has the console; "" for none.
	Run string
}

// Default is what an empty command line asks for.
func Default() Options {
	return Options{
		IPv4:        IPv4{DHCP: true},
		IPv6:        IPv6{Auto: true},
		ReversePath: "off",
		Log:         slog.LevelInfo,
		Panic:       PanicExit,
	}
}

// Parse reads a command line. When a key comes twice the last one counts.
// Each returned problem is one line without control characters; there are at
// most problemsMax+1 of them.
func Parse(line string) (Options, []string) {
	o := Default()
	var problems []string
	omitted := 0
	report := func(format string, args ...any) {
		if len(problems) == problemsMax {
			omitted++
			return
		}
		problems = append(problems, fmt.Sprintf(format, args...))
	}

	if len(line) > LineMax {
		report("command line: %d bytes, only the first %d are read", len(line), LineMax)
		line = line[:LineMax]
		// The cut may have gone through a word: half a word is no word.
		if i := strings.LastIndexAny(line, " \t\n"); i >= 0 {
			line = line[:i]
		} else {
			line = ""
		}
	}
	for text := range strings.Lines(line) {
		for word := range strings.FieldsSeq(text) {
			if word[0] == '#' {
				break
			}
			key, value, ok := strings.Cut(word, "=")
			if !ok {
				report("%s: not a key=value word", quote(word))
				continue
			}
			if err := o.set(key, value); err != nil {
				report("%s: %v", quote(word), err)
			}
		}
	}
	if omitted > 0 {
		problems = append(problems, fmt.Sprintf("command line: %d more problems", omitted))
	}
	return o, problems
}

// set stores one value. On an error o is unchanged, except that the key goes
// back to its default: a bad second value must not leave the first in force.
func (o *Options) set(key, value string) error {
	d := Default()
	var err error
	if kind, name, ok := strings.Cut(key, "."); ok && (kind == "ip" || kind == "ip6") {
		return o.setNIC(kind, name, value)
	}
	if known, err := o.setRouting(key, value); known {
		return err
	}
	switch key {
	case "nic":
		return o.setNIC(key, "", value)
	case "ip":
		if o.IPv4, err = parseIPv4(value); err != nil {
			o.IPv4 = d.IPv4
		}
	case "ip6":
		if o.IPv6, err = parseIPv6(value); err != nil {
			o.IPv6 = d.IPv6
		}
	case "log":
		if o.Log, err = parseLog(value); err != nil {
			o.Log = d.Log
		}
	case "iommu":
		if o.NoIOMMU = value == "off"; value != "on" && value != "off" {
			err = fmt.Errorf("want on or off")
		}
	case "intx":
		if o.NoLines = value == "off"; value != "on" && value != "off" {
			err = fmt.Errorf("want on or off")
		}
	case "qdisc":
		if o.FIFO = value == "fifo"; value != "aqm" && value != "fifo" {
			err = fmt.Errorf("want aqm or fifo")
		}
	case "panic":
		if o.Panic, err = parsePanic(value); err != nil {
			o.Panic = d.Panic
		}
	case "run":
		if o.Run = value; value == "" {
			err = fmt.Errorf("want the name of a domain")
		}
	case "virtio_mmio.device":
		var dev MMIODevice
		if dev, err = parseMMIODevice(value); err != nil {
			return err
		}
		if len(o.Devices) == DevicesMax {
			return fmt.Errorf("more than %d devices", DevicesMax)
		}
		o.Devices = append(o.Devices, dev)
	default:
		return fmt.Errorf("unknown key, want forward, ip, ip6, ip.NAME, ip6.NAME, intx, iommu, log, nic, panic, qdisc, route, run, urpf or virtio_mmio.device")
	}
	return err
}

func parseLog(value string) (slog.Level, error) {
	switch value {
	case "debug":
		return slog.LevelDebug, nil
	case "info":
		return slog.LevelInfo, nil
	case "warn":
		return slog.LevelWarn, nil
	case "error":
		return slog.LevelError, nil
	}
	return 0, fmt.Errorf("want debug, info, warn or error")
}

func parsePanic(value string) (PanicAction, error) {
	for _, a := range []PanicAction{PanicExit, PanicReboot, PanicHalt} {
		if value == a.String() {
			return a, nil
		}
	}
	return 0, fmt.Errorf("want reboot, exit or halt")
}

// quote returns s with control characters escaped and cut to quoteMax.
func quote(s string) string {
	if len(s) > quoteMax {
		return fmt.Sprintf("%q...", s[:quoteMax])
	}
	return fmt.Sprintf("%q", s)
}
