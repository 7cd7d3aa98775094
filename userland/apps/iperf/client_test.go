package main

import (
	"encoding/json"
	"net"
	"os/exec"
	"strings"
	"testing"
)

// report is what is read of the JSON that the stock client prints.
type report struct {
	Error string
	End   struct {
		Streams     []json.RawMessage
		SumReceived sum `json:"sum_received"`
		SumReverse  sum `json:"sum_received_bidir_reverse"`
		Sum         sum // UDP
	}
}

type sum struct {
	Bytes   float64
	Seconds float64
	Bits    float64 `json:"bits_per_second"`
	Packets float64
	Lost    float64 `json:"lost_packets"`
}

// TestStockClient measures with iperf3.
func TestStockClient(t *testing.T) {
	iperf3, err := exec.LookPath("iperf3")
	if err != nil {
		t.Skip("iperf3 is not installed")
	}
	for _, c := range []struct {
		name, host, args string
		streams          int
		check            func(r report) bool
	}{
		{"tcp", "127.0.0.1", "-t 1", 1, func(r report) bool { return r.End.SumReceived.Bytes > 1e6 }},
		{"tcp6", "[::1]", "-t 1", 1, func(r report) bool { return r.End.SumReceived.Bytes > 1e6 }},
		{"reverse", "127.0.0.1", "-t 1 -R", 1, func(r report) bool { return r.End.SumReceived.Bytes > 1e6 }},
		{"8 flows", "127.0.0.1", "-t 1 -P 8 -R", 8, func(r report) bool { return r.End.SumReceived.Bytes > 1e6 }},
		{"64 flows", "127.0.0.1", "-t 1 -P 64", 64, func(r report) bool { return r.End.SumReceived.Bytes > 1e6 }},
		{"64 flows, udp", "127.0.0.1", "-n 1000000 -u -b 128K -l 1000 -P 64", 64, func(r report) bool {
			return r.End.Sum.Packets > 900 && r.End.Sum.Lost < 50
		}},
		{"parallel", "127.0.0.1", "-t 1 -P 4", 4, func(r report) bool { return r.End.SumReceived.Bytes > 1e6 }},
		{"limit", "127.0.0.1", "-t 1 -R -b 8M -l 1000", 1, func(r report) bool {
			return r.End.SumReceived.Bits > 6e6 && r.End.SumReceived.Bits < 10e6
		}},
		{"bytes", "127.0.0.1", "-n 2M", 1, func(r report) bool { return r.End.SumReceived.Bytes >= 2<<20 }},
		{"omit", "127.0.0.1", "-t 1 -O 1 -b 8M -l 1000", 1, func(r report) bool {
			return r.End.SumReceived.Bytes > 7e5 && r.End.SumReceived.Bytes < 14e5
		}},
		{"bidir", "127.0.0.1", "-t 1 --bidir", 2, func(r report) bool {
			return r.End.SumReceived.Bytes > 1e6 && r.End.SumReverse.Bytes > 1e6
		}},
		{"udp", "127.0.0.1", "-n 1000000 -u -b 8M -l 1000", 1, func(r report) bool {
			return r.End.Sum.Packets > 900 && r.End.Sum.Lost < 50
		}},
		{"udp6", "[::1]", "-n 2000000 -u -b 8M -l 1000 -P 2", 2, func(r report) bool {
			return r.End.Sum.Packets > 1800 && r.End.Sum.Lost < 100
		}},
		{"udp reverse", "127.0.0.1", "-t 1 -u -b 8M -l 1000 -R", 1, func(r report) bool {
			return r.End.Sum.Packets > 800 && r.End.Sum.Bits > 6e6 && r.End.Sum.Bits < 10e6
		}},
		{"server output", "127.0.0.1", "-t 1 -u -b 8M -l 1000 --get-server-output", 1, func(r report) bool {
			return r.End.Sum.Packets > 800
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			// A rate or a loss is that of the middle one of five, as three of them say: a host that does
			// other work may stop either end for as long as spoils one or two.
			agree := 1
			if strings.Contains(c.args, "-b") {
				agree = 3
			}
			for passed, failed := 0, 0; passed < agree; {
				address, log, end := start(t, config{listen: c.host + ":0"})
				host, port, _ := net.SplitHostPort(address)
				args := append([]string{"-J", "-c", host, "-p", port}, strings.Fields(c.args)...)
				out, err := exec.CommandContext(t.Context(), iperf3, args...).Output()
				if e := end(); e != nil {
					t.Error(e)
				}
				var r report
				if bad := json.Unmarshal(out, &r); bad != nil || err != nil || r.Error != "" || len(r.End.Streams) != c.streams {
					t.Fatalf("iperf3 %v: %v, %v, %d streams, %+v\nserver: %s", args, err, bad, len(r.End.Streams), r.End, log)
				}
				if c.check(r) {
					passed++
				} else if failed++; failed == agree {
					t.Fatalf("iperf3 %v: %+v\nserver: %s", args, r.End, log)
				}
			}
		})
	}
}

func TestStockClientIsToldThatItMustWait(t *testing.T) {
	iperf3, err := exec.LookPath("iperf3")
	if err != nil {
		t.Skip("iperf3 is not installed")
	}
	address, _, _ := start(t, config{streams: 2})
	host, port, _ := net.SplitHostPort(address)
	ask := func(args ...string) string {
		out, _ := exec.CommandContext(t.Context(), iperf3, append([]string{"-J", "-c", host, "-p", port, "-t", "1"}, args...)...).Output()
		var r report
		json.Unmarshal(out, &r)
		return r.Error
	}
	c := dial(t, address, 'a')
	c.expect(paramExchange)
	if got := ask(); !strings.Contains(got, "busy") {
		t.Errorf("while a test runs: %q", got)
	}
	c.Write([]byte{0xff, 0xff, 0xff, 0xff})
	c.expect(serverError)
	c.Read(make([]byte, 8))
	c.Read(make([]byte, 1)) // until the server is free
	if got := ask("-P", "3"); !strings.Contains(got, "parallel streams too large") {
		t.Errorf("3 of 2 streams: %q", got)
	}
}
