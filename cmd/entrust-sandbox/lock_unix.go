//go:build unix

package main

import (
	"os"
	"syscall"
)

// lock takes the file for this process alone. The lock ends with the process,
// however that ends.
func lock(f *os.File) error { return syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB) }
