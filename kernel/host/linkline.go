package host

import (
	"context"
	"log/slog"
	"time"
)

// Lines about the link: linkBurst of them in each window, the rest is counted. A device can
// change its link as often as it is looked at.
const (
	linkBurst  = 16
	linkWindow = 10 * time.Second
)

// linkLines are those that were told of late.
type linkLines struct {
	window time.Duration // when it began
	lines  int           // in it
	unsaid int           // since the last line
}

// take reports whether a line is told now, and how many were not since the last one.
func (l *linkLines) take(now time.Duration) (unsaid int, ok bool) {
	if now-l.window >= linkWindow {
		l.window, l.lines = now, 0
	}
	if l.lines == linkBurst {
		l.unsaid++
		return 0, false
	}
	l.lines++
	unsaid, l.unsaid = l.unsaid, 0
	return unsaid, true
}

// tellLink logs what became of the link.
func (c *configurator) tellLink(level slog.Level, what string) {
	unsaid, ok := c.lines.take(c.s.now())
	if !ok {
		return
	}
	args := []any{"name", c.s.cfg.Name}
	if unsaid > 0 {
		args = append(args, "unsaid", unsaid)
	}
	c.s.log.Log(context.Background(), level, what, args...)
}
