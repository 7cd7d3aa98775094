package main

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/u-root/u-root/pkg/cpio"
)

func TestMedian(t *testing.T) {
	for _, c := range []struct {
		values []float64
		want   float64
	}{
		{nil, 0}, {[]float64{3}, 3}, {[]float64{9, 1}, 5}, {[]float64{5, 1, 3}, 3}, {[]float64{4, 1, 3, 2}, 2.5},
	} {
		before := slices.Clone(c.values)
		if got := median(c.values); got != c.want {
			t.Errorf("median(%v) = %v, want %v", c.values, got, c.want)
		}
		if !slices.Equal(c.values, before) {
			t.Errorf("median changed the order of %v", before)
		}
	}
}

func TestLeastFindsEveryThreshold(t *testing.T) {
	const top = 64
	for want := 1; want <= top; want++ {
		asked := 0
		got, err := least(top, func(n int) (bool, error) { asked++; return n >= want, nil })
		if got != want || err != nil || asked > 7 {
			t.Errorf("threshold %d: found %d after %d questions, %v", want, got, asked, err)
		}
	}
	if _, err := least(top, func(int) (bool, error) { return false, nil }); !errors.Is(err, errNever) {
		t.Errorf("nothing is enough: %v, want errNever", err)
	}
	if _, err := least(top, func(int) (bool, error) { return true, io.EOF }); err != io.EOF {
		t.Errorf("an error came back as %v", err)
	}
}

func TestParseStat(t *testing.T) {
	line := func(name string) string {
		return "12 (" + name + ") S 1 12 12 0 -1 4194304 100 0 0 0 250 50 7 7 20 0 4 0 99\n"
	}
	for _, name := range []string{"qemu-system-x86", "a b", ") 1 2 ("} {
		if got, err := parseStat(line(name)); got != 3*time.Second || err != nil {
			t.Errorf("program %q: %v, %v; want 3s", name, got, err)
		}
	}
	for _, bad := range []string{"", "12 (x) S 1 2 3", strings.Replace(line("x"), " 250 ", " many ", 1)} {
		if got, err := parseStat(bad); err == nil {
			t.Errorf("%q gave %v", bad, got)
		}
	}
}

func TestParseLDD(t *testing.T) {
	got, err := parseLDD("\tlinux-vdso.so.1 (0x7ffd)\n\tlibz.so.1 => /lib/x86_64-linux-gnu/libz.so.1 (0x7f01)\n\t/lib64/ld-linux-x86-64.so.2 (0x7f02)\n")
	if want := []string{"/lib/x86_64-linux-gnu/libz.so.1", "/lib64/ld-linux-x86-64.so.2"}; err != nil || !slices.Equal(got, want) {
		t.Errorf("got %v, %v; want %v", got, err, want)
	}
	if got, err := parseLDD("\tlibz.so.1 => not found\n"); err == nil {
		t.Errorf("a missing library gave %v", got)
	}
}

func TestParseIperf(t *testing.T) {
	if got, err := parseIperf([]byte(`{"end":{"sum_received":{"bits_per_second":2.5e9}}}`)); got != 2500 || err != nil {
		t.Errorf("%v, %v; want 2500", got, err)
	}
	for _, bad := range []string{"", "{}", `{"error":"the server is busy"}`} {
		if got, err := parseIperf([]byte(bad)); err == nil {
			t.Errorf("%q gave %v", bad, got)
		}
	}
}

// TestTested: what go test says is found, and all rows are of the table.
func TestTested(t *testing.T) {
	const said = `    shaped_test.go:250: fifo: echo p50 300.8ms, p99 626.6ms, 946.8ms by the host's clock, 0 lost; file 0.75 Mbit/s
    shaped_test.go:250: aqm: echo p50 900µs, p99 14.2ms, 20ms by the host's clock
    shaped_test.go:250: fifo: echo p50 300ms, p99 1.1s, 946.8ms by the host's clock
    shaped_test.go:280: aqm, beside one that does not pause: echo p50 36.6ms, p99 211.9ms, 365.9ms by the host's clock
    diamond_test.go:100: link 0: lost 120ms of IPv4 and 1.1s of IPv6; the machine's paths were found 50ms after it saw the loss
    diamond_test.go:100: link 1: lost 0s of IPv4 and 140ms of IPv6; the machine's paths were found 50ms after it saw the loss
BenchmarkQueue/1_flows-2         	 2227579	        97.45 ns/op	         1.000 of-1-flow	       0 B/op	       0 allocs/op
BenchmarkQueue/4096_flows-2      	 2225692	       102.0 ns/op	         1.047 of-1-flow	       0 B/op	       0 allocs/op
BenchmarkLookup/IPv4/1000000     	 8172032	        43.26 ns/op	        11.30 B/route
BenchmarkLookup/IPv6/1000000-2   	 7678221	        28.16 ns/op	        23.79 B/route
`
	want := map[string][]float64{
		"shaped-fifo": {626.6, 1100}, "shaped": {14.2}, "around4": {120, 0}, "around6": {1100, 140},
		"queue-1": {97.45}, "queue-4096": {102}, "lookup4": {43.26}, "lookup6": {28.16},
	}
	for _, x := range testeds {
		got, err := x.values([]byte(said))
		for _, row := range x.rows {
			if !isMeasure(row) || err != nil || !slices.Equal(got[row], want[row]) {
				t.Errorf("%s: %v, %v", row, got[row], err)
			}
			delete(want, row)
		}
		for _, bad := range []string{"", "ok", "x: fifo: echo p50 1ms, p99 1ms,\n"} {
			if got, err := x.values([]byte(bad)); err == nil {
				t.Errorf("%q gave %v", bad, got)
			}
		}
	}
	if len(want) > 0 {
		t.Errorf("nothing measures %v", want)
	}
}

func TestModulesAreFoundInOrder(t *testing.T) {
	tree := t.TempDir()
	for _, f := range []string{"kernel/net/failover.ko", "kernel/drivers/virtio/virtio-ring.ko.xz"} {
		path := filepath.Join(tree, f)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, nil, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.WriteFile(filepath.Join(tree, "modules.builtin"), []byte("kernel/drivers/virtio/virtio.ko\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	got, err := findModules(tree, []string{"virtio_ring", "virtio", "failover"})
	want := []string{filepath.Join(tree, "kernel/drivers/virtio/virtio-ring.ko.xz"), filepath.Join(tree, "kernel/net/failover.ko")}
	if err != nil || !slices.Equal(got, want) {
		t.Errorf("got %v, %v; want %v", got, err, want)
	}
	if _, err := findModules(tree, []string{"virtio_net"}); err == nil || !strings.Contains(err.Error(), "virtio_net") {
		t.Errorf("a missing module: %v", err)
	}
}

func TestFoldersComeBeforeTheirFiles(t *testing.T) {
	file := func(name string) cpio.Record { return cpio.StaticFile(name, "", 0o644) }
	var names []string
	for _, r := range withFolders([]cpio.Record{file("a/b/c"), cpio.Directory("a", 0o700), file("a/b/c"), file("d"), file("a/e")}) {
		names = append(names, r.Name)
	}
	if want := []string{"a", "a/b", "a/b/c", "d", "a/e"}; !slices.Equal(names, want) {
		t.Errorf("got %v, want %v", names, want)
	}
}

func TestBadFlags(t *testing.T) {
	for args, want := range map[string]string{
		"-machine toaster": `unknown machine "toaster": the machines are microvm, q35 and pc`,
		"-runs 0":          "-runs 0: want 1 to 100",
		"-m 32":            "-m 32: want at least 64",
		"-only boot,speed": `unknown measure "speed"`,
		"-span 1h":         "-span 1h0m0s: want 100ms to 1m",
		"-idle 1ms":        "-idle 1ms: want 1s to 10m",
		"extra":            `"extra" is one argument too many`,
		"-colour":          "flag provided but not defined: -colour",
	} {
		_, err := parse(strings.Fields(args))
		if !errors.As(err, new(usageError)) || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "\n") {
			t.Errorf("bench %s: %v; want one line with %q", args, err, want)
		}
	}
	s, err := parse([]string{"-build", "b", "-only", "boot,udp"})
	if err != nil || s.Image != "b/sluice-pc.elf" || !s.wants("udp") || s.wants("idle") {
		t.Errorf("good flags: %+v, %v", s, err)
	}
}

func TestBothGuestsGetTheSameLine(t *testing.T) {
	for _, machine := range []string{"microvm", "q35", "pc"} {
		sluice, err := guest{Name: "sluice", Image: "K", Append: "A"}.args(machine, network{tap: true}, 96, serveAll)
		if err != nil {
			t.Fatal(err)
		}
		linux, err := guest{Name: "linux", Image: "K", Initrd: "I", Append: "A"}.args(machine, network{tap: true}, 96, serveAll)
		if err != nil {
			t.Fatal(err)
		}
		i := slices.Index(linux, "-initrd")
		if i < 0 {
			t.Fatalf("no -initrd in %q", linux)
		}
		linux = slices.Delete(linux, i, i+2)
		linux[len(linux)-1] = "A"
		if !slices.Equal(sluice, linux) {
			t.Errorf("%s:\n%q\n%q", machine, sluice, linux)
		}
	}
}

func TestResults(t *testing.T) {
	p := plan{settings: settings{Build: t.TempDir(), Machine: "microvm", Only: []string{"boot", "udp", "idle"}}, QEMU: "/nonexistent"}
	r := p.newResults(network{tap: true})
	for _, v := range []float64{0.5, 0.3, 0.4} {
		r.add("boot", "sluice", v)
		r.add("boot", "linux", 4*v)
	}
	r.add("udp", "sluice", 100)
	r.add("idle", "sluice", 7)
	r.add("tcp-in", "sluice", 1) // was not asked for
	if err := r.report(&p); err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(filepath.Join(p.Build, "bench.json"))
	if err != nil {
		t.Fatal(err)
	}
	var got results
	if err := json.Unmarshal(text, &got); err != nil {
		t.Fatal(err)
	}
	if len(got.Rows) != 3 {
		t.Fatalf("%d rows, want 3:\n%s", len(got.Rows), text)
	}
	boot, idle, udp := got.Rows[0], got.Rows[1], got.Rows[2]
	if boot.Sluice.Median != 0.4 || boot.Ratio == nil || *boot.Ratio != 0.25 || boot.Met == nil || !*boot.Met {
		t.Errorf("boot: %+v", boot)
	}
	if idle.Met == nil || *idle.Met {
		t.Errorf("idle with 7 %% is met: %+v", idle)
	}
	if udp.Met != nil || udp.Ratio != nil {
		t.Errorf("udp is judged without Linux: %+v", udp)
	}
}

// TestClients runs the clients against services of Go's own.
func TestClients(t *testing.T) {
	ctx := t.Context()
	discard, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer discard.Close()
	taken := make(chan int64, 1)
	go func() {
		c, err := discard.Accept()
		if err != nil {
			return
		}
		defer c.Close()
		n, _ := io.Copy(io.Discard, c)
		taken <- n
	}()
	sent, err := send(ctx, discard.Addr().String(), 10*time.Millisecond)
	if err != nil {
		t.Fatal(err)
	}
	if n := <-taken; n != sent.bytes || sent.took <= 0 {
		t.Errorf("send counts %d bytes in %v, the service %d", sent.bytes, sent.took, n)
	}

	source := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		n, err := strconv.Atoi(r.FormValue("n"))
		if err != nil {
			return // the front page, which is empty here
		}
		w.Header().Set("Content-Length", strconv.Itoa(n))
		w.Write(make([]byte, n))
	}))
	defer source.Close()
	address := strings.TrimPrefix(source.URL, "http://")
	if got, err := receive(ctx, address, 10*time.Millisecond); err != nil || got.bytes == 0 {
		t.Errorf("receive: %+v, %v", got, err)
	}
	if err := fetch(ctx, address); err == nil {
		t.Error("fetch takes an empty page for an answer")
	}

	echo, err := net.ListenPacket("udp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer echo.Close()
	go func() {
		buf := make([]byte, 2048)
		for {
			n, from, err := echo.ReadFrom(buf)
			if err != nil {
				return
			}
			echo.WriteTo(buf[:n], from)
		}
	}()
	c, err := net.Dial("udp4", echo.LocalAddr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	var got echoes
	for got.received == 0 { // until the service has had its turn
		if got, err = exchange(c, time.Millisecond); err != nil || got.received > got.sent {
			t.Fatalf("exchange: %+v, %v", got, err)
		}
	}
}

func TestAnswerOfAnErrorIsNone(t *testing.T) {
	var calls atomic.Int32
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if calls.Add(1) < 3 {
			http.Error(w, "not yet", http.StatusServiceUnavailable)
			return
		}
		io.WriteString(w, "page")
	}))
	defer server.Close()
	address := strings.TrimPrefix(server.URL, "http://")
	for range 2 {
		if err := fetch(t.Context(), address); err == nil {
			t.Error("fetch takes an error for an answer")
		}
	}
	if err := firstAnswer(t.Context(), address); err != nil {
		t.Error(err)
	}
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	if err := firstAnswer(ended, "127.0.0.1:1"); !errors.Is(err, context.Canceled) {
		t.Errorf("firstAnswer after the end: %v", err)
	}
}

// TestForwardedFrames: lengths and check sums of what is sent through the guests are right.
func TestForwardedFrames(t *testing.T) {
	for _, size := range forwardSizes {
		ip := make([]byte, size.size-14)
		if !size.ipv6 {
			fillIPv4(ip)
			if fold(ip[:20], 0) != 0xffff || int(ip[2])<<8|int(ip[3]) != len(ip) {
				t.Errorf("%s: % x", size.name, ip[:20])
			}
			continue
		}
		fillIPv6(ip)
		udp := len(ip) - 40
		if fold(ip[8:], uint32(udp+17)) != 0xffff || int(ip[4])<<8|int(ip[5]) != udp || int(ip[44])<<8|int(ip[45]) != udp {
			t.Errorf("%s: % x", size.name, ip[:48])
		}
	}
}
