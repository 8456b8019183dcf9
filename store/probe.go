package store

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"sync"
)

// probePrefix begins the name of the file that ProbeVolumes writes in the root of a
// volume; the backend's name follows.
const probePrefix = ".roost-probe-"

// errProbing says that the disk has not answered the probe before.
var errProbing = errors.New("the last probe has not come to an end")

// VolumeIDs are the ids of the volumes of the Options, in that order. An error
// says that one of them is not there.
func (s *Store) VolumeIDs() ([]string, error) {
	ids := make([]string, 0, len(s.options.Volumes))
	for _, root := range s.options.Volumes {
		id, err := volumeID(s.options.FS, root)
		if err != nil {
			return nil, fmt.Errorf("volume %s is not there: %w", root, err)
		}
		ids = append(ids, id)
	}
	return ids, nil
}

// ProbeVolumes looks whether each volume is there and takes writes: it reads the
// marker, writes a small file, and syncs it. It returns when ctx ends, whatever the disks
// do; of a volume that has not answered, the next probe says so at once.
func (s *Store) ProbeVolumes(ctx context.Context) error {
	errs := make(chan error, len(s.options.Volumes))
	for _, root := range s.options.Volumes {
		go func() {
			if err := s.probes.once(root, func() error { return s.probe(root) }); err != nil {
				errs <- fmt.Errorf("volume %s: %w", root, err)
				return
			}
			errs <- nil
		}()
	}
	var failed []error
	for range s.options.Volumes {
		select {
		case err := <-errs:
			failed = append(failed, err)
		case <-ctx.Done():
			return errors.Join(append(failed, fmt.Errorf("a volume does not answer: %w", context.Cause(ctx)))...)
		}
	}
	return errors.Join(failed...)
}

func (s *Store) probe(root string) error {
	if _, err := volumeID(s.options.FS, root); err != nil {
		return err
	}
	d := disk{fs: s.options.FS, dir: root}
	name := d.path(probePrefix + filepath.Base("/"+s.options.Holder))
	if err := d.fs.Remove(name); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if err := d.writeNew(name, []byte(s.now().UTC().String()+"\n")); err != nil {
		return err
	}
	return d.fs.Remove(name)
}

// probes keeps apart what works on the same volume.
type probes struct {
	mu   sync.Mutex
	busy map[string]bool // by root
}

// once does it unless it is being done.
func (p *probes) once(root string, do func() error) error {
	p.mu.Lock()
	if p.busy[root] {
		p.mu.Unlock()
		return errProbing
	}
	if p.busy == nil {
		p.busy = map[string]bool{}
	}
	p.busy[root] = true
	p.mu.Unlock()
	defer func() {
		p.mu.Lock()
		defer p.mu.Unlock()
		delete(p.busy, root)
	}()
	return do()
}
