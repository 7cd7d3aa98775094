package suites

import (
	"fmt"
	"io"
	"net/http"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"github.com/sluice-os/sluice/qemutest"
)

// bootCase is one machine to boot.
type bootCase struct {
	machine string
	memory  int // MiB
	net     qemutest.Net
}

func (c bootCase) String() string {
	net := map[qemutest.Net]string{qemutest.RawWire: "wire", qemutest.UserNet: "user"}[c.net]
	return fmt.Sprintf("%s/%dMiB/%s", c.machine, c.memory, net)
}

// bootCases holds every value and every pair of machine, network and size up
// to 512 MiB once, and one boot with 4 GiB; with SLUICE_ALL it is the product.
// What stands in for other monitors has the most memory that its board is said to take.
func bootCases() (cases []bootCase) {
	for _, machine := range []string{"firecracker", "cloudhypervisor"} {
		cases = append(cases, bootCase{machine, 8192, qemutest.UserNet})
	}
	nets := []qemutest.Net{qemutest.RawWire, qemutest.UserNet}
	if all {
		for _, machine := range machines {
			for _, memory := range []int{64, 512, 4096, 8192} {
				for _, net := range nets {
					cases = append(cases, bootCase{machine, memory, net})
				}
			}
		}
		return cases
	}
	for i, machine := range machines {
		for j, memory := range []int{64, 512} {
			cases = append(cases, bootCase{machine, memory, nets[(i+j)%2]})
		}
	}
	return append(cases, bootCase{"q35", 4096, qemutest.UserNet})
}

func TestBootCasesHoldEveryPair(t *testing.T) {
	pairs := map[string]bool{}
	for _, c := range bootCases() {
		pairs[fmt.Sprint(c.machine, c.memory)] = true
		pairs[fmt.Sprint(c.machine, "net", c.net)] = true
		pairs[fmt.Sprint(c.memory, "net", c.net)] = true
	}
	for _, machine := range machines {
		for _, memory := range []int{64, 512} {
			for _, net := range []qemutest.Net{qemutest.RawWire, qemutest.UserNet} {
				for _, pair := range []string{fmt.Sprint(machine, memory), fmt.Sprint(machine, "net", net), fmt.Sprint(memory, "net", net)} {
					if !pairs[pair] {
						t.Errorf("pair %s is missing", pair)
					}
				}
			}
		}
	}
}

// TestBoot boots to the shell and to services that answer, and turns the
// machine off.
func TestBoot(t *testing.T) {
	for _, c := range bootCases() {
		t.Run(c.String(), func(t *testing.T) {
			config := qemutest.Config{Machine: c.machine, Memory: c.memory, Net: c.net}
			if c.net == qemutest.UserNet {
				config.Forward = []string{"tcp/80"}
			}
			vm := start(t, config)
			client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
			if c.net == qemutest.RawWire {
				client = vm.Peer(t, qemutest.PeerConfig{}).HTTP()
			}
			vm.Expect(t, "sluice: version ")
			vm.Seen(t, "network interface")
			vm.Seen(t, "link up")
			vm.Seen(t, "dhcp: address acquired")
			vm.Seen(t, "ready")

			page := "http://10.0.2.15/healthz"
			if c.net == qemutest.UserNet {
				page = "http://" + vm.Forwarded(t, "tcp/80") + "/healthz"
			}
			if body := get(t, client, page); body != "ok\n" {
				t.Errorf("/healthz says %q, want ok", body)
			}
			checkMemory(t, vm, c.memory)
			powerOff(t, vm)
		})
	}
}

// get returns a page or fails the test.
func get(t *testing.T, client *http.Client, url string) string {
	t.Helper()
	response, err := client.Get(url)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	if err != nil {
		t.Fatalf("%s: %v", url, err)
	}
	if response.StatusCode != http.StatusOK {
		t.Fatalf("%s: %s: %s", url, response.Status, body)
	}
	return string(body)
}

// checkMemory asks the kernel how much memory it found: all but the first
// 2 MiB, what the firmware keeps, and the kernel's own image.
func checkMemory(t *testing.T, vm *qemutest.VM, memory int) {
	t.Helper()
	const taken = 24 << 10 // KiB, at most
	text := vm.Command(t, "mem")
	m := regexp.MustCompile(`(?m)^Mem:\s+(\d+)`).FindStringSubmatch(text)
	if m == nil {
		t.Fatalf("mem printed %q, want a line Mem: with a total", text)
	}
	total, err := strconv.Atoi(m[1])
	if want := memory << 10; err != nil || total > want || total < want-taken {
		t.Errorf("mem says %s KiB in total, want %d less up to %d", m[1], want, taken)
	}
}

// powerOff turns the machine off by its shell. Its memory must be accounted for.
func powerOff(t *testing.T, vm *qemutest.VM) {
	t.Helper()
	vm.CheckMemory(t)
	vm.Type(t, "poweroff\n")
	status, reason := vm.Wait(t), "guest-shutdown"
	if strings.Contains(vm.Output(), "power off by=reset") {
		reason = "guest-reset" // which is how it ends
	}
	if status != 0 || vm.Shutdown() != reason {
		t.Errorf("power off ended QEMU with status %d, reason %q; want 0, %s", status, vm.Shutdown(), reason)
	}
}
