package suites

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"runtime"
	"testing"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/sluice-os/sluice/qemutest"
)

// The taps of TestForwardingOnTaps: the far one is in a network namespace of its own.
const (
	nearTap, farTap   = "tapn", "tapf"
	nearHost, farHost = "10.88.0.1", "10.88.1.1"
)

// addTap makes a tap that carries offload headers.
func addTap(t *testing.T, name string) netlink.Link {
	t.Helper()
	attrs := netlink.NewLinkAttrs()
	attrs.Name = name
	if err := netlink.LinkAdd(&netlink.Tuntap{LinkAttrs: attrs, Mode: netlink.TUNTAP_MODE_TAP, Flags: netlink.TUNTAP_VNET_HDR | netlink.TUNTAP_NO_PI | netlink.TUNTAP_ONE_QUEUE}); err != nil {
		t.Fatalf("no tap, which needs /dev/net/tun: %v", err)
	}
	link, err := netlink.LinkByName(name)
	if err != nil {
		t.Fatal(err)
	}
	return link
}

// joinLink gives an interface its address and a route to the other network, by the machine.
func joinLink(name, own, to, via string) error {
	link, err := netlink.LinkByName(name)
	if err != nil {
		return err
	}
	address, err := netlink.ParseAddr(own + "/24")
	if err != nil {
		return err
	}
	_, net4, err := net.ParseCIDR(to + "/24")
	if err != nil {
		return err
	}
	return errors.Join(netlink.AddrAdd(link, address), netlink.LinkSetUp(link),
		netlink.RouteAdd(&netlink.Route{Dst: net4, Gw: net.ParseIP(via)}))
}

// otherNamespace starts a thread in a namespace of its own, to which do gives work, and returns that
// namespace.
func otherNamespace(t *testing.T) (ns *os.File, do func(func() error)) {
	t.Helper()
	work, done := make(chan func() error), make(chan error)
	go func() {
		runtime.LockOSThread() // for good: the thread ends with this goroutine
		for f := range work {
			done <- f()
		}
	}()
	t.Cleanup(func() { close(work) })
	do = func(f func() error) {
		t.Helper()
		work <- f
		if err := <-done; err != nil {
			t.Fatal(err)
		}
	}
	do(func() (err error) {
		if err = unix.Unshare(unix.CLONE_NEWNET); err == nil {
			ns, err = os.Open("/proc/thread-self/ns/net")
		}
		return err
	})
	t.Cleanup(func() { ns.Close() })
	return ns, do
}

// TestForwardingOnTaps moves 20 MiB each way between two Linux namespaces through the machine. The
// cards offer what those of the other suites do not: checksums and segments are left to them. Large
// frames pass as they are, or are cut where the card that they leave by cannot.
func TestForwardingOnTaps(t *testing.T) {
	if !namespace(t) {
		return
	}
	body := make([]byte, transferSize)
	for i := range body {
		body[i] = byte(i>>9 ^ i)
	}
	for _, c := range []struct {
		name, far string // options of the far card
	}{
		{"large", ""},
		{"cut", ",host_tso4=off,host_tso6=off,csum=off"},
	} {
		t.Run(c.name, func(t *testing.T) {
			near, far := addTap(t, nearTap), addTap(t, farTap)
			defer netlink.LinkDel(near)
			ns, do := otherNamespace(t)
			tap := func(id, name, options string) []string {
				return []string{"-netdev", "tap,id=" + id + ",ifname=" + name + ",script=no,downscript=no,vnet_hdr=on",
					"-device", "virtio-net-pci,netdev=" + id + ",romfile=,disable-legacy=on" + options}
			}
			vm := qemutest.Start(t, qemutest.Config{
				Machine: "q35", Memory: 384, Append: "forward=on ip6=off ip6.eth1=off ip=10.88.0.2/24 ip.eth1=10.88.1.2/24",
				Extra: append(tap("n0", nearTap, ""), tap("n1", farTap, c.far)...),
			})
			vm.Seen(t, qemutest.Prompt)
			if err := netlink.LinkSetNsFd(far, int(ns.Fd())); err != nil {
				t.Fatal(err)
			}
			if err := joinLink(nearTap, nearHost, "10.88.1.0", "10.88.0.2"); err != nil {
				t.Fatal(err)
			}
			var l net.Listener
			do(func() (err error) {
				if err = joinLink(farTap, farHost, "10.88.0.0", "10.88.1.2"); err == nil {
					l, err = net.Listen("tcp", farHost+":80")
				}
				return err
			})
			defer l.Close()
			mux := http.NewServeMux()
			mux.HandleFunc("GET /", func(w http.ResponseWriter, _ *http.Request) { w.Write(body) })
			mux.HandleFunc("POST /", func(w http.ResponseWriter, q *http.Request) {
				got, err := io.ReadAll(q.Body)
				fmt.Fprint(w, err == nil && bytes.Equal(got, body))
			})
			go http.Serve(l, mux)

			before := counters(t, vm)
			client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
			if got := get(t, client, "http://"+farHost+"/"); got != string(body) {
				t.Errorf("%d bytes came, or others", len(got))
			}
			res, err := client.Post("http://"+farHost+"/", "", bytes.NewReader(body))
			if err != nil {
				t.Fatal(err)
			}
			answer, _ := io.ReadAll(res.Body)
			res.Body.Close()
			if string(answer) != "true" {
				t.Errorf("what was sent did not come: %s", answer)
			}
			after := counters(t, vm)
			// Acknowledgements are counted too: fewer than one for two segments.
			segments := uint64(2 * transferSize / 1448)
			if n := after["forward_ipv4"] - before["forward_ipv4"]; n == 0 || n > segments/2 {
				t.Errorf("%d packets were forwarded for 40 MiB, which are %d segments of 1448 bytes: large frames are not used", n, segments)
			}
			if n := after["eth1_host_tx_segmented_software"] - before["eth1_host_tx_segmented_software"]; (n > 0) != (c.name == "cut") {
				t.Errorf("%d packets were cut by the kernel", n)
			}
			for _, name := range []string{"forward_drop_unsendable", "forward_drop_checksum", "forward_drop_too_big"} {
				if n := after[name] - before[name]; n > 0 {
					t.Errorf("%s: %d", name, n)
				}
			}
			vm.Kill()
		})
	}
}
