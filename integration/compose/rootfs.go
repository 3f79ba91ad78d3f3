package main

import (
	"archive/tar"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
)

// rootfs writes the files of an image as a tar stream. Paths have slashes and none in
// front; everything belongs to root. Parents appear by themselves.
type rootfs struct{ tar *tar.Writer }

func newRootfs(w io.Writer) *rootfs { return &rootfs{tar.NewWriter(w)} }

func (r *rootfs) close() error { return r.tar.Close() }

func (r *rootfs) dir(name string, mode int64) error {
	return r.tar.WriteHeader(&tar.Header{Typeflag: tar.TypeDir, Name: name + "/", Mode: mode})
}

func (r *rootfs) file(name string, mode int64, content []byte) error {
	if err := r.tar.WriteHeader(&tar.Header{Typeflag: tar.TypeReg, Name: name, Mode: mode, Size: int64(len(content))}); err != nil {
		return err
	}
	_, err := r.tar.Write(content)
	return err
}

// copy adds a file of this machine.
func (r *rootfs) copy(name string, mode int64, from string) error {
	f, err := os.Open(from)
	if err != nil {
		return err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return err
	}
	// Times are kept: the build cache goes by those of the toolchain.
	if err := r.tar.WriteHeader(&tar.Header{Typeflag: tar.TypeReg, Name: name, Mode: mode, Size: info.Size(), ModTime: info.ModTime()}); err != nil {
		return err
	}
	_, err = io.Copy(r.tar, f)
	return err
}

// tree adds the regular files below a folder for which want, given the path within it,
// says so; nil takes all.
func (r *rootfs) tree(name, from string, want func(path string) bool) error {
	return filepath.WalkDir(from, func(p string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(from, p)
		if err != nil {
			return err
		}
		rel = filepath.ToSlash(rel)
		if want != nil && rel != "." && !want(rel) {
			if entry.IsDir() {
				return fs.SkipDir
			}
			return nil
		}
		if !entry.Type().IsRegular() {
			return nil
		}
		info, err := entry.Info()
		if err != nil {
			return err
		}
		return r.copy(path.Join(name, rel), int64(info.Mode().Perm()), p)
	})
}
