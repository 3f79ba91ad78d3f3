package main

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/entrust-worker/entrust-worker/internal/testbed"
)

func TestGatewayKeysAreMadeOnce(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "keys")
	var stdout, stderr bytes.Buffer
	if code := execute(t.Context(), []string{"gateway", "keys", "--dir", dir}, &stdout, &stderr); code != 0 {
		t.Fatalf("exit code %d: %s", code, stderr.String())
	}
	first := map[string][]byte{}
	for _, name := range []string{"ca.crt", "client.crt", "client.key", "client.p12", "client.p12.password"} {
		data, err := os.ReadFile(filepath.Join(dir, name))
		if err != nil {
			t.Fatal(err)
		}
		first[name] = data
	}
	if code := execute(t.Context(), []string{"gateway", "keys", "--dir", dir}, &stdout, &stderr); code != 0 {
		t.Fatalf("exit code %d the second time: %s", code, stderr.String())
	}
	for name, was := range first {
		if now, err := os.ReadFile(filepath.Join(dir, name)); err != nil || !bytes.Equal(now, was) {
			t.Errorf("%s was made again (%v)", name, err)
		}
	}
}

// What `keys` made is what a gateway on the same folder takes.
func TestGatewayAlone(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	var keys, stdout, stderr testbed.Buffer
	if code := execute(t.Context(), []string{"gateway", "keys", "--dir", dir}, &keys, &stderr); code != 0 {
		t.Fatalf("exit code %d: %s", code, stderr.String())
	}
	ctx, interrupt := context.WithCancel(t.Context())
	defer interrupt()
	code := make(chan int, 1)
	go func() {
		code <- execute(ctx, []string{
			"gateway", "--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0", "--data", dir, "--base-path", "/cagw", "--latency", "0s",
		}, &stdout, &stderr)
	}()
	text := await(t, &stderr, "Trust")
	url, _, _ := strings.Cut(line(t, text, "Gateway"), " ")

	pair, err := tls.LoadX509KeyPair(filepath.Join(dir, "client.crt"), filepath.Join(dir, "client.key"))
	if err != nil {
		t.Fatal(err)
	}
	ca, err := os.ReadFile(filepath.Join(dir, "ca.crt"))
	if err != nil {
		t.Fatal(err)
	}
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(ca)
	transport := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: roots, Certificates: []tls.Certificate{pair}, MinVersion: tls.VersionTLS12}}
	defer transport.CloseIdleConnections()
	for _, page := range []struct{ url, want string }{
		{url + "/v1/certificate-authorities", "sim~issuing"},
		{line(t, text, "Control") + "/healthz", "ok"},
	} {
		if body := get(t, &http.Client{Transport: transport}, page.url); !strings.Contains(body, page.want) {
			t.Errorf("GET %s: %q lacks %q", page.url, body, page.want)
		}
	}
	interrupt()
	if got := <-code; got != 0 {
		t.Errorf("exit code %d after an interrupt, want 0", got)
	}
}

func get(t *testing.T, client *http.Client, url string) string {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	resp, err := client.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(io.LimitReader(resp.Body, 1<<20))
	if err != nil || resp.StatusCode != http.StatusOK {
		t.Fatalf("GET %s: status %d, %v", url, resp.StatusCode, err)
	}
	return string(body)
}
