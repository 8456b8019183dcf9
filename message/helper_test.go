package message

import "bytes"

func appendDecoded(dst, value []byte) []byte {
	var w wordDecoder
	return w.append(dst, value)
}

func baseSubjectOf(value []byte) (base []byte, reply bool) {
	return baseSubject(oneSpace(appendDecoded(nil, value)))
}

func decodeDigest(b []byte) (*Digest, error) {
	d := new(Digest)
	return d, d.Decode(b)
}

func (n *Needle) matchString(text string) bool {
	var f folder
	valid, _ := appendUTF8(nil, []byte(text), true)
	return bytes.Contains(f.append(nil, valid), n.folded)
}
