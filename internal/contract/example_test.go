package contract

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
	"github.com/vmihailenco/msgpack/v5"

	"github.com/entrust-worker/entrust-worker/entrustbus"
	"github.com/entrust-worker/entrust-worker/internal/streams"
	"github.com/entrust-worker/entrust-worker/internal/testbed"
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
func Example_producer() {
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

// One loop reads the results of many requests.
func Example_results() {
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

// A program that must miss no result stores the sequence of the last result together with
// its own data, and continues after it.
func Example_resultsAfter() {
	nc, stop := connect()
	defer stop()
	client, err := entrustbus.New(nc, entrustbus.ClientConfig{Producer: "shop"})
	if err != nil {
		log.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	for _, serial := range []string{"01", "02", "03"} {
		request := &entrustbus.Revoke{ID: "revoke-" + serial, Serial: serial}
		if _, err := client.Submit(ctx, request); err != nil {
			log.Fatal(err)
		}
		if _, err := client.Wait(ctx, request.ID); err != nil { // for results in a known order
			log.Fatal(err)
		}
	}

	var kept uint64 // in a database: written in the transaction that deals with the result
	run := func(upTo string) {
		for result, err := range client.ResultsAfter(ctx, kept) {
			var unreadable *entrustbus.FieldError
			if errors.As(err, &unreadable) {
				log.Print(err) // one result; the loop goes on
				continue
			}
			if err != nil {
				log.Fatal(err) // entrustbus.ErrNewStream: begin again at 0
			}
			fmt.Println(result.ID, result.Outcome)
			if kept = result.Sequence; result.ID == upTo {
				return
			}
		}
	}
	run("revoke-02")
	fmt.Println("restarted")
	run("revoke-03")
	// Output:
	// revoke-01 revoked
	// revoke-02 revoked
	// restarted
	// revoke-03 revoked
}

// What to do about each error of Submit.
func Example_submit() {
	nc, stop := connect()
	defer stop()
	client, err := entrustbus.New(nc, entrustbus.ClientConfig{Producer: "shop"})
	if err != nil {
		log.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()

	submit := func(r entrustbus.Request) {
		receipt, err := client.Submit(ctx, r)
		var wrong *entrustbus.FieldError
		switch {
		case err == nil && receipt.Duplicate:
			fmt.Println("was asked for before")
		case err == nil:
			fmt.Println("stored")
		case errors.As(err, &wrong):
			fmt.Println("fix the request:", wrong)
		case errors.Is(err, entrustbus.ErrOtherContent):
			fmt.Println("choose another id: this one is taken")
		case errors.Is(err, entrustbus.ErrNoStream), errors.Is(err, entrustbus.ErrStreamFull):
			fmt.Println("not stored, try again later:", err)
		default:
			fmt.Println("stored or not, try again under the same id:", err)
		}
	}
	submit(&entrustbus.Revoke{ID: "revoke-1", Serial: "12:34:ab:cd"})
	if _, err := client.Wait(ctx, "revoke-1"); err != nil { // so that a worker has begun on it
		log.Fatal(err)
	}
	submit(&entrustbus.Revoke{ID: "revoke-1", Serial: "0x1234ABCD"})
	submit(&entrustbus.Revoke{ID: "revoke-1", Serial: "4711"})
	submit(&entrustbus.Revoke{ID: "revoke-2", Serial: "4711", Reason: "bored"})
	// Output:
	// stored
	// was asked for before
	// choose another id: this one is taken
	// fix the request: reason: is not a revocation reason; use one of unspecified, keyCompromise, caCompromise, affiliationChanged, superseded, cessationOfOperation, certificateHold, privilegeWithdrawn, removeFromCRL
}

// Look up a result that may not exist yet.
func Example_lookup() {
	nc, stop := connect()
	defer stop()
	client, err := entrustbus.New(nc, entrustbus.ClientConfig{Producer: "shop"})
	if err != nil {
		log.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()

	result, err := client.Lookup(ctx, "shop-2026-03-01")
	switch {
	case errors.Is(err, entrustbus.ErrNoResult):
		fmt.Println("no result yet")
	case err != nil:
		log.Fatal(err)
	default:
		fmt.Println(result.Outcome)
	}
	// Output: no result yet
}

// The ledger record of an order shows its phase before there is a result.
func Example_watch() {
	nc, stop := connect()
	defer stop()
	client, err := entrustbus.New(nc, entrustbus.ClientConfig{Producer: "shop"})
	if err != nil {
		log.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	request := &entrustbus.Track{ID: "track-1", TrackingID: "7f0c2a5e"}
	if _, err := client.Submit(ctx, request); err != nil {
		log.Fatal(err)
	}

	for order, err := range client.Watch(ctx, request.ID) {
		if err != nil {
			log.Fatal(err)
		}
		if order.Phase == entrustbus.PhaseClosed {
			fmt.Println(order.Kind, order.Phase, order.Outcome)
			break
		}
	}
	// Output: track closed issued
}

// A certificate is revoked by its serial number, in hexadecimal or decimal, or by the certificate itself.
func Example_revoke() {
	nc, stop := connect()
	defer stop()
	client, err := entrustbus.New(nc, entrustbus.ClientConfig{Producer: "shop"})
	if err != nil {
		log.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()

	request := &entrustbus.Revoke{ID: "revoke-1", SerialDecimal: "305441741", Reason: "keyCompromise", Comment: "laptop lost"}
	if _, err := client.Submit(ctx, request); err != nil {
		log.Fatal(err)
	}
	result, err := client.Wait(ctx, request.ID)
	if err != nil {
		log.Fatal(err)
	}
	if result.Outcome != entrustbus.OutcomeRevoked {
		log.Fatal(result.Outcome, result.Error)
	}
	fmt.Println("revoked")
	// Output: revoked
}

// connect stands for nats.Connect: it runs a server with the worker's streams, and
// answers requests like a worker.
func connect() (*nats.Conn, func()) {
	ctx := context.Background()
	dir, err := os.MkdirTemp("", "entrustbus-example-")
	if err != nil {
		log.Fatal(err)
	}
	server, err := testbed.Run(testbed.Config{Dir: dir})
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
	ledger, err := js.KeyValue(ctx, "ENTRUST_ORDERS")
	if err != nil {
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
		digest, err := entrustbus.Digest(request)
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
		record, err := msgpack.Marshal(map[string]any{"phase": "closed", "kind": kind, "digest": digest[:], "outcome": result.Outcome})
		if err != nil {
			log.Fatal(err)
		}
		_, _ = ledger.Create(ctx, producer+"."+result.ID, record)               // there is one for a duplicate
		_ = nc.Publish(entrustbus.Subjects{}.Result(producer, result.ID), body) // fails if the example has ended
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
