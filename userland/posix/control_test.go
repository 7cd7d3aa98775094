package posix_test

import (
	"syscall"
	"testing"

	"github.com/sluice-os/sluice/userland/posix"
)

// TestChannelFile: the text is made anew for who reads it from the beginning, and what is
// written is done or refused.
func TestChannelFile(t *testing.T) {
	var written []string
	made := 0
	c := newProcess(t, func(p *posix.Process) {
		if err := p.FS.AddDevice("/proc/sluice/channel", posix.DevChannel, 0o666); err != 0 {
			t.Fatal(err)
		}
		p.Channel = func() []byte { made++; return []byte("text") }
		p.ResizeChannel = func(words string) syscall.Errno {
			if written = append(written, words); words == "bad" {
				return syscall.EINVAL
			}
			return 0
		}
	})
	fd := c.open("/proc/sluice/channel", syscall.O_RDWR)
	for _, want := range []string{"te", "xt", "", ""} {
		if got, err := c.read(fd, 2); got != want || err != 0 {
			t.Errorf("read %q, %v, want %q", got, err, want)
		}
	}
	if n, err := c.write(fd, "rx=8"); n != 4 || err != 0 {
		t.Errorf("wrote %d, %v", n, err)
	}
	if _, err := c.write(fd, "bad"); err != syscall.EINVAL {
		t.Errorf("a bad text: %v", err)
	}
	if made != 1 || len(written) != 2 || written[0] != "rx=8" {
		t.Errorf("made %d times, wrote %q", made, written)
	}
	// Without a channel there is nothing to open.
	c = newProcess(t, func(p *posix.Process) { p.FS.AddDevice("/proc/sluice/channel", posix.DevChannel, 0o666) })
	c.fails(syscall.ENXIO, syscall.SYS_OPENAT, atCwd, str("/proc/sluice/channel"), syscall.O_RDWR, 0)
}
