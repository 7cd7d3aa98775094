// The transfer, and what may go wrong with it.

package main

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"time"
)

const (
	largestHeader = 64 << 10 // bytes
	mostHops      = 10       // redirections
	largestRoots  = 4 << 20  // bytes of a file with roots
	copyBuffer    = 32 << 10 // bytes
)

var (
	errRoots = errors.New("no certificate in it")
	errHops  = errors.New("too many redirections")
	errPlain = errors.New("redirected from https to http")
)

// roots reads the certificates to trust.
func roots(path string) (*x509.CertPool, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, largestRoots))
	if err != nil {
		return nil, err
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(b) {
		return nil, fmt.Errorf("%s: %w", path, errRoots)
	}
	return pool, nil
}

// newClient makes a client that trusts what c says.
func newClient(c config) (*http.Client, error) {
	trust := &tls.Config{InsecureSkipVerify: c.insecure, MinVersion: tls.VersionTLS12}
	if c.ca != "" {
		pool, err := roots(c.ca)
		if err != nil {
			return nil, err
		}
		trust.RootCAs = pool
	}
	return &http.Client{
		Transport: &http.Transport{
			Proxy: http.ProxyFromEnvironment, TLSClientConfig: trust, ForceAttemptHTTP2: true,
			MaxResponseHeaderBytes: largestHeader, DisableKeepAlives: true,
		},
		CheckRedirect: func(r *http.Request, via []*http.Request) error {
			if len(via) > mostHops {
				return errHops
			}
			if via[len(via)-1].URL.Scheme == "https" && r.URL.Scheme != "https" {
				return errPlain
			}
			return nil
		},
	}, nil
}

// fetch gets the URL. said is a line about it; status is the exit status, also where there is an error.
func fetch(ctx context.Context, c config, out io.Writer) (said string, status int, err error) {
	ctx, cancel := context.WithTimeout(ctx, c.timeout)
	defer cancel()
	client, err := newClient(c)
	if err != nil {
		return "", statusUsage, err
	}
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, c.url.String(), nil)
	if err != nil {
		return "", statusUsage, err
	}
	r.Header.Set("User-Agent", "fetch")
	start := time.Now()
	answer, err := client.Do(r)
	if err != nil {
		return "", classify(err), err
	}
	defer answer.Body.Close()
	status = statusDone
	if answer.StatusCode >= 400 {
		status = statusAnswer
	}
	n, err := save(out, c.out, answer.Body)
	if err != nil {
		if errors.Is(err, context.DeadlineExceeded) {
			return "", statusTime, fmt.Errorf("after %d bytes: %w", n, err)
		}
		return "", statusBroken, fmt.Errorf("after %d bytes: %w", n, err)
	}
	return fmt.Sprintf("%s %s, %d bytes in %v", answer.Proto, answer.Status, n, time.Since(start).Round(time.Millisecond)), status, nil
}

// classify returns the exit status for an error before the answer.
func classify(err error) int {
	var unknown x509.UnknownAuthorityError
	var name x509.HostnameError
	var invalid x509.CertificateInvalidError
	var verify *tls.CertificateVerificationError
	switch {
	case errors.As(err, &verify), errors.As(err, &unknown), errors.As(err, &name), errors.As(err, &invalid), errors.Is(err, errPlain):
		return statusTrust
	case errors.Is(err, context.DeadlineExceeded), os.IsTimeout(err):
		return statusTime
	case errors.Is(err, errHops):
		return statusAnswer
	}
	return statusConnect
}

// save copies from to out or, where path is not "", to a file at path, which is
// there as a whole or as it was before.
func save(out io.Writer, path string, from io.Reader) (n int64, err error) {
	b := make([]byte, copyBuffer)
	if path == "" {
		return io.CopyBuffer(struct{ io.Writer }{out}, from, b)
	}
	f, err := os.CreateTemp(filepath.Dir(path), "."+filepath.Base(path)+".*")
	if err != nil {
		return 0, err
	}
	defer os.Remove(f.Name()) // after the rename there is none
	n, err = io.CopyBuffer(struct{ io.Writer }{f}, from, b)
	if bad := f.Chmod(0o644); err == nil {
		err = bad
	}
	if bad := f.Close(); err == nil {
		err = bad
	}
	if err == nil {
		err = os.Rename(f.Name(), path)
	}
	return n, err
}
