package main

import (
	"context"
	"crypto/sha256"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/entrust-worker/entrust-worker/entrustbus"
	"github.com/entrust-worker/entrust-worker/internal/control"
	"github.com/entrust-worker/entrust-worker/internal/deadletter"
	"github.com/entrust-worker/entrust-worker/internal/ledger"
	"github.com/entrust-worker/entrust-worker/internal/order"
	"github.com/entrust-worker/entrust-worker/internal/wakeup"
)

// given are the arguments KEY=VALUE of a command.
type given struct {
	ts     *testscript.TestScript
	values map[string]string
}

func read(ts *testscript.TestScript, args []string) given {
	g := given{ts, map[string]string{}}
	for _, arg := range args {
		key, value, ok := strings.Cut(arg, "=")
		if !ok {
			ts.Fatalf("%q is not KEY=VALUE", arg)
		}
		g.values[key] = value
	}
	return g
}

func (g given) key() order.Key {
	key, err := order.ParseKey(g.values["order"])
	g.ts.Check(err)
	return key
}

func (g given) int(name string) int {
	if g.values[name] == "" {
		return 0
	}
	n, err := strconv.Atoi(g.values[name])
	g.ts.Check(err)
	return n
}

// at is a time so far from now, the zero time for none.
func (g given) at(name string) time.Time {
	if g.values[name] == "" {
		return time.Time{}
	}
	d, err := time.ParseDuration(g.values[name])
	g.ts.Check(err)
	return time.Now().UTC().Add(d)
}

func (g given) kind() entrustbus.Kind {
	if k := g.values["kind"]; k != "" {
		return entrustbus.Kind(k)
	}
	return entrustbus.KindIssue
}

// request is the request of a CSR file, as its producer would send it.
func (g given) request() *order.Message {
	r := &order.Message{Subject: "entrust.request." + g.key().Producer + "." + string(g.kind()), Header: map[string][]string{"Content-Type": {"application/json"}}, Body: []byte("not a request")}
	if file := g.values["csr"]; file != "" {
		body, err := entrustbus.EncodeRequest(entrustbus.EncodingJSON, &entrustbus.Issue{
			ID: g.key().ID, CSRPEM: g.ts.ReadFile(file), ProfileID: "web", Labels: map[string]string{"team": "blue"},
		})
		g.ts.Check(err)
		r.Body = body
	}
	return r
}

func writeRecord(ts *testscript.TestScript, _ bool, args []string) {
	g, s := read(ts, args), stageOf(ts)
	request := g.request()
	sum := sha256.Sum256(request.Body)
	if g.values["csr"] != "" {
		r, err := entrustbus.DecodeRequest(entrustbus.KindIssue, entrustbus.EncodingJSON, request.Body)
		ts.Check(err)
		sum, err = entrustbus.Digest(r)
		ts.Check(err)
	}
	rec := order.Record{
		Phase: order.Phase(g.values["phase"]), Kind: g.kind(), Outcome: entrustbus.Outcome(g.values["outcome"]), Digest: sum[:],
		Generation: g.int("replay"), RequestedAt: g.at("requested"), Deadline: g.at("deadline"), TrackingID: g.values["tracking"], Serial: g.values["serial"],
	}
	if rec.Phase.Waits() {
		rec.Request = request
	}
	l := ledger.New(s.js, s.layout.Orders)
	old, err := l.Get(context.Background(), g.key())
	ts.Check(err)
	if old.Phase != "" {
		next := old.Record
		next.Phase, next.Outcome, next.Serial = rec.Phase, rec.Outcome, rec.Serial
		rec = next
	}
	_, err = l.Write(g.key(), old, rec, nil).Try(context.Background())
	ts.Check(err)
}

func writeWakeup(ts *testscript.TestScript, _ bool, args []string) {
	g, s := read(ts, args), stageOf(ts)
	ts.Check(wakeup.New(s.js, s.layout.Parked, s.layout.Subjects()).Schedule(context.Background(), &order.Wakeup{
		Key: g.key(), Kind: g.kind(), Lane: order.LanePoll, Due: g.at("due"), Deadline: g.at("deadline"), Polls: g.int("polls"),
		TrackingID: g.values["tracking"], Generation: g.int("replay"), Request: g.request(),
	}))
}

func writeLetter(ts *testscript.TestScript, _ bool, args []string) {
	g, s := read(ts, args), stageOf(ts)
	request := g.request()
	request.Header["traceparent"] = []string{"00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"}
	request.Header["Nats-Msg-Id"] = []string{g.key().String()}
	key := g.key()
	if g.values["id"] == "unknown" {
		key.ID = ""
	}
	s.letters++
	ts.Check(deadletter.New(s.js, s.layout.Dead, s.layout.Subjects()).Put(context.Background(), &deadletter.Letter{Time: g.at("died"), Letter: order.Letter{
		Reason: order.Reason(g.values["reason"]), Key: key, Kind: g.kind(), Generation: g.int("replay"), TrackingID: g.values["tracking"],
		Why: g.values["error"], Deliveries: 1, Deaths: max(1, g.int("deaths")), Request: *request, ID: fmt.Sprint("letter-", s.letters),
	}}))
}

func oddLetter(ts *testscript.TestScript, _ bool, _ []string) {
	_, err := stageOf(ts).js.Publish(context.Background(), "entrust.dead.web.what%ever", []byte("?"))
	ts.Check(err)
}

func openBreaker(ts *testscript.TestScript, _ bool, args []string) {
	s := stageOf(ts)
	bucket := control.Open(control.Config{JS: s.js, Bucket: s.layout.Control, Worker: "another"})
	_, _, err := bucket.OpenBreaker(context.Background(), args[0], args[1], 0, args[2])
	ts.Check(err)
}
