//go:build !(linux && (amd64 || arm64 || ppc64le || riscv64 || s390x))

package mtlscache

import (
	"errors"
	"io/fs"
	"os"
	"time"
)

// A mark distinguishes versions of a file without opening it. It has no change time,
// which Go does not provide portably.
type mark struct{ info os.FileInfo }

func (m mark) equal(other mark) bool {
	if m.info == nil || other.info == nil {
		return m.info == other.info
	}
	return m.info.Size() == other.info.Size() &&
		m.info.ModTime().Equal(other.info.ModTime()) &&
		os.SameFile(m.info, other.info)
}

// stamped returns when the file system last recorded a change.
func (m mark) stamped() time.Time {
	if m.info == nil {
		return time.Time{} // no file
	}
	return m.info.ModTime()
}

// A watched file.
type watched struct{ path string }

func watch(path string) (watched, error) { return watched{path}, nil }

func (w watched) stat() (mark, error) {
	info, err := os.Stat(w.path)
	if pathErr, ok := errors.AsType[*fs.PathError](err); ok {
		err = pathErr.Err // the caller names the path
	}
	return mark{info}, err
}
