package auth

import (
	"crypto/pbkdf2"
	"crypto/sha1"
	"encoding/hex"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/go-crypt/crypt/algorithm"
	"github.com/go-crypt/crypt/algorithm/argon2"
	"github.com/go-crypt/crypt/algorithm/bcrypt"
	"github.com/go-crypt/crypt/algorithm/md5crypt"
	"github.com/go-crypt/crypt/algorithm/scrypt"
	"github.com/go-crypt/crypt/algorithm/shacrypt"
)

// Limits on what a stored hash may cost: a mistake in a file of hashes must not
// take the memory or the processors of the whole server.
const (
	maxRounds       = 10_000_000 // $5$, $6$, PBKDF2 and SCRAM
	maxBcryptCost   = 16
	maxArgonMemory  = 1 << 20 // KiB
	maxArgonWork    = 4 << 20 // KiB times passes
	maxArgonThreads = 64
	maxYescryptN    = 18 // log2
)

// cryptScheme is a row of crypt(3) strings that begin with prefix; made is the
// kind that is made.
func cryptScheme(name, prefix, made string) scheme {
	return scheme{
		name: name, expensive: true, match: matchCrypt(prefix),
		make: func(g guess, rounds int) (string, error) { return makeCrypt(made, g.password, rounds) },
	}
}

// matchCrypt is crypt(3) strings that begin with prefix. Locked accounts of the
// shadow file ("!" and "*" in front) match no password.
func matchCrypt(prefix string) func(*hasher, string, guess) (bool, error) {
	return func(_ *hasher, data string, g guess) (bool, error) {
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
		ok, err := digest.MatchAdvanced(g.password)
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
		return nil, fmt.Errorf("%w: not a crypt string of a known kind", errScheme)
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
		_, bearable = argonMemory(parts)
		decode = argon2.Decode
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

// argonMemory reads m=,t=,p= of $argon2id$v=19$m=65536,t=3,p=1$salt$key: the
// memory in KiB, and whether all is within bounds.
func argonMemory(parts []string) (kib int, bearable bool) {
	if len(parts) != 6 || parts[2] != "v=19" {
		return 0, false
	}
	var m, t, p int
	n, err := fmt.Sscanf(parts[3], "m=%d,t=%d,p=%d", &m, &t, &p)
	return m, n == 3 && err == nil && p >= 1 && p <= maxArgonThreads && m >= 8*p && m <= maxArgonMemory &&
		t >= 1 && t <= maxArgonWork/m && fmt.Sprintf("m=%d,t=%d,p=%d", m, t, p) == parts[3]
}

// bearableYescrypt knows settings of three letters, as crypt(3) writes them: the
// flavour j, log2 of the memory blocks, and the block size.
func bearableYescrypt(setting string) bool {
	if len(setting) != 3 || setting[0] != 'j' {
		return false
	}
	n, r := strings.IndexByte(cryptLetters, setting[1])+1, strings.IndexByte(cryptLetters, setting[2])+1
	return n >= 10 && n <= maxYescryptN && r >= 1 && r <= 32
}

// cryptLetters are the digits of numbers and the letters of salts in crypt(3).
const cryptLetters = "./0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"

func cryptSalt(size int) string {
	salt := []byte(randomText(size))
	for i, b := range salt {
		salt[i] = cryptLetters[b%64]
	}
	return string(salt)
}

// memoryNeed is how many KiB a comparison with crypt(3) data takes.
func memoryNeed(data string) int64 {
	parts := strings.Split(data, "$")
	if len(parts) < 4 {
		return 0
	}
	switch parts[1] {
	case "argon2i", "argon2id":
		if kib, ok := argonMemory(parts); ok {
			return int64(kib)
		}
	case "y":
		if bearableYescrypt(parts[2]) {
			n, r := strings.IndexByte(cryptLetters, parts[2][1])+1, strings.IndexByte(cryptLetters, parts[2][2])+1
			return int64(r) << n >> 3 // 128 bytes times r times N
		}
	}
	return 0
}

// makeCrypt makes a crypt(3) string of one kind; rounds is its cost.
func makeCrypt(kind, password string, rounds int) (string, error) {
	if limit, ok := maxCost[kind]; ok && rounds > limit {
		return "", fmt.Errorf("rounds: at most %d", limit)
	}
	var hasher algorithm.Hash
	var err error
	switch kind {
	case "$1$":
		hasher, err = md5crypt.New(md5crypt.WithVariant(md5crypt.VariantStandard), md5crypt.WithSaltLength(8))
	case "$5$":
		hasher, err = shacrypt.New(shacrypt.WithSHA256(), shacrypt.WithRounds(orElse(rounds, 5000)))
	case "$6$":
		hasher, err = shacrypt.New(shacrypt.WithSHA512(), shacrypt.WithRounds(orElse(rounds, 5000)))
	case "$2y$":
		hasher, err = bcrypt.New(bcrypt.WithVariant(bcrypt.VariantStandard), bcrypt.WithCost(orElse(rounds, 10)))
	case "$argon2i$":
		hasher, err = argon2.New(argon2.WithVariantI(), argon2.WithM(32<<10), argon2.WithT(orElse(rounds, 4)), argon2.WithP(1), argon2.WithK(32), argon2.WithS(16))
	case "$argon2id$":
		hasher, err = argon2.New(argon2.WithVariantID(), argon2.WithM(64<<10), argon2.WithT(orElse(rounds, 3)), argon2.WithP(1), argon2.WithK(32), argon2.WithS(16))
	}
	if err != nil {
		return "", err
	}
	digest, err := hasher.Hash(password)
	if err != nil {
		return "", err
	}
	text := digest.Encode()
	if kind == "$2y$" {
		text = "$2y$" + strings.TrimPrefix(text, "$2b$") // the same thing by another name, which crypt(3) everywhere knows
	}
	return text, nil
}

// maxCost is the most that a login bears of the kinds that makeCrypt makes.
var maxCost = map[string]int{
	"$5$": maxRounds, "$6$": maxRounds, "$2y$": maxBcryptCost,
	"$argon2i$": maxArgonWork / (32 << 10), "$argon2id$": maxArgonWork / (64 << 10),
}

func orElse(n, otherwise int) int {
	if n == 0 {
		return otherwise
	}
	return n
}

// matchPBKDF2 is Dovecot's $1$salt$rounds$hash, HMAC-SHA-1.
func matchPBKDF2(h *hasher, data string, g guess) (bool, error) {
	parts := strings.Split(data, "$")
	if len(parts) != 5 || parts[0] != "" || parts[1] != "1" {
		return false, fmt.Errorf("%w: not $1$salt$rounds$hash", errScheme)
	}
	rounds, err := strconv.Atoi(parts[3])
	want, err2 := hex.DecodeString(parts[4])
	if err != nil || err2 != nil || rounds < 1 || rounds > maxRounds || len(want) != sha1.Size {
		return false, fmt.Errorf("%w: rounds or hash of PBKDF2", errScheme)
	}
	key, err := pbkdf2.Key(sha1.New, g.password, []byte(parts[2]), rounds, sha1.Size)
	if err != nil {
		return false, fmt.Errorf("%w: %w", errScheme, err)
	}
	return h.equal(string(want), string(key)), nil
}

func makePBKDF2(g guess, rounds int) (string, error) {
	if rounds = orElse(rounds, 5000); rounds < 1 || rounds > maxRounds {
		return "", errors.New("rounds out of bounds")
	}
	salt := cryptSalt(16)
	key, err := pbkdf2.Key(sha1.New, g.password, []byte(salt), rounds, sha1.Size)
	return fmt.Sprintf("$1$%s$%d$%x", salt, rounds, key), err
}
