package suites

import (
	"fmt"
	"strings"
	"testing"
	"time"
)

// TestTally: what ping prints is counted, between any two moments, also where it ends with a loss.
func TestTally(t *testing.T) {
	t.Parallel()
	// Pings are numbered from 1 on, and sent from 0 s on at ten a second.
	answers := func(first, last int) (lines []string) {
		for n := first; n <= last; n++ {
			lines = append(lines, fmt.Sprintf("[%.6f] 64 bytes from 10.255.9.4: icmp_seq=%d ttl=62 time=2.00 ms", 1000+float64(n-1)/10+0.002, n))
		}
		return lines
	}
	then := func(lists ...[]string) (lines []string) {
		for _, l := range lists {
			lines = append(lines, l...)
		}
		return lines
	}
	at := func(s float64) time.Time { return time.Unix(1000, int64(s*1e9)) }
	for name, x := range map[string]struct {
		lines    []string
		from, to float64
		want     string
	}{
		"all answered":             {answers(1, 100), 0, 10, "0 of 100 pings, 0.0 s"},
		"a part of them":           {answers(1, 100), 2, 5, "0 of 30 pings, 0.0 s"},
		"some lost":                {then(answers(1, 50), answers(56, 100)), 0, 10, "5 of 100 pings, 0.5 s"},
		"some lost before":         {then(answers(1, 50), answers(56, 100)), 7, 10, "0 of 30 pings, 0.0 s"},
		"one unsent":               {then(answers(1, 50), []string{"ping: sendmsg: Network is unreachable"}, answers(51, 100)), 0, 10, "1 of 101 pings, 0.0 s"},
		"twice":                    {then(answers(1, 50), answers(50, 100)), 0, 10, "0 of 100 pings, 0.0 s"},
		"all lost from some on":    {answers(1, 50), 0, 60, "550 of 600 pings, 55.0 s"},
		"the same, from the loss":  {answers(1, 50), 4.9, 60, "550 of 551 pings, 55.0 s"},
		"the same, after the loss": {answers(1, 50), 20, 60, "400 of 400 pings, 40.0 s"},
		"the same, up to a moment": {answers(1, 50), 2, 20, "150 of 180 pings, 15.0 s"},
		"none answered":            {nil, 0, 10, "99 of 99 pings, 9.9 s"},
		"two losses":               {then(answers(1, 50), answers(56, 60)), 0, 10, "45 of 100 pings, 4.5 s"},
		"the last on their way":    {answers(1, 50), 0, 5.8, "0 of 50 pings, 0.0 s"},
	} {
		p := &pinger{began: at(0), out: &lockedBuffer{}}
		fmt.Fprintln(p.out, strings.Join(x.lines, "\n"))
		if got := p.tally(at(x.from), at(x.to)).String(); got != x.want {
			t.Errorf("%s: %s, want %s", name, got, x.want)
		}
	}
}
