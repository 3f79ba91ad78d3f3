package gateway

import "github.com/entrust-worker/entrust-worker/entrustbus/san"

// SAN is one subject alternative name.
type SAN = san.Name

// The types of names: those with a text form, in the gateway's spelling, and SANOther for the
// rest.
const (
	SANDNS   = san.DNS
	SANIP    = san.IP
	SANEmail = san.Email
	SANURI   = san.URI
	SANOther = san.Other
)
