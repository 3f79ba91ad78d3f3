package gateway

import (
	"encoding/json"
	"encoding/pem"
	"errors"
	"math/big"
	"net/http"
	"strings"
)

// certctl is the dialect of the certctl connector. It sends what that connector sends: every
// name as a dNSName, no validity and no subject.
type certctl struct{ chains *chainTexts }

func (certctl) name() Dialect { return DialectCertctl }

func (certctl) enrollment(e Enrollment) ([]byte, error) {
	type name struct {
		Type  string `json:"type"`
		Value string `json:"value"`
	}
	body := struct {
		CSR     string `json:"csr"`
		Profile string `json:"profileId,omitempty"`
		Names   []name `json:"subjectAltNames,omitempty"`
	}{
		CSR:     string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE REQUEST", Bytes: e.CSR.Raw})),
		Profile: e.ProfileID,
	}
	for _, san := range e.SANs {
		// The dialect cannot express a name without a text form; the CSR carries it.
		if san.Type != SANOther {
			body.Names = append(body.Names, name{string(SANDNS), san.Value})
		}
	}
	return json.Marshal(body)
}

func (d certctl) order(body []byte) (order, error) {
	m, whole := readMembers(body)
	if m == nil {
		return order{}, errNoObject(body)
	}
	o := order{
		trackingID: m.text("trackingId"), status: m.text("status"), serial: m.text("serialNumber"),
		certificate: readBundle(m.get("certificate")), chain: d.chains.read(m.get("chain")), broken: !whole,
	}
	if o.trackingID == "" && o.status == "" && o.certificate.empty() {
		if !whole {
			return order{}, errors.New(problemBroken)
		}
		return order{}, errors.New("the answer has no trackingId, status or certificate")
	}
	return o, nil
}

func (certctl) serials(n *big.Int, _ int) []string { return []string{n.String()} }

func (certctl) revocation(r Revocation) (method, verb string, body []byte) {
	// PascalCase, except CACompromise.
	reason := strings.ToUpper(r.Reason[:1]) + r.Reason[1:]
	if r.Reason == "caCompromise" {
		reason = "CACompromise"
	}
	body, _ = json.Marshal(map[string]string{"revocationReason": reason}) // a map of strings always marshals
	return http.MethodPut, "revoke", body
}

// action accepts an empty answer, which is the usual one, and any JSON object.
func (certctl) action(body []byte) (string, error) {
	if len(body) == 0 {
		return "", nil
	}
	var wire struct {
		Status text `json:"status"`
	}
	err := parseObject(body, &wire)
	return strings.TrimSpace(string(wire.Status)), err
}
