package entrustbustest

import (
	"bytes"
	"fmt"
	"maps"
	"math"
	"slices"
	"strings"

	"github.com/entrust-worker/entrust-worker/entrustbus"
)

// wrongTypes puts every type where it does not belong.
func (c *corpus) wrongTypes() {
	types := map[string]any{
		"nil": nil, "bool": true, "int": 7, "float": 1.5, "text": "x", "list": []any{1}, "map": fields{"a": 1},
	}
	own := map[entrustbus.Kind]map[string]string{
		issue: {
			"id": "text", "csr_pem": "text", "csr_der": "text", "common_name": "text", "sans": "", "subject_dn": "text",
			"profile_id": "text", "ca_id": "text", "validity_seconds": "int", "poll_max_wait_seconds": "int",
			"labels": "", "v": "", "kind": "", "max_validity_seconds": "int", "validity_period": "text", "properties": "map", "subject_variables": "",
			"extensions": "", "ekus": "", "must_staple": "bool", "strict": "bool",
		},
		revoke: {"serial": "text", "serial_decimal": "text", "certificate_pem": "text", "reason": "text", "comment": "text", "issue_crl": "bool"},
		track:  {"tracking_id": "text"},
		cancel: {"order": "text"},
	}
	for _, kind := range []entrustbus.Kind{issue, revoke, track, cancel} {
		for _, key := range slices.Sorted(maps.Keys(own[kind])) {
			for _, name := range slices.Sorted(maps.Keys(types)) {
				optional := kind == issue && key != "id" && key != "csr_pem" || key == "serial_decimal" ||
					key == "certificate_pem" || key == "reason" || key == "comment" || key == "issue_crl"
				if name == own[kind][key] || name == "nil" && optional || name == "int" && key == "reason" {
					continue
				}
				c.addBoth(key+" is "+name, kind, fields{key: types[name]})
			}
		}
	}
	c.addRaw("csr_der is base64 without padding", issue, jsonEncoding, encode(jsonEncoding,
		c.valid(issue).without("csr_pem").with(fields{"csr_der": "YQ"})))
	c.addRaw("csr_der is base64 for URLs", issue, jsonEncoding, encode(jsonEncoding,
		c.valid(issue).without("csr_pem").with(fields{"csr_der": "__--"})))
	c.addBoth("validity_seconds is a fraction", issue, fields{"validity_seconds": 86400.5})
	for _, number := range []string{"1e6", "3600.0", "-0", "1e1000000000", strings.Repeat("9", 1_000_000)} {
		body := encode(jsonEncoding, c.valid(issue).with(fields{"validity_seconds": 4711}))
		c.addRaw(fmt.Sprintf("validity_seconds is %.10s of %d", number, len(number)), issue, jsonEncoding,
			bytes.Replace(body, []byte("4711"), []byte(number), 1))
	}
	c.addRaw("validity_seconds is a float of whole value", issue, msgpackEncoding,
		encode(msgpackEncoding, c.valid(issue).with(fields{"validity_seconds": float64(86400)})))
}

func (c *corpus) wrongIDs() {
	for _, id := range []string{
		"", ".", "..", "a.b", "*", ">", "a.*", "a.>", " ", "a b", " a", "a ", "a\n", "a\r\nb", "a\tb", "a\x00b", "\x7f", "a/b",
		"../a", `a\b`, "a$b", "$JS", "a:b", "a;b", "a'b", `a"b`, "a%20b", "é", "名", "🙂", "a\u200bb", "\u202ea", "\ufeffa",
		strings.Repeat("a", 65), strings.Repeat("a", 4096), strings.Repeat("a", 900_000),
	} {
		c.addBoth(fmt.Sprintf("id %.20q of %d", id, len(id)), issue, fields{"id": id})
	}
	for _, kind := range []entrustbus.Kind{issue, revoke, track, cancel} {
		for _, enc := range []entrustbus.Encoding{msgpackEncoding, jsonEncoding} {
			c.addRaw("no id", kind, enc, encode(enc, c.valid(kind).without("id")))
		}
	}
}

func (c *corpus) wrongVersions() {
	for _, v := range []any{0, 2, -1, "1", 1.5, uint64(math.MaxUint64), true} {
		c.addBoth(fmt.Sprintf("v %T %v", v, v), issue, fields{"v": v})
	}
	for _, kind := range []string{"", "revoke", "ISSUE", "renew", "issue ", "issue\x00", strings.Repeat("issue", 10_000)} {
		c.addBoth(fmt.Sprintf("kind %.20q on the subject of issue", kind), issue, fields{"kind": kind})
	}
	c.addBoth("kind issue on the subject of cancel", cancel, fields{"kind": "issue"})
}

func (c *corpus) wrongCSRs() {
	der := func(b []byte) fields { return fields{"csr_pem": block("CERTIFICATE REQUEST", b)} }
	half := len(c.good.csrDER) / 2
	rows := []struct {
		name   string
		change fields
	}{
		{"empty", fields{"csr_pem": ""}},
		{"both forms", fields{"csr_der": c.good.csrDER}},
		{"no PEM", fields{"csr_pem": "hello"}},
		{"a certificate", fields{"csr_pem": c.good.certificatePEM}},
		{"a private key", fields{"csr_pem": block("PRIVATE KEY", []byte("x"))}},
		{"a certificate under the wrong label", fields{"csr_pem": strings.ReplaceAll(c.good.certificatePEM, "CERTIFICATE", "CERTIFICATE REQUEST")}},
		{"two", fields{"csr_pem": c.good.csrPEM + c.good.otherPEM}},
		{"the same twice", fields{"csr_pem": c.good.csrPEM + c.good.csrPEM}},
		{"headers", fields{"csr_pem": strings.Replace(c.good.csrPEM, "\n", "\nProc-Type: 4,ENCRYPTED\n\n", 1)}},
		{"no end line", fields{"csr_pem": c.good.csrPEM[:len(c.good.csrPEM)-20]}},
		{"only a begin line", fields{"csr_pem": "-----BEGIN CERTIFICATE REQUEST-----\n"}},
		{"no content", fields{"csr_pem": "-----BEGIN CERTIFICATE REQUEST-----\n-----END CERTIFICATE REQUEST-----\n"}},
		{"other end line", fields{"csr_pem": strings.Replace(c.good.csrPEM, "END CERTIFICATE REQUEST", "END CERTIFICATE", 1)}},
		{"not base64", fields{"csr_pem": "-----BEGIN CERTIFICATE REQUEST-----\n!!!!\n-----END CERTIFICATE REQUEST-----\n"}},
		{"cut DER", der(c.good.csrDER[:half])},
		{"DER with bytes behind", der(append(slices.Clone(c.good.csrDER), 0))},
		{"DER of zeros", der(make([]byte, 500))},
		{"DER of 4 GiB by its header", der([]byte{0x30, 0x84, 0xff, 0xff, 0xff, 0xff})},
		{"DER of nested sequences", der([]byte(strings.Repeat("\x30\x80", 10_000)))},
		{"broken signature", der(c.good.badSignatureDER)},
		{"two subjectAltName extensions", der(c.good.twoSANsDER)},
		{"1 MiB of PEM", fields{"csr_pem": block("CERTIFICATE REQUEST", make([]byte, 700_000))}},
		{"1 MiB of begin lines", fields{"csr_pem": strings.Repeat("-----BEGIN CERTIFICATE REQUEST-----\n", 28_000)}},
		{"1 MiB of blanks", fields{"csr_pem": strings.Repeat(" ", 1_000_000)}},
		{"64 KiB of begin lines", fields{"csr_pem": strings.Repeat("-----BEGIN \n", 5000)}},
		{"a bomb of dashes", fields{"csr_pem": "-----BEGIN CERTIFICATE REQUEST-----\n" + strings.Repeat("-----END ", 6000)}},
		{"another common name", fields{"common_name": "other.example.net"}},
	}
	for _, row := range rows {
		c.addBoth("csr: "+row.name, issue, row.change)
		if _, ok := row.change["csr_pem"]; ok && row.change["csr_pem"] != "" {
			c.addBoth("csr: "+row.name, track, row.change)
		}
	}
	c.addBoth("csr: both forms", track, fields{"csr_pem": c.good.csrPEM, "csr_der": c.good.csrDER})
	for _, enc := range []entrustbus.Encoding{msgpackEncoding, jsonEncoding} {
		withDER := func(name string, b []byte) {
			c.addRaw("csr_der: "+name, issue, enc, encode(enc, c.valid(issue).without("csr_pem").with(fields{"csr_der": b})))
		}
		c.addRaw("csr: none", issue, enc, encode(enc, c.valid(issue).without("csr_pem")))
		withDER("broken signature", c.good.badSignatureDER)
		withDER("cut", c.good.csrDER[:half])
		withDER("bytes behind", append(slices.Clone(c.good.csrDER), 0))
		withDER("700 KB", make([]byte, 700_000))
	}
}

func (c *corpus) wrongNames() {
	for _, san := range []string{
		"", " ", "a b", "a,b", "dns:", "ip:", "email:", "uri:", "ip:1.2.3", "ip:1.2.3.256", "ip:10.0.0.0/8", "ip:fe80::1%eth0",
		"1.2.3.256", "dns:1.2.3.4", "dns:*", "*.", "dns:*.*.a", "a.*.b", "a..b", "a..", ".a", "-a.b", "a-.b", "dns:a/b",
		"dns:a:443", "email:a", "email:@b", "email:a@", "email:a@b@c", "a@*.b", "a <a@b.c>", "uri:a", "uri://", "uri:%zz", "http://",
		"bücher.example", "a\x00b", "a\nb", "DNS.1=a", "urn:uuid:1", "othername:1.2.3;UTF8:a",
		strings.Repeat("a", 64) + ".net", strings.Repeat("a.", 127) + "net", "https://a/" + strings.Repeat("a", 3000),
	} {
		c.addBoth(fmt.Sprintf("sans %.30q of %d", san, len(san)), issue, fields{"sans": []string{"a.example.net", san}})
	}
	many := make([]string, 2000)
	for i := range many {
		many[i] = fmt.Sprintf("n%d.example.net", i)
	}
	c.addBoth("2000 sans", issue, fields{"sans": many})
	c.addBoth("sans inside sans", issue, fields{"sans": []any{[]string{"a.example.net"}}})
	c.addBoth("a number in sans", issue, fields{"sans": []any{"a.example.net", 5}})
}

func (c *corpus) wrongNumbers() {
	for _, key := range []string{"validity_seconds", "max_validity_seconds", "poll_max_wait_seconds"} {
		for _, n := range []any{0, -1, int64(math.MinInt64), int64(math.MaxInt64), uint64(math.MaxUint64)} {
			c.addBoth(fmt.Sprintf("%s %d", key, n), issue, fields{key: n})
		}
	}
	c.addBoth("poll_max_wait_seconds a second above 30 days", issue, fields{"poll_max_wait_seconds": 30*86400 + 1})
	c.addBoth("poll_max_wait_seconds 0", track, fields{"poll_max_wait_seconds": 0})
}

func (c *corpus) wrongDetails() {
	text := strings.Repeat("a", 4096)
	for _, row := range []struct {
		name   string
		change fields
	}{
		{"properties: a map inside", fields{"properties": fields{"a": fields{"b": 1}}}},
		{"properties: a list in a list", fields{"properties": fields{"a": []any{[]any{1}}}}},
		{"properties: a large integer", fields{"properties": fields{"a": int64(math.MaxInt64)}}},
		{"properties: a long value", fields{"properties": fields{"a": text}}},
		{"properties: a long key", fields{"properties": fields{text[:200]: 1}}},
		{"properties: a newline", fields{"properties": fields{"a": "b\nc"}}},
		{"properties: many values", fields{"properties": fields{"a": make([]bool, 100)}}},
		{"subject_variables: no type", fields{"subject_variables": []any{fields{"value": "a"}}}},
		{"subject_variables: no value", fields{"subject_variables": []any{fields{"type": "CN"}}}},
		{"subject_variables: a number", fields{"subject_variables": []any{fields{"type": "CN", "value": 1}}}},
		{"subject_variables: a string", fields{"subject_variables": []any{"CN=a"}}},
		{"extensions: no oid", fields{"extensions": []any{fields{"value": []byte{5, 0}}}}},
		{"extensions: no value", fields{"extensions": []any{fields{"oid": "1.2.3"}}}},
		{"extensions: a name", fields{"extensions": []any{fields{"oid": "basicConstraints", "value": []byte{5, 0}}}}},
		{"extensions: twice", fields{"extensions": []any{fields{"oid": "1.2.3", "value": []byte{5, 0}}, fields{"oid": "1.2.3", "value": []byte{5, 0}}}}},
		{"extensions: no DER", fields{"extensions": []any{fields{"oid": "1.2.3", "value": []byte("hello")}}}},
		{"extensions: names", fields{"extensions": []any{fields{"oid": "2.5.29.17", "value": []byte{0x30, 3, 0x82, 1, 'a'}}}}},
		{"extensions: a long value", fields{"extensions": []any{fields{"oid": "1.2.3", "value": append([]byte{4, 0x82, 0x40, 0}, make([]byte, 1<<14)...)}}}},
		{"ekus: unknown", fields{"ekus": []string{"serverAuth", "webAuth"}}},
		{"ekus: a number", fields{"ekus": []any{1}}},
		{"ekus: many", fields{"ekus": strings.Split(strings.Repeat("serverAuth ", 40)+"serverAuth", " ")}},
		{"a cap below the demand", fields{"validity_seconds": 7200, "max_validity_seconds": 3600}},
		{"a period beside seconds", fields{"validity_period": "P1D", "validity_seconds": 3600}},
		{"a period beyond the cap", fields{"validity_period": "P1D", "max_validity_seconds": 3600}},
		{"a period that is none", fields{"validity_period": "90 days"}},
		{"a period that ends before it begins", fields{"validity_period": "2027-01-01T00:00Z/2026-01-01T00:00Z"}},
		{"an unknown key in a strict request", fields{"strict": true, "profile": "a"}},
	} {
		c.addBoth(row.name, issue, row.change)
	}
}

func (c *corpus) wrongLabels() {
	many := map[string]string{}
	for i := range 65 {
		many[fmt.Sprintf("k%d", i)] = "v"
	}
	for _, row := range []struct {
		name   string
		labels any
	}{
		{"65", many},
		{"an empty key", map[string]string{"": "v"}},
		{"a key with a newline", map[string]string{"a\nb": "v"}},
		{"a key with a NUL", map[string]string{"a\x00": "v"}},
		{"a long key", map[string]string{strings.Repeat("k", 129): "v"}},
		{"a long value", map[string]string{"k": strings.Repeat("v", 1025)}},
		{"a value of 900 KB", map[string]string{"k": strings.Repeat("v", 900_000)}},
		{"a number", fields{"k": 1}},
		{"a map", fields{"k": fields{"a": "b"}}},
	} {
		c.addBoth("labels: "+row.name, issue, fields{"labels": row.labels})
		c.addBoth("labels: "+row.name, cancel, fields{"labels": row.labels})
	}
	for _, half := range []string{`\ud800`, `\udfff`, `\ud83d\ud83d`} {
		body := encode(jsonEncoding, c.valid(issue).with(fields{"labels": map[string]string{"k": "half"}}))
		c.addRaw(fmt.Sprintf("labels: half a surrogate pair, %s", half), issue, jsonEncoding, bytes.Replace(body, []byte("half"), []byte(half), 1))
	}
}

func (c *corpus) wrongSerials() {
	hex := []string{
		"", "0", "00:00", "0x", "0x0", "x1", "-1", "-0x1", "+1", "0x0x1", "1--2", "4711 (0x1267)", "serial", "serial=", ":1", "1:", "1::2", ":", "zz", "1g", "1.5", "1e3g",
		"1\x00", "１", strings.Repeat("f", 41), "01" + strings.Repeat("00", 20), strings.Repeat("f", 1000), strings.Repeat("f", 900_000),
	}
	for _, s := range hex {
		c.addBoth(fmt.Sprintf("serial %.20q of %d", s, len(s)), revoke, fields{"serial": s})
	}
	decimal := []string{
		"0", "-1", "+1", "0x10", "1f", "1.0", "1e3", "1_000", "1,000", "１", strings.Repeat("9", 49), strings.Repeat("9", 900_000),
	}
	for _, s := range decimal {
		for _, enc := range []entrustbus.Encoding{msgpackEncoding, jsonEncoding} {
			c.addRaw(fmt.Sprintf("serial_decimal %.20q of %d", s, len(s)), revoke, enc,
				encode(enc, c.valid(revoke).without("serial").with(fields{"serial_decimal": s})))
		}
	}
	c.addBoth("two forms of the serial", revoke, fields{"serial_decimal": "427"})
	c.addBoth("serial and certificate", revoke, fields{"certificate_pem": c.good.certificatePEM})
	for _, row := range []struct{ name, text string }{
		{"a certificate request", c.good.csrPEM},
		{"two", c.good.certificatePEM + c.good.certificatePEM},
		{"cut", c.good.certificatePEM[:100]},
		{"garbage", block("CERTIFICATE", []byte("garbage"))},
		{"1 MiB", block("CERTIFICATE", make([]byte, 700_000))},
	} {
		for _, enc := range []entrustbus.Encoding{msgpackEncoding, jsonEncoding} {
			c.addRaw("certificate_pem: "+row.name, revoke, enc,
				encode(enc, c.valid(revoke).without("serial").with(fields{"certificate_pem": row.text})))
		}
	}
}

func (c *corpus) wrongTexts() {
	for _, reason := range []string{"because", "remove", "7", "10", "11", "-1", "01", "aACompromise", strings.Repeat("k", 900_000)} {
		c.addBoth(fmt.Sprintf("reason %.20q of %d", reason, len(reason)), revoke, fields{"reason": reason})
	}
	for _, text := range []string{"a\nb", "a\r\nX: y", "a\x00b", "\x1b[31m", "\u2028", strings.Repeat("a", 4096), "   "} {
		c.addBoth(fmt.Sprintf("comment %.20q of %d", text, len(text)), revoke, fields{"comment": text})
		c.addBoth(fmt.Sprintf("subject_dn %.20q of %d", text, len(text)), issue, fields{"subject_dn": text})
		c.addBoth(fmt.Sprintf("profile_id %.20q of %d", text, len(text)), issue, fields{"profile_id": text})
		c.addBoth(fmt.Sprintf("tracking_id %.20q of %d", text, len(text)), track, fields{"tracking_id": text})
	}
	for _, name := range []string{".", "..", " a", "a ", "a\tb", strings.Repeat("a", 257)} {
		c.addBoth(fmt.Sprintf("ca_id %.20q of %d", name, len(name)), issue, fields{"ca_id": name})
		c.addBoth(fmt.Sprintf("ca_id %.20q of %d", name, len(name)), revoke, fields{"ca_id": name})
	}
	c.addBoth("subject_dn without an attribute", issue, fields{"subject_dn": "hostile.example.net"})
	c.addBoth("no tracking_id", track, fields{"tracking_id": ""})
}

func (c *corpus) wrongOrders() {
	for _, order := range []string{"", ".", "a.b", "*", ">", "a b", "a\n", strings.Repeat("a", 65), "é"} {
		c.addBoth(fmt.Sprintf("order %.20q of %d", order, len(order)), cancel, fields{"order": order})
	}
	for _, enc := range []entrustbus.Encoding{msgpackEncoding, jsonEncoding} {
		f := c.valid(cancel)
		f["order"] = f["id"]
		c.addRaw("order is the request itself", cancel, enc, encode(enc, f))
	}
}
