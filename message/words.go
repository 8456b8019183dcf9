package message

import "bytes"

// wordDecoder decodes header values and keeps its buffers for the next.
type wordDecoder struct {
	line     []byte // the value on one line
	raw      []byte // the decoded bytes of adjacent words of one charset
	charset  []byte // of raw
	transfer transferDecoder
	text     charsetDecoder
}

func (w *wordDecoder) append(dst, value []byte) []byte {
	w.line = append(w.line[:0], value...)
	b := trimSpace(clean(w.line))
	afterWord := false
	for len(b) > 0 {
		i := bytes.Index(b, []byte("=?"))
		if i < 0 {
			i = len(b)
		}
		word, n := parseWord(b[i:])
		if n == 0 {
			i = min(i+2, len(b))
		}
		if i > 0 && !(n > 0 && afterWord && len(trimSpace(b[:i])) == 0) {
			dst = w.flush(dst)
			dst = w.plain(dst, b[:i])
		}
		if n > 0 {
			dst = w.add(dst, word)
		}
		afterWord = n > 0
		b = b[i+n:]
	}
	return w.flush(dst)
}

// plain appends text that is not encoded.
func (w *wordDecoder) plain(dst, b []byte) []byte {
	w.text.reset(nil)
	return w.text.decode(dst, b, true)
}

// add decodes a word. Words of one charset are put together first: some
// senders cut inside a character.
func (w *wordDecoder) add(dst []byte, word encodedWord) []byte {
	if !bytes.EqualFold(word.charset, w.charset) {
		dst = w.flush(dst)
		w.charset = append(w.charset[:0], word.charset...)
	}
	w.transfer = transferDecoder{encoding: EncodingBase64}
	if word.q {
		w.raw = appendQ(w.raw, word.text)
		return dst
	}
	w.raw = w.transfer.decode(w.raw, word.text, true)
	return dst
}

func (w *wordDecoder) flush(dst []byte) []byte {
	if len(w.raw) > 0 {
		w.text.reset(w.charset)
		dst = w.text.decode(dst, w.raw, true)
		w.raw = w.raw[:0]
	}
	w.charset = w.charset[:0]
	return dst
}

// appendQ decodes the Q encoding, RFC 2047 section 4.2.
func appendQ(dst, b []byte) []byte {
	for i := 0; i < len(b); i++ {
		switch c := b[i]; {
		case c == '_':
			dst = append(dst, ' ')
		case c == '=' && i+2 < len(b) && isHexPair(b[i+1], b[i+2]):
			dst = append(dst, hexByte(b[i+1], b[i+2]))
			i += 2
		default:
			dst = append(dst, c)
		}
	}
	return dst
}

func isHexPair(a, b byte) bool {
	_, okA := hexValue(a)
	_, okB := hexValue(b)
	return okA && okB
}

// encodedWord is =?charset?encoding?text?= in pieces.
type encodedWord struct {
	charset, text []byte
	q             bool
}

// maxWord is the longest encoded word that is recognised. RFC 2047 section 2
// allows 75; it also keeps the search for the end short.
const maxWord = 1024

// parseWord reads the encoded word at the start of b. Its length is 0 if there
// is none.
func parseWord(b []byte) (encodedWord, int) {
	var w encodedWord
	full := len(b)
	if full < len("=?c?q??=") {
		return w, 0
	}
	b = b[2:min(full, maxWord)]
	i := bytes.IndexByte(b[:min(len(b), maxToken)], '?')
	if i <= 0 || len(b) < i+3 || b[i+2] != '?' {
		return w, 0
	}
	w.charset = b[:i]
	if star := bytes.IndexByte(w.charset, '*'); star >= 0 { // RFC 2231 section 5: language
		w.charset = w.charset[:star]
	}
	switch lower(b[i+1]) {
	case 'q':
		w.q = true
	case 'b':
	default:
		return w, 0
	}
	w.text = b[i+3:]
	end := bytes.Index(w.text, []byte("?="))
	if end < 0 {
		return w, 0
	}
	w.text = w.text[:end]
	return w, 2 + i + 3 + end + 2
}
