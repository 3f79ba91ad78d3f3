package gateway

import (
	"encoding/asn1"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"math/big"
	"net/http"
	"strings"
	"time"
)

// cagw is the dialect of the CA Gateway 1.x, as Entrust's own clients use it.
type cagw struct{ chains *chainTexts }

func (cagw) name() Dialect { return DialectCAGW }

// altName is a name in an enrollment. DER is sent for a name without a text form.
type altName struct {
	Type  string `json:"type"`
	Value string `json:"value"`
	DER   string `json:"der,omitempty"`
}

func (cagw) enrollment(e Enrollment) ([]byte, error) {
	type format struct {
		Format string `json:"format"`
	}
	body := struct {
		Profile    string            `json:"profileId,omitempty"`
		Format     format            `json:"requiredFormat"`
		CSR        string            `json:"csr"`
		Details    *requestDetails   `json:"optionalCertificateRequestDetails,omitempty"`
		Names      []altName         `json:"subjectAltNames,omitempty"`
		Variables  []SubjectVariable `json:"subjectVariables,omitempty"`
		Properties map[string]any    `json:"properties,omitempty"`
	}{
		Profile:    e.ProfileID,
		Format:     format{"X509"},
		CSR:        base64.StdEncoding.EncodeToString(e.CSR.Raw),
		Variables:  e.SubjectVariables,
		Properties: e.Properties,
	}
	d, err := e.details()
	if err != nil {
		return nil, err
	}
	if !d.empty() {
		body.Details = &d
	}
	for _, san := range e.SANs {
		body.Names = append(body.Names, wireName(san))
	}
	return json.Marshal(body)
}

// wireName writes a name with its type for the gateway. The type of a name without a text
// form comes from the tag of its GeneralName (RFC 5280, 4.2.1.6).
func wireName(san SAN) altName {
	if san.Type != SANOther {
		return altName{Type: string(san.Type), Value: san.Value}
	}
	n := altName{Type: "otherName", DER: base64.StdEncoding.EncodeToString(san.DER)}
	var raw asn1.RawValue
	if _, err := asn1.Unmarshal(san.DER, &raw); err != nil {
		return n
	}
	switch raw.Tag {
	case 3:
		n.Type = "x400Address"
	case 4:
		n.Type = "directoryName"
		if dn, err := distinguishedName(raw.Bytes); err == nil {
			n.Value = dn
		}
	case 5:
		n.Type = "ediPartyName"
	case 8:
		n.Type = "registeredID"
		var oid asn1.ObjectIdentifier
		if _, err := asn1.UnmarshalWithParams(san.DER, &oid, "tag:8"); err == nil {
			n.Value = oid.String()
		}
	}
	return n
}

// isoDuration writes an ISO 8601 duration: in days if they are whole, else in seconds. It
// returns "" for 0.
func isoDuration(d time.Duration) string {
	const day = 24 * time.Hour
	switch {
	case d <= 0:
		return ""
	case d%day == 0:
		return fmt.Sprintf("P%dD", d/day)
	}
	return fmt.Sprintf("PT%dS", d/time.Second)
}

// order reads the enrollment object, or an object that has its members itself. No source
// says which of them a poll gets.
func (d cagw) order(body []byte) (order, error) {
	m, whole := readMembers(body)
	if m == nil {
		return order{}, errNoObject(body)
	}
	if inner, innerWhole := readMembers(m.get("enrollment")); inner != nil {
		m, whole = inner, whole && innerWhole
	} else if m.text("status") == "" && m.get("body") == nil {
		if !whole {
			return order{}, errors.New(problemBroken)
		}
		return order{}, errors.New("the answer holds no enrollment")
	}
	return order{
		trackingID: m.text("id"), status: m.text("status"), serial: m.text("serialNumber"),
		certificate: readBundle(m.get("body")), chain: d.chains.read(m.get("chain")), broken: !whole,
	}, nil
}

func (cagw) serials(n *big.Int, width int) []string { return hexSerials(n, width) }

func (cagw) revocation(r Revocation) (method, verb string, body []byte) {
	type action struct {
		Type     string `json:"type"`
		Reason   string `json:"reason,omitempty"`
		Comment  string `json:"comment,omitempty"`
		IssueCRL string `json:"issueCrl,omitempty"` // a string on the wire
	}
	a := action{Type: "RevokeAction", Reason: r.Reason, Comment: r.Comment}
	if r.lifts() {
		a.Type, a.Reason = "UnholdAction", ""
	}
	if r.IssueCRL {
		a.IssueCRL = "true"
	}
	// Strings always marshal.
	body, _ = json.Marshal(map[string]action{"action": a})
	return http.MethodPost, "actions", body
}

// action accepts an empty answer too: the HTTP status is enough.
func (cagw) action(body []byte) (string, error) {
	if len(body) == 0 {
		return "", nil
	}
	var wire struct {
		Action *struct {
			Status text `json:"status"`
		} `json:"action"`
	}
	if err := parseObject(body, &wire); err != nil {
		return "", err
	}
	if wire.Action == nil {
		return "", errors.New("the answer holds no action")
	}
	return strings.TrimSpace(string(wire.Action.Status)), nil
}
