package mtlscache

import (
	"errors"
	"os"
	"strings"
	"unsafe"

	"golang.org/x/sys/unix"
)

// A tripwire tells with one system call whether anything happened to files, or
// to what leads to them, since it was drawn. The kernel notes an event before
// the system call that causes it returns, so whoever learns of a change and asks
// then is told; a goroutine that waits for events could be late. The zero value
// cannot be drawn.
//
// Watched are the inodes themselves, of each directory and symbolic link on the
// way as well: a name that leads elsewhere is one whose inode was moved, removed
// or replaced. Names that come and go beside them trip nothing. Not told are
// a mount over a part of the path, stores through a memory mapping until it is
// closed, and what another machine does to a file system of the network.
type tripwire struct {
	file    *os.File // inotify; closes itself with a Cache that nobody uses any more
	fd      int      // of file, whose Fd must not be asked while it is closed
	watches []uint32
}

const (
	// wayEvents are those of what leads to a file, which is watched itself and not
	// its target; watches of one inode add up.
	wayEvents = unix.IN_ATTRIB | unix.IN_MOVE_SELF | unix.IN_DELETE_SELF | unix.IN_DONT_FOLLOW | unix.IN_MASK_ADD
	// fileEvents are those of a file.
	fileEvents = wayEvents | unix.IN_MODIFY | unix.IN_CLOSE_WRITE
	// entryEvents tell of what is in a directory.
	entryEvents = unix.IN_ATTRIB | unix.IN_CREATE | unix.IN_DELETE | unix.IN_MOVED_FROM | unix.IN_MOVED_TO | unix.IN_MASK_ADD

	// maxLinks is how many symbolic links the kernel follows on one path.
	maxLinks = 40
)

// newTripwire returns one that is not drawn, or that cannot be: each user may
// have only so many (fs.inotify.max_user_instances).
func newTripwire() tripwire {
	fd, err := unix.InotifyInit1(unix.IN_CLOEXEC)
	if err != nil {
		return tripwire{}
	}
	return tripwire{file: os.NewFile(uintptr(fd), "inotify"), fd: fd}
}

// draw watches what paths lead to now, and only that, and forgets what happened
// before. It returns false, and watches nothing, where that cannot tell of every
// change. Look at the files after it, not before.
func (t *tripwire) draw(paths []string) bool {
	if t.file == nil {
		return false
	}
	t.clear()
	for _, path := range paths {
		if !t.follow(path) {
			t.clear()
			return false
		}
	}
	return true
}

// tripped reports whether anything happened. It leaves what happened in the
// queue, so that every caller is told.
func (t *tripwire) tripped() bool {
	var queued int32
	// Raw, since it cannot block. TIOCINQ is FIONREAD.
	_, _, errno := unix.RawSyscall(unix.SYS_IOCTL, uintptr(t.fd), unix.TIOCINQ, uintptr(unsafe.Pointer(&queued)))
	return errno != 0 || queued != 0
}

// clear takes the watches away and empties the queue.
func (t *tripwire) clear() {
	for _, wd := range t.watches {
		unix.InotifyRmWatch(t.fd, wd) //nolint:errcheck // the kernel does so itself for what is gone
	}
	t.watches = t.watches[:0]
	buf := make([]byte, 4096)
	for t.tripped() { // nothing new can come, so this ends, and never waits
		if _, err := t.file.Read(buf); err != nil {
			return
		}
	}
}

// follow watches all that the kernel walks through to path, as it does, one name
// at a time. A part is watched before the next is looked up below it, so what
// changes meanwhile trips the wire.
func (t *tripwire) follow(path string) bool {
	at := "."
	if strings.HasPrefix(path, "/") {
		at = "/"
	}
	if !t.add(at, wayEvents) || !tells(at, true) {
		return false
	}
	for links := 0; path != ""; {
		var name string
		if name, path, _ = strings.Cut(path, "/"); name == "" {
			continue
		}
		next := at + "/" + name
		if !t.add(next, wayEvents) && !t.add(at, entryEvents) {
			return false
		}
		target, err := os.Readlink(next)
		switch {
		case errors.Is(err, unix.EINVAL): // no link
			if !tells(next, path != "") {
				return false
			}
			at = next
			continue
		case err != nil:
			return false
		}
		if links++; links > maxLinks {
			return false
		}
		if strings.HasPrefix(target, "/") {
			at = "/"
		}
		path = target + "/" + path
	}
	return t.add(at, fileEvents)
}

// add watches one inode. That takes permission to read it, so a directory that
// may be passed through and not read has to be watched from the one above it.
func (t *tripwire) add(path string, events uint32) bool {
	wd, err := unix.InotifyAddWatch(t.fd, path, events)
	if err != nil {
		return false
	}
	t.watches = append(t.watches, uint32(wd))
	return true
}

// tells reports whether the file system at path tells of every change: one that
// only this kernel changes. An overlay does so for directories; a file of a lower
// layer may become another one when it is first written.
func tells(path string, way bool) bool {
	var st unix.Statfs_t
	if unix.Statfs(path, &st) != nil {
		return false
	}
	switch uint32(st.Type) {
	case unix.EXT4_SUPER_MAGIC, unix.XFS_SUPER_MAGIC, unix.BTRFS_SUPER_MAGIC, unix.F2FS_SUPER_MAGIC,
		unix.TMPFS_MAGIC, unix.RAMFS_MAGIC:
		return true
	case unix.OVERLAYFS_SUPER_MAGIC:
		return way
	}
	return false
}

func (t *tripwire) close() {
	if t.file != nil {
		t.file.Close()
		t.file = nil
	}
}
