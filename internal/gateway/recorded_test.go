package gateway

import (
	"bytes"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"io"
	"iter"
	"maps"
	"math/big"
	"net/http"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

// recorded is a file of testdata/recorded: one fact about the wire, with the calls and answers
// that show it. Shapes are recorded, values are invented. {{name}} stands for a certificate or
// request that the test creates. "*" in an expected request stands for any text.
type recorded struct {
	Fact    string  `json:"fact"`
	Grade   string  `json:"grade"` // the weakest grade of the fact: R recorded or asserted live, C in a shipping client, D documented, G inferred
	Source  string  `json:"source"`
	Dialect Dialect `json:"dialect"`
	Op      Op      `json:"op"`
	In      struct {
		CAID       string `json:"ca_id"`
		Names      []string
		ValidFor   string `json:"valid_for"`
		SubjectDN  string `json:"subject_dn"`
		TrackingID string `json:"tracking_id"`
		Serial     string // hexadecimal
		Reason     string
		Comment    string
		NoCRL      bool              `json:"no_crl"`
		Omit       bool              `json:"omit_subject"`
		Variables  []SubjectVariable `json:"subject_variables"`
		Properties map[string]any
		EKUs       []string
		MustStaple bool   `json:"must_staple"`
		Period     string // of the validity
		Most       string `json:"max_valid_for"`
		Read       string // the resource of a read-only call
	} `json:"in"`
	Exchanges []struct {
		Method  string
		Path    string // escaped
		Query   map[string]string
		Body    any // compared as JSON; absent: the request has none
		Status  int
		Headers map[string]string
		Answer  any    // JSON
		Text    string // instead of Answer
	} `json:"exchanges"`
	Want struct {
		State      string
		Fate       string
		Class      string
		Code       string
		Message    string
		TrackingID string `json:"tracking_id"`
		Status     string
		Chain      int
		NotFound   bool   `json:"not_found"` // Find found nothing
		Problem    string // of CheckIssued
		Read       string // the result of a read-only call
	} `json:"want"`
}

func TestRecordedAnswers(t *testing.T) {
	t.Parallel()
	files, err := filepath.Glob("testdata/recorded/*.json")
	if err != nil || len(files) == 0 {
		t.Fatalf("no recorded answers: %v", err)
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".json"), func(t *testing.T) {
			t.Parallel()
			replay(t, file)
		})
	}
}

func replay(t *testing.T, file string) {
	data, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	var names struct{ In struct{ Names []string } }
	if err := json.Unmarshal(data, &names); err != nil {
		t.Fatal(err)
	}
	ca := newTestCA(t)
	csr := newCSR(t, names.In.Names...)
	for name, value := range stand(ca, csr) {
		text, _ := json.Marshal(value)
		data = bytes.ReplaceAll(data, []byte("{{"+name+"}}"), text[1:len(text)-1])
	}
	var rec recorded
	dec := json.NewDecoder(bytes.NewReader(data))
	dec.DisallowUnknownFields()
	if err := dec.Decode(&rec); err != nil {
		t.Fatal(err)
	}
	if i := bytes.Index(data, []byte("{{")); i >= 0 || rec.Fact == "" || len(rec.Grade) != 1 || !strings.Contains("RCDG", rec.Grade) || rec.Source == "" {
		t.Fatal("the file lacks its fact, grade or source, or holds an unknown {{name}}")
	}

	var mu sync.Mutex
	next := 0
	c := newClient(t, Config{Dialect: rec.Dialect, URL: "/cagw", CAID: rec.In.CAID}, func(w http.ResponseWriter, r *http.Request) {
		mu.Lock()
		defer mu.Unlock()
		if next == len(rec.Exchanges) {
			t.Errorf("one call more: %s %s", r.Method, r.URL)
			w.WriteHeader(http.StatusTeapot)
			return
		}
		ex := rec.Exchanges[next]
		next++
		if got := r.Method + " " + r.URL.EscapedPath(); got != ex.Method+" "+ex.Path {
			t.Errorf("call %d is %s, want %s %s", next, got, ex.Method, ex.Path)
		}
		query := map[string]string{}
		for key := range r.URL.Query() {
			if query[key] = r.URL.Query().Get(key); ex.Query[key] == "*" {
				query[key] = "*"
			}
		}
		if !maps.Equal(query, ex.Query) {
			t.Errorf("call %d has the query %v, want %v", next, query, ex.Query)
		}
		checkRequest(t, next, r, ex.Body)
		for key, value := range ex.Headers {
			w.Header().Set(key, value)
		}
		w.WriteHeader(ex.Status)
		if ex.Answer != nil {
			_ = json.NewEncoder(w).Encode(ex.Answer)
		} else {
			_, _ = io.WriteString(w, ex.Text)
		}
	})
	a, found, err := perform(t, c, rec, csr)
	if next != len(rec.Exchanges) {
		t.Errorf("%d calls, want %d", next, len(rec.Exchanges))
	}

	want := rec.Want
	if rec.In.Read != "" && a.Status != want.Read {
		t.Errorf("read %q, want %q", a.Status, want.Read)
	}
	if want.Fate != "" {
		e, ok := err.(*Error)
		if !ok {
			t.Fatalf("got %v, want an *Error of fate %q", err, want.Fate)
		}
		if e.Fate.String() != want.Fate || e.Class != want.Class || e.Code != want.Code || e.Message != want.Message {
			t.Errorf("got %q %q %q %q\nwant %q %q %q %q", e.Fate, e.Class, e.Code, e.Message, want.Fate, want.Class, want.Code, want.Message)
		}
		return
	}
	if err != nil {
		t.Fatal(err)
	}
	if rec.Op == OpFind && found == want.NotFound {
		t.Errorf("found = %v", found)
	}
	if want.State == "" {
		return
	}
	if a.State.String() != want.State || a.TrackingID != want.TrackingID || a.Status != want.Status || len(a.Chain) != want.Chain {
		t.Errorf("got %v %q %q with %d chain certificates, want %q %q %q with %d",
			a.State, a.TrackingID, a.Status, len(a.Chain), want.State, want.TrackingID, want.Status, want.Chain)
	}
	if a.State == Rejected && (a.Code != want.Code || a.Message != want.Message) {
		t.Errorf("rejected with %q %q, want %q %q", a.Code, a.Message, want.Code, want.Message)
	}
	if a.State == Issued {
		problem := ""
		if _, err := CheckIssued(a, Expectation{PublicKey: csr.PublicKey}); err != nil {
			problem = err.(*MismatchError).Problem
		}
		if problem != want.Problem {
			t.Errorf("CheckIssued says %q, want %q", problem, want.Problem)
		}
	}
}

// stand returns the values of the placeholders.
func stand(ca *testCA, csr *x509.CertificateRequest) map[string]string {
	leaf := ca.issue(csr, nil)
	old := ca.issue(csr, func(c *x509.Certificate) { c.NotBefore = time.Now().AddDate(0, -2, 0) })
	return map[string]string{
		"csr":         base64.StdEncoding.EncodeToString(csr.Raw),
		"csr_pem":     string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE REQUEST", Bytes: csr.Raw})),
		"leaf":        b64(leaf),
		"leaf_lines":  strings.Join(slices.Collect(chunks(b64(leaf), 76)), "\r\n"),
		"leaf_pem":    pemOf(leaf),
		"old":         b64(old),
		"other":       b64(ca.issue(newCSR(ca.t), nil)),
		"issuing":     b64(ca.issuing),
		"issuing_pem": pemOf(ca.issuing),
		"root":        b64(ca.root),
		"root_pem":    pemOf(ca.root),
		"now":         time.Now().UTC().Format(time.RFC3339),
		"last_month":  time.Now().UTC().AddDate(0, -1, 0).Format(time.RFC3339),
	}
}

func chunks(s string, n int) iter.Seq[string] {
	return func(yield func(string) bool) {
		for ; len(s) > n; s = s[n:] {
			if !yield(s[:n]) {
				return
			}
		}
		yield(s)
	}
}

func checkRequest(t *testing.T, n int, r *http.Request, want any) {
	if got := r.Header.Get("Accept"); got != "application/json" {
		t.Errorf("call %d has Accept %q", n, got)
	}
	body, err := io.ReadAll(r.Body)
	if err != nil {
		t.Error(err)
	}
	if want == nil {
		if len(body) > 0 {
			t.Errorf("call %d has a body", n)
		}
		return
	}
	if got := r.Header.Get("Content-Type"); got != "application/json" {
		t.Errorf("call %d has Content-Type %q", n, got)
	}
	var got any
	if err := json.Unmarshal(body, &got); err != nil {
		t.Errorf("call %d: %v", n, err)
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("call %d sends\n%s\nwant\n%s", n, body, asJSON(t, want))
	}
}

func perform(t *testing.T, c *Client, rec recorded, csr *x509.CertificateRequest) (Answer, bool, error) {
	switch in := rec.In; rec.Op {
	case OpEnroll:
		validity, _ := time.ParseDuration(in.ValidFor)
		most, _ := time.ParseDuration(in.Most)
		e := Enrollment{
			CSR: csr, SubjectDN: in.SubjectDN, OmitSubject: in.Omit, Validity: validity,
			SubjectVariables: in.Variables, Properties: in.Properties, Period: in.Period, MaxValidity: most,
		}
		if len(in.EKUs) > 0 {
			eku, err := ExtendedKeyUsage(in.EKUs)
			if err != nil {
				t.Fatal(err)
			}
			e.Extensions = append(e.Extensions, eku)
		}
		if in.MustStaple {
			e.Extensions = append(e.Extensions, MustStaple())
		}
		a, err := c.Enroll(t.Context(), e)
		return a, false, err
	case OpPoll:
		a, err := c.Poll(t.Context(), Poll{TrackingID: in.TrackingID, CSR: func() *x509.CertificateRequest { return csr }})
		return a, false, err
	case OpRevoke:
		serial, ok := new(big.Int).SetString(in.Serial, 16)
		if !ok {
			t.Fatalf("serial %q", in.Serial)
		}
		return Answer{}, false, c.Revoke(t.Context(), Revocation{Serial: serial, Reason: in.Reason, Comment: in.Comment, IssueCRL: !in.NoCRL})
	case OpFind:
		return c.Find(t.Context(), Search{CSR: csr, Since: time.Now()})
	case OpProbe:
		if rec.In.Read != "" {
			brought, err := read(t, c, rec.In.Read, rec.In.Serial)
			return Answer{Status: brought}, false, err
		}
		return Answer{}, false, c.Probe(t.Context())
	}
	t.Fatalf("unknown op %q", rec.Op)
	return Answer{}, false, nil
}
