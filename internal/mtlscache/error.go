package mtlscache

import "fmt"

// A KeyPairError says that the credentials on disk cannot be used. It names the
// file and the problem and never what the file holds, so it may be shown
// anywhere. The request that met it was not sent.
type KeyPairError struct {
	// Path is the file that has the problem.
	Path string
	// Problem is what is wrong with it, for people.
	Problem string
	// Err is what the file system said, if it was asked and refused; nil
	// otherwise.
	Err error

	// incomplete marks what a rotation in progress may look like.
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

// Credentials reports that the trouble is the worker's own credentials and not
// the request. It is always true; callers look for the method.
func (e *KeyPairError) Credentials() bool { return true }

// unfinished returns the error for content that a rotation in progress may
// have left for a moment.
func unfinished(path, problem string) *KeyPairError {
	return &KeyPairError{Path: path, Problem: problem, incomplete: true}
}
