package testbed

import "syscall"

// dieWithParent has the kernel kill a child process when this process ends.
func dieWithParent() *syscall.SysProcAttr { return &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL} }
