//go:build linux && (amd64 || arm64 || ppc64le || riscv64 || s390x)

package mtlscache

import (
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// A mark distinguishes versions of a file without opening it.
type mark struct {
	dev, ino     uint64
	size         int64
	mtime, ctime int64 // Unix nanoseconds
}

func (m mark) equal(other mark) bool { return m == other }

// stamped returns when the file system last recorded a change.
func (m mark) stamped() time.Time { return time.Unix(0, max(m.mtime, m.ctime)) }

// A watched file keeps its path in the form of the system call.
type watched struct {
	path string
	ptr  *byte // path and a NUL
}

func watch(path string) (watched, error) {
	ptr, err := unix.BytePtrFromString(path)
	return watched{path, ptr}, err
}

// stat is os.Stat without its allocations: os.Stat and unix.Stat take the path as a
// string and convert it on each call. stat follows symbolic links.
func (w watched) stat() (mark, error) {
	var st unix.Stat_t
	for {
		_, _, errno := unix.Syscall6(unix.SYS_NEWFSTATAT, atCWD,
			uintptr(unsafe.Pointer(w.ptr)), uintptr(unsafe.Pointer(&st)), 0, 0, 0)
		switch errno {
		case 0:
			return mark{st.Dev, st.Ino, st.Size, st.Mtim.Nano(), st.Ctim.Nano()}, nil
		case unix.EINTR: // Go's preemption signals interrupt network file systems
		default:
			return mark{}, errno
		}
	}
}

// atCWD is the negative unix.AT_FDCWD as an unsigned argument of the system call.
const atCWD = ^uintptr(-unix.AT_FDCWD - 1)
