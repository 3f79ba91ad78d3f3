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
	textMessageTooLarge = "message too large" // of codeStoreFailed, which else is a full stream
)

// IsConflict reports whether err says that a compare-and-set publish met
// another sequence than the expected one.
func IsConflict(err error) bool {
	var api *jetstream.APIError
	return errors.As(err, &api) && (api.ErrorCode == jetstream.JSErrCodeStreamWrongLastSequence ||
		api.ErrorCode == jetstream.JSErrCodeStreamWrongLastSequenceConstant)
}

// IsRefused reports whether err says that the same message will never be taken,
// whatever an operator does to streams and disks: it is larger than its stream or the
// server allows, as a whole or by its headers, or malformed. Its publisher alone is
// concerned. A stream that is full, missing, sealed or another one than was expected
// refuses for a time only.
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

// Trouble names what an operator has to fix before a publish or fetch that
// failed with err can succeed, or "" when it is not known to be anybody's
// setting. The words are fixed, so that they may label a log line.
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
