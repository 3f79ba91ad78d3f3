// Package status says how a worker is: to producers and operators who ask over the bus, by
// a NATS micro service.
package status

import (
	"context"
	"fmt"
	"log/slog"
	"regexp"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/micro"

	"github.com/entrust-worker/entrust-worker/entrustbus"
	"github.com/entrust-worker/entrust-worker/internal/gateway"
	"github.com/entrust-worker/entrust-worker/internal/policy"
)

// ServiceName is the name of the micro service, as $SRV.PING and the nats command show it.
const ServiceName = "entrust-worker"

const (
	// answerTime bounds one answer, which may ask the gateway or the bus.
	answerTime = 15 * time.Second
	// busTime bounds what one answer reads of the bus.
	busTime = 2 * time.Second
	// maxAnswering bounds the answers under way.
	maxAnswering = 16
	// maxWaiting bounds the questions that wait in this process for one endpoint.
	maxWaiting = 256
)

// Worker is what the service says of a worker. *consumer.Worker implements it.
type Worker interface {
	ID() string
	Dialect() gateway.Dialect
	// GatewayProblem returns why the worker does not call the gateway, in a line for
	// producers, or nil.
	GatewayProblem() error
	// CAKnown returns a *entrustbus.FieldError where no request may name the CA.
	CAKnown(ctx context.Context, ca string) error
	// CA returns the certificates of a CA. Beside the errors of CAKnown it returns
	// gateway.ErrNoCertificates, and those of a call.
	CA(ctx context.Context, ca string) (gateway.CA, error)
	// PolicyRequest returns what the policy is asked about a request: with what the bus holds
	// of its certificate or key.
	PolicyRequest(ctx context.Context, producer string, body entrustbus.Request) (policy.Request, error)
	// Order returns where an order is in its life. The error wraps entrustbus.ErrNoOrder where
	// the ledger has no record of it.
	Order(ctx context.Context, producer, id string) (*entrustbus.OrderStatus, error)
	Suspender
}

// Service answers questions of producers, and carries out what operators order. Run runs once.
type Service struct {
	NC       *nats.Conn
	Subjects entrustbus.Subjects
	Worker   Worker
	// CAID and ProfileID are those of requests that name none.
	CAID, ProfileID string
	// Policy returns the policy in force, never nil. A nil Policy is none.
	Policy func() *policy.Policy
	// Credentials returns the end of validity of the client certificate, and why the key pair
	// cannot be used. Nil: nothing is known of them.
	Credentials func() (notAfter time.Time, err error)
	// Version is that of the program.
	Version string
	Log     *slog.Logger

	allowance allowance
	answering chan struct{}
}

// Run answers until ctx is done. It returns an error where the service cannot be started; a
// server that forbids its subjects is reported by the connection, as any other refusal.
func (s *Service) Run(ctx context.Context) error {
	s.allowance.begun, s.answering = time.Now(), make(chan struct{}, maxAnswering)
	service, err := micro.AddService(s.NC, micro.Config{
		Name: ServiceName, Version: semantic(s.Version), Description: "Answers producers' questions about orders, CAs, setup and policy, and lets operators suspend calls.",
		Metadata:     map[string]string{"worker": s.Worker.ID(), "version": s.Version},
		StatsHandler: func(*micro.Endpoint) any { return s.stats() },
	})
	if err != nil {
		return fmt.Errorf("starting the micro service: %w", err)
	}
	for _, e := range s.endpoints() {
		handler := micro.HandlerFunc(func(r micro.Request) { s.handle(ctx, r, e) })
		err := service.AddEndpoint(e.name, handler, micro.WithEndpointSubject(e.subject), micro.WithEndpointMetadata(e.metadata()),
			micro.WithEndpointPendingLimits(maxWaiting, maxWaiting*entrustbus.MaxCSRBytes))
		if err != nil {
			_ = service.Stop()
			return fmt.Errorf("starting the endpoint %s of the micro service: %w", e.name, err)
		}
	}
	ready, cancel := context.WithTimeout(ctx, answerTime)
	if err := s.NC.FlushWithContext(ready); err == nil {
		s.Log.Info("answering questions of producers", "subject", s.Subjects.Ask("*", ">"))
	}
	cancel()
	<-ctx.Done()
	if err := service.Stop(); err != nil {
		s.Log.Debug("stopping the micro service", "err", err)
	}
	return nil
}

// answering answers a question.
type answering func(context.Context, micro.Request, question)

// endpoint is one of the micro service.
type endpoint struct {
	name, subject string
	// operators says that it is for operators, on a subject of their own.
	operators bool
	// request and response are the names of the schemas of its messages; request is "" where
	// the body is empty.
	request, response string
	answer            answering
}

func (s *Service) endpoints() []endpoint {
	return []endpoint{
		{"ca", s.Subjects.Ask("*", entrustbus.TopicCA), false, "ask-ca", "answer-ca", s.ca},
		{"check", s.Subjects.Ask("*", entrustbus.TopicCheck), false, "ask-ca", "answer-check", s.check},
		{"policy", s.Subjects.AskPolicy("*", "*"), false, "request-issue", "answer-policy", s.judge},
		{"order", s.Subjects.AskOrder("*", "*"), false, "", "answer-order", s.order},
		{"version", s.Subjects.Ask("*", entrustbus.TopicVersion), false, "", "answer-version", s.version},
		{"suspend", s.Subjects.AskOperator(entrustbus.TopicSuspend), true, "ask-suspend", "answer-suspend", s.ordered(s.Worker.Suspend)},
		{"resume", s.Subjects.AskOperator(entrustbus.TopicResume), true, "ask-suspend", "answer-suspend", s.ordered(s.Worker.Resume)},
	}
}

// metadata has the JSON Schemas of the endpoint's messages. Those of requests are long, and
// named by their address.
func (e endpoint) metadata() map[string]string {
	m := map[string]string{"response_schema": string(entrustbus.Schema(e.response)), "for": "producers"}
	switch {
	case strings.HasPrefix(e.request, "request-"):
		m["request_schema"] = `{"$ref":"https://github.com/entrust-worker/entrust-worker/docs/schema/` + e.request + `.json"}`
	case e.request != "":
		m["request_schema"] = string(entrustbus.Schema(e.request))
	}
	if e.operators {
		m["for"] = "operators"
	}
	return m
}

// stats is what each endpoint's statistics hold beside its counts.
func (s *Service) stats() any {
	return struct {
		GatewayReady bool   `json:"gateway_ready"`
		Policy       string `json:"policy,omitempty"`
	}{s.Worker.GatewayProblem() == nil, nameOf(s.policy())}
}

// question is what a subject and headers say of a question.
type question struct {
	entrustbus.Question
	encoding entrustbus.Encoding
}

// handle reads what a question is about, and answers it beside others.
func (s *Service) handle(ctx context.Context, r micro.Request, e endpoint) {
	if !answerable(r.Reply()) {
		return
	}
	q := question{encoding: entrustbus.EncodingJSON}
	var err error
	if !e.operators {
		if q.Question, err = s.Subjects.ParseAsk(r.Subject()); err != nil {
			s.fail(r, entrustbus.AnswerInvalid, err)
			return
		}
	}
	if !s.allowance.takes(q.Producer) {
		s.fail(r, entrustbus.AnswerTooMany, fmt.Errorf("more than %d questions a second of this producer", maxQuestions))
		return
	}
	if len(r.Data()) > 0 || r.Headers().Get(entrustbus.HeaderContentType) != "" {
		if q.encoding, err = entrustbus.EncodingOf(r.Headers().Get(entrustbus.HeaderContentType), r.Data()); err != nil {
			s.fail(r, entrustbus.AnswerInvalid, err)
			return
		}
	}
	s.aside(ctx, r, q, e.answer)
}

// answerable reports whether a reply may go to a subject: that of an inbox, or of an import
// of another account. The worker may publish results and records, and an asker that names
// their subjects for the reply must not have it write there.
func answerable(reply string) bool {
	return strings.HasPrefix(reply, "_INBOX") || strings.HasPrefix(reply, "_R_.")
}

// aside answers beside other questions, which a slow gateway would hold up.
func (s *Service) aside(ctx context.Context, r micro.Request, q question, answer answering) {
	select {
	case s.answering <- struct{}{}:
	default:
		s.fail(r, entrustbus.AnswerUnavailable, fmt.Errorf("%d questions are being answered", maxAnswering))
		return
	}
	go func() {
		defer func() { <-s.answering }()
		ctx, cancel := context.WithTimeout(ctx, answerTime)
		defer cancel()
		answer(ctx, r, q)
	}()
}

// answer sends an answer: one of those of entrustbus.
func (s *Service) answer(r micro.Request, q question, answer any) {
	body, err := entrustbus.EncodeAnswer(q.encoding, answer)
	if err == nil {
		err = r.Respond(body, micro.WithHeaders(micro.Headers{entrustbus.HeaderContentType: []string{q.encoding.ContentType()}}))
	}
	if err != nil {
		s.Log.Debug("answering a question", "subject", r.Subject(), "err", err)
	}
}

// fail answers that there is no answer. The text is one line for producers.
func (s *Service) fail(r micro.Request, code string, why error) {
	if err := r.Error(code, why.Error(), nil); err != nil {
		s.Log.Debug("answering a question", "subject", r.Subject(), "err", err)
	}
}

var semanticVersion = regexp.MustCompile(`^v?((?:0|[1-9]\d*)\.(?:0|[1-9]\d*)\.(?:0|[1-9]\d*))(-[0-9A-Za-z.-]+)?(\+[0-9A-Za-z.-]+)?$`)

// semantic is a version as a micro service must have it: that of a release, else 0.0.0. The
// metadata have the whole of it.
func semantic(version string) string {
	if m := semanticVersion.FindStringSubmatch(version); m != nil {
		return m[1]
	}
	return "0.0.0"
}
