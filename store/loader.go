package store

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
)

// loader reads what a manifest lists, without changing anything.
type loader struct {
	disk  *disk
	log   logger
	user  string
	id    objectID
	st    *state
	names map[uint32]fileName
	tails []segmentTail // from the place of replay on
	bad   []string      // what was found damaged
}

type segmentTail struct {
	name   fileName
	reader *segmentReader
	from   int64
	found  *scanned
}

// load reads the state of the account and the log behind it. It fails, with errNewer, if
// only a newer program knows what stands there.
func (l *loader) load(m *manifest) error {
	err := l.read(m)
	if errors.Is(err, errNewer) {
		return fmt.Errorf("%w; the account was last opened by version %s, so this node has to be upgraded", err, cmp.Or(m.Version, "(not noted)"))
	}
	return err
}

func (l *loader) read(m *manifest) (err error) {
	l.user = m.User
	if l.id, err = parseObjectID(m.Account); err != nil {
		return err
	}
	if l.names, err = m.fileNames(); err != nil {
		return err
	}
	l.st = newState()
	if m.State != nil {
		tables := &account{disk: *l.disk, id: l.id, names: l.names}
		head, err := tables.readTableRecord(*m.State, typeState)
		if err != nil {
			return err
		}
		if l.st, err = decodeState(&decoder{buf: head}); err != nil {
			return fmt.Errorf("folded state: %w", err)
		}
	}
	if err := l.lookFor(m.Segments[:m.covered()]); err != nil {
		return err
	}
	return l.scanTails(m)
}

// lookFor tells of segments that are missing though there is no need to read
// them now: the messages in them are lost, and the others are served.
func (l *loader) lookFor(segments []segmentEntry) error {
	if len(segments) == 0 {
		return nil
	}
	entries, err := l.disk.fs.List(l.disk.dir)
	if err != nil {
		return err
	}
	there := make(map[string]bool, len(entries))
	for _, e := range entries {
		there[e.Name()] = true
	}
	for _, s := range segments {
		if !there[s.Name] {
			l.damaged("%s is missing", s.Name)
		}
	}
	return nil
}

// scanTails scans the segments from the place of replay on. The segment that it
// names need not be there any more: if nothing was written to it, it is left out.
func (l *loader) scanTails(m *manifest) error {
	for _, s := range m.Segments[m.covered():] {
		name, err := parseFileName(s.Name)
		if err != nil {
			return err
		}
		from := int64(headerLen)
		if name.seq == m.Replay.Seq {
			from = max(from, m.Replay.Off)
		}
		if err := l.scanTail(s, name, from); err != nil {
			return err
		}
	}
	return nil
}

func (l *loader) scanTail(s segmentEntry, name fileName, from int64) error {
	r, err := l.disk.openSegment(l.id, name, s.Sealed)
	if s.Open && s.Begun == 0 && (errors.Is(err, fs.ErrNotExist) || errors.Is(err, errDamaged)) {
		return nil // it was never written, or lost before its first sync
	}
	if err == nil && r.size < max(s.least(), from) {
		err = errors.Join(fmt.Errorf("%s has %d bytes, not %d: %w", name, r.size, max(s.least(), from), errDamaged), r.file.Close())
	}
	if err != nil {
		return fmt.Errorf("mail was written to segment %s, and it can't be read: %w", name, err)
	}
	found, err := r.scan(from)
	if err != nil {
		return errors.Join(fmt.Errorf("read %s: %w", name, err), r.file.Close())
	}
	for _, d := range found.damage {
		l.damaged("%s: bytes %d to %d are damaged", name, d.from, d.to)
	}
	if !s.Open && found.torn > 0 {
		l.damaged("%s: the last %d bytes before its seal are damaged", name, found.torn)
	}
	if found.end < s.Begun {
		l.damaged("%s: of the first %d bytes, which were synced, those from %d on are damaged", name, s.Begun, found.end)
	}
	l.tails = append(l.tails, segmentTail{name: name, reader: r, from: from, found: found})
	return nil
}

// logger is the part of slog.Logger that the loader needs.
type logger interface {
	Error(msg string, args ...any)
}

func (l *loader) damaged(format string, args ...any) {
	what := fmt.Sprintf(format, args...)
	l.bad = append(l.bad, what)
	l.log.Error("log is damaged; what can be read is served", "user", l.user, "dir", l.disk.dir, "what", what)
}

// apply brings the state up to the end of the tails, moved transactions last.
func (l *loader) apply(a *account, moved []scannedTxn) {
	for i := range l.tails {
		t := &l.tails[i]
		for j := range t.found.txns {
			l.applyTxn(&t.found.txns[j], t.name.seq, a)
		}
	}
	for i := range moved {
		l.applyTxn(&moved[i], a.writer.name.seq, a)
	}
}

func (l *loader) applyTxn(t *scannedTxn, seg uint32, a *account) {
	for _, r := range t.records {
		a.tail.records++
		a.tail.bytes += r.frame.size()
		err := r.rec.apply(l.st, place{seg: seg, off: r.off, body: r.frame.body})
		if err != nil && !errors.Is(err, errGone) {
			l.damaged("segment %d, offset %d: %v", seg, r.off, err)
			a.unapplied = a.unapplied || errors.Is(err, errTable)
		}
	}
}
