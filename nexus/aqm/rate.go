package aqm

import (
	"fmt"
	"strconv"
	"strings"
	"time"
)

// This file owns the rate of a link and what follows from it.

// Rate is in bits a second. 0 is a rate that is not known.
type Rate uint64

// Units of rates.
const (
	Kilobit Rate = 1e3
	Megabit Rate = 1e6
	Gigabit Rate = 1e9
)

// rateUnits are what a rate's text ends in, and RateMost is the greatest that it may say.
var rateUnits = [...]struct {
	text string
	rate Rate
}{{"kbit", Kilobit}, {"mbit", Megabit}, {"gbit", Gigabit}}

const RateMost = 1000 * Gigabit

// ParseRate reads a rate of 1kbit to 1000gbit: a whole number and kbit, mbit or gbit.
func ParseRate(text string) (Rate, error) {
	for _, unit := range rateUnits {
		number, ok := strings.CutSuffix(text, unit.text)
		if !ok {
			continue
		}
		n, err := strconv.ParseUint(number, 10, 32)
		if err != nil || n == 0 || n > uint64(RateMost/unit.rate) || number[0] == '+' {
			break
		}
		return Rate(n) * unit.rate, nil
	}
	return 0, fmt.Errorf("the rate %q: want one like \"500kbit\", \"10mbit\" or \"1gbit\"", text)
}

// Bytes is how many bytes pass in a time.
func (r Rate) Bytes(d time.Duration) int {
	return int(float64(r) / 8 * d.Seconds())
}

// Time is how long n bytes take; 0 for a rate that is not known.
func (r Rate) Time(n int) time.Duration {
	if r == 0 {
		return 0
	}
	return time.Duration(float64(n) * 8 / float64(r) * 1e9)
}

const (
	// largestMax is the longest packet of IP in bytes.
	largestMax = 65535
	// largestTime is how long one packet may hold the link up.
	largestTime = time.Millisecond
)

// Largest is the longest packet that is to be given to the card or cut by software at a
// time, in bytes of IP: what the link sends in a millisecond, as nothing comes
// between the segments of one; mtu at least, and 65535 at most. That is also what it is
// when the rate is not known.
func Largest(r Rate, mtu int) int {
	if r == 0 {
		return largestMax
	}
	return min(max(r.Bytes(largestTime), mtu), largestMax)
}
