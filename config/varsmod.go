package config

import (
	"crypto/md5"
	"crypto/sha1"
	"crypto/sha256"
	"crypto/sha512"
	"encoding/base64"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"hash"
	"slices"
	"strconv"
	"strings"
)

// substring is what stands between % and the modifiers. The hash modifiers use
// its numbers for themselves: %2.256N is a hash below 256 with two digits.
type substring struct {
	offset, width int
	pad           bool // the width is a minimum, filled with zeros
}

// cutSubstring reads [-][offset.][-][0]width. A sign without an offset means nothing.
func cutSubstring(s string) (sub substring, rest string, err error) {
	sign, pad, n, rest, err := cutSigned(s)
	if err != nil {
		return sub, "", err
	}
	if !strings.HasPrefix(rest, ".") {
		return substring{width: n, pad: pad}, rest, nil
	}
	sub.offset = sign * n
	sign, pad, n, rest, err = cutSigned(rest[1:])
	sub.width, sub.pad = sign*n, pad
	return sub, rest, err
}

func cutSigned(s string) (sign int, zero bool, n int, rest string, err error) {
	sign = 1
	if strings.HasPrefix(s, "-") {
		sign, s = -1, s[1:]
	}
	if strings.HasPrefix(s, "0") {
		zero, s = true, s[1:]
	}
	for s != "" && s[0] >= '0' && s[0] <= '9' {
		if n = n*10 + int(s[0]-'0'); n > maxWidth {
			return 0, false, 0, "", fmt.Errorf("a width or offset above %d", maxWidth)
		}
		s = s[1:]
	}
	return sign, zero, n, s, nil
}

// modifiers is how many modifier letters s begins with.
func modifiers(s string) int {
	n := 0
	for n < len(s) && n < maxModifiers && strings.IndexByte("LUEXRTDMNH", s[n]) >= 0 {
		n++
	}
	return n
}

func (sub *substring) modify(mod byte, text string) string {
	switch mod {
	case 'L':
		return strings.ToLower(text)
	case 'U':
		return strings.ToUpper(text)
	case 'E':
		return strings.NewReplacer(`"`, `\"`, `'`, `\'`, `\`, `\\`).Replace(text)
	case 'X':
		n, _ := strconv.ParseUint(text, 10, 64)
		return strconv.FormatUint(n, 16)
	case 'R':
		b := []byte(text)
		slices.Reverse(b)
		return string(b)
	case 'T':
		return strings.TrimRight(text, " \t\r\n")
	case 'D':
		return strings.ReplaceAll(text, ".", ",dc=")
	case 'M':
		sum := md5.Sum([]byte(text))
		return hex.EncodeToString(sum[:])
	case 'N':
		sum := md5.Sum([]byte(text))
		return sub.hash(binary.BigEndian.Uint64(sum[:8]))
	case 'H':
		return sub.hash(uint64(pjwHash(text)))
	}
	return text
}

// pjwHash is the hash of P. J. Weinberger.
func pjwHash(text string) uint32 {
	var h uint32
	for i := 0; i < len(text); i++ {
		h = h<<4 + uint32(text[i])
		if g := h & 0xf0000000; g != 0 {
			h ^= g>>24 ^ g
		}
	}
	return h
}

// hash is n modulo the width, cut to 32 bits, with as many digits as the offset says.
func (sub *substring) hash(n uint64) string {
	if sub.width > 0 {
		n %= uint64(sub.width)
	}
	digits := max(sub.offset, 0)
	*sub = substring{}
	return fmt.Sprintf("%0*x", digits, uint32(n))
}

// cut is the substring of text. What lies outside is empty; a negative offset
// or width counts from the end.
func (sub *substring) cut(text string) string {
	if sub.offset >= 0 {
		text = text[min(sub.offset, len(text)):]
	} else if -sub.offset < len(text) {
		text = text[len(text)+sub.offset:]
	}
	switch {
	case sub.pad && len(text) < sub.width:
		return strings.Repeat("0", sub.width-len(text)) + text
	case sub.pad || sub.width == 0:
		return text
	case sub.width < 0:
		return text[:max(0, len(text)+sub.width)]
	}
	return text[:min(sub.width, len(text))]
}

// varHash is a hash as a variable: %{sha256:user}, %{md5;truncate=32:user}.
type varHash struct{ new func() hash.Hash }

// newVarHash knows whether fn, without its options, is a hash.
func newVarHash(fn string) (varHash, bool) {
	name, _, _ := strings.Cut(fn, ";")
	f, ok := map[string]func() hash.Hash{
		"md5": md5.New, "sha1": sha1.New, "sha224": sha256.New224, "sha256": sha256.New,
		"sha384": sha512.New384, "sha512": sha512.New,
	}[name]
	return varHash{f}, ok
}

// sum hashes text with the options behind the name: rounds=N, salt=S,
// truncate=BITS, format=hex or base64.
func (h varHash) sum(fn, text string) (string, error) {
	rounds, bits, salt, format := 1, 0, "", "hex"
	_, options, _ := strings.Cut(fn, ";")
	for _, opt := range strings.FieldsFunc(options, func(r rune) bool { return r == ',' || r == ';' }) {
		key, val, _ := strings.Cut(opt, "=")
		n, err := strconv.Atoi(val)
		switch {
		case key == "rounds" && err == nil && n > 0 && n <= 100000:
			rounds = n
		case key == "truncate" && err == nil && n > 0:
			bits = n
		case key == "salt":
			salt = val
		case key == "format" && (val == "hex" || val == "base64"):
			format = val
		default:
			return "", fmt.Errorf("%q is not known for a hash", short(opt))
		}
	}
	sum := []byte(text)
	for range rounds {
		w := h.new()
		w.Write([]byte(salt))
		w.Write(sum)
		sum = w.Sum(nil)
	}
	sum = truncateBits(sum, bits)
	if format == "base64" {
		return base64.StdEncoding.EncodeToString(sum), nil
	}
	return hex.EncodeToString(sum), nil
}

// truncateBits keeps the first bits of sum, shifted to the right end.
func truncateBits(sum []byte, bits int) []byte {
	size := (bits + 7) / 8
	if bits == 0 || size >= len(sum) {
		return sum
	}
	sum = slices.Clone(sum[:size])
	shift := uint(size*8 - bits)
	for i := size - 1; i >= 0 && shift > 0; i-- {
		sum[i] >>= shift
		if i > 0 {
			sum[i] |= sum[i-1] << (8 - shift)
		}
	}
	return sum
}
