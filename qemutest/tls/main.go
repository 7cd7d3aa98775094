// Command tls looks at the certificates of authorities that it finds, and connects to
// a server of its own on the loopback. It has nothing of Sluice in it.
package main

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"log"
	"math/big"
	"net"
	"time"
)

func main() {
	log.SetFlags(0)
	system, err := x509.SystemCertPool()
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println("roots:", len(system.Subjects())) //lint:ignore SA1019 the file's are in it: no platform verifier is asked
	own, err := certificate()
	if err != nil {
		log.Fatal(err)
	}
	address, err := serve(own)
	if err != nil {
		log.Fatal(err)
	}
	unknown := new(x509.UnknownAuthorityError)
	fmt.Println("system's authorities: unknown authority:", errors.As(dial(address, nil), unknown))
	pool := x509.NewCertPool()
	pool.AddCert(own.Leaf)
	fmt.Println("the server's own certificate:", dial(address, pool))
}

// certificate makes one for the loopback, signed by itself.
func certificate() (tls.Certificate, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return tls.Certificate{}, err
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, IsCA: true, BasicConstraintsValid: true,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		return tls.Certificate{}, err
	}
	leaf, err := x509.ParseCertificate(der)
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key, Leaf: leaf}, err
}

// serve accepts connections for as long as the program runs, and returns its address.
func serve(own tls.Certificate) (string, error) {
	l, err := tls.Listen("tcp", "127.0.0.1:0", &tls.Config{Certificates: []tls.Certificate{own}})
	if err != nil {
		return "", err
	}
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
	return l.Addr().String(), nil
}

// dial connects with the authorities of a pool; nil: the system's.
func dial(address string, pool *x509.CertPool) error {
	c, err := tls.Dial("tcp", address, &tls.Config{RootCAs: pool})
	if err != nil {
		return err
	}
	return c.Close()
}
