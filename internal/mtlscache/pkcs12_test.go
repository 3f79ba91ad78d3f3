package mtlscache

import (
	"bytes"
	"crypto"
	"crypto/x509"
	"encoding/asn1"
	"encoding/pem"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"software.sslmate.com/src/go-pkcs12"

	"github.com/entrust-worker/entrust-worker/internal/gateway/gatewaytest"
)

// TestPKCS12Files reads the files of OpenSSL, the JDK and Bouncy Castle in their
// variants (testdata/pkcs12/make.sh makes them), and each of them again in each style
// of BER. With each it makes a call to the simulator, which trusts only the root.
func TestPKCS12Files(t *testing.T) {
	t.Parallel()
	const made = "testdata/pkcs12/"
	files, err := filepath.Glob(made + "*.p12")
	if err != nil || len(files) != 35 {
		t.Fatalf("%d files, %v; want 35", len(files), err)
	}
	dir := t.TempDir() // the simulator uses the CA in it
	for from, to := range map[string]string{"root.pem": "ca.crt", "root.key": "ca.key"} {
		if err := os.WriteFile(filepath.Join(dir, to), content(t, made+from), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	sim, err := gatewaytest.Start(gatewaytest.Config{Dir: dir})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { sim.Close() })
	passwords := map[string]string{
		"empty-password": "", "empty-password-3des": "", "unicode-password": "pässwörd €", "unicode-password-3des": "pässwörd €",
	}
	for _, file := range files {
		name := strings.TrimSuffix(filepath.Base(file), ".p12")
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f := &family{dir: t.TempDir()}
			password, ok := passwords[name]
			if !ok {
				password = "secret"
			}
			f.write(t, "password", []byte(password+"\n"))
			leaf := "ec"
			if name == "rsa" || name == "ed25519" {
				leaf = name
			}
			want := [][]byte{onlyBlock(t, made+leaf+".pem"), onlyBlock(t, made+"sub.pem")}
			use := func(how string, file []byte) {
				t.Helper()
				f.write(t, "client.p12", file)
				c, err := New(Config{PKCS12File: f.path("client.p12"), PKCS12PasswordFile: f.path("password"), ServerCAFile: sim.ServerCA()})
				if err != nil {
					t.Errorf("%s: %v", how, err)
					return
				}
				defer c.Close()
				if got := c.state.Load().pair.Certificate; !slices.EqualFunc(got, want, bytes.Equal) || len(c.Warnings()) > 0 {
					t.Errorf("%s: %d certificates are shown, want the client's and its issuer's; warnings %q", how, len(got), c.Warnings())
				}
				res, err := (&http.Client{Transport: c}).Get(sim.URL() + "/v1/certificate-authorities/" + sim.CAID())
				if err != nil {
					t.Errorf("%s: calling the simulator: %v", how, err)
					return
				}
				defer res.Body.Close()
				if res.StatusCode != http.StatusOK {
					t.Errorf("%s: the simulator answers %s", how, res.Status)
				}
			}
			whole := content(t, file)
			use("as it is", whole)
			der, err := toDER(whole) // Bouncy Castle writes BER
			if err != nil {
				t.Fatal(err)
			}
			for _, style := range berStyles {
				use(style.name, style.write(t, der))
				use(style.name+" down to the bags", style.writePFX(t, der, password))
			}
		})
	}
}

// content returns the content of a file.
func content(t testing.TB, path string) []byte {
	t.Helper()
	content, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return content
}

// onlyBlock returns the content of a PEM file with one block.
func onlyBlock(t testing.TB, path string) []byte {
	t.Helper()
	block, rest := pem.Decode(content(t, path))
	if block == nil || len(rest) > 0 {
		t.Fatalf("%s is not one PEM block", path)
	}
	return block.Bytes
}

// TestPKCS12OfOthers reads files that other tools wrote; testdata/README.md says
// which.
func TestPKCS12OfOthers(t *testing.T) {
	t.Parallel()
	password := filepath.Join(t.TempDir(), "password")
	if err := os.WriteFile(password, []byte("secret"), 0o600); err != nil {
		t.Fatal(err)
	}
	files, err := filepath.Glob("testdata/*.p12")
	if err != nil || len(files) != 5 {
		t.Fatal(files, err)
	}
	for _, file := range files {
		c, err := New(Config{PKCS12File: file, PKCS12PasswordFile: password})
		if err != nil {
			t.Error(err)
			continue
		}
		if s := c.state.Load(); s.pair.Leaf.Subject.CommonName != "client" || len(s.pair.Certificate) != 1 || len(s.warnings) > 0 {
			t.Errorf("%s: %v with %d certificates and the warnings %q, want that of the client alone", file, s.pair.Leaf.Subject, len(s.pair.Certificate), s.warnings)
		}
		wrong := filepath.Join(t.TempDir(), "password")
		if err := os.WriteFile(wrong, []byte("hush"), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := New(Config{PKCS12File: file, PKCS12PasswordFile: wrong}); err == nil || !strings.Contains(err.Error(), "the password does not open it") {
			t.Errorf("%s with another password: %v", file, err)
		}
	}
}

// TestPasswordFiles writes one password in the ways of editors and shells.
func TestPasswordFiles(t *testing.T) {
	t.Parallel()
	f := newFamily(t, newKey(t))
	const password = "pässwörd € 1 "
	der, err := pkcs12.Modern2026.Encode(f.client.key, f.client.cert, []*x509.Certificate{f.root.cert, f.sub.cert}, password) // with PBMAC1
	if err != nil {
		t.Fatal(err)
	}
	f.write(t, "client.p12", der)
	utf16 := func(order func(unit rune) []byte) string {
		var b []byte
		for _, unit := range "\ufeff" + password + "\r\n" {
			b = append(b, order(unit)...)
		}
		return string(b)
	}
	for name, content := range map[string]string{
		"alone":               password,
		"a line":              password + "\n",
		"a line of Windows":   password + "\r\n",
		"a byte-order mark":   "\xef\xbb\xbf" + password + "\r\n",
		"UTF-16, little end":  utf16(func(unit rune) []byte { return []byte{byte(unit), byte(unit >> 8)} }),
		"UTF-16, big end":     utf16(func(unit rune) []byte { return []byte{byte(unit >> 8), byte(unit)} }),
		"an empty line below": password + "\n\n",
	} {
		f.write(t, "password", []byte(content))
		t.Run(name, func(t *testing.T) {
			f.read(t, Config{PKCS12File: f.path("client.p12"), PKCS12PasswordFile: f.path("password")})
		})
	}
	f.write(t, "password", []byte("one\ntwo\n"))
	if _, err := New(Config{PKCS12File: f.path("client.p12"), PKCS12PasswordFile: f.path("password")}); err == nil || !strings.Contains(err.Error(), "holds several lines") {
		t.Errorf("two lines: %v", err)
	}
}

// TestPKCS12Bags combines bags as some tools do and OpenSSL cannot.
func TestPKCS12Bags(t *testing.T) {
	t.Parallel()
	f := newFamily(t, newKey(t))
	older := newSigned(t, "client", newKey(t), f.sub, func(c *x509.Certificate) { c.NotAfter = time.Date(2090, 1, 1, 0, 0, 0, 0, time.UTC) })
	stranger := newKey(t)
	marshal := func(v any) []byte {
		t.Helper()
		der, err := asn1.Marshal(v)
		if err != nil {
			t.Fatal(err)
		}
		return der
	}
	key := func(key crypto.Signer) safeBag {
		t.Helper()
		der, err := x509.MarshalPKCS8PrivateKey(key)
		if err != nil {
			t.Fatal(err)
		}
		return safeBag{Kind: oidKeyBag, Value: explicit(der)}
	}
	raw := func(der []byte) safeBag {
		return safeBag{Kind: oidCertBag, Value: explicit(marshal(certBag{oidX509, der}))}
	}
	cert := func(s *signed) safeBag { return raw(s.cert.Raw) }
	secret := safeBag{Kind: asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 12, 10, 1, 5}, Value: explicit(marshal("?"))}
	for _, tc := range []struct {
		name  string
		parts [][]safeBag
		want  string // part of the error; empty: read
		warns string // part of the only warning; empty: none
	}{
		{name: "the issuers first", parts: [][]safeBag{{cert(f.root), cert(f.sub), cert(f.client)}, {key(f.client.key)}}},
		{name: "the key first", parts: [][]safeBag{{key(f.client.key)}, {cert(f.sub), cert(f.client)}}},
		{name: "one part", parts: [][]safeBag{{cert(f.sub), key(f.client.key), cert(f.client)}}},
		{name: "a part for each", parts: [][]safeBag{{key(f.client.key)}, {cert(f.client)}, {}, {cert(f.sub)}, {cert(f.root)}}},
		{name: "twice", parts: [][]safeBag{{key(f.client.key), cert(f.client), cert(f.sub)}, {key(f.client.key), cert(f.client), cert(f.sub)}}},
		{name: "a bag of another kind", parts: [][]safeBag{{secret, key(f.client.key)}, {cert(f.client), secret, cert(f.sub)}}},
		{name: "two pairs", parts: [][]safeBag{{key(older.key), key(f.client.key)}, {cert(older), cert(f.client), cert(f.sub)}}, warns: "is not sent"},
		{name: "a key without a certificate", parts: [][]safeBag{{key(stranger), key(f.client.key)}, {cert(f.client), cert(f.sub)}}},
		{name: "a certificate that Go refuses", parts: [][]safeBag{{key(f.client.key)}, {cert(f.client), raw([]byte("hush")), cert(f.sub)}}, warns: "certificate 2 is left out"},
		{name: "no key", parts: [][]safeBag{{cert(f.client)}}, want: "is not a PKCS#12 file of a key and its certificates"},
		{name: "no certificate", parts: [][]safeBag{{key(f.client.key)}}, want: "is not a PKCS#12 file of a key and its certificates"},
		{name: "another key", parts: [][]safeBag{{key(stranger)}, {cert(f.client)}}, want: "no certificate in it matches its key"},
		{name: "too many keys", parts: [][]safeBag{slices.Repeat([]safeBag{key(stranger)}, 17), {cert(f.client)}}, want: "uses more than 16 keys, which is not supported; convert it"},
	} {
		for _, style := range append(berStyles, berStyle{name: "DER"}) {
			t.Run(fmt.Sprintf("%s, %s", tc.name, style.name), func(t *testing.T) {
				var infos []contentInfo
				for _, bags := range tc.parts {
					info, err := data(style.write(t, marshal(bags)))
					if err != nil {
						t.Fatal(err)
					}
					infos = append(infos, info)
				}
				file, err := seal(style.write(t, marshal(infos)), "secret")
				if err != nil {
					t.Fatal(err)
				}
				f.write(t, "client.p12", style.write(t, file))
				f.write(t, "password", []byte("hush")) // only the MAC shows that it is wrong, since nothing is encrypted
				if _, err := New(Config{PKCS12File: f.path("client.p12"), PKCS12PasswordFile: f.path("password")}); err == nil || !strings.Contains(err.Error(), "the password does not open it") {
					t.Errorf("New with another password = %v", err)
				}
				f.write(t, "password", []byte("secret"))
				cfg := Config{PKCS12File: f.path("client.p12"), PKCS12PasswordFile: f.path("password")}
				if tc.want != "" {
					if _, err := New(cfg); err == nil || !strings.Contains(err.Error(), tc.want) {
						t.Errorf("New = %v, want %q", err, tc.want)
					}
					return
				}
				switch got := f.read(t, cfg).Warnings(); {
				case tc.warns == "" && len(got) == 0:
				case tc.warns != "" && len(got) == 1 && strings.Contains(got[0], tc.warns) && strings.Contains(got[0], cfg.PKCS12File):
				default:
					t.Errorf("Warnings() = %q, want %q", got, tc.warns)
				}
			})
		}
	}
}

// FuzzPKCS12 damages files. New returns a KeyPairError, or a cache with a pair.
func FuzzPKCS12(f *testing.F) {
	fam := newFamily(f, newKey(f))
	for _, encoder := range []*pkcs12.Encoder{pkcs12.Modern2026.WithIterations(1), pkcs12.LegacyRC2.WithIterations(1), pkcs12.Passwordless} {
		password := "secret"
		if encoder == pkcs12.Passwordless {
			password = ""
		}
		der, err := encoder.Encode(fam.client.key, fam.client.cert, []*x509.Certificate{fam.sub.cert}, password)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(der, password)
		for _, style := range berStyles {
			f.Add(style.writePFX(f, der, password), password)
		}
	}
	f.Fuzz(func(t *testing.T, content []byte, password string) {
		if rounds(content) {
			return
		}
		m, err := parsePKCS12([]string{"file", "password"}, [][]byte{content, []byte(password)})
		if _, ok := errors.AsType[*KeyPairError](err); err != nil && !ok {
			t.Fatalf("%v is no KeyPairError", err)
		}
		if err == nil && (m.pair.Leaf == nil || m.pair.PrivateKey == nil) {
			t.Fatal("no pair and no error")
		}
	})
}

// rounds reports whether content may ask for too many rounds of a hash for a fuzzer:
// whether it holds an integer of three bytes.
func rounds(content []byte) bool {
	return bytes.Contains(content, []byte{2, 3}) || bytes.Contains(content, []byte{2, 4})
}
