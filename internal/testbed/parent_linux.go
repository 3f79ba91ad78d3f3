package testbed

import "syscall"

// dieWithParent makes the kernel kill a child process when this process ends.
func dieWithParent() *syscall.SysProcAttr { return &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL} }
