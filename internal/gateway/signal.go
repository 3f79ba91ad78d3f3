package gateway

import (
	"errors"
	"net"
	"regexp"
	"strings"
)

// signal is what HTTP/2 or TLS says about a request without an answer, in one sentence.
type signal string

const (
	signalNone signal = ""
	// RFC 9113, 8.7: "no application processing has occurred".
	signalRefusedStream signal = "the gateway refused the HTTP/2 stream before it processed the request (REFUSED_STREAM)"
	// RFC 9113, 6.8: streams above the last id of a GOAWAY were not and will not be processed.
	signalGoAway signal = "the gateway closed the HTTP/2 connection before it processed the request (GOAWAY)"
	// RFC 9113, 7: the endpoint requires that HTTP/1.1 be used instead of HTTP/2.
	signalHTTP1 signal = "the gateway requires HTTP/1.1 for this request (HTTP_1_1_REQUIRED)"
	// RFC 5246, 7.4.1.1. The server asks before it passes the request to the application.
	signalRenegotiation signal = "the gateway asked for a TLS 1.2 renegotiation after the request, and the client refused; " +
		"set gateway.renegotiation, or have the server ask for the client certificate in the handshake"
	// RFC 8446, 4.6.2. The client offers no post_handshake_auth, so the server must not ask.
	signalPostHandshake signal = "the gateway asked for the client certificate after the request (TLS 1.3 post-handshake authentication), " +
		"which is not supported; have the server ask for it in the handshake"
)

// net/http exports no types for these errors. For a request without GetBody it wraps the first
// two in a text of its own. The tests get each of them from a server.
var (
	refusedStreamText = regexp.MustCompile(`stream error: stream ID \d+; REFUSED_STREAM`)
	goAwayText        = regexp.MustCompile(`Transport received Server's graceful shutdown GOAWAY|Transport received GOAWAY from server ErrCode:`)
	http1Text         = regexp.MustCompile(`stream error: stream ID \d+; HTTP_1_1_REQUIRED|GOAWAY from server ErrCode:HTTP_1_1_REQUIRED|GOAWAY and closed the connection; LastStreamID=\d+, ErrCode=HTTP_1_1_REQUIRED`)
)

// signalOf returns the signal in err. http1 is true for a request over HTTP/1.1, false for
// HTTP/2.
func signalOf(err error, http1 bool) signal {
	text := err.Error()
	switch {
	case !http1 && http1Text.MatchString(text):
		return signalHTTP1
	case !http1 && refusedStreamText.MatchString(text):
		return signalRefusedStream
	case !http1 && goAwayText.MatchString(text):
		return signalGoAway
	// On HTTP/2 a server must not ask (RFC 9113, 9.2.3), and the error may be about another
	// request on the same connection.
	case http1 && refusedRenegotiation(err):
		return signalRenegotiation
	case http1 && strings.Contains(text, "unexpected handshake message of type *tls.certificateRequestMsg"):
		return signalPostHandshake
	}
	return signalNone
}

// refusedRenegotiation reports whether err is the client's own refusal of a renegotiation,
// which crypto/tls sends as the alert no_renegotiation.
func refusedRenegotiation(err error) bool {
	op, ok := errors.AsType[*net.OpError](err)
	return ok && op.Op == "local error" && op.Err != nil && op.Err.Error() == "tls: no renegotiation"
}

// clientAuth reports whether the signal is about the client's certificate.
func (s signal) clientAuth() bool { return s == signalRenegotiation || s == signalPostHandshake }

// http1Speaker is a transport that can change to HTTP/1.1 only.
type http1Speaker interface{ UseHTTP1() }

// useHTTP1 makes the transport use HTTP/1.1 only, and reports whether it can.
func (c *Client) useHTTP1() bool {
	t, ok := c.http.Transport.(http1Speaker)
	if !ok {
		return false
	}
	t.UseHTTP1()
	if !c.http1.Swap(true) {
		c.log.Warn("the gateway requires HTTP/1.1; the worker no longer offers HTTP/2")
	}
	return true
}
