package consumer_test

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"
	"net/textproto"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/entrust-worker/entrust-worker/entrustbus"
	"github.com/entrust-worker/entrust-worker/internal/gateway/gatewaytest"
	"github.com/entrust-worker/entrust-worker/internal/order"
	"github.com/entrust-worker/entrust-worker/internal/pollsched"
)

// byNATS replays a dead letter with the nats command alone, as docs/operations.md describes. It
// reads the dead letter with stream get. Then it publishes to the operator's subject the body,
// the Content-Type, and the generation after the dead letter's.
func (r *rig) byNATS(sequence uint64) {
	r.t.Helper()
	nc := r.server.Conn(r.t)
	answer, err := nc.Request("$JS.API.STREAM.MSG.GET."+r.layout.Dead, fmt.Appendf(nil, `{"seq":%d}`, sequence), 10*time.Second)
	if err != nil {
		r.t.Fatal(err)
	}
	var stored struct {
		Message struct {
			Headers []byte `json:"hdrs"`
			Data    []byte `json:"data"`
		} `json:"message"`
	}
	if err := json.Unmarshal(answer.Data, &stored); err != nil {
		r.t.Fatal(err)
	}
	_, lines, _ := bytes.Cut(stored.Message.Headers, []byte("\r\n"))
	mime, err := textproto.NewReader(bufio.NewReader(bytes.NewReader(lines))).ReadMIMEHeader()
	if err != nil {
		r.t.Fatal(err)
	}
	letter := http.Header(mime)
	var generation int
	if _, err := fmt.Sscan(letter.Get("Entrust-Replay"), &generation); err != nil {
		r.t.Fatal(err)
	}
	msg := nats.NewMsg(strings.Replace(letter.Get("Entrust-Dead-Subject"), ".request.", ".operator.", 1))
	msg.Data = stored.Message.Data
	if v := letter.Get("Content-Type"); v != "" {
		msg.Header.Set("Content-Type", v)
	}
	msg.Header.Set("Entrust-Replay", fmt.Sprint(generation+1))
	if _, err := r.js.PublishMsg(r.t.Context(), msg); err != nil {
		r.t.Fatal(err)
	}
}

// Dead letters that are replayed with the nats command open the next generation, and resume an
// order that the gateway has. They change nothing the second time.
func TestReplayByNATSAlone(t *testing.T) {
	t.Parallel()
	r := setup(t, gatewaytest.Config{Faults: []gatewaytest.Fault{
		{Op: gatewaytest.OpEnroll, Kind: gatewaytest.FaultReject, CNPrefix: "no", Times: 1},
	}})
	r.cfg.Schedule = pollsched.Schedule{First: 200 * time.Millisecond, Factor: 2, Max: time.Second, RetryAfterMax: time.Minute}
	r.run()
	r.sendAs(entrustbus.EncodingJSON, &entrustbus.Issue{ID: "no", CSRPEM: csr(t, "no")})
	r.result("no")
	letter := r.wantLetters(order.Rejected)[0]
	r.byNATS(letter.Sequence)
	if res := r.result("no", 1); res.Outcome != entrustbus.OutcomeIssued || res.Replay != 1 || res.PossibleDuplicate {
		t.Fatalf("replayed: %+v (error %+v)", res, res.Error)
	}
	enrolled, results := r.enrolled(), r.count(r.layout.Results)
	unchanged := func(what string) {
		t.Helper()
		r.quiet()
		if n, m := r.enrolled(), r.count(r.layout.Results); n != enrolled || m != results {
			t.Errorf("%s: %d enrollments and %d results became %d and %d", what, enrolled, results, n, m)
		}
	}
	r.byNATS(letter.Sequence)
	unchanged("the same replay again")
	// The ledger lost the order; its result exists.
	r.loseLedger()
	r.byNATS(letter.Sequence)
	unchanged("a replay of an order that the ledger forgot")
	// A dead letter with an undecodable body makes another such dead letter, and no more.
	r.publish(entrustbus.KindIssue, []byte("not a request"))
	letters := r.wantLetters(order.Rejected, order.Undecodable)
	r.byNATS(letters[1].Sequence)
	r.wantLetters(order.Rejected, order.Undecodable, order.Undecodable)
	unchanged("a letter that cannot be read")
}
