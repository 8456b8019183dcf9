package message

import (
	"bytes"
	"encoding/binary"
)

// Keys are what SORT and THREAD compare messages by. Texts are in the form in
// which i;unicode-casemap compares them byte by byte, and hold no NUL.
type Keys struct {
	Sent       Date
	Subject    []byte // base subject
	Reply      bool   // the subject is that of a reply or a forward
	From       []byte // mailbox of the first address, RFC 5256
	To         []byte
	Cc         []byte
	FromName   []byte // what is shown of the first address, RFC 5957
	ToName     []byte
	ID         messageID // 0: none
	References []messageID
}

// NewKeys finds the keys in the value of FETCH ENVELOPE and the raw value of
// the References field.
func NewKeys(envelope, references []byte) *Keys {
	e := splitEnvelope(envelope)
	k := new(Keys)
	k.Sent, _ = ParseDate(wireText(e[envelopeDate]))
	var w wordDecoder
	base, reply := baseSubject(oneSpace(w.append(nil, wireText(e[envelopeSubject]))))
	k.Subject, k.Reply = appendCollated(nil, base), reply
	from, to, cc := firstAddress(e[envelopeFrom]), firstAddress(e[envelopeTo]), firstAddress(e[envelopeCc])
	k.From, k.To, k.Cc = collated(from.mailbox), collated(to.mailbox), collated(cc.mailbox)
	k.FromName, k.ToName = from.shown(&w), to.shown(&w)
	if ids := appendMessageIDs(nil, wireText(e[envelopeMessageID]), 1); len(ids) > 0 {
		k.ID = ids[0]
	}
	k.References = appendMessageIDs(nil, references, len(references))
	k.References = k.References[max(0, len(k.References)-MaxReferences):]
	if len(k.References) == 0 {
		k.References = appendMessageIDs(nil, wireText(e[envelopeInReplyTo]), 1)
	}
	return k
}

func collated(text []byte) []byte {
	valid, _ := appendUTF8(nil, text, true)
	return appendCollated(nil, valid)
}

// The places of what is used of an envelope. RFC 9051 section 7.5.2.
const (
	envelopeDate = iota
	envelopeSubject
	envelopeFrom
	_
	_
	envelopeTo
	envelopeCc
	_
	envelopeInReplyTo
	envelopeMessageID
	envelopeLen
)

// splitEnvelope parts an envelope into its items. What is missing is empty.
func splitEnvelope(wire []byte) (items [envelopeLen][]byte) {
	wire, _ = bytes.CutPrefix(wire, []byte("("))
	for i := range items {
		items[i], wire = cutItem(wire)
	}
	return items
}

// cutItem parts wire behind its first item.
func cutItem(wire []byte) (item, rest []byte) {
	wire = bytes.TrimLeft(wire, " ")
	rest = skipItem(wire)
	return wire[:len(wire)-len(rest)], rest
}

// wireText is the content of a string or literal; of NIL and all else it is nil.
func wireText(item []byte) []byte {
	switch {
	case len(item) >= 2 && item[0] == '"' && item[len(item)-1] == '"':
		return appendUnescaped(nil, item[1:len(item)-1])
	case len(item) > 0 && item[0] == '{':
		_, text, _ := bytes.Cut(item, crlf)
		return text
	}
	return nil
}

// address is an address of an envelope, as it is there; nil is NIL.
type address struct{ name, mailbox, host []byte }

// firstAddress is the first of an address list. The start of a group counts as one.
func firstAddress(list []byte) (a address) {
	wire, ok := bytes.CutPrefix(list, []byte("(("))
	if !ok {
		return a
	}
	var items [4][]byte
	for i := range items {
		items[i], wire = cutItem(wire)
	}
	return address{name: wireText(items[0]), mailbox: wireText(items[2]), host: wireText(items[3])}
}

// shown is RFC 5957 section 3.
func (a *address) shown(w *wordDecoder) []byte {
	if name := w.append(nil, a.name); len(name) > 0 {
		return appendCollated(nil, name)
	}
	if a.mailbox != nil && a.host != nil {
		return collated(bytes.Join([][]byte{a.mailbox, a.host}, []byte("@")))
	}
	return collated(a.mailbox)
}

// Bits of the first byte of encoded keys.
const (
	keysReply = 1 << iota
	keysID
	keysUnknown
)

// append appends the binary form of k without Sent, which the digest has: the
// bits, the texts with their lengths before them, the ID, the number of
// references and those. Numbers are varints, IDs have 8 bytes.
func (k *Keys) append(dst []byte) []byte {
	bits := byte(0)
	if k.Reply {
		bits |= keysReply
	}
	if k.ID != 0 {
		bits |= keysID
	}
	dst = append(dst, bits)
	for _, text := range k.texts() {
		dst = appendBytes(dst, *text)
	}
	if k.ID != 0 {
		dst = binary.LittleEndian.AppendUint64(dst, k.ID)
	}
	dst = binary.AppendUvarint(dst, uint64(len(k.References)))
	for _, id := range k.References {
		dst = binary.LittleEndian.AppendUint64(dst, id)
	}
	return dst
}

func (k *Keys) texts() [6]*[]byte {
	return [...]*[]byte{&k.Subject, &k.From, &k.To, &k.Cc, &k.FromName, &k.ToName}
}

// decode reads what append wrote, and uses the memory of References again. The
// texts alias b. Any input is safe.
func (k *Keys) decode(b []byte) error {
	r := digestReader{b: b}
	*k = Keys{References: k.References[:0]}
	bits := r.byte()
	k.Reply = bits&keysReply != 0
	for _, text := range k.texts() {
		*text = r.bytes()
		if len(*text) > maxCollated || bytes.IndexByte(*text, 0) >= 0 {
			r.fail()
		}
	}
	if bits&keysID != 0 {
		k.ID = r.id()
	}
	n := r.number()
	if n > MaxReferences || n*8 != int64(len(r.b)) || bits >= keysUnknown || r.bad {
		return errDigest
	}
	for range n {
		k.References = append(k.References, r.id())
	}
	if r.bad {
		return errDigest
	}
	return nil
}

func (r *digestReader) id() messageID {
	if len(r.b) < 8 || binary.LittleEndian.Uint64(r.b) == 0 {
		r.fail()
		return 0
	}
	id := binary.LittleEndian.Uint64(r.b)
	r.b = r.b[8:]
	return id
}

// Keys are the message's keys, decoded into k. It reports false for a digest
// from before there were any: then ScanBytes of the message's header finds them.
func (d *Digest) Keys(k *Keys) bool {
	if len(d.EncodedKeys) == 0 || k.decode(d.EncodedKeys) != nil {
		return false
	}
	k.Sent = d.SentDate
	return true
}
