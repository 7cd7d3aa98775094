package shell

// ping, with the output of iputils.

import (
	"context"
	"errors"
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"
)

const (
	pingInterval = time.Second
	pingTimeout  = time.Second
	pingCountMax = 65535
	pingDataSize = 56
	// pingHeaders is what IPv4 and ICMP add, as iputils prints it.
	pingHeaders = 28
)

func (s *Shell) ping(ctx context.Context, args []string) error {
	count := 0 // until ^C
	if len(args) == 3 && args[0] == "-c" {
		n, err := strconv.Atoi(args[1])
		if err != nil || n < 1 || n > pingCountMax {
			return fmt.Errorf("bad number of packets %q, want 1 to %d", args[1], pingCountMax)
		}
		count, args = n, args[2:]
	}
	if len(args) != 1 || strings.HasPrefix(args[0], "-") {
		return errUsage
	}
	if s.sys.Lookup == nil || s.sys.NewPinger == nil {
		return errAbsent
	}
	name := args[0]
	list, err := s.sys.Lookup(ctx, name)
	if err != nil {
		return err
	}
	if len(list) == 0 {
		return fmt.Errorf("%s: no address", name)
	}
	to := choose(list)
	p, err := s.sys.NewPinger(to)
	if err != nil {
		return err
	}
	defer p.Close()

	if to.Is4() {
		fmt.Fprintf(s.out, "PING %s (%v) %d(%d) bytes of data.\n", name, to, pingDataSize, pingDataSize+pingHeaders)
	} else {
		fmt.Fprintf(s.out, "PING %s (%v) %d data bytes\n", name, to, pingDataSize)
	}
	var st pingStatistics
	begin := time.Now()
	for seq := 1; count == 0 || seq <= count; seq++ {
		start := time.Now()
		st.sent++
		e, err := p.Ping(ctx, uint16(seq), pingTimeout)
		switch {
		case err == nil:
			st.add(e.RTT)
			fmt.Fprintf(s.out, "%d bytes from %v: icmp_seq=%d ttl=%d time=%s ms\n",
				e.Bytes, e.From, e.Sequence, e.TTL, milliseconds(e.RTT, 3))
		case errors.Is(err, context.Canceled):
			st.sent-- // the answer may be on its way
		default:
			fmt.Fprintf(s.out, "From %v icmp_seq=%d %v\n", to, uint16(seq), err)
		}
		if ctx.Err() != nil || seq == count || !sleep(ctx, pingInterval-time.Since(start)) {
			break
		}
	}
	st.print(s, name, time.Since(begin))
	return nil
}

// sleep reports whether d passed before the end of ctx.
func sleep(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-ctx.Done():
		return false
	}
}

type pingStatistics struct {
	sent, received int
	low, high      time.Duration
	sum, squares   float64 // of milliseconds
}

func (p *pingStatistics) add(d time.Duration) {
	if p.received == 0 || d < p.low {
		p.low = d
	}
	p.high = max(p.high, d)
	ms := float64(d) / float64(time.Millisecond)
	p.sum += ms
	p.squares += ms * ms
	p.received++
}

func (p *pingStatistics) print(s *Shell, name string, took time.Duration) {
	loss := 0
	if p.sent > 0 {
		loss = (p.sent - p.received) * 100 / p.sent
	}
	fmt.Fprintf(s.out, "\n--- %s ping statistics ---\n", name)
	fmt.Fprintf(s.out, "%d packets transmitted, %d received, %d%% packet loss, time %dms\n",
		p.sent, p.received, loss, took.Milliseconds())
	if p.received == 0 {
		return
	}
	mean := p.sum / float64(p.received)
	deviation := math.Sqrt(math.Max(0, p.squares/float64(p.received)-mean*mean))
	fmt.Fprintf(s.out, "rtt min/avg/max/mdev = %s/%.3f/%s/%.3f ms\n",
		milliseconds(p.low, 3), mean, milliseconds(p.high, 3), deviation)
}

func milliseconds(d time.Duration, digits int) string {
	return strconv.FormatFloat(float64(d)/float64(time.Millisecond), 'f', digits, 64)
}
