package message

import "bytes"

// oneSpace is step 1, in place: white space of any length is one space.
func oneSpace(b []byte) []byte {
	out, space := b[:0], false
	for _, c := range b {
		isSpace := c == ' ' || c == '\t' || c == '\r' || c == '\n'
		switch {
		case !isSpace:
			out = append(out, c)
		case !space:
			out = append(out, ' ')
		}
		space = isSpace
	}
	return out
}

// baseSubject is what is left of a subject, on decoded text in oneSpace, without "Re:",
// "Fwd:", "(fwd)", "[list]" and the like. reply says that one of the marks of a reply or a
// forward was among them. RFC 5256 section 2.1, steps 2 to 6. It takes time in
// proportion to the length of s.
func baseSubject(s []byte) (base []byte, reply bool) {
	for {
		var forwarded, replied, wrapped bool
		s, forwarded = trimTrailers(s)
		s, replied = trimLeaders(s)
		s, wrapped = trimForward(s)
		reply = reply || forwarded || replied || wrapped
		if !wrapped {
			return s, reply
		}
	}
}

// trimTrailers is step 2.
func trimTrailers(s []byte) (rest []byte, reply bool) {
	const trailer = "(fwd)"
	for {
		s = bytes.TrimRight(s, " ")
		n := len(s) - len(trailer)
		if n < 0 || !equalFold(s[n:], trailer) {
			return s, reply
		}
		s, reply = s[:n], true
	}
}

// trimLeaders are steps 3 to 5. When no "re:" follows a row of blobs, step 4
// takes all of them but the one without which nothing would be left.
func trimLeaders(s []byte) (rest []byte, reply bool) {
	for {
		s = bytes.TrimLeft(s, " ")
		last, end := 0, 0
		for n := blobLen(s); n > 0; n = blobLen(s[end:]) {
			last, end = end, end+n
		}
		n := replyLen(s[end:])
		switch {
		case n > 0:
			s, reply = s[end+n:], true
		case end == len(s):
			return s[last:], reply
		default:
			return s[end:], reply
		}
	}
}

// blobLen is the length of the subj-blob that s begins with, or 0.
func blobLen(s []byte) int {
	if len(s) == 0 || s[0] != '[' {
		return 0
	}
	n := 1 + bytes.IndexAny(s[1:], "[]")
	if n == 0 || s[n] != ']' {
		return 0
	}
	return len(s) - len(bytes.TrimLeft(s[n+1:], " "))
}

// replyLen is the length of the subj-refwd that s begins with, or 0.
func replyLen(s []byte) int {
	n := 0
	for _, word := range [...]string{"re", "fwd", "fw"} {
		if len(s) >= len(word) && equalFold(s[:len(word)], word) {
			n = len(word)
			break
		}
	}
	if n == 0 {
		return 0
	}
	n = len(s) - len(bytes.TrimLeft(s[n:], " "))
	n += blobLen(s[n:])
	if n == len(s) || s[n] != ':' {
		return 0
	}
	return n + 1
}

// trimForward is step 6.
func trimForward(s []byte) (rest []byte, ok bool) {
	const header = "[fwd:"
	if len(s) <= len(header) || !equalFold(s[:len(header)], header) || s[len(s)-1] != ']' {
		return s, false
	}
	return s[len(header) : len(s)-1], true
}
