package suites

import (
	"bytes"
	"context"
	"fmt"
	"os/exec"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// This file owns the pings of TestDiamond: what became of each, and when it was sent.

// tally is what became of pings.
type tally struct {
	sent, lost int
	// gone is for how long there were no answers, but for what lies between two pings anyway.
	gone time.Duration
}

func (t tally) String() string {
	return fmt.Sprintf("%d of %d pings, %.1f s", t.lost, t.sent, t.gone.Seconds())
}

// pinger is a ping that runs.
type pinger struct {
	began time.Time
	cmd   *exec.Cmd
	out   *lockedBuffer
}

// pings begins to ping from r1 to r4, by IPv4 and by IPv6, and waits until both are answered.
func (d *diamond) pings(t *testing.T) [2]*pinger {
	t.Helper()
	list := [2]*pinger{d.ping(t, "10.255.9.1", "10.255.9.4"), d.ping(t, "2001:db8:9::1", "2001:db8:9::4")}
	for _, p := range list {
		eventually(t, time.Now().Add(settles), "pings", func() string {
			if p.answers() == 0 {
				return "no answer"
			}
			return ""
		})
	}
	return list
}

// ping begins to ping from one of r1's addresses to one of r4's.
func (d *diamond) ping(t *testing.T, from, to string) *pinger {
	t.Helper()
	p := &pinger{out: &lockedBuffer{}}
	p.cmd = exec.CommandContext(context.Background(), "ip", "netns", "exec", d.r1.Namespace, "ping", "-D", "-i", fmt.Sprint(1.0/pingsEach), "-W", "5", "-I", from, to)
	p.cmd.Stdout, p.cmd.Stderr = p.out, p.out
	p.began = time.Now()
	if err := p.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { p.cmd.Process.Kill() })
	return p
}

var (
	pingAnswer = regexp.MustCompile(`^\[([0-9.]+)\] .*icmp_seq=(\d+) .*time=([0-9.]+) ms`)
	pingFailed = regexp.MustCompile(`ping: |nreachable`)
)

// answersWithin is how long an answer takes at most that is not lost.
const answersWithin = time.Second

func (p *pinger) answers() int { return strings.Count(p.out.String(), " time=") }

// answered waits until each is answered for a second, so that losses before are ended.
func answered(t *testing.T, pings [2]*pinger) {
	t.Helper()
	end := time.Now().Add(settles)
	had := [2]int{pings[0].answers(), pings[1].answers()}
	for n, p := range pings {
		eventually(t, end, fmt.Sprintf("answers to pings of IPv%d", []int{4, 6}[n]), func() string {
			if more := p.answers() - had[n]; more < pingsEach {
				return fmt.Sprintf("%d of %d", more, pingsEach)
			}
			return ""
		})
	}
}

// stop ends it.
func (p *pinger) stop(t *testing.T) {
	t.Helper()
	p.cmd.Process.Signal(syscall.SIGINT)
	p.cmd.Wait()
}

// tally counts the pings that were sent between two moments, those that were lost by the answer before
// them. ping may send late, and sends fewer while it cannot send, but numbers all: numbers tell that
// some were lost, and the times of the answers around them for how long. With no answer in the last
// answersWithin all is lost from the last one on.
func (p *pinger) tally(from, to time.Time) (n tally) {
	const each = time.Second / pingsEach
	last, at, failed := 0, p.began, false
	for line := range strings.Lines(p.out.String()) {
		m := pingAnswer.FindStringSubmatch(line)
		if m == nil {
			failed = failed || pingFailed.MatchString(line)
			continue
		}
		stamp, _ := strconv.ParseFloat(m[1], 64)
		seq, _ := strconv.Atoi(m[2])
		took, _ := strconv.ParseFloat(m[3], 64)
		if seq <= last {
			continue // it came twice, or late
		}
		sent := time.UnixMicro(int64(stamp*1e6) - int64(took*1e3))
		lost := seq - last - 1
		if failed {
			lost = max(lost, 1)
		}
		if missing := at.Add(each); lost > 0 && !missing.Before(from) && missing.Before(to) {
			n.sent, n.lost, n.gone = n.sent+lost, n.lost+lost, n.gone+sent.Sub(missing)
		}
		if !sent.Before(from) && sent.Before(to) {
			n.sent++
		}
		last, at, failed = seq, sent, false
	}
	if to.Sub(at) > answersWithin {
		missing := at.Add(each)
		if missing.Before(from) {
			missing = from
		}
		lost := int((to.Sub(missing) + each - 1) / each)
		n.sent, n.lost, n.gone = n.sent+lost, n.lost+lost, n.gone+to.Sub(missing)
	}
	return n
}

// lockedBuffer is a buffer that may be read while it is written.
type lockedBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *lockedBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *lockedBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}
