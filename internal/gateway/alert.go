package gateway

import (
	"errors"
	"net"
	"slices"
	"strings"
)

// clientAlerts are the TLS alerts about what the client sent in the handshake (RFC
// 8446, 6.2), in the words of crypto/tls, which exports no type for a received alert.
// TLS 1.2 reports a missing certificate as "handshake failure".
var clientAlerts = []string{
	"bad certificate", "unsupported certificate", "revoked certificate", "expired certificate",
	"unknown certificate", "unknown certificate authority", "access denied", "certificate required",
	"handshake failure", "error decrypting message",
}

// refusedClient reports whether err is such an alert from the server.
func refusedClient(err error) bool {
	op, ok := errors.AsType[*net.OpError](err)
	if !ok || op.Op != "remote error" || op.Err == nil {
		return false
	}
	return slices.Contains(clientAlerts, strings.TrimPrefix(op.Err.Error(), "tls: "))
}
