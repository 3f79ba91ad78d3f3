package entrustbus

import "time"

// CA is a CA of the gateway, as a worker knows it. Client.CA asks for it.
type CA struct {
	// Version is the contract's version, Version.
	Version int `json:"v"`
	// CAID is the CA that was asked for; the worker's own where the question named none.
	CAID string `json:"ca_id"`
	// CertificatePEM is the CA's own certificate, ChainPEM those above it, nearest first; empty for a root.
	CertificatePEM string `json:"certificate_pem"`
	ChainPEM       string `json:"chain_pem,omitempty"`
	// Warnings name the certificates that the gateway gave and the worker left out.
	Warnings []string `json:"warnings,omitempty"`
}

// Check is the setup of one worker, as the worker sees it. Client.Check asks for it. One worker of the fleet answers. Workers
// with different setups give different answers.
type Check struct {
	// Version is the contract's version, Version.
	Version int `json:"v"`
	// Worker is the name of the worker that answers, WorkerVersion the version of its program.
	Worker        string `json:"worker"`
	WorkerVersion string `json:"worker_version"`
	// CAID is the CA that was asked about; the worker's own where the question named none. The gateway lists it, or the
	// worker could not read the gateway's list.
	CAID string `json:"ca_id"`
	// ProfileID is the profile of requests that name none. No worker asks the gateway whether it exists.
	ProfileID string `json:"profile_id,omitempty"`
	// Dialect is the API that the gateway speaks: certctl, cagw, or auto before it has answered.
	Dialect string `json:"dialect"`
	// GatewayReady says that the worker calls the gateway. If it does not, requests wait, and GatewayProblem says why.
	GatewayReady   bool   `json:"gateway_ready"`
	GatewayProblem string `json:"gateway_problem,omitempty"`
	// CredentialsNotAfter is when the worker's client certificate for the gateway expires. Zero: the worker does not know.
	CredentialsNotAfter time.Time `json:"credentials_not_after,omitzero"`
	// CredentialsUsable says that the worker can load its key pair. If it cannot, the log of the worker has the reason.
	CredentialsUsable bool `json:"credentials_usable"`
	// Policy names the policy that is in force, as the worker's log does. Empty: there is none, and everything is allowed.
	Policy string `json:"policy,omitempty"`
}

// PolicyCheck says whether the policy of a worker allows a request. Client.Policy asks for it. It does not cover the gateway,
// nor the number of requests that wait for their turn.
type PolicyCheck struct {
	// Version is the contract's version, Version.
	Version int `json:"v"`
	// Allowed says that the request would be sent to the gateway.
	Allowed bool `json:"allowed"`
	// Rule is the rule that refuses the request, by its path in the policy file. Value is the value that it refuses, Where the
	// part of the request with that value. Message has all three in one line. Empty if the request is allowed.
	Rule    string `json:"rule,omitempty"`
	Value   string `json:"value,omitempty"`
	Where   string `json:"where,omitempty"`
	Message string `json:"message,omitempty"`
	// ValiditySeconds is the validity to which the policy cuts a longer one. 0: it cuts none.
	ValiditySeconds int64 `json:"validity_seconds,omitempty"`
	// MustSign says that the producer must sign its requests. A policy check needs no signature and checks none.
	MustSign bool `json:"must_sign,omitempty"`
	// CAID and ProfileID are those that the request would be sent with.
	CAID      string `json:"ca_id"`
	ProfileID string `json:"profile_id,omitempty"`
	// Policy names the policy that decided, as the worker's log does. Empty: there is none, and everything is allowed.
	Policy string `json:"policy,omitempty"`
	// Warnings are those of the request: unknown keys near known ones.
	Warnings []string `json:"warnings,omitempty"`
}

var caForm = form{
	title: "CA",
	about: "Answers a question on <prefix>.ask.<producer>.ca: the certificates of a CA, in the encoding of the question. Later versions may add keys.",
	table: table{
		{key: "v", at: at(func(c *CA) any { return &c.Version }), shape: version{}, always: true, about: "Version of the contract."},
		{key: "ca_id", at: at(func(c *CA) any { return &c.CAID }), shape: text{}, always: true, about: "The CA of the question; the worker's own if the question named none."},
		{key: "certificate_pem", at: at(func(c *CA) any { return &c.CertificatePEM }), shape: text{}, always: true, about: "The CA's own certificate."},
		{key: "chain_pem", at: at(func(c *CA) any { return &c.ChainPEM }), shape: text{}, about: "The certificates above it, nearest first. Absent for a root."},
		{key: "warnings", at: at(func(c *CA) any { return &c.Warnings }), shape: list{}, about: "Certificates that the gateway gave and the worker left out."},
	},
}

var checkForm = form{
	title: "Check",
	about: "Answers a question on <prefix>.ask.<producer>.check: the setup of one worker, in the encoding of the question. Later versions may add keys.",
	table: table{
		{key: "v", at: at(func(c *Check) any { return &c.Version }), shape: version{}, always: true, about: "Version of the contract."},
		{key: "worker", at: at(func(c *Check) any { return &c.Worker }), shape: text{}, always: true, about: "Name of the worker that answers."},
		{key: "worker_version", at: at(func(c *Check) any { return &c.WorkerVersion }), shape: text{}, always: true, about: "Version of its program."},
		{key: "ca_id", at: at(func(c *Check) any { return &c.CAID }), shape: text{}, always: true, about: "The CA of the question; the worker's own if the question named none."},
		{key: "profile_id", at: at(func(c *Check) any { return &c.ProfileID }), shape: text{}, about: "The profile of requests that name none."},
		{key: "dialect", at: at(func(c *Check) any { return &c.Dialect }), shape: text{}, always: true, about: "API that the gateway speaks: certctl, cagw, or auto before it has answered."},
		{key: "gateway_ready", at: at(func(c *Check) any { return &c.GatewayReady }), shape: flag{}, always: true, about: "Whether the worker calls the gateway. If not, requests wait."},
		{key: "gateway_problem", at: at(func(c *Check) any { return &c.GatewayProblem }), shape: text{}, about: "Why the worker does not call the gateway."},
		{key: "credentials_not_after", at: at(func(c *Check) any { return &c.CredentialsNotAfter }), shape: instant{}, about: "When the worker's client certificate for the gateway expires, in UTC."},
		{key: "credentials_usable", at: at(func(c *Check) any { return &c.CredentialsUsable }), shape: flag{}, always: true, about: "Whether the worker can load its key pair."},
		{key: "policy", at: at(func(c *Check) any { return &c.Policy }), shape: text{}, about: "The policy in force, as the worker's log names it. Absent: everything is allowed."},
	},
}

var policyCheckForm = form{
	title: "PolicyCheck",
	about: "Answers a question on <prefix>.ask.<producer>.policy.<kind>: whether the policy allows the request in the question, in its encoding. The worker sends nothing to the gateway. Later versions may add keys.",
	table: table{
		{key: "v", at: at(func(p *PolicyCheck) any { return &p.Version }), shape: version{}, always: true, about: "Version of the contract."},
		{key: "allowed", at: at(func(p *PolicyCheck) any { return &p.Allowed }), shape: flag{}, always: true, about: "Whether the request would be sent to the gateway."},
		{key: "rule", at: at(func(p *PolicyCheck) any { return &p.Rule }), shape: text{}, about: "The rule that refuses it, by its path in the policy file."},
		{key: "value", at: at(func(p *PolicyCheck) any { return &p.Value }), shape: text{}, about: "The value that the rule refuses."},
		{key: "where", at: at(func(p *PolicyCheck) any { return &p.Where }), shape: text{}, about: "The part of the request that has the value."},
		{key: "message", at: at(func(p *PolicyCheck) any { return &p.Message }), shape: text{}, about: "Rule, value and part in one line for people."},
		{key: "validity_seconds", at: at(func(p *PolicyCheck) any { return &p.ValiditySeconds }), shape: seconds{most: MaxValiditySeconds}, about: "The validity to which the policy cuts a longer one. Absent: it cuts none."},
		{key: "must_sign", at: at(func(p *PolicyCheck) any { return &p.MustSign }), shape: flag{}, about: "True where the producer must sign its requests. The question needs no signature."},
		{key: "ca_id", at: at(func(p *PolicyCheck) any { return &p.CAID }), shape: text{}, always: true, about: "The CA that the request would be sent to."},
		{key: "profile_id", at: at(func(p *PolicyCheck) any { return &p.ProfileID }), shape: text{}, about: "The profile that the request would be sent with."},
		{key: "policy", at: at(func(p *PolicyCheck) any { return &p.Policy }), shape: text{}, about: "The policy that decided, as the worker's log names it. Absent: everything is allowed."},
		{key: "warnings", at: at(func(p *PolicyCheck) any { return &p.Warnings }), shape: list{}, about: "Unknown keys of the request near known ones."},
	},
}

// EncodeAnswer writes the answer to a question: a *CA, *Check, *PolicyCheck, *OrderStatus, *WorkerVersion or *Suspended;
// another type panics. Text that is not UTF-8 is a *FieldError.
func EncodeAnswer(enc Encoding, answer any) ([]byte, error) {
	return answerForm(answer).table.write(nil, answer).encode(enc)
}

// DecodeAnswer reads an answer into what EncodeAnswer takes; another type panics. Every error is a *FieldError.
func DecodeAnswer(enc Encoding, data []byte, into any) error {
	form := answerForm(into)
	f, err := readDocument(enc, data, form.knows)
	if err != nil {
		return err
	}
	version := f.version()
	form.table.read(f, into)
	return firstError(version, f.failure())
}

func answerForm(answer any) *form {
	switch answer.(type) {
	case *CA:
		return &caForm
	case *Check:
		return &checkForm
	case *PolicyCheck:
		return &policyCheckForm
	case *OrderStatus:
		return &orderStatusForm
	case *WorkerVersion:
		return &workerVersionForm
	case *Suspended:
		return &suspendedForm
	}
	panic("entrustbus: no answer to a question")
}

// question is the body of a question about a CA.
type question struct{ CAID string }

var questionForm = form{
	title: "Question",
	about: "A question on <prefix>.ask.<producer>.ca or .check. The body may be empty. Unknown keys are ignored.",
	table: table{caField(func(q *question) any { return &q.CAID })},
}

func encodeQuestion(enc Encoding, ca string) ([]byte, error) {
	return questionForm.table.write(document(nil).must("v", int64(Version)), &question{ca}).encode(enc)
}

// DecodeQuestion reads a question about a CA, and returns the CA's id: "" where the question names none, as an empty body
// does. Every error is a *FieldError.
func DecodeQuestion(enc Encoding, data []byte) (ca string, err error) {
	if len(data) == 0 {
		return "", nil
	}
	f, err := readDocument(enc, data, func(key string) bool { return key == "v" || questionForm.table.has(key) })
	if err != nil {
		return "", err
	}
	q := new(question)
	version := f.version()
	questionForm.table.read(f, q)
	return q.CAID, firstError(version, f.failure(), questionForm.table.check(q))
}
