package mtlscache

import "fmt"

// A KeyPairError means that the credentials on disk cannot be used. It names the
// file and the problem and never quotes content, so it is safe to log and show.
// The request was not sent.
type KeyPairError struct {
	// Path is the file with the problem.
	Path string
	// Problem says what is wrong with the file, for an operator.
	Problem string
	// Err is the error of the file system; nil if there was none.
	Err error

	// incomplete: a rotation in progress may cause this error.
	incomplete bool
}

// Error names the path and the problem.
func (e *KeyPairError) Error() string {
	if e.Err != nil {
		return fmt.Sprintf("reading credentials %q: %s: %v", e.Path, e.Problem, e.Err)
	}
	return fmt.Sprintf("reading credentials %q: %s", e.Path, e.Problem)
}

// Unwrap returns Err, so that errors.Is finds fs.ErrNotExist and its like.
func (e *KeyPairError) Unwrap() error { return e.Err }

// Credentials reports that the worker's own credentials are at fault, not the
// request. It is always true; callers look for the method.
func (e *KeyPairError) Credentials() bool { return true }

// unfinished returns the error for content that may be temporary, because of a
// rotation in progress.
func unfinished(path, problem string) *KeyPairError {
	return &KeyPairError{Path: path, Problem: problem, incomplete: true}
}
