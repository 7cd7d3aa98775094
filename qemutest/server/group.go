package main

import (
	"net"
	"time"
)

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

// answer sends a datagram, perhaps to many, and returns who has answered first.
func answer(network, address string) (net.Addr, error) {
	to, err := net.ResolveUDPAddr(network, address)
	if err != nil {
		return nil, err
	}
	c, err := net.ListenPacket(network, ":0")
	if err != nil {
		return nil, err
	}
	defer c.Close()
	c.SetDeadline(time.Now().Add(10 * time.Second))
	if _, err := c.WriteTo([]byte("who?"), to); err != nil {
		return nil, err
	}
	_, from, err := c.ReadFrom(make([]byte, 100))
	return from, err
}
