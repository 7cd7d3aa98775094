// Package dhcp is a DHCPv4 client (RFC 2131, section 4.4) as a state machine:
// it is given messages and the time, and returns what to send and what to do
// with the address. It has no clock, no socket and no goroutine.
//
// It deviates from the RFC in two places, for the sake of the time from power
// on to the first answer: the first DISCOVER goes out without the random delay
// of 4.4.1, and the address is used without probing it by ARP.
package dhcp

import (
	"fmt"
	"math/rand/v2"
	"net"
	"net/netip"
	"time"

	"github.com/insomniacslk/dhcp/dhcpv4"
)

// State is a state of RFC 2131, figure 5.
type State uint8

const (
	Stopped State = iota // the link is down, or the client was not started
	Selecting
	Requesting
	Rebooting // asks for the address it had before the link went down
	Bound
	Renewing
	Rebinding
)

var stateNames = [...]string{"STOPPED", "SELECTING", "REQUESTING", "REBOOTING", "BOUND", "RENEWING", "REBINDING"}

// String returns the RFC's name of the state.
func (s State) String() string {
	if int(s) < len(stateNames) {
		return stateNames[s]
	}
	return fmt.Sprintf("State(%d)", uint8(s))
}

const (
	// retryFirst and retryMax bound the pause between two tries (RFC 2131, 4.1:
	// 4 s, doubled up to 64 s, each randomised by one second up or down).
	// The first pause is shorter: a lost first DISCOVER must not cost 4 s of
	// a boot.
	retryFirst = 1 * time.Second
	retryMax   = 64 * time.Second
	// requestTries is how often one offer, or the old address after a link
	// outage, is asked for before starting over.
	requestTries = 4
	rebootTries  = 2
	// retryRenewMin is the least pause between renewals (RFC 2131, 4.4.5).
	retryRenewMin = 60 * time.Second
)

// Event says what happens to the address.
type Event uint8

const (
	None      Event = iota
	Acquired        // Action.Lease is new, or differs from the one before
	Refreshed       // the same parameters with new times
	Lost            // the address must not be used any more; Action.Reason says why
)

// Action is what the caller does after a call. The zero value: nothing.
type Action struct {
	// Send is a UDP payload from port 68 to port 67; nil for nothing.
	Send []byte
	// Unicast is the server to send to, from the leased address. When it is
	// invalid, Send goes from 0.0.0.0 (or the leased address, if there is one)
	// to 255.255.255.255.
	Unicast netip.Addr

	Event  Event
	Lease  Lease
	Reason string
}

// Client is the state machine of one interface. Times are monotonic and count
// from any fixed moment. The methods must not be called concurrently.
type Client struct {
	mac      net.HardwareAddr
	hostname string
	rand     *rand.Rand

	state    State
	xid      dhcpv4.TransactionID
	offer    *dhcpv4.DHCPv4 // accepted offer, in Requesting
	lease    Lease
	hasLease bool
	granted  time.Duration // when the request that won the lease was first sent
	sent     time.Duration // when the running exchange began
	tries    int
	next     time.Duration // when Timeout is due; Forever: never
	invalid  uint64
}

// NewClient returns a stopped client. The name is sent as option 12, unless
// it is empty. The source gives transaction ids and jitter.
func NewClient(mac [6]byte, hostname string, source rand.Source) *Client {
	return &Client{
		mac:      net.HardwareAddr(mac[:]),
		hostname: hostname,
		rand:     rand.New(source),
		next:     Forever,
	}
}

// State returns the state the client is in.
func (c *Client) State() State { return c.state }

// Next returns when Timeout wants to be called; Forever: not before another
// call changes it.
func (c *Client) Next() time.Duration { return c.next }

// Lease returns the lease in force.
func (c *Client) Lease() (Lease, bool) { return c.lease, c.hasLease }

// Remaining returns how long the lease is still valid: Forever when it has no
// end, 0 when there is none.
func (c *Client) Remaining(now time.Duration) time.Duration {
	switch {
	case !c.hasLease:
		return 0
	case c.lease.Expire == Forever:
		return Forever
	}
	return max(0, c.granted+c.lease.Expire-now)
}

// Invalid returns how many messages were ignored as malformed or not ours.
func (c *Client) Invalid() uint64 { return c.invalid }

// LinkUp starts the client. If a lease from before is still valid, its address
// is asked for again (INIT-REBOOT).
func (c *Client) LinkUp(now time.Duration) Action {
	if c.state != Stopped {
		return Action{}
	}
	if c.hasLease {
		c.begin(Rebooting, now)
		return c.transmit(now)
	}
	return c.discover(now)
}

// LinkDown stops the client. The lease stays in force until it ends.
func (c *Client) LinkDown() {
	c.state = Stopped
	c.next = Forever
	if c.hasLease && c.lease.Expire != Forever {
		c.next = c.granted + c.lease.Expire
	}
}

// Timeout does what is due at now. It may be called early.
func (c *Client) Timeout(now time.Duration) Action {
	if now < c.next {
		return Action{}
	}
	if c.hasLease && c.Remaining(now) == 0 {
		a := c.lose("lease expired")
		if c.state == Stopped {
			c.next = Forever
			return a
		}
		d := c.discover(now)
		a.Send = d.Send
		return a
	}
	switch c.state {
	case Bound:
		c.begin(Renewing, now)
	case Renewing:
		if now >= c.granted+c.lease.Rebind {
			c.begin(Rebinding, now)
		}
	case Requesting:
		if c.tries >= requestTries {
			return c.discover(now)
		}
	case Rebooting:
		if c.tries >= rebootTries {
			// Nobody answers. The address may be used to its end (RFC 2131,
			// 3.2); meanwhile ask every server for it, as at T2.
			c.begin(Rebinding, now)
		}
	case Stopped:
		c.next = Forever
		return Action{}
	}
	return c.transmit(now)
}

// Receive handles the payload of a datagram to port 68.
func (c *Client) Receive(now time.Duration, payload []byte) Action {
	m, err := dhcpv4.FromBytes(payload)
	if err != nil || m.OpCode != dhcpv4.OpcodeBootReply || m.TransactionID != c.xid ||
		m.ClientHWAddr.String() != c.mac.String() || c.state == Stopped || c.state == Bound {
		c.invalid++
		return Action{}
	}
	switch m.MessageType() {
	case dhcpv4.MessageTypeOffer:
		if c.state != Selecting {
			return Action{}
		}
		if _, err := parseLease(m); err != nil {
			c.invalid++
			return Action{}
		}
		xid := c.xid
		c.begin(Requesting, now)
		c.xid = xid // RFC 2131, table 5: the xid of the offer
		c.offer = m
		return c.transmit(now)

	case dhcpv4.MessageTypeAck:
		if c.state == Selecting {
			return Action{} // rapid commit was not asked for
		}
		l, err := parseLease(m)
		if err != nil {
			c.invalid++
			return Action{}
		}
		return c.bind(now, l)

	case dhcpv4.MessageTypeNak:
		if c.state == Selecting {
			return Action{}
		}
		a := Action{}
		if c.hasLease {
			a = c.lose("server refused the address")
		}
		d := c.discover(now)
		if c.offer != nil {
			// A server that refuses what it just offered would be asked in a
			// tight loop: let the timer send the DISCOVER.
			c.offer = nil
			return a
		}
		a.Send = d.Send
		return a
	}
	c.invalid++
	return Action{}
}

// bind takes a lease into use.
func (c *Client) bind(now time.Duration, l Lease) Action {
	same := c.hasLease && l.Address == c.lease.Address && l.Gateway == c.lease.Gateway &&
		l.MTU == c.lease.MTU && fmt.Sprint(l.DNS) == fmt.Sprint(c.lease.DNS)
	c.lease, c.hasLease = l, true
	c.granted = c.sent
	c.state, c.offer = Bound, nil
	c.next = Forever
	if l.Renew != Forever {
		c.next = max(now, c.granted+l.Renew)
	}
	a := Action{Event: Acquired, Lease: l}
	if same {
		a.Event = Refreshed
	}
	return a
}

func (c *Client) lose(reason string) Action {
	a := Action{Event: Lost, Lease: c.lease, Reason: reason}
	c.lease, c.hasLease = Lease{}, false
	return a
}

// begin starts an exchange of messages in state s.
func (c *Client) begin(s State, now time.Duration) {
	c.state = s
	c.tries = 0
	c.sent = now
	v := c.rand.Uint32()
	c.xid = dhcpv4.TransactionID{byte(v), byte(v >> 8), byte(v >> 16), byte(v >> 24)}
}

func (c *Client) discover(now time.Duration) Action {
	c.begin(Selecting, now)
	return c.transmit(now)
}

// transmit builds the message of the present state and sets the next timeout.
func (c *Client) transmit(now time.Duration) Action {
	a := Action{Send: c.message(now)}
	if c.state == Renewing {
		a.Unicast = c.lease.Server
	}
	switch c.state {
	case Renewing:
		c.next = c.retryLease(now, c.granted+c.lease.Rebind)
	case Rebinding:
		c.next = c.retryLease(now, c.granted+c.lease.Expire)
	default:
		c.next = now + c.backoff()
		if c.hasLease && c.lease.Expire != Forever {
			c.next = min(c.next, c.granted+c.lease.Expire)
		}
	}
	c.tries++
	return a
}

// backoff returns the pause after try number c.tries, with jitter.
func (c *Client) backoff() time.Duration {
	pause := min(retryFirst<<min(c.tries, 10), retryMax)
	jitter := min(time.Second, pause/4)
	return pause - jitter + time.Duration(c.rand.Int64N(int64(2*jitter)))
}

// retryLease returns when a renewal is sent again: after half of the time that
// is left until end, not below a minute (RFC 2131, 4.4.5), but not after end.
func (c *Client) retryLease(now, end time.Duration) time.Duration {
	if c.lease.Expire == Forever {
		return now + retryMax
	}
	return min(now+max((end-now)/2, retryRenewMin), end)
}

// message builds what the present state sends (RFC 2131, table 5).
func (c *Client) message(now time.Duration) []byte {
	mods := []dhcpv4.Modifier{
		dhcpv4.WithTransactionID(c.xid),
		dhcpv4.WithHwAddr(c.mac),
		dhcpv4.WithRequestedOptions(
			dhcpv4.OptionSubnetMask, dhcpv4.OptionRouter,
			dhcpv4.OptionDomainNameServer, dhcpv4.OptionInterfaceMTU,
			dhcpv4.OptionRenewTimeValue, dhcpv4.OptionRebindingTimeValue),
		dhcpv4.WithOption(dhcpv4.OptMaxMessageSize(1500)),
		// RFC 4361 asks for more; type 1 and the MAC is what every server knows.
		dhcpv4.WithOption(dhcpv4.OptClientIdentifier(append([]byte{1}, c.mac...))),
	}
	if c.hostname != "" {
		mods = append(mods, dhcpv4.WithOption(dhcpv4.OptHostName(c.hostname)))
	}
	kind := dhcpv4.MessageTypeRequest
	switch c.state {
	case Selecting:
		kind = dhcpv4.MessageTypeDiscover
	case Requesting:
		mods = append(mods,
			dhcpv4.WithOption(dhcpv4.OptRequestedIPAddress(c.offer.YourIPAddr)),
			dhcpv4.WithOption(dhcpv4.OptServerIdentifier(c.offer.ServerIdentifier())))
	case Rebooting:
		mods = append(mods, dhcpv4.WithOption(dhcpv4.OptRequestedIPAddress(c.lease.Address.Addr().AsSlice())))
	case Renewing, Rebinding:
		mods = append(mods, dhcpv4.WithClientIP(c.lease.Address.Addr().AsSlice()))
	}
	mods = append(mods, dhcpv4.WithMessageType(kind))
	m, err := dhcpv4.New(mods...)
	if err != nil {
		// New fails only when the random source of the library does; the
		// message is then lost like a frame, and the timer sends the next.
		return nil
	}
	m.NumSeconds = uint16(min((now-c.sent)/time.Second, 0xffff))
	return m.ToBytes()
}
