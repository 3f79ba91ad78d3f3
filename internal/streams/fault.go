package streams

import (
	"errors"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// Server error codes that nats.go does not name (nats-server 2.15,
// jetstream_errors_generated.go).
const (
	codeAccountResources = 10002
	codeMemoryResources  = 10028
	codeStorageResources = 10047
	codeInsufficient     = 10023
	codeStoreFailed      = 10077
	codeNotMatch         = 10060
	codeSealed           = 10109

	codeHeaderTooLarge  = 10097
	codeBadSchedule     = 10189
	textMessageTooLarge = "message too large" // the text of codeStoreFailed for a large message; any other text is a full stream
)

// IsConflict reports whether a compare-and-set publish failed because the last sequence
// differed from the expected one.
func IsConflict(err error) bool {
	var api *jetstream.APIError
	return errors.As(err, &api) && (api.ErrorCode == jetstream.JSErrCodeStreamWrongLastSequence ||
		api.ErrorCode == jetstream.JSErrCodeStreamWrongLastSequenceConstant)
}

// IsRefused reports whether the server will never accept the same message, whatever an operator
// changes about streams and disks. The message is malformed, or larger than its stream or the
// server allows, as a whole or by its headers. Only its publisher can fix that. A stream that
// is full, missing, sealed or not the expected one refuses a message only for a time, and does
// not count.
func IsRefused(err error) bool {
	if errors.Is(err, nats.ErrMaxPayload) || errors.Is(err, nats.ErrBadSubject) || errors.Is(err, nats.ErrBadHeaderMsg) {
		return true
	}
	var api *jetstream.APIError
	if !errors.As(err, &api) {
		return false
	}
	switch api.ErrorCode {
	case jetstream.JSErrCodeStreamMessageExceedsMaximum, codeHeaderTooLarge, jetstream.JSErrCodeBadRequest, codeBadSchedule:
		return true
	case codeStoreFailed:
		return api.Description == textMessageTooLarge
	}
	return false
}

// Trouble names the problem that an operator must fix before a failed publish or fetch can
// succeed. It returns "" when no known setting or outage explains err. The texts are fixed, so
// a log line may use them as a label.
func Trouble(err error) string {
	var api *jetstream.APIError
	if errors.As(err, &api) {
		switch api.ErrorCode {
		case codeAccountResources, codeMemoryResources, codeStorageResources:
			return "the account's JetStream limits are reached"
		case codeInsufficient:
			return "the server has no resources left for JetStream"
		case codeStoreFailed:
			return "the stream cannot store: it is full, or its disk is"
		case jetstream.JSErrCodeStreamNotFound:
			return "the stream does not exist"
		case jetstream.JSErrCodeConsumerNotFound, jetstream.JSErrCodeConsumerDoesNotExist:
			return "the consumer does not exist"
		case jetstream.JSErrCodeStreamMessageExceedsMaximum:
			return "the message is larger than the stream allows"
		case codeHeaderTooLarge:
			return "the headers of the message are larger than 64 KiB"
		case codeNotMatch:
			return "the subject belongs to another stream than the configured one"
		case codeSealed:
			return "the stream is sealed"
		case jetstream.JSErrCodeJetStreamNotEnabledForAccount, jetstream.JSErrCodeJetStreamNotEnabled:
			return "JetStream is not enabled"
		}
	}
	switch {
	case errors.Is(err, jetstream.ErrConsumerDeleted):
		return "the consumer was deleted"
	case errors.Is(err, jetstream.ErrNoStreamResponse), errors.Is(err, nats.ErrNoResponders):
		return "no stream answers: it is missing, or its leader is away"
	case errors.Is(err, nats.ErrConnectionClosed), errors.Is(err, nats.ErrConnectionReconnecting), errors.Is(err, nats.ErrDisconnected):
		return "the connection to NATS is down"
	}
	return ""
}
