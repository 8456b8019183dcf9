package store

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
)

// A log segment and a table file are a file header and records, one after the
// other, each at a multiple of recordAlign:
//
//	 0  u32  length of the head
//	 4  u32  CRC-32C of: salt of the file (u32), offset of the record (u64), bytes 8 to 32, head
//	 8  u8   type
//	 9  u8   flags of the format, none known yet
//	10  u16  zero
//	12  u32  CRC-32C of the body
//	16  u64  length of the body
//	24  u64  zero
//	32  head, then body, then zeros up to recordAlign
//
// The head says all but a message's content, which is the body. Whoever reads
// heads only can skip bodies unread. As the checksum covers salt and offset, a
// record that is copied inside a message is no record.
const (
	frameLen    = 32
	recordAlign = 8
	headerLen   = 64
	maxHead     = 1 << 30

	formatVersion = 1
	logMagic      = "RoostLog"
	tableMagic    = "RoostTab"
	digestMagic   = "RoostDig"
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

func checksum(b []byte) uint32 { return crc32.Checksum(b, castagnoli) }

// errDamaged says that bytes do not pass their checksum.
var errDamaged = errors.New("damaged")

// frame is the fixed part of a record.
type frame struct {
	kind    recordType
	head    int64 // lengths
	body    int64
	headSum uint32
	bodySum uint32
	newer   bool // it has bits that mean nothing yet
}

// known is an error if a frame that passed its checksum is a newer program's.
func (f *frame) known() error {
	if f.newer {
		return fmt.Errorf("record with unknown flags: %w", errNewer)
	}
	return nil
}

// size is how many bytes the record takes in the file.
func (f *frame) size() int64 { return align(frameLen + f.head + f.body) }

func align(n int64) int64 { return (n + recordAlign - 1) &^ (recordAlign - 1) }

// frameSum is the checksum of a record's fixed part and head.
func frameSum(salt uint32, off int64, fixed, head []byte) uint32 {
	var place [12]byte
	binary.LittleEndian.PutUint32(place[:], salt)
	binary.LittleEndian.PutUint64(place[4:], uint64(off))
	sum := crc32.Update(0, castagnoli, place[:])
	sum = crc32.Update(sum, castagnoli, fixed[8:frameLen])
	return crc32.Update(sum, castagnoli, head)
}

// appendFrame appends a record without its body and padding. off is where the
// record begins in the file.
func appendFrame(dst []byte, salt uint32, off int64, kind recordType, head []byte, bodyLen int64, bodySum uint32) []byte {
	var fixed [frameLen]byte
	le := binary.LittleEndian
	le.PutUint32(fixed[0:], uint32(len(head)))
	fixed[8] = byte(kind)
	le.PutUint32(fixed[12:], bodySum)
	le.PutUint64(fixed[16:], uint64(bodyLen))
	le.PutUint32(fixed[4:], frameSum(salt, off, fixed[:], head))
	dst = append(dst, fixed[:]...)
	return append(dst, head...)
}

// padding is what follows a record of n bytes.
func padding(n int64) []byte {
	var zeros [recordAlign]byte
	return zeros[:align(n)-n]
}

// parseFrame reads the fixed part. It only checks that the record fits into
// room bytes.
func parseFrame(fixed []byte, room int64) (frame, error) {
	le := binary.LittleEndian
	f := frame{
		kind:    recordType(fixed[8]),
		head:    int64(le.Uint32(fixed)),
		headSum: le.Uint32(fixed[4:]),
		bodySum: le.Uint32(fixed[12:]),
		body:    int64(le.Uint64(fixed[16:])),
		newer:   fixed[9]|fixed[10]|fixed[11] != 0 || le.Uint64(fixed[24:]) != 0,
	}
	if f.head > maxHead || f.body < 0 || f.body > room || f.size() > room {
		return f, errDamaged
	}
	return f, nil
}

// readRecord reads fixed part and head of the record at off in a file of size
// bytes, and checks them. buf is used if it is large enough.
func readRecord(r io.ReaderAt, salt uint32, off, size int64, buf []byte) (frame, []byte, error) {
	if size-off < frameLen {
		return frame{}, nil, errDamaged
	}
	if cap(buf) < minRead {
		buf = make([]byte, minRead)
	}
	buf = buf[:min(int64(cap(buf)), size-off)]
	if err := readFull(r, buf, off); err != nil {
		return frame{}, nil, err
	}
	f, err := parseFrame(buf, size-off)
	if err != nil {
		return f, nil, err
	}
	if need := frameLen + f.head; need > int64(len(buf)) {
		whole := make([]byte, need)
		copy(whole, buf)
		if err := readFull(r, whole[len(buf):], off+int64(len(buf))); err != nil {
			return f, nil, err
		}
		buf = whole
	}
	head := buf[frameLen : frameLen+f.head]
	if frameSum(salt, off, buf, head) != f.headSum {
		return f, nil, errDamaged
	}
	return f, head, f.known()
}

// minRead is what is read at once in the hope of a whole head.
const minRead = 4096

// readFull reads all of b; a file that ends before is damaged.
func readFull(r io.ReaderAt, b []byte, off int64) error {
	n, err := r.ReadAt(b, off)
	switch {
	case n == len(b):
		return nil
	case err == nil || errors.Is(err, io.EOF):
		return errDamaged
	}
	return err
}

// fileHeader starts every segment and table file:
//
//	 0  8    magic
//	 8  u16  version
//	10  6    zero
//	16  16   account id
//	32  u64  epoch
//	40  u64  incarnation
//	48  u64  sequence number
//	56  u32  salt
//	60  u32  CRC-32C of bytes 0 to 60
type fileHeader struct {
	account objectID
	name    fileName
	salt    uint32
}

func (h *fileHeader) encode(magic string) []byte {
	b := make([]byte, headerLen)
	le := binary.LittleEndian
	copy(b, magic)
	le.PutUint16(b[8:], formatVersion)
	copy(b[16:], h.account[:])
	le.PutUint64(b[32:], h.name.epoch)
	le.PutUint64(b[40:], h.name.incarnation)
	le.PutUint64(b[48:], uint64(h.name.seq))
	le.PutUint32(b[56:], h.salt)
	le.PutUint32(b[60:], checksum(b[:60]))
	return b
}

// readHeader reads a file's header and checks that the file is what its name says.
func readHeader(r io.ReaderAt, magic string, account objectID, name fileName) (fileHeader, error) {
	b := make([]byte, headerLen)
	if err := readFull(r, b, 0); err != nil {
		return fileHeader{}, fmt.Errorf("header of %s: %w", name, err)
	}
	le := binary.LittleEndian
	if string(b[:8]) != magic || le.Uint32(b[60:]) != checksum(b[:60]) {
		return fileHeader{}, fmt.Errorf("header of %s: %w", name, errDamaged)
	}
	if v := le.Uint16(b[8:]); v > formatVersion {
		return fileHeader{}, fmt.Errorf("%s has format version %d, this program knows up to %d: it was written by a newer Roost", name, v, formatVersion)
	}
	h := fileHeader{
		name: fileName{kind: name.kind, epoch: le.Uint64(b[32:]), incarnation: le.Uint64(b[40:]), seq: uint32(le.Uint64(b[48:]))},
		salt: le.Uint32(b[56:]),
	}
	copy(h.account[:], b[16:])
	if h.account != account || h.name != name {
		return h, fmt.Errorf("%s belongs elsewhere: %w", name, errDamaged)
	}
	return h, nil
}
