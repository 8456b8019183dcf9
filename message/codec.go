package message

import (
	"encoding/binary"
	"errors"
	"fmt"
)

// digestVersion is the first byte of an encoded digest. What follows, numbers
// as varints, byte strings with their length before them:
//
//	size, date (valid, and if so Unix time, zone), envelope, body structure,
//	number of parts, and for each part in order:
//	  kind and encoding in one byte, parts inside it,
//	  gap between the start of the parent's body and its header,
//	  header length, body length, lines, type, charset,
//	and the keys of SORT and THREAD, which older digests lack
const digestVersion = 1

// errDigest is the root of all decoding errors.
var errDigest = errors.New("malformed message digest")

// Append appends the binary form of d, which Decode reads.
func (d *Digest) Append(dst []byte) []byte {
	dst = append(dst, digestVersion)
	dst = binary.AppendUvarint(dst, uint64(d.Size))
	if d.SentDate.Valid {
		dst = append(dst, 1)
		dst = binary.AppendVarint(dst, d.SentDate.Unix)
		dst = binary.AppendVarint(dst, int64(d.SentDate.Offset))
	} else {
		dst = append(dst, 0)
	}
	dst = appendBytes(dst, d.Envelope)
	dst = appendBytes(dst, d.BodyStructure)
	dst = binary.AppendUvarint(dst, uint64(len(d.Parts)))
	for i := range d.Parts {
		dst = d.appendPart(dst, int32(i))
	}
	if d.EncodedKeys != nil {
		dst = appendBytes(dst, d.EncodedKeys)
	}
	return dst
}

func (d *Digest) appendPart(dst []byte, i int32) []byte {
	p := &d.Parts[i]
	from := int64(0)
	if p.Parent >= 0 {
		from = d.Parts[p.Parent].BodyOff()
	}
	dst = append(dst, byte(p.Kind)<<4|byte(p.Encoding))
	dst = binary.AppendUvarint(dst, uint64(p.End-i-1))
	dst = binary.AppendUvarint(dst, uint64(p.HeaderOff-from))
	dst = binary.AppendUvarint(dst, uint64(p.HeaderLen))
	dst = binary.AppendUvarint(dst, uint64(p.BodyLen))
	dst = binary.AppendUvarint(dst, uint64(p.Lines))
	dst = appendBytes(dst, p.Type)
	return appendBytes(dst, p.Charset)
}

func appendBytes(dst, b []byte) []byte {
	dst = binary.AppendUvarint(dst, uint64(len(b)))
	return append(dst, b...)
}

// Decode reads what Append wrote, into a digest that may have been used before: it
// reuses the memory of Parts. The digest aliases b, which must not change while it is
// used. After an error d holds nothing of use. Any input is safe:
// what is decoded is a tree whose parts lie within their parents.
func (d *Digest) Decode(b []byte) error {
	r := digestReader{b: b}
	if v := r.byte(); v != digestVersion && !r.bad {
		return fmt.Errorf("message digest of unknown version %d", v)
	}
	*d = Digest{Parts: d.Parts[:0], Size: r.number()}
	if r.byte() == 1 {
		d.SentDate = Date{Unix: r.signed(), Offset: int16(r.signed()), Valid: true}
	}
	d.Envelope = r.bytes()
	d.BodyStructure = r.bytes()
	n := r.number()
	if r.bad || n < 1 || n > MaxParts {
		return errDigest
	}
	parent := int32(-1)
	for i := range int32(n) {
		p := r.part(i)
		for parent >= 0 && d.Parts[parent].End <= i {
			parent = d.Parts[parent].Parent
		}
		p.Parent = parent
		if !d.place(&p, int32(n)) || r.bad {
			return errDigest
		}
		d.Parts = append(d.Parts, p)
		parent = i
	}
	if len(r.b) > 0 {
		d.EncodedKeys = r.bytes()
	}
	if len(r.b) > 0 || r.bad {
		return errDigest
	}
	return nil
}

// place checks that the next part fits into the tree. Its header offset comes
// relative to its parent's body.
func (d *Digest) place(p *Part, n int32) bool {
	i := int32(len(d.Parts))
	from, end, lastPart := int64(0), d.Size, n
	if p.Parent >= 0 {
		parent := &d.Parts[p.Parent]
		from, end, lastPart = parent.BodyOff(), parent.BodyOff()+parent.BodyLen, parent.End
	} else if i > 0 {
		return false
	}
	if p.End <= i || p.End > lastPart || (p.End > i+1) != (p.Kind != KindLeaf) {
		return false
	}
	if i == 0 && p.End != n || p.Kind >= numKinds || p.Encoding >= numEncodings {
		return false
	}
	if p.Parent >= 0 && d.Parts[p.Parent].Kind == KindMessage && p.End != lastPart {
		return false
	}
	room := end - from
	for _, length := range [...]int64{p.HeaderOff, p.HeaderLen, p.BodyLen} {
		if length > room {
			return false
		}
		room -= length
	}
	p.HeaderOff += from
	return true
}

// digestReader cuts values from b. After the first bad one all are zero.
type digestReader struct {
	b   []byte
	bad bool
}

func (r *digestReader) fail() {
	r.b, r.bad = nil, true
}

func (r *digestReader) byte() byte {
	if len(r.b) == 0 {
		r.fail()
		return 0
	}
	c := r.b[0]
	r.b = r.b[1:]
	return c
}

// number is a size or a count. None is near the limit of int64, so that sums
// of a few do not overflow.
func (r *digestReader) number() int64 {
	v, n := binary.Uvarint(r.b)
	if n <= 0 || v > 1<<56 {
		r.fail()
		return 0
	}
	r.b = r.b[n:]
	return int64(v)
}

func (r *digestReader) signed() int64 {
	v, n := binary.Varint(r.b)
	if n <= 0 {
		r.fail()
		return 0
	}
	r.b = r.b[n:]
	return v
}

func (r *digestReader) bytes() []byte {
	n := r.number()
	if n > int64(len(r.b)) {
		r.fail()
		return nil
	}
	b := r.b[:n:n]
	r.b = r.b[n:]
	return b
}

// part reads part i, its place in the tree still unchecked.
func (r *digestReader) part(i int32) Part {
	c := r.byte()
	p := Part{Kind: Kind(c >> 4), Encoding: Encoding(c & 15)}
	inside := r.number()
	if inside > MaxParts {
		r.fail()
	}
	p.End = i + 1 + int32(inside)
	p.HeaderOff = r.number()
	p.HeaderLen = r.number()
	p.BodyLen = r.number()
	p.Lines = r.number()
	p.Type = r.bytes()
	p.Charset = r.bytes()
	return p
}
