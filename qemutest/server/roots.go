package main

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"math/big"
	"net"
	"time"
)

// roots says whether the system has certificates of authorities, which a server that
// made its own is not among.
func roots() error {
	system, err := x509.SystemCertPool()
	if err != nil {
		return err
	}
	if system.Equal(x509.NewCertPool()) {
		return errors.New("the system trusts nobody")
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return err
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(time.Hour),
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, IsCA: true, BasicConstraintsValid: true,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		return err
	}
	l, err := tls.Listen("tcp", "127.0.0.1:0", &tls.Config{Certificates: []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: key}}})
	if err != nil {
		return err
	}
	defer l.Close()
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			c.(*tls.Conn).Handshake() // the other side says how it ended
			c.Close()
		}
	}()
	own, err := x509.ParseCertificate(der)
	if err != nil {
		return err
	}
	pool := x509.NewCertPool()
	pool.AddCert(own)
	for _, trusted := range []*x509.CertPool{nil, pool} {
		c, err := tls.Dial("tcp", l.Addr().String(), &tls.Config{RootCAs: trusted})
		if err == nil {
			c.Close()
		}
		if unknown := new(x509.UnknownAuthorityError); errors.As(err, unknown) != (trusted == nil) || trusted != nil && err != nil {
			return fmt.Errorf("with a pool %v: %w", trusted != nil, err)
		}
	}
	return nil
}
