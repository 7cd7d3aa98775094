package suites

// What a capture of the tap says about the frames on it.

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
)

// capturing is a dumpcap that writes all frames of the tap to a file.
type capturing struct {
	path   string
	cmd    *exec.Cmd
	output *bufio.Reader
}

// capture starts to write the frames of the tap to a file.
func capture(t *testing.T) *capturing {
	t.Helper()
	path := filepath.Join(t.TempDir(), "tap.pcap")
	cmd := program(t, t.Context(), "dumpcap", "-q", "-P", "-B", "256", "-i", tapName, "-w", path)
	output, err := cmd.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	c := &capturing{path, cmd, bufio.NewReader(output)}
	c.until(t, "File: ")
	return c
}

// until reads what dumpcap says, up to the line that begins so.
func (c *capturing) until(t *testing.T, begin string) string {
	t.Helper()
	var said strings.Builder
	for {
		line, err := c.output.ReadString('\n')
		said.WriteString(line)
		if strings.HasPrefix(line, begin) {
			return line
		}
		if err != nil {
			t.Fatalf("dumpcap: %v: %s", err, said.String())
		}
	}
}

// end ends the capture, which must have lost nothing, and returns its file.
func (c *capturing) end(t *testing.T) string {
	t.Helper()
	if err := c.cmd.Process.Signal(syscall.SIGINT); err != nil {
		t.Fatal(err)
	}
	line := c.until(t, "Packets received/dropped on interface")
	var received, dropped int
	if _, err := fmt.Sscanf(line[strings.LastIndex(line, "': ")+3:], "%d/%d", &received, &dropped); err != nil || received == 0 || dropped != 0 {
		t.Errorf("dumpcap: %s", line)
	}
	if err := c.cmd.Wait(); err != nil {
		t.Errorf("dumpcap: %v", err)
	}
	return c.path
}

// summed are the protocols whose checksums tshark looks at.
var summed = []string{"ip", "tcp", "udp", "icmp", "icmpv6"}

// verdict is what tshark says about a capture.
type verdict struct {
	good map[string]int // frames of the image with a good checksum, by protocol
	bad  map[int]string // frames by number, and what is wrong with them
}

// examine has tshark look at each frame's form and at the checksums of those that
// come from the image. Linux' own are left out: where a sum of TCP is 0 it may
// write 0xffff, which is as right for who receives it and wrong for tshark.
func examine(t *testing.T, path, image string) verdict {
	t.Helper()
	args := []string{"-n", "-r", path}
	for _, p := range []string{"ip.check_checksum", "tcp.check_checksum", "udp.check_checksum"} {
		args = append(args, "-o", p+":TRUE")
	}
	// Streams of numbers to ports that may be those of some protocol.
	args = append(args, "-d", "tcp.port==5201,data", "-d", "udp.port==5201,data")
	// What is sealed: tshark loses the records' beginnings where segments are sent twice.
	args = append(args, "-d", "tcp.port==443,data")
	args = append(args, "-T", "fields", "-E", "separator=/t", "-e", "frame.number", "-e", "eth.src", "-e", "frame.protocols", "-e", "_ws.malformed")
	for _, p := range summed {
		args = append(args, "-e", p+".checksum.status")
	}
	out, err := stock(t, "tshark", args...).Output()
	if err != nil {
		t.Fatalf("tshark: %v: %s", err, out)
	}
	v := verdict{good: map[string]int{}, bad: map[int]string{}}
	for line := range strings.Lines(string(out)) {
		words := strings.Split(strings.TrimSuffix(line, "\n"), "\t")
		if len(words) != 4+len(summed) {
			t.Fatalf("tshark printed %q", line)
		}
		n := number(t, words[0])
		if words[3] != "" {
			v.bad[n] = "malformed"
		}
		for i, p := range summed {
			status, _, _ := strings.Cut(words[4+i], ",") // of the outer header
			quoted := (p == "tcp" || p == "udp") && strings.Contains(words[2], ":icmp")
			switch {
			case status == "" || quoted || words[1] != image:
			case status == "1":
				v.good[p]++
			default: // 0 is bad, 2 not looked at, 3 absent
				v.bad[n] = strings.TrimSpace(v.bad[n] + " " + p + " checksum " + status)
			}
		}
		if v.bad[n] != "" {
			v.bad[n] += " in " + words[2] + " of " + words[1]
		}
	}
	return v
}

// The classic format (draft-ietf-opsawg-pcap), as this machine writes it.
const (
	pcapHeader = 24
	pcapRecord = 16
)

// frames reads a capture: the frames as they are in the file, with their headers.
func frames(t *testing.T, path string) (header []byte, records [][]byte) {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	header, b = b[:pcapHeader], b[pcapHeader:]
	for len(b) > 0 {
		end := pcapRecord + int(binary.NativeEndian.Uint32(b[8:]))
		records = append(records, b[:end])
		b = b[end:]
	}
	return header, records
}

// corrupted copies a frame of a capture and changes a byte of it, counted from
// the beginning of the frame or, when negative, from its end.
func corrupted(record []byte, at int) []byte {
	r := bytes.Clone(record)
	if at < 0 {
		at += len(r)
	} else {
		at += pcapRecord
	}
	r[at] ^= 0x04
	return r
}

// catches shows that examine finds each checksum that is wrong and each
// malformed frame: in copies of frames of a capture in which it found nothing,
// each with a byte changed.
func catches(t *testing.T, path, image string) {
	t.Helper()
	mac, err := net.ParseMAC(image)
	if err != nil {
		t.Fatal(err)
	}
	header, records := frames(t, path)
	find := func(what string, match func(f []byte) bool) []byte {
		for _, r := range records {
			if f := r[pcapRecord:]; len(f) > 50 && bytes.Equal(f[6:12], mac) && match(f) {
				return r
			}
		}
		t.Fatalf("the capture has no %s of the image", what)
		return nil
	}
	const (
		ether4, ether6   = 0x0800, 0x86dd
		icmp, tcp, udp   = 1, 6, 17
		icmp6            = 58
		at4, at6         = 14 + 20, 14 + 40 // of the transport's header
		timeToLive       = 14 + 8
		last             = -1
		answersOfMessage = at4 + 8 + 6
	)
	kind := func(f []byte) uint16 { return binary.BigEndian.Uint16(f[12:]) }
	is4 := func(proto byte) func(f []byte) bool {
		return func(f []byte) bool { return kind(f) == ether4 && f[14] == 0x45 && f[23] == proto }
	}
	is6 := func(proto byte) func(f []byte) bool {
		return func(f []byte) bool { return kind(f) == ether6 && f[20] == proto }
	}
	echo := func(f []byte) bool { return is4(udp)(f) && binary.BigEndian.Uint16(f[at4:]) == 7 }
	dns := func(f []byte) bool {
		return is4(udp)(f) && binary.BigEndian.Uint16(f[at4:]) == 53 && f[answersOfMessage+1] == 1
	}
	cases := []struct {
		want   string
		record []byte
	}{
		{"", find("TCP", is4(tcp))},
		{"ip checksum 0", corrupted(find("TCP", is4(tcp)), timeToLive)},
		{"tcp checksum 0", corrupted(find("TCP", is4(tcp)), last)},
		{"udp checksum 0", corrupted(find("UDP", echo), last)},
		{"icmp checksum 0", corrupted(find("ICMP", is4(icmp)), last)},
		{"tcp checksum 0", corrupted(find("TCP over IPv6", is6(tcp)), last)},
		{"udp checksum 0", corrupted(find("UDP over IPv6", is6(udp)), last)},
		{"icmpv6 checksum 0", corrupted(find("ICMPv6", is6(icmp6)), last)},
		{"malformed", corrupted(find("DNS", dns), answersOfMessage+1)},
	}
	all := slices.Clone(header)
	for _, c := range cases {
		all = append(all, c.record...)
	}
	broken := filepath.Join(t.TempDir(), "broken.pcap")
	if err := os.WriteFile(broken, all, 0o644); err != nil {
		t.Fatal(err)
	}
	v := examine(t, broken, image)
	for i, c := range cases {
		if got := v.bad[i+1]; !strings.HasPrefix(got, c.want) || (got == "") != (c.want == "") {
			t.Errorf("frame %d is %q, want %q: %x", i+1, got, c.want, c.record[pcapRecord:])
		}
	}
}
