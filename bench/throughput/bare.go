package main

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/vmihailenco/msgpack/v5"
)

// bareConfig configures the bare loop.
type bareConfig struct {
	NATS     string
	InFlight int
	Gateway  gatewayReady
	// Call makes it call the gateway. Without, it only uses the bus.
	Call bool
	// Names of its streams and its consumer, and the prefix of its results.
	Requests, Consumer, Results string
}

// runBare is the bare loop: a program that only carries messages to the gateway and back.
// Pull, POST, publish, ack; no ledger, no check of certificates, no dedupe.
func runBare(arg string) error {
	var cfg bareConfig
	if err := json.Unmarshal([]byte(arg), &cfg); err != nil {
		return err
	}
	nc, err := nats.Connect(cfg.NATS)
	if err != nil {
		return err
	}
	defer nc.Close()
	js, err := jetstream.New(nc)
	if err != nil {
		return err
	}
	post, err := cfg.Gateway.poster(cfg.InFlight)
	if err != nil {
		return err
	}
	cons, err := js.Consumer(context.Background(), cfg.Requests, cfg.Consumer)
	if err != nil {
		return err
	}
	// Short, like the worker's: a pull that was open before a pause ends gets nothing.
	msgs, err := cons.Messages(jetstream.PullMaxMessages(cfg.InFlight), jetstream.PullExpiry(2*time.Second))
	if err != nil {
		return err
	}
	handle := func(m jetstream.Msg) error {
		// entrustbus would check the request; the bare loop does not.
		var q struct {
			ID  string `msgpack:"id"`
			CSR []byte `msgpack:"csr_der"`
		}
		if err := msgpack.Unmarshal(m.Data(), &q); err != nil {
			return err
		}
		answer := m.Data()
		if cfg.Call {
			if answer, err = post(q.CSR); err != nil {
				return err
			}
		}
		if _, err := js.Publish(context.Background(), cfg.Results+"."+q.ID, answer); err != nil {
			return err
		}
		return m.Ack()
	}
	for range cfg.InFlight {
		go func() {
			for {
				m, err := msgs.Next()
				if err != nil {
					return
				}
				if err := handle(m); err != nil {
					fmt.Fprintln(os.Stderr, "bare loop:", err)
				}
			}
		}()
	}
	return serveChild(struct{}{})
}

// poster returns a function that posts one CSR and returns the answer.
func (g gatewayReady) poster(inFlight int) (func(csr []byte) ([]byte, error), error) {
	pair, err := tls.LoadX509KeyPair(g.Cert, g.Key)
	if err != nil {
		return nil, err
	}
	ca, err := os.ReadFile(g.ServerCA)
	if err != nil {
		return nil, err
	}
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(ca)
	client := &http.Client{Transport: &http.Transport{
		TLSClientConfig: &tls.Config{RootCAs: roots, Certificates: []tls.Certificate{pair}}, ForceAttemptHTTP2: true,
		MaxIdleConns: inFlight, MaxIdleConnsPerHost: inFlight,
	}}
	target := g.URL + "/v1/certificate-authorities/" + url.PathEscape(g.CAID) + "/enrollments"
	return func(csr []byte) ([]byte, error) {
		body, err := json.Marshal(map[string]string{
			"csr": string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE REQUEST", Bytes: csr})), "profileId": g.Profile,
		})
		if err != nil {
			return nil, err
		}
		resp, err := client.Post(target, "application/json", bytes.NewReader(body))
		if err != nil {
			return nil, err
		}
		defer resp.Body.Close()
		answer, err := io.ReadAll(resp.Body)
		if err == nil && resp.StatusCode/100 != 2 {
			err = fmt.Errorf("the gateway answered %s: %.100s", resp.Status, answer)
		}
		return answer, err
	}, nil
}
