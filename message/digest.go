package message

// Digest is what an IMAP server needs to know of a message without reading it
// again. It aliases what it was decoded from, and is only read.
type Digest struct {
	// Size is the size of the raw message in bytes: RFC822.SIZE.
	Size int64
	// Envelope is the value of FETCH ENVELOPE, RFC 9051 section 7.5.2.
	Envelope []byte
	// BodyStructure is the value of FETCH BODYSTRUCTURE.
	BodyStructure []byte
	// SentDate is the Date field.
	SentDate Date
	// EncodedKeys are what SORT and THREAD compare; Keys reads them. It is nil
	// in digests from before there were any.
	EncodedKeys []byte
	// Parts is the tree in the order of the message: a part, then what is in
	// it. Parts[0] is the message itself; there is always one.
	Parts []Part
}

// Kind says what a part's body consists of.
type Kind uint8

const (
	// KindLeaf is a part without parts.
	KindLeaf Kind = iota
	// KindMultipart has one part or more. One in which no delimiter is found
	// has one text/plain part, which is its whole body.
	KindMultipart
	// KindMessage is a message/rfc822 or message/global part. Its one child is
	// the message: the header of the child is the header of that message.
	KindMessage
	numKinds
)

// Encoding is a content transfer encoding, RFC 2045 section 6.
type Encoding uint8

const (
	// EncodingIdentity is 7bit, 8bit and binary.
	EncodingIdentity Encoding = iota
	EncodingBase64
	EncodingQuotedPrintable
	// EncodingUnknown is any other. A search takes the text as it stands.
	EncodingUnknown
	numEncodings
)

// Part is one node of the MIME tree. Offsets are bytes from the start of the
// raw message; the body follows the header at once.
type Part struct {
	// HeaderOff and HeaderLen are the part's own MIME header with its empty
	// line; of the message's header for Parts[0] and the child of a
	// KindMessage part.
	HeaderOff, HeaderLen int64
	// BodyLen leaves out the line break before the delimiter, which is part of
	// the delimiter. RFC 2046 section 5.1.1.
	BodyLen int64
	// Lines is the number of line breaks in the body.
	Lines int64
	// Type is the media type in lower case, "text/plain".
	Type []byte
	// Charset is that of a text part in lower case, "" for other parts.
	Charset []byte
	// Parent is an index in Digest.Parts, or -1.
	Parent int32
	// End is the index behind the last part inside this one.
	End      int32
	Kind     Kind
	Encoding Encoding
}

// BodyOff is where the body starts.
func (p *Part) BodyOff() int64 { return p.HeaderOff + p.HeaderLen }

// IsText says whether the part is text/*.
func (p *Part) IsText() bool {
	return len(p.Type) > 5 && string(p.Type[:5]) == "text/"
}

// child is the index of the n-th part inside parent, counted from 1.
func (d *Digest) child(parent int32, n int) (int32, bool) {
	end := d.Parts[parent].End
	for c := parent + 1; c < end; c = d.Parts[c].End {
		if n--; n == 0 {
			return c, true
		}
	}
	return 0, false
}

// isMessage says whether the header of part i is the header of a message.
func (d *Digest) isMessage(i int32) bool {
	parent := d.Parts[i].Parent
	return parent < 0 || d.Parts[parent].Kind == KindMessage
}
