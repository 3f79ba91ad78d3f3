package consumer

import (
	"time"

	"github.com/entrust-worker/entrust-worker/entrustbus"
	"github.com/entrust-worker/entrust-worker/internal/gateway"
	"github.com/entrust-worker/entrust-worker/internal/order"
)

// enrollmentOf builds the gateway's enrollment for a request.
func enrollmentOf(q *entrustbus.Issue, r order.Record) (gateway.Enrollment, error) {
	csr, err := q.CertificateRequest()
	if err != nil {
		return gateway.Enrollment{}, err
	}
	e := gateway.Enrollment{
		CAID: r.CAID, ProfileID: r.ProfileID, CSR: csr, SubjectDN: q.SubjectDN,
		Validity: time.Duration(q.ValiditySeconds) * time.Second, Period: q.ValidityPeriod, MaxValidity: time.Duration(q.MaxValiditySeconds) * time.Second,
	}
	switch {
	case r.Validity == 0:
	case e.Validity > 0:
		e.Validity = r.Validity // the policy cut the demand
	default:
		e.MaxValidity = r.Validity // or the cap
	}
	if q.SubjectDN == entrustbus.SubjectOmit {
		e.SubjectDN, e.OmitSubject = "", true
	}
	for _, v := range q.SubjectVariables {
		e.SubjectVariables = append(e.SubjectVariables, gateway.SubjectVariable{Type: v.Type, Value: v.Value})
	}
	for _, x := range q.Extensions {
		e.Extensions = append(e.Extensions, gateway.Extension{OID: x.OID, Critical: x.Critical, Value: x.Value})
	}
	if len(q.EKUs) > 0 {
		eku, err := gateway.ExtendedKeyUsage(q.EKUs)
		if err != nil {
			return e, err
		}
		e.Extensions = append(e.Extensions, eku)
	}
	if q.MustStaple {
		e.Extensions = append(e.Extensions, gateway.MustStaple())
	}
	e.SANs, err = q.Names()
	return e, err
}
