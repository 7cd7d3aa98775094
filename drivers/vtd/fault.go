// This file owns what the unit blocks: reading its records, counting, telling.

package vtd

import (
	"fmt"
	"sync/atomic"
	"time"
)

// Reason says why an access was blocked.
type Reason uint8

// Reasons, in the order of the specification's codes (7.1.3), which start with 1.
const (
	// NoRoot and NoContext: the device was given nothing at all.
	NoRoot Reason = iota
	NoContext
	BadContext
	// TooFar: the address has more bits than devices can be given.
	TooFar
	// WriteDenied and ReadDenied: nothing is mapped there, or not for that.
	WriteDenied
	ReadDenied
	// TableUnread, RootUnread, ContextUnread: the unit could not read its tables.
	TableUnread
	RootUnread
	ContextUnread
	// RootReserved, ContextReserved, TableReserved: bits in the tables are set
	// that the unit does not know.
	RootReserved
	ContextReserved
	TableReserved
	// Translated: the device claims to have translated the address itself.
	Translated
	// Other: any other code.
	Other

	// Reasons is the number of reasons.
	Reasons = int(iota)
)

var reasonNames = [Reasons]string{
	"no_root", "no_context", "bad_context", "too_far", "write_denied", "read_denied",
	"table_unread", "root_unread", "context_unread", "root_reserved", "context_reserved", "table_reserved",
	"translated", "other",
}

// String returns the reason as it appears in counter names.
func (r Reason) String() string {
	if int(r) < Reasons {
		return reasonNames[r]
	}
	return fmt.Sprintf("reason_%d", uint8(r))
}

// Fault is one access that was blocked.
type Fault struct {
	Source Source // of the device that tried
	Addr   uint64 // on its bus, of the page
	Write  bool
	Reason Reason
	Code   uint8 // the unit's own
}

func (f Fault) Error() string {
	access := "read"
	if f.Write {
		access = "write"
	}
	return fmt.Sprintf("%v: %s at bus address %#x blocked by the iommu: %v", f.Source, access, f.Addr, f.Reason)
}

// parseFault reads a fault record; ok is false when there is none.
func parseFault(words [4]uint32) (f Fault, ok bool) {
	if words[3]&faultValid == 0 {
		return f, false
	}
	f = Fault{
		Source: Source(words[2]),
		Addr:   (uint64(words[1])<<32 | uint64(words[0])) &^ (1<<pageShift - 1),
		Write:  words[3]&faultRead == 0,
		Code:   uint8(words[3] & faultReasonMask),
		Reason: Other,
	}
	if f.Code >= 1 && f.Code <= uint8(Other) {
		f.Reason = Reason(f.Code - 1)
	}
	return f, true
}

// Log lines: burst of them in each window, the rest is counted.
const (
	logBurst  = 8
	logWindow = 10 * time.Second
)

// faults is Serve's, except for the counters.
type faults struct {
	counters  [Reasons]atomic.Uint64
	overflows atomic.Uint64

	window  time.Time // when it began
	lines   int       // in it
	unsaid  int       // since the last line
	started bool
}

// armFaults has the unit raise its interrupt from the next fault on.
func (u *Unit) armFaults() error {
	addr, data, ok := u.cfg.Interrupt.MSI()
	if !ok {
		return fmt.Errorf("its interrupt is a line, need a message")
	}
	// What is recorded from before is not ours.
	for i := range u.cap.Records {
		u.regs.Write32(u.record(i)+12, faultValid)
	}
	u.regs.Write32(regFSTS, fstsPFO)
	u.regs.Write32(regFEDATA, data)
	u.regs.Write32(regFEADDR, uint32(addr))
	u.regs.Write32(regFEUADDR, uint32(addr>>32))
	u.regs.Write32(regFECTL, 0)
	return nil
}

// record returns where a fault recording register lies.
func (u *Unit) record(i int) uint64 { return u.cap.faultOffset + uint64(i)*faultBytes }

// Serve takes the faults that the unit records, for ever.
func (u *Unit) Serve() {
	for {
		u.cfg.Interrupt.Wait()
		u.takeFaults()
	}
}

// takeFaults reads rounds of records until there are none, with a pause between
// two, so that a device which faults all the time costs a bounded part of the
// processor. The interrupt is held back meanwhile: the unit raises it for a fault
// that comes after the last look, as that is then the first one (7.3).
func (u *Unit) takeFaults() {
	u.regs.Write32(regFECTL, fectlIM)
	for u.takeRound() {
		u.cfg.Pause()
	}
	u.regs.Write32(regFECTL, 0)
}

// takeRound looks at each record once and reports whether it took anything.
func (u *Unit) takeRound() (taken bool) {
	status := u.regs.Read32(regFSTS)
	if status&(fstsPPF|fstsPFO) == 0 {
		return false
	}
	// The oldest first. The unit has as many records as it said; what it says
	// here is brought into that range.
	first := int(status >> fstsFRIShift & fstsFRIMask)
	for i := range u.cap.Records {
		if u.takeRecord((first + i) % u.cap.Records) {
			taken = true
		}
	}
	if status&fstsPFO != 0 {
		u.faults.overflows.Add(1)
		u.regs.Write32(regFSTS, fstsPFO)
		taken = true
	}
	return taken
}

func (u *Unit) takeRecord(i int) bool {
	off := u.record(i)
	var words [4]uint32
	// The last word first: with its bit set the others do not change (10.4.14).
	for w := 3; w >= 0; w-- {
		words[w] = u.regs.Read32(off + uint64(4*w))
	}
	f, ok := parseFault(words)
	if !ok {
		return false
	}
	u.regs.Write32(off+12, faultValid)
	u.faults.counters[f.Reason].Add(1)
	u.tell(f)
	if u.cfg.Blocked != nil {
		u.cfg.Blocked(f)
	}
	return true
}

// tell logs a fault unless there were too many lines of late.
func (u *Unit) tell(f Fault) {
	t, now := &u.faults, u.cfg.Now()
	if !t.started || now.Sub(t.window) >= logWindow {
		t.started, t.window, t.lines = true, now, 0
	}
	if t.lines == logBurst {
		t.unsaid++
		return
	}
	t.lines++
	access := "read"
	if f.Write {
		access = "write"
	}
	args := []any{"device", f.Source.String(), "access", access, "address", fmt.Sprintf("%#x", f.Addr), "reason", f.Reason.String()}
	if f.Reason == Other {
		args = append(args, "code", f.Code)
	}
	if t.unsaid > 0 {
		args = append(args, "unsaid", t.unsaid)
		t.unsaid = 0
	}
	u.cfg.Log.Warn("iommu: access blocked", args...)
}

// Counters calls f with each counter, in a fixed order.
func (u *Unit) Counters(f func(name string, value uint64)) {
	for r := range u.faults.counters {
		f("iommu_fault_"+Reason(r).String(), u.faults.counters[r].Load())
	}
	f("iommu_fault_overflows", u.faults.overflows.Load())
}
