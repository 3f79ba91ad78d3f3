package order

// Reason says why a request became a dead letter. It is the last token of the dead letter's
// subject. The zero value means no dead letter.
type Reason string

// The reasons. Reasons returns them all.
const (
	Undecodable      Reason = "undecodable"       // the bytes are not a request
	Invalid          Reason = "invalid"           // the request breaks the contract, or its id belongs to another request
	Denied           Reason = "denied"            // the policy forbids it
	Rejected         Reason = "rejected"          // the gateway, or an approver, refused it
	Unconfirmed      Reason = "unconfirmed"       // the gateway may have accepted it; unknown
	Expired          Reason = "expired"           // no approval before the deadline
	WrongCertificate Reason = "wrong-certificate" // the issued certificate does not match the request
	Crashed          Reason = "crashed"           // the message crashed workers
)

// Reasons returns every reason.
func Reasons() []Reason {
	return []Reason{Undecodable, Invalid, Denied, Rejected, Unconfirmed, Expired, WrongCertificate, Crashed}
}
