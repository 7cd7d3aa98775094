package vtd

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/sluice-os/sluice/drivers/hw"
)

// TestFaultReasons has a device blocked for each reason that tables can give.
func TestFaultReasons(t *testing.T) {
	for name, c := range map[string]struct {
		spoil func(u *unit, d *Unit, m mapping)
		addr  uint64 // 0: that of the segment
		read  bool
		want  Reason
	}{
		"no_root":      {spoil: func(u *unit, d *Unit, m mapping) { m.domain.source = other }, want: NoRoot},
		"no_context":   {spoil: func(u *unit, d *Unit, m mapping) { m.domain.source = card + 1 }, want: NoContext},
		"too_far":      {addr: 1 << 39, want: TooFar},
		"write_denied": {addr: busFirst + 2*hw.PageSize, want: WriteDenied},
		"read_denied":  {read: true, want: ReadDenied},
		"bad_context": {spoil: func(u *unit, d *Unit, m mapping) {
			d.set(d.context[0], 2*int(card)+1, 5)
		}, want: BadContext},
		"root_reserved": {spoil: func(u *unit, d *Unit, m mapping) {
			d.set(d.root, 0, d.root.words[0]|2)
		}, want: RootReserved},
		"context_reserved": {spoil: func(u *unit, d *Unit, m mapping) {
			d.set(d.context[0], 2*int(card), d.context[0].words[2*int(card)]|1<<4)
		}, want: ContextReserved},
		"table_reserved": {spoil: func(u *unit, d *Unit, m mapping) {
			d.set(m.domain.root, 4, m.domain.root.words[4]|1<<62)
		}, want: TableReserved},
	} {
		t.Run(name, func(t *testing.T) {
			u := newUnit(t)
			log, capture := logged()
			var told []Fault
			d := u.open(t, capture, func(c *Config) { c.Blocked = func(f Fault) { told = append(told, f) } })
			m := mustMap(t, u, d, card, 1, hw.FromDevice)
			if c.spoil != nil {
				c.spoil(u, d, m)
			}
			u.forget()
			addr := m.addr + 0x123
			if c.addr != 0 {
				addr = c.addr + 0x123
			}
			if phys, code := u.access(m.domain.source, addr, !c.read); code == 0 {
				t.Fatalf("the device reaches %#x", phys)
			}
			select {
			case <-u.irq:
			default:
				t.Fatal("no interrupt")
			}
			d.takeFaults()
			want := Fault{Source: m.domain.source, Addr: addr &^ 0xfff, Write: !c.read, Reason: c.want, Code: uint8(c.want) + 1}
			if len(told) != 1 || told[0] != want {
				t.Errorf("told %+v, want %+v", told, want)
			}
			count(t, d, map[string]uint64{"iommu_fault_" + name: 1})
			access := map[bool]string{false: "write", true: "read"}[c.read]
			line := fmt.Sprintf("msg=\"iommu: access blocked\" device=%q access=%s address=%#x reason=%s\n", m.domain.source, access, addr&^0xfff, name)
			if log.String() != line {
				t.Errorf("log %q, want %q", log, line)
			}
			if text := want.Error(); !strings.Contains(text, m.domain.source.String()) || !strings.Contains(text, name) || !strings.Contains(text, access) {
				t.Errorf("error %q", text)
			}
		})
	}
}

// TestFaultCodes: codes of other features, and unknown ones, are counted too.
func TestFaultCodes(t *testing.T) {
	for code, want := range map[uint8]Reason{0: Other, 1: NoRoot, 7: TableUnread, 8: RootUnread, 9: ContextUnread, 0xd: Translated, 0xe: Other, 0x20: Other, 0xff: Other} {
		f, ok := parseFault([4]uint32{0x3456, 0x12, 0xffff_0000 | uint32(other), faultValid | 3<<28 | uint32(code)})
		if !ok || f != (Fault{Source: other, Addr: 0x12_0000_3000, Write: true, Reason: want, Code: code}) {
			t.Errorf("code %#x: %+v, %t", code, f, ok)
		}
	}
	if _, ok := parseFault([4]uint32{1, 2, 3, 5}); ok {
		t.Error("a record without a fault")
	}
	if Reason(200).String() != "reason_200" || Other.String() != "other" {
		t.Error("names of reasons")
	}
}

// TestFaultsOverflow: with all records taken the unit loses faults, says so, and
// records again once they were read.
func TestFaultsOverflow(t *testing.T) {
	u := newUnit(t)
	u.cap |= 3 << capNFRShift
	var order []uint64
	d := u.open(t, func(c *Config) { c.Blocked = func(f Fault) { order = append(order, f.Addr>>12) } })
	for round := range uint64(3) {
		for i := range uint64(6) {
			u.access(card, (10*round+i)<<12, true)
		}
		d.takeFaults()
	}
	count(t, d, map[string]uint64{"iommu_fault_no_root": 12, "iommu_fault_overflows": 3})
	if got := fmt.Sprint(order); got != "[0 1 2 3 10 11 12 13 20 21 22 23]" {
		t.Errorf("order %s", got)
	}
	if n := len(u.irq); n != 1 { // three that nobody waited for are one
		t.Errorf("%d interrupts", n)
	}
}

// TestFaultsWhileReading: those that come while Serve reads, pauses or turns the
// interrupt back on are taken too, and it waits only when there are none.
func TestFaultsWhileReading(t *testing.T) {
	u := newUnit(t)
	u.cap |= 1 << capNFRShift
	pauses, blocked := 0, 0
	d := u.open(t, func(c *Config) {
		c.Pause = func() {
			if pauses++; pauses <= 3 {
				u.access(card, 0, true)
			}
		}
		c.Blocked = func(Fault) {
			if blocked++; blocked == 2 {
				u.access(card, 0, true) // into a record that was read already, or comes next
			}
		}
	})
	u.access(card, 0, true)
	<-u.irq
	d.takeFaults()
	if blocked != 5 || u.regs[regFSTS]&fstsPPF != 0 || pauses != 4 && pauses != 5 {
		t.Errorf("%d faults, %d pauses, status %#x", blocked, pauses, u.regs[regFSTS])
	}
	// Between the last look and the interrupt's return.
	u.regs[regFECTL] = fectlIM
	u.access(card, 0, true)
	if len(u.irq) != 0 {
		t.Fatal("an interrupt that was held back")
	}
	window{u, 4096}.Write32(regFECTL, 0)
	select {
	case <-u.irq:
	default:
		t.Error("the fault is not told when the interrupt is back")
	}
}

// TestServe waits for the interrupt.
func TestServe(t *testing.T) {
	u := newUnit(t)
	told := make(chan Fault)
	d := u.open(t, func(c *Config) { c.Blocked = func(f Fault) { told <- f } })
	go d.Serve() // it ends with the process
	for i := range uint64(3) {
		u.access(card, i<<12, false)
		select {
		case f := <-told:
			if f.Addr != i<<12 || f.Write {
				t.Errorf("told %+v", f)
			}
		case <-time.After(5 * time.Minute):
			t.Fatalf("fault %d is not told", i)
		}
	}
}

// TestFaultLogIsBounded: a device that faults without end fills no log.
func TestFaultLogIsBounded(t *testing.T) {
	u := newUnit(t)
	log, capture := logged()
	now := time.Unix(100, 0)
	d := u.open(t, capture, func(c *Config) { c.Now = func() time.Time { return now } })
	for range 1000 {
		u.access(card, 0, true)
		d.takeFaults()
	}
	if n := strings.Count(log.String(), "\n"); n != logBurst {
		t.Errorf("%d lines", n)
	}
	now = now.Add(logWindow)
	log.Reset()
	u.access(card, 0, true)
	d.takeFaults()
	if want := fmt.Sprintf("unsaid=%d\n", 1000-logBurst); !strings.HasSuffix(log.String(), want) {
		t.Errorf("log %q, want its end %q", log, want)
	}
	count(t, d, map[string]uint64{"iommu_fault_no_root": 1001})
}

// FuzzFaults writes arbitrary records and status words, as a broken unit might.
func FuzzFaults(f *testing.F) {
	f.Add(uint32(fstsPPF|200<<8), uint32(1), uint32(2), uint32(3), uint32(faultValid|5), uint8(7))
	f.Add(^uint32(0), ^uint32(0), ^uint32(0), ^uint32(0), ^uint32(0), uint8(255))
	f.Fuzz(func(t *testing.T, status, a, b, c, e uint32, records uint8) {
		u := newUnit(t)
		u.cap |= uint64(records) << capNFRShift
		told := 0
		d := u.open(t, func(c *Config) { c.Blocked = func(Fault) { told++ } })
		for i := range int(records) + 1 {
			off := d.record(i)
			u.regs[off], u.regs[off+4], u.regs[off+8], u.regs[off+12] = a, b, c, e
		}
		u.regs[regFSTS] = status
		d.takeFaults()
		want := 0
		if status&(fstsPPF|fstsPFO) != 0 && e&faultValid != 0 {
			want = int(records) + 1
		}
		if told != want {
			t.Errorf("told %d faults, want %d", told, want)
		}
	})
}
