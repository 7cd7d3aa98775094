package main

// Two that write before they read: each is full, and has the other's data in front of it, before
// either takes any.

import (
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"net"
	"sync/atomic"
	"time"
)

// mutualSize is what each side sends, in bytes: more than both ends' buffers and all between take.
const mutualSize = 16 << 20

// mutualStill is how long a writer stands still before it counts as stopped by those who do not read.
const mutualStill = 300 * time.Millisecond

// mutuals exchanges with each who connects.
func mutuals(l net.Listener) {
	for {
		c, err := l.Accept()
		if err != nil {
			return
		}
		go func() { say("mutual", exchangeAll(c)) }()
	}
}

// mutual connects to such a server.
func mutual(address string) error {
	c, err := net.DialTimeout("tcp", address, patience)
	if err != nil {
		return err
	}
	return exchangeAll(c)
}

// exchangeAll sends numbered bytes, reads when it can send no more, and compares what it has read.
func exchangeAll(c net.Conn) error {
	defer c.Close()
	c.SetDeadline(time.Now().Add(patience))
	block := make([]byte, 16<<10)
	for i := range block {
		block[i] = byte(i * 7)
	}
	var sent atomic.Int64
	wrote := make(chan error, 1)
	go func() {
		for sent.Load() < mutualSize {
			n, err := c.Write(block)
			if sent.Add(int64(n)); err != nil {
				wrote <- err
				return
			}
		}
		wrote <- c.(*net.TCPConn).CloseWrite()
	}()
	for last := int64(-1); sent.Load() != last; time.Sleep(mutualStill) {
		last = sent.Load()
	}
	if sent.Load() >= mutualSize {
		return errors.New("all was sent before anything was read: it was never full")
	}
	want, got := crc32.NewIEEE(), crc32.NewIEEE()
	for range mutualSize / len(block) {
		want.Write(block)
	}
	n, err := io.Copy(got, c)
	if err := errors.Join(err, <-wrote); err != nil {
		return err
	}
	if n != mutualSize || got.Sum32() != want.Sum32() {
		return fmt.Errorf("%d bytes came with sum %08x, want %d with %08x", n, got.Sum32(), mutualSize, want.Sum32())
	}
	return nil
}
