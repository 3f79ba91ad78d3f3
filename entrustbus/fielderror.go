package entrustbus

// FieldError says which part of a message is wrong, what is wrong with it and what to do about it. Its text is safe to
// log: it holds names of the contract, bounds and positions, an unknown key that is a subject token, a number that the
// message holds, and the one name in a certificate request that is wrong; never a body, a key or a certificate request.
type FieldError struct {
	// Field is the wire name of the key ("csr_pem", "sans[2]", "labels"), of the header ("Content-Type"), or one of
	// "subject", "producer" and "body".
	Field string
	// Problem completes the sentence "<field> …".
	Problem string
	// Fix is what the producer can do, possibly empty.
	Fix string
	// Undecodable is true when nothing of the message can be trusted: its body is no map of either encoding, is of
	// another version of the contract, or its subject is not a request's. False: the message was read, and this one
	// field is not acceptable.
	Undecodable bool
}

// Error is `field: problem; fix`.
func (e *FieldError) Error() string {
	if e.Fix == "" {
		return e.Field + ": " + e.Problem
	}
	return e.Field + ": " + e.Problem + "; " + e.Fix
}
