package integration

// Hostile messages against a running worker. No message ends the worker, leaks into its
// log, or delays a good request. The worker answers each as the contract says: one dead
// letter that keeps the message, and a failed result if one can be addressed.

import (
	"bytes"
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"maps"
	"math/rand/v2"
	"regexp"
	"runtime/pprof"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/entrust-worker/entrust-worker/entrustbus"
	"github.com/entrust-worker/entrust-worker/entrustbus/entrustbustest"
	"github.com/entrust-worker/entrust-worker/internal/control"
	"github.com/entrust-worker/entrust-worker/internal/deadletter"
	"github.com/entrust-worker/entrust-worker/internal/gateway/gatewaytest"
	"github.com/entrust-worker/entrust-worker/internal/ledger"
	"github.com/entrust-worker/entrust-worker/internal/order"
	"github.com/entrust-worker/entrust-worker/internal/wakeup"
	"github.com/entrust-worker/entrust-worker/internal/watchdog"
)

// hostile is a message and the expected content of the bus for it.
type hostile struct {
	name string
	msg  *nats.Msg // as the stream stored it
	// address is <producer>.<id> if a result can be addressed.
	address string
}

// hostiles publishes messages, each followed by a call of next, and returns those that
// the server accepted.
func (s *inside) hostiles(all []entrustbustest.HostileMessage, next func()) []hostile {
	s.t.Helper()
	futures := make([]jetstream.PubAckFuture, len(all))
	for i, m := range all {
		var err error
		// The client itself refuses messages that are larger than the server accepts.
		if futures[i], err = s.js.PublishMsgAsync(&nats.Msg{Subject: m.Subject, Header: maps.Clone(m.Header), Data: m.Body}); err != nil && !refused(err) {
			s.t.Fatalf("publishing %q: %v", m.Name, err)
		}
		next()
	}
	handles := map[string]jetstream.Stream{}
	var taken []hostile
	for i, f := range futures {
		if f == nil {
			continue
		}
		var ack *jetstream.PubAck
		select {
		case ack = <-f.Ok():
		case err := <-f.Err():
			if !refused(err) {
				s.t.Fatalf("publishing %q: %v", all[i].Name, err)
			}
			continue
		case <-s.ctx.Done():
			s.t.Fatal("no word of what was published")
		}
		if handles[ack.Stream] == nil {
			st, err := s.js.Stream(s.ctx, ack.Stream)
			if err != nil {
				s.t.Fatal(err)
			}
			handles[ack.Stream] = st
		}
		h := hostile{name: all[i].Name, msg: &nats.Msg{Subject: all[i].Subject, Header: all[i].Header, Data: all[i].Body}}
		if len(all[i].Body) < 64<<10 && ack.Stream == s.layout.Requests {
			// The stored message counts: the client repairs some headers.
			m, err := handles[ack.Stream].GetMsg(s.ctx, ack.Sequence)
			if err != nil {
				s.t.Fatal(err)
			}
			h.msg.Header = m.Header
		}
		h.address = address(h.msg)
		taken = append(taken, h)
	}
	return taken
}

// address returns the order that a request names in its body or, if the body cannot be
// read, in its header. The contract's own reader decides.
func address(m *nats.Msg) string {
	producer, kind, err := (entrustbus.Subjects{}).ParseRequest(m.Subject)
	if err != nil {
		return ""
	}
	enc, _ := entrustbus.EncodingOf(m.Header.Get(entrustbus.HeaderContentType), m.Data)
	if r, _ := entrustbus.DecodeRequest(kind, enc, m.Data); r != nil && entrustbus.ValidToken(r.OrderID()) {
		return producer + "." + r.OrderID()
	}
	if id := m.Header.Get(entrustbus.HeaderOrderID); entrustbus.ValidToken(id) {
		return producer + "." + id
	}
	return ""
}

// fieldFirst matches the beginning of an error that names the invalid field.
var fieldFirst = regexp.MustCompile(`^(reading header )?[A-Za-z_-]+(\[\d+\](\.[a-z_]+)?)?(: | )`)

// secret matches text that no log line and no error may contain: the inside of a PEM
// block, with plain or escaped line ends, and a key's name. It does not match the first
// line of a block, because errors tell producers to begin with it.
var secret = regexp.MustCompile(`MI[A-Za-z0-9+/]{24}|-----\\*[rn\n]|PRIVATE KEY`)

// answered checks the results and dead letters of hostile messages after the worker has
// handled them.
func (s *inside) answered(messages []hostile) {
	s.t.Helper()
	identity := func(subject string, body []byte) string {
		return fmt.Sprintf("%s %x", subject, sha256.Sum256(body))
	}
	found := map[string][]*deadletter.Letter{}
	for _, l := range s.letters() {
		k := identity(l.Request.Subject, l.Request.Body)
		found[k] = append(found[k], l)
		if !fieldFirst.MatchString(l.Why) || l.Why != strings.TrimSpace(l.Why) {
			s.t.Errorf("the error of a letter for %s names no field: %q", l.Request.Subject, l.Why)
		}
		if secret.MatchString(l.Why) || secret.MatchString(fmt.Sprint(l.Key, l.TrackingID)) {
			s.t.Errorf("a secret in the letter for %s: %q", l.Request.Subject, l.Why)
		}
	}
	results := s.results()
	for _, m := range messages {
		k := identity(m.msg.Subject, m.msg.Data)
		if len(found[k]) == 0 && len(m.msg.Data) > maxUnreadable {
			k = s.shortened(m, found)
		}
		i := slices.IndexFunc(found[k], func(l *deadletter.Letter) bool {
			return l.Length > 0 || maps.EqualFunc(l.Request.Header, m.msg.Header, slices.Equal)
		})
		if i < 0 {
			var near string
			for _, l := range found[k] {
				near = fmt.Sprintf("; one has the headers %.300q", l.Request.Header)
			}
			s.t.Errorf("%s: no dead letter holds its bytes and headers %.300q%s", m.name, m.msg.Header, near)
			continue
		}
		found[k] = slices.Delete(found[k], i, i+1)
		if m.address == "" {
			continue
		}
		got := results[m.address]
		if len(got) != 1 || got[0].Outcome != entrustbus.OutcomeFailed || got[0].Error == nil || !fieldFirst.MatchString(got[0].Error.Message) {
			s.t.Errorf("%s: the results of %s are %+v, want one that failed and says why", m.name, m.address, got)
		}
	}
	for k, letters := range found {
		if len(letters) > 0 {
			s.t.Errorf("%d letters too many for %s: %q", len(letters), k, letters[0].Why)
		}
	}
	for address := range results {
		if !slices.ContainsFunc(messages, func(m hostile) bool { return m.address == address }) && !strings.HasPrefix(address, "good.") {
			s.t.Errorf("a result for %s, which is no request", address)
		}
	}
	if line := secret.FindString(s.log.String()); line != "" {
		s.t.Errorf("the log holds %q", line)
	}
	if strings.Contains(s.log.String(), "panic") {
		s.t.Errorf("a handler panicked; the log ends with\n%s", s.log.Tail(4<<10))
	}
}

// maxPayload is a server's default limit, headers included.
const maxPayload = 1 << 20

// maxUnreadable is how much a dead letter keeps of a body that cannot be decoded.
const maxUnreadable = 64 << 10

// shortened finds the dead letter of a message that cannot be decoded, or that leaves no
// room for a dead letter's headers. It checks that the dead letter has the beginning of
// the message and its length.
func (s *inside) shortened(m hostile, found map[string][]*deadletter.Letter) string {
	for k, letters := range found {
		for _, l := range letters {
			if l.Length == len(m.msg.Data) && (len(l.Request.Body) > l.Length-4<<10 || l.Reason == order.Undecodable && len(l.Request.Body) == maxUnreadable) && l.Request.Subject == m.msg.Subject && bytes.HasPrefix(m.msg.Data, l.Request.Body) {
				return k
			}
		}
	}
	return ""
}

// good publishes the n-th good order.
func (s *inside) good(n int, header nats.Header) {
	s.t.Helper()
	id := fmt.Sprintf("good-%d", n)
	der, _ := entrustbustest.CSR(id + ".example.net")
	body, err := entrustbus.EncodeRequest(entrustbus.EncodingMsgpack, &entrustbus.Issue{ID: id, CSRDER: der})
	if err != nil {
		s.t.Fatal(err)
	}
	msg := &nats.Msg{Subject: s.layout.Subjects().Request("good", entrustbus.KindIssue), Header: maps.Clone(header), Data: body}
	if msg.Header == nil {
		msg.Header = nats.Header{nats.MsgIdHdr: {entrustbus.RequestMsgID("good", id, 0)}}
	}
	if _, err := s.js.PublishMsg(s.ctx, msg); err != nil {
		s.t.Fatalf("publishing a good request with the headers %v: %v", msg.Header, err)
	}
}

// allGood checks that n good orders were issued.
func (s *inside) allGood(n int) {
	s.t.Helper()
	results := s.results()
	for i := range n {
		got := results[fmt.Sprintf("good.good-%d", i)]
		if len(got) != 1 {
			s.t.Errorf("good request %d has %d results", i, len(got))
		} else if got[0].Outcome != entrustbus.OutcomeIssued {
			s.t.Errorf("good request %d ended as %s: %+v", i, got[0].Outcome, got[0].Error)
		}
	}
}

// quiet waits until no stream has work left.
func (s *inside) quiet() {
	s.t.Helper()
	for _, stream := range []string{s.layout.Requests, s.layout.Parked} {
		s.until(stream+" to be empty", func() bool { return s.left(stream) == 0 })
	}
}

// ours counts the goroutines of workers and of their connections.
func ours() int {
	var b bytes.Buffer
	_ = pprof.Lookup("goroutine").WriteTo(&b, 2) // into memory
	n := 0
	for stack := range strings.SplitSeq(b.String(), "\n\n") {
		for _, mark := range []string{"internal/consumer.", "internal/gateway.", "internal/mtlscache.", "nats.go.(*", "net/http.(*persistConn)", "ClientConn)"} {
			if strings.Contains(stack, mark) {
				n++
				break
			}
		}
	}
	return n
}

// The complete corpus and more, with good requests in between. Concurrency is low, so
// that a stuck goroutine would show at once. Not parallel: it counts goroutines.
func TestHostile(t *testing.T) {
	s := openInside(t, 120*time.Second)
	gw := gatewayFor(t, gatewaytest.Config{PendingFraction: 0.3, ApproveAfter: 200 * time.Millisecond})
	s.cfg.Issue, s.cfg.Revoke, s.cfg.Poll, s.cfg.Manage = 2, 1, 1, 1

	all := entrustbustest.Hostile()
	all = append(all, garbage()...)
	all = append(all, hostileHeaders()...)
	all = append(all, straysOnDue()...)
	all = append(all, statuses()...)
	all = append(all, largest()...)
	good, count := 0, 0
	messages := s.hostiles(all, func() {
		if count++; count%20 == 0 {
			s.good(good, nil)
			good++
		}
	})
	if len(messages) < 400 {
		t.Errorf("the server took %d hostile messages of %d, want 400 at least", len(messages), len(all))
	}
	before := ours()
	client, hangUp := s.gatewayAt(gw.URL(), gw.ClientCert(), gw.ClientKey(), gw.ServerCA())
	stop := s.work(client)
	s.quiet()
	s.allGood(good)
	stop()
	hangUp()
	s.answered(messages)
	if n := gw.Stats().Enrolled; n != good {
		t.Errorf("%d enrollments of %d good requests", n, good)
	}
	s.until("the goroutines of the worker to end", func() bool {
		return ours() <= before
	})
}

// gatewayFor runs a simulator until the test ends.
func gatewayFor(t testing.TB, cfg gatewaytest.Config) *gatewaytest.Server {
	t.Helper()
	gw, err := gatewaytest.Start(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = gw.Close() })
	return gw
}

// garbage returns meaningless bytes, the same each time, for every subject.
func garbage() []entrustbustest.HostileMessage {
	rnd := rand.New(rand.NewPCG(4711, 42))
	kinds := []entrustbus.Kind{entrustbus.KindIssue, entrustbus.KindRevoke, entrustbus.KindTrack, entrustbus.KindCancel}
	types := []string{"", entrustbus.EncodingJSON.ContentType(), entrustbus.EncodingMsgpack.ContentType()}
	var all []entrustbustest.HostileMessage
	for i := range 120 {
		body := make([]byte, rnd.IntN(1<<rnd.IntN(14)))
		for j := range body {
			body[j] = byte(rnd.Uint32())
		}
		m := entrustbustest.HostileMessage{
			Name: fmt.Sprintf("garbage %d", i), Body: append(body, byte(i)), // no two alike
			Subject: entrustbus.Subjects{}.Request("hostile", kinds[i%len(kinds)]),
			Header:  nats.Header{"X-Number": {strconv.Itoa(i)}},
		}
		if t := types[i%len(types)]; t != "" {
			m.Header.Set(entrustbus.HeaderContentType, t)
		}
		all = append(all, m)
	}
	return all
}

// badHeaders are headers that the worker must not obey, believe or lose.
func badHeaders() []nats.Header {
	return []nats.Header{
		{entrustbus.HeaderReplay: {"-1"}}, {entrustbus.HeaderReplay: {"999999999999"}}, {entrustbus.HeaderReplay: {"99999999999999999999"}},
		{entrustbus.HeaderReplay: {"1e3"}}, {entrustbus.HeaderReplay: {"0x1"}}, {entrustbus.HeaderReplay: {"one"}}, {entrustbus.HeaderReplay: {" 1"}},
		{"Nats-Expected-Stream": {"OTHER"}}, {"Nats-Expected-Stream": {"ENTRUST_REQUESTS"}},
		{"Nats-Expected-Last-Sequence": {"0"}}, {"Nats-Expected-Last-Sequence": {"x"}}, {"Nats-Expected-Last-Msg-Id": {"x"}},
		{"Nats-Expected-Last-Subject-Sequence": {"1"}}, {"Nats-Expected-Last-Subject-Sequence": {"x"}},
		{"Nats-TTL": {"1s"}}, {"Nats-TTL": {"never"}}, {"Nats-TTL": {"x"}},
		{"Nats-Rollup": {"all"}}, {"Nats-Rollup": {"sub"}},
		{"Nats-Schedule": {"@at 2030-01-01T00:00:00Z"}, "Nats-Schedule-Target": {"entrust.due.poll.good.good-0"}}, {"Nats-Schedule": {"@every 1s"}},
		{"Nats-Schedule-Target": {"entrust.result.good.good-0"}}, {"Nats-Schedule-TTL": {"1s"}}, {"Nats-Scheduler": {"x"}}, {"Nats-Schedule-Next": {"purge"}},
		{"Nats-Incr": {"1"}}, {"Nats-Batch-Id": {"x"}, "Nats-Batch-Sequence": {"1"}},
		{"Nats-Subject": {"entrust.dead.x.y"}}, {"Nats-Sequence": {"1"}}, {"Nats-Stream": {"OTHER"}}, {"Nats-Time-Stamp": {"x"}}, {"Nats-Stream-Source": {"x"}},
		{"Status": {"503"}}, {"Status": {"100"}, "Description": {"Idle Heartbeat"}},
		{"KV-Operation": {"DEL"}},
		{entrustbus.HeaderDeadReason: {"expired"}}, {entrustbus.HeaderDeadError: {"-----BEGIN"}}, {entrustbus.HeaderDeadSubject: {"entrust.request.good.issue"}},
		{entrustbus.HeaderDeadTime: {"yesterday"}}, {entrustbus.HeaderDeadDeliveries: {"-1"}},
		{order.HeaderDeaths: {"-5"}}, {order.HeaderDeaths: {"99999999999999999999"}},
		{entrustbus.HeaderOrderID: {"good-0"}}, {entrustbus.HeaderTrackingID: {"t-1"}}, {deadletter.HeaderCut: {"5"}},
		{"Entrust-Original-Nats-Msg-Id": {"good.good-0"}}, {"Entrust-Original-X": {"y"}},
		{entrustbus.HeaderKind: {"revoke"}}, {entrustbus.HeaderDue: {"x"}}, {entrustbus.HeaderDeadline: {"x"}}, {entrustbus.HeaderAttempt: {"-1"}},
		{"entrust-dead-reason": {"expired"}}, {"entrust-replay": {"7"}}, {"content-type": {"text/plain"}}, {"nats-msg-id": {"good.good-0"}},
		{"X-Empty": {""}}, {"X-Twice": {"a", "b"}}, {"X-Blank": {"   "}}, {"X-Long": {strings.Repeat("x", 60_000)}},
		{entrustbus.HeaderTraceParent: {strings.Repeat("0", 30_000)}}, {entrustbus.HeaderTraceState: {"a\x01b"}},
		{nats.MsgIdHdr: {strings.Repeat("m", 2000)}}, {nats.MsgIdHdr: {"hostile.a.b.c"}}, {nats.MsgIdHdr: {"hostile."}}, {nats.MsgIdHdr: {"good.good-0.7"}},
		{nats.MsgIdHdr: {"hostile.by-message-id"}},
	}
}

// hostileHeaders returns a request without readable content for each of the bad headers.
func hostileHeaders() []entrustbustest.HostileMessage {
	var all []entrustbustest.HostileMessage
	for i, h := range badHeaders() {
		all = append(all, entrustbustest.HostileMessage{
			Name: fmt.Sprintf("headers %.80q", h), Header: h, Body: fmt.Appendf(nil, "not a request %d", i),
			Subject: entrustbus.Subjects{}.Request("hostile", entrustbus.KindIssue),
		})
	}
	return all
}

// statuses are messages without a body. A NATS client may take them for a status of the
// server, and so for the end of its pull.
func statuses() []entrustbustest.HostileMessage {
	var all []entrustbustest.HostileMessage
	for _, status := range []string{"100", "400", "404", "408", "409", "423", "503", "999"} {
		h := nats.Header{"Status": {status}, "Description": {"Consumer Deleted"}}
		for _, subject := range []string{
			entrustbus.Subjects{}.Request("status-"+status, entrustbus.KindIssue),
			entrustbus.Subjects{}.Request("status-"+status, entrustbus.KindRevoke),
			entrustbus.Subjects{}.Due("poll", "status", status),
		} {
			all = append(all, entrustbustest.HostileMessage{Name: "status " + status + " on " + subject, Subject: subject, Header: h})
		}
	}
	return all
}

// straysOnDue are due messages that no worker scheduled.
func straysOnDue() []entrustbustest.HostileMessage {
	due := func(producer, id string) string { return entrustbus.Subjects{}.Due("poll", producer, id) }
	now := time.Now().Format(time.RFC3339Nano)
	return []entrustbustest.HostileMessage{
		{Name: "wake-up without anything", Subject: due("hostile", "due-1")},
		{Name: "wake-up with a body", Subject: due("hostile", "due-2"), Body: []byte("wake up")},
		{Name: "wake-up of an odd producer", Subject: due("a$b", "due-3"), Body: []byte("3")},
		{Name: "wake-up of an odd id", Subject: due("hostile", "a$b"), Body: []byte("4")},
		{Name: "wake-up of a good order", Subject: due("good", "good-0"), Body: []byte("5")},
		{Name: "wake-up with a bad time", Subject: due("hostile", "due-6"), Body: []byte("6"), Header: nats.Header{entrustbus.HeaderDue: {"x"}}},
		{Name: "wake-up with a bad deadline", Subject: due("hostile", "due-7"), Body: []byte("7"),
			Header: nats.Header{entrustbus.HeaderDue: {now}, entrustbus.HeaderDeadline: {"soon"}}},
		{Name: "wake-up with a bad count", Subject: due("hostile", "due-8"), Body: []byte("8"),
			Header: nats.Header{entrustbus.HeaderDue: {now}, entrustbus.HeaderDeadline: {now}, entrustbus.HeaderAttempt: {"-1"}}},
		{Name: "wake-up of 1 MB", Subject: due("hostile", "due-9"), Body: make([]byte, 1_000_000)},
		{Name: "wake-up with the headers of another stream", Subject: due("hostile", "due-10"), Body: []byte("10"),
			Header: nats.Header{entrustbus.HeaderDeadReason: {"expired"}, "Entrust-Original-X": {"y"}}},
	}
}

// A good request stays good under headers that have a meaning for the server or for the
// worker elsewhere, parked or not.
func TestHostileHeadersOnGoodRequests(t *testing.T) {
	t.Parallel()
	s := openInside(t, 40*time.Second)
	gw := gatewayFor(t, gatewaytest.Config{PendingFraction: 0.5, ApproveAfter: 200 * time.Millisecond})
	client, hangUp := s.gatewayAt(gw.URL(), gw.ClientCert(), gw.ClientKey(), gw.ServerCA())
	defer hangUp()
	stop := s.work(client)
	good := 0
	for _, h := range badHeaders() {
		if h.Get(entrustbus.HeaderReplay) != "" {
			continue
		}
		probe := &nats.Msg{Subject: s.layout.Subjects().Request("probe", entrustbus.KindRevoke), Header: maps.Clone(h), Data: []byte("x")}
		if _, err := s.js.PublishMsg(s.ctx, probe); err != nil || h.Get("Nats-Expected-Last-Subject-Sequence") != "" {
			continue // the server does not always accept such a header
		}
		h = maps.Clone(h)
		if h.Get(nats.MsgIdHdr) != "" {
			h.Set(nats.MsgIdHdr, h.Get(nats.MsgIdHdr)+"-again") // or the server would drop it as published
		}
		s.good(good, h)
		good++
	}
	if good < 30 {
		t.Errorf("the server took %d of the headers", good)
	}
	s.quiet()
	s.allGood(good)
	stop()
	if n := gw.Stats().Enrolled; n != good {
		t.Errorf("%d enrollments of %d good requests", n, good)
	}
}

// largest are messages that leave no room for the additions of a dead letter, a record or
// a wake-up.
func largest() []entrustbustest.HostileMessage {
	subjects := entrustbus.Subjects{}
	der, _ := entrustbustest.CSR("largest.example.net")
	whole := func(id string, size int) []byte {
		head := fmt.Sprintf(`{"id":%q,"csr_der":%q,"more":"`, id, base64.StdEncoding.EncodeToString(der))
		return []byte(head + strings.Repeat("x", size-len(head)-2) + `"}`)
	}
	return []entrustbustest.HostileMessage{
		{Name: "garbage as large as may be", Subject: subjects.Request("hostile", entrustbus.KindIssue), Body: bytes.Repeat([]byte{0x91}, maxPayload)},
		{Name: "a request as large as may be", Subject: subjects.Request("hostile", entrustbus.KindIssue), Body: whole("largest", maxPayload)},
		{Name: "a request that its record has no room for", Subject: subjects.Request("hostile", entrustbus.KindIssue), Body: whole("larger", maxPayload-1<<10)},
		{Name: "a wake-up as large as may be", Subject: subjects.Due("poll", "hostile", "due-largest"), Body: bytes.Repeat([]byte{7}, maxPayload)},
		{Name: "headers as large as may be", Subject: subjects.Request("hostile", entrustbus.KindRevoke), Body: []byte("headers"),
			Header: nats.Header{"X-Large": {strings.Repeat("h", 60_000)}, "Nats-Large": {strings.Repeat("h", 60_000)}}},
	}
}

// Foreign messages on the subjects of wake-ups do not prevent the end of any order, even
// if one of them purges all wake-ups.
func TestStraysOnParked(t *testing.T) {
	t.Parallel()
	s := openInside(t, 120*time.Second)
	gw := gatewayFor(t, gatewaytest.Config{PendingFraction: 1, ApproveAfter: time.Millisecond})
	client, hangUp := s.gatewayAt(gw.URL(), gw.ClientCert(), gw.ClientKey(), gw.ServerCA())
	defer hangUp()
	first := s.cfg.Schedule.First
	s.cfg.Schedule.First, s.cfg.Schedule.Max, s.cfg.Schedule.RetryAfterMax = time.Hour, time.Hour, 0
	s.cfg.MaxWait = 24 * time.Hour
	stop := s.work(client)
	s.good(0, nil)
	s.until("the order to be parked", func() bool { return s.left(s.layout.Parked) == 1 && s.left(s.layout.Requests) == 0 })
	stop()

	// A wake-up that fires at once; one whose content a reader takes for a status of the
	// server; one that empties the stream; and one on the order's subject.
	at := nats.Header{"Nats-Schedule": {"@at " + time.Now().Format(time.RFC3339)}, "Nats-Schedule-Target": {s.layout.Subjects().Due("poll", "rogue", "fires")}}
	for _, m := range []*nats.Msg{
		{Subject: s.layout.Subjects().Parked("rogue", "wipes"), Header: nats.Header{"Nats-Rollup": {"all"}}},
		{Subject: s.layout.Subjects().Parked("rogue", "lies"), Header: nats.Header{"Nats-Sequence": {"1"}, "Nats-Subject": {"x"}, "Nats-Time-Stamp": {"x"}}},
		{Subject: s.layout.Subjects().Parked("rogue", "silent"), Header: nats.Header{"Status": {"503"}}, Data: []byte("x")},
		{Subject: s.layout.Subjects().Parked("rogue", "fires"), Header: at, Data: []byte("x")},
	} {
		if _, err := s.js.PublishMsg(s.ctx, m); err != nil {
			t.Fatalf("publishing on %s: %v", m.Subject, err)
		}
	}
	s.cfg.Schedule.First = first
	// The watchdog leaves a record alone while its wake-up may still be on its way.
	dog := watchdog.Watchdog{
		JS: s.js, Layout: s.layout, Ledger: ledger.New(s.js, s.layout.Orders), Wakeups: wakeup.New(s.js, s.layout.Parked, s.layout.Subjects()),
		Control: control.Open(control.Config{JS: s.js, Bucket: s.layout.Control, Worker: "watchdog"}), Log: s.logger(), Lease: s.cfg.EnrollTimeout + time.Second,
	}
	s.until("the lost order to be woken", func() bool {
		repairs, err := dog.Scan(s.ctx)
		if err != nil {
			t.Fatal(err)
		}
		return repairs == watchdog.Repairs{Lost: 1}
	})
	stop = s.work(client)
	s.until("the order's result and the stray's letter", func() bool { return s.left(s.layout.Results) == 1 && s.left(s.layout.Dead) == 1 })
	stop()
	s.allGood(1)
	if l := s.letters()[0]; l.Reason != order.Undecodable || l.Request.Subject != s.layout.Subjects().Due("poll", "rogue", "fires") {
		t.Errorf("the letter is %+v", l)
	}
	if n := gw.Stats().Enrolled; n != 1 {
		t.Errorf("%d enrollments", n)
	}
}
