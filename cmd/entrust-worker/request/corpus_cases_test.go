package request

import (
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"unicode/utf16"
	"unicode/utf8"

	"github.com/vmihailenco/msgpack/v5"

	"github.com/entrust-worker/entrust-worker/entrustbus"
)

const samples = "../../../entrustbus/testdata"

func sample(t *testing.T, name string) string {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(samples, name))
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func derOf(t *testing.T, text string) string {
	t.Helper()
	block, _ := pem.Decode([]byte(text))
	if block == nil {
		t.Fatal("no PEM block in a sample")
	}
	return string(block.Bytes)
}

func inJSON(v any) []byte {
	b, err := json.Marshal(v)
	if err != nil {
		panic(err)
	}
	return b
}

// packed is a map as an up-to-date writer of MessagePack packs it, keys in the order given.
func packed(pairs ...any) []byte {
	var b strings.Builder
	e := msgpack.NewEncoder(&b)
	e.UseCompactInts(true)
	if err := e.EncodeMapLen(len(pairs) / 2); err != nil {
		panic(err)
	}
	for _, v := range pairs {
		if err := e.Encode(v); err != nil {
			panic(err)
		}
	}
	return []byte(b.String())
}

func utf16Text(s string, big, mark bool) string {
	words := utf16.Encode([]rune(s))
	if mark {
		words = append([]uint16{0xfeff}, words...)
	}
	var b []byte
	for _, w := range words {
		if big {
			b = append(b, byte(w>>8), byte(w))
		} else {
			b = append(b, byte(w), byte(w>>8))
		}
	}
	return string(b)
}

var accepted = &fate{"accepted", ""}

func refused(says string) *fate      { return &fate{"refused", says} }
func unanswerable(says string) *fate { return &fate{"unanswerable", says} }

func corpusCases(t *testing.T) []variation {
	t.Helper()
	var all []variation
	all = append(all, csrForms(t)...)
	all = append(all, foundCSRs(t)...)
	all = append(all, jsonBodies(t)...)
	all = append(all, msgpackBodies(t)...)
	all = append(all, contentTypes(t)...)
	all = append(all, serials(t)...)
	all = append(all, reasons()...)
	return append(all, values(t)...)
}

// csrForms are one certificate request in the forms that programs and people give it.
func csrForms(t *testing.T) []variation {
	text := sample(t, "request.pem")
	der, cert := derOf(t, text), sample(t, "certificate.pem")
	line, base := strings.ReplaceAll(text, "\n", ""), base64.StdEncoding.EncodeToString([]byte(der))
	key := string(pem.EncodeToMemory(&pem.Block{Type: "EC PRIVATE KEY", Bytes: []byte{1, 2, 3}}))
	var all []variation
	for _, form := range []struct {
		name, data string
		bus, file  *fate
	}{
		{"PEM", text, accepted, accepted},
		{"DER", der, accepted, accepted},
		{"NEW in the label", strings.ReplaceAll(text, "CERTIFICATE REQUEST", "NEW CERTIFICATE REQUEST"), accepted, accepted},
		{"text before and behind", "Certificate Request:\n    Data: x\n" + text + "\nthe end\n", accepted, accepted},
		{"byte-order mark", "\ufeff" + text, accepted, accepted},
		{"UTF-16, little endian", utf16Text(text, false, true), refused("UTF-16"), accepted},
		{"UTF-16, big endian", utf16Text(text, true, true), refused("UTF-16"), accepted},
		{"UTF-16 without mark", utf16Text(text, false, false), refused("UTF-16"), accepted},
		{"CRLF", strings.ReplaceAll(text, "\n", "\r\n"), accepted, accepted},
		{"CR", strings.ReplaceAll(text, "\n", "\r"), accepted, accepted},
		{"no line end at the end", strings.TrimSuffix(text, "\n"), accepted, accepted},
		{"indented", "  " + strings.ReplaceAll(text, "\n", "\n    "), accepted, accepted},
		{"on one line", line, accepted, accepted},
		{"blanks for line ends", strings.Join(strings.Split(strings.TrimSpace(text), "\n"), " "), accepted, accepted},
		{"\\n written out", strings.ReplaceAll(text, "\n", `\n`), accepted, accepted},
		{"\\r\\n written out", strings.ReplaceAll(text, "\n", `\r\n`), accepted, accepted},
		{"empty lines between", strings.ReplaceAll(text, "\n", "\n\n"), accepted, accepted},
		{"no width inside", strings.Replace(text, "\nM", "\n\u200bM", 1), accepted, accepted},
		{"base64", base, accepted, accepted},
		{"base64 with a line end", base + "\n", accepted, accepted},
		{"base64 without padding", strings.TrimRight(base, "="), accepted, accepted},
		{"base64 for URLs", base64.URLEncoding.EncodeToString([]byte(der)), accepted, accepted},
		{"base64 of PEM", base64.StdEncoding.EncodeToString([]byte(text)), accepted, accepted},
		{"two of them", text + text, refused("more than one PEM block"), refused("take one certificate request")},
		{"its key beside it", key + text, refused("private key"), accepted},
		{"its key alone", key, refused("private key"), refused("holds a private key, not a certificate request")},
		{"a certificate", cert, refused("holds a certificate, not a certificate request"), refused("holds a certificate, not a certificate request")},
		{"a certificate as DER", derOf(t, cert), refused("holds a certificate, not a certificate request"), refused("holds a certificate, not a certificate request")},
		{"no END line", text[:len(text)-12], refused("without its END line"), refused("without its END line")},
		{"four dashes", strings.Replace(text, "REQUEST-----", "REQUEST----", 1), refused("BEGIN line"), refused("BEGIN line")},
		{"a character that is no base64", strings.Replace(text, "\nM", "\n!", 1), refused("not base64"), refused("not base64")},
		{"an encrypted block", strings.Replace(text, "\nM", "\nProc-Type: 4,ENCRYPTED\n\nM", 1), refused("has headers in its PEM block"), refused("has headers in its PEM block")},
		{"a word", "hello", refused("certificate request in PEM, DER or base64"), refused("certificate request in PEM, DER or base64")},
		{"cut DER", der[:100], refused("PKCS#10"), refused("PKCS#10")},
		{"bytes behind DER", der + "\x00\x00", refused("PKCS#10"), refused("PKCS#10")},
	} {
		add := func(how string, body []byte) {
			all = append(all, variation{Name: "CSR, " + form.name + ", " + how, Kind: entrustbus.KindIssue, Body: body, Bus: form.bus, Same: "CSR"})
		}
		text := utf8.ValidString(form.data)
		if text {
			add("csr_pem in JSON", inJSON(map[string]string{"id": "a", "csr_pem": form.data}))
			add("csr_pem as str", packed("id", "a", "csr_pem", form.data))
		} else {
			add("csr_pem as bin", packed("id", "a", "csr_pem", []byte(form.data)))
		}
		add("csr_der as bin", packed("id", "a", "csr_der", []byte(form.data)))
		if !text || !strings.Contains(form.data, "-----BEGIN") {
			add("csr_der in JSON", inJSON(map[string]any{"id": "a", "csr_der": []byte(form.data)}))
		}
		all = append(all, variation{
			Name: "CSR, " + form.name + ", as a file", Kind: entrustbus.KindIssue, Args: []string{"FILE"}, File: []byte(form.data), Command: form.file, Same: "CSR",
		})
	}
	return all
}

// foundCSRs are certificate requests that were found in the field.
func foundCSRs(t *testing.T) []variation {
	var all []variation
	for _, row := range []struct {
		file string
		want *fate
	}{
		{"rsa512.csr", refused("use a key of at least 2048 bits")},
		{"forged.csr", refused("forged")},
		{"rsa2048-md5.csr", refused("is signed with MD5-RSA, which is broken")},
		{"ed25519.csr", accepted},
		{"text.csr", accepted},
		{"utf8bom.csr", accepted},
		{"bare-base64.csr", accepted},
		{"new-crlf.csr", accepted},
		{"utf8-san.csr", refused("write it as an A-label (xn--…)")},
		{"dot.csr", accepted},
		{"case.csr", accepted},
		{"noname.csr", refused("asks for no name")},
	} {
		data := sample(t, "others/"+row.file)
		all = append(all,
			variation{
				Name: "found, " + row.file + ", csr_pem", Kind: entrustbus.KindIssue, Body: packed("id", "a", "csr_pem", data), Bus: row.want,
				Args: []string{"FILE"}, File: []byte(data), Command: row.want, Same: row.file,
			},
			variation{Name: "found, " + row.file + ", csr_der", Kind: entrustbus.KindIssue, Body: packed("id", "a", "csr_der", []byte(data)), Bus: row.want, Same: row.file},
		)
	}
	return all
}

// jsonBodies are bodies around a good certificate request.
func jsonBodies(t *testing.T) []variation {
	csr := string(inJSON(sample(t, "request.pem")))
	good := `{"id":"a","csr_pem":` + csr + `}`
	with := func(rest string) string { return `{"id":"a","csr_pem":` + csr + `,` + rest + `}` }
	var all []variation
	for _, row := range []struct {
		name, body string
		want       *fate
	}{
		{"plain", good, accepted},
		{"byte-order mark", "\ufeff" + good, accepted},
		{"blanks around", "\r\n\t " + good + "\r\n\t ", accepted},
		{"UTF-16, little endian", utf16Text(good, false, true), unanswerable("UTF-16")},
		{"UTF-16, big endian", utf16Text(good, true, true), unanswerable("UTF-16")},
		{"UTF-16 without mark", utf16Text(good, false, false), unanswerable("UTF-16")},
		{"text behind", good + " thanks", refused("text behind its JSON object at line 1")},
		{"two objects", good + "\n" + good, refused("at line 2, column 1")},
		{"a zero behind", good + "\x00", refused("text behind its JSON object")},
		{"cut", good[:len(good)-1], refused("not well-formed JSON")},
		{"cut before the id", `{"i`, unanswerable("not well-formed JSON at line 1")},
		{"comma at the end", "{\n\"id\":\"a\",\n}", refused("at line 3, column 1")},
		{"single quotes", `{'id':'a'}`, unanswerable("at line 1, column 2")},
		{"comment", "{\"id\":\"a\", // mine\n}", refused("at line 1, column 12")},
		{"list", `[` + good + `]`, unanswerable("body: ")},
		{"text", `"a"`, unanswerable("body: ")},
		{"nothing", ``, unanswerable("is empty")},
		{"id twice", `{"id":"a","id":"b","csr_pem":` + csr + `}`, unanswerable("id: is a duplicate key")},
		{"key twice", with(`"ca_id":"x","ca_id":"y"`), refused("ca_id: is a duplicate key")},
		{"id as a number", `{"id":1,"csr_pem":` + csr + `}`, unanswerable("id: must be a string, is an integer; write it in quotes")},
		{"id with a dot", `{"id":"a.b","csr_pem":` + csr + `}`, unanswerable("id: ")},
		{"id with a blank", `{"id":"a ","csr_pem":` + csr + `}`, unanswerable("id: ")},
		{"id null", `{"id":null,"csr_pem":` + csr + `}`, unanswerable("id: is missing")},
		{"no CSR", `{"id":"a"}`, refused("csr_pem: is missing")},
		{"CSR null", `{"id":"a","csr_pem":null}`, refused("csr_pem: is missing")},
		{"every key null", with(`"csr_der":null,"common_name":null,"sans":null,"subject_dn":null,"profile_id":null,"ca_id":null,"validity_seconds":null,"poll_max_wait_seconds":null,"strict":null,"labels":null,"v":null,"kind":null`), accepted},
		{"every key empty", with(`"csr_der":"","common_name":"","sans":[],"subject_dn":"","profile_id":"","ca_id":"","labels":{}`), accepted},
		{"label null", with(`"labels":{"team":null}`), accepted},
		{"labels as a list", with(`"labels":["team"]`), refused("labels: must be a map")},
		{"label as a number", with(`"labels":{"team":7}`), refused("labels: must map strings to strings")},
		{"both CSRs", with(`"csr_der":"MAA="`), refused("csr_der: is given beside csr_pem")},
		{"v 1", with(`"v":1`), accepted},
		{"v 2", with(`"v":2`), refused("v: is unsupported version 2 (supported: 1)")},
		{"v as text", with(`"v":"1"`), refused("v: must be an integer")},
		{"kind", with(`"kind":"issue"`), accepted},
		{"another kind", with(`"kind":"revoke"`), refused("kind: does not agree with the subject")},
		{"unknown key with a number", with(`"note":1e400`), accepted},
		{"unknown key with anything", with(`"note":{"a":[{"b":[[[[[[[[[[]]]]]]]]]]}],"c":null}`), accepted},
		{"unknown key with half a pair", with(`"note":"\ud800"`), accepted},
		{"label with half a pair", with(`"labels":{"a":"\ud800"}`), refused("labels: has half a surrogate pair")},
		{"key in camel case", with(`"profileId":"x"`), &fate{"accepted", `did you mean "profile_id"?`}},
		{"key with a hyphen", with(`"ca-id":"x"`), &fate{"accepted", `did you mean "ca_id"?`}},
		{"key with a slip", with(`"validty_seconds":1`), &fate{"accepted", `did you mean "validity_seconds"?`}},
		{"key with a slip, strict", with(`"validty_seconds":1,"strict":true`), refused(`did you mean "validity_seconds"?`)},
		{"far key, strict", with(`"ticket":"x","strict":true`), accepted},
		{"strict as text", with(`"strict":"true"`), refused("strict: must be a boolean, is a string; write true or false without quotes")},
		{"bytes that are not UTF-8 in a known key", with("\"ca_id\":\"\xff\""), refused("ca_id: is not UTF-8")},
		{"bytes that are not UTF-8 in an unknown key", with("\"note\":\"\xff\""), accepted},
		{"key escaped", strings.Replace(good, `"id"`, `"\u0069d"`, 1), accepted},
	} {
		all = append(all, variation{Name: "JSON, " + row.name, Kind: entrustbus.KindIssue, Body: []byte(row.body), Bus: row.want, Same: "CSR"})
	}
	return all
}

// msgpackBodies are bodies of writers of any age.
func msgpackBodies(t *testing.T) []variation {
	text := sample(t, "request.pem")
	der := derOf(t, text)
	str16 := func(s string) string { return string([]byte{0xda, byte(len(s) >> 8), byte(len(s))}) + s }
	bin16 := func(s string) string { return string([]byte{0xc5, byte(len(s) >> 8), byte(len(s))}) + s }
	id, csr := "\xa2id\xa1a", "\xa7csr_pem"+str16(text)
	with := func(rest string) string { return "\x83" + id + csr + rest }
	var all []variation
	for _, row := range []struct {
		name, body string
		want       *fate
	}{
		{"plain", "\x82" + id + csr, accepted},
		{"map16", "\xde\x00\x02" + id + csr, accepted},
		{"map32", "\xdf\x00\x00\x00\x02" + id + csr, accepted},
		{"str8 for short text", "\x82\xd9\x02id\xd9\x01a" + csr, accepted},
		{"str32", "\x82\xdb\x00\x00\x00\x02id\xdb\x00\x00\x00\x01a" + csr, accepted},
		{"DER as raw of old writers", "\x82" + id + "\xa7csr_der" + str16(der), accepted},
		{"DER as bin", "\x82" + id + "\xa7csr_der" + bin16(der), accepted},
		{"DER under csr_pem", "\x82" + id + "\xa7csr_pem" + bin16(der), accepted},
		{"DER as raw under csr_pem", "\x82" + id + "\xa7csr_pem" + str16(der), accepted},
		{"PEM under csr_der", "\x82" + id + "\xa7csr_der" + str16(text), accepted},
		{"keys as bin", "\x82\xc4\x02id\xa1a\xc4\x07csr_pem" + str16(text), accepted},
		{"text as bin", "\x82\xa2id\xc4\x01a\xa7csr_pem" + bin16(text), accepted},
		{"key as a number", with("\x07\xa1x"), accepted},
		{"key as nil", with("\xc0\xa1x"), accepted},
		{"key as a map", with("\x81\xa1a\xa1b\xa1x"), accepted},
		{"unknown key with an extension", with("\xa4note\xd4\x05\x00"), accepted},
		{"unknown key with ext32", with("\xa4note\xc9\x00\x00\x00\x03\x07abc"), accepted},
		{"unknown key with a timestamp", with("\xa4note\xd6\xff\x67\x00\x00\x00"), accepted},
		{"unknown key with a broken timestamp", with("\xa4note\xc7\x05\xff\x00\x00\x00\x00\x00"), accepted},
		{"unknown key with uint64", with("\xa4note\xcf\xff\xff\xff\xff\xff\xff\xff\xff"), accepted},
		{"unknown key with text that is not UTF-8", with("\xa4note\xa2\xff\xfe"), accepted},
		{"unknown key that is not UTF-8", with("\xa2\xff\xfe\xa1x"), accepted},
		{"unknown key with many lists", with("\xa4note" + strings.Repeat("\x91", 5000) + "\xc0"), accepted},
		{"nil for a text", with("\xa5ca_id\xc0"), accepted},
		{"nil for a list", with("\xa4sans\xc0"), accepted},
		{"nil for a number", with("\xb0validity_seconds\xc0"), accepted},
		{"nil for the id", "\x82\xa2id\xc0" + csr, unanswerable("id: is missing")},
		{"number for a text", with("\xa5ca_id\x07"), refused("ca_id: must be a string, is an integer")},
		{"extension for a text", with("\xa5ca_id\xd4\x05\x00"), refused("ca_id: must be a string, is a MessagePack extension")},
		{"float that is whole", with("\xb0validity_seconds\xcb\x40\xf5\x18\x00\x00\x00\x00\x00"), refused("write the seconds as a number: 86400")},
		{"key twice", "\x84" + id + csr + "\xa5ca_id\xa1x\xa5ca_id\xa1y", refused("ca_id: is a duplicate key")},
		{"bytes behind", "\x82" + id + csr + "\xc0", refused("bytes behind its MessagePack map")},
		{"cut", ("\x82" + id + csr)[:200], refused("ends in the middle of a MessagePack value")},
		{"map longer than it says", "\x83" + id + csr, refused("ends in the middle of a MessagePack value")},
		{"the unused code", with("\xa5ca_id\xc1"), refused("is not MessagePack")},
		{"list", "\x92" + id, unanswerable("is not a map but a list")},
		{"a word", "hello", unanswerable("body: is neither a JSON object nor a MessagePack map")},
	} {
		all = append(all, variation{Name: "MessagePack, " + row.name, Kind: entrustbus.KindIssue, Body: []byte(row.body), Bus: row.want, Same: "CSR"})
	}
	return all
}

// contentTypes are bodies with a header that is right, unusual, or wrong.
func contentTypes(t *testing.T) []variation {
	csr := sample(t, "request.pem")
	text, pack := inJSON(map[string]string{"id": "a", "csr_pem": csr}), packed("id", "a", "csr_pem", csr)
	var all []variation
	for _, row := range []struct {
		header, of string
		body       []byte
		want       *fate
	}{
		{"application/json", "JSON", text, accepted},
		{"application/json; charset=utf-8", "JSON", text, accepted},
		{"Application/JSON;charset=UTF-8", "JSON", text, accepted},
		{"application/json; charset=utf-16", "JSON", text, refused("names a charset other than UTF-8")},
		{"application/msgpack", "MessagePack", pack, accepted},
		{"application/x-msgpack", "MessagePack", pack, accepted},
		{"application/vnd.msgpack", "MessagePack", pack, accepted},
		{" ", "JSON", text, accepted},
		{"application/msgpack", "JSON", text, refused("Content-Type: says MessagePack, and the body is JSON; set application/json")},
		{"application/json", "MessagePack", pack, refused("Content-Type: says JSON, and the body is MessagePack; set application/msgpack")},
		{"text/plain", "JSON", text, refused("Content-Type: is neither application/msgpack nor application/json")},
		{"application/octet-stream", "MessagePack", pack, refused("Content-Type: is neither")},
		{"json", "JSON", text, refused("Content-Type: is neither")},
		{"text/plain", "a word", []byte("hello"), unanswerable("Content-Type: is neither")},
	} {
		all = append(all, variation{
			Name: "Content-Type, " + row.header + " of " + row.of, Kind: entrustbus.KindIssue, ContentType: row.header, Body: row.body, Bus: row.want, Same: "CSR",
		})
	}
	return all
}

// serials are the serial number 1234abcd as tools print it, and others that look like it.
func serials(t *testing.T) []variation {
	var all []variation
	add := func(name, key, flag, value string, want *fate) {
		all = append(all, variation{
			Name: key + ", " + name, Kind: entrustbus.KindRevoke, Body: inJSON(map[string]string{"id": "a", key: value}), Bus: want,
			Args: []string{flag + "=" + value}, Command: want, Same: "revocation",
		})
	}
	for _, row := range []struct {
		name, value string
		want        *fate
	}{
		{"plain", "1234abcd", accepted},
		{"upper case", "1234ABCD", accepted},
		{"0x", "0x1234abcd", accepted},
		{"0X", "0X1234ABCD", accepted},
		{"colons", "12:34:AB:CD", accepted},
		{"leading zero octet", "00:12:34:ab:cd", accepted},
		{"colons, no zeros", "12:34:ab:cd", accepted},
		{"hyphens", "12-34-ab-cd", accepted},
		{"blanks", " 12 34 ab cd ", accepted},
		{"line end", "1234abcd\n", accepted},
		{"CRLF", "1234abcd\r\n", accepted},
		{"serial=", "serial=1234ABCD", accepted},
		{"Serial Number:", "Serial Number: 12:34:ab:cd", accepted},
		{"byte-order mark", "\ufeff1234abcd", accepted},
		{"left-to-right mark of a Windows dialogue", "\u200e12 34 ab cd", accepted},
		{"no-break blanks", "12\u00a034\u00a0ab\u00a0cd", accepted},
		{"leading zeros", "000000001234abcd", accepted},
		{"openssl's two forms", "305441741 (0x1234abcd)", refused("holds both forms")},
		{"negative", "-1234abcd", refused("is negative")},
		{"zero", "0", refused("serial: is zero")},
		{"a word", "xyz", refused("is not a hexadecimal number")},
		{"a separator too many", "12::34", refused("separates nothing")},
		{"21 octets", strings.Repeat("ab", 21), refused("is longer than 20 octets")},
		{"decimal of 49 digits", "1461501637330902918203684832716283019655932542975", refused("give it as serial_decimal")},
		{"a certificate", "-----BEGIN CERTIFICATE-----", refused("give the certificate as certificate_pem")},
	} {
		if row.want.Says == "serial: is zero" { // the command names a key as a person would
			row.want = refused("is zero or has no digits")
		}
		add(row.name, "serial", "--serial", row.value, row.want)
	}
	for _, row := range []struct {
		name, value string
		want        *fate
	}{
		{"plain", "305441741", accepted},
		{"leading zeros", "000305441741", accepted},
		{"line end", "305441741\n", accepted},
		{"hexadecimal", "1234abcd", refused("give it as serial")},
		{"0x", "0x1234abcd", refused("give it as serial")},
		{"a point", "305441741.0", refused("is not a decimal number")},
		{"exponent", "3.05e8", refused("is not a decimal number")},
		{"negative", "-5", refused("is negative")},
	} {
		add(row.name, "serial_decimal", "--serial-decimal", row.value, row.want)
	}
	cert := sample(t, "certificate.pem")
	for _, row := range []struct {
		name, value string
		bus, file   *fate
	}{
		{"PEM", cert, accepted, accepted},
		{"text around", "subject=x\n" + cert + "end", accepted, accepted},
		{"byte-order mark", "\ufeff" + cert, accepted, accepted},
		{"X509 in the label", strings.ReplaceAll(cert, " CERT", " X509 CERT"), accepted, accepted},
		{"base64", base64.StdEncoding.EncodeToString([]byte(derOf(t, cert))), accepted, accepted},
		{"CRLF", strings.ReplaceAll(cert, "\n", "\r\n"), accepted, accepted},
		{"UTF-16", utf16Text(cert, false, true), refused("UTF-16"), accepted},
		{"a certificate request", sample(t, "request.pem"), refused("holds a certificate request, not a certificate"), refused("holds a certificate request, not a certificate")},
		{"a word", "hello", refused("certificate in PEM, DER or base64"), refused("certificate in PEM, DER or base64")},
	} {
		all = append(all, variation{
			Name: "certificate, " + row.name, Kind: entrustbus.KindRevoke, Body: packed("id", "a", "certificate_pem", []byte(row.value)), Bus: row.bus,
			Args: []string{"--cert", "FILE"}, File: []byte(row.value), Command: row.file, Same: "revocation",
		})
	}
	return all
}

// reasons are keyCompromise in every spelling, and what is none.
func reasons() []variation {
	var all []variation
	for _, row := range []struct {
		value, same string
		want        *fate
	}{
		{"keyCompromise", "keyCompromise", accepted},
		{"KeyCompromise", "keyCompromise", accepted},
		{"KEYCOMPROMISE", "keyCompromise", accepted},
		{"key_compromise", "keyCompromise", accepted},
		{"KEY_COMPROMISE", "keyCompromise", accepted},
		{"key-compromise", "keyCompromise", accepted},
		{"key compromise", "keyCompromise", accepted},
		{"keyCompromise\n", "keyCompromise", accepted},
		{"1", "keyCompromise", accepted},
		{"CACompromise", "caCompromise", accepted},
		{"ca_compromise", "caCompromise", accepted},
		{"2", "caCompromise", accepted},
		{"cessation_of_operation", "cessationOfOperation", accepted},
		{"5", "cessationOfOperation", accepted},
		{"0", "unspecified", accepted},
		{"unspecified", "unspecified", accepted},
		{"7", "", refused("is not a revocation reason")},
		{"10", "", refused("for attribute certificates")},
		{"aACompromise", "", refused("for attribute certificates")},
		{"stolen", "", refused("is not a revocation reason; use one of unspecified, keyCompromise")},
	} {
		v := variation{
			Name: "reason, " + strings.TrimSpace(row.value) + map[bool]string{true: ", line end"}[strings.HasSuffix(row.value, "\n")], Kind: entrustbus.KindRevoke,
			Body: inJSON(map[string]string{"id": "a", "serial": "1234abcd", "reason": row.value}), Bus: row.want,
			Args: []string{"--serial=1234abcd", "--reason=" + row.value}, Command: row.want, Same: row.same,
		}
		all = append(all, v)
	}
	return append(all, variation{
		Name: "reason, 1 as a number", Kind: entrustbus.KindRevoke, Body: []byte(`{"id":"a","serial":"1234abcd","reason":1}`), Bus: accepted, Same: "keyCompromise",
	})
}

// values are names and durations beside a good certificate request.
func values(t *testing.T) []variation {
	csr := sample(t, "request.pem")
	var all []variation
	for _, row := range []struct {
		value, same string
		want        *fate
	}{
		{"shop.example.net", "sans", accepted},
		{"dns:shop.example.net", "sans", accepted},
		{"DNS:Shop.Example.Net", "sans", accepted},
		{"shop.example.net.", "sans", accepted},
		{"192.0.2.7", "address", accepted},
		{"ip:192.0.2.7", "address", accepted},
		{"::ffff:192.0.2.7", "address", accepted},
		{"*.example.net", "", accepted},
		{"pki@example.net", "", accepted},
		{"spiffe://example.net/shop", "", accepted},
		{"bücher.example", "", refused("write it as an A-label")},
		{"192.0.2.0/24", "", refused("is not a DNS name")},
		{"192.0.2.300", "", refused("is not a DNS name")},
		{"a b.example", "", refused("a blank")},
	} {
		all = append(all, variation{
			Name: "name, " + row.value, Kind: entrustbus.KindIssue, Body: inJSON(map[string]any{"id": "a", "csr_pem": csr, "sans": []string{row.value}}), Bus: row.want,
			Args: []string{"--san=" + row.value, "FILE"}, File: []byte(csr), Command: row.want, Same: row.same,
		})
	}
	for _, row := range []struct {
		value string
		args  string
		want  *fate
		same  string
	}{
		{`7776000`, "90d", accepted, "90 days"},
		{`"90d"`, "", refused("write the seconds as a number: 7776000"), ""},
		{`"P90D"`, "", refused("write the seconds as a number: 7776000"), ""},
		{`"2160h"`, "2160h", refused("write the seconds as a number: 7776000"), "90 days"},
		{`"7776000"`, "", refused("write the seconds as a number: 7776000"), ""},
		{`7.776e6`, "", refused("write the seconds as a number: 7776000"), ""},
		{`"P3M"`, "", refused("must be an integer, is a string"), ""},
		{`0`, "", refused("must be at least 1"), ""},
		{`-1`, "", refused("must be at least 1"), ""},
		{`99999999999`, "", refused("must be from 1 to"), ""},
		{`99999999999999999999`, "", refused("must be an integer"), ""},
		{`true`, "", refused("must be an integer, is a boolean"), ""},
	} {
		v := variation{
			Name: "validity, " + row.value, Kind: entrustbus.KindIssue, Body: []byte(`{"id":"a","csr_pem":` + string(inJSON(csr)) + `,"validity_seconds":` + row.value + `}`),
			Bus: row.want, Same: row.same,
		}
		if row.args != "" {
			v.Args, v.File, v.Command = []string{"--validity=" + row.args, "FILE"}, []byte(csr), accepted
		}
		all = append(all, v)
	}
	return all
}
