package store

import (
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/roost-mail/roost/imap"
)

// errFormat says that bytes which passed their checksum do not make sense.
var errFormat = errors.New("invalid format")

// errNewer says that only a newer program knows what they mean. They are neither torn nor
// damaged: an account in which they stand in the log or the folded state is not opened, and
// nothing of it is cut off, dropped or repaired.
var errNewer = fmt.Errorf("%w: it was written by a newer Roost", errFormat)

// encoder appends values to buf.
type encoder struct{ buf []byte }

func (e *encoder) uint(v uint64)   { e.buf = binary.AppendUvarint(e.buf, v) }
func (e *encoder) int(v int64)     { e.buf = binary.AppendVarint(e.buf, v) }
func (e *encoder) string(s string) { e.uint(uint64(len(s))); e.buf = append(e.buf, s...) }
func (e *encoder) bytes(b []byte)  { e.uint(uint64(len(b))); e.buf = append(e.buf, b...) }
func (e *encoder) id(id objectID)  { e.buf = append(e.buf, id[:]...) }

func (e *encoder) bool(v bool) {
	if v {
		e.uint(1)
		return
	}
	e.uint(0)
}

// uids writes a set as the gaps between its ranges.
func (e *encoder) uids(set imap.UIDSet) {
	e.uint(uint64(len(set)))
	last := uint32(0)
	for _, r := range set {
		e.uint(uint64(r.Start - last))
		e.uint(uint64(r.Stop - r.Start))
		last = r.Stop
	}
}

// decoder takes values from buf. After its first error all values are zero, so
// that readers check err once. It allocates no more than a small multiple of
// what buf holds.
type decoder struct {
	buf []byte
	err error
}

func (d *decoder) fail() { d.failAs(errFormat) }

func (d *decoder) failAs(err error) {
	if d.err == nil {
		d.err = err
	}
	d.buf = nil
}

func (d *decoder) uint() uint64 {
	if len(d.buf) > 0 && d.buf[0] < 0x80 { // most are small
		v := d.buf[0]
		d.buf = d.buf[1:]
		return uint64(v)
	}
	v, n := binary.Uvarint(d.buf)
	if n <= 0 {
		d.fail()
		return 0
	}
	d.buf = d.buf[n:]
	return v
}

func (d *decoder) uint32() uint32 {
	v := d.uint()
	if v > 1<<32-1 {
		d.fail()
		return 0
	}
	return uint32(v)
}

func (d *decoder) int() int64 {
	v, n := binary.Varint(d.buf)
	if n <= 0 {
		d.fail()
		return 0
	}
	d.buf = d.buf[n:]
	return v
}

func (d *decoder) bool() bool {
	v := d.uint()
	if v > 1 {
		d.fail()
	}
	return v == 1
}

// bytes aliases buf.
func (d *decoder) bytes() []byte {
	n := d.uint()
	if n > uint64(len(d.buf)) {
		d.fail()
		return nil
	}
	b := d.buf[:n:n]
	d.buf = d.buf[n:]
	return b
}

func (d *decoder) string() string { return string(d.bytes()) }

func (d *decoder) id() (id objectID) {
	if len(d.buf) < len(id) {
		d.fail()
		return id
	}
	copy(id[:], d.buf)
	d.buf = d.buf[len(id):]
	return id
}

// count reads the length of a list whose elements take at least size bytes each.
func (d *decoder) count(size int) int {
	n := d.uint()
	if n > uint64(len(d.buf)/size) {
		d.fail()
		return 0
	}
	return int(n)
}

func (d *decoder) uids() imap.UIDSet {
	n := d.count(2)
	if n == 0 {
		return nil
	}
	set := make(imap.UIDSet, 0, n)
	last := uint64(0)
	for range n {
		gap, length := d.uint(), d.uint()
		start := last + gap
		stop := start + length
		if d.err != nil || gap > 1<<32 || length > 1<<32 || stop > 1<<32-1 || start == 0 || (len(set) > 0 && gap < 2) {
			d.fail()
			return nil
		}
		set = append(set, imap.Range{Start: uint32(start), Stop: uint32(stop)})
		last = stop
	}
	return set
}

// end reports the first error, or that something is left over: fields that were added.
func (d *decoder) end() error {
	if d.err == nil && len(d.buf) > 0 {
		return fmt.Errorf("%w: %d bytes left over", errNewer, len(d.buf))
	}
	return d.err
}
