package streams

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// ErrNoMessage is returned by Last when the subject holds no message.
var ErrNoMessage = errors.New("no message on the subject")

// Message is one stored message as the leader of its stream knows it.
type Message struct {
	Sequence uint64
	Time     time.Time
	Subject  string
	Header   nats.Header
	Data     []byte
}

// Last reads the last message on subject from the leader of stream. It returns ErrNoMessage
// when there is none.
//
// Where a stream allows it, nats.go reads by direct get, which a lagging replica may answer.
// Last uses an API request instead, for reads that decide about an effect: only the leader
// answers, with its applied state. While the stream has no leader, no server answers, not even
// with an error. Without a deadline in ctx, the default timeout of js bounds the wait. Last is
// safe for concurrent use.
func Last(ctx context.Context, js jetstream.JetStream, stream, subject string) (*Message, error) {
	return fromLeader(ctx, js, stream, query{Last: subject}, "the last message on "+subject)
}

// At is Last for the message with this sequence.
func At(ctx context.Context, js jetstream.JetStream, stream string, sequence uint64) (*Message, error) {
	return fromLeader(ctx, js, stream, query{Sequence: sequence}, fmt.Sprintf("message %d of %s", sequence, stream))
}

// query selects the message of an API request.
type query struct {
	Last     string `json:"last_by_subj,omitempty"`
	Sequence uint64 `json:"seq,omitempty"`
}

// fromLeader reads one message. Errors name it by what.
func fromLeader(ctx context.Context, js jetstream.JetStream, stream string, q query, what string) (*Message, error) {
	request, err := json.Marshal(q)
	if err != nil {
		return nil, fmt.Errorf("encoding a read of %s: %w", what, err)
	}
	if _, ok := ctx.Deadline(); !ok {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, js.Options().DefaultTimeout)
		defer cancel()
	}
	answer, err := js.Conn().RequestWithContext(ctx, APISubject(js, "STREAM.MSG.GET."+stream), request)
	if err != nil {
		return nil, fmt.Errorf("reading %s: %w", what, err)
	}
	var body struct {
		Error   *jetstream.APIError `json:"error"`
		Message *struct {
			Subject  string    `json:"subject"`
			Sequence uint64    `json:"seq"`
			Time     time.Time `json:"time"`
			Header   []byte    `json:"hdrs"`
			Data     []byte    `json:"data"`
		} `json:"message"`
	}
	if err := json.Unmarshal(answer.Data, &body); err != nil {
		return nil, fmt.Errorf("decoding %s: %w", what, err)
	}
	if body.Error != nil {
		if body.Error.ErrorCode == jetstream.JSErrCodeMessageNotFound {
			return nil, ErrNoMessage
		}
		return nil, fmt.Errorf("reading %s: %w", what, body.Error)
	}
	if body.Message == nil {
		return nil, fmt.Errorf("reading %s: the answer holds neither message nor error", what)
	}
	m := &Message{
		Sequence: body.Message.Sequence,
		Time:     body.Message.Time,
		Subject:  body.Message.Subject,
		Data:     body.Message.Data,
	}
	if len(body.Message.Header) > 0 {
		if m.Header, err = nats.DecodeHeadersMsg(body.Message.Header); err != nil {
			return nil, fmt.Errorf("decoding the headers of %s: %w", what, err)
		}
	}
	return m, nil
}

// APISubject returns the API subject of a verb, with the API prefix or domain of js.
func APISubject(js jetstream.JetStream, verb string) string {
	switch o := js.Options(); {
	case o.APIPrefix != "":
		return o.APIPrefix + "." + verb
	case o.Domain != "":
		return "$JS." + o.Domain + ".API." + verb
	default:
		return "$JS.API." + verb
	}
}

// PublishSubject returns the subject to publish a key on, with the API prefix or domain of js,
// as the KeyValue of nats.go does. When the bucket is in another domain or account, no stream
// here listens to the plain subject.
func PublishSubject(js jetstream.JetStream, subject string) string {
	if o := js.Options(); o.APIPrefix == "" && o.Domain == "" {
		return subject
	}
	return APISubject(js, subject)
}
