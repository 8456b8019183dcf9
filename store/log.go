package store

import (
	"errors"
	"fmt"
)

// logWriter appends transactions to the open segment. Only the leader of the
// commit queue uses it.
type logWriter struct {
	disk    *disk
	account objectID
	name    fileName
	salt    uint32
	file    File  // nil until something is written
	parked  bool  // file was closed, for a while
	linked  bool  // the directory was synced since the file was made
	end     int64 // where the next record goes
	written int64 // where buf goes
	synced  int64 // what is durable

	// begin tells the manifest that the first n bytes are durable, so that the
	// file is missed if it is gone. It is called before anyone may rely on them,
	// and nil if the manifest that will list the file says so.
	begin func(n int64) error

	buf []byte
	enc encoder

	// unsynced are the transactions after synced that were answered before
	// their sync: they have to be written again if the sync fails.
	unsynced      [][]entry
	unsyncedBytes int64
}

// entry is a record on its way into the log.
type entry struct {
	rec  record
	body *spool // nil if it has none
	at   place  // where it went
}

// Bounds of what the writer keeps in memory.
const (
	flushAt    = 1 << 20 // bytes in buf before they are written
	keepBuf    = 64 << 10
	copyBlock  = 256 << 10
	spoolBlock = 64 << 10 // of a message that goes through a file
)

func newLogWriter(d *disk, account objectID, name fileName) *logWriter {
	return &logWriter{disk: d, account: account, name: name, salt: uint32(randomUint64()), end: headerLen}
}

// append encodes a transaction and its commit mark. What does not fit into the
// buffer is written at once, the rest by flush.
func (w *logWriter) append(entries []entry) error {
	if err := w.create(); err != nil {
		return err
	}
	start := w.end
	for i := range entries {
		e := &entries[i]
		e.at = place{seg: w.name.seq, off: w.end}
		if e.body != nil {
			e.at.body = e.body.size
		}
		if err := w.appendRecord(e.rec, e.body); err != nil {
			return err
		}
	}
	return w.appendRecord(&recCommit{durable: w.synced, start: start}, nil)
}

// create makes the file, at the first write: who only reads leaves none behind.
func (w *logWriter) create() error {
	if w.file != nil {
		return nil
	}
	if w.parked {
		return w.unpark()
	}
	f, err := w.disk.fs.Create(w.disk.path(w.name.String()))
	if err != nil {
		return fmt.Errorf("create segment: %w", err)
	}
	w.file = f
	h := fileHeader{account: w.account, name: w.name, salt: w.salt}
	w.buf = append(w.buf, h.encode(logMagic)...)
	return w.disk.fail("segment.created")
}

// begunWith makes the file at once, which shows whether the disk still works, and
// makes transactions durable that were written elsewhere in vain.
func (w *logWriter) begunWith(all [][]entry) error {
	if err := w.create(); err != nil {
		return err
	}
	for _, entries := range all {
		if err := w.append(entries); err != nil {
			return err
		}
	}
	return w.sync()
}

func (w *logWriter) appendRecord(r record, body *spool) error {
	w.enc.buf = w.enc.buf[:0]
	r.encode(&w.enc)
	return w.appendRaw(r.kind(), w.enc.buf, body)
}

// appendRaw appends a record whose head is encoded.
func (w *logWriter) appendRaw(kind recordType, head []byte, body *spool) error {
	size := frameLen + int64(len(head))
	var bodyLen int64
	var bodySum uint32
	if body != nil {
		bodyLen, bodySum = body.size, body.sum
	}
	w.buf = appendFrame(w.buf, w.salt, w.end, kind, head, bodyLen, bodySum)
	if body != nil {
		if err := w.appendBody(body); err != nil {
			return err
		}
	}
	w.buf = append(w.buf, padding(size+bodyLen)...)
	w.end += align(size + bodyLen)
	if len(w.buf) >= flushAt {
		return w.flush()
	}
	return nil
}

func (w *logWriter) appendBody(body *spool) error {
	if body.file == nil {
		w.buf = append(w.buf, body.mem...)
		return nil
	}
	// What is large goes around the buffer.
	if err := w.flush(); err != nil {
		return err
	}
	block := make([]byte, min(spoolBlock, body.size))
	for off := int64(0); off < body.size; {
		b := block[:min(spoolBlock, body.size-off)]
		if err := readFull(body.file, b, body.at+off); err != nil {
			return fmt.Errorf("read spooled message: %w", err)
		}
		if err := w.write(b); err != nil {
			return err
		}
		off += int64(len(b))
	}
	return nil
}

// flush writes what is buffered.
func (w *logWriter) flush() error {
	if len(w.buf) == 0 {
		return nil
	}
	if err := w.write(w.buf); err != nil {
		return err
	}
	w.buf = w.buf[:0]
	if cap(w.buf) > keepBuf {
		w.buf = nil
	}
	return nil
}

// write writes behind what was written.
func (w *logWriter) write(b []byte) error {
	defer w.disk.pending.end(w.disk.pending.begin())
	if err := w.disk.fail("commit.write"); err != nil {
		return err
	}
	if err := writeAll(w.file, b, w.written); err != nil {
		return fmt.Errorf("write segment: %w", err)
	}
	w.written += int64(len(b))
	return w.disk.fail("commit.written")
}

// sync makes all that was appended durable.
func (w *logWriter) sync() error {
	if err := w.flush(); err != nil {
		return err
	}
	if w.file == nil || w.synced == w.end {
		return nil
	}
	if err := w.disk.sync(w.file); err != nil {
		return fmt.Errorf("sync segment: %w", err)
	}
	if !w.linked {
		if err := w.disk.syncNames(); err != nil {
			return fmt.Errorf("sync directory: %w", err)
		}
		if w.begin != nil {
			if err := w.begin(w.end); err != nil {
				return err
			}
		}
		w.linked = true
	}
	w.synced = w.end
	w.unsynced, w.unsyncedBytes = nil, 0
	return w.disk.fail("commit.synced")
}

// begun says whether there is a file.
func (w *logWriter) begun() bool { return w.file != nil || w.parked }

// park closes the file, which is synced, until the next write.
func (w *logWriter) park() error {
	f := w.file
	w.file, w.parked = nil, true
	return f.Close()
}

func (w *logWriter) unpark() error {
	f, err := w.disk.fs.Reopen(w.disk.path(w.name.String()))
	if err != nil {
		return fmt.Errorf("reopen segment: %w", err)
	}
	w.file, w.parked = f, false
	return nil
}

// entry is what a manifest says of the segment while it is open.
func (w *logWriter) entry() segmentEntry {
	return segmentEntry{Name: w.name.String(), Open: true, Begun: w.synced}
}

// keep remembers a transaction that is answered before its sync.
func (w *logWriter) keep(entries []entry, size int64) {
	w.unsynced = append(w.unsynced, entries)
	w.unsyncedBytes += size
}

// close gives the file back. What was not synced may be lost.
func (w *logWriter) close() error {
	if w.file == nil {
		return nil
	}
	return errors.Join(w.file.Close())
}
