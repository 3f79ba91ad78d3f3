package gateway

import "github.com/entrust-worker/entrust-worker/entrustbus/san"

// SAN is one subject alternative name.
type SAN = san.Name

// The types of names that have a text form, as the CA Gateway calls them, and any other.
const (
	SANDNS   = san.DNS
	SANIP    = san.IP
	SANEmail = san.Email
	SANURI   = san.URI
	SANOther = san.Other
)
