//go:build !linux

package testbed

import "syscall"

// dieWithParent does nothing: only Linux kills a child process when this process ends.
func dieWithParent() *syscall.SysProcAttr { return nil }
