package isis

import (
	"testing"

	"github.com/sluice-os/sluice/kernel/route/gate"
	"github.com/sluice-os/sluice/kernel/route/isis/pdu"
	"github.com/sluice-os/sluice/kernel/route/spf"
)

// TestHeldBackSaysWhy: a neighbour that waits says for what, and for how long.
func TestHeldBackSaysWhy(t *testing.T) {
	both(t, func(t *testing.T, name string) {
		p := newPair(t, name, nil, func(c *CircuitConfig) { c.Gate = gate.Config{Strict: true, MaxWait: 100 * sec} })
		p.says(true, false)
		p.local(true, true)
		p.n.start()
		text := func() string {
			list := p.r.Neighbours(p.now)
			if len(list) != 1 {
				t.Fatalf("%d neighbours", len(list))
			}
			return list[0].Text(p.now)
		}
		p.run(12*sec + 100*ms)
		if got := text(); got != "Wait: neighbour has no usable IPv6 address, 12 s" {
			t.Error(got)
		}
		p.says(true, true)
		p.n.say()
		p.run(5 * sec)
		if got := text(); got != "Wait: both families work, but not for long enough, 11 s left" {
			t.Error(got)
		}
		p.run(11 * sec)
		if got := text(); got != "Up" {
			t.Error(got)
		}
		p.says(true, false)
		p.run(102 * sec)
		if got := text(); got != "Up: by max-wait" {
			t.Error(got)
		}
		p.n.send(p.lsp(1))
		p.run(sec)
		v := p.r.Neighbours(p.now)[0]
		if v.System != p.n.system || v.Facts.Peer != [2]bool{true, false} || v.NextHops[gate.V6].IsValid() || v.Hold < 28*sec || v.Levels != 2 || v.Open != (gate.Open{true, false}) {
			t.Errorf("%+v", v)
		}
	})
}

func TestCircuitsAndDatabase(t *testing.T) {
	p := upPair(t, "LAN", nil, nil)
	p.n.send(stranger(7, 9))
	p.r.Receive(p.now, 0, p.n.e.snpa, nil)
	p.run(sec)
	c := p.r.Circuits()
	if len(c) != 1 || c[0].Up[2] != 1 || !c[0].DIS[2] || c[0].LAN[2] != systemOf(1).Node(1) || c[0].Drops[Reason(pdu.Short)] != 1 || len(c[0].Drops) != 1 || c[0].Local[gate.V6] != gate.OK {
		t.Errorf("%+v", c)
	}
	d := p.r.Database(p.now, 2)
	if len(d) != 3 || d[0].Node != "r1" || !d[0].Own || d[2].Own || d[2].Hostname != "s7" || d[2].Lifetime != 1199*sec+ms || d[2].Length != 31 {
		t.Errorf("%+v", d)
	}
	if p.r.Database(p.now, 1) != nil || p.r.Database(p.now, 3) != nil {
		t.Error("a level that there is not")
	}
	if m := p.r.Delay(p.now, 2); m == spf.Quiet {
		t.Error("quiet after a change")
	}
	if m := p.r.Delay(p.now+60*sec, 2); m != spf.Quiet || p.r.Delay(p.now, 1) != spf.Quiet {
		t.Errorf("%v a minute later", m)
	}
}
