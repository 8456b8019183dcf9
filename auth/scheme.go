package auth

import (
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"strings"
)

// errScheme is the cause where a stored password cannot be understood. It is an
// error of the administrator's, never a match and never a mismatch.
var errScheme = errors.New("stored password cannot be used")

// stored is a password as a passdb keeps it: its scheme in upper case, and data.
type stored struct{ scheme, data string }

// parseStored reads {SCHEME}data; without a scheme it is the passdb's own.
func parseStored(text, defaultScheme string) stored {
	if rest, ok := strings.CutPrefix(text, "{"); ok {
		if scheme, data, ok := strings.Cut(rest, "}"); ok {
			return stored{upperASCII(scheme), data}
		}
	}
	return stored{upperASCII(defaultScheme), text}
}

// guess is a password that someone says is user's.
type guess struct{ user, password string }

// scheme is one row of the table of password schemes.
type scheme struct {
	name string
	// match compares a guess with the stored data, its encoding removed.
	match func(h *hasher, data string, g guess) (bool, error)
	// make is data that match accepts; rounds 0 is the scheme's own cost.
	// nil: such data is made elsewhere.
	make func(g guess, rounds int) (string, error)
	// expensive rations match.
	expensive bool
	// plain says that the data is the password.
	plain bool
	// encoding of the data unless a suffix names one. size is the length of
	// binary data if it is always the same: then hex and base64 both pass for it.
	encoding dataEncoding
	size     int
}

type dataEncoding int

const (
	encodingNone dataEncoding = iota
	encodingHex
	encodingBase64
)

// schemes is the table of password schemes, those of Dovecot 2.3 and what older
// versions wrote. The first name of equal schemes is the one to use.
func schemes() []scheme {
	plain := scheme{match: matchPlain, make: makePlain, plain: true}
	rows := []scheme{
		named("PLAIN", plain), named("CLEARTEXT", plain), named("CLEAR", plain),
		cryptScheme("CRYPT", "$", "$2y$"),
		cryptScheme("MD5-CRYPT", "$1$", "$1$"), cryptScheme("MD5", "$1$", "$1$"),
		cryptScheme("SHA256-CRYPT", "$5$", "$5$"), cryptScheme("SHA512-CRYPT", "$6$", "$6$"),
		cryptScheme("BLF-CRYPT", "$2", "$2y$"),
		cryptScheme("ARGON2I", "$argon2i$", "$argon2i$"), cryptScheme("ARGON2ID", "$argon2id$", "$argon2id$"),
		{name: "PBKDF2", match: matchPBKDF2, make: makePBKDF2, expensive: true},
		scramScheme("SCRAM-SHA-1"), scramScheme("SCRAM-SHA-256"),
	}
	return append(rows, digestSchemes()...)
}

func named(name string, row scheme) scheme {
	row.name = name
	return row
}

// schemeTable is the rows by name.
type schemeTable map[string]scheme

func newSchemeTable() schemeTable {
	table := schemeTable{}
	for _, row := range schemes() {
		table[row.name] = row
	}
	return table
}

// find is the row and the encoding of a name like "SHA256.HEX", in upper case.
func (t schemeTable) find(name string) (row scheme, suffix string, err error) {
	base, suffix, _ := strings.Cut(name, ".")
	row, ok := t[base]
	switch {
	case !ok:
		return row, "", fmt.Errorf("%w: unknown scheme %q", errScheme, name)
	case suffix == "BASE64":
		suffix = "B64"
	case suffix != "" && suffix != "HEX" && suffix != "B64":
		return row, "", fmt.Errorf("%w: unknown encoding in %q", errScheme, name)
	}
	return row, suffix, nil
}

// decode removes the encoding that the suffix names, or else the scheme's own.
// Data of a fixed size is known by its length, whichever of the two it has.
func (s scheme) decode(suffix, data string) (string, error) {
	var raw []byte
	var err error
	switch {
	case suffix == "" && s.encoding == encodingNone:
		return data, nil
	case suffix == "HEX", suffix == "" && s.size > 0 && len(data) == 2*s.size:
		raw, err = hex.DecodeString(data)
	case suffix == "B64", s.encoding == encodingBase64, s.size > 0:
		raw, err = base64.RawStdEncoding.DecodeString(strings.TrimRight(data, "="))
	default:
		raw, err = hex.DecodeString(data)
	}
	if err != nil {
		return "", fmt.Errorf("%w: encoding", errScheme) // the other error may quote it
	}
	return string(raw), nil
}

// encode is decode backwards.
func (s scheme) encode(suffix, raw string) string {
	switch {
	case suffix == "" && s.encoding == encodingNone:
		return raw
	case suffix == "HEX", suffix == "" && s.encoding == encodingHex:
		return hex.EncodeToString([]byte(raw))
	}
	return base64.StdEncoding.EncodeToString([]byte(raw))
}

func matchPlain(h *hasher, data string, g guess) (bool, error) {
	return h.equal(data, g.password), nil
}

func makePlain(g guess, _ int) (string, error) { return g.password, nil }

// digestScheme is the rows that are one digest, those with saltSize behind a salt.
func digestScheme(name string, newHash func() hash.Hash, saltSize int, enc dataEncoding) scheme {
	size := newHash().Size()
	sum := func(password, salt string) string {
		digest := newHash()
		digest.Write([]byte(password + salt))
		return string(digest.Sum(nil))
	}
	row := scheme{name: name, encoding: enc}
	if saltSize == 0 {
		row.size = size
	}
	row.match = func(h *hasher, data string, g guess) (bool, error) {
		if len(data) < size || (len(data) > size && saltSize == 0) {
			return false, fmt.Errorf("%w: length of the digest", errScheme)
		}
		return h.equal(data[:size], sum(g.password, data[size:])), nil
	}
	row.make = func(g guess, _ int) (string, error) {
		salt := randomText(saltSize)
		return sum(g.password, salt) + salt, nil
	}
	return row
}

// SchemeInfo says what there is to know of a password scheme.
type SchemeInfo struct {
	Name      string `json:"name"`
	Expensive bool   `json:"expensive"` // it takes long on purpose
	Rounds    bool   `json:"rounds"`    // its cost can be chosen
}

// Schemes are the names of all password schemes.
func Schemes() []SchemeInfo {
	var list []SchemeInfo
	for _, row := range schemes() {
		if row.make != nil {
			rounds := row.expensive && row.name != "MD5" && row.name != "MD5-CRYPT"
			list = append(list, SchemeInfo{row.name, row.expensive, rounds})
		}
	}
	return list
}
