package suites

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/sluice-os/sluice/image/disk"
	"github.com/sluice-os/sluice/qemutest"
)

// diskCase is one way to start a disk.
type diskCase struct{ machine, firmware, bus, format string }

func (c diskCase) String() string {
	return strings.Join([]string{c.machine, c.firmware, c.bus, c.format}, "/")
}

// diskCases holds every value and every pair of machine, firmware, bus and format that goes
// together, or the product. A CD is an ISO.
func diskCases(all bool) (cases []diskCase) {
	for i, machine := range []string{"q35", "pc"} {
		for j, firmware := range []string{"bios", "uefi"} {
			for k, bus := range []string{"ide", "virtio", "usb", "cd"} {
				for l, format := range []string{"raw", "qcow2", "iso"} {
					if bus == "cd" != (format == "iso") && !(bus == "usb" && format == "iso") {
						continue
					}
					c := diskCase{machine, firmware, bus, format}
					// The pattern leaves this one out, and with it what UEFI makes of virtio's disks.
					one := c == diskCase{"pc", "uefi", "virtio", "raw"}
					if all || one || (i+j+k+l)%2 == 0 && (firmware == "bios" || (i+k)%3 == 0) {
						cases = append(cases, c)
					}
				}
			}
		}
	}
	return cases
}

// TestDiskCasesHoldEveryPair: what the product has by twos, the table has.
func TestDiskCasesHoldEveryPair(t *testing.T) {
	pairs := func(cases []diskCase) map[string]bool {
		set := map[string]bool{}
		for _, c := range cases {
			addPairs(set, "machine "+c.machine, "firmware "+c.firmware, "bus "+c.bus, "format "+c.format)
		}
		return set
	}
	holdsAll(t, pairs(diskCases(false)), pairs(diskCases(true)))
}

// diskWith makes a disk of the server in a domain.
func diskWith(t *testing.T, format, options string) string {
	t.Helper()
	return diskOf(t, imageWith(t, "pc", serverDomain(t, "server", []string{"tcp/80"}, nil, "http/80")), format, options)
}

// diskOf makes a disk of an image.
func diskOf(t *testing.T, kernel, format, options string) string {
	t.Helper()
	b, err := os.ReadFile(kernel)
	if err != nil {
		t.Fatal(err)
	}
	name := filepath.Join(t.TempDir(), "disk."+format)
	write := map[string]func(string, disk.Contents) (int64, error){
		"raw": disk.Write, "iso": disk.WriteISO, "qcow2": disk.WriteQCOW2,
	}
	if _, err := write[format](name, disk.Contents{Kernel: b, Options: options}); err != nil {
		t.Fatal(err)
	}
	return name
}

// bothWays moves 20 MiB to and from the server in a domain.
func bothWays(t *testing.T, base string) {
	t.Helper()
	body := make([]byte, transferSize)
	for i := range body {
		body[i] = byte(i % (64 << 10) * 7)
	}
	if got := fetch(t, fmt.Sprintf("%s/bytes/%d", base, len(body))); !bytes.Equal(got, body) {
		t.Errorf("%d bytes came, others than were sent", len(got))
	}
	rand.NewChaCha8([32]byte{20}).Read(body)
	r, err := client.Post(base+"/sum", "", bytes.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	defer r.Body.Close()
	sum, err := io.ReadAll(r.Body)
	if want := fmt.Sprintf("%x", sha256.Sum256(body)); err != nil || string(sum) != want {
		t.Errorf("%v: the sum of what was sent is %s, not %s", err, want, sum)
	}
}

// TestDisks starts disks by each firmware: the options are read, DHCP and HTTP of a domain
// work, 20 MiB go each way, and the machine turns itself off.
func TestDisks(t *testing.T) {
	disks := map[string]string{}
	for _, format := range []string{"raw", "iso", "qcow2"} {
		disks[format] = diskWith(t, format, "# a comment\r\nlog=debug ip6=off # another one\n")
	}
	for _, c := range diskCases(all) {
		t.Run(c.String(), func(t *testing.T) {
			vm := qemutest.Start(t, qemutest.Config{
				Machine: c.machine, Image: disks[c.format], Firmware: c.firmware, Bus: c.bus,
				Memory: 256, Net: qemutest.UserNet, Forward: []string{"tcp/80"},
			})
			vm.Seen(t, "sluice: loading ..")
			vm.Seen(t, "dhcp: address acquired")
			vm.Seen(t, "DEBUG")
			vm.Seen(t, "server: serving")
			bothWays(t, "http://"+vm.Forwarded(t, "tcp/80"))
			powerOff(t, vm)
		})
	}
}

// TestBadDisks starts disks that cannot work: the console says what is wrong and what to do.
func TestBadDisks(t *testing.T) {
	good, err := os.ReadFile(diskWith(t, "raw", ""))
	if err != nil {
		t.Fatal(err)
	}
	const fat = 2 << 20
	replaced := func(old, new string) func([]byte) {
		return func(b []byte) {
			i := bytes.Index(b[fat:], []byte(old))
			if i < 0 {
				t.Fatalf("%q is not on the disk", old)
			}
			copy(b[fat+i:], new)
		}
	}
	flipped := func(b []byte) {
		i := bytes.Index(b[fat:], []byte("\x7fELF"))
		if i < 0 {
			t.Fatal("no kernel on the disk")
		}
		b[fat+i+5<<20] ^= 4
	}
	// What the image is said to need: 64 MiB and itself, by UEFI 128 MiB and itself twice.
	entry := fat + bytes.Index(good[fat:], []byte("SLUICE  ELF"))
	size := int(binary.LittleEndian.Uint32(good[entry+28:])>>20) + 1
	enough, enoughUEFI := 64+size, 128+2*size
	const (
		again    = "write the image again"
		damaged  = "sluice: SLUICE.ELF is damaged or no image for this machine: copy it again"
		noKernel = "sluice: no SLUICE.ELF on the disk's FAT partition: copy it there, or " + again
		oneBit   = "sluice: cannot start: the image is damaged: write it again"
	)
	small := func(enough int) string {
		return fmt.Sprintf("sluice: too little memory: the image does not fit: give the machine %d MiB or more", enough)
	}
	// shown is whether the screen can be read, too: what UEFI writes has letters of its own.
	for _, c := range []struct {
		name, firmware, want string
		memory               int
		shown                bool
		change               func([]byte)
	}{
		{"no loader", "bios", "sluice: the image on this disk is damaged: write it again", 128, true, func(b []byte) { clear(b[1<<20:][:512]) }},
		{"no file system", "bios", "sluice: the disk's FAT partition is damaged: " + again, 128, true, func(b []byte) { clear(b[fat:][:512]) }},
		{"no kernel", "bios", noKernel, 128, true, replaced("SLUICE  ELF", "SLUICE  OLD")},
		{"no kernel", "uefi", noKernel, 256, false, replaced("SLUICE  ELF", "SLUICE  OLD")},
		{"damaged kernel", "bios", damaged, 128, true, replaced("\x7fELF", "\x7fOUR")},
		{"damaged kernel", "uefi", damaged, 256, false, replaced("\x7fELF", "\x7fOUR")},
		{"one bit", "bios", oneBit, 128, true, flipped},
		{"one bit", "uefi", oneBit, 256, true, flipped},
		{"no options and no card", "bios", noCard, 128, true, replaced("SLUICE  TXT", "SLUICE  OLD")},
		{"no options and no card", "uefi", noCard, 256, true, replaced("SLUICE  TXT", "SLUICE  OLD")},
		{"small machine", "bios", small(enough), 16, true, func([]byte) {}},
		{"small machine", "uefi", small(enoughUEFI), 48, false, func([]byte) {}},
		{"machine that is as told", "bios", noCard, enough, false, func([]byte) {}},
		{"machine that is as told", "uefi", noCard, enoughUEFI, false, func([]byte) {}},
	} {
		t.Run(c.name+"/"+c.firmware, func(t *testing.T) {
			b := bytes.Clone(good)
			c.change(b)
			name := filepath.Join(t.TempDir(), "disk.raw")
			if err := os.WriteFile(name, b, 0o644); err != nil {
				t.Fatal(err)
			}
			config := qemutest.Config{Machine: "q35", Image: name, Firmware: c.firmware, Memory: c.memory, Unchecked: true}
			if c.shown {
				config.Extra, config.NoExit = []string{"-device", "VGA"}, true
			}
			vm := qemutest.Start(t, config)
			vm.Seen(t, c.want+"\n")
			if strings.Contains(vm.Output(), "option ignored") {
				t.Error("options come from nowhere")
			}
			if !c.shown {
				return
			}
			if c.want == noCard {
				vm.Seen(t, qemutest.Prompt) // until then the kernel writes
			}
			isOn(t, picture(t, vm, c.firmware), c.want)
		})
	}
}

// TestLongOptions: of a text that is too long the words count that are whole, and the console
// says so.
func TestLongOptions(t *testing.T) {
	const most = 4095
	words := "log=warn " + strings.Repeat("#", most) + "\n"
	last := " qdisc=fifo ip6=off"
	words = words[:most-len(last)-1] + "\n" + last
	name := diskWith(t, "raw", words)
	b, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	// The file's last cluster has room for one byte more, which makes another word of the last.
	const fat = 2 << 20
	entry, text := bytes.Index(b[fat:], []byte("SLUICE  TXT")), bytes.Index(b[fat:], []byte(last))
	if entry < 0 || text < 0 {
		t.Fatal("no options on the disk")
	}
	binary.LittleEndian.PutUint32(b[fat+entry+28:], most+1)
	b[fat+text+len(last)] = 'x'
	if err := os.WriteFile(name, b, 0o644); err != nil {
		t.Fatal(err)
	}
	for _, firmware := range []string{"bios", "uefi"} {
		t.Run(firmware, func(t *testing.T) {
			vm := qemutest.Start(t, qemutest.Config{Machine: "q35", Image: name, Firmware: firmware, Memory: 256})
			vm.Seen(t, "SLUICE.TXT has more than 4095 bytes")
			vm.Seen(t, "no network card")
			if text := vm.Output(); strings.Contains(text, "option ignored") || strings.Contains(text, "INFO") {
				t.Error("the words are not those before the cut")
			}
		})
	}
}

// TestDamagedOptions: of a text that is damaged the words before the damage count, and the
// console says what to do. Nothing of it keeps the machine from starting.
func TestDamagedOptions(t *testing.T) {
	const text = "before=word qdisc=fifo later=word ip6=off\n"
	good, err := os.ReadFile(diskWith(t, "raw", text))
	if err != nil {
		t.Fatal(err)
	}
	const fat = 2 << 20
	entry, at := fat+bytes.Index(good[fat:], []byte("SLUICE  TXT")), fat+bytes.Index(good[fat:], []byte(text))
	if entry < fat || at < fat {
		t.Fatal("no options on the disk")
	}
	// first makes the text begin in a cluster.
	first := func(b []byte, cluster uint32) {
		binary.LittleEndian.PutUint16(b[entry+20:], uint16(cluster>>16))
		binary.LittleEndian.PutUint16(b[entry+26:], uint16(cluster))
	}
	for _, c := range []struct {
		name   string
		change func(b []byte)
		words  bool // those up to qdisc=fifo count
		later  bool // and the one behind them
	}{
		{"NUL", func(b []byte) { b[at+len("before=word qdisc=fifo later=word")] = 0 }, true, false},
		{"NUL behind", func(b []byte) { b[at+len(text)-1] = 0 }, true, true},
		{"garbage", func(b []byte) { rand.NewChaCha8([32]byte{5}).Read(b[at:][:len(text)]) }, false, false},
		{"first byte", func(b []byte) { b[at] = 1 }, false, false},
		{"no first cluster", func(b []byte) { first(b, 0) }, false, false},
		{"first cluster behind the disk", func(b []byte) { first(b, 0x0abcdef0) }, false, false},
		{"first cluster's chain ends early", func(b []byte) {
			binary.LittleEndian.PutUint32(b[entry+28:], 2048)
			for i := range 512 - len(text) {
				b[at+len(text)+i] = ' '
			}
		}, true, true},
	} {
		for _, firmware := range []string{"bios", "uefi"} {
			t.Run(c.name+"/"+firmware, func(t *testing.T) {
				b := bytes.Clone(good)
				c.change(b)
				name := filepath.Join(t.TempDir(), "disk.raw")
				if err := os.WriteFile(name, b, 0o644); err != nil {
					t.Fatal(err)
				}
				vm := qemutest.Start(t, qemutest.Config{
					Machine: "q35", Image: name, Firmware: firmware, Memory: 256, Extra: []string{"-device", "VGA"},
				})
				vm.ExpectRegexp(t, `ERROR SLUICE\.TXT is damaged: write it again`)
				vm.Seen(t, "no network card")
				// The firmware's driver gives nothing of a chain that is cut.
				words := c.words && (firmware == "bios" || !strings.Contains(c.name, "chain"))
				shown := vm.Output()
				for word, want := range map[string]bool{"before": words, "later": words && c.later} {
					if got := strings.Contains(shown, `option ignored problem="\"`+word+`=word`); got != want {
						t.Errorf("%s=word counts: %v, want %v", word, got, want)
					}
				}
				if !words && strings.Contains(shown, "option ignored") {
					t.Error("options come from nowhere")
				}
				vm.Seen(t, qemutest.Prompt)
				isOn(t, picture(t, vm, firmware), "ERROR SLUICE.TXT is damaged: write it again")
				powerOff(t, vm)
			})
		}
	}
}
