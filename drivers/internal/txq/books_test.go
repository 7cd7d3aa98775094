package txq

import (
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/sluice-os/sluice/drivers/internal/arena"
	"github.com/sluice-os/sluice/drivers/internal/cardtest"
	"github.com/sluice-os/sluice/drivers/nic"
)

// TestBooks moves frames through all states in random order and compares the books with a
// plain record of who has what: bytes told, descriptors promised, nothing in two places.
func TestBooks(t *testing.T) {
	type entry struct {
		p    *nic.Packet
		need int
		len  int
	}
	f := mustOpen(t)
	random := rand.New(rand.NewPCG(3, 4))
	var held []entry
	type lent struct {
		index uint32
		len   int
	}
	var inFlight []lent
	const room, need = 30, 1
	promised, due, told, refused, straddled, resets := 0, 0, 0, 0, 0, 0
	for range 60_000 {
		switch op := random.IntN(100); {
		case op < 40:
			p, n := &nic.NewBatch(1)[0], nic.HeaderLen+random.IntN(2000)
			if random.IntN(8) == 0 {
				n = nic.FrameMax - random.IntN(2000)
			}
			if !f.Reserve(p, n, room, need) {
				refused++
				if len(p.Buffers) != 0 {
					t.Fatal("a refused packet has buffers")
				}
				continue
			}
			e := entry{p, need, n}
			if len(p.Buffers) == 2 {
				straddled++
				e.need += testSplit
				if len(p.Buffers[0].Bytes) < arena.Headers {
					t.Fatalf("first piece of %d bytes", len(p.Buffers[0].Bytes))
				}
			}
			cardtest.Fill(p, cardtest.Frame(n, byte(p.Buffers[0].ID)))
			promised += e.need
			held = append(held, e)
		case op < 70 && len(held) > 0:
			i := random.IntN(len(held))
			e := held[i]
			held = append(held[:i], held[i+1:]...)
			promised -= e.need
			if op < 45 {
				e.p.Len = e.len + 1
			} else if op < 50 {
				e.p.Len = nic.HeaderLen + random.IntN(e.len-nic.HeaderLen+1) // shortened
			}
			id := e.p.Buffers[0].ID
			index, place, refusal := f.Claim(e.p)
			if (refusal == OK) != (e.p.Len <= e.len) || refusal == OK && index != id {
				t.Fatalf("claimed place %d of %d: refusal %d", index, id, refusal)
			}
			due += e.p.Len
			if refusal != OK {
				f.Drop(e.p)
				f.Retire()
				told += e.p.Len
				continue
			}
			// Nobody else has written here since.
			want := cardtest.Frame(e.len, byte(id))
			first := f.Memory.Bytes[place.Span.Start+testFront : place.Span.Start+place.Span.First]
			if string(first)+string(f.Memory.Bytes[:place.Span.Rest]) != string(want) {
				t.Fatalf("the frame in place %d is damaged", id)
			}
			f.Lend(place, e.p.Len)
			inFlight = append(inFlight, lent{index, e.p.Len})
		case op < 99:
			if len(inFlight) > 0 {
				i := random.IntN(len(inFlight))
				f.Done(inFlight[i].index)
				told += inFlight[i].len
				inFlight = slices.Delete(inFlight, i, i+1)
			}
			f.Reclaimed()
		default:
			if lost := f.Reset(); lost != len(inFlight) {
				t.Fatalf("%d lost, %d were lent", lost, len(inFlight))
			}
			for _, l := range inFlight {
				told += l.len
			}
			inFlight = nil
			resets++
		}
		if f.Promised() != promised || f.InFlight() != len(inFlight) || f.Promised() > room || f.Places() < len(held)+len(inFlight) {
			t.Fatalf("%d promised, want %d; %d in flight, want %d; %d places for %d and %d frames",
				f.Promised(), promised, f.InFlight(), len(inFlight), f.Places(), len(held), len(inFlight))
		}
		if f.Untold() != (told > 0) {
			t.Fatalf("untold: %t, %d bytes", f.Untold(), told)
		}
		if random.IntN(10) == 0 {
			if n := f.TakeFinished(); n != told {
				t.Fatalf("%d bytes, want %d", n, told)
			}
			due, told = due-told, 0
		}
	}
	if refused == 0 || straddled == 0 || resets == 0 {
		t.Errorf("%d refused, %d in two pieces, %d resets: the test does not reach those", refused, straddled, resets)
	}
	for _, e := range held {
		f.Claim(e.p)
	}
	f.Reset()
	if f.Places() != 0 || f.Used() != 0 || f.Promised() != 0 || f.InFlight() != 0 {
		t.Errorf("%d places, %d bytes, %d promised, %d in flight of nothing", f.Places(), f.Used(), f.Promised(), f.InFlight())
	}
	if n := f.TakeFinished(); n != due {
		t.Errorf("%d bytes at last, want %d", n, due)
	}
}
