package arena_test

import (
	"testing"
	"unsafe"

	"github.com/sluice-os/sluice/nexus/abi"
	"github.com/sluice-os/sluice/nexus/arena"
	"github.com/sluice-os/sluice/nexus/arena/arenatest"
)

func newArena(t *testing.T, schema string) (*arena.Arena, *arenatest.Memory) {
	t.Helper()
	p, err := arena.Named(schema)
	if err != nil {
		t.Fatal(err)
	}
	l, err := arena.NewLayout(p)
	if err != nil {
		t.Fatal(err)
	}
	m := arenatest.New(t, l.Range)
	a, err := arena.New(l, m, 1)
	if err != nil {
		t.Fatal(err)
	}
	return a, m
}

// TestTakenBack: what the region table says so of is free and reads as zeros, the schema
// alone stays, inactive.
func TestTakenBack(t *testing.T) {
	for _, schema := range []string{"small", "default", "bulk"} {
		a, m := newArena(t, schema)
		for i := range a.Segments(arena.Buffers) {
			if i%3 == 1 { // some have memory, some have not
				if err := a.Back(arena.Buffers, i); err != nil {
					t.Fatal(err)
				}
			}
		}
		used := m.Used()
		domain := unsafe.Slice((*byte)(m.Domain()), a.Range)
		for id := range arena.Regions {
			for i := range a.Segments(id) {
				if offset, size := a.SegmentAt(id, i); id != arena.Schema && a.Segment(id, i) != nil {
					for k := range size {
						domain[offset+k] = 0xaa
					}
				}
			}
		}
		a.Deactivate()
		a.Redirect()
		if m.Used() != used {
			t.Errorf("%s: something is free too early", schema)
		}
		if freed := a.Take(); freed != used-arena.PageSize || m.Used() != arena.PageSize {
			t.Errorf("%s: %d bytes were freed of %d, %d are held", schema, freed, used, m.Used())
		}
		for id := range arena.Regions {
			if want := map[bool]int{true: arena.PageSize}[id == arena.Schema]; a.Backed(id) != want {
				t.Errorf("%s: %v has %d bytes", schema, id, a.Backed(id))
			}
		}
		for i, b := range domain[arena.PageSize:] {
			if b != 0 {
				t.Fatalf("%s: byte %d of the domain's is %#x", schema, arena.PageSize+i, b)
			}
		}
		s := (*abi.Schema)(m.Domain())
		if s.Flags != 0 || s.Version != abi.SchemaVersion || s.Size == 0 {
			t.Errorf("%s: the schema is %+v", schema, s)
		}
		if a.Free(); m.Live() != 0 {
			t.Errorf("%s: %d segments are left", schema, m.Live())
		}
	}
}

// TestOrderOfSteps: a step out of order is found out before it does anything.
func TestOrderOfSteps(t *testing.T) {
	type step = func(*arena.Arena)
	deactivate, redirect := (*arena.Arena).Deactivate, (*arena.Arena).Redirect
	take := func(a *arena.Arena) { a.Take() }
	for name, c := range map[string]struct {
		steps []step
		ok    bool
	}{
		"in order":           {[]step{deactivate, redirect, take}, true},
		"nothing but freed":  {[]step{take}, false},
		"not deactivated":    {[]step{redirect}, false},
		"not redirected":     {[]step{deactivate, take}, false},
		"deactivated twice":  {[]step{deactivate, deactivate}, false},
		"redirected twice":   {[]step{deactivate, redirect, redirect}, false},
		"freed twice":        {[]step{deactivate, redirect, take, take}, false},
		"and from the start": {[]step{deactivate, redirect, take, deactivate}, false},
	} {
		a, m := newArena(t, "small")
		for i, do := range c.steps {
			held := m.Used()
			stopped := func() (stopped bool) {
				defer func() { stopped = recover() != nil }()
				do(a)
				return
			}()
			if last := i == len(c.steps)-1; stopped != (last && !c.ok) || stopped && m.Used() != held {
				t.Errorf("%s: step %d stopped: %v, %d of %d bytes", name, i, stopped, m.Used(), held)
			}
		}
		if a.Free(); m.Live() != 0 {
			t.Errorf("%s: %d segments are left", name, m.Live())
		}
	}
}
