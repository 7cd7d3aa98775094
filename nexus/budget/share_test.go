package budget_test

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/sluice-os/sluice/nexus/budget"
	"github.com/sluice-os/sluice/nexus/pool"
)

// claim is floor, need, held and want, in that order.
func claim(weight int, n ...int) budget.Claim {
	return budget.Claim{Weight: weight, Use: pool.Use{Floor: n[0], Need: n[1], Held: n[2], Want: n[3]}}
}

func share(limit int, claims ...budget.Claim) []int {
	out := make([]int, len(claims))
	budget.Share(limit, claims, out)
	return out
}

func TestShare(t *testing.T) {
	for name, c := range map[string]struct {
		limit  int
		claims []budget.Claim
		want   []int
	}{
		"nobody":                         {100, nil, []int{}},
		"enough for all":                 {1000, []budget.Claim{claim(1, 10, 50, 100, 100), claim(1, 10, 100, 100, 300)}, []int{100, 300}},
		"what is not used goes first":    {200, []budget.Claim{claim(1, 10, 10, 150, 150), claim(1, 10, 50, 50, 150)}, []int{50, 150}},
		"and only as much as is missing": {200, []budget.Claim{claim(1, 10, 10, 150, 150), claim(1, 10, 50, 50, 80)}, []int{120, 80}},
		"all of what is not used, from two": {200, []budget.Claim{claim(1, 10, 20, 100, 100), claim(1, 10, 40, 100, 100), claim(1, 10, 10, 10, 140)},
			[]int{20, 40, 140}},
		"the rest by weight": {200, []budget.Claim{claim(1, 0, 0, 100, 100), claim(3, 0, 0, 100, 100), claim(1, 0, 0, 0, 100)}, []int{25, 75, 100}},
		"both use all of it": {200, []budget.Claim{claim(1, 0, 150, 150, 150), claim(1, 0, 50, 50, 300)}, []int{100, 100}},
		"by weight":          {200, []budget.Claim{claim(1, 0, 150, 150, 150), claim(3, 0, 50, 50, 300)}, []int{50, 150}},
		"who is within its part keeps what it uses": {300, []budget.Claim{claim(1, 0, 80, 80, 80), claim(1, 0, 100, 100, 900), claim(1, 0, 120, 120, 120)}, []int{80, 110, 110}},
		"floors come first":                         {100, []budget.Claim{claim(1, 60, 60, 60, 60), claim(9, 30, 30, 30, 500)}, []int{60, 40}},
		"more floors than there is":                 {100, []budget.Claim{claim(1, 80, 80, 80, 80), claim(1, 60, 60, 60, 90)}, []int{80, 60}},
		"what cannot be divided":                    {100, []budget.Claim{claim(1, 0, 0, 0, 99), claim(1, 0, 0, 0, 99), claim(1, 0, 0, 0, 99)}, []int{34, 33, 33}},
	} {
		if got := share(c.limit, c.claims...); !slices.Equal(got, c.want) {
			t.Errorf("%s: %v, want %v", name, got, c.want)
		}
	}
}

// TestShareIsFair tries claims at random: what is given out is all there is or all that is
// claimed, nobody is outside of its bounds, what is in use comes before what is not, and
// of two whose claims are not met none has more by weight than the other.
func TestShareIsFair(t *testing.T) {
	r := rand.New(rand.NewPCG(3, 4))
	for range 20000 {
		limit := r.IntN(1 << r.IntN(30))
		var claims []budget.Claim
		for range r.IntN(20) {
			floor := r.IntN(100)
			held := floor + r.IntN(1<<r.IntN(24))
			c := claim(1+r.IntN(1<<r.IntN(13)), floor, floor+r.IntN(held-floor+1), held, held)
			if r.IntN(3) == 0 {
				c.Want, c.Need = held+1+r.IntN(held+1), held
			}
			claims = append(claims, c)
		}
		out := share(limit, claims...)
		if why := unfair(limit, claims, out); why != "" {
			t.Fatalf("%d bytes for %+v: %v: %s", limit, claims, out, why)
		}
	}
}

func unfair(limit int, claims []budget.Claim, out []int) string {
	floors, most, sum, needs := 0, 0, 0, true
	first := make([]int, len(claims)) // the mark of the first step
	for i, c := range claims {
		first[i] = c.Need
		if c.Want > c.Held {
			first[i] = c.Want
		}
		floors, most, sum = floors+c.Floor, most+max(c.Held, c.Want), sum+out[i]
		needs = needs && out[i] >= first[i]
		if out[i] < c.Floor || out[i] > max(c.Held, c.Want) {
			return fmt.Sprintf("claim %d is out of its bounds", i)
		}
	}
	if sum != max(floors, min(limit, most)) {
		return fmt.Sprintf("%d are given out", sum)
	}
	for i, c := range claims {
		if !needs && out[i] > first[i] {
			return fmt.Sprintf("claim %d keeps what it does not use, and others want", i)
		}
		if out[i] >= max(c.Held, c.Want) || !needs && out[i] >= first[i] {
			continue
		}
		for k, d := range claims {
			if needs && out[k] <= first[k] { // it has what it needs
				continue
			}
			base := func(i int) int {
				if needs {
					return first[i]
				}
				return claims[i].Floor
			}
			// Less than a byte by weight, for each round.
			mine, its := (out[i]-base(i))*d.Weight, (out[k]-base(k))*c.Weight
			if slack := (len(claims) + 2) * (c.Weight + d.Weight); its > mine+slack && out[k] > base(k) {
				return fmt.Sprintf("claim %d has more than its part beside claim %d", k, i)
			}
		}
	}
	return ""
}

// TestShareTerminates has the worst case of rounds: each fills one claim.
func TestShareTerminates(t *testing.T) {
	var claims []budget.Claim
	for i := range 512 {
		claims = append(claims, claim(1, 0, 0, 0, (i+1)*1000))
	}
	if why := unfair(1<<40, claims, share(1<<40, claims...)); why != "" {
		t.Error(why)
	}
	if n := testing.AllocsPerRun(10, func() { budget.Share(1<<26, claims, make([]int, 0, 512)[:512]) }); n > 1 {
		t.Errorf("%v allocations", n)
	}
}
