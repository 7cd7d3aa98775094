package aqm_test

import (
	"testing"
	"time"

	"github.com/sluice-os/sluice/nexus/aqm"
)

func TestLargest(t *testing.T) {
	for _, c := range []struct {
		rate aqm.Rate
		mtu  int
		want int
	}{
		{0, 1500, 65535},
		{1, 1500, 1500},
		{10 * aqm.Megabit, 1500, 1500},
		{10 * aqm.Megabit, 9000, 9000},
		{12 * aqm.Megabit, 1500, 1500},
		{16 * aqm.Megabit, 1500, 2000},
		{100 * aqm.Megabit, 1500, 12500},
		{aqm.Gigabit, 1500, 65535},
		{1 << 63, 1500, 65535},
	} {
		if got := aqm.Largest(c.rate, c.mtu); got != c.want {
			t.Errorf("Largest(%d, %d) = %d, want %d", c.rate, c.mtu, got, c.want)
		}
	}
}

func TestRate(t *testing.T) {
	for _, c := range []struct {
		rate  aqm.Rate
		time  time.Duration
		bytes int
	}{{8, time.Second, 1}, {10 * aqm.Megabit, ms, 1250}, {aqm.Gigabit, 12 * time.Microsecond, 1500}, {100 * aqm.Gigabit, time.Hour, 45e12}} {
		if got := c.rate.Bytes(c.time); got != c.bytes {
			t.Errorf("%d in %v: %d bytes, want %d", c.rate, c.time, got, c.bytes)
		}
		if got := c.rate.Time(c.bytes); got != c.time {
			t.Errorf("%d bytes at %d: %v, want %v", c.bytes, c.rate, got, c.time)
		}
	}
	if got := aqm.Rate(0).Time(1000); got != 0 {
		t.Errorf("a rate that is not known takes %v", got)
	}
}

func TestParseRate(t *testing.T) {
	for text, want := range map[string]aqm.Rate{
		"1kbit": aqm.Kilobit, "500kbit": 500 * aqm.Kilobit, "10mbit": 10 * aqm.Megabit, "1gbit": aqm.Gigabit, "1000gbit": aqm.RateMost,
		"": 0, "10": 0, "mbit": 0, "0mbit": 0, "-1mbit": 0, "+1mbit": 0, "1.5mbit": 0, "1001gbit": 0, "10Mbit": 0, "10 mbit": 0, "99999999999kbit": 0,
	} {
		if got, err := aqm.ParseRate(text); got != want || (err == nil) != (want > 0) {
			t.Errorf("%q is %d, %v; want %d", text, got, err, want)
		}
	}
}
