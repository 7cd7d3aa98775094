package pressure

import (
	"math/rand/v2"
	"slices"
	"testing"
	"time"
)

const (
	kib = 1 << 10
	mib = 1 << 20
)

func TestPick(t *testing.T) {
	idle := func(d time.Duration, memory uint64) Candidate { return Candidate{Memory: memory, Idle: d} }
	pinned := func(d time.Duration, memory uint64) Candidate { return Candidate{memory, d, true} }
	for name, c := range map[string]struct {
		list       []Candidate
		need, goal uint64
		want       []int
	}{
		"nobody":                    {nil, 4 * kib, mib, nil},
		"nothing is needed":         {[]Candidate{idle(time.Hour, mib)}, 0, 0, nil},
		"the longest idle":          {[]Candidate{idle(2*time.Second, mib), idle(time.Hour, mib), idle(time.Minute, mib)}, kib, kib, []int{1}},
		"of an age the largest":     {[]Candidate{idle(70*time.Second, mib), idle(65*time.Second, 4*mib), idle(100*time.Second, 2*mib)}, kib, kib, []int{1}},
		"age before size":           {[]Candidate{idle(2*time.Second, 64*mib), idle(time.Hour, mib)}, kib, kib, []int{1}},
		"as many as it takes":       {[]Candidate{idle(time.Second, mib), idle(4*time.Second, mib), idle(2*time.Second, mib)}, kib, 2 * mib, []int{1, 2}},
		"all, if it takes more":     {[]Candidate{idle(time.Second, mib), idle(4*time.Second, mib)}, kib, 8 * mib, []int{1, 0}},
		"none, if that helps not":   {[]Candidate{idle(time.Hour, mib), idle(time.Hour, mib)}, 2*mib + 1, 0, nil},
		"the need without a goal":   {[]Candidate{idle(time.Hour, mib), idle(2*time.Hour, mib)}, mib + 1, 0, []int{1, 0}},
		"one that is not needed":    {[]Candidate{idle(time.Hour, 700*kib), idle(time.Minute, 4*mib)}, kib, mib, []int{1}},
		"pinned":                    {[]Candidate{pinned(time.Hour, 8*mib), idle(time.Second, mib)}, kib, kib, []int{1}},
		"only pinned":               {[]Candidate{pinned(time.Hour, 8*mib)}, kib, kib, nil},
		"busy":                      {[]Candidate{idle(Busy-1, 8*mib), idle(0, 8*mib), idle(-time.Second, mib)}, kib, kib, nil},
		"idle at the limit":         {[]Candidate{idle(Busy, 8*mib)}, kib, kib, []int{0}},
		"without memory":            {[]Candidate{idle(time.Hour, 0), idle(time.Second, mib)}, kib, kib, []int{1}},
		"the same in every respect": {[]Candidate{idle(time.Hour, mib), idle(time.Hour, mib)}, kib, kib, []int{0}},
	} {
		if got := Pick(c.list, c.need, c.goal); !slices.Equal(got, c.want) {
			t.Errorf("%s: %v, want %v", name, got, c.want)
		}
	}
}

// TestPickHolds what it promises, for any channels.
func TestPickHolds(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	for range 20_000 {
		list := make([]Candidate, r.IntN(9))
		all := uint64(0)
		for i := range list {
			list[i] = Candidate{uint64(r.IntN(5)) * mib, time.Duration(r.IntN(5000)) * time.Millisecond, r.IntN(4) == 0}
			if c := list[i]; !c.Pinned && c.Idle >= Busy {
				all += c.Memory
			}
		}
		need := uint64(r.IntN(8)) * mib / 2
		goal := uint64(r.IntN(8)) * mib / 2
		got := Pick(list, need, goal)
		sum := uint64(0)
		for k, i := range got {
			if c := list[i]; c.Pinned || c.Idle < Busy || slices.Index(got, i) != k {
				t.Fatalf("%v takes %d: %+v", list, i, got)
			}
			sum += list[i].Memory
		}
		want := min(max(need, goal), all)
		if all < need {
			want = 0
		}
		if sum < want || want == 0 && len(got) > 0 {
			t.Fatalf("%v for %d to %d: %v have %d, want %d", list, need, goal, got, sum, want)
		}
		for _, i := range got {
			if list[i].Memory > 0 && sum-list[i].Memory >= max(need, goal) {
				t.Fatalf("%v for %d to %d: %v, without %d there is enough", list, need, goal, got, i)
			}
		}
	}
}
