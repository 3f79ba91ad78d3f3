package entrustbus

// FieldError says which part of a message is wrong, why, and what to do. Its text is safe to log. It holds names of the
// contract, bounds and positions, an unknown key that is a subject token, a number of the message, and the one wrong name in
// a certificate request. It never holds a body, a key or a certificate request.
type FieldError struct {
	// Field is the wire name of the key ("csr_pem", "sans[2]", "labels"), of the header ("Content-Type"), or one of
	// "subject", "producer" and "body".
	Field string
	// Problem completes the sentence "<field> …".
	Problem string
	// Fix is what the producer can do, possibly empty.
	Fix string
	// Undecodable is true when no part of the message can be trusted: its body is not a map of either encoding, it is of
	// another version of the contract, or its subject is not that of a request. False: the message was read, and this one
	// field is wrong.
	Undecodable bool
}

// Error is `field: problem; fix`.
func (e *FieldError) Error() string {
	if e.Fix == "" {
		return e.Field + ": " + e.Problem
	}
	return e.Field + ": " + e.Problem + "; " + e.Fix
}
