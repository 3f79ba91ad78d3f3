package mtlscache

import (
	"bufio"
	"crypto/x509"
	"fmt"
	"io"
	"net"
	"net/http"
	"os/exec"
	"strings"
	"testing"
	"time"
)

// TestRenegotiation has OpenSSL answer one call. It reads the request, asks for the
// client certificate by a renegotiation, and then answers, as Apache httpd does if
// one path alone requires a certificate.
func TestRenegotiation(t *testing.T) {
	t.Parallel()
	if _, err := exec.LookPath("openssl"); err != nil {
		t.Skip("openssl is not installed")
	}
	for _, on := range []bool{true, false} {
		t.Run(fmt.Sprintf("Renegotiation=%t", on), func(t *testing.T) {
			t.Parallel()
			f := newFamily(t, newKey(t))
			server := newSigned(t, "server", newKey(t), f.root, func(c *x509.Certificate) { c.IPAddresses = []net.IP{net.IPv4(127, 0, 0, 1)} })
			f.write(t, "server.pem", append(server.certPEM(), server.keyPEM(t)...))
			f.write(t, "root.pem", f.root.certPEM())
			f.write(t, "all.pem", append(f.client.certPEM(), f.sub.certPEM()...))

			speaks := []string{"-alpn", "h2,http/1.1"} // and TLS 1.3: the client must choose TLS 1.2 and HTTP/1.1
			if !on {
				speaks = []string{"-tls1_2", "-alpn", "http/1.1"}
			}
			cmd := exec.CommandContext(t.Context(), "openssl", append([]string{"s_server", "-accept", "127.0.0.1:0", "-naccept", "1",
				"-cert", "server.pem", "-CAfile", "root.pem", "-crlf"}, speaks...)...)
			cmd.Dir = f.dir
			in, err := cmd.StdinPipe()
			if err != nil {
				t.Fatal(err)
			}
			out, err := cmd.StdoutPipe()
			if err != nil {
				t.Fatal(err)
			}
			cmd.Stderr = cmd.Stdout
			if err := cmd.Start(); err != nil {
				t.Fatal(err)
			}
			lines := bufio.NewScanner(out)
			// after returns the first line that holds text.
			after := func(text string) string {
				for lines.Scan() {
					if strings.Contains(lines.Text(), text) {
						return lines.Text()
					}
				}
				t.Errorf("openssl ended before %q", text)
				return ""
			}
			write := func(line string) {
				if _, err := io.WriteString(in, line); err != nil {
					t.Error(err)
				}
			}
			addr := strings.TrimPrefix(after("ACCEPT "), "ACCEPT ")
			answered := make(chan struct{})
			go func() {
				defer close(answered)
				after("GET / HTTP/1.1")
				write("R\n") // ask for the certificate
				if on {
					after("depth=0") // it verifies the certificate
					write("HTTP/1.1 200 OK\nContent-Length: 0\n\n")
				}
			}()

			defer func() {
				_ = cmd.Process.Kill() // it may have ended
				<-answered
				_ = cmd.Wait()
			}()

			c := f.read(t, Config{CertFile: f.path("all.pem"), KeyFile: f.path("client.key"), ServerCAFile: f.path("root.pem"), Renegotiation: on})
			client := &http.Client{Transport: c, Timeout: time.Minute}
			req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "https://"+addr, nil)
			if err != nil {
				t.Fatal(err)
			}
			res, err := client.Do(req)
			if on != (err == nil) {
				t.Fatalf("the call ended in %v", err)
			}
			if err != nil {
				if !strings.Contains(err.Error(), "no renegotiation") {
					t.Errorf("the call ended in %v, want that there is no renegotiation", err)
				}
				return
			}
			res.Body.Close()
			if res.StatusCode != http.StatusOK {
				t.Errorf("status %d, want 200", res.StatusCode)
			}
		})
	}
}
