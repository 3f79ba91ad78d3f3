package terminal

import (
	"os"
	"os/user"
)

// Operator names who runs the program, for the audit trail: user and host. NATS decides
// what they may do; this name is what they say of themselves.
func (t *Terminal) Operator() string {
	name := "unknown"
	if u, err := user.Current(); err == nil {
		name = u.Username
	}
	if host, err := os.Hostname(); err == nil {
		name += "@" + host
	}
	return Plain(name)
}
