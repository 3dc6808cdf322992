package main

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"os"

	"github.com/spf13/cobra"
)

// security is what the flags of TLS say: files in PEM.
type security struct{ cert, key, ca string }

// registerNode adds the flags of a node.
func (s *security) registerNode(cmd *cobra.Command) {
	f := cmd.Flags()
	f.StringVar(&s.cert, "tls-cert", "", "file with this node's certificate, for the host of its address; it encrypts all connections")
	f.StringVar(&s.key, "tls-key", "", "file with the certificate's private key")
	f.StringVar(&s.ca, "tls-ca", "", "file with whom nodes and clients must be certified by; empty: nodes by the system's, clients by nobody")
}

// registerClient adds the flags of a client, with defaults from the environment.
func (s *security) registerClient(cmd *cobra.Command) {
	f := cmd.Flags()
	f.StringVar(&s.ca, "tls-ca", os.Getenv(envPrefix+"TLS_CA"),
		"file with whom nodes are certified by; it makes connections TLS; DYNAMO_TLS_CA sets the default")
	f.StringVar(&s.cert, "tls-cert", os.Getenv(envPrefix+"TLS_CERT"),
		"file with a certificate, where nodes ask for one; DYNAMO_TLS_CERT sets the default")
	f.StringVar(&s.key, "tls-key", os.Getenv(envPrefix+"TLS_KEY"),
		"file with its private key; DYNAMO_TLS_KEY sets the default")
}

// node returns the configuration of a node; nil: it has no TLS.
func (s *security) node() (*tls.Config, error) {
	if s.cert == "" && s.key == "" && s.ca == "" {
		return nil, nil
	}
	if s.cert == "" {
		return nil, errors.New("a node with TLS needs a certificate of its own: give it with --tls-cert and --tls-key")
	}
	c, err := s.common()
	if err != nil || s.ca == "" {
		return c, err
	}
	c.ClientCAs, c.ClientAuth = c.RootCAs, tls.RequireAndVerifyClientCert
	return c, nil
}

// client returns the configuration of a client; nil: it has no TLS.
func (s *security) client() (*tls.Config, error) {
	if s.cert == "" && s.key == "" && s.ca == "" {
		return nil, nil
	}
	if s.ca == "" {
		return nil, errors.New("a client's certificate is for TLS, which needs to know whom nodes are certified by: give it with --tls-ca")
	}
	return s.common()
}

// common returns what nodes and clients have in common: their certificate, if
// there is one, and whom they trust as a node.
func (s *security) common() (*tls.Config, error) {
	if (s.cert == "") != (s.key == "") {
		return nil, errors.New("--tls-cert and --tls-key are of use together only: give both")
	}
	c := &tls.Config{MinVersion: tls.VersionTLS13}
	if s.cert != "" {
		cert, err := tls.LoadX509KeyPair(s.cert, s.key)
		if err != nil {
			return nil, fmt.Errorf("--tls-cert %s and --tls-key %s cannot be used: %w", s.cert, s.key, err)
		}
		c.Certificates = []tls.Certificate{cert}
	}
	if s.ca == "" {
		return c, nil
	}
	pem, err := os.ReadFile(s.ca)
	if err != nil {
		return nil, fmt.Errorf("--tls-ca: %w", err)
	}
	c.RootCAs = x509.NewCertPool()
	if !c.RootCAs.AppendCertsFromPEM(pem) {
		return nil, fmt.Errorf("--tls-ca %s has no certificate in PEM", s.ca)
	}
	return c, nil
}
