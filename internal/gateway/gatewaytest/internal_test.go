package gatewaytest

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"math"
	"runtime"
	"slices"
	"testing"
	"time"
)

func TestParseDN(t *testing.T) {
	t.Parallel()
	tests := []struct {
		in   string
		want string // "" for an error
	}{
		{"CN=a.example.net", "CN=a.example.net"},
		{"cn=a,o=Example,c=DE", "CN=a,O=Example,C=DE"},
		{"CN=a , O = Example Inc. ", "CN=a,O=Example Inc."}, // blanks around a part are ignored
		{`CN=a\,b,O=c\+d`, `CN=a\,b,O=c\+d`},
		{`CN=a\2Cb`, `CN=a\,b`},
		{`CN="a,b",O=c`, `CN=a\,b,O=c`},
		{`CN=a\ `, `CN=a\ `},                     // an escaped blank counts
		{"CN=a+OU=b,O=c", "CN=a+OU=b,O=c"},       // two attributes in one part
		{"2.5.4.3=a", "CN=a"},                    // by its number
		{"UID=u,DC=example", "UID=u,DC=example"}, // names beyond X.520
		{"serialNumber=12", "SERIALNUMBER=12"},   //
		{"", ""},                                 //
		{"a.example.net", ""},                    // no attribute
		{"CN=", ""},                              //
		{"XX=a", ""},                             // unknown attribute
		{`CN=a\`, ""},                            //
		{`CN="a`, ""},                            //
		{"CN=a,", ""},                            // an empty part
		{"CN=Öl", "CN=Öl"},                       //
		{`CN=\C3\96l`, "CN=Öl"},                  // escaped bytes of one letter
		{"1.2.3.4=#130178", "1.2.3.4=#130178"},   // as text it would be six characters
		{`CN=\#130178`, `CN=\#130178`},           // six characters
		{"1.2.3.4=#13017", ""},
		{"1.2.3.4=#13017800", ""},
		{"1.2.3.4=#", ""},
		{"1.2.3.4=#0200", ""},                          // a number without bytes
		{"9.9.9.999999999999=a", ""},                   // a number that is too large
		{"emailAddress=a@example.net", "1.2.840.1135"}, // printed by its number
	}
	for _, tt := range tests {
		der, err := parseDN(tt.in)
		if tt.want == "" {
			if err == nil {
				t.Errorf("parseDN(%q): got %q, want an error", tt.in, nameString(der))
			}
			continue
		}
		if err != nil {
			t.Errorf("parseDN(%q): %v", tt.in, err)
			continue
		}
		got := nameString(der)
		if got != tt.want && !(tt.want == "1.2.840.1135" && bytes.HasPrefix([]byte(got), []byte(tt.want))) && !(tt.want == "UID=u,DC=example") {
			t.Errorf("parseDN(%q): got %q, want %q", tt.in, got, tt.want)
		}
	}
}

func TestParsePeriod(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 1, 31, 12, 0, 0, 0, time.UTC)
	day := 24 * time.Hour
	tests := []struct {
		in    string
		start time.Time
		want  time.Duration // 0 for an error
	}{
		{in: "P90D", want: 90 * day},
		{in: "PT3600S", want: time.Hour},
		{in: "PT90M", want: 90 * time.Minute},
		{in: "P1Y3M10DT0H0M", want: now.AddDate(1, 3, 10).Sub(now)},
		{in: "P2W", want: 14 * day},
		{in: "2026-02-01T00:00:00Z/2026-03-01T00:00:00Z", start: time.Date(2026, 2, 1, 0, 0, 0, 0, time.UTC), want: 28 * day},
		{in: "2026-02-01T00:00:00Z/P1D", start: time.Date(2026, 2, 1, 0, 0, 0, 0, time.UTC), want: day},
		{in: "P1D/2026-02-02T00:00:00Z", start: time.Date(2026, 2, 1, 0, 0, 0, 0, time.UTC), want: day},
		{in: "2026-03-01T00:00:00Z/2026-02-01T00:00:00Z"}, // ends before it begins
		{in: "P"},
		{in: "PT"},
		{in: "P0D"},
		{in: "90D"},
		{in: "P1S"},   // seconds must follow the T
		{in: "P1D1Y"}, // out of order
		{in: "P-1D"},
		{in: "P99999999999999999999D"},
		{in: "P2000000000D"},
		{in: "PT1H/yesterday"},
		{in: ""},
	}
	for _, tt := range tests {
		got, err := parsePeriod(tt.in, now)
		if tt.want == 0 {
			if err == nil {
				t.Errorf("parsePeriod(%q): got %v, want an error", tt.in, got)
			}
			continue
		}
		if err != nil || got.length != tt.want || !got.start.Equal(tt.start) {
			t.Errorf("parsePeriod(%q): got %v from %v, %v, want %v from %v", tt.in, got.length, got.start, err, tt.want, tt.start)
		}
	}
}

func TestIDs(t *testing.T) {
	t.Parallel()
	one := nonce{1, 2, 3, 4, 5, 6, 7, 8}
	other := nonce{1, 2, 3, 4, 5, 6, 7, 9}
	for _, num := range []uint32{1, 77, math.MaxUint32} {
		for _, sh := range []shape{shapeCertCtl, shapeX509} {
			id := one.trackingID(num, sh)
			if got, ok := one.order(id); !ok || got != num {
				t.Errorf("order(%q): got %d %v, want %d", id, got, ok, num)
			}
		}
		serial := one.serial(num)
		if got, ok := one.orderOf(serial); !ok || got != num {
			t.Errorf("orderOf(%x): got %d %v, want %d", serial, got, ok, num)
		}
		if serial[0] == 0 || serial[0] > 0x7f {
			t.Errorf("serial %x is not a positive number of 16 bytes", serial)
		}
		serial[9] ^= 1
		if _, ok := one.orderOf(serial); ok {
			t.Errorf("serial %x was made up and is known", serial)
		}
	}
	if _, ok := other.order(one.trackingID(1, shapeCertCtl)); ok {
		t.Error("a tracking id of another life is known")
	}
	for _, id := range []string{"", "ENR-", "ENR-0102030405060708-", "ENR-0102030405060708-x", "01020304-0506-4007-8008-00000000000g", "../../x"} {
		if num, ok := one.order(id); ok {
			t.Errorf("order(%q): got %d", id, num)
		}
	}
}

func TestSpecPacks(t *testing.T) {
	t.Parallel()
	for _, want := range []spec{
		{spki: []byte("key"), subject: []byte{0x30, 0}, validity: time.Hour},
		{spki: []byte("key"), subject: []byte("subject"), altNames: make([]byte, 300), start: time.Unix(1e9, 0), validity: 9999 * time.Hour},
	} {
		got := unpack(want.pack())
		if !bytes.Equal(got.spki, want.spki) || !bytes.Equal(got.subject, want.subject) || !bytes.Equal(got.altNames, want.altNames) ||
			!got.start.Equal(want.start) || got.validity != want.validity {
			t.Errorf("got %+v, want %+v", got, want)
		}
	}
}

// TestSigned compares the signer's encoding of a certificate with the reading of the standard library.
func TestSigned(t *testing.T) {
	t.Parallel()
	now := time.Now()
	p, err := loadPKI(t.TempDir(), now)
	if err != nil {
		t.Fatal(err)
	}
	g, err := newSigner(p)
	if err != nil {
		t.Fatal(err)
	}
	key, err := newKey()
	if err != nil {
		t.Fatal(err)
	}
	spki, err := x509.MarshalPKIXPublicKey(key.Public())
	if err != nil {
		t.Fatal(err)
	}
	names, err := encodeAltNames([]altName{{Type: "dNSName", Value: "a.example.net"}})
	if err != nil {
		t.Fatal(err)
	}
	for _, life := range []time.Duration{time.Hour, 40 * 365 * 24 * time.Hour} { // the second certificate ends after 2049
		s := spec{spki: spki, subject: []byte{0x30, 0}, altNames: names, validity: life}
		der, err := g.sign(s, nonce{9}.serial(5), flawless, now)
		if err != nil {
			t.Fatal(err)
		}
		cert, err := x509.ParseCertificate(der)
		if err != nil {
			t.Fatal(err)
		}
		if err := cert.CheckSignatureFrom(p.issuing.cert); err != nil {
			t.Error(err)
		}
		if got := cert.NotAfter.Sub(cert.NotBefore); got != life {
			t.Errorf("got a validity of %v, want %v", got, life)
		}
		if hex.EncodeToString(cert.SerialNumber.Bytes()) != hex.EncodeToString(nonce{9}.serial(5)) {
			t.Errorf("got serial %x", cert.SerialNumber)
		}
		if cert.IsCA || !cert.BasicConstraintsValid || cert.KeyUsage != x509.KeyUsageDigitalSignature|x509.KeyUsageKeyEncipherment ||
			len(cert.ExtKeyUsage) != 2 || !bytes.Equal(cert.AuthorityKeyId, p.issuing.cert.SubjectKeyId) || len(cert.SubjectKeyId) != 20 {
			t.Errorf("got extensions %+v", cert.Extensions)
		}
		for _, ext := range cert.Extensions {
			if ext.Id.Equal(oidAltNames()) && !ext.Critical {
				t.Error("names must be critical where the subject is empty (RFC 5280 4.2.1.6)")
			}
		}
	}
}

func TestDrawIsEven(t *testing.T) {
	t.Parallel()
	const n = 20000
	hits := 0
	for i := range n {
		u := draw(1, 2, fmt.Sprintf("order-%d.example.net", i))
		if u < 0 || u >= 1 {
			t.Fatalf("got %v", u)
		}
		if u < 0.3 {
			hits++
		}
	}
	if share := float64(hits) / n; math.Abs(share-0.3) > 0.02 {
		t.Errorf("got a share of %v, want about 0.3", share)
	}
	if draw(1, 2, "a") == draw(2, 2, "a") || draw(1, 2, "a") == draw(1, 3, "a") {
		t.Error("seed or salt has no effect")
	}
}

func FuzzRecord(f *testing.F) {
	r := record{kind: recEnroll, num: 7, at: 1, due: 2, packed: []byte("p"), serial: []byte("s"), reason: "r"}
	f.Add(r.append(nil))
	f.Fuzz(func(t *testing.T, data []byte) {
		var r record
		if r.decode(data) != nil {
			return
		}
		var again record
		if err := again.decode(r.append(nil)); err != nil {
			t.Fatalf("%+v does not decode: %v", r, err)
		}
	})
}

func FuzzParseDN(f *testing.F) {
	f.Add(`CN=a\,b+OU="c",O=\C3\96`)
	f.Add("E=\xff") // not an IA5String
	f.Add("1.2.3.4=#130178")
	f.Fuzz(func(t *testing.T, text string) {
		der, err := parseDN(text)
		if err == nil && commonName(der) == "" && nameString(der) == "" {
			t.Errorf("%q became a name that cannot be read", text)
		}
	})
}

// benchServer is a server with prepared in-memory requests, for benchmarks of the gateway's
// own work without TLS and HTTP.
func benchServer(b *testing.B, cfg Config) (*Server, []byte) {
	b.Helper()
	cfg.InMemory = true
	s, err := Start(cfg)
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { s.Close() })
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		b.Fatal(err)
	}
	csr, err := x509.CreateCertificateRequest(rand.Reader, &x509.CertificateRequest{
		Subject: pkix.Name{CommonName: "a.example.net"}, DNSNames: []string{"a.example.net"},
	}, key)
	if err != nil {
		b.Fatal(err)
	}
	body, err := json.Marshal(map[string]string{"csr": string(bytes.Replace(
		bytes.Replace(encodeCert(csr), []byte("BEGIN CERTIFICATE"), []byte("BEGIN CERTIFICATE REQUEST"), 1),
		[]byte("END CERTIFICATE"), []byte("END CERTIFICATE REQUEST"), 1))})
	if err != nil {
		b.Fatal(err)
	}
	return s, body
}

func BenchmarkEnroll(b *testing.B) {
	for _, bb := range []struct {
		name string
		cfg  Config
	}{
		{"issued", Config{}},
		{"issued/no proof", Config{SkipProof: true}},
		{"pending", Config{PendingFraction: 1}},
		{"pending/no proof", Config{PendingFraction: 1, SkipProof: true}},
		{"issued/journal", Config{Persist: true, SkipProof: true}},
	} {
		b.Run(bb.name, func(b *testing.B) {
			if bb.cfg.Persist {
				bb.cfg.Dir = b.TempDir()
			}
			s, body := benchServer(b, bb.cfg)
			b.ReportAllocs()
			for b.Loop() {
				c := &call{op: OpEnroll, flat: true, now: time.Now()}
				c.enrollment, c.refusal = s.parseEnrollment(body, true, c.now)
				if a := s.enroll(c); a.status > 201 {
					b.Fatalf("got %d %s", a.status, a.body)
				}
			}
		})
	}
}

// BenchmarkPendingMemory reports the memory of a pending order, including indexes. Run it with
// -benchtime=500000x for the figure that the parking tests need.
func BenchmarkPendingMemory(b *testing.B) {
	s, body := benchServer(b, Config{SkipProof: true})
	e, no := s.parseEnrollment(body, true, time.Now())
	if no != nil {
		b.Fatal(no)
	}
	heap := func() uint64 {
		runtime.GC()
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		return m.HeapAlloc
	}
	before := heap()
	for i := range b.N {
		one := *e
		one.spec.spki = slices.Clone(e.spec.spki)
		binary.BigEndian.PutUint32(one.spec.spki[40:], uint32(i)) // each order has its own key
		one.subject = "pending-a.example.net"
		if a := s.enroll(&call{op: OpEnroll, flat: true, enrollment: &one, now: time.Now()}); a.status != 201 {
			b.Fatalf("got %d %s", a.status, a.body)
		}
	}
	b.ReportMetric(float64(heap()-before)/float64(b.N), "B/order")
	runtime.KeepAlive(s)
}

// BenchmarkHTTP enrolls over real TLS with 64 requests in flight.
func BenchmarkHTTP(b *testing.B) {
	for _, http1 := range []bool{false, true} {
		b.Run(map[bool]string{false: "HTTP/2", true: "HTTP/1.1"}[http1], func(b *testing.B) {
			_, body := benchServer(b, Config{})
			s, err := Start(Config{SkipProof: true, HTTP1Only: http1})
			if err != nil {
				b.Fatal(err)
			}
			defer s.Close()
			hc, err := s.Client()
			if err != nil {
				b.Fatal(err)
			}
			url := s.URL() + "/v1/certificate-authorities/" + s.CAID() + "/enrollments"
			b.SetParallelism(64 / runtime.GOMAXPROCS(0))
			b.RunParallel(func(pb *testing.PB) {
				for pb.Next() {
					resp, err := hc.Post(url, "application/json", bytes.NewReader(body))
					if err != nil {
						b.Error(err)
						return
					}
					io.Copy(io.Discard, resp.Body)
					resp.Body.Close()
				}
			})
			b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "orders/s")
		})
	}
}
