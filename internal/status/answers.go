package status

import (
	"bytes"
	"cmp"
	"context"
	"encoding/hex"
	"encoding/pem"
	"errors"
	"time"

	"github.com/nats-io/nats.go/micro"

	"github.com/entrust-worker/entrust-worker/entrustbus"
	"github.com/entrust-worker/entrust-worker/internal/gateway"
	"github.com/entrust-worker/entrust-worker/internal/order"
	"github.com/entrust-worker/entrust-worker/internal/policy"
	"github.com/entrust-worker/entrust-worker/internal/policyfile"
)

// ca answers with the certificates of a CA.
func (s *Service) ca(ctx context.Context, r micro.Request, q question) {
	id, err := entrustbus.DecodeQuestion(q.encoding, r.Data())
	if err != nil {
		s.fail(r, entrustbus.AnswerInvalid, err)
		return
	}
	ca, err := s.Worker.CA(ctx, id)
	if err != nil {
		s.fail(r, codeOf(err), err)
		return
	}
	answer := &entrustbus.CA{CAID: ca.ID, CertificatePEM: armour(ca.Certificate), ChainPEM: armour(ca.Chain...)}
	if ca.Warning != "" {
		answer.Warnings = []string{ca.Warning}
	}
	s.answer(r, q, answer)
}

// check answers with the state of the worker's setup.
func (s *Service) check(ctx context.Context, r micro.Request, q question) {
	id, err := entrustbus.DecodeQuestion(q.encoding, r.Data())
	if err != nil {
		s.fail(r, entrustbus.AnswerInvalid, err)
		return
	}
	problem := s.Worker.GatewayProblem()
	// If the CA cannot be read now, nothing is known to be wrong with it.
	if err := s.Worker.CAKnown(ctx, id); err != nil && codeOf(err) == entrustbus.AnswerUnknownCA {
		s.fail(r, entrustbus.AnswerUnknownCA, err)
		return
	}
	answer := &entrustbus.Check{
		Worker: s.Worker.ID(), WorkerVersion: s.Version, CAID: cmp.Or(id, s.CAID), ProfileID: s.ProfileID,
		Dialect: string(s.Worker.Dialect()), GatewayReady: problem == nil, CredentialsUsable: true, Policy: nameOf(s.policy()),
	}
	if problem != nil {
		answer.GatewayProblem = problem.Error()
	}
	if s.Credentials != nil {
		notAfter, err := s.Credentials()
		// Wire times are UTC in whole seconds.
		answer.CredentialsNotAfter, answer.CredentialsUsable = notAfter.UTC().Truncate(time.Second), err == nil
	}
	s.answer(r, q, answer)
}

// checkPolicy answers with the policy check of the request in the question.
func (s *Service) checkPolicy(ctx context.Context, r micro.Request, q question) {
	body, err := entrustbus.DecodeRequest(q.Kind, q.encoding, r.Data())
	if err != nil {
		s.fail(r, entrustbus.AnswerInvalid, err)
		return
	}
	ca, profile := (&order.Request{Body: body}).CA()
	answer := &entrustbus.PolicyCheck{Allowed: true, CAID: cmp.Or(ca, s.CAID), ProfileID: cmp.Or(profile, s.ProfileID), Warnings: body.Warnings()}
	if p := s.policy(); p != nil {
		ctx, cancel := context.WithTimeout(ctx, busTime)
		ask, err := s.Worker.PolicyRequest(ctx, q.Producer, body)
		cancel()
		if err != nil {
			s.fail(r, entrustbus.AnswerUnavailable, errors.New("the worker cannot read the owner of a certificate or the blocked keys; try again"))
			return
		}
		v := p.Judge(ask)
		answer.MustSign = p.MustSign(q.Producer)
		answer.Policy, answer.ValiditySeconds = policyfile.Name(p), int64(v.Validity/time.Second)
		if d := v.Denial; d != nil {
			answer.Allowed, answer.Rule, answer.Value, answer.Where, answer.Message = false, d.Rule, d.Value, d.Where, d.Error()
		}
	}
	s.answer(r, q, answer)
}

// order answers with the phase of an order of the producer.
func (s *Service) order(ctx context.Context, r micro.Request, q question) {
	ctx, cancel := context.WithTimeout(ctx, busTime)
	defer cancel()
	switch answer, err := s.Worker.Order(ctx, q.Producer, q.ID); {
	case errors.Is(err, entrustbus.ErrNoOrder):
		s.fail(r, entrustbus.AnswerNoOrder, errors.New("no worker has begun on a request of this id, or its record is no longer kept"))
	case err != nil:
		s.Log.Debug("reading an order for its producer", "producer", q.Producer, "order", q.ID, "err", err)
		s.fail(r, entrustbus.AnswerUnavailable, errors.New("the worker cannot read the ledger; try again"))
	default:
		s.answer(r, q, answer)
	}
}

// version answers with the version of this worker.
func (s *Service) version(_ context.Context, r micro.Request, q question) {
	answer := &entrustbus.WorkerVersion{Worker: s.Worker.ID(), WorkerVersion: s.Version}
	if p := s.policy(); p != nil {
		digest := p.Digest()
		answer.PolicyDigest = hex.EncodeToString(digest[:])
	}
	s.answer(r, q, answer)
}

func (s *Service) policy() *policy.Policy {
	if s.Policy == nil {
		return nil
	}
	return s.Policy()
}

func nameOf(p *policy.Policy) string {
	if p == nil {
		return ""
	}
	return policyfile.Name(p)
}

// codeOf returns the answer code for an error.
func codeOf(err error) string {
	if _, refused := errors.AsType[*entrustbus.FieldError](err); refused {
		return entrustbus.AnswerUnknownCA
	}
	if errors.Is(err, gateway.ErrNoCertificates) {
		return entrustbus.AnswerNotSupported
	}
	if fate := gateway.FateOf(err); fate == gateway.NotFound || fate == gateway.Refused {
		return entrustbus.AnswerUnknownCA
	}
	return entrustbus.AnswerUnavailable
}

// armour encodes certificates as PEM, one after the other.
func armour(certificates ...[]byte) string {
	var b bytes.Buffer
	for _, der := range certificates {
		_ = pem.Encode(&b, &pem.Block{Type: "CERTIFICATE", Bytes: der}) // a bytes.Buffer never fails
	}
	return b.String()
}
