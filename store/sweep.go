package store

import (
	"fmt"
	"io/fs"
	"slices"
	"time"
)

// How long a file stays after the last manifest that lists it was replaced:
// readers may be about to open it, and a predecessor may not know yet. What an
// earlier epoch made and no manifest ever listed stays longer.
const (
	sweepAge    = 10 * time.Minute
	sweepAgeOld = 24 * time.Hour
	keptNewest  = 3
)

// sweep removes manifests replaced long ago, though not the newest three, and
// files that none of the others lists. Nothing breaks if it fails half-way.
func (d *disk) sweep(now time.Time, epoch uint64) error {
	entries, err := d.fs.List(d.dir)
	if err != nil {
		return err
	}
	infos := map[string]fs.FileInfo{}
	var numbers []uint64
	for _, e := range entries {
		info, err := e.Info()
		if err != nil {
			continue // removed meanwhile
		}
		infos[e.Name()] = info
		if n, is := parseManifestName(e.Name()); is {
			numbers = append(numbers, n)
		}
	}
	slices.Sort(numbers)
	listed := map[string]bool{}
	next := uint32(0) // files from this number on may be in the making
	var remove []string
	for i, n := range numbers {
		name := manifestName(n)
		if i < len(numbers)-keptNewest && now.Sub(infos[manifestName(numbers[i+1])].ModTime()) > sweepAge {
			remove = append(remove, name)
			continue
		}
		if next, err = d.addListed(listed, name); err != nil {
			return err
		}
	}
	for name, info := range infos {
		parsed, err := parseFileName(name)
		if err != nil || listed[name] || parsed.seq >= next {
			continue
		}
		age := sweepAge
		if parsed.epoch < epoch {
			age = sweepAgeOld
		}
		if now.Sub(info.ModTime()) > age {
			remove = append(remove, name)
		}
	}
	for _, name := range remove {
		if err := d.fs.Remove(d.path(name)); err != nil {
			return err
		}
	}
	return nil
}

// addListed adds what a manifest lists, and returns its NextSeq.
func (d *disk) addListed(listed map[string]bool, name string) (uint32, error) {
	b, err := d.readAll(d.path(name), maxManifest)
	if err != nil {
		return 0, err
	}
	m, err := decodeManifest(b)
	if err != nil {
		return 0, fmt.Errorf("%s: %w", name, err)
	}
	for _, s := range m.Segments {
		listed[s.Name] = true
	}
	for _, s := range m.Tables {
		listed[s] = true
	}
	for _, s := range m.Digests {
		listed[s.Name] = true
	}
	return m.NextSeq, nil
}
