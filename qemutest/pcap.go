package qemutest

// A capture file of the wire, in the classic format with nanoseconds
// (draft-ietf-opsawg-pcap, link type 1: Ethernet).

import (
	"bufio"
	"encoding/binary"
	"os"
	"sync"
	"time"
)

const (
	pcapMagic    = 0xa1b23c4d
	pcapEthernet = 1
	// snapLen is how much of a frame is kept, in bytes: headers, and short
	// messages whole.
	snapLen = 1024
	// captureMax bounds the file, in bytes.
	captureMax = 128 << 20
)

// pcapWriter writes frames to a file. An error ends the writing: a capture is
// an aid, and its absence no failure.
type pcapWriter struct {
	path string

	mu   sync.Mutex
	file *os.File
	buf  *bufio.Writer
	size int
}

func newPCAP(path string) (*pcapWriter, error) {
	f, err := os.Create(path)
	if err != nil {
		return nil, err
	}
	p := &pcapWriter{path: path, file: f, buf: bufio.NewWriterSize(f, 64<<10)}
	h := binary.LittleEndian.AppendUint32(nil, pcapMagic)
	h = binary.LittleEndian.AppendUint16(h, 2) // version 2.4
	h = binary.LittleEndian.AppendUint16(h, 4)
	h = append(h, make([]byte, 8)...)
	h = binary.LittleEndian.AppendUint32(h, snapLen)
	h = binary.LittleEndian.AppendUint32(h, pcapEthernet)
	p.buf.Write(h)
	return p, nil
}

// frame adds a frame with the present time.
func (p *pcapWriter) frame(frame []byte) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.buf == nil || p.size > captureMax {
		return
	}
	now := time.Now()
	kept := frame[:min(len(frame), snapLen)]
	var h [16]byte
	binary.LittleEndian.PutUint32(h[0:], uint32(now.Unix()))
	binary.LittleEndian.PutUint32(h[4:], uint32(now.Nanosecond()))
	binary.LittleEndian.PutUint32(h[8:], uint32(len(kept)))
	binary.LittleEndian.PutUint32(h[12:], uint32(len(frame)))
	p.buf.Write(h[:])
	p.buf.Write(kept)
	p.size += len(h) + len(kept)
}

func (p *pcapWriter) close() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.buf != nil {
		p.buf.Flush()
		p.file.Close()
		p.buf = nil
	}
}
