package policy

import (
	"crypto/x509"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/entrust-worker/entrust-worker/entrustbus"
)

// Request is the input of a policy check.
type Request struct {
	Producer string
	// Body must be validated.
	Body entrustbus.Request
	// CA and Profile are those that the order uses: the request's, else the worker's
	// defaults.
	CA, Profile string
	// Owner is the producer of the certificate that a revocation names, "" if the worker
	// does not know it.
	Owner string
	// BlockedKey is the hash of the certificate request's key if that key is blocked,
	// else "".
	BlockedKey string
	// Message is the request as it was published. The policy verifies its signature.
	Message Message
}

// Verdict is the result of a policy check. The zero value allows the request.
type Verdict struct {
	// Denial says why the request is refused; nil if it is allowed.
	Denial *Denial
	// Validity is the limit to which the requested validity or cap is reduced; 0 if it is
	// not.
	Validity time.Duration
}

// Denial names the first rule that refused a request. It is an error whose text is one
// line for the producer.
type Denial struct {
	// Rule is the path of the rule in the policy file. It is "csr" or "subject_dn" for an
	// unreadable part, "producer" for a producer without rules, and "blocked_keys" for a
	// blocked key.
	Rule string
	// Value is the refused value. Where is the part of the request that contains it, ""
	// for the request itself.
	Value, Where string
}

func (d *Denial) Error() string {
	text := "the policy refuses " + strconv.Quote(cut(d.Value, 120))
	if d.Where != "" {
		text += " in " + d.Where
	}
	return text + " (rule " + d.Rule + ")"
}

// cut shortens a text to at most most bytes, between two characters.
func cut(s string, most int) string {
	if len(s) <= most {
		return s
	}
	return strings.ToValidUTF8(s[:most], "") + "…"
}

// Finding is the answer of one rule.
type Finding struct {
	Denial
	Allowed bool
}

// Judge checks a request. It stops at the first rule that refuses it.
func (p *Policy) Judge(q Request) Verdict {
	j := judgement{}
	p.judge(&j, q)
	j.express(q)
	return j.Verdict
}

// Explain checks a request and returns the answers of all rules, in the order of their
// evaluation.
func (p *Policy) Explain(q Request) (Verdict, []Finding) {
	j := judgement{all: true}
	p.judge(&j, q)
	j.express(q)
	return j.Verdict, j.findings
}

// judgement is one policy check in progress.
type judgement struct {
	*rules
	Verdict
	all      bool
	findings []Finding
	facts    facts
}

// over reports that no further rule needs to be evaluated.
func (j *judgement) over() bool { return j.Denial != nil && !j.all }

// ask records the answer of a rule about a value.
func (j *judgement) ask(allowed bool, rule, value, where string) {
	if j.over() || allowed && !j.all {
		return
	}
	d := Denial{Rule: rule, Value: value, Where: where}
	if !allowed && j.Denial == nil {
		j.Denial = &d
	}
	if j.all {
		j.findings = append(j.findings, Finding{Denial: d, Allowed: allowed})
	}
}

func (p *Policy) judge(j *judgement, q Request) {
	r, ok := p.producers[q.Producer]
	j.ask(ok, "producer", q.Producer, "")
	if !ok {
		return
	}
	j.rules = r
	j.sign(q.Message)
	if j.over() {
		return
	}
	kind := string(q.Body.Kind())
	j.ask(r.kinds.has(kind), "kinds", kind, "")
	if r.strict {
		for _, warning := range q.Body.Warnings() {
			j.ask(false, "strict", warning, "")
		}
	}
	switch b := q.Body.(type) {
	case *entrustbus.Issue:
		j.choice(r.cas, "cas", q.CA, b.CAID, "ca_id")
		j.choice(r.profiles, "profiles", q.Profile, b.ProfileID, "profile_id")
		j.wait(b.PollMaxWaitSeconds)
		j.issue(b, q.BlockedKey)
	case *entrustbus.Track:
		j.choice(r.cas, "cas", q.CA, b.CAID, "ca_id")
		j.wait(b.PollMaxWaitSeconds)
	case *entrustbus.Revoke:
		j.choice(r.cas, "cas", q.CA, b.CAID, "ca_id")
		j.revoke(b, q)
	case *entrustbus.Cancel:
	default:
		j.ask(false, "kinds", kind, "") // no rule covers this kind
	}
}

// choice checks a CA or a profile. It must be in the list. Without a list the request
// must not name one.
func (j *judgement) choice(list set, rule, used, named, where string) {
	if len(list) == 0 {
		j.ask(named == "", rule, named, where)
		return
	}
	j.ask(list.has(used), rule, used, where)
}

func (j *judgement) wait(seconds int64) {
	if j.maxWait > 0 && seconds > 0 {
		j.ask(seconds <= int64(j.maxWait/time.Second), "max_wait", strconv.FormatInt(seconds, 10), "poll_max_wait_seconds")
	}
}

func (j *judgement) revoke(b *entrustbus.Revoke, q Request) {
	serial, err := b.SerialNumber()
	if err != nil {
		j.ask(false, "revoke.serials", "", "serial")
		return
	}
	reason, _ := entrustbus.NormalReason(b.Reason)
	j.facts.serial, j.facts.reason = fmt.Sprintf("%x", serial), reason
	allowed, where := j.serials == SerialsAny, "serial"
	if j.serials == SerialsOwn {
		allowed, where = q.Owner == q.Producer, "serial, which must be of a certificate of the producer's own"
	}
	j.ask(allowed, "revoke.serials", j.facts.serial, where)
	j.ask(b.Reason == "" || reason != "" && j.reasons.has(reason), "revoke.reasons", b.Reason, "reason")
}

func (j *judgement) issue(b *entrustbus.Issue, blockedKey string) {
	csr, err := b.CSR()
	if err != nil {
		j.ask(false, "csr", "it cannot be parsed", "the certificate request")
		return
	}
	j.key(csr)
	j.ask(blockedKey == "", "blocked_keys", blockedKey, "the certificate request")
	if j.over() {
		return
	}
	c, err := readCSR(csr.Request.Raw)
	if err != nil {
		j.ask(false, "csr", err.Error(), "the certificate request")
		return
	}
	j.content(c, "the certificate request")
	subject := c.subject
	if asked, ok := j.fields(b); ok {
		subject = asked
	}
	for _, id := range j.required {
		j.ask(slices.ContainsFunc(subject, func(a attribute) bool { return a.oid == id }), "subject."+attributeName(id)+".required", "", "the subject")
	}
	j.validity(b)
}

// key checks the key and the signature of the certificate request.
func (j *judgement) key(csr *entrustbus.CSR) {
	typ := csr.KeyType()
	j.facts.key = typ
	allowed := j.keys[typ]
	if bits, ok := strings.CutPrefix(typ, "RSA "); ok {
		n, err := strconv.Atoi(bits)
		allowed = err == nil && j.rsaBits > 0 && n >= j.rsaBits
	}
	j.ask(allowed, "keys", typ, "the certificate request")
	switch a := csr.Request.SignatureAlgorithm; a {
	case x509.SHA1WithRSA, x509.ECDSAWithSHA1:
		j.ask(j.sha1, "sha1_signatures", a.String(), "the certificate request")
	case x509.SHA256WithRSA, x509.SHA384WithRSA, x509.SHA512WithRSA, x509.SHA256WithRSAPSS, x509.SHA384WithRSAPSS, x509.SHA512WithRSAPSS,
		x509.ECDSAWithSHA256, x509.ECDSAWithSHA384, x509.ECDSAWithSHA512, x509.PureEd25519:
	case x509.UnknownSignatureAlgorithm:
		// Go knows no signature algorithm for such a key. The rule keys has named its
		// type.
		j.ask(csr.Request.PublicKeyAlgorithm == x509.UnknownPublicKeyAlgorithm, "signatures", "an unknown algorithm", "the certificate request")
	default:
		j.ask(false, "signatures", a.String(), "the certificate request")
	}
}

// content checks names, attributes and extensions.
func (j *judgement) content(c content, where string) {
	for _, a := range c.subject {
		j.attribute(a, where)
	}
	for _, n := range c.names {
		j.name(n, where)
	}
	for _, e := range c.extensions {
		value := e.oid
		j.facts.extensions = append(j.facts.extensions, e.oid)
		if e.oid == oidBasicConstraints && c.authority {
			value = "basicConstraints of a CA"
		}
		j.ask(j.extensions[e.oid], "extensions", value, where)
	}
	for _, id := range c.ekus {
		j.facts.ekus = append(j.facts.ekus, id)
		j.ask(j.ekus.has(id), "ekus", id, where)
	}
}

func (j *judgement) name(n name, where string) {
	j.facts.names = append(j.facts.names, n.typ+":"+n.value)
	rule, value := "names."+n.typ, n.value
	switch n.typ {
	case typeDNS, typeIP, typeEmail, typeURI:
	case typeOther:
		rule, value = "names.other", typeOther+" "+n.value
	default:
		rule, value = "names.other", n.typ
	}
	j.ask(j.allows(n), rule, value, where)
}

// attribute checks an attribute of a subject. Common names and e-mail addresses are
// names; the rule subject may allow further values.
func (j *judgement) attribute(a attribute, where string) {
	j.facts.attribute(a)
	rule, ok := j.subject[a.oid]
	named := ok && (slices.Contains(rule.Values, a.value) || slices.Contains(rule.Values, Any))
	label := "subject." + attributeName(a.oid)
	switch {
	case named:
		j.ask(true, label, a.value, where)
	case a.oid == oidCommonName:
		n, isName := typed(a.value)
		if !isName {
			j.ask(false, label, a.value, where)
			return
		}
		j.name(n, where+", common name")
	case a.oid == oidEmail:
		n, isName := normal(typeEmail, a.value)
		if !isName {
			j.ask(false, label, a.value, where)
			return
		}
		j.name(n, where+", emailAddress")
	default:
		j.ask(ok && rule.Values == nil, label, a.value, where)
	}
}

// fields checks the fields of the request outside of its certificate request. It returns
// the requested subject; false if that is the certificate request's.
func (j *judgement) fields(b *entrustbus.Issue) ([]attribute, bool) {
	if b.CommonName != "" {
		j.attribute(attribute{oidCommonName, b.CommonName}, "common_name")
	}
	if len(b.SANs) > 0 {
		names, err := b.Names()
		j.ask(err == nil, "sans", "a name that cannot be read", "sans")
		for _, n := range names {
			j.name(ofSAN(n), "sans")
		}
	}
	for _, e := range b.Extensions {
		c, err := readRequested(e)
		if err != nil {
			j.ask(false, "extensions", err.Error(), "extensions")
			continue
		}
		j.content(c, "extensions")
	}
	for _, usage := range b.EKUs {
		id := named(ekuOIDs, strings.TrimSpace(usage))
		j.facts.ekus = append(j.facts.ekus, id)
		j.ask(j.ekus.has(id), "ekus", usage, "ekus")
	}
	if b.MustStaple {
		j.facts.extensions = append(j.facts.extensions, oidTLSFeature)
		j.ask(j.extensions[oidTLSFeature], "extensions", oidTLSFeature, "must_staple")
	}
	for _, key := range slices.Sorted(maps.Keys(b.Properties)) {
		j.ask(j.properties.has(key), "properties", key, "properties")
	}
	return j.asked(b)
}

// asked checks the subject that the request names instead of the certificate request's.
func (j *judgement) asked(b *entrustbus.Issue) ([]attribute, bool) {
	var subject []attribute
	for _, v := range b.SubjectVariables {
		a := attribute{named(attributeOIDs, v.Type), v.Value}
		if a.oid == "" || strings.ContainsFunc(v.Value, hidden) {
			j.ask(false, "subject", v.Type, "subject_variables")
			continue
		}
		j.attribute(a, "subject_variables")
		subject = append(subject, a)
	}
	if b.SubjectDN != "" && b.SubjectDN != entrustbus.SubjectOmit {
		dn, err := readDN(b.SubjectDN)
		if err != nil {
			j.ask(false, "subject_dn", err.Error(), "subject_dn")
			return nil, true
		}
		for _, a := range dn {
			j.attribute(a, "subject_dn")
		}
		subject = append(subject, dn...)
	}
	return subject, b.SubjectDN != "" || len(b.SubjectVariables) > 0
}

// readRequested reads an extension of the request.
func readRequested(e entrustbus.Extension) (content, error) {
	var c content
	err := c.readExtension(extension{e.OID, e.Critical}, reader{e.Value})
	return c, err
}

// validity checks the requested validity. A cap requests nothing: a cap beyond the rule
// is lowered to it, because the worker may ask the gateway for any validity up to the
// cap. A period is never shortened, because it has a beginning.
func (j *judgement) validity(b *entrustbus.Issue) {
	most := int64(j.maxValidity / time.Second)
	seconds, period := demanded(b)
	switch {
	case most == 0:
	case seconds == 0:
		if b.MaxValiditySeconds > most {
			j.Validity = j.maxValidity.Truncate(time.Second)
		}
	case period:
		j.ask(seconds <= most, "max_validity", b.ValidityPeriod, "validity_period")
	default:
		if seconds > most && j.cut {
			j.Validity = j.maxValidity.Truncate(time.Second)
		}
		j.ask(seconds <= most || j.cut, "max_validity", strconv.FormatInt(seconds, 10), "validity_seconds")
	}
}

// demanded returns the requested validity in seconds, 0 for none. Of a period it returns
// the longest possible length.
func demanded(b *entrustbus.Issue) (seconds int64, period bool) {
	if b.ValidityPeriod == "" {
		return b.ValiditySeconds, false
	}
	p, err := entrustbus.ParsePeriod(b.ValidityPeriod)
	if err != nil {
		return entrustbus.MaxValiditySeconds, true // Validate refuses such a request
	}
	return int64(p.Longest() / time.Second), true
}
