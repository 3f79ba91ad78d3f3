package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
)

// folder is where a sandbox keeps everything.
type folder struct {
	path string
	own  bool // temporary: removed in the end
	// open files are closed with the folder.
	open []*os.File
}

// openFolder makes the folder; path "" is a temporary one.
func openFolder(path string) (*folder, error) {
	if path == "" {
		path, err := os.MkdirTemp("", "entrust-sandbox-")
		if err != nil {
			return nil, fmt.Errorf("making a folder: %w", err)
		}
		return &folder{path: path, own: true}, nil
	}
	path, err := filepath.Abs(path)
	if err == nil {
		err = os.MkdirAll(path, 0o700)
	}
	if err != nil {
		return nil, fmt.Errorf("making the folder: %w", err)
	}
	f := &folder{path: path}
	taken, err := f.file("lock")
	if err != nil {
		return nil, err
	}
	if err := lock(taken); err != nil {
		return nil, errors.Join(fmt.Errorf("another sandbox runs in %s: %w", path, err), f.close())
	}
	return f, nil
}

// file opens a file of the folder for appending. It is closed with the folder.
func (f *folder) file(name string) (*os.File, error) {
	file, err := os.OpenFile(filepath.Join(f.path, name), os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)
	if err != nil {
		return nil, err
	}
	f.open = append(f.open, file)
	return file, nil
}

func (f *folder) close() error {
	var errs []error
	for _, file := range f.open {
		errs = append(errs, file.Close())
	}
	if f.own {
		errs = append(errs, os.RemoveAll(f.path))
	}
	return errors.Join(errs...)
}
