// Package release has the tests of a release, behind the build tag release. They check that
// `go install` and `go get` work once the tags of the modules are pushed, and run ./release.
// It has no other code.
package release
