package issuer

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/entrust-worker/entrust-worker/entrustbus"
)

// RevokeCertificate has a certificate revoked. The same serial number with the same reason is one order within
// Config.WindowSeconds. Errors: a *entrustbus.FieldError, ErrPending (the revocation goes on), an *OutcomeError, what
// entrustbus.Client.Submit returns, and the context's cause.
func (i *Issuer) RevokeCertificate(ctx context.Context, request RevocationRequest) error {
	r := &entrustbus.Revoke{ID: string(sortRevoke), CAID: i.cfg.CAID}
	if serial := strings.TrimSpace(request.Serial); strings.Trim(serial, "0123456789") == "" {
		r.SerialDecimal = serial
	} else {
		r.Serial = serial
	}
	if request.Reason != nil {
		r.Reason = *request.Reason
	}
	if err := r.Validate(); err != nil {
		return err
	}
	serial, err := r.SerialNumber()
	if err != nil {
		return err
	}
	reason := r.Reason
	if normal, ok := entrustbus.NormalReason(reason); ok {
		reason = normal
	}
	// A window later the same revocation is another order: a hold that was lifted can be set again.
	r.ID = idOf(sortRevoke, []string{serial.Text(16), reason, r.CAID, fmt.Sprint(time.Now().Unix() / i.cfg.WindowSeconds)})
	if _, err := i.client.Submit(ctx, r); err != nil {
		return err
	}
	result, err := i.wait(ctx, r.ID)
	if err != nil {
		return err
	}
	if result.Outcome != entrustbus.OutcomeRevoked {
		return ended(result)
	}
	return nil
}

// GetOrderStatus reads how an order stands, and waits for nothing. An order that no worker has begun is pending; so is one
// that does not exist, which nothing on the bus can tell from it. The error is what went wrong on the way.
func (i *Issuer) GetOrderStatus(ctx context.Context, orderID string) (*OrderStatus, error) {
	result, err := i.client.Lookup(ctx, orderID)
	if errors.Is(err, entrustbus.ErrNoResult) {
		message := i.whereIs(ctx, orderID)
		return &OrderStatus{OrderID: orderID, Status: StatusPending, Message: &message, UpdatedAt: time.Now()}, nil
	}
	if err != nil {
		return nil, err
	}
	status := &OrderStatus{OrderID: orderID, Status: StatusCompleted, UpdatedAt: result.FinishedAt}
	switch result.Outcome {
	case entrustbus.OutcomeIssued:
		status.CertPEM, status.ChainPEM, status.Serial = &result.CertificatePEM, &result.ChainPEM, &result.SerialDecimal
		status.NotBefore, status.NotAfter = &result.NotBefore, &result.NotAfter
	case entrustbus.OutcomeRevoked:
	default:
		message := ended(result).Error()
		status.Status, status.Message = StatusFailed, &message
	}
	return status, nil
}
