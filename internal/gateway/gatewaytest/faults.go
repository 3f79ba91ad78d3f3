package gatewaytest

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"
)

// Op is the kind of request to which a Fault applies.
type Op string

const (
	OpEnroll  Op = "enroll"  // POST …/enrollments
	OpPoll    Op = "poll"    // GET …/enrollments/{id}
	OpRevoke  Op = "revoke"  // POST …/actions, PUT …/revoke
	OpCA      Op = "ca"      // the list of CAs, a CA
	OpEvents  Op = "events"  // GET …/certificate-events
	OpCert    Op = "cert"    // GET …/certificates/{serial}
	OpConnect Op = "connect" // a new TLS connection; for FaultResetTLS alone
)

// Kind is what a Fault does.
type Kind string

const (
	// FaultLatency delays the request by Delay; half of it before it takes effect.
	FaultLatency Kind = "latency"
	// FaultCut cuts the connection before the request takes effect.
	FaultCut Kind = "cut"
	// FaultLostReply lets the request take effect and cuts the connection in place of the answer.
	FaultLostReply Kind = "lost-reply"
	// FaultHang never answers: the client must end the call. The request takes effect if AfterEffect.
	FaultHang Kind = "hang"
	// FaultHalfBody sends the header and half of the body of the correct answer, then cuts the connection.
	FaultHalfBody Kind = "half-body"
	// FaultResetTLS resets a new connection after the client's hello.
	FaultResetTLS Kind = "reset-tls"
	// FaultGoAway lets the request take effect, answers correctly, and ends the connection. Over
	// HTTP/2 it sends a GOAWAY whose last stream is below the requests still in flight.
	FaultGoAway Kind = "go-away"
	// FaultThrottle answers 429 with the text TooManyRequests, and Retry-After if RetryAfter is set.
	FaultThrottle Kind = "throttle"
	// FaultStatus answers Status in the given Form.
	FaultStatus Kind = "status"
	// FaultLicence answers as if the licence cap were reached (403).
	FaultLicence Kind = "licence-cap"
	// FaultRedirect answers 307 to another path of this server, which counts in Stats.RedirectsFollowed.
	FaultRedirect Kind = "redirect"
	// FaultGarbage lets the request take effect and answers 200 with broken JSON.
	FaultGarbage Kind = "garbage"
	// FaultEmptyBody lets the request take effect and answers without a body.
	FaultEmptyBody Kind = "empty-body"
	// FaultHugeBody lets the request take effect and answers with valid JSON of 6 MiB.
	FaultHugeBody Kind = "huge-body"
	// FaultUnknownStatus answers with the status Word (default "UNDER_REVIEW") and no certificate.
	FaultUnknownStatus Kind = "unknown-status"
	// FaultCADown answers a request for a CA's status that the CA is DOWN.
	FaultCADown Kind = "ca-down"
	// FaultNoCertificate answers that an order is issued, without its certificate.
	FaultNoCertificate Kind = "no-certificate"
	// FaultDamagedCertificate answers that an order is issued, with half of its certificate.
	FaultDamagedCertificate Kind = "damaged-certificate"
	// FaultSlowApproval makes an order pending, and approves it after Delay (0: by hand). With a
	// delay beyond the client's deadline the approval comes too late.
	FaultSlowApproval Kind = "slow-approval"
	// FaultReject makes an order rejected: at once, or after Delay.
	FaultReject Kind = "reject"
	// FaultWrongKey certifies another key. This and the next three act on the enrolled order, at
	// any time of its signing.
	FaultWrongKey Kind = "wrong-key"
	// FaultWrongNames certifies another name.
	FaultWrongNames Kind = "wrong-names"
	// FaultExpired issues a certificate that expired yesterday.
	FaultExpired Kind = "expired"
	// FaultWrongChain signs with a key that the chain does not certify.
	FaultWrongChain Kind = "wrong-chain"
	// FaultExpiredChain shows an expired issuing CA certificate, in the answer or (OpCA) in the
	// CA's description.
	FaultExpiredChain Kind = "expired-chain"
)

// Fault is a rule that makes the gateway misbehave. The gateway tries the rules in order,
// and every rule that matches acts. Of the rules that replace the answer only the first
// acts; the later ones do not count the request.
type Fault struct {
	// ID is set by AddFault. Rules of a Config are numbered from 1.
	ID int `json:"id,omitempty"`
	// Op restricts the rule to a kind of request. Empty: any.
	Op Op `json:"op,omitempty"`
	// Kind is the effect.
	Kind Kind `json:"kind"`
	// CA restricts the rule to requests about that CA. Empty: any.
	CA string `json:"ca,omitempty"`
	// CNPrefix restricts the rule to orders whose common name begins with it. Empty: any.
	CNPrefix string `json:"cn_prefix,omitempty"`
	// Skip is the number of matching requests that the rule leaves unchanged first.
	Skip int `json:"skip,omitempty"`
	// Times is the number of requests that the rule affects. Zero: no limit.
	Times int `json:"times,omitempty"`
	// PerOrder is the number of affected requests of one order, which is identified by its
	// common name or its key. Zero: no limit.
	PerOrder int `json:"per_order,omitempty"`
	// Fraction is the share of affected requests among the matching ones. Config.Seed, the order
	// and the number of its matches decide. Zero: all.
	Fraction float64 `json:"fraction,omitempty"`
	// Delay is the time of FaultLatency, FaultSlowApproval and FaultReject.
	Delay time.Duration `json:"-"`
	// Status is the code of FaultStatus; default 500.
	Status int `json:"status,omitempty"`
	// Form is the body of FaultStatus: "json" (default) is the gateway's own error body. The
	// others are of a server in front of it: "text", "html", "empty", "spring" (Spring Boot's
	// body if no application answers) and "other" (JSON of a proxy).
	Form string `json:"form,omitempty"`
	// Code and Message go into the JSON of FaultStatus and FaultLicence, as "cagw-4018".
	Code    string `json:"code,omitempty"`
	Message string `json:"message,omitempty"`
	// AfterEffect lets the request take effect before FaultStatus, FaultThrottle or FaultHang.
	AfterEffect bool `json:"after_effect,omitempty"`
	// RetryAfter is the value of the header Retry-After with FaultStatus and FaultThrottle, in
	// whole seconds, or as a date if RetryAfterDate. Zero: no header. Negative: a value that
	// is no number.
	RetryAfter     time.Duration `json:"-"`
	RetryAfterDate bool          `json:"retry_after_date,omitempty"`
	// Word is the status of FaultUnknownStatus.
	Word string `json:"word,omitempty"`
	// WholeConnection resets the TCP connection, and so cuts every request on it. Otherwise a cut
	// ends an HTTP/2 stream, or closes an HTTP/1.1 connection.
	WholeConnection bool `json:"whole_connection,omitempty"`
	// Fired is the number of affected requests so far. The Server sets it.
	Fired int `json:"fired"`
}

// faultJSON is a Fault with its durations as text ("1.5s").
type faultJSON struct {
	plainFault
	Delay      string `json:"delay,omitempty"`
	RetryAfter string `json:"retry_after,omitempty"`
}

type plainFault Fault

// MarshalJSON writes durations as text, such as "1.5s".
func (f Fault) MarshalJSON() ([]byte, error) {
	out := faultJSON{plainFault: plainFault(f)}
	if f.Delay != 0 {
		out.Delay = f.Delay.String()
	}
	if f.RetryAfter != 0 {
		out.RetryAfter = f.RetryAfter.String()
	}
	return json.Marshal(out)
}

// UnmarshalJSON reads what MarshalJSON writes; an unknown key is an error.
func (f *Fault) UnmarshalJSON(data []byte) error {
	var in faultJSON
	d := json.NewDecoder(bytes.NewReader(data))
	d.DisallowUnknownFields() // a mistyped key would silently change the rule
	if err := d.Decode(&in); err != nil {
		return err
	}
	*f = Fault(in.plainFault)
	var err1, err2 error
	if in.Delay != "" {
		f.Delay, err1 = time.ParseDuration(in.Delay)
	}
	if in.RetryAfter != "" {
		f.RetryAfter, err2 = time.ParseDuration(in.RetryAfter)
	}
	return errors.Join(err1, err2)
}

func (f Fault) validate() error {
	switch f.Op {
	case "", OpEnroll, OpPoll, OpRevoke, OpCA, OpEvents, OpCert, OpConnect:
	default:
		return fmt.Errorf("unknown op %q", f.Op)
	}
	switch f.Kind {
	case FaultLatency, FaultCut, FaultLostReply, FaultHang, FaultHalfBody, FaultResetTLS, FaultThrottle, FaultStatus,
		FaultLicence, FaultRedirect, FaultGarbage, FaultEmptyBody, FaultHugeBody, FaultUnknownStatus,
		FaultNoCertificate, FaultDamagedCertificate, FaultSlowApproval, FaultReject, FaultWrongKey, FaultWrongNames, FaultExpired,
		FaultWrongChain, FaultExpiredChain, FaultCADown, FaultGoAway:
	default:
		return fmt.Errorf("unknown kind %q", f.Kind)
	}
	if f.Status != 0 && (f.Status < 200 || f.Status > 999) {
		return fmt.Errorf("status %d is out of range", f.Status)
	}
	if !slices.Contains([]string{"", "json", "text", "html", "empty", "spring", "other"}, f.Form) {
		return fmt.Errorf("unknown form %q", f.Form)
	}
	if !(f.Fraction >= 0 && f.Fraction <= 1) {
		return fmt.Errorf("fraction %v is not in [0,1]", f.Fraction)
	}
	if f.Skip < 0 || f.Times < 0 || f.PerOrder < 0 || f.Delay < 0 {
		return errors.New("counts and delays must not be negative")
	}
	return nil
}

// terminal reports whether the rule replaces the answer.
func (f *Fault) terminal() bool {
	switch f.Kind {
	case FaultCut, FaultLostReply, FaultHang, FaultHalfBody, FaultThrottle, FaultStatus, FaultLicence,
		FaultRedirect, FaultGarbage, FaultEmptyBody, FaultHugeBody:
		return true
	}
	return false
}

// effective reports whether the request takes effect before a terminal rule acts.
func (f *Fault) effective() bool {
	switch f.Kind {
	case FaultLostReply, FaultHalfBody, FaultGarbage, FaultEmptyBody, FaultHugeBody:
		return true
	case FaultStatus, FaultThrottle, FaultHang:
		return f.AfterEffect
	}
	return false
}

// applies reports whether the rule is for requests of op at a CA.
func (f *Fault) applies(op Op, ca string) bool {
	if f.Kind == FaultResetTLS {
		return op == OpConnect
	}
	return op != OpConnect && (f.Op == "" || f.Op == op) && (f.CA == "" || f.CA == ca)
}
