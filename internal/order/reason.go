package order

// Reason says why a request became a dead letter. It is the last token of the letter's
// subject. The zero value says that there is no letter.
type Reason string

// The reasons, all of them.
const (
	Undecodable      Reason = "undecodable"       // the bytes are not a request
	Invalid          Reason = "invalid"           // a request that breaks the contract, or an id used twice
	Denied           Reason = "denied"            // the policy forbids it
	Rejected         Reason = "rejected"          // the gateway, or an approver, said no
	Unconfirmed      Reason = "unconfirmed"       // the gateway may have accepted it, and nothing tells
	Expired          Reason = "expired"           // no approval before the deadline
	WrongCertificate Reason = "wrong-certificate" // what was issued is not what was asked for
	Crashed          Reason = "crashed"           // the message crashed workers
)

// Reasons returns every reason.
func Reasons() []Reason {
	return []Reason{Undecodable, Invalid, Denied, Rejected, Unconfirmed, Expired, WrongCertificate, Crashed}
}
