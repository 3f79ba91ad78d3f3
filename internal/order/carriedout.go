package order

import "github.com/entrust-worker/entrust-worker/entrustbus"

// carriedOut refuses what the contract allows and this worker would ignore: it would
// issue or revoke something else than was asked for.
func carriedOut(r entrustbus.Request) error {
	key := ""
	switch q := r.(type) {
	case *entrustbus.Issue:
		if err := verifiable(q); err != nil {
			return err
		}
		switch {
		case q.SubjectDN == entrustbus.SubjectOmit:
			key = "subject_dn"
		case q.MaxValiditySeconds > 0:
			key = "max_validity_seconds"
		case len(q.Properties) > 0:
			key = "properties"
		case len(q.SubjectVariables) > 0:
			key = "subject_variables"
		case len(q.Extensions) > 0:
			key = "extensions"
		case len(q.EKUs) > 0:
			key = "ekus"
		case q.MustStaple:
			key = "must_staple"
		}
	case *entrustbus.Revoke:
		switch {
		case q.IssueCRL:
			key = "issue_crl"
		case q.Reason == entrustbus.ReasonRemoveFromCRL:
			key = "reason"
		}
	}
	if key == "" {
		return nil
	}
	return &entrustbus.FieldError{Field: key, Problem: "is not carried out by this worker", Fix: "leave the key out"}
}

// verifiable refuses keys whose signatures this worker cannot verify.
func verifiable(q *entrustbus.Issue) error {
	csr, err := q.CSR()
	if err != nil {
		return err
	}
	if err := csr.Verifiable(); err != nil {
		field := "csr_pem"
		if q.CSRPEM == "" {
			field = "csr_der"
		}
		return &entrustbus.FieldError{
			Field: field, Problem: "cannot be passed on by this worker: " + err.Error(),
			Fix: "use a key of a type that it verifies: RSA, EC P-256, P-384, P-521 or Ed25519",
		}
	}
	return nil
}
