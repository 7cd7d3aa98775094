package isis

import (
	"errors"
	"fmt"
	"net/netip"
	"testing"
	"time"

	"github.com/sluice-os/sluice/kernel/route/isis/pdu"
)

// TestAuthenticated: with each algorithm, neighbours with the same key come up and have each
// other's LSPs, and one with another key does not or has none.
func TestAuthenticated(t *testing.T) {
	for a := pdu.Clear; a <= pdu.SHA512; a++ {
		for _, wrong := range []string{"", "hello", "LSP"} {
			key := func(n int, what string) Keys {
				k := Keys{{Key: pdu.Key{ID: 7, Algorithm: a, Secret: []byte("secret")}}}
				if n == 2 && wrong == what {
					k[0].Secret = []byte("Secret")
				}
				return k
			}
			w := newWorld(t)
			x := w.wired()
			for n := 1; n <= 2; n++ {
				r := w.add(n, func(c *Config) { c.Keys[2] = key(n, "LSP") })
				r.on(x, P2P, func(c *CircuitConfig) { c.Keys = key(n, "hello") }).set(nil)
			}
			w.run(30 * sec)
			r := w.routers[0]
			up, has := r.ends[0].state() == Up, r.entry(2, 0) != nil
			if up != (wrong != "hello") || has != (wrong == "") {
				t.Errorf("%v, wrong %q: up %v, has the LSP %v", a, wrong, up, has)
			}
			if n := r.count(Alarm); n != map[bool]int{true: 1}[wrong != ""] || wrong != "" && r.Drops(0, Reason(pdu.BadAuth)) < 3 {
				t.Errorf("%v, wrong %q: %d alarms, %d dropped", a, wrong, n, r.Drops(0, Reason(pdu.BadAuth)))
			}
		}
	}
}

// TestKeyRollover: each router changes to the next key at its own time, and nobody notices.
func TestKeyRollover(t *testing.T) {
	const span = 600 * sec
	keys := func(n int) (list Keys) {
		late := time.Duration(n) * 10 * sec
		for i := range KeysMax {
			k := Key{Key: pdu.Key{ID: uint16(i), Algorithm: []pdu.Algorithm{pdu.MD5, pdu.SHA256}[i%2], Secret: []byte(fmt.Sprint("key", i))}}
			if i > 0 {
				k.SendFrom = time.Duration(i)*span + late
				k.AcceptFrom = k.SendFrom - 60*sec
			}
			k.SendUntil = time.Duration(i+1)*span + late
			k.AcceptUntil = k.SendUntil + 60*sec + maxAge
			list = append(list, k)
		}
		return list
	}
	w, r := chain(t, 3, func(n int, c *Config) { c.Keys[2] = keys(n) }, func(c *CircuitConfig) { c.Keys = keys(int(c.SNPA[5])) })
	w.run(15 * span)
	for i, x := range r {
		if n := x.count(AdjacencyChange); n > 2*2 || x.count(Alarm) > 0 || x.Counts().Purged > 0 {
			t.Errorf("r%d:\n%s", i+1, x.log(AdjacencyChange, Alarm, Purged))
		}
	}
	sameDatabases(t, "after 15 keys", 2, r)
	if n := r[0].entry(3, 0).lsp.Sequence; n < 10 {
		t.Errorf("only %d LSPs in that time", n)
	}
}

// TestKeysChangedLive: the keys of hellos and LSPs are changed on running routers, one after the other,
// first to accept the next one too, then to send it, then to forget the one before: nobody notices,
// and then all LSPs are sealed by the new one. Without the step between it would be seen.
func TestKeysChangedLive(t *testing.T) {
	old := Key{Key: pdu.Key{Algorithm: pdu.MD5, Secret: []byte("old")}}
	for _, next := range []Key{
		{Key: pdu.Key{Algorithm: pdu.MD5, Secret: []byte("new")}},
		{Key: pdu.Key{ID: 7, Algorithm: pdu.SHA512, Secret: []byte("new")}}, // which takes more room
	} {
		steps := []Keys{{old, next}, {next, old}, {next}}
		// Enough prefixes that the first fragment is full.
		many := func(r int, c *Config) {
			for n := range 300 {
				c.Prefixes = append(c.Prefixes, netip.PrefixFrom(netip.AddrFrom4([4]byte{10, byte(100 + r), byte(n), byte(n >> 8)}), 32))
			}
		}
		w, r := chain(t, 3, func(n int, c *Config) {
			c.Keys[2] = Keys{old}
			many(n, c)
		}, func(c *CircuitConfig) { c.Keys = Keys{old} })
		set := func(x *router, keys Keys) {
			for n, c := range x.circuits {
				cc := c.config
				cc.Keys = keys
				if err := x.SetCircuit(w.now, n, cc); err != nil {
					t.Fatal(err)
				}
			}
			if err := x.SetKeys(w.now, [3]Keys{2: keys}); err != nil {
				t.Fatal(err)
			}
			w.touch(x)
		}
		w.run(60 * sec)
		routes := len(r[0].Routes())
		if routes < 600 {
			t.Fatalf("%d routes", routes)
		}
		for _, x := range r {
			x.events, x.changes = nil, nil
		}
		for n, keys := range steps {
			for _, x := range r {
				set(x, keys)
				w.run(40 * sec) // longer than any hold time
			}
			sameDatabases(t, fmt.Sprint("after step ", n+1), 2, r)
		}
		for i, x := range r {
			if text := x.log(AdjacencyChange, Alarm, Purged); text != "" || len(x.changes) != 0 || len(x.Routes()) != routes {
				t.Errorf("r%d: %d changes of routes, %d routes of %d\n%s", i+1, len(x.changes), len(x.Routes()), routes, text)
			}
			for _, e := range x.levels[2].order {
				if v, _ := pdu.Check(e.raw); (Keys{next}).verify(w.now, v) != pdu.OK || len(e.raw) > lspLengthMax {
					t.Errorf("r%d: %v, %d bytes long, is not sealed by the new key", i+1, e.id, len(e.raw))
				}
			}
		}
		if err := r[0].SetKeys(w.now, [3]Keys{2: {{}}}); !errors.Is(err, pdu.ErrKey) {
			t.Errorf("a key without a secret: %v", err)
		}
		// The control: a key that no other has. What is held stays, what is new is not taken.
		set(r[2], Keys{old})
		was := r[0].entry(3, 0).lsp.Sequence
		w.run(40 * sec)
		if r[1].ends[1].state() == Up || r[2].ends[0].state() == Up || r[0].count(Alarm) != 0 || r[1].count(Alarm) != 1 || r[0].entry(3, 0).lsp.Sequence != was {
			t.Errorf("a wrong key: %v and %v, r2 tells\n%s", r[1].ends[1].state(), r[2].ends[0].state(), r[1].log(Alarm))
		}
	}
}

// TestSendingKey: the live key whose time began last seals, or the one that ended last.
func TestSendingKey(t *testing.T) {
	keys := Keys{
		{Key: pdu.Key{ID: 1}, SendUntil: 100 * sec},
		{Key: pdu.Key{ID: 2}, SendFrom: 50 * sec, SendUntil: 200 * sec},
		{Key: pdu.Key{ID: 3}, SendFrom: 150 * sec, SendUntil: 180 * sec},
	}
	for at, want := range map[int]uint16{0: 1, 49: 1, 50: 2, 149: 2, 150: 3, 179: 3, 180: 2, 199: 2, 200: 2, 9999: 2} {
		if k := keys.sending(time.Duration(at) * sec); k == nil || k.ID != want {
			t.Errorf("at %d s: %v, want %d", at, k, want)
		}
	}
	if Keys(nil).sending(0) != nil {
		t.Error("a key out of nothing")
	}
}

// TestBadPurge: with keys a purge that says more than who made it is refused, though its digest is
// right.
func TestBadPurge(t *testing.T) {
	key := pdu.Key{Algorithm: pdu.MD5, Secret: []byte("x")}
	p := upPair(t, "p2p", func(c *Config) { c.Keys[2] = Keys{{Key: key}} }, nil)
	p.n.key = &key
	c := stranger(7, 5)
	p.n.send(c)
	p.run(sec)
	c.Lifetime = 0
	p.n.send(c)
	c.Hostname, c.Areas = "", []pdu.Area{"\x49"}
	p.n.send(c)
	p.run(sec)
	// The first has a hostname, as a purge may.
	if e := p.r.entry(7, 0); e == nil || !e.purged || p.r.Drops(0, BadPurge) != 1 {
		t.Errorf("%+v, %d refused", e, p.r.Drops(0, BadPurge))
	}
	// The control: without keys its content is not looked at.
	q := upPair(t, "p2p", nil, nil)
	c.Lifetime = 1200
	q.n.send(c)
	c.Lifetime = 0
	q.n.send(c)
	q.run(sec)
	if e := q.r.entry(7, 0); e == nil || !e.purged {
		t.Errorf("without keys: %+v", e)
	}
}
