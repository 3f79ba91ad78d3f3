package policy

import (
	"strconv"
	"strings"
)

// attributeOIDs are the named subject attributes, in lower case. SN is missing: it means
// surname to some programs and serial number to others.
var attributeOIDs = map[string]string{
	"cn": "2.5.4.3", "surname": "2.5.4.4", "serialnumber": "2.5.4.5", "c": "2.5.4.6", "l": "2.5.4.7", "st": "2.5.4.8", "street": "2.5.4.9",
	"o": "2.5.4.10", "ou": "2.5.4.11", "title": "2.5.4.12", "description": "2.5.4.13", "businesscategory": "2.5.4.15", "postalcode": "2.5.4.17",
	"givenname": "2.5.4.42", "initials": "2.5.4.43", "dnqualifier": "2.5.4.46", "pseudonym": "2.5.4.65", "organizationidentifier": "2.5.4.97",
	"uid": "0.9.2342.19200300.100.1.1", "dc": "0.9.2342.19200300.100.1.25",
	"emailaddress": oidEmail, "e": oidEmail, "unstructuredname": "1.2.840.113549.1.9.2", "unstructuredaddress": "1.2.840.113549.1.9.8",
}

// attributeNames are the names of attributes in messages.
var attributeNames = map[string]string{
	oidCommonName: "CN", "2.5.4.4": "surname", "2.5.4.5": "serialNumber", "2.5.4.6": "C", "2.5.4.7": "L", "2.5.4.8": "ST", "2.5.4.9": "street",
	"2.5.4.10": "O", "2.5.4.11": "OU", "2.5.4.12": "title", "2.5.4.13": "description", "2.5.4.15": "businessCategory", "2.5.4.17": "postalCode",
	"2.5.4.42": "givenName", "2.5.4.43": "initials", "2.5.4.46": "dnQualifier", "2.5.4.65": "pseudonym", "2.5.4.97": "organizationIdentifier",
	"0.9.2342.19200300.100.1.1": "UID", "0.9.2342.19200300.100.1.25": "DC", oidEmail: "emailAddress",
	"1.2.840.113549.1.9.2": "unstructuredName", "1.2.840.113549.1.9.8": "unstructuredAddress",
}

const (
	oidCommonName = "2.5.4.3"
	oidEmail      = "1.2.840.113549.1.9.1"

	oidAltName          = "2.5.29.17"
	oidBasicConstraints = "2.5.29.19"
	oidEKU              = "2.5.29.37"
	oidTLSFeature       = "1.3.6.1.5.5.7.1.24"

	oidExtensionRequest          = "1.2.840.113549.1.9.14"
	oidMicrosoftExtensionRequest = "1.3.6.1.4.1.311.2.1.14"
)

// extensionOIDs are the named extensions, in lower case.
var extensionOIDs = map[string]string{
	"subjectkeyidentifier": "2.5.29.14", "keyusage": "2.5.29.15", "issueraltname": "2.5.29.18", "basicconstraints": oidBasicConstraints,
	"nameconstraints": "2.5.29.30", "certificatepolicies": "2.5.29.32", "tlsfeature": oidTLSFeature, "subjectaltname": oidAltName, "extendedkeyusage": oidEKU,
}

// ekuOIDs are the extended key usages of RFC 5280 4.2.1.12, in lower case.
var ekuOIDs = map[string]string{
	"serverauth": "1.3.6.1.5.5.7.3.1", "clientauth": "1.3.6.1.5.5.7.3.2", "codesigning": "1.3.6.1.5.5.7.3.3",
	"emailprotection": "1.3.6.1.5.5.7.3.4", "timestamping": "1.3.6.1.5.5.7.3.8", "ocspsigning": "1.3.6.1.5.5.7.3.9",
}

// harmlessAttributes are the attributes that a certificate request may carry besides its
// extensions. No CA takes names from them.
var harmlessAttributes = map[string]bool{
	"1.2.840.113549.1.9.7":   true, // challengePassword
	"1.3.6.1.4.1.311.13.2.2": true, // Microsoft: the provider of the key
	"1.3.6.1.4.1.311.13.2.3": true, // Microsoft: version of the operating system
	"1.3.6.1.4.1.311.21.20":  true, // Microsoft: requesting program
}

// named returns the id of a name in table, or s if it is an id itself; "" otherwise.
func named(table map[string]string, s string) string {
	if id, ok := table[strings.ToLower(s)]; ok {
		return id
	}
	if isOID(s) {
		return s
	}
	return ""
}

// isOID reports whether s is an object identifier in dotted numbers.
func isOID(s string) bool {
	parts := strings.Split(s, ".")
	if len(parts) < 2 || len(s) > 128 {
		return false
	}
	for i, p := range parts {
		n, err := strconv.ParseUint(p, 10, 31)
		if err != nil || strconv.FormatUint(n, 10) != p || i == 0 && n > 2 || i == 1 && n > 39 && parts[0] != "2" {
			return false
		}
	}
	return true
}

// attributeName returns the name of an attribute in messages.
func attributeName(oid string) string {
	if name, ok := attributeNames[oid]; ok {
		return name
	}
	return oid
}
