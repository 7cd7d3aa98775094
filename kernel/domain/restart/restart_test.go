package restart

import (
	"testing"
	"time"
)

func TestPolicies(t *testing.T) {
	for _, c := range []struct {
		policy Policy
		failed bool
		again  bool
	}{
		{Never, true, false}, {Never, false, false},
		{OnFailure, true, true}, {OnFailure, false, false},
		{Always, true, true}, {Always, false, true},
	} {
		b := Backoff{First: time.Second, Most: time.Minute}
		if _, again := b.Next(c.policy, c.failed, 0); again != c.again {
			t.Errorf("%v, failed %v: again %v", c.policy, c.failed, again)
		}
	}
}

func TestBackoffDoublesUpToItsMostAndBeginsAnew(t *testing.T) {
	b := Backoff{First: time.Second, Most: 5 * time.Second}
	for i, c := range []struct{ ran, want time.Duration }{
		{0, time.Second}, {0, 2 * time.Second}, {4 * time.Second, 4 * time.Second},
		{0, 5 * time.Second}, {0, 5 * time.Second},
		{5 * time.Second, time.Second}, {0, 2 * time.Second},
	} {
		if got, _ := b.Next(Always, true, c.ran); got != c.want {
			t.Errorf("restart %d after %v: %v, want %v", i, c.ran, got, c.want)
		}
	}
}

func TestNoBackoff(t *testing.T) {
	var b Backoff
	for range 1000 {
		if d, again := b.Next(Always, true, 0); d != 0 || !again {
			t.Fatal(d, again)
		}
	}
}

func TestNames(t *testing.T) {
	for _, p := range []Policy{Never, OnFailure, Always} {
		if got, ok := Parse(p.String()); !ok || got != p {
			t.Errorf("%v reads back as %v, %v", p, got, ok)
		}
	}
	if _, ok := Parse("sometimes"); ok {
		t.Error("an unknown name was read")
	}
}
