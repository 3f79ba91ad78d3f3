package gateway

import "regexp"

var (
	// alreadyRevoked matches wordings of "already revoked", and codes such as ALREADY_REVOKED
	// and CertificateAlreadyRevoked.
	alreadyRevoked = regexp.MustCompile(`(?i)(already|previously)[\s_-]*((has|have|was|is|been)[\s_-]*)*(in[\s_-]+((the|a)[\s_-]+)?((state|status)\W+)?)?revoked` +
		`|revoked[\s_-]*(already|before|previously|earlier)` +
		`|already[\s_-]+in[\s_-]+(the[\s_-]+)?requested[\s_-]+state` +
		`|revoke[\s_-]+(a[\s_-]+)?revoked[\s_-]+certificate`)
	// isRevoked matches sentences that begin with the certificate or its status, so that no
	// word before can refer to another certificate.
	isRevoked = regexp.MustCompile(`(?i)^\W*(the\s+|this\s+)?(certificate(\s+(with\s+)?(serial(\s*number)?\s*)?[:#]?\s*["'(]?[0-9a-f:]+["')]?)?\s+(is|was|has\s+been)(\s+now)?(\s+in(\s+(the|a))?)?` +
		`|(certificate('s)?\s+)?(status|state)\s*(is|of\s+the\s+certificate\s+is|=|:)?)\s*["']?revoked\b`)
	// notRevoked matches sentences that say the contrary, or that are about another
	// certificate: the client's, or the CA's.
	notRevoked = regexp.MustCompile(`(?i)\b(not|n't|never)\s+(yet\s+|been\s+)*(already|previously)` +
		`|\b(client|your|caller|caller's|requester|requester's|administrator|issuer|issuing|signing|root|CA)(\s+CA)?('s)?\s+certificate` +
		`|\b(CA|authority|issuer|client|administrator)\s+(is|was|has)\b`)
)

// saysRevoked reports whether the gateway says that the certificate is already revoked, so
// that a revocation succeeded. In doubt it returns false: a certificate that is wrongly
// reported as revoked stays in use.
func saysRevoked(text string) bool {
	return (alreadyRevoked.MatchString(text) || isRevoked.MatchString(text)) && !notRevoked.MatchString(text)
}
