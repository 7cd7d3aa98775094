package forge

import (
	"net"
	"testing"
)

// TestForgedIsSeen: each packet that must not leave would be recognised on the wire, and its
// twins would not.
func TestForgedIsSeen(t *testing.T) {
	mac := net.HardwareAddr{0x52, 0x54, 0, 0x12, 0x34, 0x56}
	names := map[string]bool{}
	for _, p := range Forgeries {
		if names[p.Name] || p.Want == "" {
			t.Errorf("%s: not a name of its own, or no reason", p.Name)
		}
		names[p.Name] = true
		if frame := Frame(mac, p.Make(1000)); Forged(mac, frame) == "" {
			t.Errorf("%s would not be seen: % x", p.Name, frame)
		}
	}
	for _, p := range append(Twins, Packet{Make: func(int) []byte { return first() }}) {
		if frame := Frame(mac, p.Make(1000)); Forged(mac, frame) != "" || !Twin(frame) {
			t.Errorf("%s is taken for forged: %s", p.Name, Forged(mac, frame))
		}
	}
	if len(Forgeries) < 30 {
		t.Errorf("%d forgeries", len(Forgeries))
	}
}
