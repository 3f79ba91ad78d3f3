package entrustbus

import (
	"errors"
	"fmt"

	"github.com/entrust-worker/entrust-worker/entrustbus/san"
)

// SAN is one subject alternative name, SANType its type.
type (
	SAN     = san.Name
	SANType = san.Type
)

// The types of subject alternative name. SANOther is any other GeneralName of a certificate request; a request's own
// `sans` cannot have it.
const (
	SANDNS   = san.DNS
	SANIP    = san.IP
	SANEmail = san.Email
	SANURI   = san.URI
	SANOther = san.Other
)

// ParseSAN reads one entry of `sans`, as san.Parse does. The error is a *FieldError for "sans".
func ParseSAN(s string) (SAN, error) {
	if len(s) > MaxSANBytes {
		return SAN{}, errTooLong("sans", MaxSANBytes)
	}
	name, err := san.Parse(s)
	if err != nil {
		return SAN{}, sanError("sans", err)
	}
	return name, nil
}

// sanError makes the FieldError of an error about a name.
func sanError(field string, err error) *FieldError {
	out := &FieldError{Field: field, Problem: err.Error()}
	var name *san.Error
	if errors.As(err, &name) {
		out.Problem, out.Fix = name.Problem, name.Fix
	}
	return out
}

// parseSANs reads a whole list, each name once.
func parseSANs(list []string) ([]SAN, error) {
	if len(list) > MaxSANs {
		return nil, errTooMany("sans")
	}
	out := make([]SAN, 0, len(list))
	for i, s := range list {
		name, err := ParseSAN(s)
		if err != nil {
			var f *FieldError
			if errors.As(err, &f) {
				f.Field = fmt.Sprintf("sans[%d]", i)
			}
			return nil, err
		}
		out = append(out, name)
	}
	return san.Unique(out), nil
}

func errTooMany(field string) *FieldError {
	return &FieldError{Field: field, Problem: fmt.Sprintf("has more than %d names", MaxSANs)}
}
