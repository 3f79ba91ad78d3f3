package connect

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net/url"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/entrust-worker/entrust-worker/cmd/entrust-worker/config"
	"github.com/entrust-worker/entrust-worker/cmd/entrust-worker/usage"
	"github.com/entrust-worker/entrust-worker/internal/streams"
)

// reason is an error without what it quotes of the configuration: the path of a file and
// a URL may hold a credential.
func reason(err error) error {
	if file, ok := errors.AsType[*fs.PathError](err); ok {
		return fmt.Errorf("a file of the NATS settings cannot be read: %w", file.Err)
	}
	if _, ok := errors.AsType[*url.Error](err); ok {
		return errors.New("a URL of the NATS settings cannot be parsed")
	}
	return err
}

// explainDial says what a failed connection means to the operator who configured it.
func explainDial(s *config.Settings, err error) error {
	where := config.RedactURLs(s.NATS.URL)
	if s.NATS.Context != "" {
		where = fmt.Sprintf("context %q", s.NATS.Context)
	}
	wrapped := fmt.Errorf("connecting to NATS at %s: %w", where, reason(err))
	switch {
	case errors.Is(err, nats.ErrAuthorization), errors.Is(err, nats.ErrAuthExpired), errors.Is(err, nats.ErrAuthRevoked):
		return usage.WithHint(wrapped, "the server refused the credentials: check --creds, --nkey, --user, --token or --context")
	case errors.Is(err, nats.ErrNoServers), errors.Is(err, nats.ErrTimeout), errors.Is(err, context.DeadlineExceeded):
		return usage.WithHint(wrapped, "check that nats-server runs there; --server or NATS_URL sets the address")
	}
	return usage.WithHint(wrapped, "entrust-worker config shows the settings of the connection and where each came from")
}

// Explain adds the likely fix to what package streams returned, as ExplainStreams does. A
// question without permission has no answer: the error then names the permission.
func (b *Bus) Explain(err error) error {
	if denied := Denied(b.LastError()); denied != nil && unanswered(err) {
		return usage.WithHint(fmt.Errorf("%w: %w", err, denied), "%s", usage.Hint(denied))
	}
	return ExplainStreams(err)
}

// explainWork adds the likely fix to what the streams answered to a verb.
func (b *Bus) explainWork(err error) error {
	if usage.Hint(err) != "" || err == nil {
		return err
	}
	if explained := b.Explain(err); errors.As(explained, new(*DeniedError)) {
		return explained
	}
	var api *jetstream.APIError
	switch {
	case errors.Is(err, jetstream.ErrStreamNotFound), errors.Is(err, jetstream.ErrBucketNotFound),
		errors.As(err, &api) && api.ErrorCode == jetstream.JSErrCodeStreamNotFound:
		return usage.WithHint(err, "entrust-worker provision creates what is missing; --streams-prefix must be that of the workers")
	case errors.Is(err, nats.ErrNoResponders):
		return usage.WithHint(err, "entrust-worker provision creates what is missing; without JetStream, start nats-server with -js, or enable it for the account")
	case errors.Is(err, context.DeadlineExceeded):
		return usage.WithHint(fmt.Errorf("%w (%w)", err, ErrNoAnswer), "check that this user may use JetStream; --timeout extends the wait")
	}
	if trouble := streams.Trouble(err); trouble != "" {
		return usage.WithHint(err, "%s", trouble)
	}
	return ExplainStreams(err)
}

// unanswered reports whether err is that of a question without an answer.
func unanswered(err error) bool {
	return errors.Is(err, context.DeadlineExceeded) || errors.Is(err, nats.ErrTimeout) || errors.Is(err, ErrNoAnswer)
}

// ExplainStreams adds the likely fix to what package streams returned.
func ExplainStreams(err error) error {
	var finding *streams.Finding
	var api *jetstream.APIError
	switch {
	case errors.As(err, &finding):
		if finding.Got == "missing" {
			return usage.WithHint(err, "entrust-worker provision creates what is missing; so does --provision")
		}
		return usage.WithHint(err, "the worker never changes an existing stream; entrust-worker check --json shows every finding")
	case errors.Is(err, nats.ErrNoResponders), errors.Is(err, jetstream.ErrJetStreamNotEnabled), errors.Is(err, jetstream.ErrJetStreamNotEnabledForAccount):
		return usage.WithHint(err, "start nats-server with -js, or enable JetStream for the account")
	case errors.As(err, &api) && api.ErrorCode == 10047: // insufficient storage resources available
		return usage.WithHint(err, "the server reserves --streams-requests-max-bytes when it creates the stream: lower it, or raise max_file_store of the server")
	case errors.As(err, &api) && api.ErrorCode == 10065: // subjects overlap with an existing stream
		return usage.WithHint(err, "another stream has these subjects: nats stream ls --subject=SUBJECT finds it; --streams-prefix chooses other subjects and streams")
	case errors.As(err, &api) && api.ErrorCode == 10074: // replicas > 1 not supported in non-clustered mode
		return usage.WithHint(err, "set --replicas=1 on a server without a cluster")
	case errors.Is(err, context.DeadlineExceeded):
		return usage.WithHint(fmt.Errorf("%w (JetStream did not answer)", err), "check that JetStream is enabled and that this user may use it; --timeout extends the wait")
	}
	return err
}
