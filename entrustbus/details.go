package entrustbus

import (
	"encoding/asn1"
	"fmt"
	"strconv"
	"strings"
)

// SubjectVariable is one value for the subject that the gateway's profile builds.
type SubjectVariable struct {
	// Type is the gateway's name of the variable, such as CN or O.
	Type string `json:"type"`
	// Value is its text.
	Value string `json:"value"`
}

// subjectVariables is a *[]SubjectVariable.
type subjectVariables struct{}

func (subjectVariables) read(f *fieldReader, key string, to any) {
	var out []SubjectVariable
	f.items(key, func(item *fieldReader) {
		out = append(out, SubjectVariable{Type: item.text("type"), Value: item.text("value")})
	})
	*to.(*[]SubjectVariable) = out
}

func (subjectVariables) write(from any) any {
	v := *from.(*[]SubjectVariable)
	if len(v) == 0 {
		return nil
	}
	all := make([]any, len(v))
	for i := range v {
		all[i] = document(nil).must("type", v[i].Type).must("value", v[i].Value)
	}
	return all
}

func (subjectVariables) check(key string, of any) error {
	v := *of.(*[]SubjectVariable)
	if len(v) > MaxSubjectVariables {
		return &FieldError{Field: key, Problem: fmt.Sprintf("has more than %d entries", MaxSubjectVariables)}
	}
	for i := range v {
		path := fmt.Sprintf("%s[%d].", key, i)
		switch {
		case v[i].Type == "":
			return errMissing(path + "type")
		case v[i].Value == "":
			return errMissing(path + "value")
		}
		if err := firstError(checkText(path+"type", v[i].Type, MaxLabelKeyBytes), checkText(path+"value", v[i].Value, MaxLabelValueBytes)); err != nil {
			return err
		}
	}
	return nil
}

func (subjectVariables) content(b []byte, key string, of any) []byte {
	for _, v := range *of.(*[]SubjectVariable) {
		b = appendPart(b, key, strconv.Itoa(len(v.Type))+":"+v.Type+v.Value)
	}
	return b
}

func (subjectVariables) schema() document {
	return document(nil).must("type", "array").must("maxItems", int64(MaxSubjectVariables)).
		must("items", document(nil).must("type", "object").
			must("properties", document(nil).
				must("type", document(nil).must("type", "string").must("minLength", int64(1)).must("maxLength", int64(MaxLabelKeyBytes))).
				must("value", document(nil).must("type", "string").must("minLength", int64(1)).must("maxLength", int64(MaxLabelValueBytes)))).
			must("required", []string{"type", "value"}))
}

// Extension is a certificate extension to ask for beside those of the profile.
type Extension struct {
	// OID is its id in numbers with dots.
	OID string `json:"oid"`
	// Critical is the extension's own mark.
	Critical bool `json:"critical,omitempty"`
	// Value is its DER: bytes in MessagePack, base64 in JSON.
	Value []byte `json:"value"`
}

// extensions is a *[]Extension.
type extensions struct{}

func (extensions) read(f *fieldReader, key string, to any) {
	var out []Extension
	f.items(key, func(item *fieldReader) {
		out = append(out, Extension{OID: item.text("oid"), Critical: item.flag("critical"), Value: item.bytes("value")})
	})
	*to.(*[]Extension) = out
}

func (extensions) write(from any) any {
	v := *from.(*[]Extension)
	if len(v) == 0 {
		return nil
	}
	all := make([]any, len(v))
	for i := range v {
		d := document(nil).must("oid", v[i].OID)
		if v[i].Critical {
			d = d.must("critical", true)
		}
		all[i] = d.must("value", v[i].Value)
	}
	return all
}

func (extensions) check(key string, of any) error {
	v := *of.(*[]Extension)
	if len(v) > MaxExtensions {
		return &FieldError{Field: key, Problem: fmt.Sprintf("has more than %d entries", MaxExtensions)}
	}
	seen := map[string]bool{}
	for i := range v {
		path := fmt.Sprintf("%s[%d].", key, i)
		var inside asn1.RawValue
		switch rest, err := asn1.Unmarshal(v[i].Value, &inside); {
		case v[i].OID == "":
			return errMissing(path + "oid")
		case !isOID(v[i].OID):
			return &FieldError{Field: path + "oid", Problem: "is not an object identifier", Fix: "write it in numbers with dots"}
		case seen[v[i].OID]:
			return &FieldError{Field: path + "oid", Problem: "is given twice", Fix: "give each extension once"}
		case v[i].OID == "2.5.29.17":
			return &FieldError{Field: path + "oid", Problem: "is subjectAltName", Fix: "give names as sans"}
		case len(v[i].Value) == 0:
			return errMissing(path + "value")
		case len(v[i].Value) > MaxExtensionBytes:
			return errTooLong(path+"value", MaxExtensionBytes)
		case err != nil || len(rest) > 0:
			return &FieldError{Field: path + "value", Problem: "is not the DER of one value"}
		}
		seen[v[i].OID] = true
	}
	return nil
}

func (extensions) content(b []byte, key string, of any) []byte {
	for _, v := range *of.(*[]Extension) {
		b = appendPart(b, key, fmt.Sprintf("%d:%s%v:%s", len(v.OID), v.OID, v.Critical, v.Value))
	}
	return b
}

func (extensions) schema() document {
	return document(nil).must("type", "array").must("maxItems", int64(MaxExtensions)).
		must("items", document(nil).must("type", "object").
			must("properties", document(nil).
				must("oid", document(nil).must("type", "string").must("maxLength", int64(MaxOIDBytes)).must("pattern", oidPattern)).
				must("critical", flag{}.schema()).
				must("value", blob{MaxExtensionBytes}.schema())).
			must("required", []string{"oid", "value"}))
}

const oidPattern = `^[0-2](\.(0|[1-9][0-9]*))+$`

// isOID reports whether s is an object identifier in numbers with dots.
func isOID(s string) bool {
	first, rest, ok := strings.Cut(s, ".")
	if !ok || len(s) > MaxOIDBytes || len(first) != 1 || first[0] < '0' || first[0] > '2' {
		return false
	}
	for _, arc := range strings.Split(rest, ".") {
		if arc == "" || len(arc) > 1 && arc[0] == '0' || strings.Trim(arc, "0123456789") != "" {
			return false
		}
	}
	return true
}

// ekuNames are the extended key usages that have a name in RFC 5280 4.2.1.12.
var ekuNames = []string{"serverAuth", "clientAuth", "codeSigning", "emailProtection", "timeStamping", "OCSPSigning"}

// normalEKU is an extended key usage as RFC 5280 spells it, or its object identifier.
func normalEKU(s string) (string, bool) {
	for _, name := range ekuNames {
		if strings.EqualFold(name, s) {
			return name, true
		}
	}
	return s, isOID(s)
}

func checkEKUs(key string, items []string) error {
	for i, item := range items {
		if _, ok := normalEKU(item); !ok {
			return &FieldError{
				Field: fmt.Sprintf("%s[%d]", key, i), Problem: "is not an extended key usage",
				Fix: "use " + strings.Join(ekuNames, ", ") + ", or an object identifier",
			}
		}
	}
	return nil
}
