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
	"github.com/entrust-worker/entrust-worker/internal/deadletter"
	"github.com/entrust-worker/entrust-worker/internal/ledger"
	"github.com/entrust-worker/entrust-worker/internal/parking"
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

func (g given) key() ledger.Key {
	key, err := ledger.ParseKey(g.values["order"])
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
func (g given) request() *ledger.Request {
	r := &ledger.Request{Subject: "entrust.request." + g.key().Producer + "." + string(g.kind()), Header: map[string][]string{"Content-Type": {"application/json"}}, Body: []byte("not a request")}
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
	rec := &ledger.Record{
		State: ledger.State(g.values["state"]), Kind: g.kind(), Outcome: entrustbus.Outcome(g.values["outcome"]), Digest: sum[:],
		Replay: g.int("replay"), RequestedAt: g.at("requested"), Deadline: g.at("deadline"), TrackingID: g.values["tracking"], Serial: g.values["serial"],
	}
	if rec.State == ledger.Parked {
		rec.Request = request
	}
	l := ledger.New(s.js, s.layout.Orders)
	if old, err := l.Get(context.Background(), g.key()); err == nil {
		old.State, old.Outcome, old.Serial = rec.State, rec.Outcome, rec.Serial
		ts.Check(l.Update(context.Background(), old))
		return
	}
	ts.Check(l.Create(context.Background(), g.key(), rec))
}

func writeSlot(ts *testscript.TestScript, _ bool, args []string) {
	g, s := read(ts, args), stageOf(ts)
	ts.Check(parking.New(s.js, s.layout.Parked, s.layout.Subjects()).Arm(context.Background(), &parking.Slot{
		Key: g.key(), Kind: g.kind(), Due: g.at("due"), Deadline: g.at("deadline"), Attempt: g.int("attempt"),
		TrackingID: g.values["tracking"], Replay: g.int("replay"), Request: g.request(),
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
	ts.Check(deadletter.New(s.js, s.layout.Dead, s.layout.Subjects()).Put(context.Background(), &deadletter.Letter{
		Reason: deadletter.Reason(g.values["reason"]), Key: key, Kind: g.kind(), Replay: g.int("replay"), TrackingID: g.values["tracking"],
		Error: g.values["error"], Deliveries: 1, Deaths: max(1, g.int("deaths")), Time: g.at("died"), Request: *request,
	}, fmt.Sprint("letter-", s.letters)))
}

func oddLetter(ts *testscript.TestScript, _ bool, _ []string) {
	_, err := stageOf(ts).js.Publish(context.Background(), "entrust.dead.web.what%ever", []byte("?"))
	ts.Check(err)
}
