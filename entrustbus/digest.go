package entrustbus

import (
	"cmp"
	"crypto/sha256"
	"encoding/binary"
	"maps"
	"slices"
	"strconv"
)

// Digest is a SHA-256 over what a request asks for, so that the same id published again can be told from another
// request under the same id. It covers the kind and every field but `id` and `v`. Equal content is equal however it was
// written: encoding, order of keys, a certificate request as PEM or DER, the forms and spellings of a serial number,
// the spelling of a reason; `sans` is a set, so neither order nor repetition counts; `common_name` is left out, since it
// can only repeat the certificate request. A field that is not given differs from one that gives the worker's default.
//
// The error is the *FieldError of Validate for a certificate request, name or serial number that cannot be read.
func Digest(r Request) ([32]byte, error) {
	content, err := r.appendContent(appendPart([]byte("entrust-request-1\n"), "kind", string(r.Kind())))
	if err != nil {
		return [32]byte{}, err
	}
	return sha256.Sum256(content), nil
}

// appendPart writes a name and a value, each behind its length, so that no two contents run into the same bytes.
func appendPart(b []byte, name, value string) []byte {
	if value == "" {
		return b
	}
	b = append(binary.AppendUvarint(b, uint64(len(name))), name...)
	return append(binary.AppendUvarint(b, uint64(len(value))), value...)
}

func appendNumber(b []byte, name string, n int64) []byte {
	if n == 0 {
		return b
	}
	return appendPart(b, name, strconv.FormatInt(n, 10))
}

func appendLabels(b []byte, labels map[string]string) []byte {
	for _, key := range slices.Sorted(maps.Keys(labels)) {
		// Both in one part: an empty value is a label too.
		b = appendPart(b, "label", strconv.Itoa(len(key))+":"+key+labels[key])
	}
	return b
}

func (r *Issue) appendContent(b []byte) ([]byte, error) {
	p, err := r.parsed.of(r.CSRPEM, r.CSRDER)
	if err != nil {
		return nil, err
	}
	b = appendPart(b, "csr", string(p.csr.Raw))
	names, err := parseSANs(r.SANs)
	if err != nil {
		return nil, err
	}
	slices.SortFunc(names, func(a, b SAN) int {
		return cmp.Or(cmp.Compare(a.Type, b.Type), cmp.Compare(a.Value, b.Value))
	})
	for _, san := range names {
		b = appendPart(b, string(san.Type), san.Value)
	}
	b = appendPart(b, "subject_dn", r.SubjectDN)
	b = appendPart(b, "profile_id", r.ProfileID)
	b = appendPart(b, "ca_id", r.CAID)
	b = appendNumber(b, "validity_seconds", r.ValiditySeconds)
	b = appendNumber(b, "poll_max_wait_seconds", r.PollMaxWaitSeconds)
	return appendLabels(b, r.Labels), nil
}

func (r *Revoke) appendContent(b []byte) ([]byte, error) {
	serial, err := r.SerialNumber()
	if err != nil {
		return nil, err
	}
	reason, ok := NormalReason(r.Reason)
	if !ok {
		reason = r.Reason
	}
	b = appendPart(b, "serial", serial.Text(16))
	b = appendPart(b, "reason", reason)
	b = appendPart(b, "comment", r.Comment)
	b = appendPart(b, "ca_id", r.CAID)
	return appendLabels(b, r.Labels), nil
}

func (r *Track) appendContent(b []byte) ([]byte, error) {
	p, err := r.parse()
	if err != nil {
		return nil, err
	}
	if p != nil {
		b = appendPart(b, "csr", string(p.csr.Raw))
	}
	b = appendPart(b, "tracking_id", r.TrackingID)
	b = appendPart(b, "ca_id", r.CAID)
	b = appendNumber(b, "poll_max_wait_seconds", r.PollMaxWaitSeconds)
	return appendLabels(b, r.Labels), nil
}

func (r *Cancel) appendContent(b []byte) ([]byte, error) {
	return appendLabels(appendPart(b, "order", r.Order), r.Labels), nil
}
