package entrustbus

import "strings"

// ReasonRemoveFromCRL lifts a hold: the certificate is valid again. It is not a reason to revoke.
const ReasonRemoveFromCRL = "removeFromCRL"

// Reasons are the revocation reasons that a request may give, as RFC 5280 5.3.1 names them, beside ReasonRemoveFromCRL.
func Reasons() []string {
	return []string{
		"unspecified", "keyCompromise", "caCompromise", "affiliationChanged", "superseded",
		"cessationOfOperation", "certificateHold", "privilegeWithdrawn",
	}
}

// reasonNumbers are the numbers of RFC 5280 5.3.1. Number 7 is not used.
func reasonNumbers() map[string]string {
	return map[string]string{
		"0": "unspecified", "1": "keyCompromise", "2": "caCompromise", "3": "affiliationChanged", "4": "superseded",
		"5": "cessationOfOperation", "6": "certificateHold", "8": ReasonRemoveFromCRL, "9": "privilegeWithdrawn",
	}
}

// NormalReason is the RFC 5280 spelling of a reason written in any case ("KeyCompromise", "CACompromise"), with words
// apart ("key_compromise", "key-compromise"), or as RFC 5280's number. The second value reports whether it is a
// reason; the empty text is not.
func NormalReason(reason string) (string, bool) {
	if len(reason) > 64 {
		return "", false
	}
	word := strings.Map(func(r rune) rune {
		if r == '_' || r == '-' || invisible(r) {
			return -1
		}
		return r
	}, reason)
	if name, ok := reasonNumbers()[strings.TrimSpace(reason)]; ok {
		return name, true
	}
	for _, r := range append(Reasons(), ReasonRemoveFromCRL) {
		if strings.EqualFold(r, word) {
			return r, true
		}
	}
	return "", false
}

// checkReason takes a reason, or none.
func checkReason(key, reason string) error {
	if _, ok := NormalReason(reason); ok || reason == "" {
		return nil
	}
	err := &FieldError{
		Field:   key,
		Problem: "is not a revocation reason",
		Fix:     "use one of " + strings.Join(append(Reasons(), ReasonRemoveFromCRL), ", "),
	}
	if strings.EqualFold(reason, "aACompromise") || reason == "10" {
		err.Problem = "is aACompromise, which is for attribute certificates"
	}
	return err
}
