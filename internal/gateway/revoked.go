package gateway

import "regexp"

var (
	// alreadyRevoked are wordings of "already revoked", and codes such as ALREADY_REVOKED
	// and CertificateAlreadyRevoked.
	alreadyRevoked = regexp.MustCompile(`(?i)(already|previously)[\s_-]*((has|have|was|is|been)[\s_-]*)*(in[\s_-]+((the|a)[\s_-]+)?((state|status)\W+)?)?revoked` +
		`|revoked[\s_-]*(already|before|previously|earlier)` +
		`|already[\s_-]+in[\s_-]+(the[\s_-]+)?requested[\s_-]+state` +
		`|revoke[\s_-]+(a[\s_-]+)?revoked[\s_-]+certificate`)
	// isRevoked are sentences that say it of the certificate, and have nothing in front that
	// could make it another's.
	isRevoked = regexp.MustCompile(`(?i)^\W*(the\s+|this\s+)?(certificate(\s+(with\s+)?(serial(\s*number)?\s*)?[:#]?\s*["'(]?[0-9a-f:]+["')]?)?\s+(is|was|has\s+been)(\s+now)?(\s+in(\s+(the|a))?)?` +
		`|(certificate('s)?\s+)?(status|state)\s*(is|of\s+the\s+certificate\s+is|=|:)?)\s*["']?revoked\b`)
	// notRevoked are sentences that say the contrary, or say it of another certificate: our
	// client's, or the CA's.
	notRevoked = regexp.MustCompile(`(?i)\b(not|n't|never)\s+(yet\s+|been\s+)*(already|previously)` +
		`|\b(client|your|caller|caller's|requester|requester's|administrator|issuer|issuing|signing|root|CA)(\s+CA)?('s)?\s+certificate` +
		`|\b(CA|authority|issuer|client|administrator)\s+(is|was|has)\b`)
)

// saysRevoked reports whether the gateway says of the certificate that it is revoked
// already, which is what a revocation wants. It errs on the side of no: a certificate that
// is taken for revoked, and is not, stays in use.
func saysRevoked(text string) bool {
	return (alreadyRevoked.MatchString(text) || isRevoked.MatchString(text)) && !notRevoked.MatchString(text)
}
