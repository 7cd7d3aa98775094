// The listeners and their limits.

package main

import (
	"context"
	"crypto/sha256"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"os"
	"sync"
	"time"

	"golang.org/x/net/netutil"
)

// What a client may use.
const (
	headerTime  = 5 * time.Second
	requestTime = 10 * time.Second // a body that is longer gets more, see transfer
	answerTime  = 20 * time.Second
	idleTime    = 30 * time.Second
	headerBytes = 8 << 10
	streams     = 16 // of an HTTP/2 connection
	farewell    = 3 * time.Second
)

// newServer makes a server with limits on all that a client can stretch.
func newServer(h http.Handler) *http.Server {
	s := &http.Server{
		Handler:           h,
		ReadHeaderTimeout: headerTime,
		ReadTimeout:       requestTime,
		WriteTimeout:      answerTime,
		IdleTimeout:       idleTime,
		MaxHeaderBytes:    headerBytes,
		HTTP2:             &http.HTTP2Config{MaxConcurrentStreams: streams},
		// What clients do wrong is theirs; a line for each would let them fill the log.
		ErrorLog: log.New(io.Discard, "", 0),
	}
	return s
}

// serve runs the services until ctx ends or one of them fails.
func serve(ctx context.Context, c config, out io.Writer) error {
	site := newSite(newRecent(newSource(c.stats), time.Now))
	var plain, secure net.Listener
	var certificate tls.Certificate
	if c.http != "" {
		l, err := net.Listen("tcp", c.http)
		if err != nil {
			return err
		}
		defer l.Close()
		plain = netutil.LimitListener(l, c.limit)
		fmt.Fprintf(out, "web: http %v\n", l.Addr())
	}
	if c.https != "" {
		l, err := net.Listen("tcp", c.https)
		if err != nil {
			return err
		}
		defer l.Close()
		secure = netutil.LimitListener(l, c.limit)
		name, _ := os.Hostname()
		if certificate, err = newCertificate(name, ownAddresses(), time.Now()); err != nil {
			return err
		}
		fmt.Fprintf(out, "web: https %v, SHA-256 of the certificate %x\n", l.Addr(), sha256.Sum256(certificate.Certificate[0]))
	}

	ctx, end := context.WithCancelCause(ctx)
	defer end(nil)
	var all sync.WaitGroup
	start := func(f func(*http.Server) error) {
		s := newServer(site)
		all.Go(func() {
			if err := f(s); !errors.Is(err, http.ErrServerClosed) {
				end(err)
			}
		})
		all.Go(func() {
			<-ctx.Done()
			late, cancel := context.WithTimeout(context.Background(), farewell)
			defer cancel()
			if s.Shutdown(late) != nil {
				s.Close()
			}
		})
	}
	if plain != nil {
		start(func(s *http.Server) error { return s.Serve(plain) })
	}
	if secure != nil {
		start(func(s *http.Server) error {
			s.TLSConfig = &tls.Config{Certificates: []tls.Certificate{certificate}, MinVersion: tls.VersionTLS12}
			return s.ServeTLS(secure, "", "")
		})
	}
	all.Wait()
	if err := context.Cause(ctx); !errors.Is(err, context.Canceled) {
		return err
	}
	return nil
}

// ownAddresses returns the machine's addresses, as far as they are known now.
func ownAddresses() []net.IP {
	var ips []net.IP
	all, _ := net.InterfaceAddrs()
	for _, a := range all {
		if n, ok := a.(*net.IPNet); ok {
			ips = append(ips, n.IP)
		}
	}
	return ips
}
