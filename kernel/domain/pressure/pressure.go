// Package pressure decides which channels give their memory back when the machine has
// none left for its domains.
package pressure

import (
	"cmp"
	"math/bits"
	"slices"
	"time"
)

// Busy is how long a channel is not idle after a packet or a sync. What a domain uses is
// not taken for another one.
const Busy = time.Second

// Candidate is an open channel.
type Candidate struct {
	Memory uint64        // bytes that taking it frees
	Idle   time.Duration // since its last packet or sync
	Pinned bool          // it is never taken
}

// age puts channels that are idle for about as long together: each class is twice the
// one before.
func (c *Candidate) age() int { return bits.Len64(uint64(max(c.Idle, 0) / Busy)) }

// Pick returns the indexes of the channels to take, in order: the longest idle first, and
// of those of an age the largest. Together they have goal bytes, or less when all that
// are idle have no more. It returns none when those have less than need bytes: then
// taking them would help nobody. A channel without which the others have enough is left.
func Pick(list []Candidate, need, goal uint64) (picked []int) {
	goal = max(need, goal)
	if goal == 0 {
		return nil
	}
	var order []int
	for i := range list {
		if c := &list[i]; !c.Pinned && c.Idle >= Busy && c.Memory > 0 {
			order = append(order, i)
		}
	}
	slices.SortFunc(order, func(i, j int) int {
		a, b := &list[i], &list[j]
		return cmp.Or(cmp.Compare(b.age(), a.age()), cmp.Compare(b.Memory, a.Memory), cmp.Compare(b.Idle, a.Idle), cmp.Compare(i, j))
	})
	sum := uint64(0)
	for _, i := range order {
		if sum >= goal {
			break
		}
		picked = append(picked, i)
		sum += list[i].Memory
	}
	if sum < need {
		return nil
	}
	for k := len(picked) - 1; k >= 0; k-- {
		if m := list[picked[k]].Memory; sum-m >= goal {
			picked = slices.Delete(picked, k, k+1)
			sum -= m
		}
	}
	return picked
}
