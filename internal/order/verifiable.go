package order

import "github.com/entrust-worker/entrust-worker/entrustbus"

// verifiable refuses keys whose signatures this worker cannot verify.
func verifiable(r entrustbus.Request) error {
	q, ok := r.(*entrustbus.Issue)
	if !ok {
		return nil
	}
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
