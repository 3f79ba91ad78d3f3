// Package release has the tests of a release, behind the build tag release: they play what
// `go install` and `go get` find once the tags of the modules are pushed, and run ./release.
// It has no other code.
package release
