package entrustbus

import (
	"crypto/sha256"
	"encoding/hex"
	"strconv"
	"strings"
)

// DefaultPrefix is the first part of every subject of the contract unless the operator chose another one.
const DefaultPrefix = "entrust"

// MaxTokenLength is the greatest length of a producer name, of a request id and of a dead letter's reason, in bytes.
const MaxTokenLength = 64

// Subjects builds and reads the contract's subjects. The zero value uses DefaultPrefix; a prefix may have several
// tokens ("acme.pki"). The building methods do not check their arguments: check names from outside with ValidToken first. A Subjects is a value and safe for concurrent use.
type Subjects struct {
	Prefix string
}

func (s Subjects) prefix() string {
	if s.Prefix == "" {
		return DefaultPrefix
	}
	return s.Prefix
}

// Validate reports a prefix that cannot begin a subject, as a *FieldError.
func (s Subjects) Validate() error {
	for _, token := range strings.Split(s.prefix(), ".") {
		if !ValidToken(token) {
			return &FieldError{
				Field:   "prefix",
				Problem: "has a part that is not a subject token",
				Fix:     "use letters, digits, _ and -, with single dots in between",
			}
		}
	}
	return nil
}

// Request is the subject that the producer publishes requests of this kind to.
func (s Subjects) Request(producer string, kind Kind) string {
	return s.prefix() + ".request." + producer + "." + string(kind)
}

// Operator is the subject that operators publish requests of this kind to, in the name of the producer: replays, and
// requests that end an order by hand. NATS permissions keep producers out.
func (s Subjects) Operator(producer string, kind Kind) string {
	return s.prefix() + ".operator." + producer + "." + string(kind)
}

// OperatorFilter matches the operators' requests of one kind, for every producer.
func (s Subjects) OperatorFilter(kind Kind) string { return s.Operator("*", kind) }

// Refused is the subject of refusals: of the producer's requests that have no readable id, or an id that belongs to other
// content. NATS does not keep them.
func (s Subjects) Refused(producer string) string { return s.prefix() + ".refused." + producer }

// Event is the subject of the events of a CA's certificates. For an id with other characters than letters, digits, _, - and
// ~, the subject has a hash; the message has the id itself.
func (s Subjects) Event(caID string) string {
	token := caID
	if !ValidToken(strings.ReplaceAll(token, "~", "-")) {
		sum := sha256.Sum256([]byte(caID))
		token = "=" + hex.EncodeToString(sum[:16])
	}
	return s.prefix() + ".event." + token
}

// EventFilter matches the events of every CA.
func (s Subjects) EventFilter() string { return s.prefix() + ".event.*" }

// Topic is the topic of a question to a worker. NATS stores no questions.
type Topic string

// The topics.
const (
	TopicCA     Topic = "ca"     // the certificates of a CA
	TopicCheck  Topic = "check"  // the setup of a worker
	TopicPolicy Topic = "policy" // whether the policy allows a request

	TopicOrder   Topic = "order"   // the phase of an order
	TopicVersion Topic = "version" // the version of a worker
)

// The topics of operators, see AskOperator.
const (
	TopicSuspend Topic = "suspend" // stop calls to the gateway
	TopicResume  Topic = "resume"  // let them go on
)

// askOperator takes the place of the producer's name in subjects of questions of operators. No producer can have this name.
const askOperator = "@operator"

// Ask is the subject of the producer's questions on a topic other than a request or an order. NATS permissions on
// <prefix>.ask.<producer>.> decide who may ask as which producer.
func (s Subjects) Ask(producer string, topic Topic) string {
	return s.prefix() + ".ask." + producer + "." + string(topic)
}

// AskPolicy is the subject of the producer's policy checks of requests of a kind.
func (s Subjects) AskPolicy(producer string, kind Kind) string {
	return s.Ask(producer, TopicPolicy) + "." + string(kind)
}

// AskOrder is the subject of the producer's questions about one of its orders.
func (s Subjects) AskOrder(producer, id string) string {
	return s.Ask(producer, TopicOrder) + "." + id
}

// AskOperator is the subject of instructions of operators to a worker. NATS permissions keep producers out.
func (s Subjects) AskOperator(topic Topic) string { return s.Ask(askOperator, topic) }

// Question is the content of the subject of a producer's question.
type Question struct {
	Producer string
	Topic    Topic
	// Kind is the kind of a policy check, ID the id of an order; "" for other topics.
	Kind Kind
	ID   string
}

// ParseAsk parses the subject of a producer's question. A *FieldError names the wrong part: "subject", "producer",
// "kind" or "id".
func (s Subjects) ParseAsk(subject string) (Question, error) {
	rest, ok := strings.CutPrefix(subject, s.prefix()+".ask.")
	producer, rest, more := strings.Cut(rest, ".")
	last, of, about := strings.Cut(rest, ".")
	q := Question{Producer: producer, Topic: Topic(last)}
	switch q.Topic {
	case TopicCA, TopicCheck, TopicVersion:
		ok = ok && !about
	case TopicPolicy, TopicOrder:
		ok = ok && about
	default:
		ok = false
	}
	switch {
	case !ok || !more:
		return Question{}, errSubject("ask")
	case !ValidToken(producer):
		return Question{}, errToken("producer")
	case q.Topic == TopicPolicy && !Kind(of).ForProducers():
		return q, &FieldError{Field: "kind", Problem: "is not a request kind for producers", Fix: "ask on …ask.<producer>.policy.issue, .revoke, .track or .cancel"}
	case q.Topic == TopicPolicy:
		q.Kind = Kind(of)
	case q.Topic == TopicOrder && !ValidToken(of):
		return q, errToken("id")
	case q.Topic == TopicOrder:
		q.ID = of
	}
	return q, nil
}

// RequestFilter matches the requests of one kind, of every producer.
func (s Subjects) RequestFilter(kind Kind) string { return s.Request("*", kind) }

// Parked is the subject of the wake-up of a waiting order.
func (s Subjects) Parked(producer, id string) string {
	return s.prefix() + ".parked." + producer + "." + id
}

// ParkedFilter matches the wake-up of every order.
func (s Subjects) ParkedFilter() string { return s.Parked("*", "*") }

// Due is the subject that the due message of an order arrives on, in a lane of the worker.
func (s Subjects) Due(lane, producer, id string) string {
	return s.prefix() + ".due." + lane + "." + producer + "." + id
}

// DueFilter matches every due message of a lane.
func (s Subjects) DueFilter(lane string) string { return s.Due(lane, "*", "*") }

// Result is the subject that the result of the request is published to.
func (s Subjects) Result(producer, id string) string {
	return s.prefix() + ".result." + producer + "." + id
}

// ResultFilter matches every result of every producer; the results of one producer are Result(producer, "*").
func (s Subjects) ResultFilter() string { return s.Result("*", "*") }

// Dead is the subject of the producer's dead letters of one reason.
func (s Subjects) Dead(producer, reason string) string {
	return s.prefix() + ".dead." + producer + "." + reason
}

// DeadFilter matches every dead letter.
func (s Subjects) DeadFilter() string { return s.Dead("*", "*") }

// Audit is the subject of the audit trail of one producer.
func (s Subjects) Audit(producer string) string { return s.prefix() + ".audit." + producer }

// AuditFilter matches the whole audit trail.
func (s Subjects) AuditFilter() string { return s.Audit("*") }

// ParseRequest parses the subject of a producer's request. A *FieldError names the wrong part: "subject" when it is
// not a request of this prefix, "producer" or "kind" otherwise. With an unknown kind, or one that only operators may use,
// the producer is returned beside the error, so that a dead letter can still be filed under it.
func (s Subjects) ParseRequest(subject string) (producer string, kind Kind, err error) {
	producer, last, err := s.parse(subject, "request")
	if err != nil {
		return "", "", err
	}
	if kind = Kind(last); !kind.ForProducers() {
		return producer, "", &FieldError{
			Field:       "kind",
			Problem:     "is not a request kind for producers",
			Fix:         "publish to …request.<producer>.issue, .revoke, .track or .cancel",
			Undecodable: true,
		}
	}
	return producer, kind, nil
}

// Incoming is the content of the subject of a request.
type Incoming struct {
	Producer string
	Kind     Kind
	// Operator is true for a request of an operator in the producer's name.
	Operator bool
}

// ParseIncoming parses the subject of a request of a producer or of an operator. Errors and what is returned beside
// them are those of ParseRequest.
func (s Subjects) ParseIncoming(subject string) (Incoming, error) {
	if !strings.HasPrefix(subject, s.prefix()+".operator.") {
		producer, kind, err := s.ParseRequest(subject)
		return Incoming{Producer: producer, Kind: kind}, err
	}
	producer, last, err := s.parse(subject, "operator")
	in := Incoming{Producer: producer, Kind: Kind(last), Operator: true}
	switch {
	case err != nil:
		return Incoming{}, err
	case !in.Kind.Valid():
		in.Kind = ""
		return in, &FieldError{
			Field:       "kind",
			Problem:     "is an unknown request kind",
			Fix:         "publish to …operator.<producer>.issue, .revoke, .track, .cancel, .complete or .resolve",
			Undecodable: true,
		}
	}
	return in, nil
}

// ParseDue parses the subject of a due message. A *FieldError names the wrong part: "subject", "producer" or
// "id".
func (s Subjects) ParseDue(subject string) (lane, producer, id string, err error) {
	rest, ok := strings.CutPrefix(subject, s.prefix()+".due.")
	lane, rest, more := strings.Cut(rest, ".")
	if !ok || !more {
		return "", "", "", errSubject("due")
	}
	producer, id, err = s.parse(s.prefix()+".due."+rest, "due")
	if err == nil && !ValidToken(id) {
		err = errToken("id")
	}
	if err != nil {
		return "", "", "", err
	}
	return lane, producer, id, nil
}

// ParseOrder parses the subject of a wake-up or of a result. A *FieldError names the wrong part:
// "subject", "producer" or "id".
func (s Subjects) ParseOrder(subject string) (producer, id string, err error) {
	for _, branch := range []string{"parked", "result"} {
		if strings.HasPrefix(subject, s.prefix()+"."+branch+".") {
			if producer, id, err = s.parse(subject, branch); err != nil {
				return "", "", err
			}
			if !ValidToken(id) {
				return "", "", errToken("id")
			}
			return producer, id, nil
		}
	}
	return "", "", errSubject("parked or result")
}

// ParseDead parses the subject of a dead letter. A *FieldError names the wrong part: "subject", "producer" or
// "reason".
func (s Subjects) ParseDead(subject string) (producer, reason string, err error) {
	if producer, reason, err = s.parse(subject, "dead"); err != nil {
		return "", "", err
	}
	if !ValidToken(reason) {
		return "", "", errToken("reason")
	}
	return producer, reason, nil
}

func (s Subjects) parse(subject, branch string) (producer, last string, err error) {
	rest, ok := strings.CutPrefix(subject, s.prefix()+"."+branch+".")
	if !ok {
		return "", "", errSubject(branch)
	}
	producer, last, ok = strings.Cut(rest, ".")
	if !ok || strings.Contains(last, ".") {
		return "", "", errSubject(branch)
	}
	if !ValidToken(producer) {
		err := errToken("producer")
		err.Undecodable = true
		return "", "", err
	}
	return producer, last, nil
}

func errSubject(branch string) error {
	return &FieldError{
		Field:       "subject",
		Problem:     "is not a subject of the branch " + branch,
		Fix:         "check the prefix and the number of tokens",
		Undecodable: true,
	}
}

func errToken(field string) *FieldError {
	return &FieldError{
		Field:   field,
		Problem: "is not a name of 1 to 64 letters, digits, _ and -",
		Fix:     "use [A-Za-z0-9_-]{1,64}",
	}
}

// ValidToken reports whether s can be a producer name or a request id: [A-Za-z0-9_-]{1,64}, so always one subject
// token and one key of the ledger.
func ValidToken(s string) bool {
	if s == "" || len(s) > MaxTokenLength {
		return false
	}
	for i := range len(s) {
		switch c := s[i]; {
		case 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', '0' <= c && c <= '9', c == '_', c == '-':
		default:
			return false
		}
	}
	return true
}

// RequestMsgID is the Nats-Msg-Id of a request: <producer>.<id>, and for a replay <producer>.<id>.<replay>. A producer
// always uses replay 0.
func RequestMsgID(producer, id string, replay int) string {
	if replay == 0 {
		return producer + "." + id
	}
	return ResultMsgID(producer, id, replay)
}

// ResultMsgID is the Nats-Msg-Id of the result of one replay generation: <producer>.<id>.<replay>.
func ResultMsgID(producer, id string, replay int) string {
	return producer + "." + id + "." + strconv.Itoa(replay)
}
