package sasl

import (
	"crypto/hmac"
	"crypto/pbkdf2"
	"crypto/sha1"
	"crypto/sha256"
	"fmt"
	"hash"
	"strings"

	"github.com/xdg-go/stringprep"
)

// Keys are what a server holds of a password for SCRAM, RFC 5802 section 3. They
// belong to one hash function.
type Keys struct {
	Salt                 string // bytes, not base64
	Iterations           int
	StoredKey, ServerKey []byte
}

// DefaultIterations is the cost of keys that are made new, RFC 7677 section 4.
const DefaultIterations = 4096

// scramHash is the hash function of SCRAM-SHA-1 and SCRAM-SHA-256, with or
// without -PLUS; nil for another mechanism.
func scramHash(mechanism string) func() hash.Hash {
	switch strings.TrimSuffix(strings.ToUpper(mechanism), "-PLUS") {
	case "SCRAM-SHA-1":
		return sha1.New
	case "SCRAM-SHA-256":
		return sha256.New
	}
	return nil
}

// KeySize is the length of the keys of a SCRAM mechanism in bytes; 0 for another.
func KeySize(mechanism string) int {
	if newHash := scramHash(mechanism); newHash != nil {
		return newHash().Size()
	}
	return 0
}

// DeriveKeys makes the keys of a password, which it takes as it is: see Prepare.
func DeriveKeys(mechanism, password, salt string, iterations int) (Keys, error) {
	newHash := scramHash(mechanism)
	if newHash == nil {
		return Keys{}, fmt.Errorf("%s is no SCRAM mechanism", mechanism)
	}
	salted, err := pbkdf2.Key(newHash, password, []byte(salt), iterations, newHash().Size())
	if err != nil {
		return Keys{}, err
	}
	sum := func(word string) []byte {
		mac := hmac.New(newHash, salted)
		mac.Write([]byte(word))
		return mac.Sum(nil)
	}
	clientKey := newHash()
	clientKey.Write(sum("Client Key"))
	return Keys{Salt: salt, Iterations: iterations, StoredKey: clientKey.Sum(nil), ServerKey: sum("Server Key")}, nil
}

// Prepare is SASLprep (RFC 4013), the form that SCRAM clients give a password.
// What has no such form stays as it is.
func Prepare(password string) string {
	if prepared, err := stringprep.SASLprep.Prepare(password); err == nil {
		return prepared
	}
	return password
}
