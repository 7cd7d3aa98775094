package netns

import "testing"

// TestProtocols (mpprotons): a protocol is one owner's, who may take it again, until it has
// given all of it back.
func TestProtocols(t *testing.T) {
	s := New(Config{})
	take := func(o Owner, proto uint8, want error) {
		t.Helper()
		if err := s.ReserveProtocol(o, proto); err != want {
			t.Errorf("owner %d takes %d: %v, want %v", o, proto, err, want)
		}
	}
	give := func(o Owner, proto uint8, want bool) {
		t.Helper()
		if last := s.ReleaseProtocol(o, proto); last != want {
			t.Errorf("owner %d gives %d back: the last time is %v", o, proto, last)
		}
	}
	for _, proto := range []uint8{TCP, UDP, 1, 2, 58, 0, 43, 44, 60, 59} {
		take(1, proto, ErrProtocol)
	}
	take(1, 89, nil)
	take(1, 89, nil)
	take(2, 89, ErrProtocol)
	take(2, 112, nil)
	give(2, 89, false)
	give(1, 89, false)
	take(2, 89, ErrProtocol)
	give(1, 89, true)
	give(1, 89, false)
	take(2, 89, nil)
	// A domain that ends leaves nothing, and neither does a flow.
	s.ReleaseOwner(2)
	for range 3 {
		take(3, 89, nil)
	}
	take(3, 112, nil)
	s.FreeProtocol(2, 89)
	take(4, 89, ErrProtocol)
	s.FreeProtocol(3, 89)
	take(4, 89, nil)
	take(4, 112, ErrProtocol)
}
