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
	"time"

	"github.com/nats-io/nats.go"

	"github.com/entrust-worker/entrust-worker/entrustbus"
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

// A producer asks for a certificate and waits for it. It needs a server, so it is compiled only; internal/contract runs it.
func Example() {
	nc, err := nats.Connect("nats://nats.example.net", nats.CustomInboxPrefix("_INBOX_shop"))
	if err != nil {
		log.Fatal(err)
	}
	defer nc.Close()
	client, err := entrustbus.New(nc, entrustbus.ClientConfig{Producer: "shop"})
	if err != nil {
		log.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()

	request := &entrustbus.Issue{
		ID:     "shop-2026-03-01", // the same id again is the same order, however often it is submitted
		CSRPEM: certificateRequest("shop.example.net"),
	}
	if _, err := client.Submit(ctx, request); err != nil {
		log.Fatal(err)
	}
	result, err := client.Wait(ctx, request.ID)
	if err != nil {
		log.Fatal(err)
	}
	if result.Outcome != entrustbus.OutcomeIssued {
		log.Fatal(result.Outcome, result.Error)
	}
	fmt.Print(result.CertificatePEM, result.ChainPEM)
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
	// sans[1]: is not a DNS name; put ip:, email: or uri: in front of a name of another type
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
