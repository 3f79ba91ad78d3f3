//go:build linux && (amd64 || arm64 || ppc64le || riscv64 || s390x)

package mtlscache

import (
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// A held file is asked through a descriptor, which costs less than half of
// finding it by its path: walking to each of two files is what a look costs
// otherwise. The zero value holds nothing.
//
// The descriptor tells of every change to the file that was read. What it cannot
// tell is that the path now leads to another file, so that must show elsewhere:
//
//   - The file was replaced, renamed or removed in its directory. That changes
//     the file's own change time on the file systems of [tells].
//   - The directory, one above it, or a link to one was switched. The first
//     watched file is found by its path on every look; it stands in the same
//     directory, and a rotation that switches directories brings another
//     certificate.
//   - The path itself is a symbolic link. Such a file is not held.
//
// Not seen is a file mounted over a held one.
type held struct {
	file *os.File // closes itself with a Cache that nobody uses any more
	fd   int      // of file, whose Fd must not be asked while it is closed
}

// hold opens w if it can be held beside first, and is still what m says.
func (w watched) hold(first watched, m mark) held {
	if w.path == first.path || filepath.Dir(w.path) != filepath.Dir(first.path) {
		return held{}
	}
	// O_PATH neither reads nor keeps anybody from writing; NOFOLLOW opens a link
	// itself, whose mark is not m.
	fd, err := unix.Open(w.path, unix.O_PATH|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
	if err != nil {
		return held{}
	}
	h := held{os.NewFile(uintptr(fd), w.path), fd}
	if got, err := h.stat(); err != nil || !got.equal(m) || !tells(h.fd) {
		h.release()
		return held{}
	}
	return h
}

// tells reports whether a file system notes in a file's change time that its
// name was taken away, and shows every write to whoever opened it before.
// Overlays show the lower file for ever, and network file systems what they
// remember.
func tells(fd int) bool {
	var st unix.Statfs_t
	if unix.Fstatfs(fd, &st) != nil {
		return false
	}
	switch uint32(st.Type) {
	case unix.EXT4_SUPER_MAGIC, unix.XFS_SUPER_MAGIC, unix.BTRFS_SUPER_MAGIC, unix.TMPFS_MAGIC:
		return true
	}
	return false
}

func (h held) is() bool { return h.file != nil }

// stat returns the mark of the file, wherever its path leads now.
func (h held) stat() (mark, error) {
	var st unix.Stat_t
	err := unix.Fstat(h.fd, &st)
	return markOf(&st), err
}

// release closes the descriptor. A look that is still at it meets an error, or
// a foreign file under the same number, and takes both for a change.
func (h held) release() {
	if h.file != nil {
		h.file.Close()
	}
}
