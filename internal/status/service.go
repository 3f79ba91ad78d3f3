// Package status answers producers' and operators' questions about a worker over the bus,
// by a NATS micro service.
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

// ServiceName is the name of the micro service, as in $SRV.PING and in the nats command.
const ServiceName = "entrust-worker"

const (
	// answerTime bounds one answer, which may ask the gateway or the bus.
	answerTime = 15 * time.Second
	// busTime bounds the time that one answer may spend reading the bus.
	busTime = 2 * time.Second
	// maxAnswering bounds the concurrent answers.
	maxAnswering = 16
	// maxWaiting bounds the questions that wait in this process for one endpoint.
	maxWaiting = 256
)

// Worker is the worker that the service answers for. *consumer.Worker implements it.
type Worker interface {
	ID() string
	Dialect() gateway.Dialect
	// GatewayProblem returns why the worker does not call the gateway, in one line for
	// producers; nil if it does.
	GatewayProblem() error
	// CAKnown returns a *entrustbus.FieldError if no request may name the CA.
	CAKnown(ctx context.Context, ca string) error
	// CA returns the certificates of a CA. Besides the errors of CAKnown it returns
	// gateway.ErrNoCertificates and the errors of a call.
	CA(ctx context.Context, ca string) (gateway.CA, error)
	// PolicyRequest returns the input of the policy check for a request. It reads the
	// owner of the certificate and the state of the key from the bus.
	PolicyRequest(ctx context.Context, producer string, body entrustbus.Request) (policy.Request, error)
	// Order returns the phase of an order. The error wraps entrustbus.ErrNoOrder if the
	// ledger has no record of it.
	Order(ctx context.Context, producer, id string) (*entrustbus.OrderStatus, error)
	Suspender
}

// Service answers producers' questions and carries out operators' orders. Call Run once.
type Service struct {
	NC       *nats.Conn
	Subjects entrustbus.Subjects
	Worker   Worker
	// CAID and ProfileID are the defaults for requests that name none.
	CAID, ProfileID string
	// Policy returns the policy in force, never nil. A nil Policy means that there is no
	// policy.
	Policy func() *policy.Policy
	// Credentials returns the end of validity of the client certificate, and an error if
	// the key pair cannot be used. May be nil.
	Credentials func() (notAfter time.Time, err error)
	// Version is the program's version.
	Version string
	Log     *slog.Logger

	allowance allowance
	answering chan struct{}
}

// Run answers until ctx ends. It returns an error if the service cannot be started. If
// the server forbids its subjects, the connection reports it like any other permission
// error.
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

// answering is the handler of one kind of question.
type answering func(context.Context, micro.Request, question)

// endpoint is one endpoint of the micro service.
type endpoint struct {
	name, subject string
	// operators marks an endpoint for operators, on a subject of its own.
	operators bool
	// request and response name the schemas of its messages; request is "" if the body is
	// empty.
	request, response string
	answer            answering
}

func (s *Service) endpoints() []endpoint {
	return []endpoint{
		{"ca", s.Subjects.Ask("*", entrustbus.TopicCA), false, "ask-ca", "answer-ca", s.ca},
		{"check", s.Subjects.Ask("*", entrustbus.TopicCheck), false, "ask-ca", "answer-check", s.check},
		{"policy", s.Subjects.AskPolicy("*", "*"), false, "request-issue", "answer-policy", s.checkPolicy},
		{"order", s.Subjects.AskOrder("*", "*"), false, "", "answer-order", s.order},
		{"version", s.Subjects.Ask("*", entrustbus.TopicVersion), false, "", "answer-version", s.version},
		{"suspend", s.Subjects.AskOperator(entrustbus.TopicSuspend), true, "ask-suspend", "answer-suspend", s.ordered(s.Worker.Suspend)},
		{"resume", s.Subjects.AskOperator(entrustbus.TopicResume), true, "ask-suspend", "answer-suspend", s.ordered(s.Worker.Resume)},
	}
}

// metadata returns the JSON Schemas of the endpoint's messages. The schemas of requests
// are long, so it refers to them by address.
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

// stats returns the data in each endpoint's statistics besides its counts.
func (s *Service) stats() any {
	return struct {
		GatewayReady bool   `json:"gateway_ready"`
		Policy       string `json:"policy,omitempty"`
	}{s.Worker.GatewayProblem() == nil, nameOf(s.policy())}
}

// question is a question as its subject and headers describe it.
type question struct {
	entrustbus.Question
	encoding entrustbus.Encoding
}

// handle decodes a question and answers it concurrently with others.
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

// answerable reports whether a reply may go to a subject: an inbox, or the import of
// another account. The worker may publish results and records. A question that names
// their subjects as its reply must not make the worker write there.
func answerable(reply string) bool {
	return strings.HasPrefix(reply, "_INBOX") || strings.HasPrefix(reply, "_R_.")
}

// aside answers in a goroutine of its own, because a slow gateway would hold up other
// questions.
func (s *Service) aside(ctx context.Context, r micro.Request, q question, answer answering) {
	select {
	case s.answering <- struct{}{}:
	default:
		s.fail(r, entrustbus.AnswerUnavailable, fmt.Errorf("the worker already answers %d questions; try again", maxAnswering))
		return
	}
	go func() {
		defer func() { <-s.answering }()
		ctx, cancel := context.WithTimeout(ctx, answerTime)
		defer cancel()
		answer(ctx, r, q)
	}()
}

// answer sends an answer of package entrustbus.
func (s *Service) answer(r micro.Request, q question, answer any) {
	body, err := entrustbus.EncodeAnswer(q.encoding, answer)
	if err != nil {
		s.Log.Debug("answering a question", "subject", r.Subject(), "err", err)
		return
	}
	s.reply(r, nats.Header{entrustbus.HeaderContentType: {q.encoding.ContentType()}}, body)
}

// fail sends an error. The text is one line for producers.
func (s *Service) fail(r micro.Request, code string, why error) {
	s.reply(r, nats.Header{micro.ErrorHeader: {why.Error()}, micro.ErrorCodeHeader: {code}}, nil)
}

// reply does not use the methods of r: they note an error in r, which micro reads when the
// handler returns, and an answer aside comes later.
func (s *Service) reply(r micro.Request, header nats.Header, body []byte) {
	if err := s.NC.PublishMsg(&nats.Msg{Subject: r.Reply(), Header: header, Data: body}); err != nil {
		s.Log.Debug("answering a question", "subject", r.Subject(), "err", err)
	}
}

var semanticVersion = regexp.MustCompile(`^v?((?:0|[1-9]\d*)\.(?:0|[1-9]\d*)\.(?:0|[1-9]\d*))(-[0-9A-Za-z.-]+)?(\+[0-9A-Za-z.-]+)?$`)

// semantic returns the version in the form that a micro service needs: a release's
// version, else 0.0.0. The metadata contain the full version.
func semantic(version string) string {
	if m := semanticVersion.FindStringSubmatch(version); m != nil {
		return m[1]
	}
	return "0.0.0"
}
