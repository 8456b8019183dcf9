// Package message reads RFC 5322 and MIME messages as an IMAP server needs
// them: once, at delivery, into a Digest.
//
// A Digest holds ENVELOPE and BODYSTRUCTURE as ready wire bytes and the place
// of every part, so that a later FETCH copies stored bytes and answers
// BODY[section] with an offset and a length into the raw message. Nothing is
// ever converted: bytes stay as they were received, bare LF line breaks
// included, and offsets count those bytes.
//
// There is no malformed message. What breaks the rules gets a harmless
// reading; time is linear in the size, depth, number of parts and size of the
// digest are bounded (see the Max constants). Scanning fails only if the
// reader does.
//
// SORT and THREAD compare Keys, which a Digest has as well; a Sorter and a
// Threader do the rest.
//
// Search works on decoded text: a Matcher undoes transfer encodings, charsets
// and encoded words while it reads, and compares without regard to case.
//
// The package keeps no state. A Digest may be read by many goroutines; a
// Matcher, a Sorter and a Threader belong to one. It does not store, does not build messages, and
// knows neither HTML nor signatures.
package message

// Limits of what a Digest describes. Beyond them a message is still stored and
// served whole; only its inner structure is no longer told apart.
const (
	// MaxDepth is how deep multiparts and messages may nest. A container
	// below that is one opaque part.
	MaxDepth = 100
	// MaxParts is how many parts a digest has at most. The last one of a
	// message with more is opaque and reaches to its end.
	MaxParts = 10000
	// MaxAddresses is how many addresses of one header field are kept.
	MaxAddresses = 4096

	// maxAddressBytes and maxFieldBytes bound what is kept of a field's value.
	maxAddressBytes = 128 << 10
	maxFieldBytes   = 16 << 10
	// maxReferenceBytes is how much of a References field is kept, from its end.
	maxReferenceBytes = 512 << 10
	// maxDigestBytes is when a digest is full: the next part is the last.
	maxDigestBytes = 1 << 20
	// maxParams is how many parameters of one field are kept.
	maxParams = 128
	// maxBoundary is the longest boundary looked for. RFC 2046 section 5.1.1
	// allows 70; no line is longer than 998.
	maxBoundary = 998
	// maxToken bounds a media type and a charset name.
	maxToken = 255
	// maxName is the longest field name that is recognised.
	maxName = 128
)
