package gateway

import (
	"errors"
	"net"
	"slices"
	"strings"
)

// clientAlerts are the TLS alerts about what the client sent in the handshake (RFC
// 8446, 6.2; "handshake failure" is how TLS 1.2 misses a certificate), as crypto/tls
// words them: it exports no type for an alert that was received.
var clientAlerts = []string{
	"bad certificate", "unsupported certificate", "revoked certificate", "expired certificate",
	"unknown certificate", "unknown certificate authority", "access denied", "certificate required",
	"handshake failure", "error decrypting message",
}

func refusedClient(err error) bool {
	op, ok := errors.AsType[*net.OpError](err)
	if !ok || op.Op != "remote error" || op.Err == nil {
		return false
	}
	return slices.Contains(clientAlerts, strings.TrimPrefix(op.Err.Error(), "tls: "))
}
