package flow

import "github.com/sluice-os/sluice/nexus/packet"

// This file owns which parts of a key count.

// Mask says by which parts of its key a flow is found. The protocol always counts.
type Mask uint8

// The masks, from the most to the least specific.
const (
	Tuple5        Mask = iota // all
	Tuple4                    // all but the remote address
	Tuple3                    // IP version, local address
	Tuple2Version             // IP version: a wildcard of IPv4 or IPv6 alone
	Tuple2                    // nothing else: a wildcard of both versions
	Protocol                  // not even the port: all of a protocol
	maskCount
)

var maskNames = [maskCount]string{"5-tuple", "4-tuple", "3-tuple", "2-tuple of a version", "2-tuple", "protocol"}

// String is the mask's name.
func (m Mask) String() string {
	if m < maskCount {
		return maskNames[m]
	}
	return "unknown"
}

// apply returns a key without what does not count.
func (m Mask) apply(k packet.Key) packet.Key {
	m.clear(&k)
	return k
}

// clear clears what does not count in a key.
func (m Mask) clear(k *packet.Key) {
	if m >= Tuple4 {
		k.Remote = [16]byte{}
	}
	if m >= Tuple3 {
		k.RemotePort = 0
	}
	if m >= Tuple2Version {
		k.Local = [16]byte{}
	}
	if m >= Tuple2 {
		k.Version = 0
	}
	if m >= Protocol {
		k.LocalPort = 0
	}
}
