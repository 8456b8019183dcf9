package auth

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/roost-mail/roost/sasl"
)

// HashPassword is a password of user's in the form that passdbs keep, with
// {SCHEME} in front. scheme may have a suffix that names an encoding, as
// SSHA256.HEX; rounds is the cost of schemes that have one, 0 their own. A cost
// that a login would not bear is an error. Only DIGEST-MD5 needs the user.
func HashPassword(scheme, user, password string, rounds int) (string, error) {
	name := upperASCII(scheme)
	row, suffix, err := newSchemeTable().find(name)
	switch {
	case err != nil:
		return "", fmt.Errorf("unknown scheme %q", scheme)
	case password == "" || len(password) > sasl.MaxPassword || strings.ContainsAny(password, "\x00\r\n"):
		return "", fmt.Errorf("a password is 1 to %d bytes in one line", sasl.MaxPassword)
	case strings.Contains(row.name, "BLF") || row.name == "CRYPT":
		if len(password) > maxBcrypt {
			return "", fmt.Errorf("%s looks at the first %d bytes only; use another scheme", row.name, maxBcrypt)
		}
	}
	if row.expensive && rounds != 0 && (rounds < 1 || rounds > maxRounds) {
		return "", errors.New("rounds out of bounds")
	}
	data, err := row.make(guess{user, password}, rounds)
	if err != nil {
		return "", err
	}
	return "{" + name + "}" + row.encode(suffix, data), nil
}

// maxBcrypt is how many bytes of a password bcrypt looks at.
const maxBcrypt = 72

// VerifyPassword says whether password is the one of user's that hash was made
// of. The hash must begin with {SCHEME}; an error says what is wrong with it.
func VerifyPassword(ctx context.Context, hash, user, password string) (bool, error) {
	s := parseStored(hash, "")
	if s.scheme == "" {
		return false, errors.New("the hash does not begin with {SCHEME}")
	}
	return newHasher(1, CacheConfig{}, nil).verify(ctx, s, guess{user, password})
}
