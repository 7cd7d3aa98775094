package suites

import (
	"fmt"
	"net/http"
	"net/netip"
	"os"
	"os/exec"
	"regexp"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/sluice-os/sluice/qemutest"
	"github.com/vishvananda/netlink"
)

// inNamespace is set in the process that runs in a network namespace of its own.
const inNamespace = "SLUICE_TEST_NAMESPACE"

// namespace runs the calling test in a new process in a network namespace of
// its own, and reports whether this is that process. Users who are not root get
// a user namespace around it, where the machine allows that.
func namespace(t *testing.T) bool {
	t.Helper()
	if os.Getenv(inNamespace) != "" {
		return true
	}
	// A child with Pdeathsig ends with the thread that has started it, and threads end with other
	// tests' goroutines that are locked to theirs.
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	run := func(flags uintptr) error {
		args := []string{"-test.run=^" + t.Name() + "$", "-test.v"}
		if end, ok := t.Deadline(); ok {
			// A hang ends here, and not with all other tests.
			args = append(args, "-test.timeout="+min(30*time.Minute, time.Until(end)-time.Minute).String())
		}
		cmd := exec.CommandContext(t.Context(), os.Args[0], args...)
		cmd.Env = append(os.Environ(), inNamespace+"=1")
		cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: flags, Pdeathsig: syscall.SIGKILL}
		if flags&syscall.CLONE_NEWUSER != 0 {
			cmd.SysProcAttr.UidMappings = []syscall.SysProcIDMap{{HostID: os.Getuid(), Size: 1}}
			cmd.SysProcAttr.GidMappings = []syscall.SysProcIDMap{{HostID: os.Getgid(), Size: 1}}
		}
		out := new(strings.Builder)
		cmd.Stdout, cmd.Stderr = out, out
		if err := cmd.Start(); err != nil {
			return err
		}
		if err := cmd.Wait(); err != nil {
			t.Errorf("in the namespace: %v\n%s", err, out)
		}
		return nil
	}
	err := run(syscall.CLONE_NEWNET)
	if err != nil {
		err = run(syscall.CLONE_NEWNET | syscall.CLONE_NEWUSER)
	}
	if err != nil {
		t.Skipf("offloads are not tested: a network namespace needs root or user namespaces: %v", err)
	}
	return false
}

const (
	tapName  = "tap0"
	tapHost  = "10.88.0.1/24"
	tapGuest = "10.88.0.2"
)

// openTap makes a tap that carries offload headers, in this namespace.
func openTap(t *testing.T) {
	t.Helper()
	attrs := netlink.NewLinkAttrs()
	attrs.Name = tapName
	tap := &netlink.Tuntap{LinkAttrs: attrs, Mode: netlink.TUNTAP_MODE_TAP, Flags: netlink.TUNTAP_VNET_HDR | netlink.TUNTAP_NO_PI | netlink.TUNTAP_ONE_QUEUE}
	if err := netlink.LinkAdd(tap); err != nil {
		t.Fatalf("no tap, which needs /dev/net/tun: %v", err)
	}
	address, err := netlink.ParseAddr(tapHost)
	if err != nil {
		t.Fatal(err)
	}
	if err := netlink.AddrAdd(tap, address); err != nil {
		t.Fatal(err)
	}
	if err := netlink.LinkSetUp(tap); err != nil {
		t.Fatal(err)
	}
}

// TestOffloadsOnTap moves 20 MiB each way between Linux and the machine over a
// tap, by IPv4 and by IPv6, where the card offers checksum offload and TSO, as
// the unix sockets of the other suites do not. Few large frames show that they
// are used.
func TestOffloadsOnTap(t *testing.T) {
	if !namespace(t) {
		return
	}
	openTap(t)
	openTap6(t)
	for _, c := range []struct{ machine, card string }{
		{"microvm", "virtio-net-device,netdev=n0"},
		{"q35", "virtio-net-pci,netdev=n0,romfile=,disable-legacy=on"},
	} {
		t.Run(c.machine, func(t *testing.T) {
			// One machine at a time has the tap, so this is not start.
			vm := qemutest.Start(t, qemutest.Config{
				Machine: c.machine, Append: "ip=" + tapGuest + "/24 ip6=" + tapGuest6 + "/64",
				Extra: []string{"-netdev", "tap,id=n0,ifname=" + tapName + ",script=no,downscript=no,vnet_hdr=on", "-device", c.card},
			})
			vm.Seen(t, qemutest.Prompt)
			client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
			for _, by := range []struct {
				family, host string
				mss          uint64
			}{{"IPv4", tapGuest, 1448}, {"IPv6", tapGuest6, 1428}} {
				host := netip.MustParseAddr(by.host)
				before := counters(t, vm)
				transfer(t, client, url(host, ""))
				after := counters(t, vm)

				segments := transferSize / by.mss
				for _, name := range []string{"tx_frames", "rx_frames"} {
					if n := after[name] - before[name]; n == 0 || n > segments/2 {
						t.Errorf("%s: %s: %d frames for 20 MiB, which are %d segments of %d bytes: large frames are not used", by.family, name, n, segments, by.mss)
					}
				}
				for _, name := range []string{"host_rx_checksum_software", "host_tx_checksum_software"} {
					if n := after[name] - before[name]; n > segments/100 {
						t.Errorf("%s: %s: %d sums were made in software", by.family, name, n)
					}
				}
			}
			vm.Kill()
		})
	}
}

var counterLine = regexp.MustCompile(`(?m)^(\w+)\s+(\d+)\s*$`)

// counters returns what the command counters prints.
func counters(t *testing.T, vm *qemutest.VM) map[string]uint64 {
	t.Helper()
	values := map[string]uint64{}
	text := vm.Command(t, "counters")
	for _, m := range counterLine.FindAllStringSubmatch(text, -1) {
		n, err := strconv.ParseUint(m[2], 10, 64)
		if err != nil {
			t.Fatal(fmt.Errorf("counters printed %q: %w", m[0], err))
		}
		values[m[1]] = n
	}
	if len(values) == 0 {
		t.Fatalf("counters printed no counter:\n%s", text)
	}
	return values
}
