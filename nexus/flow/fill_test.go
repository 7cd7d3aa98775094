package flow

import (
	"encoding/binary"
	"errors"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/sluice-os/sluice/nexus/packet"
)

// manyKeys are different keys of connections.
func manyKeys(n int) []packet.Key {
	list := make([]packet.Key, n)
	for i := range list {
		k := packet.Key{Version: 4, Proto: packet.UDP, LocalPort: uint16(1 + i%60000), RemotePort: 53}
		k.Local = [16]byte{10: 0xff, 11: 0xff, 12: 192, 14: 2, 15: 1}
		k.Remote = [16]byte{10: 0xff, 11: 0xff}
		binary.BigEndian.PutUint32(k.Remote[12:], uint32(i))
		list[i] = k
	}
	return list
}

// TestFullOfFlows (libcuckoo, basic): a table takes as many flows as it may have and finds
// each of them, and none of as many others; they go in any order, and what is left is found
// until it goes. Then it takes as many again.
func TestFullOfFlows(t *testing.T) {
	const n = 20000
	tab := table(t, Config{Max: n, PerOwner: n, Seed: 7})
	keys := manyKeys(2 * n)
	in, out := keys[:n], keys[n:]
	for round := range 2 {
		flows := make([]*Flow, n)
		for i := range in {
			flows[i] = add(t, tab, Spec{Kind: Connected, Key: in[i], Owner: 1})
		}
		if _, err := tab.Add(0, Spec{Kind: Connected, Key: in[0], Owner: 2}); !errors.Is(err, ErrExists) {
			t.Errorf("a second time: %v", err)
		}
		if _, err := tab.Add(0, Spec{Kind: Connected, Key: out[0], Owner: 2}); !errors.Is(err, ErrTableFull) {
			t.Errorf("one more: %v", err)
		}
		longest := 0
		for i := range tab.buckets {
			longest = max(longest, len(load(&tab.buckets[i])))
		}
		if longest > 16 {
			t.Errorf("%d flows are in one bucket of %d", longest, len(tab.buckets))
		}
		gone := make([]bool, n)
		check := func() {
			t.Helper()
			for i := range in {
				want := flows[i]
				if gone[i] {
					want = nil
				}
				if tab.Lookup(&in[i]) != want || tab.ByID(flows[i].ID) != want {
					t.Fatalf("round %d: flow %d is gone %v, found %v", round, i, gone[i], tab.Lookup(&in[i]))
				}
				if tab.Lookup(&out[i]) != nil {
					t.Fatalf("round %d: a flow is found that there never was", round)
				}
			}
		}
		check()
		order := rand.New(rand.NewPCG(uint64(round), 1)).Perm(n)
		for k, i := range order {
			if err := tab.Close(0, flows[i], 0); err != nil {
				t.Fatal(err)
			}
			if gone[i] = true; k%(n/4) == n/8 {
				tab.Reap(0)
				check()
			}
		}
		if tab.Reap(0); tab.Len() != 0 || tab.OwnerLen(1) != 0 || tab.Has(packet.UDP) {
			t.Errorf("%d flows are left", tab.Len())
		}
		check()
	}
}

// TestOneBucket (libcuckoo, collisions): flows of which all are in one bucket are told apart.
func TestOneBucket(t *testing.T) {
	tab := table(t, Config{Max: 1 << 10, PerOwner: 1 << 10})
	tab.buckets = tab.buckets[:1]
	keys := manyKeys(600)
	flows := make([]*Flow, 300)
	for i := range flows {
		flows[i] = add(t, tab, Spec{Kind: Connected, Key: keys[i], Owner: 1})
	}
	if n := len(load(&tab.buckets[0])); n != len(flows) {
		t.Fatalf("%d of %d are in the bucket", n, len(flows))
	}
	for i := range keys {
		f := tab.Lookup(&keys[i])
		if i < len(flows) && f != flows[i] || i >= len(flows) && f != nil {
			t.Fatalf("key %d: %v", i, f)
		}
	}
}

// TestFoundWhileOthersCome (libcuckoo, advanced): who looks up finds a flow that stays in
// every moment, while others of its buckets come and go.
func TestFoundWhileOthersCome(t *testing.T) {
	const stay = 64
	tab := table(t, Config{Max: 1 << 12, PerOwner: 1 << 12})
	tab.buckets = tab.buckets[:4]
	keys := manyKeys(4 * stay)
	flows := make([]*Flow, stay)
	for i := range flows {
		flows[i] = add(t, tab, Spec{Kind: Connected, Key: keys[i], Owner: 1})
	}
	var over atomic.Bool
	var readers, writers sync.WaitGroup
	for range 2 {
		readers.Go(func() {
			for rounds := 0; !over.Load() || rounds == 0; rounds++ {
				for i := range flows {
					if f := tab.Lookup(&keys[i]); f != flows[i] {
						t.Errorf("flow %d is %v", i, f)
						return
					}
				}
			}
		})
	}
	for seed := range uint64(2) {
		writers.Go(func() {
			r := rand.New(rand.NewPCG(seed, 5))
			for range 20000 {
				k := keys[stay+r.IntN(len(keys)-stay)]
				if f := tab.Lookup(&k); f == nil {
					_, _ = tab.Add(0, Spec{Kind: Connected, Key: k, Owner: 2}) // another may have been first
				} else {
					_ = tab.Close(0, f, 0) // likewise
					tab.Reap(0)
				}
			}
		})
	}
	writers.Wait()
	over.Store(true)
	readers.Wait()
}
