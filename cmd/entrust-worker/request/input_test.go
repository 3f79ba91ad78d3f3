package request

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

func someCSR(t *testing.T) []byte {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.CreateCertificateRequest(rand.Reader, &x509.CertificateRequest{DNSNames: []string{"a.example"}}, key)
	if err != nil {
		t.Fatal(err)
	}
	return der
}

func TestReadCSRs(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	write := func(name string, parts ...[]byte) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, bytes.Join(parts, []byte("\n")), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	armour := func(kind string, der []byte) []byte { return pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}) }
	a, b := someCSR(t), someCSR(t)
	one := write("one.csr", armour("CERTIFICATE REQUEST", a))
	old := write("old.csr", armour("NEW CERTIFICATE REQUEST", a))
	two := write("two.csr", []byte("# for web"), armour("CERTIFICATE REQUEST", a), armour("CERTIFICATE REQUEST", b))
	mixed := write("mixed.pem", armour("PRIVATE KEY", []byte("k")), armour("CERTIFICATE REQUEST", b))
	der := write("a.der", a)
	odd := write("odd[1].csr", armour("CERTIFICATE REQUEST", a))
	cert := write("cert.pem", armour("CERTIFICATE", []byte("c")))
	empty := write("empty.csr")

	for name, tc := range map[string]struct {
		args  []string
		stdin string
		want  int    // certificate requests
		err   string // part of it
	}{
		"PEM":                       {args: []string{one}, want: 1},
		"the name that IIS writes":  {args: []string{old}, want: 1},
		"several in a file":         {args: []string{two}, want: 2},
		"beside a key":              {args: []string{mixed}, want: 1},
		"DER":                       {args: []string{der}, want: 1},
		"standard input":            {args: []string{"-"}, stdin: string(armour("CERTIFICATE REQUEST", a)), want: 1},
		"glob":                      {args: []string{filepath.Join(dir, "*e.csr")}, want: 1},
		"two globs that meet":       {args: []string{filepath.Join(dir, "o*e.csr"), one}, want: 1},
		"a file named like a glob":  {args: []string{odd}, want: 1},
		"glob without match":        {args: []string{filepath.Join(dir, "*.nothing")}, err: "no file matches"},
		"glob that cannot be read":  {args: []string{"[a"}, err: "syntax error in pattern"},
		"certificate":               {args: []string{cert}, err: "holds a certificate, not a certificate request"},
		"nothing":                   {args: []string{empty}, err: "not a certificate request in PEM, DER or base64"},
		"nothing on standard input": {args: []string{"-"}, err: "standard input: not a certificate request"},
		"folder":                    {args: []string{dir}, err: "is a directory"},
		"one of them is not there":  {args: []string{one, filepath.Join(dir, "absent")}, err: "no such file"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got, err := readCSRs(tc.args, strings.NewReader(tc.stdin))
			if tc.err != "" {
				if err == nil || !strings.Contains(err.Error(), tc.err) {
					t.Errorf("got %v, want %q", err, tc.err)
				}
				return
			}
			if err != nil || len(got) != tc.want {
				t.Fatalf("got %d, %v; want %d", len(got), err, tc.want)
			}
			for _, c := range got {
				if block, rest := pem.Decode([]byte(c.pem)); block == nil || block.Type != "CERTIFICATE REQUEST" || len(rest) > 0 {
					t.Errorf("%s is not one certificate request in PEM", c.source)
				}
			}
		})
	}
}

func TestFileNames(t *testing.T) {
	t.Parallel()
	file := func(path string) csr { return csr{source: path, file: true} }
	for name, tc := range map[string]struct {
		csrs []csr
		want []string
	}{
		"one each":              {[]csr{file("csr/g1.csr"), file("csr/g2.tar.csr")}, []string{"g1", "g2.tar"}},
		"several in a file":     {[]csr{file("g1.csr"), file("two.csr"), file("two.csr")}, []string{"g1", "", ""}},
		"two called alike":      {[]csr{file("a/g1.csr"), file("b/g1.pem"), file("b/g2.csr")}, []string{"", "", "g2"}},
		"alike but for case":    {[]csr{file("g1.csr"), file("G1.csr")}, []string{"", ""}},
		"standard input":        {[]csr{{source: "standard input"}}, []string{""}},
		"nothing but an ending": {[]csr{file("x/.csr")}, []string{""}},
	} {
		if got := fileNames(tc.csrs); !slices.Equal(got, tc.want) {
			t.Errorf("%s: got %q, want %q", name, got, tc.want)
		}
	}
}
