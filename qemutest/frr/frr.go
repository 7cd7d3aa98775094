// Package frr runs FRR's isisd as a router in a network namespace of its own, whose interfaces are
// plugged into the wires of machines under test. It needs root, iproute2 and Debian's frr.
package frr

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"
)

// Where Debian has the daemons, their configuration and their sockets.
const (
	daemons = "/usr/lib/frr"
	etc     = "/etc/frr"
	run     = "/var/run/frr"
)

// namespaces is how the names of this process's namespaces begin, which name FRR's folders too: other
// than those of a process with the same number that could not take its own away.
var namespaces = fmt.Sprintf("sluice%d%04x-", os.Getpid(), rand.N(1<<16))

// patience is how long a program is given to do what it does in no time, on a host that has none.
const patience = 5 * time.Minute

// needed numbers the namespaces of Need.
var needed atomic.Int32

// Need skips the test where routers cannot be run, and says what is missing.
func Need(t testing.TB) {
	t.Helper()
	if os.Getuid() != 0 {
		t.Skip("FRR is not run: it needs root")
	}
	for _, program := range []string{daemons + "/isisd", daemons + "/zebra", "vtysh", "ip"} {
		if _, err := exec.LookPath(program); err != nil {
			t.Skipf("FRR is not run: %s is missing: apt-get install frr iproute2", program)
		}
	}
	if _, err := os.Stat("/dev/net/tun"); err != nil {
		t.Skipf("FRR is not run: no taps: %v", err)
	}
	name := fmt.Sprintf("%sneed%d", namespaces, needed.Add(1))
	if err := ip("netns", "add", name); err != nil {
		t.Skipf("FRR is not run: no network namespaces: %v", err)
	}
	if err := ip("netns", "del", name); err != nil {
		t.Fatal(err)
	}
}

// Interface is one of a router's.
type Interface struct {
	Name      string   // "lo", or that of a tap
	Addresses []string // with their prefix lengths
	Lines     []string // of its configuration, for example "isis network point-to-point"
	// Later says that it is not made by Start but by Join. The daemons of a router that has such are
	// started by StartDaemons, when all are there.
	Later bool
	// DAD is how many probes look for the IPv6 addresses on the link; 0: the kernel's choice.
	DAD int
}

// Config is that of a router.
type Config struct {
	Name       string   // its hostname
	Lines      []string // of router isis: "net …" and others
	Interfaces []Interface
	// Forward has it forward packets.
	Forward bool
}

// Router is a running router. It ends with its test.
type Router struct {
	Config
	Namespace string
	dir       string
	pids      map[string]string // of daemons: the files
}

// Start makes the namespace with its interfaces and starts the daemons, unless interfaces are Later.
func Start(t testing.TB, c Config) *Router {
	t.Helper()
	r := &Router{Config: c, Namespace: namespaces + c.Name, pids: map[string]string{}}
	if err := r.start(t); err != nil {
		t.Fatalf("frr: %s: %v", c.Name, err)
	}
	return r
}

func (r *Router) start(t testing.TB) (err error) {
	r.dir = t.TempDir()
	if err := os.Chmod(filepath.Dir(r.dir), 0o755); err != nil {
		return err
	}
	if err := ip("netns", "add", r.Namespace); err != nil {
		return err
	}
	t.Cleanup(func() { r.end(t) })
	if err := ip("-n", r.Namespace, "link", "set", "lo", "up"); err != nil {
		return err
	}
	if r.Forward {
		for _, key := range []string{"ipv4/ip_forward", "ipv6/conf/all/forwarding"} {
			if err := r.set(key, 1); err != nil {
				return err
			}
		}
	}
	for _, i := range r.Interfaces {
		if i.Later {
			continue
		}
		if i.Name != "lo" {
			if err := ip("-n", r.Namespace, "tuntap", "add", "dev", i.Name, "mode", "tap"); err != nil {
				return err
			}
		}
		if err := r.bringUp(i); err != nil {
			return err
		}
	}
	if slices.ContainsFunc(r.Interfaces, func(i Interface) bool { return i.Later }) {
		return nil
	}
	return r.StartDaemons()
}

// Join joins two routers by interfaces of theirs that are Later, and gives those their addresses.
func Join(t testing.TB, a *Router, nameA string, b *Router, nameB string) {
	t.Helper()
	err := ip("link", "add", nameA, "netns", a.Namespace, "type", "veth", "peer", "name", nameB, "netns", b.Namespace)
	for _, x := range []struct {
		r    *Router
		name string
	}{{a, nameA}, {b, nameB}} {
		for _, i := range x.r.Interfaces {
			if err == nil && i.Name == x.name {
				err = x.r.bringUp(i)
			}
		}
	}
	if err != nil {
		t.Fatalf("frr: %s and %s: %v", a.Name, b.Name, err)
	}
}

// bringUp gives an interface its addresses and takes it into use.
func (r *Router) bringUp(i Interface) error {
	if i.DAD > 0 {
		if err := r.set("ipv6/conf/"+i.Name+"/dad_transmits", i.DAD); err != nil {
			return err
		}
	}
	if err := r.addresses(i); err != nil || i.Name == "lo" {
		return err
	}
	return ip("-n", r.Namespace, "link", "set", i.Name, "up")
}

// set sets one of the namespace's numbers in /proc/sys/net.
func (r *Router) set(key string, n int) error {
	if out, err := r.Exec("sh", "-c", fmt.Sprintf("echo %d > /proc/sys/net/%s", n, key)); err != nil {
		return fmt.Errorf("%s: %w: %s", key, err, out)
	}
	return nil
}

// addresses gives an interface its addresses, which may be thousands, in one go.
func (r *Router) addresses(i Interface) error {
	var lines strings.Builder
	for _, a := range i.Addresses {
		fmt.Fprintf(&lines, "addr add %s dev %s\n", a, i.Name)
	}
	cmd := exec.Command("ip", "-n", r.Namespace, "-batch", "-")
	cmd.Stdin = strings.NewReader(lines.String())
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("addresses of %s: %w: %s", i.Name, err, out)
	}
	return nil
}

// StartDaemons starts zebra and isisd; see StopISIS.
func (r *Router) StartDaemons() error {
	for _, dir := range []string{filepath.Join(etc, r.Namespace), filepath.Join(run, r.Namespace)} {
		if err := os.MkdirAll(dir, 0o755); err != nil {
			return err
		}
	}
	if err := os.WriteFile(filepath.Join(etc, r.Namespace, "vtysh.conf"), nil, 0o644); err != nil {
		return err
	}
	var conf strings.Builder
	fmt.Fprintf(&conf, "hostname %s\nrouter isis 1\n", r.Name)
	for _, line := range r.Lines {
		fmt.Fprintf(&conf, " %s\n", line)
	}
	conf.WriteString("!\n")
	for _, i := range r.Interfaces {
		fmt.Fprintf(&conf, "interface %s\n ip router isis 1\n ipv6 router isis 1\n", i.Name)
		for _, line := range i.Lines {
			fmt.Fprintf(&conf, " %s\n", line)
		}
		conf.WriteString("!\n")
	}
	files := map[string]string{"zebra.conf": "hostname " + r.Name + "\n", "isisd.conf": conf.String()}
	for name, text := range files {
		if err := os.WriteFile(filepath.Join(r.dir, name), []byte(text), 0o644); err != nil {
			return err
		}
	}
	// FRR reads, and writes, as a user of its own.
	if out, err := exec.Command("chown", "-R", "frr:frr", r.dir, filepath.Join(run, r.Namespace)).CombinedOutput(); err != nil {
		return fmt.Errorf("chown: %w: %s", err, out)
	}
	for _, daemon := range []string{"zebra", "isisd"} {
		if err := r.daemon(daemon); err != nil {
			return err
		}
	}
	return nil
}

func (r *Router) daemon(name string) error {
	pid := filepath.Join(r.dir, name+".pid")
	if _, err := os.Stat(pid); err == nil {
		return nil // it runs
	}
	out, err := r.Exec(filepath.Join(daemons, name), "-d", "-N", r.Namespace, "-f", filepath.Join(r.dir, name+".conf"), "-i", pid, "-A", "127.0.0.1", "-P", "0",
		"--log", "file:"+filepath.Join(r.dir, name+".log"), "--log-level", "info")
	if err != nil {
		return fmt.Errorf("%s: %w: %s", name, err, out)
	}
	r.pids[name] = pid
	return nil
}

// stopDaemon ends one, and waits until it has ended.
func (r *Router) stopDaemon(name string, signal syscall.Signal) error {
	file := r.pids[name]
	text, err := os.ReadFile(file)
	if err != nil {
		return err
	}
	var pid int
	if _, err := fmt.Sscan(string(text), &pid); err != nil {
		return err
	}
	if err := syscall.Kill(pid, signal); err != nil {
		return err
	}
	end := time.Now().Add(patience)
	for runs(pid) {
		if time.Now().After(end) {
			return fmt.Errorf("%s does not end", name)
		}
		time.Sleep(20 * time.Millisecond)
	}
	os.Remove(file)
	delete(r.pids, name)
	return nil
}

// runs says whether a process runs: one that has ended stays known until somebody has asked for its
// status.
func runs(pid int) bool {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return false
	}
	_, state, _ := strings.Cut(string(text), ") ")
	return !strings.HasPrefix(state, "Z") && !strings.HasPrefix(state, "X")
}

// StopISIS kills isisd, which has no time to tell its neighbours. StartDaemons starts it again.
func (r *Router) StopISIS() error { return r.stopDaemon("isisd", syscall.SIGKILL) }

// Log is what isisd has logged: adjacencies, if its configuration has log-adjacency-changes.
func (r *Router) Log() (string, error) {
	text, err := os.ReadFile(filepath.Join(r.dir, "isisd.log"))
	return string(text), err
}

func (r *Router) end(t testing.TB) {
	if t.Failed() {
		for _, c := range []string{"show isis neighbor", "show isis interface", "show isis database"} {
			out, _ := r.Show(c)
			t.Logf("%s: %s\n%s", r.Name, c, out)
		}
	}
	for _, name := range []string{"isisd", "zebra"} {
		if r.pids[name] != "" {
			if err := r.stopDaemon(name, syscall.SIGKILL); err != nil {
				t.Logf("frr: %s: %v", r.Name, err)
			}
		}
	}
	if err := ip("netns", "del", r.Namespace); err != nil {
		t.Logf("frr: %v", err)
	}
	os.RemoveAll(filepath.Join(etc, r.Namespace))
	os.RemoveAll(filepath.Join(run, r.Namespace))
}

// Exec runs a program in the router's namespace.
func (r *Router) Exec(program string, args ...string) (string, error) {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	out, err := exec.CommandContext(ctx, "ip", append([]string{"netns", "exec", r.Namespace, program}, args...)...).CombinedOutput()
	return string(out), err
}

// Show returns what a command of vtysh prints.
func (r *Router) Show(command string) (string, error) {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	out, err := exec.CommandContext(ctx, "vtysh", "-N", r.Namespace, "-c", command).Output()
	var exit *exec.ExitError
	if errors.As(err, &exit) {
		err = fmt.Errorf("%w: %s", err, exit.Stderr)
	}
	return string(out), err
}

// Configure has vtysh take lines of configuration.
func (r *Router) Configure(lines ...string) error {
	args := []string{"-N", r.Namespace, "-c", "configure terminal"}
	for _, line := range lines {
		args = append(args, "-c", line)
	}
	out, err := exec.Command("vtysh", args...).CombinedOutput()
	if err != nil || strings.Contains(string(out), "% ") {
		return fmt.Errorf("%v: %w: %s", lines, errors.Join(err, errRefused), out)
	}
	return nil
}

var errRefused = errors.New("refused")

// ip runs iproute2.
func ip(args ...string) error {
	if out, err := exec.Command("ip", args...).CombinedOutput(); err != nil {
		return fmt.Errorf("ip %s: %w: %s", strings.Join(args, " "), err, out)
	}
	return nil
}
