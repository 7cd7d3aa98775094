package suites

import (
	"regexp"
	"strings"
	"testing"

	"github.com/sluice-os/sluice/image/qemu"
	"github.com/sluice-os/sluice/qemutest"
)

// blocked is how many accesses an IOMMU has blocked, for any reason.
func blocked(values map[string]uint64) (n uint64) {
	for name, v := range values {
		if strings.HasPrefix(name, "iommu_fault_") {
			n += v
		}
	}
	return n
}

// TestIOMMU: behind an IOMMU the machine does what it does without, nothing is
// blocked, and what devices can reach is the memory that was taken for them, to the
// byte.
func TestIOMMU(t *testing.T) {
	for _, card := range []string{qemu.CardVirtIO, "e1000", "e1000e"} {
		t.Run(card, func(t *testing.T) { checkIOMMU(t, card) })
	}
}

func checkIOMMU(t *testing.T, card string) {
	vm, peer := startWithPeer(t, qemutest.Config{Machine: "q35", Card: card, IOMMU: true})
	vm.Seen(t, "INFO  iommu registers=0xfed90000")
	if body := get(t, peer.HTTP(), url(peer.Address4(), "/healthz")); body != "ok\n" {
		t.Errorf("/healthz says %q, want ok", body)
	}
	checkTCPEcho(t, vm, peer.Dial, peer.Address4())
	c := counters(t, vm)
	device := regexp.MustCompile(`(?m)^devices\s+(\d+)`).FindStringSubmatch(vm.Command(t, "mem"))
	if device == nil || c["dma_bytes"] != uint64(number(t, device[1]))<<10 || c["dma_bytes"] == 0 {
		t.Errorf("devices reach %d bytes, mem says %q KiB", c["dma_bytes"], device)
	}
	// One lookup for each segment of up to 64 KiB, and none for a frame.
	if c["dma_maps"] == 0 || c["dma_maps"] > 40 || c["rx_frames"] < 100 {
		t.Errorf("%d lookups for %d frames", c["dma_maps"], c["rx_frames"])
	}
	if n := blocked(c); n != 0 {
		t.Errorf("%d accesses were blocked", n)
	}
	if strings.Contains(vm.Output(), "past the IOMMU") {
		t.Error("a device goes past the IOMMU")
	}
	powerOff(t, vm)
}

// TestIOMMUBypass: an IOMMU on the QEMU line does nothing for virtio devices that
// lack an option. They work, and are named with it.
func TestIOMMUBypass(t *testing.T) {
	vm, peer := startWithPeer(t, qemutest.Config{Machine: "q35", Extra: []string{"-device", "intel-iommu"}})
	for _, device := range []string{"pci 00:01.0", "pci 00:02.0"} {
		vm.Seen(t, `past the IOMMU and reaches all of memory: give QEMU's -device the option iommu_platform=on device="`+device+`"`)
	}
	peer.Ping(t, peer.Address4())
	if n := blocked(counters(t, vm)); n != 0 {
		t.Errorf("%d accesses were blocked", n)
	}
}

// TestIOMMUBlocks has the card write a frame into a page that was taken away from
// it, as a bug in its driver would. Behind an IOMMU the write is blocked, counted and
// told, the page stays as it is, and the card works after its reset. The controls
// show that the same write goes through: into a page that the card still has, and
// without an IOMMU.
func TestIOMMUBlocks(t *testing.T) {
	// strays leads the card astray, has it receive frames until it works again, and
	// returns how many bytes of the page were written.
	strays := func(t *testing.T, vm *qemutest.VM, peer *qemutest.Peer, how, mark string) int {
		t.Helper()
		from := len(vm.Output())
		// All but those that hold a frame which is being read.
		if text := vm.Command(t, "fault "+how); !regexp.MustCompile(`2\d\d receive buffers lie at bus address 0x[0-9a-f]+`).MatchString(text) {
			t.Fatalf("fault %s printed %q", how, text)
		}
		peer.Ping(t, peer.Address4())
		if mark != "" {
			vm.Times(t, from, mark, 1)
		}
		vm.Times(t, from, `virtio-net device is reset`, 1)
		written := regexp.MustCompile(`(\d+) bytes of the page were written`).FindStringSubmatch(vm.Command(t, "fault stray-look"))
		if written == nil {
			t.Fatal("fault stray-look printed no number")
		}
		return number(t, written[1])
	}
	t.Run("IOMMU", func(t *testing.T) {
		vm, peer := startWithPeer(t, qemutest.Config{Machine: "q35", IOMMU: true})
		if n := strays(t, vm, peer, "stray-mapped", ""); n == 0 {
			t.Error("the control: nothing was written into a page that the card has")
		}
		before := counters(t, vm)
		if n := blocked(before); n != 0 {
			t.Errorf("%d accesses were blocked before", n)
		}
		mark := `WARN  iommu: access blocked device="pci 00:01.0" access=write address=0x1[0-9a-f]{8} reason=write_denied`
		if n := strays(t, vm, peer, "stray", mark); n != 0 {
			t.Errorf("%d bytes were written into a page that was taken away", n)
		}
		c := counters(t, vm)
		if c["iommu_fault_write_denied"] == 0 || blocked(c) != c["iommu_fault_write_denied"] {
			t.Errorf("%d writes were denied, %d accesses blocked", c["iommu_fault_write_denied"], blocked(c))
		}
		// The driver is told, by the IOMMU or by the card, or finds first that nothing was written.
		resets := uint64(0)
		for _, why := range []string{"reset_blocked", "reset_needs_reset", "reset_buffer_count"} {
			resets += c[why] - before[why]
		}
		if resets == 0 || c["stopped"] != 0 {
			t.Errorf("%d resets, stopped %d", resets, c["stopped"])
		}
		if body := get(t, peer.HTTP(), url(peer.Address4(), "/healthz")); body != "ok\n" {
			t.Errorf("/healthz says %q, want ok", body)
		}
		if text := vm.Command(t, "dmesg"); !strings.Contains(text, "iommu: access blocked") {
			t.Error("dmesg does not show what was blocked")
		}
		powerOff(t, vm)
	})
	// Intel's cards write on when one write is blocked: nothing of the page, and the
	// driver is told.
	for _, card := range []string{"e1000", "e1000e"} {
		t.Run("IOMMU "+card, func(t *testing.T) {
			vm, peer := startWithPeer(t, qemutest.Config{Machine: "q35", Card: card, IOMMU: true})
			from := len(vm.Output())
			if text := vm.Command(t, "fault stray"); !strings.Contains(text, "receive buffers lie at bus address") {
				t.Fatalf("fault stray printed %q", text)
			}
			peer.Ping(t, peer.Address4())
			vm.Times(t, from, `WARN  iommu: access blocked device="pci 00:01.0" access=write address=0x1[0-9a-f]{8} reason=write_denied`, 1)
			vm.Times(t, from, `e1000 device is reset`, 1)
			if text := vm.Command(t, "fault stray-look"); !regexp.MustCompile(`\b0 bytes of the page were written`).MatchString(text) {
				t.Errorf("fault stray-look printed %q", text)
			}
			c := counters(t, vm)
			if c["iommu_fault_write_denied"] == 0 || blocked(c) != c["iommu_fault_write_denied"] || c["reset_blocked"] == 0 || c["stopped"] != 0 {
				t.Errorf("%d writes were denied, %d accesses blocked, %d resets", c["iommu_fault_write_denied"], blocked(c), c["reset_blocked"])
			}
			powerOff(t, vm)
		})
	}
	for name, c := range map[string]qemutest.Config{
		"no IOMMU":       {Machine: "q35"},
		"IOMMU off":      {Machine: "q35", IOMMU: true, Append: "iommu=off"},
		"past the IOMMU": {Machine: "q35", Extra: []string{"-device", "intel-iommu"}},
	} {
		t.Run(name, func(t *testing.T) {
			vm, peer := startWithPeer(t, c)
			if n := strays(t, vm, peer, "stray", ""); n == 0 {
				t.Error("nothing was written")
			}
		})
	}
}
