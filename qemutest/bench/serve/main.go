// Command serve is the program that `make bench` runs in a domain and on Linux:
// ordinary Go, the same source for both. It answers as Sluice's kernel does:
//
//	80/tcp  GET /, GET /healthz, GET /bytes?n=N
//	9/tcp   discard (RFC 863)
//	7/udp   echo (RFC 862)
//
// With a port as its argument it serves HTTP there and nothing else.
package main

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strconv"
	"strings"
)

// blockSize is what is read and written at a time, in bytes.
const blockSize = 128 << 10

func main() {
	if err := serve(); err != nil {
		fmt.Fprintln(os.Stderr, "serve:", err)
		os.Exit(1)
	}
}

// serve opens the services, the page last, and returns the first error.
func serve() error {
	if len(os.Args) > 1 {
		return http.ListenAndServe(":"+os.Args[1], handler())
	}
	discarding, err := net.Listen("tcp", ":9")
	if err != nil {
		return err
	}
	echoing, err := net.ListenUDP("udp4", &net.UDPAddr{Port: 7})
	if err != nil {
		return err
	}
	page, err := net.Listen("tcp", ":80")
	if err != nil {
		return err
	}
	failed := make(chan error, 3)
	go func() { failed <- discard(discarding) }()
	go func() { failed <- echo(echoing) }()
	go func() { failed <- http.Serve(page, handler()) }()
	return <-failed
}

func handler() http.Handler {
	mux := http.NewServeMux()
	front := []byte("<!DOCTYPE html><title>serve</title>" + strings.Repeat("serve ", 512))
	mux.HandleFunc("GET /{$}", func(w http.ResponseWriter, _ *http.Request) { w.Write(front) })
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, "ok\n") })
	block := make([]byte, blockSize)
	for i := range block {
		block[i] = byte(7*i + i>>8)
	}
	mux.HandleFunc("GET /bytes", func(w http.ResponseWriter, r *http.Request) {
		n, err := strconv.ParseInt(r.URL.Query().Get("n"), 10, 64)
		if err != nil || n < 0 {
			http.Error(w, "want /bytes?n=N", http.StatusBadRequest)
			return
		}
		w.Header().Set("Content-Type", "application/octet-stream")
		w.Header().Set("Content-Length", strconv.FormatInt(n, 10))
		for ; n > 0; n -= blockSize {
			if _, err := w.Write(block[:min(n, blockSize)]); err != nil {
				return
			}
		}
	})
	return mux
}

// discard reads what connections send until they end.
func discard(l net.Listener) error {
	for {
		c, err := l.Accept()
		if err != nil {
			return err
		}
		go func() {
			defer c.Close()
			buf := make([]byte, blockSize)
			for {
				if _, err := c.Read(buf); err != nil {
					return
				}
			}
		}()
	}
}

// echo sends datagrams back. One that cannot be sent is lost, as on any network.
func echo(c *net.UDPConn) error {
	buf := make([]byte, 64<<10)
	for {
		n, from, err := c.ReadFromUDPAddrPort(buf)
		if err != nil {
			return err
		}
		c.WriteToUDPAddrPort(buf[:n], from)
	}
}
