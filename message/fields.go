package message

// fieldID names the header fields that a digest is made from.
type fieldID uint8

const (
	fieldNone fieldID = iota
	fieldContentType
	fieldEncoding
	fieldDisposition
	fieldContentID
	fieldDescription
	fieldMD5
	fieldLanguage
	fieldLocation
	fieldDate
	fieldSubject
	fieldInReplyTo
	fieldReferences
	fieldMessageID
	fieldFrom
	fieldSender
	fieldReplyTo
	fieldTo
	fieldCc
	fieldBcc
	numFields

	firstEnvelopeField = fieldDate
	firstAddressField  = fieldFrom
	numAddressFields   = numFields - firstAddressField
)

// lookupField finds the id of a field name.
func lookupField(name []byte) fieldID {
	var buf [32]byte
	if len(name) > len(buf) {
		return fieldNone
	}
	for i, c := range name {
		buf[i] = lower(c)
	}
	switch string(buf[:len(name)]) {
	case "content-type":
		return fieldContentType
	case "content-transfer-encoding":
		return fieldEncoding
	case "content-disposition":
		return fieldDisposition
	case "content-id":
		return fieldContentID
	case "content-description":
		return fieldDescription
	case "content-md5":
		return fieldMD5
	case "content-language":
		return fieldLanguage
	case "content-location":
		return fieldLocation
	case "date":
		return fieldDate
	case "subject":
		return fieldSubject
	case "in-reply-to":
		return fieldInReplyTo
	case "references":
		return fieldReferences
	case "message-id":
		return fieldMessageID
	case "from":
		return fieldFrom
	case "sender":
		return fieldSender
	case "reply-to":
		return fieldReplyTo
	case "to":
		return fieldTo
	case "cc":
		return fieldCc
	case "bcc":
		return fieldBcc
	}
	return fieldNone
}

// headerFields collects the known fields of one header, line by line. The
// first field of a name counts; address fields add up, as if they were one.
type headerFields struct {
	envelope  bool   // else only the MIME fields are wanted
	values    []byte // all kept values
	at        [numFields]span
	addresses [numAddressFields]addressList

	current fieldID
	start   int // of the current value in values
	cut     bool
	parser  addressParser
}

// span is a range of bytes; the zero span stands for "not there".
type span struct{ from, to int }

func (f *headerFields) reset(envelope bool) {
	f.envelope = envelope
	f.values = append(f.values[:0], 0) // so that no span is zero
	f.at = [numFields]span{}
	for i := range f.addresses {
		f.addresses[i].reset()
	}
	f.current = fieldNone
}

// begin takes the first line of a field, or the first fragment of it.
func (f *headerFields) begin(line []byte) {
	f.finish()
	name, value := splitField(line)
	id := lookupField(name)
	if !f.wants(id) {
		return
	}
	f.current, f.start, f.cut = id, len(f.values), false
	f.more(value)
}

func (f *headerFields) wants(id fieldID) bool {
	switch {
	case id == fieldNone || id >= firstEnvelopeField && !f.envelope:
		return false
	case id >= firstAddressField:
		return !f.addresses[id-firstAddressField].full()
	}
	return f.at[id] == span{}
}

// more takes what follows of the current field.
func (f *headerFields) more(line []byte) {
	if f.current == fieldNone || f.cut {
		return
	}
	if f.current == fieldReferences {
		f.moreReferences(line)
		return
	}
	limit := f.start + maxFieldBytes
	if f.current >= firstAddressField {
		limit = f.start + maxAddressBytes
	}
	f.values = append(f.values, line[:min(len(line), limit+1-len(f.values))]...)
	if len(f.values) > limit {
		f.values, f.cut = f.values[:limit], true
	}
}

// moreReferences keeps the end of a value that is too long: the last of the
// references are those that matter most.
func (f *headerFields) moreReferences(line []byte) {
	f.values = append(f.values, line...)
	if n := len(f.values) - f.start; n > maxReferenceBytes {
		f.values = append(f.values[:f.start], f.values[f.start+n-maxReferenceBytes/2:]...)
	}
}

// finish ends the current field.
func (f *headerFields) finish() {
	id := f.current
	if id == fieldNone {
		return
	}
	f.current = fieldNone
	f.values = f.values[:f.start+len(clean(f.values[f.start:]))]
	switch {
	case id < firstAddressField:
		f.at[id] = span{f.start, len(f.values)}
	default:
		list := &f.addresses[id-firstAddressField]
		f.parser.parse(list, f.values[f.start:], f.cut)
		f.values = f.values[:f.start]
	}
}

// value is the trimmed value of a field: nil if it is not there, and not nil
// if it is there but empty.
func (f *headerFields) value(id fieldID) []byte {
	s := f.at[id]
	if (s == span{}) {
		return nil
	}
	if v := trimSpace(f.values[s.from:s.to:s.to]); len(v) > 0 {
		return v
	}
	return []byte{}
}
