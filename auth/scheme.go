package auth

import (
	"crypto/md5"
	"crypto/pbkdf2"
	"crypto/sha1"
	"crypto/sha256"
	"crypto/sha512"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"strconv"
	"strings"

	"github.com/go-crypt/crypt/algorithm"
	"github.com/go-crypt/crypt/algorithm/argon2"
	"github.com/go-crypt/crypt/algorithm/bcrypt"
	"github.com/go-crypt/crypt/algorithm/md5crypt"
	"github.com/go-crypt/crypt/algorithm/scrypt"
	"github.com/go-crypt/crypt/algorithm/shacrypt"
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

// matcher compares a password with the data of one scheme.
type matcher func(h *hasher, data, password string) (bool, error)

// scheme is one row of the table: how to compare, whether that takes long enough
// to be rationed, and whether the data is binary, in hex or base64.
type scheme struct {
	match     matcher
	expensive bool
	binary    bool
}

// findScheme is the table of password schemes.
func findScheme(name string) (scheme, bool) {
	switch name {
	case "PLAIN", "CLEARTEXT", "CLEAR":
		return scheme{match: matchPlain}, true
	case "CRYPT":
		return scheme{match: matchCrypt("$"), expensive: true}, true
	case "MD5-CRYPT":
		return scheme{match: matchCrypt("$1$"), expensive: true}, true
	case "SHA256-CRYPT":
		return scheme{match: matchCrypt("$5$"), expensive: true}, true
	case "SHA512-CRYPT":
		return scheme{match: matchCrypt("$6$"), expensive: true}, true
	case "BLF-CRYPT":
		return scheme{match: matchCrypt("$2"), expensive: true}, true
	case "ARGON2I":
		return scheme{match: matchCrypt("$argon2i$"), expensive: true}, true
	case "ARGON2ID":
		return scheme{match: matchCrypt("$argon2id$"), expensive: true}, true
	case "PBKDF2":
		return scheme{match: matchPBKDF2, expensive: true}, true
	}
	newHash, salted := findDigest(name)
	return scheme{match: matchDigest(newHash, salted), binary: true}, newHash != nil
}

// findDigest is the rows that are one digest, some with a salt behind it.
func findDigest(name string) (newHash func() hash.Hash, salted bool) {
	switch name {
	case "PLAIN-MD5", "LDAP-MD5":
		return md5.New, false
	case "SHA", "SHA1":
		return sha1.New, false
	case "SHA256":
		return sha256.New, false
	case "SHA512":
		return sha512.New, false
	case "SMD5":
		return md5.New, true
	case "SSHA":
		return sha1.New, true
	case "SSHA256":
		return sha256.New, true
	case "SSHA512":
		return sha512.New, true
	}
	return nil, false
}

// decode removes the encoding that a suffix of the scheme names (.b64, .base64,
// .hex). Binary data without one is hex if it can be: a digest whose base64 has
// hex digits alone does not occur.
func (s scheme) decode(suffix, data string) (string, error) {
	var raw []byte
	var err error
	switch {
	case suffix == "" && !s.binary:
		return data, nil
	case suffix == "HEX":
		raw, err = hex.DecodeString(data)
	case suffix == "B64" || suffix == "BASE64":
		raw, err = decodeBase64(data)
	case suffix != "":
		err = errors.New("unknown suffix")
	default:
		if raw, err = hex.DecodeString(data); err != nil {
			raw, err = decodeBase64(data)
		}
	}
	if err != nil {
		return "", fmt.Errorf("%w: encoding", errScheme)
	}
	return string(raw), nil
}

func decodeBase64(data string) ([]byte, error) {
	return base64.RawStdEncoding.DecodeString(strings.TrimRight(data, "="))
}

func matchPlain(h *hasher, data, password string) (bool, error) { return h.equal(data, password), nil }

// matchDigest compares a digest; what follows it is the salt.
func matchDigest(newHash func() hash.Hash, salted bool) matcher {
	return func(h *hasher, data, password string) (bool, error) {
		sum := newHash()
		if size := sum.Size(); len(data) < size || (len(data) > size && !salted) {
			return false, fmt.Errorf("%w: length of the digest", errScheme)
		}
		digest, salt := data[:sum.Size()], data[sum.Size():]
		sum.Write([]byte(password + salt))
		return h.equal(digest, string(sum.Sum(nil))), nil
	}
}

// Limits on what a stored hash may cost: a mistake in a file of hashes must not
// take the memory or the processors of the whole server.
const (
	maxRounds       = 10_000_000 // $5$, $6$ and PBKDF2
	maxBcryptCost   = 16
	maxArgonMemory  = 1 << 20 // KiB
	maxArgonWork    = 4 << 20 // KiB times passes
	maxArgonThreads = 64
	maxYescryptN    = 18 // log2
)

// matchPBKDF2 is Dovecot's $1$salt$rounds$hash, HMAC-SHA-1.
func matchPBKDF2(h *hasher, data, password string) (bool, error) {
	parts := strings.Split(data, "$")
	if len(parts) != 5 || parts[0] != "" || parts[1] != "1" {
		return false, fmt.Errorf("%w: not $1$salt$rounds$hash", errScheme)
	}
	rounds, err := strconv.Atoi(parts[3])
	want, err2 := hex.DecodeString(parts[4])
	if err != nil || err2 != nil || rounds < 1 || rounds > maxRounds || len(want) != sha1.Size {
		return false, fmt.Errorf("%w: rounds or hash of PBKDF2", errScheme)
	}
	key, err := pbkdf2.Key(sha1.New, password, []byte(parts[2]), rounds, sha1.Size)
	if err != nil {
		return false, fmt.Errorf("%w: %w", errScheme, err)
	}
	return h.equal(string(want), string(key)), nil
}

// matchCrypt is crypt(3) strings that begin with prefix. Locked accounts of the
// shadow file ("!" and "*" in front) match no password.
func matchCrypt(prefix string) matcher {
	return func(_ *hasher, data, password string) (bool, error) {
		if strings.HasPrefix(data, "!") || strings.HasPrefix(data, "*") {
			return false, nil
		}
		if !strings.HasPrefix(data, prefix) {
			return false, fmt.Errorf("%w: it does not begin with %s", errScheme, prefix)
		}
		digest, err := decodeCrypt(data)
		if err != nil {
			return false, err
		}
		ok, err := digest.MatchAdvanced(password)
		if err != nil {
			return false, fmt.Errorf("%w: hash", errScheme)
		}
		return ok, nil
	}
}

// decodeCrypt reads a crypt(3) string after its cost is known to be bearable.
// Errors of the decoders may quote the hash and are therefore not passed on.
func decodeCrypt(data string) (algorithm.Digest, error) {
	parts := strings.Split(data, "$")
	if len(parts) < 4 || len(data) > 1024 {
		return nil, fmt.Errorf("%w: not a crypt string", errScheme)
	}
	var decode algorithm.DecodeFunc
	bearable := true
	switch parts[1] {
	case "1":
		decode = md5crypt.DecodeVariant(md5crypt.VariantStandard)
	case "5", "6":
		decode, bearable = shacrypt.Decode, bearableRounds(parts[2])
	case "2a", "2b", "2y":
		decode, bearable = bcrypt.DecodeVariant(bcrypt.VariantStandard), between(parts[2], 4, maxBcryptCost)
	case "argon2i", "argon2id":
		decode, bearable = argon2.Decode, bearableArgon(parts)
	case "y":
		decode, bearable = scrypt.DecodeVariant(scrypt.VariantYescrypt), bearableYescrypt(parts[2])
	default:
		return nil, fmt.Errorf("%w: unknown kind of crypt string", errScheme)
	}
	if !bearable {
		return nil, fmt.Errorf("%w: its cost is out of bounds", errScheme)
	}
	digest, err := decode(data)
	if err != nil || len(digest.Key()) == 0 {
		return nil, fmt.Errorf("%w: hash", errScheme)
	}
	return digest, nil
}

func between(s string, low, high int) bool {
	n, err := strconv.Atoi(s)
	return err == nil && n >= low && n <= high
}

// bearableRounds is for $5$ and $6$, which have a salt there if no rounds are given.
func bearableRounds(s string) bool {
	rounds, found := strings.CutPrefix(s, "rounds=")
	return !found || between(rounds, 1000, maxRounds)
}

// bearableArgon reads m=,t=,p= of $argon2id$v=19$m=65536,t=3,p=1$salt$key.
func bearableArgon(parts []string) bool {
	if len(parts) != 6 || parts[2] != "v=19" {
		return false
	}
	var m, t, p int
	n, err := fmt.Sscanf(parts[3], "m=%d,t=%d,p=%d", &m, &t, &p)
	return n == 3 && err == nil && p >= 1 && p <= maxArgonThreads && m >= 8*p && m <= maxArgonMemory &&
		t >= 1 && t <= maxArgonWork/m && fmt.Sprintf("m=%d,t=%d,p=%d", m, t, p) == parts[3]
}

// bearableYescrypt knows settings of three letters, as crypt(3) writes them: the
// flavour j, log2 of the memory blocks, and the block size.
func bearableYescrypt(setting string) bool {
	if len(setting) != 3 || setting[0] != 'j' {
		return false
	}
	const letters = "./0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
	n, r := strings.IndexByte(letters, setting[1])+1, strings.IndexByte(letters, setting[2])+1
	return n >= 10 && n <= maxYescryptN && r >= 1 && r <= 32
}
