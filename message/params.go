package message

import "bytes"

// param is one parameter of a MIME field, its value unquoted. RFC 2231
// continuations and encodings are left as they are: clients join and decode.
type param struct{ name, value []byte }

// appendParams parses what follows the first semicolon of a MIME field. It
// takes unquoted values with spaces and without quotes that end.
// RFC 2045 section 5.1.
func appendParams(dst []param, b []byte) []param {
	for len(dst) < maxParams {
		i := bytes.IndexByte(b, ';')
		if i < 0 {
			return dst
		}
		b = skipSpace(b[i+1:])
		var p param
		p.name, b = token(b)
		b = skipSpace(b)
		if len(p.name) == 0 || len(b) == 0 || b[0] != '=' {
			continue
		}
		p.value, b = paramValue(skipSpace(b[1:]))
		dst = append(dst, p)
	}
	return dst
}

// paramValue cuts the value at the start of b.
func paramValue(b []byte) (value, rest []byte) {
	if len(b) > 0 && b[0] == '"' {
		if n := quotedLen(b); n > 0 {
			return unescape(b[1 : n-1]), b[n:]
		}
		b = b[1:]
	}
	end := bytes.IndexByte(b, ';')
	if end < 0 {
		end = len(b)
	}
	value = trimSpace(b[:end])
	if i := bytes.Index(value, []byte(" (")); i >= 0 && value[len(value)-1] == ')' {
		value = trimSpace(value[:i])
	}
	return value, b[end:]
}

func unescape(b []byte) []byte {
	if bytes.IndexByte(b, '\\') < 0 {
		return b
	}
	return appendUnescaped(nil, b)
}

func findParam(params []param, name string) []byte {
	for _, p := range params {
		if equalFold(p.name, name) {
			return p.value
		}
	}
	return nil
}

// mediaType is what a Content-Type field says.
type mediaType struct {
	main, sub []byte // as they were sent
	params    []param
}

// parseMediaType reads a Content-Type field; nil is a missing one. What cannot
// be read is text/plain, RFC 2045 section 5.2, or in a multipart/digest a
// message, RFC 2046 section 5.1.5. Old style types without a subtype get one.
func parseMediaType(value []byte, inDigest bool, params []param) mediaType {
	if value == nil && inDigest {
		return mediaType{main: []byte("message"), sub: []byte("rfc822")}
	}
	t := mediaType{params: appendParams(params[:0], value)}
	rest := skipSpace(value)
	t.main, rest = token(rest)
	if rest = skipSpace(rest); len(rest) > 0 && rest[0] == '/' {
		t.sub, _ = token(skipSpace(rest[1:]))
	}
	if len(t.sub) == 0 && equalFold(t.main, "multipart") {
		t.sub = []byte("mixed")
	}
	if len(t.main) == 0 || len(t.sub) == 0 || len(t.main)+len(t.sub) >= maxToken {
		t.main, t.sub = []byte("text"), []byte("plain")
	}
	if equalFold(t.main, "text") && findParam(t.params, "charset") == nil {
		t.params = append(t.params, param{[]byte("charset"), []byte("us-ascii")})
	}
	return t
}

// appendLower writes the type as Part.Type has it.
func (t *mediaType) appendLower(dst []byte) []byte {
	dst = appendLower(dst, t.main)
	return appendLower(append(dst, '/'), t.sub)
}

func appendLower(dst, b []byte) []byte {
	for _, c := range b {
		dst = append(dst, lower(c))
	}
	return dst
}

// kind says how the part's body is read.
func (t *mediaType) kind() Kind {
	switch {
	case equalFold(t.main, "multipart"):
		return KindMultipart
	case equalFold(t.main, "message") && (equalFold(t.sub, "rfc822") || equalFold(t.sub, "global")):
		return KindMessage
	}
	return KindLeaf
}

// charset is the charset of a text part.
func (t *mediaType) charset() []byte {
	if !equalFold(t.main, "text") {
		return nil
	}
	if c := findParam(t.params, "charset"); len(c) <= maxToken {
		return c
	}
	return nil
}

// appendParamList writes parameters as RFC 9051's body-fld-param.
func appendParamList(dst []byte, params []param) []byte {
	if len(params) == 0 {
		return append(dst, "NIL"...)
	}
	for i, p := range params {
		dst = append(dst, separator(i))
		dst = append(appendString(dst, p.name), ' ')
		dst = appendString(dst, p.value)
	}
	return append(dst, ')')
}

// separator is what stands before item i of a list.
func separator(i int) byte {
	if i == 0 {
		return '('
	}
	return ' '
}
