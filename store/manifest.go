package store

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"strconv"
	"strings"
)

// manifest lists all that exists of an account. m.<n> is one line
// "roost-manifest <version> <CRC-32C of the rest, hex>" and then JSON. Fields that a version
// does not know are passed over, and are not in the manifests that it writes: it can't keep
// true what it doesn't understand. What must outlive that needs another format version.
type manifest struct {
	Number      uint64 `json:"number"`
	Account     string `json:"account"`
	User        string `json:"user"`
	Epoch       uint64 `json:"epoch"`
	Claimed     uint64 `json:"claimed,omitempty"` // the last epoch that a coordinator gave; without one epochs go on from there
	Incarnation string `json:"incarnation"`
	Holder      string `json:"holder"`             // "" after a clean close or a takeover
	Version     string `json:"version,omitempty"`  // of the program that opened the account last
	Clean       bool   `json:"clean"`              // closed: every segment is sealed and synced
	TookOver    bool   `json:"tookOver,omitempty"` // the first of its epoch, and what it replaced was not clean

	Segments []segmentEntry `json:"segments"`
	Tables   []string       `json:"tables"`
	Digests  []digestEntry  `json:"digests,omitempty"`
	State    *tableRef      `json:"state,omitempty"` // none before the first fold
	Replay   replayFrom     `json:"replay"`          // what State covers

	NextSeq     uint32 `json:"nextSeq"`
	ModSeqLimit uint64 `json:"modseqLimit"` // modification sequences in use are below
	ModSeqFloor uint64 `json:"modseqFloor"`
}

// segmentEntry is a segment. An open one has no sealed length. It need not exist
// while Begun is 0; from then on it must have that many bytes at least.
type segmentEntry struct {
	Name   string `json:"name"`
	Sealed int64  `json:"sealed,omitempty"`
	Open   bool   `json:"open,omitempty"`
	Begun  int64  `json:"begun,omitempty"` // of an open one: what was synced when this was written
}

// least is how many bytes the file must have.
func (s *segmentEntry) least() int64 { return max(s.Sealed, s.Begun) }

// tableRef is a record in a table file.
type tableRef struct {
	Seq uint32 `json:"seq"` // of the file
	Off int64  `json:"off"`
}

// replayFrom is where the records begin that State does not hold.
type replayFrom struct {
	Seq uint32 `json:"seq"`
	Off int64  `json:"off"`
}

// covered counts the segments that the folded state holds wholly: they come first.
func (m *manifest) covered() int {
	for i, s := range m.Segments {
		if name, err := parseFileName(s.Name); err != nil || name.seq >= m.Replay.Seq {
			return i
		}
	}
	return len(m.Segments)
}

const (
	manifestMagic = "roost-manifest"
	maxManifest   = 64 << 20
)

func (m *manifest) encode() ([]byte, error) {
	body, err := json.MarshalIndent(m, "", " ")
	if err != nil {
		return nil, err
	}
	body = append(body, '\n')
	return append(fmt.Appendf(nil, "%s %d %08x\n", manifestMagic, formatVersion, checksum(body)), body...), nil
}

func decodeManifest(b []byte) (*manifest, error) {
	line, body, _ := bytes.Cut(b, []byte("\n"))
	fields := strings.Fields(string(line))
	if len(fields) != 3 || fields[0] != manifestMagic {
		return nil, fmt.Errorf("manifest: %w", errDamaged)
	}
	v, err := strconv.Atoi(fields[1])
	if err != nil || v < 1 {
		return nil, fmt.Errorf("manifest: format version %q: %w", fields[1], errDamaged)
	}
	if v > formatVersion {
		return nil, fmt.Errorf("manifest has format version %d, this program knows up to %d: it was written by a newer Roost", v, formatVersion)
	}
	if fields[2] != fmt.Sprintf("%08x", checksum(body)) {
		return nil, fmt.Errorf("manifest: %w", errDamaged)
	}
	m := &manifest{}
	if err := json.Unmarshal(body, m); err != nil {
		return nil, fmt.Errorf("manifest: %w: %w", errFormat, err)
	}
	return m, nil
}

// fileNames parses the names of segments and tables, by sequence number.
func (m *manifest) fileNames() (map[uint32]fileName, error) {
	names := make(map[uint32]fileName, len(m.Segments)+len(m.Tables))
	add := func(s, kind string) error {
		n, err := parseFileName(s)
		if err != nil {
			return err
		}
		if _, twice := names[n.seq]; twice || n.kind != kind || n.seq >= m.NextSeq {
			return fmt.Errorf("%w: %s in manifest", errFormat, s)
		}
		names[n.seq] = n
		return nil
	}
	for i, s := range m.Segments {
		if s.Open && (i != len(m.Segments)-1 || s.Sealed != 0 || s.Begun < 0) || !s.Open && s.Sealed < headerLen {
			return nil, fmt.Errorf("%w: segment %s in manifest", errFormat, s.Name)
		}
		if err := add(s.Name, kindLog); err != nil {
			return nil, err
		}
	}
	for _, s := range m.Tables {
		if err := add(s, kindTable); err != nil {
			return nil, err
		}
	}
	for _, s := range m.Digests {
		if err := add(s.Name, kindDigest); err != nil {
			return nil, err
		}
	}
	return names, nil
}

// errFenced says that someone else has installed a manifest: the account is theirs.
var errFenced = errors.New("another process has taken over the account")

// installManifest makes m the newest manifest, as one more than its number was.
func (d *disk) installManifest(m *manifest) error {
	if err := d.fence.check(); err != nil {
		return err
	}
	defer d.pending.end(d.pending.begin())
	m.Number++
	b, err := m.encode()
	if err != nil {
		return err
	}
	temp := d.path(fmt.Sprintf("%s%016x", tempPrefix, randomUint64()))
	if err := d.withRoom(func() error { return d.writeNew(temp, b) }); err != nil {
		return fmt.Errorf("write manifest: %w", err)
	}
	if err := d.fail("manifest.written"); err != nil {
		return err
	}
	if err = d.fence.check(); err == nil {
		err = d.withRoom(func() error { return d.fs.Link(temp, d.path(manifestName(m.Number))) })
	}
	if errors.Is(err, fs.ErrExist) && d.isOurs(m.Number, b) {
		err = nil // a repeated request of a network file system
	}
	if errors.Is(err, fs.ErrExist) {
		err = errFenced
	}
	if err := errors.Join(err, d.fail("manifest.linked"), d.fs.Remove(temp)); err != nil {
		return fmt.Errorf("install manifest %d: %w", m.Number, err)
	}
	if err := d.syncNames(); err != nil {
		return fmt.Errorf("sync directory: %w", err)
	}
	if err := d.overtaken(m.Number); err != nil {
		return err
	}
	return d.fail("manifest.installed")
}

// overtaken finds out whether others went on while this process was stopped for
// so long that the manifest which was in its way is swept.
func (d *disk) overtaken(number uint64) error {
	entries, err := d.fs.List(d.dir)
	if err != nil {
		return err
	}
	for _, e := range entries {
		if n, is := parseManifestName(e.Name()); is && n > number {
			return errFenced
		}
	}
	return nil
}

func (d *disk) isOurs(number uint64, want []byte) bool {
	got, err := d.readAll(d.path(manifestName(number)), maxManifest)
	return err == nil && bytes.Equal(got, want)
}

func manifestName(number uint64) string { return manifestPrefix + strconv.FormatUint(number, 10) }

func parseManifestName(s string) (uint64, bool) {
	digits, is := strings.CutPrefix(s, manifestPrefix)
	n, err := strconv.ParseUint(digits, 10, 64)
	return n, is && err == nil && manifestName(n) == s
}

var errNoManifest = errors.New("there is mail, but no manifest")

var errNoAccount = errors.New("holds no account")

// newestManifest reads the manifest with the highest number. It returns nil for
// an account that does not exist yet.
func (d *disk) newestManifest() (*manifest, error) {
	entries, err := d.fs.List(d.dir)
	if err != nil {
		return nil, err
	}
	newest, found, others := uint64(0), false, false
	for _, e := range entries {
		if n, is := parseManifestName(e.Name()); is {
			newest = max(newest, n)
			found = true
		}
		if _, err := parseFileName(e.Name()); err == nil {
			others = true
		}
	}
	switch {
	case !found && others:
		return nil, fmt.Errorf("%s: %w", d.dir, errNoManifest)
	case !found:
		return nil, nil
	}
	return d.readManifest(newest)
}

// readManifest reads m.<number>.
func (d *disk) readManifest(number uint64) (*manifest, error) {
	b, err := d.readAll(d.path(manifestName(number)), maxManifest)
	if err != nil {
		return nil, err
	}
	m, err := decodeManifest(b)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", d.path(manifestName(number)), err)
	}
	if m.Number != number {
		return nil, fmt.Errorf("%s: %w: it calls itself %d", d.path(manifestName(number)), errFormat, m.Number)
	}
	return m, nil
}

// disk is an account's directory.
type disk struct {
	fs        FS
	dir       string
	failPoint func(string) error
	pins      *pins
	ballast   *ballast
	codec     *codec
	fence     *fence   // asked before anything is changed; nil for tools
	pending   *pending // nil likewise

	volume *syncVolume // nil: each file is synced on its own
}

func (d *disk) path(name string) string { return filepath.Join(d.dir, name) }

// fail lets tests end the process, or the operation, between two steps.
func (d *disk) fail(step string) error {
	if d.failPoint == nil {
		return nil
	}
	return d.failPoint(step)
}

// sync makes a file durable, together with those of other accounts if many wait.
func (d *disk) sync(f syncable) error {
	defer d.pending.end(d.pending.begin())
	if d.volume == nil {
		return f.Sync()
	}
	return d.volume.sync(f)
}

// syncNames makes the names in the directory durable, likewise.
func (d *disk) syncNames() error { return d.sync(directory{d.fs, d.dir}) }

// directory is one whose names are to be synced.
type directory struct {
	fs  FS
	dir string
}

func (d directory) Sync() error { return d.fs.SyncDir(d.dir) }

// writeNew writes a new file and syncs it. If that fails there is none.
func (d *disk) writeNew(path string, b []byte) error {
	f, err := d.fs.Create(path)
	if err != nil {
		return err
	}
	err = writeAll(f, b, 0)
	if err == nil {
		err = d.sync(f)
	}
	if err = errors.Join(err, f.Close()); err != nil {
		err = errors.Join(err, d.fs.Remove(path))
	}
	return err
}

func (d *disk) readAll(path string, limit int64) ([]byte, error) {
	f, err := d.fs.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close() //nolint:errcheck // only read
	size, err := f.Size()
	if err != nil {
		return nil, err
	}
	if size > limit {
		return nil, fmt.Errorf("%s is too large", path)
	}
	b := make([]byte, size)
	return b, readFull(f, b, 0)
}

func writeAll(f File, b []byte, off int64) error {
	n, err := f.WriteAt(b, off)
	if err == nil && n < len(b) {
		err = errors.New("short write")
	}
	return err
}
