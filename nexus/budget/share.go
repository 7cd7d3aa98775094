// Package budget shares the machine's memory for packets among its channels. While there
// is enough, each takes what it uses; when one gets none, the others are asked for what
// they have more than their share.
package budget

import "github.com/sluice-os/sluice/nexus/pool"

// Claim is what a channel has and wants, and what counts for it.
type Claim struct {
	pool.Use
	Weight int // 1 or more
}

// Share says how many bytes of limit each claim may have, in out. Nobody gets less than
// its floor, nor more than it has or wants. First come the floors, then what is in use or
// wanted, then what is held without use: in each step those whose claim is not met get
// equal parts by weight, so nobody loses what it uses before all have given what they do
// not, and of what they use only who has more than its part. What is given out is the
// limit, or all that is claimed; more only if the floors are.
func Share(limit int, claims []Claim, out []int) {
	left := limit
	for i, c := range claims {
		out[i] = c.Floor
		left -= c.Floor
	}
	for step := range 2 {
		left = pour(left, claims, out, func(c *Claim) int {
			switch {
			case c.Want > c.Held: // it uses all that it has
				return max(c.Want, c.Floor)
			case step == 0:
				return max(c.Need, c.Floor)
			}
			return max(c.Held, c.Floor)
		})
	}
}

// pour adds to out what is left, up to the mark of each claim, by weight, and returns what
// is left then. Each round but the last fills a claim.
func pour(left int, claims []Claim, out []int, mark func(*Claim) int) int {
	for left > 0 {
		weights := 0
		for i := range claims {
			if out[i] < mark(&claims[i]) {
				weights += claims[i].Weight
			}
		}
		if weights == 0 {
			return left
		}
		// Parts of the same water, so that who comes first has no more of it.
		water, filled := left, false
		for i := range claims {
			c := &claims[i]
			m := mark(c)
			if out[i] >= m {
				continue
			}
			part := min(m-out[i], water*c.Weight/weights)
			out[i] += part
			left -= part
			filled = filled || out[i] == m
		}
		if filled {
			continue
		}
		// What the divisions left: less than a byte for each.
		for i := range claims {
			if left > 0 && out[i] < mark(&claims[i]) {
				out[i]++
				left--
			}
		}
		return left
	}
	return left
}
