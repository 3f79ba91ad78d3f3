package config

import (
	"fmt"
	"io/fs"
	"os"
	"runtime"
)

// Bits of a mode that a secret, or what decides who may ask for what, should not have. Read
// access of the group is no fault: Kubernetes and systemd hand secrets over by it.
const (
	othersReach fs.FileMode = 0o007
	groupWrites fs.FileMode = 0o020
	othersWrite fs.FileMode = 0o002
)

// LooseFiles says which files of secrets users of the host can read or change who need not,
// and whether they can change the policy file: a line each, by setting and not by path. A
// file that cannot be looked at is no finding here.
func (s *Settings) LooseFiles() []string {
	if runtime.GOOS == "windows" { // its modes say nothing
		return nil
	}
	var found []string
	look := func(k Key, forbidden fs.FileMode, advice string) {
		path := s.text(k)
		if _, unused := s.unused[k.Path]; path == "" || unused {
			return
		}
		info, err := os.Stat(path)
		if err != nil || !info.Mode().IsRegular() || info.Mode().Perm()&forbidden == 0 {
			return
		}
		found = append(found, fmt.Sprintf("%s names a file that other users can %s (mode %04o); %s", k.Path, reach(info.Mode()&forbidden), info.Mode().Perm(), advice))
	}
	for _, k := range KeysAndForms() {
		switch {
		case k.secret == "file" || k.fileOf != "":
			look(k, othersReach|groupWrites, "chmod 600 it")
		case k.Path == "policy.file":
			look(k, groupWrites|othersWrite, "chmod 644 it")
		}
	}
	return found
}

func reach(bits fs.FileMode) string {
	if bits&(groupWrites|othersWrite) != 0 {
		return "change"
	}
	return "read"
}
