package forge

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"net"
	"net/netip"
)

// This file owns what may be on the wire.

// Frame puts an Ethernet header of the machine's card in front of a packet, as the kernel
// does: what must not be seen is made with it, to show that it would be.
func Frame(mac net.HardwareAddr, packet []byte) []byte {
	kind := []byte{0x08, 0x00}
	if len(packet) > 0 && packet[0]>>4 == 6 {
		kind = []byte{0x86, 0xdd}
	}
	return bytes.Join([][]byte{{2, 0, 0, 0, 0, 2}, mac, kind, packet}, nil)
}

// Forged says why a frame that the machine's card has sent must not be; "" that it may. It
// knows nothing of who sent it: the machine sends from its own addresses, and nobody but a
// hostile domain uses the marks of this package.
func Forged(mac net.HardwareAddr, frame []byte) string {
	if len(frame) < 14 {
		return "shorter than an Ethernet header"
	}
	kind, b := binary.BigEndian.Uint16(frame[12:]), frame[14:]
	switch {
	case !bytes.Equal(frame[6:12], mac):
		return fmt.Sprintf("from the card %v", net.HardwareAddr(frame[6:12]))
	case bytes.Contains(b, []byte(Mark)):
		return "marked as forged"
	case kind == 0x0806:
		if len(b) < 28 || !bytes.Equal(b[8:14], mac) {
			return "ARP that names another card"
		}
		if a := netip.AddrFrom4([4]byte(b[14:18])); a != Machine && !a.IsUnspecified() {
			return "ARP that names another address"
		}
	case kind == 0x0800 && len(b) >= 20:
		if a := netip.AddrFrom4([4]byte(b[12:16])); a != Machine && !a.IsUnspecified() {
			return fmt.Sprintf("from %v", a)
		}
		if b[8] == forgedTTL {
			return "with the hop limit of what is forged"
		}
	case kind == 0x86dd && len(b) >= 40:
		a := netip.AddrFrom16([16]byte(b[8:24]))
		if own := card(mac); !a.IsUnspecified() && [8]byte(b[16:24]) != own {
			return fmt.Sprintf("from %v", a)
		}
		if b[7] == forgedTTL {
			return "with the hop limit of what is forged"
		}
	default:
		return fmt.Sprintf("of type %#x, %d bytes", kind, len(frame))
	}
	return ""
}

// card is the lower half of the IPv6 addresses that a card makes (RFC 4291, appendix A).
func card(mac net.HardwareAddr) [8]byte {
	return [8]byte{mac[0] ^ 2, mac[1], mac[2], 0xff, 0xfe, mac[3], mac[4], mac[5]}
}

// Twin says whether a frame is one of Twins.
func Twin(frame []byte) bool {
	return len(frame) > 34 && frame[12] == 0x08 && frame[13] == 0 && frame[22] == twinTTL
}
