package suites

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/sluice-os/sluice/image/build"
	"github.com/sluice-os/sluice/qemutest"
)

// offloadSize is how much each domain of TestChannelOffloads is sent and sends, in bytes.
const offloadSize = 4_000_000

// offloadDomain is one of them: port is that of HTTP, and the next ones of echoes.
type offloadDomain struct {
	name, offloads string
	port           int
}

// TestChannelOffloads has domains that have asked for different offloads exchange data with Linux,
// over a card that has all of them, and with each other. All of it is right; on the cable tshark
// finds each packet whole of the domain that does without, and none of it longer than a frame,
// while the one that has all sends longer ones without sums.
func TestChannelOffloads(t *testing.T) {
	if os.Getenv(inNamespace) == "" {
		absent(t, []string{"dumpcap", "tshark"})
	}
	if !namespace(t) {
		return
	}
	openTap(t)
	domains := []offloadDomain{
		{"plain", "none", 8001}, {"sums", "checksum", 8011}, {"cuts", "checksum segmentation", 8021}, {"joins", "checksum aggregation", 8031}, {"all", "", 8041},
	}
	var programs []build.Program
	for _, d := range domains {
		p := serverDomain(t, d.name, []string{fmt.Sprintf("tcp/%d", d.port), fmt.Sprintf("tcp/%d", d.port+1), fmt.Sprintf("udp/%d", d.port+2)},
			[]string{"tcp/" + tapGuest + ":*"}, fmt.Sprintf("http/%d", d.port), fmt.Sprintf("tcp/%d", d.port+1), fmt.Sprintf("udp/%d", d.port+2))
		p.Env = []string{"SLUICE_OFFLOADS=" + d.offloads}
		p.Quota = 32 << 20
		programs = append(programs, p)
	}
	wrong := serverDomain(t, "wrong", []string{"tcp/8090"}, nil, "tcp/8090")
	wrong.Env = []string{"SLUICE_OFFLOADS=segmentation"}
	programs = append(programs, wrong)
	image := imageWith(t, "microvm", programs...)
	var captured *capturing
	if installed("dumpcap") && installed("tshark") {
		captured = capture(t)
	}
	vm := qemutest.Start(t, qemutest.Config{
		Image: image, Memory: 320, Append: "ip6=off ip=" + tapGuest + "/24",
		Extra: []string{"-netdev", "tap,id=n0,ifname=" + tapName + ",script=no,downscript=no,vnet_hdr=on", "-device", "virtio-net-device,netdev=n0,mac=" + stockMAC},
	})
	vm.Seen(t, `wrong: sluice: SLUICE_OFFLOADS: "segmentation": want checksum too`)
	client := &http.Client{Timeout: clientTime, Transport: &http.Transport{DisableKeepAlives: true}}
	received := map[string]int{}
	for _, d := range domains {
		vm.Seen(t, d.name+": serving")
		base := fmt.Sprintf("http://%s:%d", tapGuest, d.port)
		channel := func() []string {
			at := len(vm.Output())
			vm.Command(t, "domain send "+d.name+" channel")
			return vm.Times(t, at, d.name+`: channel .*"offloads":\[([^]]*)\].*"rx_packets":(\d+)`, 1)
		}
		body := offloadBody()
		fetchAll(t, client, base, body)
		echoes(t, "tcp", fmt.Sprintf("%s:%d", tapGuest, d.port+1))
		echoes(t, "udp", fmt.Sprintf("%s:%d", tapGuest, d.port+2))
		// Of what it is sent only: its own segments are acknowledged by packets too.
		said := channel()
		sendAll(t, client, base, body)
		received[d.name] = number(t, channel()[2]) - number(t, said[2])
		want := map[string]string{"none": "", "": "checksum segmentation aggregation"}
		words, other := strings.ReplaceAll(strings.ReplaceAll(said[1], `"`, ""), ",", " "), d.offloads
		if w, ok := want[other]; ok {
			other = w
		}
		if words != other {
			t.Errorf("%s has asked for %q and has %q", d.name, d.offloads, words)
		}
	}
	t.Logf("packets that have come: %v", received)
	const segments = offloadSize / 1460
	for _, d := range domains {
		if joined := received[d.name] < segments/2; joined != (strings.Contains(d.offloads, "aggregation") || d.offloads == "") {
			t.Errorf("%s: %d packets have come, of %d segments at least", d.name, received[d.name], segments)
		}
	}
	// To each other, and back.
	for _, pair := range [][2]int{{0, 4}, {4, 0}, {1, 2}, {3, 2}} {
		from, to := domains[pair[0]], domains[pair[1]]
		at := len(vm.Output())
		echo := fmt.Sprintf("%s:%d", tapGuest, to.port+1)
		vm.Command(t, "domain send "+from.name+" flood "+echo)
		if said := said(t, vm, at, from.name, "flood "+echo); said != "ok" {
			t.Errorf("%s to %s: %s", from.name, to.name, said)
		}
	}
	powerOff(t, vm)
	if captured == nil {
		t.Skip("the frames are not looked at: tshark is not installed")
	}
	path := captured.end(t)
	v := examine(t, path, stockMAC)
	_, records := frames(t, path)
	mac, _ := net.ParseMAC(stockMAC)
	type seen struct{ frames, long, bad int }
	of := map[string]*seen{}
	for _, d := range domains {
		of[d.name] = &seen{}
	}
	for i, r := range records {
		f := r[pcapRecord:]
		if len(f) < 14+20+8 || !slices.Equal(f[6:12], mac) || f[12] != 8 || f[13] != 0 {
			continue
		}
		port := int(binary.BigEndian.Uint16(f[14+20:]))
		for _, d := range domains {
			if port < d.port || port > d.port+2 {
				continue
			}
			s := of[d.name]
			s.frames++
			if len(f) > 1514 {
				s.long++
			}
			if what := v.bad[i+1]; what != "" {
				if s.bad++; d.name == "plain" && s.bad < 5 {
					t.Errorf("frame %d: %s: %x", i+1, what, f[:60])
				}
			}
		}
	}
	for _, d := range domains {
		s := of[d.name]
		t.Logf("%s: %d frames, %d longer than the MTU, %d without a right sum", d.name, s.frames, s.long, s.bad)
		large := strings.Contains(d.offloads, "segmentation") || d.offloads == ""
		switch {
		case s.frames == 0:
			t.Errorf("%s has sent nothing", d.name)
		case (s.long > 0) != large:
			t.Errorf("%s: %d frames are longer than the MTU", d.name, s.long)
		case (s.bad > 0) != (d.offloads != "none"):
			t.Errorf("%s: %d frames have no right sum", d.name, s.bad)
		}
	}
}

// offloadBody is what is moved each way.
func offloadBody() []byte {
	body := make([]byte, offloadSize)
	for i := range body {
		body[i] = byte(i % (64 << 10) * 7)
	}
	return body
}

// fetchAll fetches from a server of the tests, and compares.
func fetchAll(t *testing.T, client *http.Client, base string, body []byte) {
	t.Helper()
	r, err := client.Get(fmt.Sprintf("%s/bytes/%d", base, len(body)))
	if err != nil {
		t.Fatal(err)
	}
	got, err := io.ReadAll(r.Body)
	r.Body.Close()
	if err != nil || !bytes.Equal(got, body) {
		t.Errorf("%s: %d of %d bytes, %v", base, len(got), len(body), err)
	}
}

// sendAll sends to a server of the tests, which says what has come.
func sendAll(t *testing.T, client *http.Client, base string, body []byte) {
	t.Helper()
	r, err := client.Post(base+"/sum", "application/octet-stream", bytes.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	sum, err := io.ReadAll(r.Body)
	r.Body.Close()
	if want := fmt.Sprintf("%x", sha256.Sum256(body)); err != nil || string(sum) != want {
		t.Errorf("%s: what was sent has the sum %s, %v, want %s", base, sum, err, want)
	}
}
