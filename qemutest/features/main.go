// Command features is an ordinary program that uses what a domain gives it, and
// says so line by line: TestFeatures reads it.
package main

import (
	"bytes"
	"crypto/rand"
	_ "embed"
	"fmt"
	"io"
	"os"
	"os/signal"
	"runtime"
	"runtime/debug"
	"runtime/pprof"
	"strings"
	"sync/atomic"
	"syscall"
	"time"
)

//go:embed main.go
var source string

// recovered returns what f panics with.
func recovered(f func()) (v any) {
	defer func() { v = recover() }()
	f()
	return nil
}

func say(what string, ok bool, detail any) {
	word := "ok"
	if !ok {
		word = "FAILED"
	}
	fmt.Println(word, what, detail)
}

func main() {
	say("args", strings.Join(os.Args[1:], ",") == "a b,c", os.Args)
	say("env", os.Getenv("KEY") == "VALUE", os.Environ())
	say("embed", strings.HasPrefix(source, "// Command features"), len(source))

	var p *[100]int
	zero := len(os.Args) - 3
	say("nil", recovered(func() { p[3] = 1 }) != nil, "")
	say("divide", recovered(func() { fmt.Println(1 / zero) }) != nil, "")
	say("function", recovered(func() { var f func(); f() }) != nil, "")

	b := make([]byte, 32)
	n, err := rand.Read(b)
	say("random", n == 32 && err == nil && !bytes.Equal(b, make([]byte, 32)), err)
	say("clock", time.Now().Year() >= 2024, time.Now())

	// A goroutine without function calls stops none of its siblings.
	var stop atomic.Bool
	go func() {
		for !stop.Load() {
		}
	}()
	worst := time.Duration(0)
	for range 10 {
		start := time.Now()
		time.Sleep(time.Millisecond)
		worst = max(worst, time.Since(start))
	}
	stop.Store(true)
	say("siblings", true, "")

	// Garbage is collected, and given back.
	for range 100 {
		runtime.KeepAlive(make([]byte, 1<<20))
	}
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	say("collections", m.NumGC > 0, m.NumGC)
	kept := make([]byte, 6<<20)
	for i := range kept {
		kept[i] = 1
	}
	fmt.Println("holding")
	wait()
	runtime.KeepAlive(kept)
	kept = nil
	debug.FreeOSMemory()
	fmt.Println("released")
	wait()

	files()
	var profile bytes.Buffer
	say("profile start", pprof.StartCPUProfile(&profile) == nil, "")
	for begin := time.Now(); time.Since(begin) < 200*time.Millisecond; {
	}
	pprof.StopCPUProfile()
	say("profile", profile.Len() > 0, profile.Len())
	var goroutines bytes.Buffer
	say("goroutine profile", pprof.Lookup("goroutine").WriteTo(&goroutines, 1) == nil && strings.Contains(goroutines.String(), "main.main"), "")

	signals := make(chan os.Signal, 1)
	signal.Notify(signals, syscall.SIGTERM)
	fmt.Println("waiting")
	say("signal", <-signals == syscall.SIGTERM, "")
	os.Exit(3)
}

// wait waits for a line.
func wait() {
	one := make([]byte, 1)
	for one[0] != '\n' {
		if _, err := os.Stdin.Read(one); err != nil {
			return
		}
	}
}

func files() {
	text, err := os.ReadFile("/etc/given")
	say("file of the image", string(text) == "given", err)
	say("read-only", os.WriteFile("/etc/given", nil, 0o644) != nil, "")
	f, err := os.Create("/tmp/new")
	say("create", err == nil, err)
	_, err = io.WriteString(f, "written")
	f.Close()
	text, err2 := os.ReadFile("/tmp/new")
	say("write and read", err == nil && string(text) == "written", err2)
	entries, err := os.ReadDir("/tmp")
	say("folder", err == nil && len(entries) == 1 && entries[0].Name() == "new", err)
	big := make([]byte, 1<<20)
	for err = nil; err == nil; {
		f, _ := os.OpenFile("/tmp/big", os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o644)
		_, err = f.Write(big)
		f.Close()
	}
	say("quota of files", strings.Contains(err.Error(), "no space left"), err)
	say("remove", os.Remove("/tmp/big") == nil, "")
}
