package store

import (
	"fmt"
	"io/fs"
	"path/filepath"
)

// Find calls found with each directory below root that holds an account. It does
// not look for others inside of one. An error of found ends it. What can't be read
// is an error.
func Find(root string, found func(dir string) error) error {
	return filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil || !d.IsDir() {
			return err
		}
		entries, err := OS{}.List(path)
		if err != nil {
			return err
		}
		for _, e := range entries {
			if _, is := parseManifestName(e.Name()); is && e.Type().IsRegular() {
				if err := found(path); err != nil {
					return err
				}
				return fs.SkipDir
			}
		}
		return nil
	})
}

// UserOf is whose mail the directory holds.
func UserOf(dir string) (string, error) {
	m, err := (&disk{fs: OS{}, dir: dir}).newestManifest()
	if err != nil {
		return "", err
	}
	if m == nil {
		return "", fmt.Errorf("%s %w", dir, errNoAccount)
	}
	return m.User, nil
}
