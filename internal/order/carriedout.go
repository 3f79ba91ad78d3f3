package order

import "github.com/entrust-worker/entrust-worker/entrustbus"

// carriedOut refuses what the contract allows and this worker would ignore: it would
// issue or revoke something else than was asked for.
func carriedOut(r entrustbus.Request, limits Limits) error {
	q, ok := r.(*entrustbus.Issue)
	switch {
	case !ok:
		return nil
	case q.MaxValiditySeconds > 0:
		return &entrustbus.FieldError{Field: "max_validity_seconds", Problem: "is not carried out by this worker", Fix: "leave the key out"}
	case limits.Verifiable:
		return verifiable(q)
	}
	return nil
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
