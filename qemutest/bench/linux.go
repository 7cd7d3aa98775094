package main

// The Linux guest: Debian's kernel for virtual machines and an initramfs with
// no more than what is measured.

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"github.com/u-root/u-root/pkg/cpio"
)

const (
	kernelPattern = "/boot/vmlinuz-*-cloud-amd64"
	cloud         = "-cloud-"
	guestPackage  = "github.com/sluice-os/sluice/qemutest/bench/guest"
	installLinux  = "sudo apt-get install --no-install-recommends linux-image-cloud-amd64 nginx-light iperf3"
	nginxPath     = "/usr/sbin/nginx"
	iperfPath     = "/usr/bin/iperf3"
	linuxOptions  = "console=ttyS0 quiet panic=-1 address=" + guestIP + bits
	pageSize      = 3 << 10 // about that of Sluice's status page
)

// modules are loaded in this order, by the bus that the card is on.
var modules = map[bool]string{
	true:  "failover net_failover virtio_ring virtio virtio_mmio virtio_net",
	false: "failover net_failover virtio_ring virtio virtio_pci_modern_dev virtio_pci_legacy_dev virtio_pci virtio_net",
}

// nginxConfig is for one processor and one client.
const nginxConfig = `user root root;
daemon off;
worker_processes 1;
pid /run/nginx.pid;
error_log stderr;
events { worker_connections 256; }
http {
	access_log off;
	sendfile on;
	tcp_nopush on;
	keepalive_timeout 60s;
	default_type application/octet-stream;
	types { text/html html; }
	server { listen 80; root /www; }
}
`

// errNotInstalled says that the machine lacks a package.
var errNotInstalled = errors.New("not installed")

// makeLinux writes the initramfs to dir and returns the guest. The error is
// errNotInstalled when a package is missing.
func makeLinux(ctx context.Context, dir string, s settings) (guest, error) {
	return makeLinuxOf(ctx, dir, s, kernelPattern, modules[s.Machine == "microvm"])
}

// makeLinuxOf does so with the newest kernel of a pattern and with modules, loaded in their
// order.
func makeLinuxOf(ctx context.Context, dir string, s settings, pattern, modules string) (guest, error) {
	kernel, version, err := findKernel(pattern)
	if err != nil {
		return guest{}, err
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return guest{}, err
	}
	if _, err := os.Stat(nginxPath); err != nil {
		return guest{}, fmt.Errorf("%s: %w", nginxPath, errNotInstalled)
	}
	program := filepath.Join(dir, "guest")
	build := exec.CommandContext(ctx, "go", "build", "-trimpath", "-ldflags=-s -w", "-o", program, guestPackage)
	build.Env = append(os.Environ(), "CGO_ENABLED=0", "GOOS=linux", "GOARCH=amd64")
	if out, err := build.CombinedOutput(); err != nil {
		return guest{}, fmt.Errorf("%s: %w: %s", strings.Join(build.Args, " "), err, bytes.TrimSpace(out))
	}
	records, err := initramfs(ctx, program, "/lib/modules/"+version, modules)
	if err != nil {
		return guest{}, err
	}
	g := guest{Name: "linux", Image: kernel, Initrd: filepath.Join(dir, "linux.cpio"), Append: linuxOptions}
	if s.LinuxAppend != "" {
		g.Append += " " + s.LinuxAppend
	}
	return g, writeArchive(g.Initrd, records)
}

// findKernel returns the newest installed kernel of a pattern that has its modules. A cloud
// kernel is one only of a pattern that says so.
func findKernel(pattern string) (path, version string, err error) {
	found, err := filepath.Glob(pattern)
	if err != nil {
		return "", "", err
	}
	var newest time.Time
	for _, f := range found {
		v := strings.TrimPrefix(filepath.Base(f), "vmlinuz-")
		if strings.Contains(v, cloud) != strings.Contains(pattern, cloud) {
			continue
		}
		info, err := os.Stat(f)
		if err != nil {
			continue
		}
		if _, err := os.Stat("/lib/modules/" + v); err == nil && info.ModTime().After(newest) {
			path, version, newest = f, v, info.ModTime()
		}
	}
	if path == "" {
		return "", "", fmt.Errorf("%s with its modules: %w", pattern, errNotInstalled)
	}
	return path, version, nil
}

// initramfs lists the files of the guest.
func initramfs(ctx context.Context, program, tree, names string) ([]cpio.Record, error) {
	var list []cpio.Record
	for _, d := range []string{"dev", "proc", "sys", "run", "tmp", "etc", "etc/nginx", "modules", "www", "var", "var/log", "var/log/nginx", "var/lib", "var/lib/nginx"} {
		list = append(list, cpio.Directory(d, 0o755))
	}
	list = append(list,
		cpio.CharDev("dev/console", 0o600, 5, 1), // where process 1 writes
		cpio.StaticFile("etc/passwd", "root:x:0:0:root:/:/bin/false\n", 0o644),
		cpio.StaticFile("etc/group", "root:x:0:\n", 0o644),
		cpio.StaticFile("etc/nginx/nginx.conf", nginxConfig, 0o644),
		cpio.StaticFile("www/index.html", "<!DOCTYPE html><title>Linux</title>"+strings.Repeat("nginx ", pageSize/6), 0o644))
	add := func(name, path string, mode uint64) error {
		content, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		list = append(list, cpio.StaticFile(strings.TrimPrefix(name, "/"), string(content), mode))
		return nil
	}
	if err := add("init", program, 0o755); err != nil {
		return nil, err
	}
	files, err := findModules(tree, strings.Fields(names))
	if err != nil {
		return nil, err
	}
	for i, path := range files {
		if err := add(fmt.Sprintf("modules/%02d-%s", i, filepath.Base(path)), path, 0o644); err != nil {
			return nil, err
		}
	}
	programs := []string{nginxPath}
	if _, err := os.Stat(iperfPath); err == nil {
		programs = append(programs, iperfPath)
	}
	for _, path := range programs {
		libraries, err := sharedLibraries(ctx, path)
		if err != nil {
			return nil, err
		}
		for _, f := range append(libraries, path) {
			if err := add(f, f, 0o755); err != nil {
				return nil, err
			}
		}
	}
	return withFolders(list), nil
}

// findModules returns the files of modules, in their order. Those that are
// built into the kernel are left out.
func findModules(tree string, names []string) ([]string, error) {
	at := map[string]string{}
	err := filepath.WalkDir(tree, func(path string, d fs.DirEntry, err error) error {
		if err == nil && !d.IsDir() {
			if name, _, isModule := strings.Cut(d.Name(), ".ko"); isModule {
				at[strings.ReplaceAll(name, "-", "_")] = path
			}
		}
		return err
	})
	if err != nil {
		return nil, err
	}
	builtin, err := os.ReadFile(filepath.Join(tree, "modules.builtin"))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	var files []string
	for _, name := range names {
		switch {
		case at[name] != "":
			files = append(files, at[name])
		case !bytes.Contains(builtin, []byte("/"+name+".ko\n")):
			return nil, fmt.Errorf("%s has no module %s", tree, name)
		}
	}
	return files, nil
}

// sharedLibraries returns the paths of the libraries that a program loads.
func sharedLibraries(ctx context.Context, program string) ([]string, error) {
	out, err := exec.CommandContext(ctx, "ldd", program).Output()
	if err != nil {
		return nil, fmt.Errorf("ldd %s: %w", program, err)
	}
	return parseLDD(string(out))
}

// parseLDD reads ldd's lines:
//
//	libc.so.6 => /lib/x86_64-linux-gnu/libc.so.6 (0x00007f2a)
//	/lib64/ld-linux-x86-64.so.2 (0x00007f2b)
func parseLDD(out string) ([]string, error) {
	var list []string
	for line := range strings.Lines(out) {
		if strings.Contains(line, "not found") {
			return nil, fmt.Errorf("ldd: %s", strings.TrimSpace(line))
		}
		for word := range strings.FieldsSeq(line) {
			if strings.HasPrefix(word, "/") {
				list = append(list, word)
				break
			}
		}
	}
	return list, nil
}

// withFolders puts each file's folders before it and leaves out what is there
// already.
func withFolders(list []cpio.Record) []cpio.Record {
	have := map[string]bool{".": true}
	var full []cpio.Record
	var add func(r cpio.Record)
	add = func(r cpio.Record) {
		if have[r.Name] {
			return
		}
		if dir := filepath.Dir(r.Name); !have[dir] {
			add(cpio.Directory(dir, 0o755))
		}
		have[r.Name] = true
		full = append(full, r)
	}
	for _, r := range list {
		add(r)
	}
	return full
}

// writeArchive writes an uncompressed archive: to decompress would cost the
// guest more than to read.
func writeArchive(path string, records []cpio.Record) error {
	f, err := os.Create(path)
	if err != nil {
		return err
	}
	defer f.Close()
	w := cpio.Newc.Writer(f)
	if err := cpio.WriteRecords(w, records); err != nil {
		return err
	}
	if err := cpio.WriteTrailer(w); err != nil {
		return err
	}
	return f.Close()
}
