package gate

// This file owns the reasons for which a gate is closed.

// Reason says what is missing. The zero value says that nothing is.
type Reason uint8

const (
	OK              Reason = iota
	NotHeard               // the neighbour has not been heard
	Disabled4              // the family is off on our link
	Disabled6              //
	NoCarrier              // our link is down
	NoIPv4                 // our link has no address of the family
	NoIPv6                 //
	IPv4Conflict           // another host has our IPv4 address, or that is not known yet
	DADTentative           // our IPv6 address is still looked for on the link
	DADFailed              // another host has it
	MTUBelow1280           // our link cannot carry IPv6
	IPCP                   // PPP has not opened IPv4
	IPv6CP                 // PPP has not opened IPv6
	SingleStackPeer        // the neighbour speaks one family alone
	PeerIPv4               // the neighbour has said no usable address of the family
	PeerIPv6               //
	NoTopology             // there is no topology that both are in
	Hold                   // all is there, but not for long enough
	// ReasonCount is how many there are.
	ReasonCount
)

var reasonNames = [ReasonCount][2]string{
	OK:              {"ok", "nothing is missing"},
	NotHeard:        {"not-heard", "neighbour not heard"},
	Disabled4:       {"ipv4-off", "IPv4 is off on the circuit"},
	Disabled6:       {"ipv6-off", "IPv6 is off on the circuit"},
	NoCarrier:       {"no-carrier", "no carrier"},
	NoIPv4:          {"no-ipv4-address", "no IPv4 address here"},
	NoIPv6:          {"no-ipv6-address", "no IPv6 link-local address here"},
	IPv4Conflict:    {"ipv4-conflict", "IPv4 address here is not known to be ours alone"},
	DADTentative:    {"dad-tentative", "IPv6 address here is tentative"},
	DADFailed:       {"dad-failed", "IPv6 address here is a duplicate"},
	MTUBelow1280:    {"mtu-below-1280", "MTU here is below 1280"},
	IPCP:            {"ipcp-not-opened", "IPCP is not opened"},
	IPv6CP:          {"ipv6cp-not-opened", "IPV6CP is not opened"},
	SingleStackPeer: {"single-stack-peer", "neighbour speaks one family only"},
	PeerIPv4:        {"peer-no-ipv4-address", "neighbour has no usable IPv4 address"},
	PeerIPv6:        {"peer-no-ipv6-address", "neighbour has no usable IPv6 address"},
	NoTopology:      {"no-common-topology", "no topology in common"},
	Hold:            {"hold", "both families work, but not for long enough"},
}

// String is the reason's short name.
func (r Reason) String() string {
	if r < ReasonCount {
		return reasonNames[r][0]
	}
	return "unknown"
}

// Text is the reason in words.
func (r Reason) Text() string {
	if r < ReasonCount {
		return reasonNames[r][1]
	}
	return "unknown"
}
