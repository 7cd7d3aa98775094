package main

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
)

// open has the pipes that are open, by name.
var open = map[string]*os.File{}

// counted is the first byte of a packet with a number.
const counted = 0xff

// pipes opens a pipe and tells what it receives, writes a text to it, writes so many
// packets with a number and of growing length, or closes it.
func pipes(what, name string, args []string) error {
	f := open[name]
	switch {
	case what == "open":
		f, err := os.OpenFile("/dev/pipe/"+name, os.O_RDWR, 0)
		if err == nil {
			open[name] = f
			go tell(name, f)
		}
		return err
	case f == nil:
		return errors.New("not open")
	case what == "write":
		_, err := io.WriteString(f, strings.Join(args, " "))
		return err
	case what == "flood":
		var n int
		fmt.Sscan(args[0], &n)
		packet := make([]byte, 9000)
		for i := range n {
			packet[0] = counted
			binary.BigEndian.PutUint32(packet[1:], uint32(i))
			if _, err := f.Write(packet[:5+i%len(packet[5:])]); err != nil {
				return err
			}
		}
		return nil
	}
	delete(open, name)
	return f.Close()
}

// tell prints what a pipe receives, and for packets with a number how many came in
// order and with their lengths.
func tell(name string, f *os.File) {
	b := make([]byte, 64<<10)
	next := 0
	for {
		n, err := f.Read(b)
		if err != nil {
			fmt.Printf("pipe %s: %v\n", name, err)
			return
		}
		if b[0] != counted {
			fmt.Printf("pipe %s: %d numbered, got %q\n", name, next, b[:n])
			continue
		}
		if got := int(binary.BigEndian.Uint32(b[1:])); got != next || n != 5+next%8995 {
			fmt.Printf("pipe %s: packet %d of %d bytes instead of %d\n", name, got, n, next)
		}
		next++
	}
}
