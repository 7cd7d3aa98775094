package aqm_test

import (
	"bytes"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"text/tabwriter"
	"time"

	"github.com/sluice-os/sluice/nexus/aqm"
)

// This file owns what is simulated. Each table is a file in testdata: a change of behaviour
// is a change of a file. go test -run Simulated ./nexus/aqm -update writes them anew.

var update = flag.Bool("update", false, "write the tables in testdata anew")

// span is how long each run counts.
const span = 4 * time.Second

// table is lines of a file in testdata.
type table struct {
	testing.TB
	name string
	b    bytes.Buffer
	w    *tabwriter.Writer
}

func newTable(tb testing.TB, name, about, columns string) *table {
	t := &table{TB: tb, name: name}
	fmt.Fprintln(&t.b, about)
	t.w = tabwriter.NewWriter(&t.b, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintf(t.w, "%s\t\n", columns)
	return t
}

func (t *table) row(format string, args ...any) { fmt.Fprintf(t.w, format+"\t\n", args...) }

// end compares the table with its file.
func (t *table) end() {
	t.Helper()
	t.w.Flush()
	path := filepath.Join("testdata", t.name+".txt")
	if *update {
		if err := os.WriteFile(path, t.b.Bytes(), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if bytes.Equal(want, t.b.Bytes()) {
		return
	}
	old, now := bytes.Split(want, []byte("\n")), bytes.Split(t.b.Bytes(), []byte("\n"))
	for i := range max(len(old), len(now)) {
		var a, b []byte
		if i < len(old) {
			a = old[i]
		}
		if i < len(now) {
			b = now[i]
		}
		if !bytes.Equal(a, b) {
			t.Errorf("%s, line %d:\n- %s\n+ %s", path, i+1, a, b)
		}
	}
	t.Error("if that is meant: go test -run Simulated ./nexus/aqm -update")
}

// TestSimulatedBulk: transfers that take what there is.
func TestSimulatedBulk(t *testing.T) {
	const rate = 20 * aqm.Megabit
	out := newTable(t, "bulk", "20 Mbit/s, bulk transfers, by what they listen to", "senders\tflows\tRTT ms\t"+heading)
	for _, rtt := range []time.Duration{5 * ms, 50 * ms, 200 * ms} {
		for _, flows := range []int{1, 8, 64} {
			for _, k := range []struct {
				name    string
				kind    signal
				managed bool
			}{{"losses, no AQM", losses, false}, {"losses", losses, true}, {"ECN", ecn, true}, {"L4S", scalable, true}, {"advice", advice, true}} {
				s := newSim(t, rate, k.managed)
				for range flows {
					s.add("bulk", aqm.BestEffort, frame, newWindow(k.kind, rtt))
				}
				s.run(t, span)
				out.row("%s\t%d\t%d\t%s", k.name, flows, rtt/ms, s.row(s.groups[0]))
			}
		}
	}
	out.end()
}

// TestSimulatedLoad: datagrams at a rate, eight at a time, of senders that heed being told
// to pause (with or without times at which they are to leave), that ignore it, and that
// cannot be told; beside them a flow that sends a small packet now and then.
func TestSimulatedLoad(t *testing.T) {
	const rate = 20 * aqm.Megabit
	out := newTable(t, "load", "20 Mbit/s, datagrams at a part of that, eight at a time, and a small packet each 40 ms beside them (its p99)",
		"senders\tflows\tload\t"+heading+"\tsmall p99 ms")
	for _, load := range []int{50, 95, 150, 400} { // of a hundred
		for _, flows := range []int{1, 8, 64} {
			for _, k := range []struct {
				name                         string
				told, heeds, managed, stamps bool
			}{
				{"no AQM", false, false, false, false}, {"not told", false, false, true, false},
				{"heeding", true, true, true, false}, {"stamped", true, true, true, true}, {"ignoring", true, false, true, false},
			} {
				s := newSim(t, rate, k.managed)
				s.add("small", aqm.BestEffort, 64, newSmall())
				for range flows {
					d := newDatagrams(rate*aqm.Rate(load)/100/aqm.Rate(flows), 1000, 8, k.told, k.heeds)
					d.stamps = k.stamps
					s.add("load", aqm.BestEffort, 1000, d)
				}
				s.run(t, span)
				g, small := s.group("load"), s.group("small")
				out.row("%s\t%d\t%s\t%s\t%s", k.name, flows, thousandths(load*10), s.row(g), milliseconds(small.percentile(99)))
				if k.heeds && g.drops > 0 {
					t.Errorf("%d flows of %d %%: who heeds being told lost %d packets", flows, load, g.drops)
				}
				if k.managed && small.drops > 0 {
					t.Errorf("%s, %d flows of %d %%: the small packets lost %d", k.name, flows, load, small.drops)
				}
			}
		}
	}
	out.end()
}

// TestSimulatedClasses: every class has more to send than it can, and beside that a flow
// with a small packet now and then.
func TestSimulatedClasses(t *testing.T) {
	const rate = 20 * aqm.Megabit
	out := newTable(t, "classes", "20 Mbit/s, all classes full, and in each a small packet each 40 ms (its p50 and p99)",
		"flows\tclass\t"+heading+"\tsmall p50 ms\tsmall p99 ms")
	for _, flows := range []int{1, 4, 16} {
		s := newSim(t, rate, true)
		for c := range aqm.Classes {
			for range flows {
				s.add(c.String(), c, frame, newWindow(losses, 20*ms))
			}
			s.add("small "+c.String(), c, 64, newSmall())
		}
		s.run(t, span)
		for c := range aqm.Classes {
			small := s.group("small " + c.String())
			out.row("%d\t%s\t%s\t%s\t%s", flows, c, s.row(s.group(c.String())), milliseconds(small.percentile(50)), milliseconds(small.percentile(99)))
			if small.drops > 0 {
				t.Errorf("%d flows: the small packets of %v lost %d", flows, c, small.drops)
			}
		}
	}
	out.end()
}

// TestSimulatedCrossed: classes by loads, round trips and flows. Each of three classes is offered
// a third of the load, by senders of which each other one knows marks, and which send no more
// than their programs have.
func TestSimulatedCrossed(t *testing.T) {
	const rate = 20 * aqm.Megabit
	out := newTable(t, "crossed", "20 Mbit/s, three classes with a third of the load each, by senders of which each other one knows marks",
		"load\tRTT ms\tflows\tclass\t"+heading)
	classes := []aqm.Class{aqm.Voice, aqm.BestEffort, aqm.Background}
	for _, load := range []int{50, 95, 150, 400} { // of a hundred
		for _, rtt := range []time.Duration{5 * ms, 50 * ms, 200 * ms} {
			for _, flows := range []int{1, 8} {
				s := newSim(t, rate, true)
				for _, c := range classes {
					for i := range flows {
						s.add(c.String(), c, frame, newOffered([]signal{ecn, losses}[i%2], rtt, rate*aqm.Rate(load)/aqm.Rate(300*flows)))
					}
				}
				s.run(t, span/2)
				for _, c := range classes {
					g := s.group(c.String())
					out.row("%s\t%d\t%d\t%s\t%s", thousandths(load*10), rtt/ms, flows, c, s.row(g))
					if load == 50 && g.drops+g.marks > 0 {
						t.Errorf("%d flows of %v, %v: half of the load, and %d packets were dropped, %d marked", flows, c, rtt, g.drops, g.marks)
					}
				}
			}
		}
	}
	out.end()
}

// TestSimulatedRates: the same on links from slow to fast.
func TestSimulatedRates(t *testing.T) {
	out := newTable(t, "rates", "8 bulk transfers of each kind at once, 20 ms, and a small packet each 40 ms (its p99)",
		"Mbit/s\tsenders\t"+heading+"\tsmall p99 ms")
	for _, rate := range []aqm.Rate{1, 10, 100, 200} {
		s := newSim(t, rate*aqm.Megabit, true)
		for name, k := range []signal{losses, ecn, scalable, advice} {
			for range 8 {
				s.add([]string{"losses", "ECN", "L4S", "advice"}[name], aqm.BestEffort, frame, newWindow(k, 20*ms))
			}
		}
		s.add("small", aqm.BestEffort, 64, newSmall())
		s.run(t, 2*time.Second)
		for _, g := range s.groups[:4] {
			out.row("%d\t%s\t%s\t%s", rate, g.name, s.row(g), milliseconds(s.group("small").percentile(99)))
		}
	}
	out.end()
}

// TestSimulatedMixture: one domain sends bulk TCP, another one bulk UDP, and a third one
// has small packets echoed, over 10 Mbit/s.
func TestSimulatedMixture(t *testing.T) {
	const rate = 10 * aqm.Megabit
	out := newTable(t, "mixture", "10 Mbit/s, TCP that takes what there is, UDP at 50 Mbit/s, and a small packet each 40 ms",
		"UDP\tAQM\tsender\t"+heading)
	type result struct {
		small time.Duration
		tcp   int
	}
	for _, udp := range []string{"none", "heeding", "ignoring"} {
		var with, without result
		for _, managed := range []bool{false, true} {
			s := newSim(t, rate, managed)
			s.add("TCP", aqm.BestEffort, frame, newWindow(advice, 20*ms))
			if udp != "none" {
				s.add("UDP", aqm.BestEffort, 1000, newDatagrams(50*aqm.Megabit, 1000, 4, true, udp == "heeding"))
			}
			s.add("small", aqm.BestEffort, 64, newSmall())
			s.run(t, span)
			for _, g := range s.groups {
				out.row("%s\t%v\t%s\t%s", udp, managed, g.name, s.row(g))
			}
			r := &without
			if managed {
				r = &with
				if n := s.group("TCP").drops + s.group("small").drops; n > 0 {
					t.Errorf("UDP %s: others lost %d packets", udp, n)
				}
			}
			*r = result{s.group("small").percentile(99), s.group("TCP").total()}
		}
		if with.small*5 > without.small {
			t.Errorf("UDP %s: p99 of the small packets is %v, and %v without AQM", udp, with.small, without.small)
		}
		if with.tcp < without.tcp*9/10 {
			t.Errorf("UDP %s: TCP sent %d bytes, and %d without AQM", udp, with.tcp, without.tcp)
		}
	}
	out.end()
}
