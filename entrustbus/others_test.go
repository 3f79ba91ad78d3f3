package entrustbus_test

import (
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/entrust-worker/entrust-worker/entrustbus"
)

func others(t testing.TB, name string) []byte {
	t.Helper()
	b, err := os.ReadFile(filepath.Join("testdata", "others", name))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// Messages as other programs write them.
func TestMessagesOfOtherSoftware(t *testing.T) {
	t.Parallel()
	for _, name := range []string{
		"old-raw-csr_der.msgpack", "bin-keys.msgpack", "unknown-key-ext.msgpack", "bom.json", "null-optionals.json", "null-optionals.msgpack",
	} {
		body := others(t, name)
		enc, err := entrustbus.EncodingOf("", body)
		if err != nil || enc.String() != strings.TrimPrefix(filepath.Ext(name), ".") {
			t.Errorf("%s: told as %v, %v", name, enc, err)
		}
		r, err := entrustbus.DecodeRequest(entrustbus.KindIssue, enc, body)
		if err != nil || r.OrderID() == "" {
			t.Errorf("%s: got %+v, %v", name, r, err)
		}
	}
	for name, body := range map[string]string{
		"the mark":    "\xff\xfe{\x00\"\x00i\x00d\x00",
		"big endian":  "\x00{\x00\"\x00i\x00d\x00\"",
		"no mark":     "{\x00\"\x00i\x00d\x00\"\x00",
		"mark, again": "\xfe\xff\x00{\x00\"",
	} {
		for _, enc := range encodings {
			r, err := entrustbus.DecodeRequest(entrustbus.KindIssue, enc, []byte(body))
			if r != nil || err == nil || !strings.Contains(err.Error(), "UTF-16") {
				t.Errorf("UTF-16 with %s: got %v, %v", name, r, err)
			}
		}
	}
}

// Certificate requests by other programs, through the bus and as files.
func TestCSRsOfOtherSoftware(t *testing.T) {
	t.Parallel()
	for _, row := range []struct{ file, keyType, refused, unverifiable string }{
		{"rsa512.csr", "", "has an RSA key of 512 bits, which is too short to be verified; use a key of at least 2048 bits", ""},
		{"forged.csr", "", "forged", ""},
		{"rsa2048-md5.csr", "", "is signed with MD5-RSA, which is broken; sign it with SHA-256 or better", ""},
		{"bp256.csr", "EC brainpoolP256r1", "", "not known"},
		{"secp256k1.csr", "EC secp256k1", "", "not known"},
		{"ed448.csr", "Ed448", "", "not known"},
		{"mldsa65.csr", "ML-DSA-65", "", "not known"},
		{"rsapss.csr", "RSASSA-PSS", "", "not known"},
		{"ed25519.csr", "Ed25519", "", ""},
		{"text.csr", "EC P-256", "", ""},
		{"utf8bom.csr", "EC P-256", "", ""},
		{"bare-base64.csr", "EC P-256", "", ""},
		{"new-crlf.csr", "EC P-256", "", ""},
		{"utf16le-bom.csr", "", "is UTF-16; write it as UTF-8", ""},
		{"utf8-san.csr", "", "write it as an A-label (xn--…)", ""},
		{"dot.csr", "EC P-256", "", ""},
		{"case.csr", "EC P-256", "", ""},
		{"noname.csr", "", "asks for no name", ""},
	} {
		data := others(t, row.file)
		for _, r := range []*entrustbus.Issue{{ID: "a", CSRPEM: string(data)}, {ID: "a", CSRDER: data}} {
			err := r.Validate()
			if row.refused != "" {
				var f *entrustbus.FieldError
				if !errors.As(err, &f) || !strings.HasPrefix(f.Field, "csr_") || !strings.Contains(err.Error(), row.refused) {
					t.Errorf("%s: got %v, want %q", row.file, err, row.refused)
				}
				continue
			}
			if err != nil {
				t.Errorf("%s: %v", row.file, err)
				continue
			}
			csr, err := r.CSR()
			if err != nil || csr.KeyType() != row.keyType {
				t.Errorf("%s: got %v, %v, want %s", row.file, csr.KeyType(), err, row.keyType)
			}
			var not *entrustbus.UnverifiableError
			if err := csr.Verifiable(); errors.As(err, &not) != (row.unverifiable != "") || not != nil && (!strings.Contains(not.Problem, row.unverifiable) || not.KeyType != row.keyType) {
				t.Errorf("%s: verifiable: %v", row.file, err)
			}
			// What the gateway client reads of it, whichever parser it was.
			if req := csr.Request; len(req.Raw) == 0 || len(req.RawSubject) == 0 || len(req.RawSubjectPublicKeyInfo) == 0 || len(req.Subject.Names)+len(req.Extensions) == 0 {
				t.Errorf("%s: got %+v", row.file, req)
			}
			if _, err := entrustbus.Digest(r); err != nil {
				t.Errorf("%s: %v", row.file, err)
			}
		}
		// The other door: a file. One in UTF-16 is read here, since it is the reader's own.
		if found, err := entrustbus.ReadCSRs(data); err != nil || len(found) != 1 {
			t.Errorf("%s as a file: got %d, %v", row.file, len(found), err)
		}
	}
	cased := &entrustbus.Issue{ID: "a", CSRPEM: string(others(t, "case.csr"))}
	csr, err := cased.CertificateRequest()
	if err != nil {
		t.Fatal(err)
	}
	cased.CommonName = strings.ToUpper(csr.Subject.CommonName) + "."
	if err := cased.Validate(); err != nil {
		t.Errorf("the common name in another case: %v", err)
	}
	nameless := &entrustbus.Issue{ID: "a", CSRPEM: string(others(t, "noname.csr"))}
	for name, give := range map[string]func(*entrustbus.Issue){
		"sans":              func(r *entrustbus.Issue) { r.SANs = []string{"a.example"} },
		"subject_dn":        func(r *entrustbus.Issue) { r.SubjectDN = "CN=a" },
		"subject_variables": func(r *entrustbus.Issue) { r.SubjectVariables = []entrustbus.SubjectVariable{{Type: "CN", Value: "a"}} },
	} {
		r := *nameless
		if give(&r); r.Validate() != nil {
			t.Errorf("a name by %s: %v", name, r.Validate())
		}
	}
	omitted := &entrustbus.Issue{ID: "a", CSRDER: csrOf(t, "only.example"), SubjectDN: "omit"}
	if err := omitted.Validate(); err == nil || !strings.Contains(err.Error(), "asks for no name") {
		t.Errorf("the only name omitted: got %v", err)
	}
}

// One certificate request in each form that it may have.
func TestFormsOfCSRs(t *testing.T) {
	t.Parallel()
	text, der := testdata(t, "request.pem"), csrDER(t)
	line := strings.ReplaceAll(text, "\n", "")
	base := base64.StdEncoding.EncodeToString(der)
	key := string(pem.EncodeToMemory(&pem.Block{Type: "EC PRIVATE KEY", Bytes: []byte{1, 2, 3}}))
	cert := testdata(t, "certificate.pem")
	for _, row := range []struct{ name, data, refused string }{
		{"PEM", text, ""},
		{"DER", string(der), ""},
		{"text around", "Certificate Request:\n    Data: x\n" + text + "\nthe end\n", ""},
		{"byte-order mark", "\ufeff" + text, ""},
		{"indented", "  " + strings.ReplaceAll(text, "\n", "\n    "), ""},
		{"on one line", line, ""},
		{"line ends written out", strings.ReplaceAll(text, "\n", `\n`), ""},
		{"CRLF written out", strings.ReplaceAll(text, "\n", `\r\n`), ""},
		{"old Macintosh", strings.ReplaceAll(text, "\n", "\r"), ""},
		{"blanks for line ends", strings.ReplaceAll(strings.ReplaceAll(line, "-----M", "----- M"), "=-", "= -"), ""},
		{"no width inside", strings.Replace(text, "\nM", "\n\u200bM", 1), ""},
		{"base64", base, ""},
		{"base64 in lines", strings.Join(slices.Collect(slices.Values(strings.SplitAfterN(base, "A", 5))), "\n"), ""},
		{"base64 for URLs", base64.RawURLEncoding.EncodeToString(der), ""},
		{"base64 of PEM", base64.StdEncoding.EncodeToString([]byte(text)), ""},
		{"two", text + text, "more than one PEM block"},
		{"with its key", key + text, "private key"},
		{"a certificate", cert, "holds a certificate, not a certificate request"},
		{"a certificate in DER", string(pemBytes(t, cert)), "holds a certificate, not a certificate request"},
		{"a key", key, "private key"},
		{"no END line", text[:len(text)-10], "without its END line"},
		{"not base64", strings.Replace(text, "\nM", "\n!", 1), "not base64"},
		{"headers", strings.Replace(text, "\nM", "\nProc-Type: 4,ENCRYPTED\n\nM", 1), "headers"},
		{"something else", "hello", "is not a certificate request in PEM, DER or base64"},
		{"cut", string(der[:100]), "PKCS#10"},
	} {
		for _, enc := range encodings {
			for _, field := range []string{"csr_pem", "csr_der"} {
				var body []byte
				value := any(row.data)
				switch {
				case enc == entrustbus.EncodingMsgpack:
					if field == "csr_der" {
						value = []byte(row.data)
					}
					body = pack(t, map[string]any{"id": "a", field: value})
				default:
					if field == "csr_der" && !strings.Contains(row.data, "-----BEGIN") {
						value = base64.StdEncoding.EncodeToString([]byte(row.data))
					} else if row.name == "DER" || row.name == "cut" || strings.HasSuffix(row.name, "in DER") {
						continue // JSON cannot hold it
					}
					var err error
					if body, err = json.Marshal(map[string]any{"id": "a", field: value}); err != nil {
						t.Fatal(err)
					}
				}
				r, err := entrustbus.DecodeRequest(entrustbus.KindIssue, enc, body)
				switch {
				case r == nil || r.OrderID() != "a":
					t.Errorf("%s in %v %s: no request: %v", row.name, enc, field, err)
				case row.refused != "":
					wantField(t, row.name, err, field)
					if err != nil && !strings.Contains(err.Error(), row.refused) {
						t.Errorf("%s in %v %s: got %v, want %q", row.name, enc, field, err, row.refused)
					}
				case err != nil:
					t.Errorf("%s in %v %s: %v", row.name, enc, field, err)
				case digest(t, r) != digest(t, &entrustbus.Issue{CSRDER: der}):
					t.Errorf("%s in %v %s: another digest", row.name, enc, field)
				}
			}
		}
	}
}

func pemBytes(t testing.TB, text string) []byte {
	t.Helper()
	b, _ := pem.Decode([]byte(text))
	return b.Bytes
}

// What the libraries of other languages make of the same request: testdata/others/writers/README.md says who wrote which.
func TestShapesOfOtherLibraries(t *testing.T) {
	t.Parallel()
	want := digest(t, &entrustbus.Issue{ID: "a", CSRPEM: testdata(t, "request.pem"), ValiditySeconds: 7776000})
	files, err := filepath.Glob(filepath.Join("testdata", "others", "writers", "*.[jm]s*"))
	if err != nil || len(files) != 20 {
		t.Fatalf("there are %d files, %v, want 20", len(files), err)
	}
	for _, file := range files {
		body := others(t, filepath.Join("writers", filepath.Base(file)))
		enc, err := entrustbus.EncodingOf("", body)
		if err != nil || enc.String() != strings.TrimPrefix(filepath.Ext(file), ".") {
			t.Errorf("%s: told as %v, %v", file, enc, err)
		}
		r, err := entrustbus.DecodeRequest(entrustbus.KindIssue, enc, body)
		if err != nil {
			t.Errorf("%s: %v", file, err)
		} else if digest(t, r) != want || r.OrderID() != "a" || len(r.Warnings()) > 0 || r.LabelMap() != nil {
			t.Errorf("%s: got %+v, warnings %q", file, r, r.Warnings())
		}
	}
}
