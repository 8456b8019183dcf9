package store

import (
	"errors"
	"fmt"
	"hash/crc32"
)

// segmentReader reads the records of one segment in order.
type segmentReader struct {
	file File
	salt uint32
	size int64 // of what counts: the sealed length, or all
	win  []byte
	at   int64 // where win lies in the file

	ahead int64 // how much is read at once, at least; never nothing
}

const scanWindow = 256 << 10

// scannedTxn is a transaction found in a segment.
type scannedTxn struct {
	records    []scannedRecord
	start, end int64
	durable    int64 // from its commit mark
}

type scannedRecord struct {
	rec   record
	frame frame
	off   int64
}

// scanned is what was found in a segment.
type scanned struct {
	txns   []scannedTxn
	end    int64    // of the last transaction
	damage []damage // that is followed by valid transactions
	torn   int64    // bytes at the end that are no transaction
}

// damage is a stretch of bytes that is no record.
type damage struct{ from, to int64 }

// durable is how far the segment is known to have been synced.
func (s *scanned) durable() int64 {
	var p int64
	for i := range s.txns {
		p = max(p, min(s.txns[i].durable, s.end))
	}
	return p
}

// peek shows n bytes at off.
func (r *segmentReader) peek(off, n int64) ([]byte, error) {
	if n < 0 || off+n > r.size {
		return nil, errDamaged
	}
	if off < r.at || off+n > r.at+int64(len(r.win)) {
		want := min(max(n, r.ahead), r.size-off)
		if int64(cap(r.win)) < want {
			r.win = make([]byte, want)
		}
		r.win, r.at = r.win[:want], off
		if err := readFull(r.file, r.win, off); err != nil {
			r.win = r.win[:0]
			return nil, err
		}
	}
	return r.win[off-r.at:][:n], nil
}

// record reads what stands at off. The head is valid until the next call.
func (r *segmentReader) record(off int64) (frame, []byte, error) {
	fixed, err := r.peek(off, frameLen)
	if err != nil {
		return frame{}, nil, err
	}
	f, err := parseFrame(fixed, r.size-off)
	if err != nil {
		return f, nil, err
	}
	b, err := r.peek(off, frameLen+f.head)
	if err != nil {
		return f, nil, err
	}
	head := b[frameLen:]
	if frameSum(r.salt, off, b, head) != f.headSum {
		return f, nil, errDamaged
	}
	return f, head, f.known()
}

// checkBody reads a record's body and compares its checksum.
func (r *segmentReader) checkBody(off int64, f frame) error {
	sum := uint32(0)
	from := off + frameLen + f.head
	for done := int64(0); done < f.body; {
		b, err := r.peek(from+done, min(scanWindow, f.body-done))
		if err != nil {
			return err
		}
		sum = crc32.Update(sum, castagnoli, b)
		done += int64(len(b))
	}
	if sum != f.bodySum {
		return errDamaged
	}
	return nil
}

// scan reads all transactions from off on. It fails only if the file can't be read, or is
// a newer program's, with errNewer; what is damaged is left out and told.
func (r *segmentReader) scan(off int64) (*scanned, error) {
	out := &scanned{end: off}
	var records []scannedRecord // since the last commit mark
	for off < r.size {
		f, head, err := r.record(off)
		if errors.Is(err, errDamaged) {
			next, err := r.resync(off + recordAlign)
			if err != nil {
				return nil, err
			}
			out.damage = append(out.damage, damage{off, next})
			off = next
			continue
		}
		if err != nil {
			return nil, err
		}
		start := off
		off += f.size()
		rec, err := decodeRecord(f.kind, head)
		if errors.Is(err, errNewer) { // it is whole, so it is no tear
			return nil, fmt.Errorf("at %d: %w", start, err)
		}
		if err != nil {
			out.damage = append(out.damage, damage{start, off})
			continue
		}
		if commit, is := rec.(*recCommit); is {
			out.commit(records, commit, off)
			records = nil
			continue
		}
		records = append(records, scannedRecord{rec: slim(rec), frame: f, off: start})
	}
	out.torn = r.size - out.end
	// Damage behind the last commit mark is a tear and no news.
	for len(out.damage) > 0 && out.damage[len(out.damage)-1].from >= out.end {
		out.damage = out.damage[:len(out.damage)-1]
	}
	return out, nil
}

// commit takes in the transaction that a commit mark ends, unless something of
// it is damaged.
func (s *scanned) commit(records []scannedRecord, mark *recCommit, end int64) {
	last := s.end
	s.end = end
	known := last // up to where damage is told already
	if n := len(s.damage); n > 0 {
		known = max(known, s.damage[n-1].to)
	}
	if mark.start < last || mark.start > end {
		s.damage = append(s.damage, damage{last, end})
		return
	}
	if known > mark.start {
		return
	}
	if known == last && mark.start > last { // bytes that no commit mark covers
		s.damage = append(s.damage, damage{last, mark.start})
	}
	for len(records) > 0 && records[0].off < mark.start { // of one whose commit mark is damaged
		records = records[1:]
	}
	s.txns = append(s.txns, scannedTxn{records: records, start: mark.start, end: end, durable: mark.durable})
}

// slim drops what a replay does not need and what aliases the window.
func slim(rec record) record {
	switch r := rec.(type) {
	case *recMessage:
		r.digest = nil
	case *recBlob:
		r.digest = nil
	}
	return rec
}

// resyncWork bounds the bytes that are summed while looking for a record, in
// multiples of the segment's size, and resyncHead the heads that count.
const (
	resyncWork = 4
	resyncHead = 1 << 20
)

// resync finds the next record from off on, or the end of the segment. Bytes of
// a message can look like records but not pass the checksum, so only time is at
// stake, and that is bounded.
func (r *segmentReader) resync(off int64) (int64, error) {
	work := r.size * resyncWork
	for ; off+frameLen <= r.size && work > 0; off += recordAlign {
		fixed, err := r.peek(off, frameLen)
		if err != nil {
			return 0, err
		}
		if !plausible(fixed) {
			continue
		}
		f, err := parseFrame(fixed, r.size-off)
		if err != nil || f.head > resyncHead {
			continue
		}
		work -= f.head
		if _, _, err = r.record(off); err == nil {
			return off, nil
		}
		if !errors.Is(err, errDamaged) {
			return 0, err
		}
	}
	return r.size, nil
}

// plausible sorts out most places that hold no record without summing.
func plausible(fixed []byte) bool {
	if fixed[8] == 0 || fixed[10]|fixed[11] != 0 {
		return false
	}
	for _, c := range fixed[24:frameLen] {
		if c != 0 {
			return false
		}
	}
	return true
}

// openSegment opens a segment or digest file and checks its header. sealed is its
// length, or 0 for all there is.
func (d *disk) openSegment(account objectID, name fileName, sealed int64) (*segmentReader, error) {
	f, err := d.pins.open(d, name.String())
	if err != nil {
		return nil, err
	}
	size, err := f.Size()
	if err != nil {
		return nil, errors.Join(err, f.Close())
	}
	if sealed > 0 && size < sealed {
		return nil, errors.Join(fmt.Errorf("%s has %d bytes, sealed at %d: %w", name, size, sealed, errDamaged), f.Close())
	}
	magic := logMagic
	if name.kind == kindDigest {
		magic = digestMagic
	}
	h, err := readHeader(f, magic, account, name)
	if err != nil {
		return nil, errors.Join(err, f.Close())
	}
	if sealed > 0 {
		size = sealed
	}
	return &segmentReader{file: f, salt: h.salt, size: size, ahead: scanWindow}, nil
}
