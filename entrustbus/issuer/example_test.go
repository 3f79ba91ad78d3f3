package issuer_test

import (
	"context"
	"errors"
	"fmt"
	"log"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/entrust-worker/entrust-worker/entrustbus/issuer"
)

// One call of one tick. It needs a server and a worker, so it is compiled only; integration plays the ticks.
func Example() {
	nc, err := nats.Connect("nats://nats.example.net", nats.CustomInboxPrefix("_INBOX_certctl"))
	if err != nil {
		log.Fatal(err)
	}
	defer nc.Close()
	i, err := issuer.New(nc, issuer.Config{Producer: "certctl", CAID: "issuing-1"})
	if err != nil {
		log.Fatal(err)
	}
	tick, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
	defer cancel()

	result, err := i.IssueCertificate(issuer.WithJobID(tick, "job-7"), issuer.IssuanceRequest{CommonName: "shop.example.net", CSRPEM: "…"})
	var ended *issuer.OutcomeError
	switch {
	case errors.Is(err, issuer.ErrPending):
		fmt.Println("call again in the next tick:", err)
	case errors.As(err, &ended):
		fmt.Println("no certificate:", ended.Outcome, ended.Cause)
	case err != nil:
		log.Fatal(err)
	default:
		fmt.Println(result.Serial, result.NotAfter)
	}
}
