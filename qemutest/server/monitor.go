package main

import (
	"bytes"
	"fmt"
	"os"
	"strings"
	"unsafe"

	"github.com/sluice-os/sluice/nexus/abi"
)

// watch opens a monitor on what words say and prints a line for each packet that has a
// text in it.
func watch(text string, words []string) error {
	f, err := os.OpenFile("/dev/monitor", os.O_RDWR, 0)
	if err != nil {
		return err
	}
	if _, err := f.WriteString(strings.Join(words, " ")); err != nil {
		f.Close()
		return err
	}
	go func() {
		record := new(abi.Record) // 8-byte aligned
		b := make([]byte, 64<<10)
		for {
			n, err := f.Read(b)
			if err != nil || n < abi.RecordSize {
				fmt.Printf("monitor: %d bytes, %v\n", n, err)
				return
			}
			copy(unsafe.Slice((*byte)(unsafe.Pointer(record)), abi.RecordSize), b)
			data := b[abi.RecordSize:n]
			if at := bytes.Index(data, []byte(text)); at >= 0 {
				way := map[uint16]string{abi.RecordRx: "rx", abi.RecordTx: "tx"}[record.Direction]
				fmt.Printf("monitor: kind %d source %d %s: %q at %d, %d of %d bytes, lost %d\n",
					record.Kind, record.Source, way, text, at, len(data), record.Length, record.Lost)
			}
		}
	}()
	return nil
}
