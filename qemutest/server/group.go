package main

import "net"

// joined echoes what is sent to a group.
func joined(network, group string) error {
	to, err := net.ResolveUDPAddr(network, group)
	if err != nil {
		return err
	}
	c, err := net.ListenMulticastUDP(network, nil, to)
	if err != nil {
		return err
	}
	go echoPackets(c)
	return nil
}

// answer sends a datagram, perhaps to many, again until there is an answer, and returns who has
// answered first.
func answer(network, address string) (from net.Addr, err error) {
	to, err := net.ResolveUDPAddr(network, address)
	if err != nil {
		return nil, err
	}
	c, err := net.ListenPacket(network, ":0")
	if err != nil {
		return nil, err
	}
	defer c.Close()
	err = untilAnswered(c, lostAfter, func() error {
		_, err := c.WriteTo([]byte("who?"), to)
		return err
	}, func() (err error) {
		_, from, err = c.ReadFrom(make([]byte, 100))
		return err
	})
	return from, err
}
