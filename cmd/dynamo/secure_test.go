package main

import (
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/dynamo-kv/dynamo/internal/transport/tlstest"
)

// writeCertificate writes a certificate for 127.0.0.1 that vouches for itself
// into NAME.pem, and its key into NAME-key.pem.
func writeCertificate(name string) error {
	cert, err := tlstest.Certificate(name)
	if err != nil {
		return err
	}
	secret, err := x509.MarshalPKCS8PrivateKey(cert.PrivateKey)
	if err != nil {
		return err
	}
	write := func(path, kind string, b []byte) error {
		return os.WriteFile(path, pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: b}), 0o600)
	}
	return errors.Join(write(name+".pem", "CERTIFICATE", cert.Certificate[0]), write(name+"-key.pem", "PRIVATE KEY", secret))
}

func cmdCertificate(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: certificate NAME")
	}
	ts.Check(writeCertificate(ts.MkAbs(args[0])))
}

// TestSecurity: what the files make of nodes and clients, and what is wrong with
// those that cannot be.
func TestSecurity(t *testing.T) {
	folder := t.TempDir()
	one, two := filepath.Join(folder, "one"), filepath.Join(folder, "two")
	for _, name := range []string{one, two} {
		if err := writeCertificate(name); err != nil {
			t.Fatal(err)
		}
	}
	const both = "give both"
	for name, c := range map[string]struct {
		files        security
		node, client string // their faults; empty: none, "off": no TLS
	}{
		"nothing":                  {security{}, "off", "off"},
		"all":                      {security{one + ".pem", one + "-key.pem", two + ".pem"}, "", ""},
		"a certificate alone":      {security{one + ".pem", one + "-key.pem", ""}, "", "give it with --tls-ca"},
		"whom to trust alone":      {security{"", "", one + ".pem"}, "give it with --tls-cert and --tls-key", ""},
		"no key":                   {security{one + ".pem", "", two + ".pem"}, both, both},
		"no certificate":           {security{"", one + "-key.pem", two + ".pem"}, "give it with --tls-cert and --tls-key", both},
		"another one's key":        {security{one + ".pem", two + "-key.pem", two + ".pem"}, "does not match", "does not match"},
		"no file":                  {security{one + ".pem", one + "-key.pem", folder + "/none"}, "no such file", "no such file"},
		"no certificate in a file": {security{one + ".pem", one + "-key.pem", one + "-key.pem"}, "has no certificate in PEM", "has no certificate in PEM"},
	} {
		t.Run(name, func(t *testing.T) {
			node, err := c.files.node()
			wantSecurity(t, "a node", node, err, c.node)
			if node != nil && (node.ClientAuth == tls.RequireAndVerifyClientCert) != (c.files.ca != "") {
				t.Errorf("a node wants %v of clients", node.ClientAuth)
			}
			client, err := c.files.client()
			wantSecurity(t, "a client", client, err, c.client)
		})
	}
}

func wantSecurity(t *testing.T, who string, got *tls.Config, err error, fault string) {
	t.Helper()
	switch {
	case fault == "off":
		if got != nil || err != nil {
			t.Errorf("%s has TLS: %v, %v", who, got, err)
		}
	case fault == "":
		if err != nil || got == nil || got.MinVersion != tls.VersionTLS13 {
			t.Errorf("%s: %v, %v", who, got, err)
		}
	case err == nil || !strings.Contains(err.Error(), fault):
		t.Errorf("%s: %v; want a fault that says %q", who, err, fault)
	}
}
