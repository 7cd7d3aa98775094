package inet

import (
	"strconv"
	"strings"
	"syscall"
	"unsafe"

	"github.com/sluice-os/sluice/nexus/abi"
	"github.com/sluice-os/sluice/userland/link"
	"github.com/sluice-os/sluice/userland/posix"
	"github.com/sluice-os/sluice/userland/rt"
)

// ringsVariable is the variable of the environment that has sizes for rings: see
// link.ParseSizes.
const ringsVariable = "SLUICE_RINGS"

// channelFile shows the rings of the domain's channel, and resizes those that are
// written to it.
const channelFile = "/proc/sluice/channel"

func init() {
	rt.Files.AddDevice(channelFile, posix.DevChannel, 0o666)
	rt.Process.Channel, rt.Process.ResizeChannel = describe, resize
}

// sizes returns what the environment asks for.
func sizes() [abi.RingKinds]uint32 {
	text, _ := syscall.Getenv(ringsVariable)
	sizes, err := link.ParseSizes(text)
	if err != nil {
		fatal(ringsVariable, err.Error())
	}
	return sizes
}

// offloadsVariable is the variable of the environment that says what the kernel is to do for the
// channel: see link.ParseOffloads.
const offloadsVariable = "SLUICE_OFFLOADS"

// offloads returns what the environment asks for.
func offloads() uint32 {
	text, _ := syscall.Getenv(offloadsVariable)
	set, err := link.ParseOffloads(text)
	if err != nil {
		fatal(offloadsVariable, err.Error())
	}
	return set
}

// fatal ends the program: a variable of the environment asks for what cannot be.
func fatal(variable, problem string) {
	rt.Process.Stdout(2, []byte("sluice: "+variable+": "+problem+"\n"))
	rt.Process.Exit(2)
}

// describe is the text of channelFile, in JSON.
func describe() []byte {
	n := network()
	if n.link == nil {
		return []byte("{}\n")
	}
	b := []byte(`{"rings":{`)
	for kind, r := range n.link.Rings() {
		if kind > 0 {
			b = append(b, ',')
		}
		b = append(b, `"`+abi.RingNames[kind]+`":{"slots":`...)
		b = strconv.AppendInt(b, int64(r.Slots), 10)
		b = append(b, `,"left":`...)
		b = strconv.AppendInt(b, int64(r.Left), 10)
		b = append(b, '}')
	}
	b = append(b, `},"offloads":[`...)
	for i, name := range link.OffloadNames(n.link.Offloads()) {
		if i > 0 {
			b = append(b, ',')
		}
		b = append(b, `"`+name+`"`...)
	}
	b = append(b, `],"link_rate":`...) // bits a second; 0: not known
	b = strconv.AppendUint(b, readNet().Rate, 10)
	b = append(b, `,"stats":{`...)
	stats := n.link.Stats()
	for i, part := range []struct {
		name string
		n    uint64
	}{
		{"tx_packets", stats.TxPackets}, {"tx_bytes", stats.TxBytes}, {"rx_packets", stats.RxPackets}, {"rx_bytes", stats.RxBytes},
		{"syncs", stats.TxSyncs}, {"wakeups", stats.RxEvents}, {"stalled", stats.TxStalled}, {"refused", stats.TxRefused},
		{"rx_ring_full", stats.RxRingFull}, {"rx_no_packet", stats.RxNoPacket}, {"rx_no_buffer", stats.RxNoBuffer}, {"rx_too_long", stats.RxTooLong},
		{"events", stats.Events}, {"events_lost", stats.EventsLost},
		{"reports", stats.Reports}, {"reports_lost", stats.ReportsLost},
	} {
		b = appendCounter(b, i == 0, part.name, part.n)
	}
	b = append(b, `},"link":{`...)
	first := true
	add := func(name string, n uint64) { b, first = appendCounter(b, first, name, n), false }
	counts := n.link.Counts()
	counts.Each(add)
	b, first = append(b, `},"drops":{`...), true
	if s := made.Load(); s != nil {
		s.Drops(func(name string, n uint64) {
			if n > 0 {
				add(name, n)
			}
		})
	}
	return append(b, "}}\n"...)
}

// appendCounter appends one of an object's.
func appendCounter(b []byte, first bool, name string, n uint64) []byte {
	if !first {
		b = append(b, ',')
	}
	b = append(b, `"`+name+`":`...)
	return strconv.AppendUint(b, n, 10)
}

// resize does what was written to channelFile. The rings behind one that is refused stay
// as they are.
func resize(text string) syscall.Errno {
	sizes, err := link.ParseSizes(strings.TrimSpace(text))
	if err != nil {
		return syscall.EINVAL
	}
	n := network()
	if n.link == nil {
		return syscall.ENXIO
	}
	for kind, slots := range sizes {
		if slots == 0 {
			continue
		}
		r := &abi.ResizeRequest{Channel: uint32(n.channel), Ring: uint32(kind), Slots: slots}
		err := n.link.Resize(kind, func() error {
			switch e := control(abi.ControlResize, unsafe.Pointer(r), unsafe.Sizeof(*r)); {
			case e == int64(abi.OverQuota):
				return syscall.ENOMEM
			case e == int64(abi.NotNow):
				return syscall.EBUSY
			case e == int64(abi.Defunct):
				return syscall.ENETDOWN // until the channel is opened anew
			case e < 0:
				return syscall.EINVAL
			}
			return nil
		})
		if err != nil {
			return err.(syscall.Errno)
		}
	}
	return 0
}
