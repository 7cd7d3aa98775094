package timebase

// Wall time from a PC's real-time clock (Motorola MC146818 data sheet; the
// century's register is the FADT's).

import "time"

// Registers of the clock.
const (
	rtcSecond  = 0x00
	rtcMinute  = 0x02
	rtcHour    = 0x04
	rtcDay     = 0x07
	rtcMonth   = 0x08
	rtcYear    = 0x09
	rtcStatusA = 0x0a
	rtcStatusB = 0x0b

	rtcUpdating = 1 << 7 // status A: the registers are about to change
	rtc24Hours  = 1 << 1 // status B
	rtcBinary   = 1 << 2 // status B; else BCD
	rtcPM       = 1 << 7 // hour, with 12 hours
	rtcSize     = 128    // registers
)

const (
	// updateReads bounds the wait for the end of an update, which takes 2 ms.
	updateReads = 100_000
	// rtcTries bounds how often two readings may differ.
	rtcTries = 8
)

// RTC is one reading of the clock's registers, as they are.
type RTC struct {
	Second, Minute, Hour, Day, Month, Year uint8
	Century                                uint8 // 0 when there is no such register
	StatusB                                uint8
}

// ReadRTC reads the clock through read, which returns a register. century is
// the register of the century, 0 for none. Readings are taken while no update
// is under way, until two are the same; ok is false when that never happens.
func ReadRTC(read func(register uint8) uint8, century uint8) (r RTC, ok bool) {
	for try := range rtcTries {
		for n := 0; read(rtcStatusA)&rtcUpdating != 0; n++ {
			if n == updateReads {
				return RTC{}, false
			}
		}
		last := r
		r = RTC{
			Second: read(rtcSecond), Minute: read(rtcMinute), Hour: read(rtcHour),
			Day: read(rtcDay), Month: read(rtcMonth), Year: read(rtcYear),
			StatusB: read(rtcStatusB),
		}
		if century > rtcStatusB && century < rtcSize {
			r.Century = read(century)
		}
		if try > 0 && r == last {
			return r, true
		}
	}
	return RTC{}, false
}

// Unix returns the seconds since 1970-01-01 00:00 UTC, taking the clock to
// run in UTC. A year without a century is between 2000 and 2099, and so is one
// whose century is none from 19 to 23: few clocks count that register on, and
// the rest of the date stands without it. ok is false when the registers hold
// no date between 1970 and 2399.
func (r RTC) Unix() (seconds int64, ok bool) {
	ok = true
	field := func(v uint8, least, most int) int {
		n, valid := r.number(v, least, most)
		ok = ok && valid
		return n
	}
	var hour int
	if r.StatusB&rtc24Hours != 0 {
		hour = field(r.Hour, 0, 23)
	} else {
		hour = field(r.Hour&^rtcPM, 1, 12) % 12
		if r.Hour&rtcPM != 0 {
			hour += 12
		}
	}
	century, valid := r.number(r.Century, 19, 23)
	if !valid {
		century = 20
	}
	year := 100*century + field(r.Year, 0, 99)
	month, day := field(r.Month, 1, 12), field(r.Day, 1, 31)
	minute, second := field(r.Minute, 0, 59), field(r.Second, 0, 59)
	if !ok || year < 1970 {
		return 0, false
	}
	t := time.Date(year, time.Month(month), day, hour, minute, second, 0, time.UTC)
	if t.Day() != day { // such as February 30
		return 0, false
	}
	return t.Unix(), true
}

// number decodes a register as status B says, BCD or binary. ok is false when
// that gives no number from least to most.
func (r RTC) number(v uint8, least, most int) (n int, ok bool) {
	n, ok = int(v), true
	if r.StatusB&rtcBinary == 0 {
		n, ok = int(v>>4)*10+int(v&0xf), v&0xf <= 9 && v>>4 <= 9
	}
	return n, ok && n >= least && n <= most
}
