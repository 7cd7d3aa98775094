package host

import (
	"testing"
	"time"
)

// TestLinkLines: a link that changes all the time is told of so often, and then how often it
// was not.
func TestLinkLines(t *testing.T) {
	var l linkLines
	said, unsaid := 0, 0
	const changes = 100_000
	for i := range changes {
		if n, ok := l.take(time.Duration(i) * time.Millisecond); ok {
			said, unsaid = said+1, unsaid+n
		}
	}
	if want := changes / 10_000 * linkBurst; said != want {
		t.Errorf("%d lines in %v, want %d", said, changes*time.Millisecond, want)
	}
	n, ok := l.take(changes * time.Millisecond)
	if said++; !ok || said+unsaid+n != changes+1 {
		t.Errorf("%d lines of %d, %d are counted", said, changes+1, unsaid+n)
	}
}
