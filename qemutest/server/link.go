package main

import (
	"fmt"
	"os"
)

// frames sends each frame of an EtherType back to where it came from.
func frames(etherType string) error {
	f, err := os.OpenFile("/dev/link", os.O_RDWR, 0)
	if err != nil {
		return err
	}
	if _, err := f.WriteString(etherType); err != nil {
		f.Close()
		return err
	}
	go func() {
		defer f.Close()
		b := make([]byte, 2000)
		for {
			n, err := f.Read(b)
			if err != nil {
				fmt.Printf("link: %v\n", err)
				return
			}
			copy(b, b[6:12])
			clear(b[6:12])
			if _, err := f.Write(b[:n]); err != nil {
				fmt.Printf("link: %v\n", err)
			}
		}
	}()
	return nil
}
