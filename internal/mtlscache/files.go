package mtlscache

import (
	"cmp"
	"errors"
	"io"
	"io/fs"
	"os"
	"time"
)

// maxFile bounds the bytes read of one file: far more than any chain, and little
// enough if the path names a wrong, large file.
const maxFile = 1 << 20

// maxFiles is the largest number of files in a Config: certificate, key, its
// password, and the server's CA.
const maxFiles = 4

// marks holds one mark per watched file, in order; the rest is zero.
type marks [maxFiles]mark

func (m *marks) equal(other *marks) bool {
	for i := range m {
		if !m[i].equal(other[i]) {
			return false
		}
	}
	return true
}

// files are the credential files on disk. The value never changes and is safe for
// concurrent use.
type files struct {
	watched []watched
	parse   func(content [][]byte) (*material, error)
}

// newFiles lists the files that cfg names, and the parser for their form.
func newFiles(cfg Config) (*files, error) {
	paths := []string{cfg.CertFile, cfg.KeyFile}
	form := parsePEM
	if cfg.PKCS12File != "" {
		paths = []string{cfg.PKCS12File}
		form = parsePKCS12
	}
	if password := cmp.Or(cfg.PKCS12PasswordFile, cfg.KeyPasswordFile); password != "" {
		paths = append(paths, password)
	}
	pair := len(paths)
	if cfg.ServerCAFile != "" {
		paths = append(paths, cfg.ServerCAFile)
	}

	f := &files{}
	for _, path := range paths {
		w, err := watch(path)
		if err != nil {
			return nil, &KeyPairError{Path: path, Problem: "is not a valid path", Err: err}
		}
		f.watched = append(f.watched, w)
	}
	f.parse = func(content [][]byte) (*material, error) {
		m, err := form(paths[:pair], content[:pair])
		if err != nil || len(paths) == pair {
			return m, err
		}
		return m, m.trust(paths[pair], content[pair])
	}
	return f, nil
}

// changed reports whether the mark of a file differs from before. It allocates
// nothing unless a stat fails.
func (f *files) changed(before *marks) (bool, error) {
	for i := range f.watched {
		if m, err := f.mark(i); err != nil || !m.equal(before[i]) {
			return true, err
		}
	}
	return false, nil
}

// marks stats every file.
func (f *files) marks() (m marks, err error) {
	for i := range f.watched {
		if m[i], err = f.mark(i); err != nil {
			return m, err
		}
	}
	return m, nil
}

// mark stats one file.
func (f *files) mark(i int) (mark, error) {
	m, err := f.watched[i].stat()
	if err != nil {
		// Once more: a rotation may switch a symbolic link in the path and remove the
		// old target during the first stat.
		m, err = f.watched[i].stat()
	}
	if err != nil {
		return m, &KeyPairError{Path: f.watched[i].path, Problem: "stat", Err: err}
	}
	return m, nil
}

// read returns the content of the files and the marks that they had meanwhile, or
// zero marks if they kept changing. An error that a rotation in progress can cause
// is marked as incomplete.
func (f *files) read() (*material, marks, error) {
	content, tried, err := settled(f.marks, f.contents)
	if err != nil {
		return nil, tried, err
	}
	if content == nil {
		return nil, tried, unfinished(f.watched[0].path, "changes while it is read")
	}
	m, err := f.parse(content)
	return m, tried, err
}

// settled reads until the marks before and after are the same, a few times at
// most. Equal marks prove that all content belongs together, even if a symbolic
// link was switched between two files. If the marks never are equal, it returns
// nothing, not even the last marks: those may be of a complete pair that was not
// read.
func settled(look func() (marks, error), read func() ([][]byte, error)) ([][]byte, marks, error) {
	before, err := look()
	if err != nil {
		return nil, marks{}, err
	}
	const tries = 3
	for range tries {
		content, readErr := read()
		after, err := look()
		if err != nil {
			return nil, marks{}, err
		}
		if before.equal(&after) {
			return content, before, readErr
		}
		before = after
	}
	return nil, marks{}, nil
}

// contents reads every file.
func (f *files) contents() ([][]byte, error) {
	content := make([][]byte, len(f.watched))
	for i, w := range f.watched {
		var err error
		if content[i], err = readFile(w.path); err != nil {
			return nil, err
		}
	}
	return content, nil
}

// young reports whether a file changed so shortly before now that another change
// could leave its mark the same: file times come in ticks, on some file systems of
// two seconds. A time in the future counts as young.
func (m *marks) young(now time.Time) bool {
	for i := range m {
		if m[i].stamped().After(now.Add(-stampTick)) {
			return true
		}
	}
	return false
}

// stampTick is the longest tick of file times that is still in use (FAT, some NFS
// servers).
const stampTick = 2 * time.Second

var errIrregular = errors.New("is not a regular file")

// readFile reads a regular file that is no larger than maxFile.
func readFile(path string) ([]byte, error) {
	content, err := func() ([]byte, error) {
		if info, err := os.Stat(path); err != nil || !info.Mode().IsRegular() {
			return nil, cmp.Or(err, errIrregular) // opening a pipe could block for ever
		}
		file, err := os.Open(path)
		if err != nil {
			return nil, err
		}
		defer file.Close()
		return io.ReadAll(io.LimitReader(file, maxFile+1))
	}()
	switch pathErr, ok := errors.AsType[*fs.PathError](err); {
	case errors.Is(err, errIrregular):
		return nil, unfinished(path, err.Error())
	case ok: // incomplete: root may have written it and not yet changed its owner
		return nil, &KeyPairError{Path: path, Problem: pathErr.Op, Err: pathErr.Err, incomplete: true}
	case err != nil:
		return nil, &KeyPairError{Path: path, Problem: "read", Err: err, incomplete: true}
	case len(content) == 0:
		return nil, unfinished(path, "is empty")
	case len(content) > maxFile:
		return nil, unfinished(path, "is larger than 1 MiB")
	}
	return content, nil
}
