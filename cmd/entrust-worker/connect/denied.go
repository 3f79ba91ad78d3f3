package connect

import (
	"errors"
	"fmt"
	"regexp"

	"github.com/nats-io/nats.go"

	"github.com/entrust-worker/entrust-worker/cmd/entrust-worker/usage"
)

// DeniedError is what the NATS server does not let this user do.
type DeniedError struct {
	Action  string // "publish" or "subscribe"
	Subject string
}

// Error names action and subject.
func (e *DeniedError) Error() string {
	return fmt.Sprintf("the NATS server does not allow this user to %s to %q", e.Action, e.Subject)
}

// violation is how nats-server words a missing permission.
var violation = regexp.MustCompile(`(?i)permissions violation for (publish|subscription) to "([^"]+)"`)

// Denied returns the missing permission that err names, with its likely fix: a
// *DeniedError, or nil for every other error.
func Denied(err error) error {
	if !errors.Is(err, nats.ErrPermissionViolation) {
		return nil
	}
	found := violation.FindStringSubmatch(err.Error())
	if found == nil {
		return nil
	}
	if found[1] == "Publish" {
		return usage.WithHint(&DeniedError{"publish", found[2]}, "allow it in the configuration of nats-server; deploy/nats/permissions.conf lists what each user needs")
	}
	return usage.WithHint(&DeniedError{"subscribe", found[2]}, "set --inbox-prefix to the prefix that the server allows this user, such as _INBOX_worker in deploy/nats/permissions.conf")
}

// checkInbox returns an error where this user may not receive answers: then nothing that
// it asks is answered, and each question ends with a timeout.
func checkInbox(nc *nats.Conn) error {
	sub, err := nc.SubscribeSync(nc.NewInbox() + ".*") // as nats.go has it for requests
	if err != nil {
		return fmt.Errorf("subscribing to an inbox: %w", err)
	}
	defer func() { _ = sub.Unsubscribe() }()
	if err := nc.FlushTimeout(nc.Opts.Timeout); err != nil {
		return fmt.Errorf("asking NATS: %w", err)
	}
	return Denied(nc.LastError()) // the server reports it before it answers the flush
}
