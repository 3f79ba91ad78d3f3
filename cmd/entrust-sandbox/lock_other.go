//go:build !unix

package main

import "os"

// lock does nothing here: two sandboxes on one folder are for the user to avoid.
func lock(*os.File) error { return nil }
