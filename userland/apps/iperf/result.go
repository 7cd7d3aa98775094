// What this side knows at the end of a test.

package main

import (
	"fmt"
	"strings"
	"syscall"
	"time"
)

// results returns what this side knows.
func (t *trial) results() results {
	r := results{Retransmits: -1}
	percent := func(d time.Duration) float64 {
		return 100 * d.Seconds() / max(t.took.Seconds(), 1e-3)
	}
	r.CPUUser, r.CPUSystem = percent(t.cpu[0]), percent(t.cpu[1])
	r.CPUTotal = r.CPUUser + r.CPUSystem
	for _, s := range t.streams {
		if s.sends {
			r.Retransmits = 0
		}
		r.Streams = append(r.Streams, s.result(t.took))
	}
	if t.parameters.WantOutput != 0 {
		r.Output = t.summary(r)
	}
	return r
}

// summary is the results for people: a line a direction.
func (t *trial) summary(r results) string {
	var bytes, lost, packets [2]int64
	for i, s := range t.streams {
		way := 0
		if s.sends {
			way = 1
		}
		x := r.Streams[i]
		bytes[way] += x.Bytes
		lost[way] += x.Errors - x.OmittedErrors
		packets[way] += x.Packets - x.OmittedPackets
	}
	var b strings.Builder
	in, out := t.parameters.directions()
	for way, name := range []string{"received", "sent"} {
		if []int{in, out}[way] == 0 {
			continue
		}
		fmt.Fprintf(&b, "iperf: %v: %s %d bytes in %.2f s, %.1f Mbit/s", t.control.RemoteAddr(), name,
			bytes[way], t.took.Seconds(), float64(bytes[way])*8/1e6/max(t.took.Seconds(), 1e-3))
		if t.parameters.UDP {
			fmt.Fprintf(&b, ", %d datagrams, %d lost", packets[way], lost[way])
		}
		b.WriteString("\n")
	}
	return b.String()
}

// processTime returns how much processor time the process has had, 0 where
// the system does not tell.
func processTime() (user, system time.Duration) {
	var r syscall.Rusage
	if syscall.Getrusage(syscall.RUSAGE_SELF, &r) != nil {
		return 0, 0
	}
	return time.Duration(r.Utime.Nano()), time.Duration(r.Stime.Nano())
}
