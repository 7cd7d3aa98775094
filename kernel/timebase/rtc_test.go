package timebase

import (
	"testing"
	"time"
)

func TestRTC(t *testing.T) {
	const bcd24, bin24, bcd12, bin12 = rtc24Hours, rtc24Hours | rtcBinary, 0, rtcBinary
	for _, c := range []struct {
		name string
		r    RTC
		want string // RFC 3339; "" for no date
	}{
		{"BCD, 24 hours", RTC{0x56, 0x34, 0x12, 0x31, 0x12, 0x26, 0x20, bcd24}, "2026-12-31T12:34:56Z"},
		{"binary, 24 hours", RTC{56, 34, 12, 31, 12, 26, 20, bin24}, "2026-12-31T12:34:56Z"},
		{"no century", RTC{56, 34, 12, 31, 12, 99, 0, bin24}, "2099-12-31T12:34:56Z"},
		{"a century that is none", RTC{56, 34, 12, 31, 12, 26, 0xff, bin24}, "2026-12-31T12:34:56Z"},
		{"a century that is not BCD", RTC{0x56, 0x34, 0x12, 0x31, 0x12, 0x26, 0x1f, bcd24}, "2026-12-31T12:34:56Z"},
		{"a century out of range", RTC{56, 34, 12, 31, 12, 26, 24, bin24}, "2026-12-31T12:34:56Z"},
		{"the last century", RTC{0x00, 0x00, 0x00, 0x01, 0x01, 0x70, 0x19, bcd24}, "1970-01-01T00:00:00Z"},
		{"midnight of 12 hours", RTC{0, 0, 0x12, 1, 1, 0x26, 0x20, bcd12}, "2026-01-01T00:00:00Z"},
		{"noon of 12 hours", RTC{0, 0, 0x92, 1, 1, 0x26, 0x20, bcd12}, "2026-01-01T12:00:00Z"},
		{"one in the morning", RTC{0, 0, 1, 1, 1, 26, 20, bin12}, "2026-01-01T01:00:00Z"},
		{"eleven at night", RTC{0, 0, 0x80 | 11, 1, 1, 26, 20, bin12}, "2026-01-01T23:00:00Z"},
		{"a leap day", RTC{0, 0, 0, 29, 2, 28, 20, bin24}, "2028-02-29T00:00:00Z"},
		{"no leap day", RTC{0, 0, 0, 29, 2, 27, 20, bin24}, ""},
		{"the 31st of a month of 30 days", RTC{0, 0, 0, 31, 4, 26, 20, bin24}, ""},
		{"month 0", RTC{0, 0, 0, 1, 0, 26, 20, bin24}, ""},
		{"month 13", RTC{0, 0, 0, 1, 13, 26, 20, bin24}, ""},
		{"day 0", RTC{0, 0, 0, 0, 1, 26, 20, bin24}, ""},
		{"hour 24", RTC{0, 0, 24, 1, 1, 26, 20, bin24}, ""},
		{"hour 0 of 12", RTC{0, 0, 0, 1, 1, 26, 20, bin12}, ""},
		{"hour 13 of 12", RTC{0, 0, 13, 1, 1, 26, 20, bin12}, ""},
		{"minute 60", RTC{0, 60, 0, 1, 1, 26, 20, bin24}, ""},
		{"second 60", RTC{60, 0, 0, 1, 1, 26, 20, bin24}, ""},
		{"not BCD", RTC{0x0a, 0, 0, 1, 1, 0x26, 0x20, bcd24}, ""},
		{"before 1970", RTC{0, 0, 0, 1, 1, 69, 19, bin24}, ""},
		{"no clock at all", RTC{0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff}, ""},
		{"a flat battery", RTC{}, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			seconds, ok := c.r.Unix()
			if ok != (c.want != "") {
				t.Fatalf("got %v, %v", time.Unix(seconds, 0).UTC(), ok)
			}
			if got := time.Unix(seconds, 0).UTC().Format(time.RFC3339); ok && got != c.want {
				t.Errorf("got %s, want %s", got, c.want)
			}
		})
	}
}

// FuzzRTC checks that what is taken for a date is the one in the registers.
func FuzzRTC(f *testing.F) {
	f.Add([]byte{0x56, 0x34, 0x12, 0x31, 0x12, 0x26, 0x20, rtc24Hours})
	f.Add([]byte{56, 34, 0x8b, 31, 12, 26, 20, rtcBinary})
	f.Fuzz(func(t *testing.T, b []byte) {
		if len(b) < 8 {
			return
		}
		r := RTC{b[0], b[1], b[2], b[3], b[4], b[5], b[6], b[7]}
		seconds, ok := r.Unix()
		if !ok {
			return
		}
		at := time.Unix(seconds, 0).UTC()
		code := func(n int) uint8 {
			if r.StatusB&rtcBinary != 0 {
				return uint8(n)
			}
			return uint8(n/10<<4 | n%10)
		}
		hour := code(at.Hour())
		if r.StatusB&rtc24Hours == 0 {
			hour = code((at.Hour()+11)%12 + 1)
			if at.Hour() >= 12 {
				hour |= rtcPM
			}
		}
		// A century that was not taken is left as it is.
		century := r.Century
		if at.Year()/100 != 20 {
			century = code(at.Year() / 100)
		}
		for n := 19; n <= 23; n++ {
			if r.Century == code(n) {
				century = code(at.Year() / 100)
			}
		}
		want := RTC{code(at.Second()), code(at.Minute()), hour, code(at.Day()), code(int(at.Month())), code(at.Year() % 100), century, r.StatusB}
		if r != want || at.Year() < 1970 {
			t.Errorf("%+v gives %v, whose registers are %+v", r, at, want)
		}
	})
}

// cmos is a clock that updates itself between reads.
type cmos struct {
	regs     [128]uint8
	updating int // reads of status A that say so
	reads    int
	tickAt   int // the read before which the second changes; 0: never
	always   bool
}

func (c *cmos) read(register uint8) uint8 {
	if c.reads++; c.reads == c.tickAt || c.always {
		c.regs[rtcSecond]++
	}
	if register == rtcStatusA {
		if c.updating--; c.updating >= 0 {
			return rtcUpdating
		}
		return 0
	}
	return c.regs[register]
}

func TestReadRTC(t *testing.T) {
	base := func() *cmos {
		c := &cmos{}
		c.regs[rtcSecond], c.regs[rtcMinute], c.regs[rtcHour] = 1, 2, 3
		c.regs[rtcDay], c.regs[rtcMonth], c.regs[rtcYear] = 4, 5, 6
		c.regs[0x32], c.regs[rtcStatusB] = 20, rtcBinary|rtc24Hours
		return c
	}
	want := RTC{1, 2, 3, 4, 5, 6, 20, rtcBinary | rtc24Hours}

	if r, ok := ReadRTC(base().read, 0x32); !ok || r != want {
		t.Errorf("got %+v, %v", r, ok)
	}
	if r, ok := ReadRTC(base().read, 0); !ok || r.Century != 0 {
		t.Errorf("without a century: got %+v, %v", r, ok)
	}
	if r, ok := ReadRTC(base().read, 0x80); !ok || r.Century != 0 {
		t.Errorf("century register out of range: got %+v, %v", r, ok)
	}
	c := base()
	c.updating = 500
	if r, ok := ReadRTC(c.read, 0x32); !ok || r != want {
		t.Errorf("update under way: got %+v, %v", r, ok)
	}
	for tickAt := 1; tickAt < 40; tickAt++ {
		c := base()
		c.tickAt = tickAt
		if r, ok := ReadRTC(c.read, 0x32); !ok || r.Second != 1 && r.Second != 2 || r.Second == 1 && tickAt <= 2 {
			t.Errorf("second changes before read %d: got %+v, %v", tickAt, r, ok)
		}
	}
	if r, ok := ReadRTC((&cmos{updating: 1 << 30}).read, 0); ok {
		t.Errorf("a clock that always updates: got %+v", r)
	}
	if r, ok := ReadRTC((&cmos{always: true}).read, 0); ok {
		t.Errorf("a clock that never rests: got %+v", r)
	}
	if r, ok := ReadRTC(func(uint8) uint8 { return 0xff }, 0x32); ok {
		t.Errorf("no clock: got %+v", r)
	}
}
