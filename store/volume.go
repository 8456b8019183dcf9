package store

import (
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"strings"
)

// volumeMarker names the file that marks the root of a filesystem as one that
// holds mail. An unmounted filesystem lacks it, and must not look like empty
// mailboxes.
const volumeMarker = ".roost-volume"

const (
	volumeMagic = "roost-volume 1 "
	maxMarker   = 1 << 10
)

// InitVolume marks dir, which must exist, as a root of mail and returns its id.
// A marker that is there already stays.
func InitVolume(dir string) (id string, err error) {
	if id, err := VolumeID(dir); err == nil || !errors.Is(err, fs.ErrNotExist) {
		return id, err
	}
	id = newObjectID().String()
	d := disk{fs: OS{}, dir: dir}
	if err := d.writeNew(d.path(volumeMarker), []byte(volumeMagic+id+"\n")); err != nil {
		return "", err
	}
	return id, d.fs.SyncDir(dir)
}

// VolumeID reads the marker of dir.
func VolumeID(dir string) (string, error) { return volumeID(OS{}, dir) }

func volumeID(fs FS, dir string) (string, error) {
	d := disk{fs: fs, dir: dir}
	b, err := d.readAll(d.path(volumeMarker), maxMarker)
	if err != nil {
		return "", err
	}
	id, is := strings.CutPrefix(strings.TrimSpace(string(b)), volumeMagic)
	if _, err := parseObjectID(id); !is || err != nil {
		return "", fmt.Errorf("%s in %s: %w", volumeMarker, dir, errFormat)
	}
	return id, nil
}

// checkVolumes refuses directories outside the configured volumes, or on one
// that is not mounted. It returns the ballast of the volume.
func (s *Store) checkVolumes(dir string) (*ballast, error) {
	if len(s.options.Volumes) == 0 {
		return nil, nil
	}
	for _, root := range s.options.Volumes {
		root, err := filepath.Abs(root)
		if err != nil {
			return nil, err
		}
		if rel, err := filepath.Rel(root, dir); err != nil || !filepath.IsLocal(rel) {
			continue
		}
		if _, err := volumeID(s.options.FS, root); err != nil {
			return nil, fmt.Errorf("volume %s is not there: %w", root, err)
		}
		b := s.ballasts[root]
		b.prepare()
		return b, nil
	}
	return nil, fmt.Errorf("%s is on none of the configured volumes", dir)
}
