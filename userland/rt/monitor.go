package rt

import (
	"strconv"
	"syscall"

	"github.com/sluice-os/sluice/nexus/abi"
	"github.com/sluice-os/sluice/userland/posix"
)

// openMonitor opens /dev/monitor. What is written to it first says what it watches: the
// network interface ("eth0") or the number of a channel, then "rx", "tx" or "both", then
// how many bytes of each packet; the last two may be left out. From then on each read
// gives one record (abi.Record) with the packet behind it.
func openMonitor() (posix.Socket, syscall.Errno) { return &lateEnd{prepare: watch}, 0 }

// watch reads what is to be watched.
func watch(r *abi.OpenRequest, words []string) bool {
	if len(words) < 1 || len(words) > 3 {
		return false
	}
	r.Watch, r.Direction = abi.RecordNetif, abi.RecordRx|abi.RecordTx
	if words[0] != "eth0" {
		n, err := strconv.ParseUint(words[0], 10, 32)
		if err != nil {
			return false
		}
		r.Watch, r.Target = abi.RecordChannel, uint32(n)
	}
	if len(words) > 1 {
		switch words[1] {
		case "rx":
			r.Direction = abi.RecordRx
		case "tx":
			r.Direction = abi.RecordTx
		case "both":
		default:
			return false
		}
	}
	if len(words) > 2 {
		n, err := strconv.ParseUint(words[2], 10, 16)
		if err != nil {
			return false
		}
		r.Snap = uint32(n)
	}
	return true
}
