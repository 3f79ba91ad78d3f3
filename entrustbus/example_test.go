package entrustbus_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"log"
	"os"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/entrust-worker/entrust-worker/entrustbus"
	"github.com/entrust-worker/entrust-worker/internal/natstest"
	"github.com/entrust-worker/entrust-worker/internal/streams"
)

// certificateRequest makes a key and a certificate request for it.
func certificateRequest(name string) string {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		log.Fatal(err)
	}
	der, err := x509.CreateCertificateRequest(rand.Reader, &x509.CertificateRequest{DNSNames: []string{name}}, key)
	if err != nil {
		log.Fatal(err)
	}
	return string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE REQUEST", Bytes: der}))
}

// A producer asks for a certificate and waits for it.
func Example() {
	nc, stop := connect() // nats.Connect(…), as your system does it
	defer stop()

	client, err := entrustbus.New(nc, entrustbus.ClientConfig{Producer: "shop"})
	if err != nil {
		log.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()

	request := &entrustbus.Issue{
		ID:     "shop-2026-03-01", // the same id again is the same order, however often it is submitted
		CSRPEM: certificateRequest("shop.example.net"),
		Labels: map[string]string{"team": "shop"},
	}
	receipt, err := client.Submit(ctx, request)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println("stored, a duplicate:", receipt.Duplicate)

	result, err := client.Wait(ctx, request.ID)
	if err != nil {
		log.Fatal(err)
	}
	switch result.Outcome {
	case entrustbus.OutcomeIssued:
		fmt.Println("issued, serial number", result.Serial)
	case entrustbus.OutcomeExpired:
		fmt.Println("nobody decided in time; track", result.TrackingID)
	default:
		fmt.Println(result.Outcome, result.Error)
	}
	// Output:
	// stored, a duplicate: false
	// issued, serial number 1234abcd
}

// Results of many requests are read in one loop.
func ExampleClient_Results() {
	nc, stop := connect()
	defer stop()
	client, err := entrustbus.New(nc, entrustbus.ClientConfig{Producer: "shop"})
	if err != nil {
		log.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	for _, serial := range []string{"01", "02", "03"} {
		if _, err := client.Submit(ctx, &entrustbus.Revoke{ID: "revoke-" + serial, Serial: serial, Reason: "superseded"}); err != nil {
			log.Fatal(err)
		}
	}

	open := 3
	for result, err := range client.Results(ctx, time.Time{}) {
		var unreadable *entrustbus.FieldError
		if errors.As(err, &unreadable) {
			log.Print(err) // one result; the loop goes on
			continue
		}
		if err != nil {
			log.Fatal(err)
		}
		fmt.Println(result.ID, result.Outcome)
		if open--; open == 0 {
			break
		}
	}
	// Unordered output:
	// revoke-01 revoked
	// revoke-02 revoked
	// revoke-03 revoked
}

// A request that the contract forbids is told before it is sent, by the key that is wrong.
func ExampleFieldError() {
	request := &entrustbus.Issue{
		ID:     "order-1",
		CSRPEM: certificateRequest("shop.example.net"),
		SANs:   []string{"shop.example.net", "192.0.2.300"},
	}
	var wrong *entrustbus.FieldError
	if errors.As(request.Validate(), &wrong) {
		fmt.Println(wrong.Field)
		fmt.Println(wrong)
	}
	// Output:
	// sans[1]
	// sans[1]: is no DNS name; put ip:, email: or uri: in front of a name of another type
}

// Without the client: any program that can publish JSON is a producer.
func ExampleEncodeRequest() {
	body, err := entrustbus.EncodeRequest(entrustbus.EncodingJSON, &entrustbus.Revoke{
		ID: "revoke-1", Serial: "12:34:AB:CD", Reason: "keyCompromise",
	})
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(entrustbus.Subjects{}.Request("shop", entrustbus.KindRevoke))
	fmt.Println(string(body))
	// Output:
	// entrust.request.shop.revoke
	// {"v":1,"kind":"revoke","id":"revoke-1","serial":"12:34:AB:CD","reason":"keyCompromise"}
}

// A consumer of results that is not the client: the header tells the encoding.
func ExampleDecodeResult() {
	header := nats.Header{entrustbus.HeaderContentType: {"application/json"}}
	body := []byte(`{"v":1,"id":"order-1","producer":"shop","kind":"issue","outcome":"rejected",` +
		`"error":{"class":"policy","message":"an approver said no"},"submissions":1,"replay":0}`)

	enc, err := entrustbus.EncodingOf(header.Get(entrustbus.HeaderContentType), body)
	if err != nil {
		log.Fatal(err)
	}
	result, err := entrustbus.DecodeResult(enc, body)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(result.ID, result.Outcome, result.Error)
	// Output: order-1 rejected policy: an approver said no
}

func ExampleParseSAN() {
	for _, s := range []string{"Shop.example.net", "2001:db8:0::7", "uri:urn:example:shop", "pki@example.net"} {
		san, err := entrustbus.ParseSAN(s)
		if err != nil {
			log.Fatal(err)
		}
		fmt.Println(san.Type, san.Value)
	}
	// Output:
	// dNSName shop.example.net
	// iPAddress 2001:db8::7
	// uniformResourceIdentifier urn:example:shop
	// rfc822Name pki@example.net
}

// connect stands for nats.Connect: it runs a server with the worker's streams, and something that answers requests the
// way a worker does.
func connect() (*nats.Conn, func()) {
	ctx := context.Background()
	dir, err := os.MkdirTemp("", "entrustbus-example-")
	if err != nil {
		log.Fatal(err)
	}
	server, err := natstest.Run(natstest.Config{Dir: dir})
	if err != nil {
		log.Fatal(err)
	}
	nc, err := server.Connect()
	if err != nil {
		log.Fatal(err)
	}
	js, err := jetstream.New(nc)
	if err != nil {
		log.Fatal(err)
	}
	if _, err := streams.Provision(ctx, js, streams.DefaultLayout()); err != nil {
		log.Fatal(err)
	}
	_, err = nc.Subscribe("entrust.request.*.*", func(msg *nats.Msg) {
		producer, kind, err := entrustbus.Subjects{}.ParseRequest(msg.Subject)
		if err != nil {
			log.Fatal(err)
		}
		request, err := entrustbus.DecodeRequest(kind, entrustbus.EncodingMsgpack, msg.Data)
		if err != nil {
			log.Fatal(err)
		}
		result := &entrustbus.Result{ID: request.OrderID(), Producer: producer, Kind: kind, Outcome: entrustbus.OutcomeIssued, Serial: "1234abcd"}
		if kind == entrustbus.KindRevoke {
			result.Outcome, result.Serial = entrustbus.OutcomeRevoked, ""
		}
		body, err := entrustbus.EncodeResult(entrustbus.EncodingMsgpack, result)
		if err != nil {
			log.Fatal(err)
		}
		if err := nc.Publish(entrustbus.Subjects{}.Result(producer, result.ID), body); err != nil {
			log.Fatal(err)
		}
	})
	if err != nil {
		log.Fatal(err)
	}
	return nc, func() {
		nc.Close()
		server.Stop()
		_ = os.RemoveAll(dir)
	}
}
