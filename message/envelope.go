package message

// appendEnvelope writes the envelope of the header in f. Text fields are NIL
// if they are missing and "" if they are empty; Sender and Reply-To that are
// missing or empty are the From field. RFC 9051 section 7.5.2.
func appendEnvelope(dst []byte, f *headerFields) []byte {
	dst = append(dst, '(')
	dst = append(appendNString(dst, f.value(fieldDate)), ' ')
	dst = append(appendNString(dst, f.value(fieldSubject)), ' ')
	for id := fieldFrom; id < numFields; id++ {
		list := &f.addresses[id-firstAddressField]
		if list.n == 0 && (id == fieldSender || id == fieldReplyTo) {
			list = &f.addresses[fieldFrom-firstAddressField]
		}
		dst = append(list.appendTo(dst), ' ')
	}
	dst = append(appendNString(dst, f.value(fieldInReplyTo)), ' ')
	dst = appendNString(dst, f.value(fieldMessageID))
	return append(dst, ')')
}
